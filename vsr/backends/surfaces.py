"""Planes that lie on a GPU already: with the manners of an array as far as anybody asks on their way to the kernels."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor
from torch.utils.dlpack import from_dlpack, to_dlpack  # type: ignore[attr-defined]

from vsr.backends.scheduler import Device

_ROW_SAMPLES = 256
"""Rows begin at multiples of it, as they do in what FFmpeg allocates on a GPU."""


@dataclass(frozen=True, slots=True)
class DevicePlane:
    """A plane, or a tile of one, in the memory of a GPU.

    Attributes:
        tensor: rows × columns of uint8, or of int16 that stand for uint16; may be strided.
        bit_depth: of the samples.
        shift: how far above the lowest bit they begin.
    """

    tensor: Tensor
    bit_depth: int = 8
    shift: int = 0

    ndim = 2

    @property
    def shape(self) -> tuple[int, ...]:
        """(rows, columns)."""
        return tuple(self.tensor.shape)

    @property
    def size(self) -> int:
        """Samples."""
        return self.tensor.numel()

    @property
    def dtype(self) -> np.dtype[Any]:
        """That of the plane on the host."""
        return np.dtype(np.uint8 if self.bit_depth == 8 else np.uint16)

    def __getitem__(self, part: tuple[slice, slice]) -> DevicePlane:
        return DevicePlane(self.tensor[part], self.bit_depth, self.shift)

    def __setitem__(self, part: tuple[slice, slice], tile: DevicePlane) -> None:
        self.tensor[part].copy_(tile.tensor)

    def __array__(self, dtype: Any = None, copy: bool | None = None) -> npt.NDArray[Any]:
        """A copy on the host, with the value in the low bits."""
        samples: npt.NDArray[Any] = self.tensor.cpu().numpy().view(self.dtype)
        return samples >> self.shift if self.shift else samples

    def empty(self, shape: tuple[int, int]) -> DevicePlane:
        """A plane of another shape beside this one."""
        return DevicePlane(self.tensor.new_empty(shape), self.bit_depth, self.shift)

    def write_to(self, target: Tensor) -> None:
        """Enqueue a copy into a tensor of this shape and type, with the value in the low bits."""
        if not self.shift:
            target.copy_(self.tensor)
            return
        torch.bitwise_right_shift(self.tensor, self.shift, out=target)
        # The sign of int16 comes down with the value.
        target.bitwise_and_((1 << self.bit_depth) - 1)


def device_planes(capsules: Sequence[Any], *, bit_depth: int) -> tuple[DevicePlane, ...]:
    """Y, U and V in the memory that two DLPack capsules lead to.

    Args:
        capsules: luma H×W, and chroma H/2×W/2×2, of uint8, or of uint16 with the value in the high bits.
        bit_depth: 8 to 16.

    Raises:
        RuntimeError: PyTorch cannot read them.
    """
    luma, chroma = (from_dlpack(capsule) for capsule in capsules)
    shift = 0
    if bit_depth > 8:
        # torch.uint16 knows few operations.
        luma, chroma, shift = luma.view(torch.int16), chroma.view(torch.int16), 16 - bit_depth
    return tuple(DevicePlane(tensor, bit_depth, shift) for tensor in (luma, chroma[..., 0], chroma[..., 1]))


def left_planes(memory: Tensor, shape: tuple[int, int, int], *, bit_depth: int) -> list[DevicePlane]:
    """The planes that a batch left on the device in a row: planes, rows, columns."""
    samples = memory if bit_depth == 8 else memory.view(torch.int16)
    return [DevicePlane(tensor, bit_depth) for tensor in samples.view(shape)]


def packed(planes: Sequence[DevicePlane]) -> tuple[Any, Any]:
    """Y, U and V as encoders on a GPU take them: NV12, or P010 for more than 8 bits, in one piece.

    Args:
        planes: of a 4:2:0 picture with even sides, with the value in the low bits.

    Returns:
        DLPack capsules of luma H×W and of chroma H/2×W/2×2, which are written already.

    Raises:
        RuntimeError: out of memory on the GPU; the planes are as they were.
    """
    luma = planes[0]
    (rows, columns), shift = luma.shape, 0 if luma.bit_depth == 8 else 16 - luma.bit_depth
    aligned = -(-columns // _ROW_SAMPLES) * _ROW_SAMPLES
    memory = luma.tensor.new_empty(rows + rows // 2, aligned)[:, :columns]
    chroma = memory[rows:].view(rows // 2, columns // 2, 2)
    for target, plane in zip((memory[:rows], chroma[..., 0], chroma[..., 1]), planes, strict=True):
        torch.bitwise_left_shift(plane.tensor, shift, out=target)
    if memory.is_cuda:
        torch.cuda.current_stream(memory.device).synchronize()
    kind = torch.uint8 if luma.bit_depth == 8 else torch.uint16
    # The tensor's own method refuses what does not lie on the current GPU of the thread.
    return to_dlpack(memory[:rows].view(kind)), to_dlpack(chroma.view(kind))


@dataclass(frozen=True, slots=True)
class OnDevice:
    """Planes of one shape as the input of a ring: copied on the device, past the host."""

    planes: Sequence[DevicePlane]

    def bring(self, device: Device, stream: Any, target: Tensor) -> Any:
        """Enqueue the copies behind what the decoder has enqueued; returns the event after which they are done."""
        device.wait(stream, device.foreign())
        reads = [plane.tensor for plane in self.planes]
        device.launch(stream, lambda: self._copy(target), reads=reads, writes=[target])
        return device.record(stream)

    def _copy(self, target: Tensor) -> None:
        batch = target.view(self.planes[0].tensor.dtype).view(len(self.planes), *self.planes[0].shape)
        for row, plane in zip(batch, self.planes, strict=True):
            plane.write_to(row)


def on_device(planes: Sequence[object]) -> OnDevice | None:
    """Planes as an input, where they lie on a device."""
    found = [plane for plane in planes if isinstance(plane, DevicePlane)]
    return OnDevice(found) if len(found) == len(planes) else None
