"""``vsr compare``: the figures are those of the protocol, the crops those of the picture, and nothing is lost."""

from __future__ import annotations

import json
from fractions import Fraction
from pathlib import Path

import media
import numpy as np
import pytest
from PIL import ExifTags, Image
from skimage import data

from streams.errors import SourceError
from streams.frame import Frame, PixelFormat
from streams.sources import open_source
from vsr import Upscaler
from vsr.app.cli import main
from vsr.app.compare import Box, compare_pictures, most_detailed, upscalers
from vsr.app.compare_sheet import sheet
from vsr.app.pictures import Tile, comparison_sheet
from vsr.app.still import read_still, to_rgb
from vsr.colour import rgb_to_luma
from vsr.errors import ConfigError, DataError, UnknownModelError
from vsr.evaluate import evaluate
from vsr.pairs import make_pair
from vsr.weights import index

PHOTO = data.astronaut()[:243, 130:391]


@pytest.fixture
def photo(tmp_path: Path) -> Path:
    path = tmp_path / "photo.png"
    Image.fromarray(PHOTO).save(path)
    return path


def networks(scale: int) -> dict[str, Upscaler]:
    return {name: Upscaler(name, scale=scale, device="torch") for name in ("nearest", "bicubic")}


def test_figures_are_those_of_the_protocol(photo: Path) -> None:
    made = networks(4)
    comparison = compare_pictures(PHOTO, made, scale=4)
    assert [result.name for result in comparison.results] == ["nearest", "bicubic", "truth"]
    assert comparison.whole.shape == comparison.results[0].pixels.shape == (240, 260, 3)
    assert comparison.low == (60, 65)
    for result in comparison.results[:2]:
        score = next(evaluate(made[result.name], [photo], scale=4))
        assert (result.psnr, result.ssim) == (score.psnr, score.ssim)
    truth = comparison.results[-1]
    assert truth.psnr is None
    np.testing.assert_array_equal(truth.pixels, make_pair(PHOTO, 4, channels=3).high)


def test_without_a_truth_the_picture_itself_is_enlarged() -> None:
    comparison = compare_pictures(PHOTO, networks(2), scale=2, truth=False, box=Box(10, 20, 30, 40))
    assert comparison.low == PHOTO.shape[:2]
    assert [(result.name, result.psnr) for result in comparison.results] == [("nearest", None), ("bicubic", None)]
    # Chroma is bicubic always, so that luma is what tells where the crop was taken.
    expected = rgb_to_luma(PHOTO[20:60, 10:40]).repeat(2, axis=0).repeat(2, axis=1)
    assert np.abs(rgb_to_luma(comparison.crops()[0]).astype(int) - expected).max() <= 2


def test_crops_are_the_same_part_of_each_result() -> None:
    box = Box(left=100, top=60, width=32, height=24)
    comparison = compare_pictures(PHOTO, networks(3), scale=3, box=box)
    for result, crop in zip(comparison.results, comparison.crops(), strict=True):
        np.testing.assert_array_equal(crop, result.pixels[60:84, 100:132])


def test_the_most_detailed_part_is_shown() -> None:
    picture = np.full((200, 400, 3), 120, np.uint8)
    picture[96:168, 240:336] = np.random.default_rng(0).integers(0, 256, (72, 96, 3))
    assert most_detailed(picture, scale=4, truth=True) == Box(240, 96, 96, 72)
    # One hard edge is less than a place full of lines.
    picture[:80, :4] = 255
    assert most_detailed(picture, scale=4, truth=True) == Box(240, 96, 96, 72)


@pytest.mark.parametrize("shape", [(16, 200), (200, 16), (65, 65), (1100, 1300)])
@pytest.mark.parametrize("truth", [True, False])
def test_the_part_lies_within_pictures_of_any_shape(shape: tuple[int, int], truth: bool) -> None:
    picture = np.random.default_rng(0).integers(0, 256, (*shape, 3), dtype=np.uint8)
    box = most_detailed(picture, scale=3, truth=truth)
    assert 0 <= box.left <= box.left + box.width <= shape[1]
    assert 0 <= box.top <= box.top + box.height <= shape[0]
    assert box.width > 0
    assert box.height > 0


