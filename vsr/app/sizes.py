"""How large the output becomes: a whole factor, or a size that was asked for."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from fractions import Fraction
from types import MappingProxyType

from vsr.errors import ConfigError

SCALES = (2, 3, 4)
"""The factors that networks are made for."""

HEIGHTS: Mapping[str, int] = MappingProxyType({"720p": 720, "1080p": 1080, "1440p": 1440, "2160p": 2160})

_ALLOWED = f"{', '.join(HEIGHTS)} and WIDTHxHEIGHT"
# H.264 and H.265 write each side of the ratio in 16 bits.
_FINEST_ASPECT = 10_000


@dataclass(frozen=True, slots=True, kw_only=True)
class SizePlan:
    """Where a picture goes.

    Attributes:
        scale: what the network enlarges by.
        width, height: of the output as it is stored, in luma samples; what the network makes is reduced to it.
        sample_aspect_ratio: of the output.
        label: for a file name: ``"x2"``, ``"1080p"``, ``"1280x720"``.
    """

    scale: int
    width: int
    height: int
    sample_aspect_ratio: Fraction
    label: str


def default_scale(scales: Sequence[int] = SCALES) -> int:
    """The factor where none was asked for: 2, or else the smallest there is."""
    return SCALES[0] if SCALES[0] in scales else min(scales)


def size_label(scale: int | None, to: str | None, *, scales: Sequence[int] = SCALES) -> str:
    """What names the size in a file name, checked.

    Args:
        scale: as it was asked for.
        to: as it was asked for.
        scales: that the network can enlarge by.

    Raises:
        ConfigError: both are given, or one is not allowed.
    """
    if to is not None:
        if scale is not None:
            raise ConfigError(f"got --scale {scale} with --to {to}; one of the two says how large, leave out the other")
        _parse(to)
        return to.lower()
    if scale is not None and scale not in scales:
        allowed = ", ".join(map(str, scales))
        raise ConfigError(f"got scale {scale}, allowed are {allowed}; any size up to x{max(scales)} with --to")
    return f"x{scale or default_scale(scales)}"


def plan_size(
    width: int,
    height: int,
    *,
    scale: int | None = None,
    to: str | None = None,
    sample_aspect_ratio: Fraction = Fraction(1),
    rotation: int = 0,
    scales: Sequence[int] = SCALES,
) -> SizePlan:
    """Choose the network's factor and the size of the output.

    As players and video sites name sizes, ``1080p`` is the length of the shorter side of what is seen: a landscape
    picture becomes 1080 high, a portrait one 1080 wide. The other side follows, to an even number. ``WxH`` is exact,
    as it is seen when a player has turned it; where its shape is another, the sample aspect ratio keeps the picture's.

    Args:
        width: of the input as it is stored.
        height: of the input as it is stored.
        scale: one of ``scales``; :func:`default_scale` where neither this nor ``to`` is given.
        to: ``"720p"``, ``"1080p"``, ``"1440p"``, ``"2160p"`` or ``"WxH"``.
        sample_aspect_ratio: of the input.
        rotation: degrees by which a player turns the picture.
        scales: that the network can enlarge by; for ``to`` the next larger one is chosen.

    Raises:
        ConfigError: both or neither are possible, the size is smaller than the input, or larger than the largest scale
            makes it.
    """
    label = size_label(scale, to, scales=scales)
    if to is None:
        factor = scale or default_scale(scales)
        size = width * factor, height * factor
        return SizePlan(
            scale=factor, width=size[0], height=size[1], sample_aspect_ratio=sample_aspect_ratio, label=label
        )
    asked = _parse(to)
    if isinstance(asked, int):
        target = _to_shorter_side(width, height, asked, sample_aspect_ratio)
        aspect = sample_aspect_ratio
    else:
        target = asked[::-1] if rotation % 180 else asked
        aspect = sample_aspect_ratio * Fraction(width * target[1], height * target[0])
    factor = _factor(width, height, *target, to=to, scales=scales)
    return SizePlan(
        scale=factor,
        width=target[0],
        height=target[1],
        sample_aspect_ratio=aspect.limit_denominator(_FINEST_ASPECT),
        label=label,
    )


def _parse(to: str) -> int | tuple[int, int]:
    text = to.strip().lower()
    if text in HEIGHTS:
        return HEIGHTS[text]
    match = re.fullmatch(r"([1-9]\d{0,4})[x×]([1-9]\d{0,4})", text)
    if match is None:
        raise ConfigError(f"got --to {to}, allowed are {_ALLOWED}")
    return int(match[1]), int(match[2])


def _to_shorter_side(width: int, height: int, side: int, aspect: Fraction) -> tuple[int, int]:
    if width * aspect < height:
        return side, _even(height * side / width)
    return _even(width * side / height), side


def _even(length: float) -> int:
    return 2 * round(length / 2)


def _factor(width: int, height: int, to_width: int, to_height: int, *, to: str, scales: Sequence[int]) -> int:
    if to_width < width or to_height < height:
        raise ConfigError(
            f"got --to {to}, which is {to_width}×{to_height} and smaller than the input's {width}×{height}; "
            f"ask for more, or use --scale"
        )
    for scale in sorted(scales):
        if to_width <= scale * width and to_height <= scale * height:
            return scale
    most = max(scales)
    raise ConfigError(
        f"got --to {to}, which is {to_width}×{to_height} and more than {most} times the input's {width}×{height}; "
        f"allowed is up to {most * width}×{most * height}"
    )
