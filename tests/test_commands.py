from __future__ import annotations

import json
from functools import partial
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from skimage import data

from vsr.app import bench_scaling, bench_threads
from vsr.app.bench import bench_speed
from vsr.app.cli import main
from vsr.app.clip import Clip, luma, write_clip
from vsr.app.console import Console
from vsr.app.demo import run_demo
from vsr.app.pictures import Tile, contact_sheet
from vsr.weights import find, index


def _json(capsys: pytest.CaptureFixture[str], *arguments: str) -> object:
    assert main([*arguments]) == 0
    return json.loads(capsys.readouterr().out)


def test_doctor_says_what_will_be_used_and_why(capsys: pytest.CaptureFixture[str]) -> None:
    facts = _json(capsys, "doctor", "--json")
    assert isinstance(facts, dict)
    assert {"ecbsr", "espcn", "bicubic"} <= facts["choices"].keys()
    assert all(choice["reason"] for choice in facts["choices"].values())
    assert "h264" in facts["encoders"]
    assert main(["doctor"]) == 0
    text = capsys.readouterr().out
    assert "models" in text
    assert f"C code    {facts['c_code']}" in text


def test_models_lists_every_network_and_every_file_of_weights(capsys: pytest.CaptureFixture[str]) -> None:
    listed = _json(capsys, "models", "--json")
    assert [entry["file"] for entry in listed] == [info.file for info in index()]
    assert main(["models"]) == 0
    text = capsys.readouterr().out
    assert all(name in text for name in ("ecbsr", "espcn", "bicubic", "bilinear", "nearest"))


