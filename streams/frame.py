"""The one value that travels: a picture as the decoder made it, with its time and the meaning of its numbers.

A frame is planes of luma and chroma, never RGB: what a codec stores is what the network sees, and no colour is lost on
the way. The planes are views of the memory of whoever made them, and nobody writes into them: to a decoder they are
also the reference pictures of later frames. Of a picture that lies on a GPU they are copied to the host when somebody
looks at them, and not at all where nobody does.
"""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from fractions import Fraction
from types import MappingProxyType
from typing import Any, Literal, TypeAlias, overload

import numpy as np
import numpy.typing as npt

from streams.errors import FrameError

Plane: TypeAlias = npt.NDArray[np.uint8] | npt.NDArray[np.uint16]
Subsampling = Literal["gray", "420", "422", "444"]
Range = Literal["limited", "full"]
ChromaLocation = Literal["left", "center", "topleft"]

# log2 of how many luma samples share one chroma sample: (across, down).
_SHIFTS: Mapping[str, tuple[int, int]] = MappingProxyType({"420": (1, 1), "422": (1, 0), "444": (0, 0)})
_NAMES: Mapping[str, str] = MappingProxyType({"gray": "gray", "420": "yuv420p", "422": "yuv422p", "444": "yuv444p"})

UNSPECIFIED = 2
"""The code point of ITU-T H.273 for a matrix, primaries or transfer that nobody stated."""


@dataclass(frozen=True, slots=True, kw_only=True)
class PixelFormat:
    """What the planes of a frame hold, and what their numbers mean.

    ``matrix``, ``primaries`` and ``transfer`` are code points of ITU-T H.273 (1 is BT.709, 5 and 6 are BT.601, 9 is
    BT.2020, 2 is unspecified), passed on as they came: a stream that says nothing is not made to say something.

    Raises:
        FrameError: for a subsampling, bit depth, range or chroma location that is not among those listed.
    """

    subsampling: Subsampling = "420"
    bit_depth: int = 8
    range: Range = "limited"
    chroma_location: ChromaLocation = "left"
    matrix: int = UNSPECIFIED
    primaries: int = UNSPECIFIED
    transfer: int = UNSPECIFIED

    def __post_init__(self) -> None:
        _allow("subsampling", self.subsampling, ("gray", "420", "422", "444"))
        _allow("bit_depth", self.bit_depth, tuple(range(8, 17)))
        _allow("range", self.range, ("limited", "full"))
        _allow("chroma_location", self.chroma_location, ("left", "center", "topleft"))

    @property
    def dtype(self) -> type[np.uint8] | type[np.uint16]:
        """uint8 for 8 bit, uint16 (value in the low bits) for more."""
        return np.uint8 if self.bit_depth == 8 else np.uint16

    @property
    def plane_count(self) -> int:
        """1 for gray, else 3."""
        return 1 if self.subsampling == "gray" else 3

    @property
    def name(self) -> str:
        """FFmpeg's name of the planar layout: ``yuv420p``, ``gray10le``, …"""
        return _NAMES[self.subsampling] + ("" if self.bit_depth == 8 else f"{self.bit_depth}le")

    def plane_shape(self, plane: int, width: int, height: int) -> tuple[int, int]:
        """(rows, columns) of a plane of a picture of ``width`` × ``height`` luma samples; odd sizes round chroma up."""
        if plane == 0:
            return height, width
        across, down = _SHIFTS[self.subsampling]
        return -(-height >> down), -(-width >> across)


