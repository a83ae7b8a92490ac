"""How trained weights are measured and entered in the index."""

from __future__ import annotations

import hashlib
import itertools
import os
import shutil
import tomllib
from collections.abc import Callable
from contextlib import nullcontext
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from pictures import SMALL, network
from PIL import Image
from safetensors.torch import load_file, save_file

import vsr.weights
from vsr.errors import WeightsError
from vsr.models.base import parameter_count
from vsr.weights import WeightsInfo, index, load_network, ship
from vsr.weights.bundled import bundled_pictures


@pytest.fixture
def tests(tmp_path: Path) -> Path:
    """A folder of test sets: one picture each."""
    for folder, name in (("Set5", "astronaut"), ("Set14", "chelsea")):
        path = tmp_path / "tests" / folder / f"{name}.png"
        path.parent.mkdir(parents=True)
        Image.fromarray(bundled_pictures()[name]).save(path)
    return tmp_path / "tests"


@pytest.fixture
def shelf(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Where weights are shipped from, in place of the package."""
    folder = tmp_path / "shelf"
    folder.mkdir()
    monkeypatch.setattr(ship, "_FOLDER", folder)
    return folder


def run(monkeypatch: pytest.MonkeyPatch, file: Path, model: str, tests: Path, *more: str) -> None:
    about = ("--recipe", "as in a test", "--data", "noise", "clouds", "--tests", str(tests))
    monkeypatch.setattr("sys.argv", ["ship", str(file), model, "2", *about, *more])
    ship.main()


def entered(shelf: Path) -> dict[tuple[str, int, str], WeightsInfo]:
    tree = tomllib.loads((shelf / "index.toml").read_text(encoding="utf-8"))
    infos = [WeightsInfo(**entry) for entry in tree["weights"]]
    return {(info.model, info.scale, info.precision): info for info in infos}


@pytest.mark.parametrize(("model", "half"), [("srresnet", True), ("rrdb", False), ("ecbsr", False), ("srcnn", True)])
def test_weights_are_measured_and_entered(
    model: str, half: bool, shelf: Path, tests: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    net = network(model, 2, seed=4)
    file = tmp_path / "best.safetensors"
    save_file(net.state_dict(), file)
    run(monkeypatch, file, model, tests, *(["--half"] if half else []))

    infos = entered(shelf)
    assert infos.keys() == {(old.model, old.scale, old.precision) for old in index()} | {(model, 2, "fp32")}
    info = infos[model, 2, "fp32"]
    assert info.options == SMALL.get(model, {})
    assert info.parameters == parameter_count(net)
    assert set(info.psnr) == set(info.ssim) == {"Set14", "Set5"}
    assert set(info.niqe) == ({"Set14", "Set5"} if net.channels == 3 else set())
    # The same pictures by two ways.
    assert info.bundled == pytest.approx({"astronaut": info.psnr["Set5"], "chelsea": info.psnr["Set14"]}, abs=2e-3)
    assert info.check == {"astronaut.png": info.psnr["Set5"]}
    stored = load_file(shelf / info.file)
    assert {value.dtype for value in stored.values()} == {torch.float16 if half else torch.float32}

    shown = tuple(replace(entry, file=str(shelf / entry.file)) for entry in infos.values())
    monkeypatch.setattr(vsr.weights, "index", lambda: shown)
    loaded = load_network(model, scale=2)
    torch.testing.assert_close(loaded.state_dict(), net.state_dict(), atol=1e-3, rtol=1e-3)


def test_sixteen_bits_that_cost_quality_are_not_stored(
    shelf: Path, tests: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    net = network("ecbsr", 2, seed=4)
    file = tmp_path / "best.safetensors"
    save_file(net.state_dict(), file)

    monkeypatch.setattr(ship, "half_costs", lambda half, whole: 0.006)
    run(monkeypatch, file, "ecbsr", tests, "--half")
    assert (shelf / "ecbsr_x2_fp32.safetensors").read_bytes() == file.read_bytes()


def test_what_half_precision_costs_is_the_most_that_a_set_loses() -> None:
    whole = {"psnr": {"Set5": 30.0, "Set14": 28.0}}
    assert ship.half_costs({"psnr": {"Set5": 29.99, "Set14": 28.1}}, whole) == pytest.approx(0.01)
    assert ship.half_costs({"psnr": {}}, {"psnr": {}}) == 0


def test_writing_the_index_anew_changes_nothing(shelf: Path) -> None:
    ship.write_index([ship.as_entry(info) for info in index()])
    shipped = Path(vsr.weights.__file__).with_name("index.toml")
    assert (shelf / "index.toml").read_text(encoding="utf-8") == shipped.read_text(encoding="utf-8")


@pytest.mark.parametrize("fails", [None, *range(9)])
def test_an_entry_never_speaks_of_another_file(
    fails: int | None, shelf: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whoever reads between two steps, or after one that broke it off, finds the old pair, none, or the new one."""
    about = ship.as_entry(next(info for info in index() if info.model == "espcn" and info.scale == 2))
    old, file = tmp_path / "old", tmp_path / "new"
    for path in (old, file):
        path.write_text(path.name)
    hashes = {path.name: hashlib.sha256(path.read_bytes()).hexdigest() for path in (old, file)}
    published = shelf / about["file"]
    monkeypatch.setattr(ship, "index", lambda: (WeightsInfo(**{**about, "sha256": hashes["old"]}),))
    ship.publish(old, {**about, "sha256": hashes["old"]})
    steps, found = itertools.count(), []

    def look() -> None:
        infos = entered(shelf) if "[[" in (shelf / "index.toml").read_text() else {}
        found.append(next((hashes[published.read_text()] == info.sha256 for info in infos.values()), None))
        assert found[-1] is not False

    def stepping(real: Callable[..., Any]) -> Callable[..., Any]:
        def step(*arguments: Any, **options: Any) -> Any:
            look()
            if next(steps) == fails:
                raise OSError(28, "No space left on device")
            result = real(*arguments, **options)
            look()
            return result

        return step

    for place, name in ((Path, "replace"), (Path, "write_text"), (shutil, "copyfile"), (os, "fsync")):
        monkeypatch.setattr(place, name, stepping(getattr(place, name)))
    broken = pytest.raises(OSError, match="No space") if fails is not None else nullcontext()
    with broken:
        ship.publish(file, {**about, "sha256": hashes["new"]})
    monkeypatch.undo()
    if fails is None:
        assert next(steps) == 9
        assert found[-1]
        assert published.read_text() == "new"
    assert {path.name for path in shelf.iterdir()} == {"index.toml", about["file"]}


def test_a_copy_that_is_not_what_was_measured_is_not_published(shelf: Path, tmp_path: Path) -> None:
    (tmp_path / "new").write_text("changed meanwhile")
    with pytest.raises(WeightsError, match="not what was measured"):
        ship.publish(tmp_path / "new", ship.as_entry(index()[0]))
    assert not list(shelf.iterdir())
