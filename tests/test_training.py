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
from runs import history, tiny, with_model, with_optim, write_pictures

from vsr.errors import ConfigError, DataError, UnknownModelError, WeightsError
from vsr.models import build_network
from vsr.models.base import Network
from vsr.models.quantized import quantize, quantized_layers
from vsr.pairs import find_images
from vsr.training.checkpoints import BEST, CHECKPOINT, DONE, HISTORY, LAST
from vsr.training.config import GanConfig, OptimConfig, TrainConfig
from vsr.training.data import Patches
from vsr.training.degradation import Compressed, DegradationConfig
from vsr.training.folders import Source, split
from vsr.training.loading import PairLoader
from vsr.training.loop import Trainer, learning_rate, validate
from vsr.weights import load_into, start_from

CPU = torch.device("cpu")


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_pictures(tmp_path_factory.mktemp("pictures"))


@pytest.fixture
def config(folder: Path, tmp_path: Path) -> TrainConfig:
    return tiny(folder, tmp_path / "run")


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


def test_the_average_has_the_statistics_of_the_network(config: TrainConfig) -> None:
    options = {"blocks": 1, "width": 8, "batch_norm": True}
    trainer = Trainer(with_model(config, name="srresnet", options=options))
    trainer.run()
    kept, seen = dict(trainer.average.named_buffers()), dict(trainer.network.named_buffers())
    assert any(name.endswith("running_mean") and mean.any() for name, mean in seen.items())
    for name, value in seen.items():
        torch.testing.assert_close(kept[name], value, rtol=0, atol=0)


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


def test_a_history_that_was_cut_off_is_gone_on_with(config: TrainConfig) -> None:
    Trainer(config).run()
    before = history(config)
    with (Path(config.out) / HISTORY).open("a", encoding="utf-8") as file:
        file.write('{"epoch": 4, "st')
    Trainer(config, resume=True)
    assert history(config) == before


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
    with pytest.raises(ConfigError, match=r"other settings \(optim\).*remove this one"):
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


def test_checkpoints_that_are_kept_and_the_last_weights(config: TrainConfig) -> None:
    trainer = Trainer(replace(config, checkpoint_every=2))
    trainer.run()
    out = Path(config.out)
    assert sorted(path.name for path in out.iterdir()) == [
        *(BEST, CHECKPOINT, "checkpoint_0002.pt", DONE, HISTORY, LAST),
    ]
    place = torch.load(out / "checkpoint_0002.pt", weights_only=True)["place"]
    assert place["step"] == 16
    last = build_network("ecbsr", scale=2).folded()
    load_into(last, out / LAST)
    assert validate(last, trainer.validation, CPU) == pytest.approx(history(config)[-1]["psnr"], abs=1e-4)
    assert json.loads((out / DONE).read_text()) == {"step": 24, "psnr": trainer.best}


def test_a_kept_checkpoint_can_be_gone_on_from(config: TrainConfig) -> None:
    config = replace(config, checkpoint_every=1)
    best = Trainer(config).run()
    out = Path(config.out)
    weights = (out / LAST).read_bytes()
    (out / "checkpoint_0001.pt").replace(out / CHECKPOINT)
    assert Trainer(config, resume=True).run() == best
    assert (out / LAST).read_bytes() == weights
    assert [row["step"] for row in history(config)] == [8, 16, 24]


def test_the_pace_is_measured(config: TrainConfig) -> None:
    Trainer(config).run()
    rows = [json.loads(line) for line in (Path(config.out) / HISTORY).read_text().splitlines()]
    assert all(row["patches_per_second"] > 0 for row in rows)


@pytest.mark.parametrize(
    "changes", [{"sample_every": 2}, {"checkpoint_every": 1}, {"optim": {"minutes": 60.0}}], ids=lambda c: next(iter(c))
)
def test_what_a_run_is_watched_by_may_change(config: TrainConfig, changes: dict[str, Any]) -> None:
    Trainer(config).run()
    optim = replace(config.optim, **changes.pop("optim", {}))
    Trainer(replace(config, optim=optim, **changes), resume=True)


