"""Runs of a few steps against a small discriminator: that both sides learn, and that an interruption loses nothing."""

from __future__ import annotations

import json
import urllib.error
from dataclasses import replace
from pathlib import Path
from typing import Any

import pictures  # noqa: F401 -- one thread
import pytest
import torch
from PIL import Image
from safetensors.torch import load_file, save_file
from skimage import data

from vsr.errors import ConfigError, WeightsError
from vsr.models import build_network
from vsr.training import vgg
from vsr.training.checkpoints import BEST, CHECKPOINT, HISTORY
from vsr.training.config import DataConfig, GanConfig, ModelConfig, OptimConfig, TrainConfig
from vsr.training.data import Patches
from vsr.training.gan import GANTrainer, trainer_for
from vsr.training.loop import Trainer
from vsr.training.vgg import VGGFeatures, layers_up_to

OPTIONS: dict[str, dict[str, Any]] = {
    "srgan": {"blocks": 1, "width": 8, "batch_norm": False},
    "esrgan": {"blocks": 1, "width": 8, "growth": 4},
}


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Four small crops of photographs."""
    path = tmp_path_factory.mktemp("pictures")
    for number, picture in enumerate([data.astronaut(), data.coffee(), data.chelsea(), data.astronaut()[::-1]]):
        Image.fromarray(picture[40:104, 160:224]).save(path / f"{number}.png")
    return path


@pytest.fixture
def config(folder: Path, tmp_path: Path) -> TrainConfig:
    return TrainConfig(
        out=str(tmp_path / "run"),
        device="cpu",
        threads=1,
        sample_every=0,
        model=model("srgan", tmp_path),
        data=DataConfig(folder=str(folder), holdout_every=4, patch=8, batch=4),
        optim=OptimConfig(
            steps=9, steps_per_epoch=3, rate=2e-3, final_rate=2e-3, warmup_steps=0, ema=0.9, final_fraction=0.0
        ),
        gan=GanConfig(
            adversarial="bce", adversarial_weight=0.01, feature_weight=0.1, discriminator_width=4, warmup_steps=1
        ),
    )


def model(name: str, folder: Path) -> ModelConfig:
    """A network that starts where an earlier training for PSNR has ended, so to speak."""
    torch.manual_seed(3)
    path = folder / f"{name}.safetensors"
    save_file(build_network(name, scale=2, options=OPTIONS[name]).state_dict(), path)
    return ModelConfig(name=name, scale=2, init=str(path), options=OPTIONS[name])


def with_gan(config: TrainConfig, **changes: Any) -> TrainConfig:
    return replace(config, gan=replace(config.gan, **changes))


def with_optim(config: TrainConfig, **changes: Any) -> TrainConfig:
    return replace(config, optim=replace(config.optim, **changes))


def history(config: TrainConfig) -> list[dict[str, float]]:
    rows = [json.loads(line) for line in (Path(config.out) / HISTORY).read_text().splitlines()]
    return [{name: value for name, value in row.items() if "per_second" not in name} for row in rows]


def checkpoint(config: TrainConfig) -> dict[str, Any]:
    state: dict[str, Any] = torch.load(Path(config.out) / CHECKPOINT, map_location="cpu", weights_only=True)
    return state


@pytest.mark.parametrize(("name", "adversarial"), [("srgan", "bce"), ("esrgan", "relativistic")])
def test_the_networks_loss_gets_smaller(config: TrainConfig, tmp_path: Path, name: str, adversarial: str) -> None:
    config = replace(
        with_gan(with_optim(config, steps=60, steps_per_epoch=15), adversarial=adversarial, discriminator_rate=1e-5),
        model=model(name, tmp_path),
    )
    GANTrainer(config).run()
    rows = history(config)
    assert rows[-1]["loss"] < 0.95 * rows[0]["loss"]
    assert rows[-1]["matching"] < rows[0]["matching"]


@pytest.mark.parametrize("adversarial", ["bce", "relativistic"])
def test_the_discriminator_learns(config: TrainConfig, adversarial: str) -> None:
    config = with_optim(with_gan(config, adversarial=adversarial, discriminator_rate=1e-3), rate=0.0, final_rate=0.0)
    GANTrainer(with_optim(config, steps=40, steps_per_epoch=10)).run()
    rows = history(config)
    assert rows[-1]["discriminator"] < rows[0]["discriminator"]
    assert rows[-1]["d_real"] - rows[-1]["d_fake"] > rows[0]["d_real"] - rows[0]["d_fake"]
    assert all(0 < row[name] < 1 for row in rows for name in ("d_real", "d_fake"))


def test_the_loss_is_the_sum_of_its_weighted_parts(config: TrainConfig) -> None:
    GANTrainer(config).run()
    for row in history(config):
        assert row["loss"] == pytest.approx(row["pixel"] + row["adversarial"] + row["matching"], rel=1e-5)
    trainer = GANTrainer(replace(with_gan(config, pixel_weight=0.0, adversarial_weight=0.0), out=config.out + "-2"))
    low, high = trainer.patches.sample(4, trainer.generator)
    parts = trainer._parts(trainer.network(low), high)
    assert parts["pixel"] == parts["adversarial"] == 0 < parts["matching"]


def test_layers_in_16_bit_lose_little(config: TrainConfig) -> None:
    first = []
    for precision in ("fp32", "bf16"):
        run = with_gan(with_optim(config, precision=precision), warmup_steps=0)
        # Of the first step alone: Adam makes whole steps of the smallest differences.
        first.append({name: float(value) for name, value in GANTrainer(run)._train_step().items()})
    for name in ("pixel", "discriminator"):
        assert first[0][name] != first[1][name]
        assert first[0][name] == pytest.approx(first[1][name], rel=0.05)


def test_the_judge_is_alone_at_first(config: TrainConfig) -> None:
    config = with_gan(config, warmup_steps=6)
    trainer = GANTrainer(config)
    before = {name: value.clone() for name, value in trainer.network.state_dict().items()}
    judge = [value.clone() for value in trainer.judge.parameters()]
    for _ in range(6):
        assert "loss" not in trainer._train_step()
    assert all(torch.equal(value, before[name]) for name, value in trainer.network.state_dict().items())
    assert not any(torch.equal(a, b) for a, b in zip(judge, trainer.judge.parameters(), strict=True))
    trainer._train_step()
    assert not torch.equal(trainer.network.state_dict()["last.weight"], before["last.weight"])


def test_neither_side_moves_the_other(config: TrainConfig) -> None:
    trainer = GANTrainer(with_gan(config, warmup_steps=0))
    low, high = trainer.patches.sample(4, trainer.generator)
    made = trainer.network(low)
    trainer._judge_step(made.detach(), high)
    assert all(parameter.grad is None for parameter in trainer.network.parameters())
    trainer._train_step()
    kept = [parameter.grad.clone() for parameter in trainer.judge.parameters()]
    trainer.judge.requires_grad_(False)
    torch.stack(list(trainer._parts(trainer.network(low), high).values())).sum().backward()
    assert all(torch.equal(p.grad, old) for p, old in zip(trainer.judge.parameters(), kept, strict=True))


def test_the_last_average_is_kept_whatever_its_psnr(config: TrainConfig, monkeypatch: pytest.MonkeyPatch) -> None:
    falling = iter([30.0, 29.0, 28.0])
    monkeypatch.setattr("vsr.training.loop.validate", lambda *_: next(falling))
    trainer = GANTrainer(with_optim(config, patience=1))
    assert trainer.run() == 28.0
    assert [row["psnr"] for row in history(config)] == [30.0, 29.0, 28.0]
    kept, average = load_file(Path(config.out) / BEST), trainer.average.state_dict()
    assert kept.keys() == average.keys()
    assert all(torch.equal(kept[name], average[name]) for name in kept)


class PowerCutError(Exception):
    """The machine goes away in the middle of a step."""


def assert_equal_bits(one: Any, other: Any) -> None:
    if isinstance(one, torch.Tensor):
        assert torch.equal(one, other)
    elif isinstance(one, dict):
        assert one.keys() == other.keys()
        for key, value in one.items():
            assert_equal_bits(value, other[key])
    elif isinstance(one, list | tuple):
        for left, right in zip(one, other, strict=True):
            assert_equal_bits(left, right)
    else:
        assert one == other


@pytest.mark.parametrize("norm", ["batch", "spectral"])
@pytest.mark.parametrize("after", [4, 7])
def test_resumed_equals_uninterrupted(
    config: TrainConfig, monkeypatch: pytest.MonkeyPatch, norm: str, after: int
) -> None:
    straight = with_gan(config, discriminator_norm=norm)
    GANTrainer(straight).run()
    broken = replace(straight, out=config.out + "-broken")
    trainer, sample, drawn = GANTrainer(broken), Patches.sample, 0

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
    torch.manual_seed(99)
    resumed = GANTrainer(broken, resume=True)
    assert resumed.step == after // 3 * 3
    resumed.run()
    one, other = checkpoint(straight), checkpoint(broken)
    one.pop("config"), other.pop("config")
    assert_equal_bits(one, other)
    assert history(straight) == history(broken)
    assert (Path(straight.out) / BEST).read_bytes() == (Path(broken.out) / BEST).read_bytes()


def test_a_loss_of_nan_ends_the_run_and_keeps_what_was_there(config: TrainConfig) -> None:
    trainer = GANTrainer(config)
    epoch, steps = trainer._end_of_epoch, []

    def spoil(*arguments: Any) -> None:
        epoch(*arguments)
        steps.append(trainer.step)
        with torch.no_grad():
            trainer.judge.last.bias.fill_(torch.nan)

    trainer._end_of_epoch = spoil  # type: ignore[method-assign]
    with pytest.raises(ConfigError, match=r"diverged in epoch 2 \(loss nan\); lower optim.rate.*--resume"):
        trainer.run()
    assert steps == [3]
    assert checkpoint(config)["place"]["step"] == 3
    assert GANTrainer(config, resume=True).run() == history(config)[-1]["psnr"]


def test_the_recipe_chooses_the_loop(config: TrainConfig) -> None:
    assert type(trainer_for(config)) is GANTrainer
    assert type(trainer_for(replace(config, gan=GanConfig()))) is Trainer


def test_a_checkpoint_of_another_game_is_refused(config: TrainConfig) -> None:
    GANTrainer(config).run()
    with pytest.raises(ConfigError, match=r"other settings \(gan\)"):
        GANTrainer(with_gan(config, adversarial="relativistic"), resume=True)


def test_it_warns_of_a_start_from_nothing(config: TrainConfig, caplog: pytest.LogCaptureFixture) -> None:
    GANTrainer(replace(config, model=replace(config.model, init=None)))
    assert "model.init should be" in caplog.text


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"adversarial": "hinge"}, "gan.adversarial = 'hinge', allowed are bce, relativistic"),
        ({"discriminator_norm": "layer"}, "gan.discriminator_norm = 'layer', allowed are batch, spectral, none"),
        ({"vgg_loss": "l2"}, "gan.vgg_loss = 'l2'"),
        ({"adversarial_weight": -1.0}, "gan.adversarial_weight = -1.0, it must be at least 0"),
        ({"warmup_steps": -1}, "gan.warmup_steps"),
        ({"discriminator_width": 0}, "gan.discriminator_width"),
        ({"vgg_weight": 1.0}, "go together"),
        ({"vgg": "download"}, "go together"),
    ],
)
def test_refuses(config: TrainConfig, changes: dict[str, Any], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        GANTrainer(with_gan(config, **changes))


@pytest.fixture(scope="module")
def vgg_file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The first two blocks with random weights, under torchvision's names, and a part that is not needed."""
    torch.manual_seed(5)
    state = {f"features.{name}": value for name, value in layers_up_to("relu2_2").state_dict().items()}
    path = tmp_path_factory.mktemp("vgg") / "vgg19.pth"
    torch.save({**state, "classifier.0.bias": torch.zeros(3)}, path)
    return path


