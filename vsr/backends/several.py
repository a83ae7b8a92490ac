"""Several devices side by side: batches are dealt out in turn, and their results asked for in the same order.

No threads are needed for that: handing a batch to a device returns before it is done. A device that is slower than the
others sets the pace of all, so they should be of one kind.
"""

from __future__ import annotations

import itertools
import logging
from collections.abc import Sequence

from vsr.backends.base import Backend, Job, Numbers, Plane, Program, Runner
from vsr.models.base import Network

log = logging.getLogger(__name__)


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
        """Make a network ready for floats, on the first device: a program answers before it takes the next."""
        if len(self.backends) > 1:
            log.warning("networks on RGB use one device: %s", self.backends[0].name)
        return self.backends[0].program(network)


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
