"""How a run is watched, and many are run: TensorBoard, curves, one command for all."""

from __future__ import annotations

import json
import logging
import sys
import time
import types
from dataclasses import replace
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import pytest
import torch
from runs import tiny, write_pictures

from vsr.errors import ConfigError, DataError
from vsr.training import all as training_all
from vsr.training import curves
from vsr.training.budget import Budget
from vsr.training.checkpoints import BEST, CHECKPOINT, DONE, HISTORY
from vsr.training.loop import Trainer

SVG = "{http://www.w3.org/2000/svg}"


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_pictures(tmp_path_factory.mktemp("pictures"))


class Writer:
    """Remembers what TensorBoard's writer is told."""

    made: list[Writer]

    def __init__(self, folder: str, *, purge_step: int) -> None:
        self.folder, self.purge_step = folder, purge_step
        self.scalars: list[tuple[str, int]] = []
        self.pictures: list[tuple[int, tuple[int, ...]]] = []
        self.closed = False
        self.made.append(self)

    def add_scalar(self, name: str, value: float, *, global_step: int) -> None:
        assert isinstance(value, float)
        self.scalars.append((name, global_step))

    def add_image(self, name: str, image: Any, *, global_step: int, dataformats: str) -> None:
        assert (name, dataformats) == ("sample", "HWC")
        self.pictures.append((global_step, image.shape))

    def flush(self) -> None:
        pass

    def close(self) -> None:
        self.closed = True


def test_tensorboard(folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Writer, "made", [], raising=False)
    monkeypatch.setitem(sys.modules, "torch.utils.tensorboard", types.SimpleNamespace(SummaryWriter=Writer))
    config = replace(tiny(folder, tmp_path / "run"), tensorboard=True, sample_every=2)
    Trainer(config).run()
    (writer,) = Writer.made
    names = {"loss", "psnr", "rate", "patches_per_second"}
    assert set(writer.scalars) == {(name, step) for name in names for step in (8, 16, 24)}
    assert writer.pictures == [(16, (2 * 192, 4 * 192, 3))]
    assert (writer.folder, writer.purge_step, writer.closed) == (config.out, 1, True)
    Trainer(config, resume=True)
    assert Writer.made[1].purge_step == 25


def test_tensorboard_that_is_not_installed(folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "torch.utils.tensorboard", None)
    with pytest.raises(ConfigError, match=r"tensorboard = true .*pip install 'vsr\[tensorboard\]'"):
        Trainer(replace(tiny(folder, tmp_path / "run"), tensorboard=True))
    assert not (tmp_path / "run").exists()


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> types.SimpleNamespace:
    now = types.SimpleNamespace(seconds=100.0)
    monkeypatch.setattr("vsr.training.budget.time.perf_counter", lambda: now.seconds)
    return now


def test_a_budget(clock: types.SimpleNamespace) -> None:
    budget = Budget(60.0, 10_000)
    assert budget.mark(10) == 10_000
    clock.seconds += 2
    assert budget.mark(30) == 30 + 580
    # Slower from here on.
    clock.seconds += 38
    assert budget.mark(230) == 230 + 110
    clock.seconds += 40
    assert budget.mark(340) == 340


def test_a_budget_never_adds_steps_and_none_bounds_nothing(clock: types.SimpleNamespace) -> None:
    for budget in (Budget(60.0, 500), Budget(0.0, 500)):
        budget.mark(0)
        clock.seconds += 1
        assert budget.mark(100) == 500


def run_folder(path: Path, rows: list[dict[str, float]]) -> Path:
    path.mkdir()
    (path / HISTORY).write_text("".join(json.dumps(row) + "\n" for row in rows))
    return path


def test_curves(tmp_path: Path) -> None:
    rows = [{"step": 1000.0 * n, "psnr": 30 + 4 * (1 - 0.5**n), "loss": 0.1 * 0.8**n} for n in range(1, 9)]
    runs = [run_folder(tmp_path / "a<b", rows), run_folder(tmp_path / "second", rows[:3])]
    out = tmp_path / "images" / "curves.svg"
    curves.main([*map(str, runs), "-o", str(out)])
    tree = ElementTree.fromstring(out.read_text(encoding="utf-8"))
    lines = [path.get("d", "") for path in tree.iter(f"{SVG}path")]
    assert [line.count("L") for line in lines] == [7, 2, 7, 2, 0, 0]
    height = float(tree.get("viewBox", "").split()[3])
    for line in lines[:4]:
        points = [tuple(map(float, point.split())) for point in line[1:].split("L")]
        assert all(0 <= x <= 760 and 0 <= y <= height for x, y in points)
        assert points == sorted(points)
    psnr = [float(point.split()[1]) for point in lines[0][1:].split("L")]
    assert psnr == sorted(psnr, reverse=True)
    texts = {text.text for text in tree.iter(f"{SVG}text")}
    assert {"a<b, best 33.98 dB", "second, best 33.50 dB", "validation PSNR, dB", "2,000"} <= texts
    assert "prefers-color-scheme: dark" in out.read_text(encoding="utf-8")


def test_a_curve_of_one_point(tmp_path: Path) -> None:
    run = run_folder(tmp_path / "run", [{"step": 5.0, "psnr": 30.0, "loss": 0.1}])
    ElementTree.fromstring(curves.draw([curves.read_curve(run)]))