def test_default_networks_are_those_with_weights() -> None:
    trained = {info.model for info in index() if info.scale == 3}
    found = upscalers(models=None, scale=3, device="torch")
    assert {"nearest", "bicubic", "ecbsr"} <= found.keys()
    assert found.keys() - {"nearest", "bicubic"} <= trained


def test_weights_of_a_file_are_compared_under_its_name() -> None:
    path = next(info.path for info in index() if (info.model, info.scale, info.precision) == ("espcn", 2, "fp32"))
    found = upscalers(models=["espcn"], weights=[path], scale=2, device="torch")
    assert list(found) == ["espcn", "espcn_x2_fp32"]
    results = compare_pictures(PHOTO, found, scale=2).results
    np.testing.assert_array_equal(results[0].pixels, results[1].pixels)


def test_files_of_one_name_are_told_apart_by_their_folders(tmp_path: Path) -> None:
    source = next(info.path for info in index() if (info.model, info.scale, info.precision) == ("espcn", 2, "fp32"))
    paths = [tmp_path / run / "best.safetensors" for run in ("first", "second")]
    for path in paths:
        path.parent.mkdir()
        path.write_bytes(source.read_bytes())
    assert list(upscalers(models=[], weights=paths, scale=2, device="torch")) == ["best", "second/best"]


def test_refuses() -> None:
    with pytest.raises(DataError, match="64×64"):
        compare_pictures(PHOTO[:63], networks(4), scale=4)
    with pytest.raises(ConfigError, match="within the picture of 260×240"):
        compare_pictures(PHOTO, networks(4), scale=4, box=Box(200, 0, 61, 10))
    for text in ("1,2,3", "1,2,0,4", "a,b,c,d", "-1,2,3,4"):
        with pytest.raises(ConfigError, match="X,Y,W,H"):
            Box.parse(text)
    assert Box.parse("1, 2, 3, 4") == Box(1, 2, 3, 4)
    with pytest.raises(UnknownModelError, match="espn"):
        upscalers(models=["espn"], scale=2)


def test_the_sheet_holds_each_crop_enlarged_by_a_whole_number() -> None:
    crops = [np.random.default_rng(seed).integers(0, 256, (24, 32, 3), dtype=np.uint8) for seed in range(5)]
    tiles = [Tile(f"network {number}", "1 dB\nNIQE 2", crop) for number, crop in enumerate(crops)]
    made = np.asarray(comparison_sheet(Tile("whole", "a\nb", PHOTO), (10, 20, 32, 24), tiles))
    found = []
    for crop in crops:
        enlarged = crop.repeat(12, axis=0).repeat(12, axis=1)
        corners = np.argwhere((made == enlarged[0, 0]).all(axis=2))
        places = [(y, x) for y, x in corners if np.array_equal(made[y : y + 288, x : x + 384], enlarged)]
        assert len(places) == 1
        found += places
    rows, columns = {y for y, _ in found}, {x for _, x in found}
    assert (len(rows), len(columns)) == (2, 3)


def test_the_sheet_shows_where_the_part_lies() -> None:
    comparison = compare_pictures(np.zeros_like(PHOTO), networks(2), scale=2, box=Box(120, 120, 48, 36))
    made = np.asarray(sheet(comparison, title="dark.png"))
    bright = np.argwhere((made == (255, 221, 0)).all(axis=2))
    assert len(bright) > 100
    assert bright[:, 1].max() < made.shape[1] // 2
    edge = np.asarray(sheet(compare_pictures(PHOTO, networks(2), scale=2, box=Box(0, 0, 260, 242)), title="all"))
    assert (edge[:, :, 2] == 0).any()


def test_long_names_do_not_run_into_their_neighbours() -> None:
    crop = np.zeros((24, 32, 3), np.uint8)
    tiles = [Tile("network with a name that nobody would give to a network of any kind", "", crop), Tile("b", "", crop)]
    made = np.asarray(comparison_sheet(Tile("w" * 200, "", PHOTO), (0, 0, 32, 24), tiles).convert("L"))
    second = made.shape[1] - 16 - 384
    assert (made[-40:, second - 15 : second - 1] == 255).all()


