"""Networks on planes, run by PyTorch on a CUDA device without ever waiting for it in between.

Only whole numbers travel: what they mean, the network, rounding, clamping and the shuffle are kernels on the device. A
batch of one shape goes through a :class:`~vsr.backends.scheduler.Ring`; after a few batches its kernels are recorded as
a CUDA graph for each slot of the ring. Half precision is watched: a batch in which something overflowed is computed
again in fp32 from the numbers that are still there, and so is everything after it.
"""

from __future__ import annotations

import copy
import logging
import threading
from collections import OrderedDict
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Literal, TypeAlias, cast

import torch
from torch import Tensor

from vsr.backends.base import Job, Numbers, Plane, Program, Runner
from vsr.backends.device import Accelerator, cuda_device
from vsr.backends.pytorch import TYPES, TorchProgram
from vsr.backends.scheduler import SLOTS, Bytes, Flight, Lease, Ring
from vsr.backends.surfaces import left_planes, on_device
from vsr.models.base import Network, SubpixelNetwork
from vsr.tiles import is_out_of_memory

log = logging.getLogger(__name__)

Shape: TypeAlias = tuple[int, int, int]
Means: TypeAlias = Literal["plain", "compiled", "fused"]

_SHAPES_KEPT = 4
_EAGER_BATCHES = SLOTS
"""Batches that are computed kernel by kernel first: cuDNN looks for the fastest way meanwhile, which no graph can."""
_TAIL = 16
"""Bytes behind the planes of a result; the last of them says that all was finite."""


class CudaBackend:
    """One CUDA device.

    Args:
        device: the GPU.
        precision: ``"fp16"``, ``"bf16"`` or ``"fp32"``.
        graphs: record kernels as CUDA graphs; otherwise they are launched one by one.
        means: what the arithmetic is done by: ``"plain"`` PyTorch; ``"compiled"``, by ``torch.compile``, which takes up
            to minutes before the first frame of each shape; ``"fused"``, by kernels of our own, see
            :mod:`vsr.backends.chain`. Where the latter two cannot be, plain, with the reason in the log.
        latency: finish one batch before the next, in place of as many a second as possible.

    Attributes:
        gpu: index of the device; planes may lie there (:mod:`vsr.backends.surfaces`).
        leaves: set it to have results left there.
    """

    def __init__(
        self,
        device: Accelerator,
        *,
        precision: str = "fp16",
        graphs: bool = True,
        means: Means = "plain",
        latency: bool = False,
    ) -> None:
        self.device, self.precision = device, precision
        self.graphs, self.means = graphs, means
        # One batch for each stream; the pipeline hands in one more.
        self.in_flight = 1 if latency else SLOTS
        self.leaves = False
        self.name = f"PyTorch on {device.device}"
        self.gpu = device.device.index or 0

    @classmethod
    def on(cls, name: str, **options: Any) -> CudaBackend:
        """The GPU of a name such as ``"cuda"`` or ``"cuda:1"``; options as above."""
        return cls(cuda_device(torch.device(name).index or 0), **options)

    def runner(self, network: Network, numbers: Numbers) -> Runner:
        """Make a network of one channel ready for planes."""
        return CudaRunner(self, network, numbers)

    def program(self, network: Network) -> Program:
        """Make a network ready for floats; without the schedule, for its pictures are converted on the device."""
        return TorchProgram(network, self.device.device, TYPES[self.precision])


