"""HDR on a screen without HDR: a curve from the signals of PQ and HLG to that of sRGB, for looking at alone.

It is the EETF of ITU-R BT.2390: what is darker than a knee stays as bright as it is, what is brighter is pressed so
that the brightest of the content is the white of the screen, taken for the reference white of BT.2408. Red, green and
blue go through it one by one, so very bright colours become paler: one look-up for each byte, and no more.
"""

from __future__ import annotations

from collections.abc import Mapping
from functools import lru_cache
from typing import Any, TypeAlias

import numpy as np
import numpy.typing as npt

from streams.hdr import ContentLight, MasteringDisplay

PQ, HLG = 16, 18
"""Code points of ITU-T H.273 for the transfer of SMPTE ST 2084 and of ARIB STD-B67."""
BT2020 = 9
"""And for the primaries of both."""
WHITE_NITS = 203.0
SCREEN_OF_BT2020 = (1.6605, -0.5876, -0.0728, 0.0, -0.1246, 1.1329, -0.0083, 0.0, -0.0182, -0.1006, 1.1187, 0.0)
"""Red, green and blue of a screen by those of BT.2020, row by row with what is added: exact for light. On signals it is
exact near gray, and good enough to look at elsewhere."""

_USUAL_PEAK_NITS, _MOST_NITS = 1000.0, 10_000.0
_HLG_GAMMA = 1.2  # of a display of 1000 cd/m², by BT.2100
_HLG_A, _HLG_B, _HLG_C = 0.17883277, 0.28466892, 0.55991073
_M1, _M2 = 2610 / 16384, 2523 / 4096 * 128
_C1, _C2, _C3 = 3424 / 4096, 2413 / 4096 * 32, 2392 / 4096 * 32

Floats: TypeAlias = npt.NDArray[np.float64]


def peak_of(hdr: Mapping[str, Any]) -> float:
    """How bright the content gets, in cd/m²: as its static data (:attr:`streams.SourceInfo.hdr`) say, or the usual."""
    light, display = hdr.get("content_light"), hdr.get("mastering_display")
    stated = float(light.max_content) if isinstance(light, ContentLight) else 0.0
    if not stated and isinstance(display, MasteringDisplay):
        stated = float(display.max_luminance or 0)
    return min(stated, _MOST_NITS) or _USUAL_PEAK_NITS


@lru_cache(maxsize=32)
def tone_curve(transfer: int, *, peak_nits: float = _USUAL_PEAK_NITS) -> bytes:
    """What a screen is given for each byte of a signal, both in full range.

    Args:
        transfer: :data:`PQ` or :data:`HLG`.
        peak_nits: how bright the content gets, in cd/m².

    Raises:
        ValueError: for another transfer.
    """
    if transfer not in (PQ, HLG):
        raise ValueError(f"got transfer {transfer}, allowed are {PQ} (PQ) and {HLG} (HLG)")
    signal = np.linspace(0, 1, 256)
    nits = pq_to_nits(signal) if transfer == PQ else _hlg_to_nits(signal)
    light = np.clip(_pressed(nits, peak_nits) / WHITE_NITS, 0, 1)
    return np.round(255 * _srgb(light)).astype(np.uint8).tobytes()


def pq_to_nits(signal: Floats) -> Floats:
    """The light of a display, in cd/m², for a signal of PQ from 0 to 1 (SMPTE ST 2084)."""
    root = signal ** (1 / _M2)
    return np.asarray(_MOST_NITS * (np.maximum(root - _C1, 0) / (_C2 - _C3 * root)) ** (1 / _M1))


def nits_to_pq(nits: Floats) -> Floats:
    """The inverse of :func:`pq_to_nits`."""
    power = (nits / _MOST_NITS) ** _M1
    return np.asarray(((_C1 + _C2 * power) / (1 + _C3 * power)) ** _M2)


def _hlg_to_nits(signal: Floats) -> Floats:
    """Of gray, on a display of 1000 cd/m²: back to the scene, and from there as BT.2100 has displays show it."""
    scene = np.where(signal <= 0.5, signal**2 / 3, (np.exp((signal - _HLG_C) / _HLG_A) + _HLG_B) / 12)
    return np.asarray(_USUAL_PEAK_NITS * scene**_HLG_GAMMA)


def _pressed(nits: Floats, peak_nits: float) -> Floats:
    """The EETF: light up to ``peak_nits`` within that of the screen."""
    if peak_nits <= WHITE_NITS:
        return np.minimum(nits, WHITE_NITS)
    peak, white = nits_to_pq(np.array([peak_nits, WHITE_NITS]))
    most = white / peak
    knee = 1.5 * most - 0.5
    signal = np.minimum(nits_to_pq(nits) / peak, 1)
    part = np.maximum(signal - knee, 0) / (1 - knee)
    curve = (
        (2 * part**3 - 3 * part**2 + 1) * knee
        + (part**3 - 2 * part**2 + part) * (1 - knee)
        + (-2 * part**3 + 3 * part**2) * most
    )
    return pq_to_nits(np.where(signal < knee, signal, curve) * peak)


def _srgb(light: Floats) -> Floats:
    return np.asarray(np.where(light <= 0.0031308, 12.92 * light, 1.055 * light ** (1 / 2.4) - 0.055))
