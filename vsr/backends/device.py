"""A CUDA device behind the schedule: what :class:`vsr.backends.scheduler.Device` asks, in PyTorch's words."""

from __future__ import annotations

import gc
import threading
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager
from functools import cache
from typing import Any, Protocol
from weakref import WeakSet

import torch
from torch import Tensor

from vsr.backends.scheduler import Device


class Accelerator(Device, Protocol):
    """What runs networks asks beyond the schedule."""

    device: torch.device

    def capture(self, stream: Any, work: Callable[[], None]) -> Callable[[], None]:
        """Record what ``work`` enqueues as one graph on the buffers it touches; returns what enqueues it again.

        Raises:
            RuntimeError: something in it cannot be recorded.
        """
        ...

    def settle(self) -> None:
        """Wait for everything on the device; our streams do not wait for what others did to the weights."""
        ...

    def trim(self) -> None:
        """Give memory that is free but kept back, after an allocation failed."""
        ...


class CudaDevice:
    """One GPU. Its streams are of a kind that never waits for the default stream.

    Args:
        index: of the GPU.
    """

    def __init__(self, index: int = 0) -> None:
        self.device = torch.device("cuda", index)
        self._streams: dict[str, torch.cuda.Stream] = {}
        self._graphs: WeakSet[torch.cuda.CUDAGraph] = WeakSet()
        self._lock = threading.RLock()

    def alone(self) -> AbstractContextManager[object]:
        """A lock."""
        return self._lock

    def stream(self, name: str) -> torch.cuda.Stream:
        """The stream of that name; whoever asks shares it."""
        with self._lock:
            if name not in self._streams:
                self._streams[name] = torch.cuda.Stream(self.device)  # type: ignore[no-untyped-call]
            return self._streams[name]

    def pinned(self, size: int) -> Tensor:
        """Page-locked memory, which the copy engines reach without the host."""
        return torch.empty(size, dtype=torch.uint8, pin_memory=True)

    def memory(self, size: int) -> Tensor:
        """Memory of the GPU."""
        return torch.empty(size, dtype=torch.uint8, device=self.device)

    def copy(self, stream: torch.cuda.Stream, target: Tensor, source: Tensor) -> None:
        """Enqueue a copy."""
        with torch.cuda.stream(stream):
            target.copy_(source, non_blocking=True)

    def launch(
        self,
        stream: torch.cuda.Stream,
        work: Callable[[], None],
        *,
        reads: Sequence[Tensor],
        writes: Sequence[Tensor],
    ) -> None:
        """Enqueue kernels."""
        with torch.cuda.stream(stream):
            work()

    def record(self, stream: torch.cuda.Stream) -> torch.cuda.Event:
        """An event; the host sleeps while it waits for it, for decoder and encoder need the core."""
        event = torch.cuda.Event(blocking=True)  # type: ignore[no-untyped-call]
        event.record(stream)
        return event

    def foreign(self) -> torch.cuda.Event:
        """All in the default stream, where FFmpeg does what it does; ours do not wait for it of themselves."""
        return self.record(torch.cuda.default_stream(self.device))

    def wait(self, stream: torch.cuda.Stream, event: torch.cuda.Event) -> None:
        """Let a stream wait."""
        stream.wait_event(event)

    def synchronize(self, event: torch.cuda.Event) -> None:
        """Let the host wait."""
        event.synchronize()

    def capture(self, stream: torch.cuda.Stream, work: Callable[[], None]) -> Callable[[], None]:
        """A CUDA graph. All of them share one pool of memory: they are replayed one after the other."""
        # PyTorch takes no pool again whose last graph is gone: it is that of a living one, held until this one is made.
        other = next(iter(self._graphs), None)
        graph = torch.cuda.CUDAGraph()
        pool = None if other is None else other.pool()
        # Where a recording fails PyTorch stays in its stream, which the outer context leaves. Other threads pin memory
        # and ask for events meanwhile, which must not break the recording.
        with (
            torch.cuda.stream(stream),
            torch.cuda.graph(graph, pool=pool, stream=stream, capture_error_mode="thread_local"),
        ):
            work()
        self._graphs.add(graph)
        replay: Callable[[], None] = graph.replay
        return replay

    def settle(self) -> None:
        """Wait for all streams."""
        with self._lock:
            torch.cuda.synchronize(self.device)

    def trim(self) -> None:
        """Empty PyTorch's cache."""
        gc.collect()
        with self._lock, torch.cuda.device(self.device):
            torch.cuda.synchronize()
            torch.cuda.empty_cache()


@cache
def cuda_device(index: int) -> CudaDevice:
    """The one object for a GPU: networks that share it share its streams, and their work keeps its order.

    From then on, in this process, cuDNN computes convolutions the fastest way for their shape, and fp32 as fp32: what
    it calls that by default keeps ten bits of the mantissa, which does not hold ten bits of luma.
    """
    torch.backends.cudnn.benchmark = True
    torch.backends.cudnn.allow_tf32 = False
    return CudaDevice(index)
