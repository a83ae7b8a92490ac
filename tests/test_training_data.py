from __future__ import annotations

from collections import Counter
from pathlib import Path

import numpy as np
import pytest
import torch
from pictures import noise
from PIL import ExifTags, Image
from skimage import data
from torch import Tensor

from vsr.colour import rgb_to_luma
from vsr.errors import DataError
from vsr.pairs import Pair, crop_to_multiple, find_images, make_pair, read_rgb
from vsr.resample import imresize
from vsr.training.data import Patches
from vsr.training.folders import Source
from vsr.training.loading import PairLoader


def generator(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def repeated(low: np.ndarray, scale: int) -> Pair:
    """A pair whose high resolution says of each sample where it came from."""
    return Pair(low, low.repeat(scale, axis=0).repeat(scale, axis=1))


def numbers(x: Tensor) -> np.ndarray:
    return (x * 255).round().to(torch.uint8).squeeze(1).numpy()


@pytest.mark.parametrize("scale", [2, 3, 4])
@pytest.mark.parametrize("candidates", [1, 3])
def test_low_and_high_are_cut_turned_and_mirrored_alike(scale: int, candidates: int) -> None:
    pairs = [repeated(noise(14, 19, seed=1), scale), repeated(noise(11, 9, seed=2), scale)]
    patches = Patches(pairs, scale=scale, patch=8, candidates=candidates)
    source = generator()
    for _ in range(20):
        low, high = patches.sample(6, source)
        assert (low.shape, high.shape) == ((6, 1, 8, 8), (6, 1, 8 * scale, 8 * scale))
        assert (low.dtype, high.dtype) == (torch.float32, torch.float32)
        assert torch.equal(high, low.repeat_interleave(scale, 2).repeat_interleave(scale, 3))


def test_a_real_patch_shrinks_to_its_low_resolution() -> None:
    rgb = data.astronaut()[:96, 180:300]
    patches = Patches([make_pair(rgb, 2)], scale=2, patch=24)
    low, high = patches.sample(16, generator())
    for small, large in zip(numbers(low), numbers(high), strict=True):
        inner = (slice(4, -4), slice(4, -4))
        # Luma of what was shrunk in RGB and rounded, against what is shrunk as luma.
        assert np.abs(imresize(large, scale=1 / 2).astype(int) - small)[inner].max() <= 3


def test_pictures_are_equally_likely_and_so_are_places_in_one() -> None:
    first = np.arange(42, dtype=np.uint8).reshape(6, 7)
    second = np.arange(100, 120, dtype=np.uint8).reshape(4, 5)
    patches = Patches([repeated(first, 2), repeated(second, 2)], scale=2, patch=3)
    low, _ = patches.sample(26_000, generator())
    # The smallest number of a patch is that of its first sample, however the patch was turned.
    places = Counter(low.flatten(1).amin(dim=1).mul(255).round().int().tolist())
    assert len(places) == 4 * 5 + 2 * 3
    for smallest, largest, expected in ((0, 41, 650), (100, 119, 13_000 / 6)):
        counts = [count for number, count in places.items() if smallest <= number <= largest]
        assert 0.85 * expected < min(counts)
        assert max(counts) < 1.15 * expected


def test_all_eight_ways_to_turn_a_patch_occur() -> None:
    low = np.arange(9, dtype=np.uint8).reshape(3, 3)
    patches = Patches([repeated(low, 2)], scale=2, patch=3)
    source = generator()
    seen = {patches.sample(1, source)[0].mul(255).round().int().flatten().tolist().__str__() for _ in range(200)}
    expected = {
        str(turned.ravel().tolist())
        for quarter in range(4)
        for turned in (np.rot90(low, quarter), np.fliplr(np.rot90(low, quarter)))
    }
    assert seen == expected


def test_candidates_seek_detail() -> None:
    low = np.full((40, 80), 100, np.uint8)
    low[:, :10] = noise(40, 10)
    spread = [
        Patches([repeated(low, 2)], scale=2, patch=8, candidates=candidates)
        .sample(200, generator())[0]
        .flatten(1)
        .var(dim=1)
        for candidates in (1, 8)
    ]
    assert (spread[0] == 0).float().mean() > 0.7
    assert (spread[1] == 0).float().mean() < 0.4


def test_the_seed_decides() -> None:
    patches = Patches([repeated(noise(30, 30), 2)], scale=2, patch=8)
    draws = [patches.sample(8, generator(seed)) for seed in (1, 1, 2)]
    assert torch.equal(draws[0][0], draws[1][0])
    assert torch.equal(draws[0][1], draws[1][1])
    assert not torch.equal(draws[0][0], draws[2][0])


def test_small_pictures_are_left_out() -> None:
    large = np.full((9, 9), 200, np.uint8)
    patches = Patches([repeated(noise(7, 30), 2), repeated(large, 2)], scale=2, patch=8)
    assert (numbers(patches.sample(32, generator())[0]) == 200).all()
    with pytest.raises(DataError, match="as large as a patch of 20×20"):
        Patches([repeated(large, 2)], scale=2, patch=10)


@pytest.mark.parametrize("scale", [2, 3, 4])
def test_degradation_is_done_in_rgb(scale: int) -> None:
    rgb = data.astronaut()[:67, 180:271]
    pair = make_pair(rgb, scale)
    high = rgb[: 67 // scale * scale, : 91 // scale * scale]
    np.testing.assert_array_equal(pair.high, rgb_to_luma(high))
    np.testing.assert_array_equal(pair.low, rgb_to_luma(imresize(high, scale=1 / scale)))
    assert pair.high.shape == tuple(side * scale for side in pair.low.shape)


def test_crop_to_multiple_cuts_the_end() -> None:
    image = noise(10, 11, 3)
    np.testing.assert_array_equal(crop_to_multiple(image, 4), image[:8, :8])
    np.testing.assert_array_equal(crop_to_multiple(image, 1), image)


def test_pictures_are_found_in_sub_folders_and_sorted(tmp_path: Path) -> None:
    for name in ("b.png", "a/z.JPG", "c.webp", "notes.txt"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).touch()
    assert [path.name for path in find_images(tmp_path)] == ["z.JPG", "b.png", "c.webp"]


def test_folders_without_pictures(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"no folder .*nowhere"):
        find_images(tmp_path / "nowhere")
    with pytest.raises(DataError, match=r"no picture below .*looked for \.png"):
        find_images(tmp_path)


@pytest.mark.parametrize("mode", ["RGB", "RGBA", "L", "P", "1", "CMYK"])
def test_every_kind_of_picture_becomes_rgb(tmp_path: Path, mode: str) -> None:
    path = tmp_path / f"picture.{'tif' if mode == 'CMYK' else 'png'}"
    Image.fromarray(noise(5, 6, 3)).convert(mode).save(path)
    rgb = read_rgb(path)
    assert (rgb.shape, rgb.dtype) == ((5, 6, 3), np.uint8)


def test_what_is_no_picture(tmp_path: Path) -> None:
    (tmp_path / "text.png").write_text("not a picture")
    Image.fromarray(noise(50, 60, 3)).save(tmp_path / "cut.png")
    (tmp_path / "cut.png").write_bytes((tmp_path / "cut.png").read_bytes()[:2000])
    for name in ("text.png", "cut.png", "missing.png"):
        with pytest.raises(DataError, match=name):
            read_rgb(tmp_path / name)


def test_tiny_pictures_are_passed_over(tmp_path: Path) -> None:
    for name, side in (("a.png", 31), ("b.png", 32)):
        Image.fromarray(noise(side, 40, 3)).save(tmp_path / name)
    pairs = PairLoader(scale=2).load([Source(path) for path in find_images(tmp_path)])
    assert [pair.low.shape for pair in pairs] == [(16, 20)]


def test_gray_of_16_bit_is_rounded_and_not_clipped(tmp_path: Path) -> None:
    gray = data.camera()[:20, :30]
    for name in ("deep.png", "deep.tif"):
        Image.fromarray(gray.astype(np.uint16) * 257 + np.uint16(100)).save(tmp_path / name)
        np.testing.assert_array_equal(read_rgb(tmp_path / name), np.dstack([gray] * 3))


@pytest.mark.parametrize("kind", ["jpg", "png", "tif"])
def test_photos_are_turned_upright_where_that_is_asked_for(tmp_path: Path, kind: str) -> None:
    """Test sets are read as they are stored, whatever a tag says."""
    rgb = np.repeat(np.repeat(noise(4, 5, 3), 8, axis=0), 8, axis=1)
    exif = Image.Exif()
    exif[ExifTags.Base.Orientation] = 6
    path = tmp_path / f"phone.{kind}"
    Image.fromarray(rgb).save(path, exif=exif, **({"quality": 100, "subsampling": 0} if kind == "jpg" else {}))
    # A quarter to the right, by the standard.
    assert np.abs(read_rgb(path, upright=True).astype(int) - np.rot90(rgb, -1)).max() <= 4
    if kind != "tif":  # which Pillow turns in any case
        assert np.abs(read_rgb(path).astype(int) - rgb).max() <= 4