@pytest.mark.parametrize("content", [None, "", "{", "[1]\n"])
def test_histories_that_cannot_be_drawn(tmp_path: Path, content: str | None) -> None:
    if content is not None:
        (tmp_path / HISTORY).write_text(content)
    with pytest.raises(DataError, match=r"history"):
        curves.read_curve(tmp_path)


RECIPE = """
out = "runs/{name}"
sample_every = 0
threads = 1
[model]
name = "espcn"
scale = 2
{init}
[data]
patch = 12
batch = 2
[optim]
steps = 4
steps_per_epoch = 2
"""


@pytest.fixture
def recipes(tmp_path: Path) -> list[str]:
    """One, one that starts from it, and one that cannot be run."""
    inits = {"first": "", "second": 'init = "runs/first/best.safetensors"', "broken": 'init = "runs/none.safetensors"'}
    for name, init in inits.items():
        (tmp_path / f"{name}.toml").write_text(RECIPE.format(name=name, init=init))
    return [str(tmp_path / f"{name}.toml") for name in ("first", "broken", "second")]


def test_all_are_trained_in_order_and_what_is_done_is_skipped(
    folder: Path, tmp_path: Path, recipes: list[str], caplog: pytest.LogCaptureFixture
) -> None:
    runs = tmp_path / "elsewhere"
    with caplog.at_level(logging.INFO):
        assert training_all.train_all(recipes, data=folder, runs=runs, device="cpu") == [recipes[1]]
    assert "broken.toml failed: " in caplog.text
    for name in ("first", "second"):
        assert (runs / name / DONE).exists()
    before = (runs / "first" / BEST).read_bytes()
    (runs / "second" / DONE).unlink()
    caplog.clear()
    with caplog.at_level(logging.INFO):
        training_all.train_all(recipes, data=folder, runs=runs, device="cpu", minutes=5.0)
    assert f"{recipes[0]} is done" in caplog.text
    assert f"{recipes[2]}: training" in caplog.text
    assert (runs / "second" / DONE).exists()
    assert (runs / "first" / BEST).read_bytes() == before


def test_a_common_time_is_shared_out(folder: Path, tmp_path: Path, recipes: list[str]) -> None:
    endless = [recipes[0], recipes[2]]
    for path in map(Path, endless):
        path.write_text(path.read_text().replace("steps = 4", "steps = 1_000_000").replace("epoch = 2", "epoch = 60"))
    runs = tmp_path / "runs"
    assert training_all.train_all(endless, data=folder, runs=runs, device="cpu", in_all=0.05) == []
    for name in ("first", "second"):
        assert 0 < json.loads((runs / name / DONE).read_text())["step"] < 1_000_000


def test_what_an_earlier_call_took_is_not_taken_off_the_time(folder: Path, tmp_path: Path, recipes: list[str]) -> None:
    recipe, run = Path(recipes[0]), tmp_path / "runs" / "first"
    recipe.write_text(recipe.read_text().replace("steps = 4", "steps = 20"))
    training_all.train_all([str(recipe)], data=folder, runs=run.parent, device="cpu")
    (run / DONE).unlink()
    state = torch.load(run / CHECKPOINT, weights_only=True)
    state["place"] |= {"step": 10, "spent": (1_000_000, 1000.0)}
    torch.save(state, run / CHECKPOINT)
    training_all.train_all([str(recipe)], data=folder, runs=run.parent, device="cpu", in_all=1.0)
    assert json.loads((run / DONE).read_text())["step"] == 20


def test_shares_of_what_is_left(tmp_path: Path) -> None:
    now = time.perf_counter()
    pair = ["ecbsr_long_x2", "ecbsr_stream_x2"]
    assert training_all._end_of_first(pair, tmp_path, now + 100) == pytest.approx(now + 80, abs=5)
    (tmp_path / pair[1]).mkdir()
    (tmp_path / pair[1] / DONE).touch()
    assert training_all._end_of_first(pair, tmp_path, now + 100) == pytest.approx(now + 100, abs=5)


def test_a_recipe_that_is_not_there_fails_in_its_own_turn(folder: Path, tmp_path: Path, recipes: list[str]) -> None:
    asked = [recipes[0], "mistyped"]
    runs = tmp_path / "runs"
    assert training_all.train_all(asked, data=folder, runs=runs, device="cpu", in_all=1.0) == ["mistyped"]
    assert (runs / "first" / DONE).exists()


def test_the_command_says_by_its_code_whether_all_went_well(folder: Path, tmp_path: Path, recipes: list[str]) -> None:
    options = ["--data", str(folder), "--runs", str(tmp_path / "r"), "--device", "cpu", "--minutes", "1"]
    assert training_all.main([recipes[0], *options]) == 0
    assert training_all.main([recipes[1], *options]) == 1


def test_the_default_list_trains_first_what_others_start_from() -> None:
    made: set[str] = set()
    for name in training_all.RECIPES:
        config = training_all._config(name, data=None, runs=Path("runs"), minutes=None, device=None)
        if config.model.init and config.model.init.startswith("runs"):
            assert config.model.init in made, name
        made.add(f"{config.out}/{BEST}")
