"""Several devices side by side.

Batches of planes are dealt out in turn, and their results asked for in the same order. No threads are needed for that:
handing a batch to a device returns before it is done. A device that is slower than the others sets the pace of all, so
they should be of one kind.

Work that waits for its device in between, as that of networks on RGB does, is done by :class:`Workers`.
"""

from __future__ import annotations

import itertools
import threading
import weakref
from collections import deque
from collections.abc import Callable, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Generic, TypeVar

from vsr.backends.base import Backend, Job, Numbers, Plane, Program, Runner
from vsr.models.base import Network

W = TypeVar("W")
R = TypeVar("R")


class SeveralBackends:
    """Backends of one precision, as one.

    Args:
        backends: one for each device, at least one; of what they have in common the first one speaks.
    """

    def __init__(self, backends: Sequence[Backend]) -> None:
        self.backends = list(backends)
        self.precision = self.backends[0].precision
        self.in_flight = sum(backend.in_flight for backend in self.backends)
        self.name = ", ".join(backend.name for backend in self.backends)

    def runner(self, network: Network, numbers: Numbers) -> Runner:
        """Make a network of one channel ready on every device."""
        return SeveralRunners([backend.runner(network, numbers) for backend in self.backends])

    def program(self, network: Network) -> Program:
        """Make a network ready for floats, on the first device; :func:`programs` does on every one."""
        return self.backends[0].program(network)


def programs(backend: Backend, network: Network) -> list[Program]:
    """Make a network ready for floats, on every device of a backend."""
    backends = backend.backends if isinstance(backend, SeveralBackends) else [backend]
    return [each.program(network) for each in backends]


class SeveralRunners:
    """Deals batches out in turn. A batch that a device refuses goes to the same device when it is handed in again."""

    def __init__(self, runners: Sequence[Runner]) -> None:
        self._turn = itertools.cycle(runners)
        self._next = next(self._turn)

    def submit(self, planes: Sequence[Plane]) -> Job:
        """Start on planes of one shape on the device whose turn it is."""
        job = self._next.submit(planes)
        self._next = next(self._turn)
        return job


class Alone(Generic[W]):
    """One worker, in the thread of whoever hands work in."""

    def __init__(self, worker: W) -> None:
        self.worker = worker

    def submit(self, work: Callable[[W], R]) -> Future[R]:
        """Do it, before this returns; an error is raised here."""
        future: Future[R] = Future()
        future.set_result(work(self.worker))
        return future


class Workers(Generic[W]):
    """A thread for each of several workers; what is handed in goes to the first that is free.

    When nobody holds this any more the threads end after what they are at, and what is still waiting is cancelled.

    Args:
        workers: each used by one thread, always the same: libraries keep by thread what they found out about a device.
    """

    def __init__(self, workers: Sequence[W]) -> None:
        self._pool = ThreadPoolExecutor(
            len(workers), thread_name_prefix="vsr-device", initializer=_begin, initargs=(deque(workers),)
        )
        weakref.finalize(self, self._pool.shutdown, wait=False, cancel_futures=True)

    def submit(self, work: Callable[[W], R]) -> Future[R]:
        """Hand in what is to be done with a worker; its error is raised by the result."""
        return self._pool.submit(_do, work)


_thread = threading.local()


def _begin(free: deque[W]) -> None:
    _thread.worker = free.popleft()


def _do(work: Callable[[W], R]) -> R:
    return work(_thread.worker)