def test_the_command_writes_the_picture_once(photo: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    out = tmp_path / "out.png"
    arguments = ["compare", str(photo), "--models", "nearest,bicubic", "--device", "torch", "-o", str(out)]
    assert main([*arguments, "--json"]) == 0
    said = json.loads(capsys.readouterr().out)
    assert said["picture"] == str(out)
    assert [result["name"] for result in said["results"]] == ["nearest", "bicubic", "truth"]
    before = out.read_bytes()
    assert main(arguments) == 4
    assert "--overwrite" in capsys.readouterr().err
    assert out.read_bytes() == before
    assert main([*arguments, "--overwrite"]) == 0
    assert capsys.readouterr().out.splitlines()[-1] == str(out)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["out.png", "photo.png"]


@pytest.mark.parametrize(
    ("arguments", "code", "words"),
    [
        (["gone.png"], 3, "no file gone.png"),
        (["photo.png", "-o", "photo.png", "--overwrite"], 4, "is the input"),
        (["photo.png", "-o", "no/folder.png"], 4, "no folder"),
        (["photo.png", "-o", "out.txt"], 4, "out.txt"),
        (["photo.png", "--models", "espn"], 5, "espn"),
        (["photo.png", "--crop", "250,0,90,90"], 2, "within"),
        (["photo.png", "--crop", "left"], 2, "X,Y,W,H"),
        (["photo.png", "--frame", "3"], 2, "one picture"),
        (["photo.png", "--weights", "gone.safetensors"], 5, "gone.safetensors"),
        (["text.mkv"], 3, "text.mkv"),
    ],
)
def test_mistakes_are_told_in_one_line(
    photo: Path,
    arguments: list[str],
    code: int,
    words: str,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.chdir(photo.parent)
    Path("text.mkv").write_text("not a video")
    before = photo.read_bytes()
    defaults = ["--models", "nearest", "--device", "torch"]
    assert main(["compare", *defaults, *arguments]) == code
    said = capsys.readouterr()
    assert words in said.err
    assert said.err.count("\n") == 1
    assert photo.read_bytes() == before


def test_a_frame_by_number_and_by_time(clip: Path) -> None:
    with open_source(clip) as source:
        frames = [to_rgb(frame) for frame in source]
    np.testing.assert_array_equal(read_still(clip), frames[0])
    np.testing.assert_array_equal(read_still(clip, frame="7"), frames[7])
    np.testing.assert_array_equal(read_still(clip, frame="0:00.2"), frames[5])
    with pytest.raises(SourceError, match="12 frames"):
        read_still(clip, frame="12")
    with pytest.raises(ConfigError, match="time"):
        read_still(clip, frame="soon")


def test_a_photo_of_a_phone_held_sideways_is_turned_upright(tmp_path: Path) -> None:
    exif = Image.Exif()
    exif[ExifTags.Base.Orientation] = 8
    Image.fromarray(PHOTO).save(tmp_path / "phone.png", exif=exif)
    np.testing.assert_array_equal(read_still(tmp_path / "phone.png"), np.rot90(PHOTO))


@pytest.mark.parametrize("rows", [48, 720])
def test_colours_come_by_the_matrix_that_players_assume(rows: int) -> None:
    """Red is stored as other numbers in BT.601 than in BT.709, and comes out as red from both."""
    red, blue = (0.299, 0.114) if rows < 720 else (0.2126, 0.0722)
    values = 16 + 219 * red, 128 - 112 * red / (1 - blue), 128 + 112
    shapes = (rows, 64), (rows // 2, 32), (rows // 2, 32)
    planes = [np.full(shape, value + 0.5, np.uint8) for shape, value in zip(shapes, values, strict=True)]
    frame = Frame(planes=tuple(planes), format=PixelFormat(), pts=0, time_base=Fraction(1, 25))
    rgb = to_rgb(frame)
    assert rgb.shape == (rows, 64, 3)
    np.testing.assert_allclose(rgb[rows // 2, 32], [255, 0, 0], atol=3)


def test_a_video_is_compared_by_one_frame(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    film = media.write_clip(tmp_path / "film.mkv", media.pattern(4, 96, 80))
    out = tmp_path / "film.png"
    arguments = ["compare", str(film), "--frame", "2", "--scale", "2", "--models", "bicubic", "--device", "torch"]
    assert main([*arguments, "--no-truth", "-o", str(out)]) == 0
    assert Image.open(out).width > 384
    assert capsys.readouterr().out.splitlines()[0].strip() == "bicubic"
