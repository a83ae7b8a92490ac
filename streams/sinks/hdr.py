"""Static HDR metadata in the words that each encoder wants to hear."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from fractions import Fraction
from typing import Any, Self

from streams.hdr import Chromaticity, ContentLight, MasteringDisplay

# How each encoder calls the mastering display and the content light among its private parameters.
_KEYS = {
    "libx264": ("mastering-display", "cll"),
    "libx265": ("master-display", "max-cll"),
    "libsvtav1": ("mastering-display", "content-light"),
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Hdr:
    """What an output states of its light.

    Attributes:
        points: red, green, blue and white, or empty; ``luminance`` goes with it: the least and the greatest, cd/m².
            Encoders and containers take all of it or nothing.
        light: brightest pixel and brightest frame average, cd/m², or None.
    """

    points: tuple[Chromaticity, ...] = ()
    luminance: tuple[Fraction, Fraction] = (Fraction(0), Fraction(0))
    light: tuple[int, int] | None = None

    @classmethod
    def of(cls, side_data: Mapping[str, Any]) -> Self:
        """Read :attr:`streams.sources.base.SourceInfo.hdr`; a mastering display that is not complete is left out."""
        display: MasteringDisplay | None = side_data.get("mastering_display")
        content: ContentLight | None = side_data.get("content_light")
        light = (content.max_content, content.max_average) if content else None
        if display is None or display.min_luminance is None or display.max_luminance is None:
            return cls(light=light)
        points = tuple(p for p in (display.red, display.green, display.blue, display.white) if p is not None)
        if len(points) < 4:
            return cls(light=light)
        return cls(points=points, luminance=(display.min_luminance, display.max_luminance), light=light)

    def params(self, library: str) -> dict[str, str]:
        """Private parameters that make an encoder write it into the coded pictures; empty for one that cannot."""
        if library not in _KEYS:
            return {}
        display_key, light_key = _KEYS[library]
        result = {}
        if self.points:
            result[display_key] = self._decimals() if library == "libsvtav1" else self._steps()
        if self.light is not None:
            result[light_key] = f"{self.light[0]},{self.light[1]}"
        return result

    def _steps(self) -> str:
        """In steps of 0.00002 and of 0.0001 cd/m², as the messages of H.264 and H.265 store it."""
        red, green, blue, white = (f"({round(x * 50000)},{round(y * 50000)})" for x, y in self.points)
        least, most = (round(value * 10000) for value in self.luminance)
        return f"G{green}B{blue}R{red}WP{white}L({most},{least})"

    def _decimals(self) -> str:
        red, green, blue, white = (f"({float(x):.5f},{float(y):.5f})" for x, y in self.points)
        least, most = (float(value) for value in self.luminance)
        return f"G{green}B{blue}R{red}WP{white}L({most:.4f},{least:.4f})"