def test_the_layers_of_vgg19() -> None:
    whole = layers_up_to("relu5_4")
    # The numbers under which torchvision keeps them.
    convs = [index for index, layer in enumerate(whole) if isinstance(layer, torch.nn.Conv2d)]
    assert convs == [0, 2, 5, 7, 10, 12, 14, 16, 19, 21, 23, 25, 28, 30, 32, 34]
    assert sum(parameter.numel() for parameter in whole.parameters()) == 20_024_384
    assert isinstance(layers_up_to("conv5_4")[-1], torch.nn.Conv2d)
    assert len(layers_up_to("conv2_2")) == 8


def test_vgg_sees_normalised_pictures(vgg_file: Path) -> None:
    features = VGGFeatures("relu2_2", source=str(vgg_file))
    mean = torch.tensor([0.485, 0.456, 0.406])[:, None, None].expand(3, 16, 16)[None]
    assert torch.equal(features(mean), features.features(torch.zeros(1, 3, 16, 16)))
    assert features(torch.rand(2, 3, 24, 20)).shape == (2, 128, 12, 10)
    assert features(torch.rand(2, 1, 24, 20)).shape == (2, 128, 12, 10)
    assert not any(parameter.requires_grad for parameter in features.parameters())


def test_ahead_of_the_activation_there_are_negative_features(vgg_file: Path) -> None:
    x = torch.rand(1, 3, 16, 16)
    ahead, behind = (VGGFeatures(layer, source=str(vgg_file))(x) for layer in ("conv2_2", "relu2_2"))
    assert ahead.min() < 0
    assert torch.equal(ahead.relu(), behind)


