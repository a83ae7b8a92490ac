from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from pictures import network
from PIL import Image
from skimage import data

from vsr import Upscaler
from vsr.colour import rgb_to_luma
from vsr.errors import DataError, PixelError
from vsr.evaluate import Score, check_pictures, evaluate, evaluate_folder, luma_of_enlarged, mean, trials
from vsr.metrics import psnr, ssim
from vsr.resample import imresize


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Two pictures whose sides are no multiples of anything."""
    for name, picture in (("a.png", data.astronaut()), ("b.png", data.coffee())):
        Image.fromarray(picture[20:91, 180:263]).save(tmp_path / name)
    return tmp_path


@pytest.mark.parametrize("scale", [2, 3, 4])
def test_the_protocol_step_by_step(folder: Path, scale: int) -> None:
    up = Upscaler("bilinear", scale=scale, device="torch")
    scores = evaluate_folder(up.luma, folder, scale=scale)
    assert [score.name for score in scores] == ["a.png", "b.png"]
    for score in scores:
        rgb = np.asarray(Image.open(folder / score.name))[: 71 // scale * scale, : 83 // scale * scale]
        result = up.luma(rgb_to_luma(imresize(rgb, scale=1 / scale)))
        inner = (slice(scale, -scale), slice(scale, -scale))
        assert score.psnr == psnr(result[inner], rgb_to_luma(rgb)[inner])
        assert score.ssim == ssim(result[inner], rgb_to_luma(rgb)[inner])


def test_an_upscaler_is_given_what_its_network_takes(folder: Path) -> None:
    """A luma network gets luma, also when it comes with its upscaler; one on RGB gets RGB, and its luma is compared."""
    up = Upscaler("bilinear", device="torch")
    assert evaluate_folder(up, folder, scale=2) == evaluate_folder(up.luma, folder, scale=2)

    colourful = Upscaler(network=network("srresnet", 2), device="torch")
    rgb = np.asarray(Image.open(folder / "a.png"))[:70, :82]
    low = imresize(rgb, scale=1 / 2)
    np.testing.assert_array_equal(luma_of_enlarged(colourful, low), rgb_to_luma(colourful(low)))


def test_trials_give_both_pictures_whole(folder: Path) -> None:
    trial = next(trials(Upscaler("nearest", scale=3, device="torch"), [folder / "a.png"], scale=3))
    assert trial.result.shape == trial.truth.shape == (69, 81)
    np.testing.assert_array_equal(trial.truth, rgb_to_luma(np.asarray(Image.open(folder / "a.png"))[:69, :81]))


def test_pictures_are_scored_one_by_one(folder: Path) -> None:
    scores = evaluate(Upscaler("nearest", device="torch").luma, [folder / "a.png", folder / "gone.png"], scale=2)
    assert next(scores).name == "a.png"
    with pytest.raises(DataError, match=r"gone\.png"):
        next(scores)


@pytest.mark.parametrize("scale", [2, 3, 4])
def test_pictures_that_cannot_be_judged_are_all_named_at_once(folder: Path, scale: int) -> None:
    """The smallest that is let through can be judged, and one pixel less could not."""
    least = {2: 16, 3: 18, 4: 20}[scale]
    tiny, small = (folder / f"{name}.png" for name in ("tiny", "small"))
    Image.fromarray(data.coffee()[:90, : least - 1]).save(tiny)
    Image.fromarray(data.coffee()[:least, :90]).save(small)
    broken = folder / "broken.png"
    broken.write_bytes((folder / "a.png").read_bytes()[:2000])
    good = [folder / "a.png", small]
    check_pictures(good, scale=scale)
    assert len(list(evaluate(Upscaler("nearest", scale=scale, device="torch"), good, scale=scale))) == 2
    with pytest.raises(DataError, match=rf"^2 of 4 pictures .*broken\.png.*; \S*tiny\.png has {least - 1}×90 pixels"):
        check_pictures([*good, broken, tiny], scale=scale)
    with pytest.raises(PixelError):
        list(evaluate(Upscaler("nearest", scale=scale, device="torch"), [tiny], scale=scale))


def test_mean_is_of_decibels() -> None:
    result = mean([Score("a", 30.0, 0.8), Score("b", 40.0, 0.9)])
    assert result.psnr == pytest.approx(35)
    assert result.ssim == pytest.approx(0.85)


@pytest.mark.parametrize(
    ("scale", "decibels", "similarity"), [(2, 33.66, 0.9299), (3, 30.39, 0.8682), (4, 28.42, 0.8104)]
)
def test_bicubic_on_set5_is_as_published(data_dir: Path, scale: int, decibels: float, similarity: float) -> None:
    up = Upscaler("bicubic", scale=scale, device="torch")
    result = mean(evaluate_folder(up.luma, data_dir / "test_images/Set5", scale=scale))
    assert result.psnr == pytest.approx(decibels, abs=0.03)
    assert result.ssim == pytest.approx(similarity, abs=0.002)