class Surface(Sequence[Plane]):
    """Y, U and V of a 4:2:0 picture with even sides that lies on a GPU: a sequence of planes, copied when looked at.

    Args:
        width: luma columns.
        height: luma rows.
        device: index of the GPU.
    """

    def __init__(self, *, width: int, height: int, device: int) -> None:
        self.width, self.height, self.device = width, height, device
        self._planes: tuple[Plane, ...] | None = None

    @abstractmethod
    def export(self) -> tuple[Any, Any]:
        """Two DLPack capsules, each to be used once: luma H×W, and H/2×W/2×2 of U and V in turns (NV12, P010).

        Samples of more than 8 bits are in the high bits of 16. What writes them may still be under way on the default
        stream of the GPU; the memory is whole as long as this object or what was made of a capsule lives.

        Raises:
            RuntimeError: it cannot be had there, for want of memory, say; the planes can be copied all the same.
        """

    @abstractmethod
    def download(self) -> tuple[Plane, ...]:
        """Copy the planes to the host, as a frame has them."""

    def __len__(self) -> int:
        return 3

    @overload
    def __getitem__(self, index: int) -> Plane: ...
    @overload
    def __getitem__(self, index: slice) -> Sequence[Plane]: ...
    def __getitem__(self, index: int | slice) -> Plane | Sequence[Plane]:
        # Two threads that look at the same time both copy, and get the same.
        if self._planes is None:
            self._planes = self.download()
        return self._planes[index]


@dataclass(frozen=True, slots=True, kw_only=True, repr=False)
class Frame:
    """A picture with its time.

    Attributes:
        planes: Y, or Y, U and V: views, H×W, uint8 or uint16 (value in the low bits); rows may be padded apart. A
            :class:`Surface` where the picture lies on a GPU.
        format: what the planes hold.
        pts: when the picture is shown, in ticks of ``time_base``; carried from the source, never counted up.
        time_base: seconds per tick.
        duration: ticks that it stays, 0 where the source does not say.
        corrupt: the decoder had to guess parts of it.
        discontinuity: the time or the picture does not continue from the frame before (a live source reconnected).
        arrived: when a live source had it decoded, in seconds of :func:`time.monotonic`; None from a file.
        owner: what the memory of the planes belongs to; kept so that it outlives the views.

    Raises:
        FrameError: when the number, shapes or types of the planes do not fit ``format``.
    """

    planes: Sequence[Plane]
    format: PixelFormat
    pts: int
    time_base: Fraction
    duration: int = 0
    corrupt: bool = False
    discontinuity: bool = False
    arrived: float | None = field(default=None, compare=False)
    owner: Any = field(default=None, compare=False)

    def __post_init__(self) -> None:
        form = self.format
        if len(self.planes) != form.plane_count:
            raise FrameError(f"got {len(self.planes)} planes, {form.name} has {form.plane_count}")
        if isinstance(self.planes, Surface):
            return
        height, width = self.planes[0].shape
        for index, plane in enumerate(self.planes):
            shape = form.plane_shape(index, width, height)
            if plane.shape != shape or plane.dtype != form.dtype:
                raise FrameError(
                    f"plane {index} is {plane.shape} {plane.dtype}; {form.name} at {width}×{height} needs "
                    f"{shape} {np.dtype(form.dtype)}"
                )

    @property
    def width(self) -> int:
        """Luma columns."""
        planes = self.planes
        return planes.width if isinstance(planes, Surface) else int(planes[0].shape[1])

    @property
    def height(self) -> int:
        """Luma rows."""
        planes = self.planes
        return planes.height if isinstance(planes, Surface) else int(planes[0].shape[0])

    @property
    def seconds(self) -> Fraction:
        """When the picture is shown, in seconds, exactly."""
        return self.pts * self.time_base

    @property
    def geometry(self) -> tuple[int, int, PixelFormat]:
        """What the frames of one batch have in common."""
        return self.width, self.height, self.format

    def __repr__(self) -> str:
        size = f"{self.width}×{self.height}"
        return f"Frame({size} {self.format.name} {self.format.range}, pts {self.pts} × {self.time_base} s)"


@dataclass(frozen=True, slots=True, kw_only=True)
class Packet:
    """Coded data of another stream of the same input (sound, subtitles, data), passed on as it came.

    Attributes:
        stream: index of the stream in :attr:`streams.sources.SourceInfo.streams` terms (its ``index``).
        payload: the ``av.Packet``; nobody between the source and the sink looks inside.
    """

    stream: int
    payload: Any


Item: TypeAlias = Frame | Packet
"""What a source hands to the pipeline, in the order of the file."""


def _allow(name: str, value: object, allowed: tuple[object, ...]) -> None:
    if value not in allowed:
        raise FrameError(f"got {name} {value!r}, allowed are {', '.join(map(str, allowed))}")
