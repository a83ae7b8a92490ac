"""The layouts that data sets come in, and the pairs made of them."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from pictures import noise
from PIL import Image

from vsr.app.compress import through_h264
from vsr.colour import rgb_to_luma
from vsr.errors import ConfigError, DataError
from vsr.pairs import make_pair
from vsr.training.config import DataConfig
from vsr.training.degradation import DegradationConfig
from vsr.training.folders import Source, find_sources
from vsr.training.loading import PairLoader


def touch(folder: Path, *names: str) -> Path:
    for name in names:
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).touch()
    return folder


def found(folder: Path, *, scale: int = 2, **settings: Any) -> tuple[list[str], list[str]]:
    parts = find_sources(DataConfig(folder=str(folder), **settings), scale=scale)
    names = [[source.high.relative_to(folder).as_posix() for source in part] for part in parts]
    return names[0], names[1]


def test_flat_and_nested(tmp_path: Path) -> None:
    touch(tmp_path, "a.png", "b/c.jpg", "b/d/e.webp", "._a.png", "notes.txt", "test/f.png")
    assert found(tmp_path, holdout_every=4) == (["a.png", "b/c.jpg", "b/d/e.webp"], ["test/f.png"])


@pytest.fixture
def div2k(tmp_path: Path) -> Path:
    low = [f"DIV2K_train_LR_bicubic/X{scale}/000{n}x{scale}.png" for scale in (2, 4) for n in (1, 2)]
    return touch(
        tmp_path / "DIV2K",
        *(f"DIV2K_train_HR/000{n}.png" for n in (1, 2, 3)),
        *low,
        *(f"DIV2K_valid_HR/080{n}.png" for n in (1, 2)),
        "DIV2K_valid_LR_bicubic/X2/0801x2.png",
        "DIV2K_test_LR_unknown/X2/0901x2.png",
    )


def test_div2k(div2k: Path) -> None:
    training, validation = found(div2k)
    assert training == [f"DIV2K_train_HR/000{n}.png" for n in (1, 2, 3)]
    assert validation == [f"DIV2K_valid_HR/080{n}.png" for n in (1, 2)]


@pytest.mark.parametrize("scale", [2, 3, 4])
def test_small_pictures_that_came_with_div2k(div2k: Path, scale: int) -> None:
    training, validation = find_sources(DataConfig(folder=str(div2k)), scale=scale)
    low = div2k / f"DIV2K_train_LR_bicubic/X{scale}"
    expected = [None] * 3 if scale == 3 else [low / f"0001x{scale}.png", low / f"0002x{scale}.png", None]
    assert [source.low for source in training] == expected
    assert (validation[0].low is not None) == (scale == 2)


def test_the_folder_of_div2k_alone(div2k: Path) -> None:
    training, validation = find_sources(DataConfig(folder=str(div2k / "DIV2K_train_HR"), holdout_every=3), scale=2)
    assert [source.high.name for source in training] == ["0001.png", "0002.png"]
    assert [source.high.name for source in validation] == ["0003.png"]
    assert training[0].low == div2k / "DIV2K_train_LR_bicubic/X2/0001x2.png"


@pytest.mark.parametrize("root", ["", "data", "data/images"])
def test_bsds500(tmp_path: Path, root: str) -> None:
    touch(tmp_path, *(f"data/images/{part}/{n}.jpg" for part in ("train", "val", "test") for n in (1, 2)))
    training, validation = found(tmp_path / root)
    assert {Path(name).parent.name for name in training + validation} == {"train"}
    assert (len(training), len(validation)) == (1, 1)
    training, validation = found(tmp_path / root, with_val=True)
    assert {Path(name).parent.name for name in training + validation} == {"train", "val"}


def test_a_folder_to_validate_with(tmp_path: Path) -> None:
    touch(tmp_path, "a.png", "b.png", "held/c.png", "held/d/e.png", "held/X_LR/c.png")
    training, validation = found(tmp_path, validation=str(tmp_path / "held"))
    assert (training, validation) == (["a.png", "b.png"], ["held/c.png", "held/d/e.png"])


def test_folders_that_leave_nothing(tmp_path: Path) -> None:
    touch(tmp_path, "X_valid_HR/1.png", "X_train_LR_bicubic/X2/1x2.png")
    with pytest.raises(DataError, match=r"no picture to train on below .*low resolution, validation or a test"):
        found(tmp_path)
    with pytest.raises(DataError, match=r"no folder .*elsewhere"):
        found(tmp_path, validation=str(tmp_path / "elsewhere"))


def save(path: Path, image: np.ndarray) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(image).save(path)
    return path


@pytest.mark.parametrize("channels", [1, 3])
def test_ready_made_pairs(tmp_path: Path, channels: int) -> None:
    high, low = noise(41, 50, 3), noise(20, 25, 3, seed=1)
    source = Source(save(tmp_path / "h.png", high), save(tmp_path / "l.png", low))
    (pair,) = PairLoader(scale=2, channels=channels).load([source])
    expected = (low, high[:40]) if channels == 3 else (rgb_to_luma(low), rgb_to_luma(high[:40]))
    np.testing.assert_array_equal(pair.low, expected[0])
    np.testing.assert_array_equal(pair.high, expected[1])


def test_ready_made_pairs_are_of_no_use_for_other_degradations(tmp_path: Path) -> None:
    high = noise(40, 40, 3)
    source = Source(save(tmp_path / "h.png", high), save(tmp_path / "l.png", noise(20, 20, 3, seed=1)))
    (pair,) = PairLoader(scale=2, channels=3, settings=DegradationConfig(kind="gaussian")).load([source])
    made = make_pair(high, 2, channels=3)
    assert np.abs(pair.low.astype(int) - made.low).mean() < 40


def test_pairs_that_do_not_belong_together(tmp_path: Path) -> None:
    source = Source(save(tmp_path / "h.png", noise(40, 40, 3)), save(tmp_path / "l.png", noise(20, 21, 3)))
    with pytest.raises(DataError, match=r"l.png is 21×20, ×2 of that is not .*h.png with 40×40"):
        PairLoader(scale=2).load([source])


@pytest.mark.parametrize("threads", [1, 3])
def test_pairs_come_in_order_and_depend_on_the_name_alone(tmp_path: Path, threads: int) -> None:
    sources = [Source(save(tmp_path / f"{n}.png", noise(64, 64 + 2 * n, 3, seed=n))) for n in range(6)]
    settings = DegradationConfig(noise_sigma=(1.0, 30.0), versions=2)
    loader = PairLoader(scale=2, settings=settings, threads=threads)
    pairs = loader.load(sources)
    assert [pair.high.shape[1] for pair in pairs] == [64 + 2 * n for n in range(6) for _ in range(2)]
    again = loader.load(sources[4:5])
    assert all(np.array_equal(a.low, b.low) for a, b in zip(again, pairs[8:10], strict=True))
    assert not np.array_equal(again[0].low, again[1].low)


def test_video_needs_an_encoder_and_room(tmp_path: Path) -> None:
    settings = DegradationConfig(h264_crf=(24, 24))
    with pytest.raises(ConfigError, match=r"h264_crf needs a video encoder; train with 'vsr train'"):
        PairLoader(scale=2, settings=settings)
    sources = [Source(save(tmp_path / f"{side}.png", noise(side, side, 3))) for side in (54, 56)]
    (pair,) = PairLoader(scale=2, settings=settings, compressor=through_h264).load(sources)
    assert pair.high.shape == tuple(2 * side for side in pair.low.shape)


def test_a_damaged_picture_ends_loading(tmp_path: Path) -> None:
    (tmp_path / "bad.png").write_bytes(b"no picture")
    with pytest.raises(DataError, match=r"bad\.png"):
        PairLoader(scale=2, threads=2).load([Source(tmp_path / "bad.png")])