def test_a_run_ends_when_its_time_is_over(config: TrainConfig, monkeypatch: pytest.MonkeyPatch) -> None:
    """A clock on which each look takes a second makes every run slow."""
    seconds = iter(range(10_000))
    monkeypatch.setattr("vsr.training.budget.time.perf_counter", lambda: float(next(seconds)))
    config = with_optim(config, steps=100_000, steps_per_epoch=25, minutes=0.1)
    trainer = Trainer(config)
    trainer.run()
    rows = history(config)
    assert 25 <= rows[-1]["step"] < 1000
    # The rate has gone all the way down by then, and the checkpoint still belongs to the recipe.
    assert rows[-1]["rate"] == pytest.approx(config.optim.final_rate, rel=0.1)
    again = Trainer(config, resume=True)
    assert (again.step, again.config.optim.steps) == (trainer.step, trainer.config.optim.steps)


def test_bf16_learns_and_keeps_its_weights_in_fp32(config: TrainConfig) -> None:
    trainer = Trainer(with_optim(config, precision="bf16", steps=40, steps_per_epoch=20))
    start = validate(trainer.average, trainer.validation, CPU)
    low, _ = trainer.patches.sample(2, torch.Generator())
    with trainer._autocast():
        assert torch.nn.functional.conv2d(low, low[:1, :, :3, :3]).dtype == torch.bfloat16
    assert trainer._made(low).dtype == torch.float32
    assert trainer.run() > start
    assert {parameter.dtype for parameter in trainer.network.parameters()} == {torch.float32}


def test_pairs_are_degraded_as_the_recipe_says(config: TrainConfig) -> None:
    plain = Trainer(config)
    noisy = DegradationConfig(noise_sigma=(20.0, 20.0), versions=3)
    runs = [Trainer(replace(config, out=f"{config.out}-{n}", seed=n, degradation=noisy)) for n in (1, 1, 2)]
    assert len(runs[0].patches.shapes) == 3 * len(plain.patches.shapes)
    assert len(runs[0].validation) == len(plain.validation)
    for before, after in zip(plain.validation, runs[0].validation, strict=True):
        np.testing.assert_array_equal(before.high, after.high)
        assert 8 < np.std(after.low.astype(float) - before.low) < 25
    assert torch.equal(runs[0].patches.low, runs[1].patches.low)
    assert not torch.equal(runs[0].patches.low, runs[2].patches.low)


def test_compressed_video_comes_from_a_compressor(config: TrainConfig) -> None:
    asked = []

    def brighter(picture: np.ndarray, /, *, crf: int, luma: bool, rng: np.random.Generator) -> Compressed:
        asked.append((crf, luma))
        return Compressed(np.full((20, 24), 200, np.uint8), 4, 6)

    wanted = replace(config, degradation=DegradationConfig(h264_crf=(30, 32)))
    trainer = Trainer(wanted, compressor=brighter)
    assert (trainer.patches.low == 200).all()
    assert {crf for crf, _ in asked} <= {30, 31, 32}
    assert all(luma for _, luma in asked)
    assert trainer.validation[0].high.shape == (40, 48)


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
        ("optim", {"minutes": -1.0}, ConfigError, "optim.minutes = -1.0, it must be at least 0"),
        ("optim", {"minutes": float("nan")}, ConfigError, "optim.minutes = nan, it must be at least 0"),
        ("optim", {"rate": -1.0}, ConfigError, "optim.rate = -1.0, it must be at least 0"),
        ("optim", {"precision": "fp16"}, ConfigError, "'fp16', allowed are auto, fp32, bf16"),
        ("data", {"patch": 4}, ConfigError, "data.patch = 4"),
        ("data", {"holdout_every": 1}, ConfigError, "data.holdout_every = 1"),
        ("data", {"patch": 60}, DataError, "120×120"),
        ("data", {"folder": "/nowhere"}, DataError, "/nowhere"),
        (None, {"device": "tpu"}, ConfigError, "'tpu', allowed are auto, cpu"),
        (None, {"gan": GanConfig(pixel_weight=0.5)}, ConfigError, "without gan.adversarial, allowed are bce, rel"),
        (None, {"checkpoint_every": -1}, ConfigError, "checkpoint_every = -1"),
        (None, {"degradation": DegradationConfig(h264_crf=(20, 30))}, ConfigError, "h264_crf needs a video encoder"),
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
