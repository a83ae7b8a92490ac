"""How the planes of a picture relate: subsampling, where chroma samples lie, and what the numbers mean."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from vsr.backends.base import Numbers, Plane
from vsr.errors import PixelError

UNSPECIFIED = 2
"""The code point of ITU-T H.273 for a matrix that nobody stated."""

# Luma samples per chroma sample, (down, across).
_FACTORS = {"gray": (1, 1), "420": (2, 2), "422": (1, 2), "444": (1, 1)}


@dataclass(frozen=True, slots=True, kw_only=True)
class Layout:
    """The geometry and the numbers of Y, U and V planes.

    Attributes:
        subsampling: ``"gray"`` (one plane), ``"420"``, ``"422"`` or ``"444"``.
        bit_depth: 8 to 16; 8 in uint8, more in the low bits of uint16.
        full_range: luma uses every number, in place of 16..235 (at 8 bit).
        chroma_location: where a chroma sample lies among its luma samples: ``"left"`` (MPEG-2, H.264, …; level with the
            left column, between the rows), ``"center"`` (MPEG-1, JPEG), ``"topleft"`` (BT.2020).
        matrix: what Y, U and V are made of R, G and B with, as a code point of ITU-T H.273 (1 is BT.709, 5 and 6 are
            BT.601, 9 is BT.2020); only networks on RGB ask for it.
    """

    subsampling: Literal["gray", "420", "422", "444"] = "420"
    bit_depth: int = 8
    full_range: bool = False
    chroma_location: Literal["left", "center", "topleft"] = "left"
    matrix: int = UNSPECIFIED

    def __post_init__(self) -> None:
        if self.subsampling not in _FACTORS:
            raise PixelError(f"got subsampling {self.subsampling!r}, allowed are {', '.join(_FACTORS)}")
        if not 8 <= self.bit_depth <= 16:
            raise PixelError(f"got a bit depth of {self.bit_depth}, allowed are 8 to 16")
        if self.chroma_location not in ("left", "center", "topleft"):
            raise PixelError(f"got chroma location {self.chroma_location!r}, allowed are left, center, topleft")

    @property
    def numbers(self) -> Numbers:
        """What the numbers of the luma plane mean."""
        return Numbers(bit_depth=self.bit_depth, full_range=self.full_range)

    def chroma_shift(self, ratio: float) -> tuple[float, float]:
        """How far resizing must shift chroma for its siting to stay what it is.

        A chroma sample covers ``s`` luma samples along an axis and lies ``d`` beyond the first of them. Output sample j
        lies at luma position (s·j + d + ½)/ratio - ½ of the input, which is that less d, over s, in chroma samples;
        what this differs by from resizing the plane alone is (½ - (d + ½)/s)·(1 - 1/ratio).

        Returns:
            (down, across), in input chroma samples.
        """
        down, across = ((0.5 - (offset + 0.5) / factor) * (1 - 1 / ratio) for factor, offset in self.chroma_sites)
        return down, across

    @property
    def chroma_sites(self) -> tuple[tuple[int, float], tuple[int, float]]:
        """Luma samples per chroma sample, and how far beyond the first of them it lies: down, and across."""
        down, across = _FACTORS[self.subsampling]
        first_row = self.chroma_location == "topleft"
        first_column = self.chroma_location in ("left", "topleft")
        return (down, 0.0 if first_row else (down - 1) / 2), (across, 0.0 if first_column else (across - 1) / 2)

    def chroma_shape(self, rows: int, columns: int) -> tuple[int, int]:
        """(rows, columns) of the chroma planes of a picture; odd sizes round up."""
        down, across = _FACTORS[self.subsampling]
        return -(-rows // down), -(-columns // across)

    def check(self, planes: tuple[Plane, ...]) -> None:
        """Compare planes with this layout.

        Raises:
            PixelError: wrong number of planes, shapes or types.
        """
        count = 1 if self.subsampling == "gray" else 3
        if len(planes) != count:
            raise PixelError(f"got {len(planes)} planes, {self.subsampling} has {count}")
        if planes[0].ndim != 2:
            raise PixelError(f"got a luma plane of shape {planes[0].shape}, it must be rows × columns")
        rows, columns = planes[0].shape
        if not planes[0].size:
            raise PixelError(f"got a picture of {rows}×{columns}, it needs at least one row and one column")
        for index, plane in enumerate(planes):
            shape = self.chroma_shape(rows, columns) if index else (rows, columns)
            if plane.shape != shape or plane.dtype != self.numbers.dtype:
                raise PixelError(
                    f"plane {index} is {plane.shape} {plane.dtype}; {self.bit_depth}-bit {self.subsampling} of "
                    f"{rows}×{columns} needs {shape} {self.numbers.dtype.__name__}"
                )
