"""Static HDR metadata: how the picture's master was displayed (SMPTE ST 2086) and how bright it gets (CTA-861.3)."""

from __future__ import annotations

import struct
from dataclasses import dataclass
from fractions import Fraction
from typing import TypeAlias

Chromaticity: TypeAlias = tuple[Fraction, Fraction]
"""x and y of CIE 1931."""

# AVMasteringDisplayMetadata: ten AVRationals (R, G, B, white point as x and y, then the two luminances), two flags.
_MASTERING = struct.Struct("=20i2i")
_CONTENT_LIGHT = struct.Struct("=2I")


@dataclass(frozen=True, slots=True, kw_only=True)
class MasteringDisplay:
    """The display on which the picture was graded; a part that the stream does not state is None.

    Attributes:
        red, green, blue, white: chromaticities of the primaries and the white point.
        min_luminance, max_luminance: in cd/m².
    """

    red: Chromaticity | None = None
    green: Chromaticity | None = None
    blue: Chromaticity | None = None
    white: Chromaticity | None = None
    min_luminance: Fraction | None = None
    max_luminance: Fraction | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class ContentLight:
    """How bright the content gets.

    Attributes:
        max_content: brightest sample of all frames (MaxCLL), cd/m².
        max_average: brightest frame average (MaxFALL), cd/m².
    """

    max_content: int
    max_average: int


def parse_mastering_display(data: bytes) -> MasteringDisplay | None:
    """Read FFmpeg's ``AVMasteringDisplayMetadata``; None where it is cut short or states nothing."""
    if len(data) < _MASTERING.size:
        return None
    *numbers, has_primaries, has_luminance = _MASTERING.unpack_from(data)
    values = [Fraction(over, under) if under else Fraction(0) for over, under in zip(*[iter(numbers)] * 2, strict=True)]
    points = list(zip(values[0:8:2], values[1:8:2], strict=True)) if has_primaries else [None] * 4
    low, high = values[8:] if has_luminance else (None, None)
    if not (has_primaries or has_luminance):
        return None
    red, green, blue, white = points
    return MasteringDisplay(red=red, green=green, blue=blue, white=white, min_luminance=low, max_luminance=high)


def parse_content_light(data: bytes) -> ContentLight | None:
    """Read FFmpeg's ``AVContentLightMetadata``; None where it is cut short or states nothing."""
    if len(data) < _CONTENT_LIGHT.size:
        return None
    content, average = _CONTENT_LIGHT.unpack_from(data)
    return ContentLight(max_content=content, max_average=average) if content or average else None
