"""HDR on a screen without: dark parts as they are, bright ones pressed together, colours that stay what they are."""

from __future__ import annotations

from fractions import Fraction
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest

from streams.hdr import ContentLight, MasteringDisplay
from streams.tone import HLG, PQ, SCREEN_OF_BT2020, WHITE_NITS, nits_to_pq, peak_of, pq_to_nits, tone_curve

PEAKS = [100.0, 203.0, 600.0, 1000.0, 4000.0, 10_000.0]
SIGNAL = np.linspace(0, 1, 256)
NITS = pq_to_nits(SIGNAL)


def curve(transfer: int, **options: Any) -> npt.NDArray[Any]:
    """What is shown for each step from black to white, from 0 to 1."""
    return np.frombuffer(tone_curve(transfer, **options), np.uint8) / 255


def light(shown: npt.NDArray[Any]) -> npt.NDArray[Any]:
    """What a screen of sRGB emits, from 0 to 1."""
    return np.where(shown <= 0.04045, shown / 12.92, ((shown + 0.055) / 1.055) ** 2.4)


@pytest.mark.parametrize(
    ("signal", "nits"), [(0.0, 0.0), (0.5081, 100.0), (0.5807, 203.0), (0.7518, 1000.0), (1.0, 1e4)]
)
def test_pq_is_that_of_the_standard(signal: float, nits: float) -> None:
    assert pq_to_nits(np.array([signal]))[0] == pytest.approx(nits, rel=2e-3, abs=1e-6)
    assert nits_to_pq(np.array([nits]))[0] == pytest.approx(signal, abs=1e-4)


@pytest.mark.parametrize("peak", PEAKS)
def test_a_ramp_rises_from_black_to_white(peak: float) -> None:
    shown = curve(PQ, peak_nits=peak)
    assert (np.diff(shown) >= 0).all()
    assert shown[0] == 0
    assert (shown[max(peak, WHITE_NITS) <= NITS] == 1).all()
    # What is bright is pressed together, and not cut off.
    assert peak <= WHITE_NITS or shown[0.4 * peak > NITS].max() < 1


@pytest.mark.parametrize("peak", PEAKS)
def test_what_is_dark_is_as_bright_as_it_is(peak: float) -> None:
    dark = NITS < 20
    shown = 255 * curve(PQ, peak_nits=peak)[dark]
    true = np.interp(NITS[dark] / WHITE_NITS, light(SIGNAL), 255 * SIGNAL)
    assert np.abs(shown - true).max() <= 1


def test_paper_white_is_bright_and_leaves_room_for_lights() -> None:
    white = np.interp(nits_to_pq(np.array([WHITE_NITS]))[0], SIGNAL, curve(PQ, peak_nits=1000.0))
    assert 0.7 < white < 0.9
    assert np.interp(0.75, SIGNAL, curve(HLG)) == pytest.approx(white, abs=0.02)


def test_hlg_rises_too() -> None:
    shown = curve(HLG)
    assert (np.diff(shown) >= 0).all()
    assert (shown[0], shown[-1]) == (0, 1)


def test_wide_primaries_become_those_of_the_screen() -> None:
    matrix = np.array(SCREEN_OF_BT2020).reshape(3, 4)
    assert matrix[:, :3] @ np.ones(3) == pytest.approx(1, abs=1e-3), "gray stays gray"
    assert not matrix[:, 3].any()
    # Red of BT.709 in the primaries of BT.2020, by BT.2087.
    assert matrix[:, :3] @ [0.6274, 0.0691, 0.0164] == pytest.approx([1, 0, 0], abs=2e-3)


@pytest.mark.parametrize(
    ("hdr", "nits"),
    [
        ({}, 1000),
        ({"content_light": ContentLight(max_content=640, max_average=100)}, 640),
        ({"content_light": ContentLight(max_content=0, max_average=100)}, 1000),
        ({"mastering_display": MasteringDisplay(max_luminance=Fraction(4000))}, 4000),
        ({"mastering_display": MasteringDisplay()}, 1000),
        ({"mastering_display": MasteringDisplay(max_luminance=Fraction(10**9))}, 10_000),
    ],
)
def test_how_bright_it_gets(hdr: dict[str, Any], nits: float) -> None:
    assert peak_of(hdr) == nits


def test_other_transfers_need_no_curve() -> None:
    with pytest.raises(ValueError, match="allowed are 16"):
        tone_curve(1)
