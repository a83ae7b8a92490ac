"""Runs of a few steps on tiny pictures: that they learn, and that nothing is lost when they are interrupted."""

from __future__ import annotations

import json
from dataclasses import replace
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from pictures import noise
from PIL import Image
from skimage import data

from vsr.errors import ConfigError, DataError, UnknownModelError, WeightsError
from vsr.models import build_network
from vsr.models.base import Network
from vsr.models.quantized import quantize, quantized_layers
from vsr.pairs import find_images
from vsr.training.config import DataConfig, ModelConfig, OptimConfig, TrainConfig
from vsr.training.data import Patches
from vsr.training.folders import Source, split
from vsr.training.loading import PairLoader
from vsr.training.loop import BEST, CHECKPOINT, HISTORY, Trainer, learning_rate, validate
from vsr.weights import load_into, start_from

CPU = torch.device("cpu")


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Six small crops of photographs."""
    path = tmp_path_factory.mktemp("pictures")
    for number, picture in enumerate([data.astronaut(), data.coffee(), data.chelsea()]):
        for part, rows in enumerate([40, 140]):
            Image.fromarray(picture[rows : rows + 72, 160:250]).save(path / f"{number}{part}.png")
    return path


@pytest.fixture
def config(folder: Path, tmp_path: Path) -> TrainConfig:
    return TrainConfig(
        out=str(tmp_path / "run"),
        device="cpu",
        threads=1,
        sample_every=0,
        model=ModelConfig(name="ecbsr", scale=2),
        data=DataConfig(folder=str(folder), holdout_every=3, patch=12, batch=4),
        optim=OptimConfig(steps=24, steps_per_epoch=8, rate=2e-3, warmup_steps=4, ema=0.9),
    )


def with_optim(config: TrainConfig, **changes: Any) -> TrainConfig:
    return replace(config, optim=replace(config.optim, **changes))


def with_model(config: TrainConfig, **changes: Any) -> TrainConfig:
    return replace(config, model=replace(config.model, **changes))


def history(config: TrainConfig) -> list[dict[str, float]]:
    """Its lines, without how fast it was."""
    rows = [json.loads(line) for line in (Path(config.out) / HISTORY).read_text().splitlines()]
    return [{name: value for name, value in row.items() if name != "patches_per_second"} for row in rows]


@pytest.mark.parametrize("name", ["espcn", "ecbsr"])
def test_a_run_gets_better(config: TrainConfig, name: str) -> None:
    config = with_optim(with_model(config, name=name), steps=80, steps_per_epoch=40)
    trainer = Trainer(config)
    start = validate(trainer.average, trainer.validation, CPU)
    best = trainer.run()
    assert best > start + 1
    rows = history(config)
    assert [row["step"] for row in rows] == [40, 80]
    assert [row["epoch"] for row in rows] == [1, 2]
    assert best == max(row["psnr"] for row in rows)


@pytest.mark.parametrize("quantize_it", [False, True])
def test_the_best_weights_are_the_ones_that_were_measured(config: TrainConfig, quantize_it: bool) -> None:
    config = with_model(config, quantize=quantize_it)
    trainer = Trainer(config)
    best = trainer.run()
    network = build_network("ecbsr", scale=2).folded()
    network = quantize(network) if quantize_it else network
    load_into(network, Path(config.out) / BEST)
    assert validate(network, trainer.validation, CPU) == pytest.approx(best, abs=1e-4)
    if quantize_it:
        assert all(layer.input_scale > 1e-6 for layer in quantized_layers(network))


class PowerCutError(Exception):
    """The machine goes away in the middle of a step."""


def interrupted_run(config: TrainConfig, monkeypatch: pytest.MonkeyPatch, *, after: int) -> None:
    trainer, sample, drawn = Trainer(config), Patches.sample, 0

    def cut(*arguments: Any) -> Any:
        nonlocal drawn
        drawn += 1
        if drawn > after:
            raise PowerCutError
        return sample(*arguments)

    with monkeypatch.context() as patch:
        patch.setattr(Patches, "sample", cut)
        with pytest.raises(PowerCutError):
            trainer.run()


def assert_equal_bits(one: Any, other: Any) -> None:
    if isinstance(one, torch.Tensor):
        assert torch.equal(one, other)
    elif isinstance(one, dict):
        assert one.keys() == other.keys()
        for key, value in one.items():
            assert_equal_bits(value, other[key])
    elif isinstance(one, list | tuple):
        for a, b in zip(one, other, strict=True):
            assert_equal_bits(a, b)
    else:
        assert one == other


@pytest.mark.parametrize("quantize_it", [False, True])
@pytest.mark.parametrize("after", [11, 19])
def test_a_resumed_run_ends_with_the_same_bits(
    config: TrainConfig, monkeypatch: pytest.MonkeyPatch, tmp_path: Path, quantize_it: bool, after: int
) -> None:
    config = with_model(replace(config, data=replace(config.data, candidates=2)), quantize=quantize_it)
    straight, broken = (replace(config, out=str(tmp_path / name)) for name in ("straight", "broken"))
    best = Trainer(straight).run()
    interrupted_run(broken, monkeypatch, after=after)
    assert history(broken)[-1]["step"] == after // 8 * 8
    # What happens in between must not matter.
    torch.manual_seed(99)
    assert Trainer(broken, resume=True).run() == best
    assert history(broken) == history(straight)
    one, other = (
        torch.load(Path(run.out) / CHECKPOINT, map_location="cpu", weights_only=True) for run in (straight, broken)
    )
    one.pop("config"), other.pop("config")
    assert_equal_bits(one, other)
    assert (Path(straight.out) / BEST).read_bytes() == (Path(broken.out) / BEST).read_bytes()


def test_rows_of_a_half_saved_epoch_are_dropped(config: TrainConfig, monkeypatch: pytest.MonkeyPatch) -> None:
    interrupted_run(config, monkeypatch, after=10)
    path = Path(config.out) / HISTORY
    path.write_text(path.read_text() + '{"epoch": 2, "step": 16, "psnr": 99.0}\n')
    Trainer(config, resume=True).run()
    assert [row["step"] for row in history(config)] == [8, 16, 24]
    assert max(row["psnr"] for row in history(config)) < 99


def test_a_finished_run_resumed_is_finished(config: TrainConfig) -> None:
    best = Trainer(config).run()
    before = (Path(config.out) / BEST).read_bytes()
    assert Trainer(config, resume=True).run() == best
    assert (Path(config.out) / BEST).read_bytes() == before
    assert len(history(config)) == 3


def test_without_resume_an_earlier_run_is_left_alone(config: TrainConfig) -> None:
    Trainer(config).run()
    before = {path.name: path.read_bytes() for path in Path(config.out).iterdir()}
    with pytest.raises(ConfigError, match=r"holds a run already.*--resume.*--out"):
        Trainer(config)
    assert {path.name: path.read_bytes() for path in Path(config.out).iterdir()} == before


def test_the_seed_decides(config: TrainConfig) -> None:
    losses = []
    for number, seed in enumerate((1, 1, 2)):
        run = replace(config, seed=seed, out=f"{config.out}-{number}")
        Trainer(with_optim(run, steps=4, steps_per_epoch=4)).run()
        losses.append(history(run)[0]["loss"])
    assert losses[0] == losses[1] != losses[2]


def test_a_run_that_stands_still_ends_early(config: TrainConfig) -> None:
    config = with_optim(config, steps=80, rate=0.0, final_rate=0.0, patience=2)
    Trainer(config).run()
    assert [row["epoch"] for row in history(config)] == [1, 2, 3]
    assert len({row["psnr"] for row in history(config)}) == 1


def test_a_checkpoint_of_another_recipe_is_refused(config: TrainConfig) -> None:
    Trainer(with_optim(config, steps=8)).run()
    with pytest.raises(ConfigError, match=r"other settings \(optim\).*without --resume"):
        Trainer(config, resume=True)


def test_a_damaged_checkpoint_is_refused(config: TrainConfig) -> None:
    Trainer(with_optim(config, steps=8)).run()
    path = Path(config.out) / CHECKPOINT
    for content in (path.read_bytes()[:5000], b"nonsense", b""):
        path.write_bytes(content)
        with pytest.raises(ConfigError, match=r"cannot resume from .*checkpoint.pt"):
            Trainer(with_optim(config, steps=8), resume=True)


def test_sample_pictures(config: TrainConfig) -> None:
    Trainer(replace(config, sample_every=2)).run()
    found = sorted(Path(config.out).glob("sample_*.png"))
    assert [path.name for path in found] == ["sample_0002.png"]
    with Image.open(found[0]) as image:
        assert image.size == (4 * 192, 2 * 192)


def test_the_last_steps_have_their_own_loss(config: TrainConfig, monkeypatch: pytest.MonkeyPatch) -> None:
    used: list[str] = []
    losses = {name: lambda x, y, name=name: used.append(name) or (x - y).abs().mean() for name in ("l1", "mse")}
    monkeypatch.setattr("vsr.training.loop.LOSSES", losses)
    Trainer(with_optim(config, steps=10, final_fraction=0.3)).run()
    assert used == ["l1"] * 7 + ["mse"] * 3


def test_learning_rate() -> None:
    config = TrainConfig(optim=OptimConfig(steps=100, rate=1.0, final_rate=0.1, warmup_steps=10))
    rates = [learning_rate(step, config) for step in range(101)]
    assert rates[0] == pytest.approx(0.1)
    assert rates[4] == pytest.approx(0.5, abs=0.01)
    assert rates[50] == pytest.approx(0.55)
    assert rates[100] == pytest.approx(0.1)
    assert all(a > b for a, b in pairwise(rates[10:]))


def test_validation_is_never_trained_on() -> None:
    for count in range(2, 12):
        for every in (2, 3, 50):
            paths = [Path(str(number)) for number in range(count)]
            training, validation = split(paths, every)
            assert training
            assert validation
            assert sorted(training + validation) == sorted(paths)
    with pytest.raises(DataError, match="at least 2"):
        split([Path("one")], 2)


def test_pictures_too_small_for_validation(tmp_path: Path, config: TrainConfig) -> None:
    for name, side in (("a.png", 80), ("b.png", 20)):
        Image.fromarray(noise(side, side, 3)).save(tmp_path / name)
    with pytest.raises(DataError, match=r"too small: .*b.png"):
        Trainer(replace(config, data=replace(config.data, folder=str(tmp_path))))


@pytest.mark.parametrize(
    ("section", "changes", "error", "message"),
    [
        ("model", {"name": "vdsr"}, UnknownModelError, "'vdsr', allowed are"),
        ("model", {"name": "bicubic"}, ConfigError, "'bicubic', which has no weights"),
        ("model", {"scale": 5}, UnknownModelError, "scale 5"),
        ("model", {"init": "nowhere.safetensors"}, WeightsError, "nowhere.safetensors"),
        ("model", {"init": "ecbsr:9"}, WeightsError, "ecbsr ×9"),
        ("optim", {"loss": "l2"}, ConfigError, "'l2', allowed are l1, mse, charbonnier"),
        ("optim", {"steps": 0}, ConfigError, "optim.steps = 0, it must be at least 1"),
        ("optim", {"ema": 1.5}, ConfigError, "optim.ema = 1.5, it must be within 0 and 1"),
        ("data", {"patch": 4}, ConfigError, "data.patch = 4"),
        ("data", {"holdout_every": 1}, ConfigError, "data.holdout_every = 1"),
        ("data", {"patch": 60}, DataError, "120×120"),
        ("data", {"folder": "/nowhere"}, DataError, "/nowhere"),
        (None, {"device": "tpu"}, ConfigError, "'tpu', allowed are auto, cpu"),
    ],
)
def test_refuses(
    config: TrainConfig, section: str | None, changes: dict[str, Any], error: type[Exception], message: str
) -> None:
    changes = changes if section is None else {section: replace(getattr(config, section), **changes)}
    with pytest.raises(error, match=message):
        Trainer(replace(config, **changes))


@pytest.mark.parametrize("name", ["l1", "mse", "charbonnier"])
def test_every_loss_trains(config: TrainConfig, name: str) -> None:
    Trainer(with_optim(config, steps=4, steps_per_epoch=4, loss=name, final_fraction=0.0)).run()
    assert np.isfinite(history(config)[0]["loss"])


def psnr_of(network: Network, folder: Path, scale: int) -> float:
    return validate(network.eval(), PairLoader(scale=scale).load([Source(path) for path in find_images(folder)]), CPU)


@pytest.mark.parametrize("name", ["espcn", "ecbsr"])
def test_a_run_goes_on_from_another_one(config: TrainConfig, folder: Path, name: str) -> None:
    config = with_optim(with_model(config, name=name), steps=80, steps_per_epoch=40)
    Trainer(config).run()
    weights = Path(config.out) / BEST
    trained = build_network(name, scale=2).folded()
    load_into(trained, weights)
    again = start_from(build_network(name, scale=2), str(weights))
    assert psnr_of(again, folder, 2) == pytest.approx(psnr_of(trained, folder, 2), abs=1e-3)
