"""A source without a file: a moving pattern that is the same on every run, for tests and for measuring."""

from __future__ import annotations

from collections.abc import Iterator
from fractions import Fraction
from urllib.parse import parse_qs, urlsplit

import numpy as np

from streams.errors import FrameError, SourceError
from streams.frame import Frame, Item, PixelFormat, Plane
from streams.sources.base import Source, SourceInfo

_PERIOD = 32
"""Samples from crest to crest; divides 256, so that phases may be counted in bytes."""


class SyntheticSource(Source):
    """Diagonal waves that move one sample a picture, in any :class:`PixelFormat`.

    Args:
        width, height: luma samples, from 1.
        frames: how many pictures; None: no end.
        rate: pictures per second; the time base is one tick a picture.
        format: of the pictures.

    Raises:
        SourceError: for a size, count or rate below 1.
    """

    def __init__(
        self,
        *,
        width: int = 320,
        height: int = 180,
        frames: int | None = 30,
        rate: Fraction | int = 25,
        format: PixelFormat | None = None,  # noqa: A002 -- the name that it has everywhere else
    ) -> None:
        rate = Fraction(rate)
        if min(width, height, 1 if frames is None else frames) < 1 or rate <= 0:
            raise SourceError(f"got a pattern of {width}×{height}, {frames} frames at {rate}; all must be positive")
        self._frames = frames
        self._open = True
        self.info = SourceInfo(
            width=width,
            height=height,
            format=format or PixelFormat(),
            time_base=1 / rate,
            rate=rate,
            frames=frames,
            duration_seconds=None if frames is None else float(frames / rate),
            codec="synthetic",
        )

    @classmethod
    def from_url(cls, url: str) -> SyntheticSource:
        """From an address such as ``synthetic:640x360?frames=100&rate=30000/1001&subsampling=444&bit_depth=10``.

        With ``frames=endless`` there is no end.

        Raises:
            SourceError: for an option that does not exist or a value that is none.
        """
        parts = urlsplit(url)
        options = {name: values[-1] for name, values in parse_qs(parts.query).items()}
        try:
            width, height = (int(side) for side in (parts.path.lstrip("/") or "320x180").split("x"))
            form = PixelFormat(
                subsampling=options.pop("subsampling", "420"),  # type: ignore[arg-type]
                bit_depth=int(options.pop("bit_depth", "8")),
                range=options.pop("range", "limited"),  # type: ignore[arg-type]
            )
            frames, rate = options.pop("frames", "30"), Fraction(options.pop("rate", "25"))
            count = None if frames == "endless" else int(frames)
        except (ValueError, ZeroDivisionError, FrameError) as error:
            raise SourceError(f"got {url!r} ({error}); try synthetic:640x360?frames=100&rate=30") from error
        if options:
            raise SourceError(
                f"got {', '.join(options)} in {url!r}; allowed are frames, rate, subsampling, bit_depth, range"
            )
        return cls(width=width, height=height, frames=count, rate=rate, format=form)

    def items(self) -> Iterator[Item]:
        """The frames, in order."""
        form, base = self.info.format, self.info.time_base
        pts = 0
        while self._open and (self._frames is None or pts < self._frames):
            yield Frame(planes=self._pattern(pts), format=form, pts=pts, time_base=base, duration=1)
            pts += 1
        self._open = False

    def close(self) -> None:
        """Ends a running iteration at its next frame."""
        self._open = False

    def _pattern(self, time: int) -> tuple[Plane, ...]:
        form, planes = self.info.format, []
        low, high = (0, 255) if form.range == "full" else (16, 235)
        for index in range(form.plane_count):
            rows, columns = form.plane_shape(index, self.info.width, self.info.height)
            wave = low + (high - low) * (0.5 + 0.5 * np.sin(np.arange(_PERIOD) * (2 * np.pi / _PERIOD)))
            values = np.rint(wave * (1 << (form.bit_depth - 8))).astype(form.dtype)
            down, across = np.arange(rows) * (index + 1) + time, np.arange(columns)
            planes.append(values[(down.astype(np.uint8)[:, None] + across.astype(np.uint8)) % _PERIOD])
        return tuple(planes)