class CudaRunner:
    """A network made ready for planes of one kind of numbers, on one device.

    Args:
        backend: where.
        network: of one channel; copied.
        numbers: what the planes hold.
    """

    def __init__(self, backend: CudaBackend, network: Network, numbers: Numbers) -> None:
        self.backend, self.device, self.numbers = backend, backend.device, numbers
        self.kind = TYPES[backend.precision]
        place = self.device.device
        self.network: Network = copy.deepcopy(network).to(place, memory_format=torch.channels_last).eval()  # type: ignore[call-overload]
        # The streams do not wait for the default stream, on which the weights have just been moved.
        self.device.settle()
        self._rings: OrderedDict[Shape, Ring] = OrderedDict()

    def submit(self, planes: Sequence[Plane]) -> Job:
        """Enqueue planes of one shape as one batch.

        Raises:
            RuntimeError: out of memory, on the device or of what can be pinned; what could be freed was, and the
                planes can be handed in again in smaller parts.
        """
        try:
            return self._submit(planes)
        except (MemoryError, RuntimeError) as error:
            if is_out_of_memory(error):
                self.free()
            raise

    def free(self) -> None:
        """Wait for what is under way and free all memory that no result is in."""
        while self._rings:
            self._rings.popitem()[1].close()
        self.device.trim()

    def finished(self, job: CudaJob) -> list[Plane]:
        """The planes of a job, once it is done; computed again where half precision did not suffice."""
        found = job.flight.result()
        if job.kind == torch.float32 or found[-1]:
            return self._planes(found, job.shape)
        self._widen()
        return self._again(job.given)

    def _submit(self, planes: Sequence[Plane]) -> CudaJob:
        shape = (len(planes), *planes[0].shape)
        ring = self._ring(shape)
        there = on_device(planes)
        if there is not None:
            return CudaJob(self, shape, self.kind, planes, ring.submit(there, leave=self.backend.leaves))
        lease = ring.inputs.take()
        batch = self._batch(lease, shape)
        for row, plane in zip(batch, planes, strict=True):
            row[...] = plane
        return CudaJob(self, shape, self.kind, list(batch), ring.submit(lease, leave=self.backend.leaves))

    def _ring(self, shape: Shape) -> Ring:
        if shape not in self._rings:
            while len(self._rings) >= _SHAPES_KEPT:
                self._rings.popitem(last=False)[1].close()
            kernels = Kernels(self.network, self.numbers, self.kind, shape, means=self.backend.means)
            recorded = Recorded(self.device, kernels, graphs=self.backend.graphs)
            sizes = {"size_in": kernels.size, "size_out": kernels.size * self.network.scale**2 + _TAIL}
            self._rings[shape] = Ring(self.device, recorded, **sizes)
        self._rings.move_to_end(shape)
        return self._rings[shape]

    def _widen(self) -> None:
        if self.kind != torch.float32:
            log.warning("%s overflowed on %s; going on in fp32", self.kind, self.device.device)
            self.kind = torch.float32
            self.free()

    def _again(self, planes: Sequence[Plane]) -> list[Plane]:
        """fp32 takes twice the memory: where that fails, half the pictures at a time."""
        try:
            return self.submit(planes).result()
        except (MemoryError, RuntimeError) as error:
            if len(planes) == 1 or not is_out_of_memory(error):
                raise
        half = len(planes) // 2
        return self._again(planes[:half]) + self._again(planes[half:])

    def _batch(self, lease: Lease, shape: Shape) -> Plane:
        planes: Any = lease.array.view(self.numbers.dtype).reshape(shape)
        return cast(Plane, planes)

    def _planes(self, found: Bytes | Tensor, shape: Shape) -> list[Plane]:
        (count, rows, columns), r = shape, self.network.scale
        larger = count, rows * r, columns * r
        if isinstance(found, Tensor):
            return cast(list[Plane], left_planes(found[:-_TAIL], larger, bit_depth=self.numbers.bit_depth))
        planes: Any = found[:-_TAIL].view(self.numbers.dtype).reshape(larger)
        return list(planes)


class CudaJob:
    """A batch under way, with what it was made of: in pinned memory, or in that of a decoder, and not free before."""

    def __init__(
        self, runner: CudaRunner, shape: Shape, kind: torch.dtype, given: Sequence[Plane], flight: Flight
    ) -> None:
        self.runner, self.shape, self.kind, self.given, self.flight = runner, shape, kind, given, flight
        self._planes: list[Plane] | None = None

    def result(self) -> list[Plane]:
        """Wait, and return the larger planes; the caller's for as long as he holds them."""
        if self._planes is None:
            self._planes = self.runner.finished(self)
            # The memory of the input is free again.
            del self.given, self.flight
        return self._planes


