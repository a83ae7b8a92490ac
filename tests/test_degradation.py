"""Small pictures of every kind lie exactly on their truth, and a seed decides them."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
from skimage import data

from vsr.app import compress
from vsr.app.compress import through_h264
from vsr.colour import rgb_to_luma
from vsr.errors import ConfigError, PixelError
from vsr.metrics import psnr
from vsr.pairs import make_pair
from vsr.resample import imresize
from vsr.training.degradation import Compressed, DegradationConfig, blur_and_subsample, degrade, degraded_pairs

Picture = npt.NDArray[np.uint8]

PLAIN = DegradationConfig()
VIDEO = DegradationConfig(h264_crf=(18, 28))


def rgb(rows: int = 168, columns: int = 208) -> Picture:
    return np.ascontiguousarray(data.astronaut()[20 : 20 + rows, 120 : 120 + columns])


def rng(seed: int = 0) -> np.random.Generator:
    return np.random.default_rng(seed)


def pairs_of(settings: DegradationConfig, *, scale: int = 2, channels: int = 3, seed: int = 0) -> list[Any]:
    made = degraded_pairs(
        rgb(), scale=scale, settings=settings, channels=channels, rng=rng(seed), compressor=through_h264
    )
    return list(made)


def psnr_moved(low: Picture, high: Picture, *, scale: int, move: tuple[int, int]) -> float:
    """Luma of the small picture made large, against the truth moved by some of its samples."""
    large = imresize(low, scale=scale)
    one, other = (image if image.ndim == 2 else rgb_to_luma(image) for image in (large, high))
    return psnr(one, np.roll(other, move, axis=(0, 1)), border=8)


def test_the_protocol_is_what_evaluation_uses() -> None:
    for scale in (2, 3, 4):
        ((low, high),) = pairs_of(PLAIN, scale=scale, channels=1)
        expected = make_pair(rgb(), scale)
        assert np.array_equal(low, expected.low)
        assert np.array_equal(high, expected.high)


@pytest.mark.parametrize("channels", [1, 3])
@pytest.mark.parametrize("scale", [2, 3, 4])
@pytest.mark.parametrize(
    "settings",
    [
        PLAIN,
        DegradationConfig(kind="gaussian"),
        DegradationConfig(kind="gaussian", blur_sigma=(0.6, 1.2), noise_sigma=(0, 3), jpeg_quality=(70, 90)),
        replace(VIDEO, versions=3),
    ],
    ids=["bicubic", "gaussian", "everything", "h264"],
)
def test_both_of_a_pair_lie_at_the_same_place(settings: DegradationConfig, scale: int, channels: int) -> None:
    found = pairs_of(settings, scale=scale, channels=channels)
    assert len(found) == settings.versions
    for low, high in found:
        assert low.dtype == high.dtype == np.uint8
        assert low.ndim == high.ndim == (2 if channels == 1 else 3)
        assert high.shape[:2] == (low.shape[0] * scale, low.shape[1] * scale)
        still = psnr_moved(low, high, scale=scale, move=(0, 0))
        moved = [psnr_moved(low, high, scale=scale, move=move) for move in ((1, 0), (-1, 0), (0, 1), (0, -1))]
        assert still > max(moved) + 0.3
        # On the exact place, either way is as wrong as the other.
        assert abs(moved[0] - moved[1]) < 1.0
        assert abs(moved[2] - moved[3]) < 1.0


@pytest.mark.parametrize("scale", [2, 3])
def test_gaussian_weighs_as_a_gaussian(scale: int) -> None:
    flat = np.full((12 * scale, 12 * scale, 3), 77, np.uint8)
    assert (blur_and_subsample(flat, scale=scale, sigma=1.5) == 77).all()
    point = np.zeros_like(flat)
    point[6 * scale, 6 * scale] = 255
    made = blur_and_subsample(point, scale=scale, sigma=float(scale))[..., 0].astype(float)
    # The point lies (r-1)/2 true samples before the middle of its block.
    away = np.array([5, 6, 7]) * scale + (scale - 1) / 2 - 6 * scale
    kernel = np.exp(-0.5 * (away / scale) ** 2) / np.sqrt(2 * np.pi) / scale
    assert made[5:8, 5:8] == pytest.approx(255 * np.outer(kernel, kernel), abs=0.6)


@pytest.mark.parametrize(
    "settings",
    [
        DegradationConfig(kind="gaussian", blur_sigma=(0.5, 2.0)),
        DegradationConfig(noise_sigma=(1, 5)),
        DegradationConfig(jpeg_quality=(30, 95)),
        VIDEO,
    ],
)
def test_the_seed_decides(settings: DegradationConfig) -> None:
    one, again, other = (pairs_of(settings, seed=seed)[0][0] for seed in (1, 1, 2))
    assert np.array_equal(one, again)
    assert one.shape != other.shape or not np.array_equal(one, other)


def test_noise_is_as_strong_as_it_says() -> None:
    gray = np.full((256, 256, 3), 128, np.uint8)
    made = degrade(gray, scale=2, settings=DegradationConfig(noise_sigma=(4, 4)), rng=rng())
    assert made.astype(float).std() == pytest.approx(4, rel=0.05)
    assert made.astype(float).mean() == pytest.approx(128, abs=0.1)


def test_jpeg_quality_is_drawn_from_its_range(monkeypatch: pytest.MonkeyPatch) -> None:
    used: list[int] = []
    monkeypatch.setattr(
        "vsr.training.degradation._through_jpeg", lambda image, *, quality: used.append(quality) or image
    )
    pairs_of(DegradationConfig(jpeg_quality=(50, 52), versions=60))
    assert set(used) == {50, 51, 52}


def test_h264_is_drawn_from_its_range() -> None:
    used: list[tuple[int, bool]] = []

    def fake(picture: Picture, /, *, crf: int, luma: bool, rng: np.random.Generator) -> Compressed:
        used.append((crf, luma))
        return Compressed(picture[4:20, 6:26], 4, 6)

    settings = DegradationConfig(h264_crf=(20, 22), versions=60)
    found = list(degraded_pairs(rgb(), scale=4, settings=settings, channels=3, rng=rng(), compressor=fake))
    assert {crf for crf, _ in used} == {20, 21, 22}
    assert not any(luma for _, luma in used)
    assert np.array_equal(found[0][1], rgb()[16:80, 24:104])


def test_stronger_compression_is_further_from_the_truth() -> None:
    for channels in (1, 3):
        values = []
        for crf in (1, 20, 40):
            low, high = pairs_of(DegradationConfig(h264_crf=(crf, crf)), channels=channels)[0]
            values.append(psnr_moved(low, high, scale=2, move=(0, 0)))
        assert values[0] > values[1] + 0.2 > values[2] + 2


def test_nearly_lossless_luma_is_the_picture() -> None:
    low = rgb(80, 96)
    for seed in range(6):
        made = through_h264(low, crf=1, luma=True, rng=rng(seed))
        rows, columns = made.picture.shape
        assert rows % 2 == columns % 2 == 0
        window = rgb_to_luma(low)[made.row : made.row + rows, made.column : made.column + columns]
        assert psnr(made.picture, window, border=0) > 45


def test_colour_survives_h264() -> None:
    low = np.zeros((64, 64, 3), np.uint8)
    low[...] = (200, 40, 90)
    made = through_h264(low, crf=10, luma=False, rng=rng()).picture
    assert np.abs(made.astype(int) - (200, 40, 90)).max() <= 3


def test_the_frame_is_a_predicted_one(monkeypatch: pytest.MonkeyPatch) -> None:
    shown: list[Any] = []

    def spy(frames: Any, *, crf: int) -> Any:
        decoded = coded(frames, crf=crf)
        shown.extend(decoded)
        return decoded

    coded = compress._coded
    monkeypatch.setattr(compress, "_coded", spy)
    through_h264(rgb(80, 96), crf=23, luma=True, rng=rng(5))
    assert len(shown) == compress.FRAMES
    assert [frame.key_frame for frame in shown] == [True] + [False] * (compress.FRAMES - 1)


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"kind": "lanczos"}, "'lanczos', allowed are bicubic, gaussian"),
        ({"blur_sigma": (1.0, 2.0)}, "kind = 'gaussian'"),
        ({"kind": "gaussian", "blur_sigma": (0.0, 2.0)}, r"blur_sigma = \[0.0, 2.0\].*within 0.1 and 20"),
        ({"jpeg_quality": (90, 30)}, r"jpeg_quality = \[90, 30\]"),
        ({"h264_crf": (18, 52)}, r"h264_crf = \[18, 52\].*within 0 and 51"),
        ({"noise_sigma": (-1.0, 2.0)}, "noise_sigma"),
        ({"versions": 0}, "versions = 0"),
    ],
)
def test_impossible_settings(settings: dict[str, Any], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        DegradationConfig(**settings)


def test_no_compressor() -> None:
    with pytest.raises(ConfigError, match="h264_crf needs a video encoder"):
        next(degraded_pairs(rgb(), scale=2, settings=VIDEO, channels=1, rng=rng()))


def test_pictures_that_cannot_be_used() -> None:
    with pytest.raises(PixelError, match=r"\(41, 40, 3\) uint8.* 2 divides"):
        degrade(rgb(41, 40), scale=2, settings=PLAIN, rng=rng())
    with pytest.raises(PixelError, match=r"\(40, 40\)"):
        degrade(rgb(40, 40)[..., 0], scale=2, settings=PLAIN, rng=rng())
    with pytest.raises(PixelError, match=r"\(27, 40, 3\) uint8.*at least 28×28"):
        through_h264(rgb(27, 40), crf=20, luma=True, rng=rng())
