"""NIQE: it orders pictures as people do, and its parts are what the formulas say."""

from __future__ import annotations

import io
import math
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pytest
from PIL import Image, ImageFilter
from skimage import data

from vsr import Upscaler
from vsr.colour import rgb_to_luma
from vsr.errors import DataError, PixelError
from vsr.niqe import FEATURES, Naturalness, fit, load, niqe, patch_features, shipped_model
from vsr.pairs import make_pair

Luma = npt.NDArray[np.uint8]


@pytest.fixture(scope="module", params=["astronaut", "coffee", "chelsea"])
def luma(request: pytest.FixtureRequest) -> Luma:
    return rgb_to_luma(getattr(data, request.param)())


def blurred(luma: Luma, sigma: float) -> Luma:
    return np.asarray(Image.fromarray(luma).filter(ImageFilter.GaussianBlur(sigma)))


def noisy(luma: Luma, sigma: float) -> Luma:
    noise = np.random.default_rng(0).normal(0, sigma, luma.shape)
    return np.clip(luma + noise, 16, 235).astype(np.uint8)


def blocky(luma: Luma, quality: int) -> Luma:
    buffer = io.BytesIO()
    Image.fromarray(luma).save(buffer, "JPEG", quality=quality)
    return np.asarray(Image.open(buffer))


def test_worse_pictures_are_further_from_natural(luma: Luma) -> None:
    at_first = niqe(luma)
    assert at_first < niqe(blurred(luma, 1)) < niqe(blurred(luma, 2))
    assert at_first < niqe(noisy(luma, 15)) < niqe(noisy(luma, 40))
    assert at_first < niqe(blocky(luma, 15)) < niqe(blocky(luma, 5))


@pytest.mark.parametrize("scale", [2, 4])
def test_the_truth_is_more_natural_than_what_bicubic_makes_of_it(scale: int) -> None:
    pair = make_pair(data.astronaut(), scale)
    result = Upscaler("bicubic", scale=scale, device="torch").luma(pair.low)
    assert niqe(pair.high, border=scale) + 1 < niqe(result, border=scale)


def test_the_border_is_left_out(luma: Luma) -> None:
    spoilt = luma.copy()
    spoilt[:2], spoilt[-2:], spoilt[:, :2], spoilt[:, -2:] = 16, 235, 16, 235
    assert niqe(spoilt, border=2) == niqe(luma, border=2)
    assert niqe(spoilt) != niqe(luma)


def test_features_of_known_noise() -> None:
    """White Gaussian noise keeps its shape, 2 (a little more, as it is divided by its own deviation), and its scale."""
    noise = np.random.default_rng(3).normal(126, 20, (768, 768)).clip(16, 235).astype(np.uint8)
    found, sharpness = patch_features(noise)
    assert found.shape == (64, FEATURES)
    shape, scale = found[:, 0].mean(), found[:, 1].mean()
    assert 2 < shape < 3.2
    deviation = scale * math.sqrt(math.gamma(3 / shape) / math.gamma(1 / shape))
    assert deviation == pytest.approx(0.9, abs=0.1)
    # What is far above the local mean makes its neighbours lie below it: their products lean to the left, a little.
    assert (np.abs(found[:, 3] + 0.1) < 0.05).all()
    assert (found[:, 4] > found[:, 5]).all()
    assert sharpness.mean() == pytest.approx(20 * 255 / 219, rel=0.1)


def test_distance_by_its_formula(luma: Luma) -> None:
    found, _ = patch_features(luma)
    plain = Naturalness(np.zeros(FEATURES), np.eye(FEATURES))
    mean, spread = found.mean(axis=0), (np.eye(FEATURES) + np.cov(found.T)) / 2
    assert niqe(luma, model=plain) == pytest.approx(math.sqrt(mean @ np.linalg.solve(spread, mean)))


def test_a_fit_takes_the_sharp_patches_of_its_pictures() -> None:
    sharp = noisy(np.full((480, 480), 126, np.uint8), 30)
    half_blurred = np.hstack([sharp, blurred(sharp, 3)])
    model, patches = fit([half_blurred, noisy(sharp, 5)])
    found, _ = patch_features(sharp)
    assert patches == 25 + 25
    assert model.covariance.shape == (FEATURES, FEATURES)
    np.testing.assert_allclose(model.mean[0], found[:, 0].mean(), rtol=0.1)


def test_the_shipped_model_is_one() -> None:
    model = shipped_model()
    assert model.mean.shape == (FEATURES,)
    assert np.linalg.eigvalsh(model.covariance).min() > 0


def test_flat_patches_do_not_count(luma: Luma) -> None:
    flat = np.full((luma.shape[0] // 96 * 96, 96), 120, np.uint8)
    both = np.hstack([flat, luma[: len(flat), : luma.shape[1] // 96 * 96]])
    assert math.isfinite(niqe(both))
    with pytest.raises(PixelError, match="contrast"):
        niqe(np.full((192, 192), 120, np.uint8))


def test_refuses(tmp_path: Path) -> None:
    with pytest.raises(PixelError, match="two patches"):
        niqe(np.zeros((190, 95), np.uint8))
    with pytest.raises(PixelError, match="uint8"):
        niqe(np.zeros((200, 200), np.float32))  # type: ignore[arg-type]
    with pytest.raises(PixelError, match="H×W"):
        niqe(np.zeros(200, np.uint8))
    with pytest.raises(PixelError, match="-1"):
        niqe(np.zeros((200, 200), np.uint8), border=-1)
    with pytest.raises(DataError, match="sharp patches"):
        fit([noisy(np.full((192, 192), 126, np.uint8), 9)])
    with pytest.raises(DataError, match=r"none\.safetensors"):
        load(tmp_path / "none.safetensors")