@dataclass(slots=True)
class Kernels:
    """All arithmetic between the bytes of a batch and those of its result; enqueued, on whatever stream is current.

    Args:
        network: on the device.
        numbers: what the bytes mean.
        kind: what the convolutions are computed in.
        shape: planes, rows, columns.
        means: of :class:`CudaBackend`; given up, with a reason in the log, where that fails.
    """

    network: Network
    numbers: Numbers
    kind: torch.dtype
    shape: Shape
    means: Means = "plain"
    _faster: Callable[[Tensor, Tensor], None] | None = None

    def __post_init__(self) -> None:
        if self.means == "compiled":
            self._faster = torch.compile(self._compute, dynamic=False)
        elif self.means == "fused":
            self._faster = self._chain()

    @property
    def in_use(self) -> Means:
        """By what means it is really done."""
        return "plain" if self._faster is None else self.means

    @property
    def size(self) -> int:
        """Bytes of a batch."""
        count, rows, columns = self.shape
        return count * rows * columns * (1 if self.numbers.bit_depth == 8 else 2)

    @torch.inference_mode()
    def __call__(self, source: Tensor, target: Tensor) -> None:
        """From one flat buffer to another."""
        if self._faster is not None:
            try:
                return self._faster(source, target)
            except Exception as error:
                if is_out_of_memory(error):
                    raise
                self._give_up(str(error).partition("\n")[0])
        return self._compute(source, target)

    def _chain(self) -> Callable[[Tensor, Tensor], None] | None:
        if self.kind == torch.float32:
            return None
        try:
            from vsr.backends.chain import chain_of
        except ImportError as error:
            self._give_up(str(error))
            return None
        chain = chain_of(self.network, self.kind)
        if chain is None:
            self._give_up(f"no kernels for {type(self.network).__name__}")
            return None

        def compute(source: Tensor, target: Tensor) -> None:
            planes = self._whole_view(source), self._whole_view(target[:-_TAIL])
            chain(*planes, target[-1:], shape=self.shape, numbers=self.numbers)

        return compute

    def _give_up(self, reason: str) -> None:
        log.warning("%s arithmetic is not to be had (%s); going on with plain", self.means, reason)
        self._faster = None

    def _compute(self, source: Tensor, target: Tensor) -> None:
        half = self.kind != torch.float32
        r, (count, rows, columns) = self.network.scale, self.shape
        x = self._floats(source)
        # Weights are cast within the graph: a cache of them would outlive the memory that the graph owns.
        with torch.autocast(source.device.type, dtype=self.kind, enabled=half, cache_enabled=False):
            subpixel = isinstance(self.network, SubpixelNetwork)
            y = self.network.subpixels(x) if isinstance(self.network, SubpixelNetwork) else self.network(x)
        values = self.whole(y)
        if subpixel:
            # Shuffled as it is written, in one pass over whole numbers.
            values = values.view(count, r, r, rows, columns).permute(0, 3, 1, 4, 2)
            planes = self._whole_view(target[:-_TAIL]).view(count, rows, r, columns, r)
        else:
            planes = self._whole_view(target[:-_TAIL]).view(count, 1, rows * r, columns * r)
        planes.copy_(values)
        # No finite numbers of 16 bits add up to infinity in 32.
        finite = torch.isfinite(y.sum(dtype=torch.float32)) if half else torch.ones((), device=source.device)
        target[-1:].copy_(finite)

    def _floats(self, source: Tensor) -> Tensor:
        numbers, (count, rows, columns) = self.numbers, self.shape
        whole = self._whole_view(source).view(count, 1, rows, columns)
        if numbers.bit_depth != 8:
            whole = whole.to(torch.int32) & 0xFFFF
        x = whole.float() * numbers.gain
        return x + numbers.offset if numbers.offset else x

    def whole(self, y: Tensor) -> Tensor:
        """What a network gives as whole numbers, of a type that can be copied into the bytes of a result."""
        numbers = self.numbers
        y = y.float()
        if numbers.offset:
            y = y - numbers.offset
        values = (y / numbers.gain).round_().clamp_(0, numbers.peak)
        # torch.uint16 knows few operations: its bits are carried as those of int16, where int32 wraps to.
        return values if numbers.bit_depth == 8 else values.to(torch.int32)

    def _whole_view(self, buffer: Tensor) -> Tensor:
        return buffer if self.numbers.bit_depth == 8 else buffer.view(torch.int16)


class Recorded:
    """Kernels as CUDA graphs, one for each slot of a ring; kernel by kernel where that cannot be.

    Args:
        device: records them.
        kernels: to record.
        graphs: whether to record at all.
    """

    def __init__(self, device: Accelerator, kernels: Kernels, *, graphs: bool) -> None:
        self.device, self.kernels, self.graphs = device, kernels, graphs
        # What cuDNN found it knows in that thread only.
        self._eager = threading.local()
        self._replays: dict[int, Callable[[], None]] = {}

    def __call__(self, source: Tensor, target: Tensor) -> Callable[[], None]:
        """What enqueues the arithmetic between two buffers, which stay where they are."""

        def work() -> None:
            self.kernels(source, target)

        slot = source.data_ptr()
        if slot in self._replays:
            return self._replays[slot]
        eager = getattr(self._eager, "batches", 0)
        if not self.graphs or eager < _EAGER_BATCHES:
            self._eager.batches = eager + 1
            return work
        return self._record(slot, work)

    def _record(self, slot: int, work: Callable[[], None]) -> Callable[[], None]:
        try:
            self._replays[slot] = self.device.capture(self.device.stream("compute"), work)
        except RuntimeError as error:
            reason = str(error).partition("\n")[0]
            log.warning("no CUDA graph of %s (%s); its kernels are launched one by one", self.kernels.shape, reason)
            self.graphs = False
            return work
        return self._replays[slot]