def test_training_with_vgg(config: TrainConfig, vgg_file: Path) -> None:
    config = with_gan(config, vgg=str(vgg_file), vgg_layer="conv2_2", vgg_weight=0.1, feature_weight=0.0)
    GANTrainer(config).run()
    assert all(row["vgg"] > 0 for row in history(config))
    assert not any("vgg" in key for key in checkpoint(config))


def test_vgg_that_cannot_be_used(tmp_path: Path, vgg_file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(ConfigError, match="'conv6_1' of VGG19, allowed are conv1_1"):
        VGGFeatures("conv6_1", source=str(vgg_file))
    with pytest.raises(WeightsError, match=r"cannot read the VGG19 weights .*nowhere.pth.*download.pytorch.org"):
        VGGFeatures("relu2_2", source=str(tmp_path / "nowhere.pth"))
    with pytest.raises(WeightsError, match=r"is not VGG19 as torchvision saves it: 'features.10.weight'"):
        VGGFeatures("conv3_1", source=str(vgg_file))
    torch.save([1, 2], tmp_path / "list.pth")
    with pytest.raises(WeightsError, match="holds a list"):
        VGGFeatures("relu2_2", source=str(tmp_path / "list.pth"))
    (tmp_path / "text.pth").write_text("no weights")
    with pytest.raises(WeightsError, match="cannot read the VGG19 weights"):
        VGGFeatures("relu2_2", source=str(tmp_path / "text.pth"))


def test_offline(monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(url: str, **_: Any) -> None:
        raise urllib.error.URLError(f"no way to {url}")

    monkeypatch.setattr(vgg.torch.hub, "load_state_dict_from_url", fail)
    with pytest.raises(WeightsError, match=r"cannot fetch .*vgg19.*offline, put the file into .*checkpoints.*gan.vgg"):
        VGGFeatures("conv5_4", source="download")
