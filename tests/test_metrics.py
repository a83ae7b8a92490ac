from __future__ import annotations

import math

import numpy as np
import pytest
from pictures import noise, photo

from vsr.errors import PixelError
from vsr.metrics import gmsd, psnr, ssim


def test_psnr_by_hand() -> None:
    truth = photo()
    assert psnr(truth + np.uint8(1), truth) == pytest.approx(20 * math.log10(255))
    assert psnr(truth + np.uint8(5), truth) == pytest.approx(20 * math.log10(51))
    half = truth.copy()
    half[::2] += 2
    assert psnr(half, truth) == pytest.approx(10 * math.log10(255**2 / 2))


def test_psnr_does_not_wrap_around() -> None:
    black, white = np.zeros((4, 4), np.uint8), np.full((4, 4), 255, np.uint8)
    assert psnr(black, white) == psnr(white, black) == 0


def test_equal_pictures() -> None:
    assert psnr(photo(), photo()) == math.inf
    assert ssim(photo(), photo()) == pytest.approx(1)


@pytest.mark.parametrize("border", [1, 3])
def test_the_border_is_left_out(border: int) -> None:
    truth, spoilt = photo(), photo().copy()
    spoilt[:border], spoilt[-border:], spoilt[:, :border], spoilt[:, -border:] = 0, 0, 0, 0
    assert psnr(spoilt, truth, border=border) == math.inf
    assert psnr(spoilt, truth, border=border - 1) < 40
    assert ssim(spoilt, truth, border=border) == pytest.approx(1)


def test_ssim_by_its_formula() -> None:
    x, y = noise(11, 11, seed=1).astype(float), noise(11, 11, seed=2).astype(float)
    offsets = np.arange(-5, 6)
    window = np.exp(-(offsets[:, None] ** 2 + offsets**2) / (2 * 1.5**2))
    window /= window.sum()
    mean_x, mean_y = (window * x).sum(), (window * y).sum()
    var_x, var_y = (window * x * x).sum() - mean_x**2, (window * y * y).sum() - mean_y**2
    both = (window * x * y).sum() - mean_x * mean_y
    c1, c2 = (0.01 * 255) ** 2, (0.03 * 255) ** 2
    expected = (2 * mean_x * mean_y + c1) * (2 * both + c2) / ((mean_x**2 + mean_y**2 + c1) * (var_x + var_y + c2))
    assert ssim(x.astype(np.uint8), y.astype(np.uint8)) == pytest.approx(expected)


@pytest.mark.parametrize("metric", [psnr, ssim, gmsd])
def test_refuses(metric: object) -> None:
    assert callable(metric)
    with pytest.raises(PixelError, match=r"\(60, 76\) and \(60, 75\)"):
        metric(photo(60, 76), photo(60, 75))
    with pytest.raises(PixelError, match="uint16"):
        metric(photo().astype(np.uint16), photo())
    with pytest.raises(PixelError, match="H×W"):
        metric(noise(20, 20, 3), noise(20, 20, 3))
    with pytest.raises(PixelError, match="border of 30"):
        metric(photo(), photo(), border=30)
    with pytest.raises(PixelError, match="-1"):
        metric(photo(), photo(), border=-1)


def test_gmsd_by_hand() -> None:
    """A step edge against nothing: its gradient is seen in two of the columns, the same in each row."""
    flat, step = np.full((12, 16), 100, np.uint8), np.full((12, 16), 100, np.uint8)
    step[:, 8:] = 160
    similarity = np.ones((4, 6))
    similarity[:, 2:4] = 170 / (60.0**2 + 170)
    assert gmsd(step, flat) == pytest.approx(similarity.std())
    assert gmsd(step, step) == 0


def test_gmsd_grows_with_damage() -> None:
    truth = photo()
    noise_on = [np.clip(truth + noise(60, 76) / 255 * amount, 0, 255).astype(np.uint8) for amount in (8, 32)]
    assert 0 < gmsd(noise_on[0], truth) < gmsd(noise_on[1], truth)


def test_metrics_need_their_windows() -> None:
    with pytest.raises(PixelError, match="11×11"):
        ssim(photo(20, 20), photo(20, 20), border=5)
    with pytest.raises(PixelError, match="6×6"):
        gmsd(photo(10, 10), photo(10, 10), border=3)
