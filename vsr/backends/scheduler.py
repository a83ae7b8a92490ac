"""Copies and arithmetic of an accelerator, one beside the other: three streams, events between them, and rings.

While one batch is computed the next is copied there and the one before is copied back. Nothing here waits for the
device but :meth:`Flight.result`: whoever is first in a buffer is waited for on the device, by an event.

======== ====================================== ==========================================
stream   does                                   waits for
======== ====================================== ==========================================
up       input → slot's input                   the arithmetic that read the slot before
compute  slot's input → slot's output           this upload; the download of the slot before
down     slot's output → output                 this arithmetic
======== ====================================== ==========================================

An input lies in pinned memory, or on the device, where a decoder put it; an output is wanted in pinned memory, or on
the device, for an encoder. Pinned memory is lent: what is copied back is handed to the caller as it lies, and returns
to its pool once nobody holds an array made of it. That saves a pass over every frame, the largest of all on the host.
"""

from __future__ import annotations

import weakref
from collections import deque
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from typing import Any, Protocol, TypeAlias

import numpy as np
import numpy.typing as npt
from torch import Tensor

Bytes: TypeAlias = npt.NDArray[np.uint8]
Prepare: TypeAlias = Callable[[Tensor, Tensor], Callable[[], None]]
"""Makes ready what computes one buffer from another; what it returns is called whenever that is to be enqueued."""

SLOTS = 3
"""Batches that have memory on the device at once: one for each stream."""
KEPT_BYTES = 1 << 30
"""Results in pinned memory that a caller may hold at once; further ones are copied, for pinned memory is scarce."""


class Device(Protocol):
    """What the schedule asks of an accelerator. Buffers are flat tensors of uint8, on the host or on the device.

    Everything that takes a stream only enqueues: it returns at once and is done in the order of that stream.
    """

    def alone(self) -> AbstractContextManager[object]:
        """While it is held, no other thread enqueues anything."""
        ...

    def stream(self, name: str) -> Any:
        """A stream of its own for every name, the same one each time."""
        ...

    def pinned(self, size: int) -> Tensor:
        """So many bytes of the host that the device reads and writes by itself."""
        ...

    def memory(self, size: int) -> Tensor:
        """So many bytes of the device."""
        ...

    def copy(self, stream: Any, target: Tensor, source: Tensor) -> None:
        """Enqueue a copy between host and device, or on the device."""
        ...

    def launch(
        self, stream: Any, work: Callable[[], None], *, reads: Sequence[Tensor], writes: Sequence[Tensor]
    ) -> None:
        """Enqueue what ``work`` enqueues."""
        ...

    def record(self, stream: Any) -> Any:
        """An event: all that is in the stream so far."""
        ...

    def foreign(self) -> Any:
        """An event: all that libraries which know nothing of our streams have enqueued so far."""
        ...

    def wait(self, stream: Any, event: Any) -> None:
        """Enqueue that what comes after waits for an event of another stream."""
        ...

    def synchronize(self, event: Any) -> None:
        """Let the host wait for an event; the only call that waits."""
        ...


class Input(Protocol):
    """A batch, wherever it lies."""

    def bring(self, device: Device, stream: Any, target: Tensor) -> Any:
        """Enqueue that it is copied to the device, ``target``; returns the event after which it is."""
        ...


@dataclass(slots=True)
class _Block:
    """Pinned memory, and the last event that it takes part in."""

    buffer: Tensor
    event: Any = None


@dataclass(slots=True)
class Lease:
    """Pinned memory while somebody needs it.

    Attributes:
        block: what is lent.
        array: its bytes; the block is free again when this array and all views of it are gone.
    """

    block: _Block
    array: Bytes

    def bring(self, device: Device, stream: Any, target: Tensor) -> Any:
        """Enqueue a copy to the device; the memory is lent out again only after it."""
        device.copy(stream, target, self.block.buffer)
        self.block.event = device.record(stream)
        return self.block.event

    def take_from(self, device: Device, stream: Any, source: Tensor) -> Any:
        """Enqueue a copy from the device; returns the event after which it is here."""
        device.copy(stream, self.block.buffer, source)
        self.block.event = device.record(stream)
        return self.block.event

    def result(self, ring: Ring) -> Bytes:
        """The bytes, once they are here."""
        ring.device.synchronize(self.block.event)
        return self.array if ring.outputs.lent <= ring.kept else self.array.copy()