def test_evaluate_prints_the_mean_over_the_folder(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for name, picture in (("cat", data.chelsea()), ("coffee", data.coffee())):
        Image.fromarray(picture[:120, :160]).save(tmp_path / f"{name}.png")
    result = _json(capsys, "evaluate", "bicubic", "--data", str(tmp_path), "--scale", "2", "--json")
    assert isinstance(result, dict)
    assert result["images"].keys() == {"cat.png", "coffee.png"}
    assert result["psnr"] == pytest.approx(np.mean([score["psnr"] for score in result["images"].values()]))
    assert main(["evaluate", "bicubic", "--data", str(tmp_path)]) == 0
    assert capsys.readouterr().out.splitlines()[-1].startswith("mean")
    first = _json(capsys, "evaluate", "bicubic", "--data", str(tmp_path), "--limit", "1", "--json")
    assert isinstance(first, dict)
    assert first["images"].keys() == {"cat.png"}


def test_evaluate_takes_a_file_of_weights(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    Image.fromarray(data.chelsea()[:96, :120]).save(tmp_path / "cat.png")
    shared = ["evaluate", "espcn", "--scale", "3", "--data", str(tmp_path), "--device", "torch", "--json"]
    shipped = _json(capsys, *shared)
    assert _json(capsys, *shared, "--weights", str(find("espcn", scale=3).path)) == shipped
    assert main([*shared, "--weights", str(find("espcn", scale=2).path)]) == 5


@pytest.mark.parametrize(
    ("arguments", "code", "words"),
    [
        (["evaluate", "bicubic", "--data", "nowhere"], 3, "nowhere"),
        (["evaluate", "espn", "--data", "."], 5, "espn"),
        (["evaluate", "bicubic", "--data", ".", "--scale", "7"], 5, "scale 7"),
        (["evaluate", "--data", "."], 2, "--all"),
        (["evaluate", "ecbsr", "--all", "--data", "."], 2, "one of the two"),
        (["evaluate", "ecbsr", "--out", "page.md", "--data", "."], 2, "go with --all"),
        (["evaluate", "--all", "--data", "nowhere"], 3, "nowhere"),
        (["evaluate", "--all", "--weights", "mine.safetensors", "--data", "."], 2, "leave out --weights"),
        (["evaluate", "--all", "--data", ".", "--scale", "3"], 2, "leave out --scale"),
        (["evaluate", "--all", "--data", ".", "--device", "torch", "--precision", "int8"], 2, "--device, --precision"),
        (["train", "nothing"], 2, "nothing"),
        (["bench", "--size", "large"], 2, "large"),
        (["bench", "--size", "96x65"], 2, "an even WIDTHxHEIGHT"),
        (["bench", "--reuse", "--models", ","], 2, "see 'vsr models'"),
        (["bench", "--live", "--streams", "2", "--source", "a.mp4"], 2, "one of the two"),
        (["bench", "--streams", "2"], 2, "with --live"),
        (["bench", "--source", "a.mp4"], 2, "with --live, --reuse"),
        (["bench", "--reuse", "--live"], 2, "one of them"),
        (["bench", "--threads-sweep", "--profile", "a.svg"], 2, "got --profile with --threads-sweep, allowed are"),
        (["bench", "--memory", "--size", "640x360"], 2, "allowed are --frames"),
        (["bench", "--shapes", "--no-baselines"], 2, "allowed are --size, --scale"),
        (["demo", "--out", __file__], 4, "choose another with -o"),
    ],
)
def test_mistakes_are_told_in_one_line(
    arguments: list[str], code: int, words: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(arguments) == code
    said = capsys.readouterr()
    assert said.out == ""
    assert words in said.err
    assert said.err.count("\n") == 1


def test_train_runs_a_recipe_and_resumes_it(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    pictures = tmp_path / "pictures"
    pictures.mkdir()
    for number in range(3):
        Image.fromarray(data.astronaut()[100 * number : 100 * number + 96, :96]).save(pictures / f"{number}.png")
    recipe = tmp_path / "tiny.toml"
    recipe.write_text("[data]\nbatch = 2\npatch = 16\nholdout_every = 3\n[optim]\nsteps = 4\nsteps_per_epoch = 2\n")
    arguments = ["train", str(recipe), "--data", str(pictures), "--out", str(tmp_path / "run"), "--json"]
    first = _json(capsys, *arguments)
    assert isinstance(first, dict)
    assert Path(first["weights"]).is_file()
    assert _json(capsys, *arguments, "--resume") == first


def test_demo_measures_the_file_that_it_made(tmp_path: Path) -> None:
    clip = Clip(width=128, height=96, frames=8, rate=8)
    report = run_demo(tmp_path, model="bicubic", clip=clip)
    assert report.frames == clip.frames
    # The encoder costs something, and little: the file is the picture that was computed.
    assert report.psnr_bicubic - 0.5 < report.psnr <= report.psnr_bicubic + 0.05
    assert report.psnr > 25
    assert all(Path(name).is_file() for name in (report.input, report.output, report.picture))


@pytest.mark.parametrize("scale", [2, 3, 4])
def test_demo_at_every_scale(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, scale: int) -> None:
    monkeypatch.setattr("vsr.app.demo.Clip", partial(Clip, frames=8))
    report = run_demo(tmp_path, model="nearest", scale=scale)
    assert (report.scale, report.frames) == (scale, 8)


def test_demo_at_a_scale_that_there_is_not(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["demo", "--scale", "7", "--out", str(tmp_path / "demo")]) == 5
    assert "allowed are 2, 3, 4" in capsys.readouterr().err


def test_clip_is_the_same_each_time_and_moves(tmp_path: Path) -> None:
    clip = Clip(width=64, height=48, frames=8, rate=8)
    np.testing.assert_array_equal(clip.truth(3), Clip(width=64, height=48, frames=8, rate=8).truth(3))
    assert not np.array_equal(clip.truth(0), clip.truth(1))
    assert luma(clip.truth(0)).shape == (48, 64)
    write_clip(tmp_path / "clip.mp4", clip, scale=2)
    assert (tmp_path / "clip.mp4").stat().st_size > 1000


def test_bench_reports_speed_and_where_the_time_went(tmp_path: Path) -> None:
    result = bench_speed(
        frames=16, size=(64, 64), models=["bicubic", "nearest"], scale=2, baselines=False, profile=tmp_path / "a.json"
    )
    assert result["runs"].keys() == {"bicubic", "nearest"}
    for run in result["runs"].values():
        assert run["fps"] > 0
        assert run["stage_ms"].keys() == {"decode", "enhance", "encode"}
        bare = run["to_nothing"]
        assert {"decode", "enhance", "interpolation"} <= bare["parts_ms"].keys()
        assert bare["slowest_stage"] in run["stage_ms"]
        assert 0 <= bare["queues"]["before_network_mean"] <= bare["queues"]["before_network_most"] <= 8
    assert result["limits"]["copied_bytes_per_second"] > 0
    names = {event["name"] for event in json.loads((tmp_path / "a.json").read_text())["traceEvents"]}
    assert {"decode", "enhance", "interpolation", "encode"} <= names
    json.dumps(result)


def test_contact_sheet_puts_pictures_of_any_size_at_one_height() -> None:
    sheet = contact_sheet(
        [Tile("small", "", np.zeros((10, 20), np.uint8)), Tile("b", "n", np.zeros((40, 40, 3), np.uint8))]
    )
    assert sheet.width == 720 + 6 + 360


def test_json_has_no_infinity(capsys: pytest.CaptureFixture[str]) -> None:
    Console(as_json=True).give({"psnr": float("inf"), "images": [(1, float("nan"))], "name": "a"})
    assert json.loads(capsys.readouterr().out) == {"psnr": None, "images": [[1, None]], "name": "a"}


def test_bench_of_scaling(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(bench_scaling, "_SAMPLES", 1000)
    monkeypatch.setattr(bench_scaling, "_SIZES", ((16, 16), (32, 16)))
    result = bench_scaling.bench_scaling(model="bicubic", scale=2, size=(32, 32))
    assert result["by_size"].keys() == {"16x16", "32x16"}
    assert result["by_scale"].keys() == {"2", "3", "4"}
    assert all(cost["wall_ms"] > 0 for cost in result["by_frames_under_way"].values())
    json.dumps(result)


def test_bench_of_threads(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(bench_threads, "_ROUNDS", 2)
    monkeypatch.setattr(bench_threads, "usable_cores", lambda: 2)
    result = bench_threads.bench_threads(frames=4, size=(64, 64), model="bicubic", scale=2)
    divisions = result["divisions"]
    assert {"usual", "network 1", "encoder 1", "encoder 3", "network 1, encoder 1", "ahead 0"} <= divisions.keys()
    assert (divisions["usual"]["wall_ratio"], divisions["usual"]["processor_ratio"]) == (1, 1)
    assert all(min(figures.values()) > 0 for figures in divisions.values())
    json.dumps(result)


@pytest.mark.parametrize("cores", [1, 2, 4, 8, 32])
def test_no_division_is_measured_twice(cores: int) -> None:
    divisions = bench_threads._divisions(cores)
    assert len(set(divisions.values())) == len(divisions)