@dataclass(slots=True)
class Left:
    """A result that is left on the device, in memory that belongs to whoever holds it."""

    memory: Tensor
    event: Any = None

    def take_from(self, device: Device, stream: Any, source: Tensor) -> Any:
        """Enqueue a copy; returns the event after which it is done."""
        # Who had this memory before may have enqueued its last use in a stream that is not ours.
        device.wait(stream, device.foreign())
        device.copy(stream, self.memory, source)
        self.event = device.record(stream)
        return self.event

    def result(self, ring: Ring) -> Tensor:
        """The memory, once it is written."""
        ring.device.synchronize(self.event)
        return self.memory


class HostPool:
    """Pinned buffers of one size; as many as are needed at a time, and never fewer again."""

    def __init__(self, device: Device, size: int) -> None:
        self.device, self.size = device, size
        self.lent = 0
        self._free: deque[_Block] = deque()

    def take(self) -> Lease:
        """Lend a buffer that the device is done with."""
        block = self._free.popleft() if self._free else _Block(self.device.pinned(self.size))
        if block.event is not None:
            self.device.synchronize(block.event)
            block.event = None
        # Views refer to the array below, not to the tensor's own: NumPy does not look through a memoryview.
        array = np.frombuffer(block.buffer.numpy().data, np.uint8)
        self.lent += 1
        weakref.finalize(array, self._give_back, block).atexit = False
        return Lease(block, array)

    def _give_back(self, block: _Block) -> None:
        self.lent -= 1
        self._free.append(block)


@dataclass(slots=True)
class _Slot:
    source: Tensor
    target: Tensor
    computed: Any = None
    downloaded: Any = None


class Ring:
    """The way of batches of one shape over a device: handed in one after the other, done side by side.

    Args:
        device: where.
        prepare: the arithmetic from a slot's input to its output; called again whenever the slot's turn comes.
        size_in: bytes of a batch.
        size_out: bytes of its result.
        slots: batches that have memory on the device at once.
        kept_bytes: of results that may be in pinned memory at once, beside those under way.
    """

    def __init__(
        self,
        device: Device,
        prepare: Prepare,
        *,
        size_in: int,
        size_out: int,
        slots: int = SLOTS,
        kept_bytes: int = KEPT_BYTES,
    ) -> None:
        self.device, self.prepare = device, prepare
        self.inputs, self.outputs = HostPool(device, size_in), HostPool(device, size_out)
        self.kept = 2 * slots + kept_bytes // size_out
        self._up, self._compute, self._down = (device.stream(name) for name in ("up", "compute", "down"))
        self._slots = deque(_Slot(device.memory(size_in), device.memory(size_out)) for _ in range(slots))
        # Who had this memory before may have enqueued its last use in a stream that is not ours.
        device.wait(self._up, device.foreign())

    def submit(self, source: Input, *, leave: bool = False) -> Flight:
        """Enqueue a batch.

        Args:
            source: a filled lease of :attr:`inputs`, or what lies on the device; not to be written to before the result
                is there.
            leave: the result stays on the device.

        Raises:
            RuntimeError: the memory of the device does not suffice; nothing is under way then, and the same batch can
                be handed in again.
        """
        result = Left(self.device.memory(self.outputs.size)) if leave else self.outputs.take()
        # Others may share the streams, and what they enqueue must not end up in a graph that is being recorded.
        with self.device.alone():
            self._enqueue(source, result)
        return Flight(self, result)

    def _enqueue(self, source: Input, result: Lease | Left) -> None:
        device, slot = self.device, self._slots[0]
        work = self.prepare(slot.source, slot.target)
        self._slots.rotate(-1)
        self._wait(self._up, slot.computed)
        device.wait(self._compute, source.bring(device, self._up, slot.source))
        self._wait(self._compute, slot.downloaded)
        try:
            device.launch(self._compute, work, reads=[slot.source], writes=[slot.target])
        finally:
            # What failed half-way may have begun to read.
            slot.computed = device.record(self._compute)
        device.wait(self._down, slot.computed)
        slot.downloaded = result.take_from(device, self._down, slot.target)

    def close(self) -> None:
        """Wait for all that is under way, so that the memory of the slots can be freed; results stay valid."""
        for slot in self._slots:
            for event in (slot.computed, slot.downloaded):
                if event is not None:
                    self.device.synchronize(event)
        self._slots.clear()

    def _wait(self, stream: Any, event: Any) -> None:
        if event is not None:
            self.device.wait(stream, event)


class Flight:
    """A batch under way."""

    def __init__(self, ring: Ring, output: Lease | Left) -> None:
        self._ring, self._output = ring, output

    def result(self) -> Bytes | Tensor:
        """Wait, and return the bytes; they are the caller's for as long as he holds them. To be asked for once.

        They are an array, or a tensor where they were to be left on the device.
        """
        output = self._output
        del self._output
        return output.result(self._ring)
