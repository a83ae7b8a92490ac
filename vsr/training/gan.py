"""Training against a discriminator: what SRGAN and ESRGAN do after PSNR has got as far as it goes."""

from __future__ import annotations

import dataclasses
import logging
from typing import Any, TypeVar

import torch
from torch import Tensor, nn

from vsr.errors import ConfigError
from vsr.training.config import GanConfig, TrainConfig
from vsr.training.degradation import Compressor
from vsr.training.discriminator import NORMS, Discriminator, DiscriminatorConfig
from vsr.training.loop import Trainer, follow, learning_rate
from vsr.training.losses import ADVERSARIAL, LOSSES, feature_matching
from vsr.training.vgg import VGGFeatures

log = logging.getLogger(__name__)

M = TypeVar("M", bound=nn.Module)


def trainer_for(config: TrainConfig, *, resume: bool = False, compressor: Compressor | None = None) -> Trainer:
    """The loop that a recipe asks for: against a discriminator where ``gan.adversarial`` is set, else for PSNR.

    Raises:
        ConfigError, DataError: as the trainers do.
    """
    kind = Trainer if config.gan.adversarial == "none" else GANTrainer
    return kind(config, resume=resume, compressor=compressor)


class GANTrainer(Trainer):
    """One run against a discriminator: a step of that, then one of the network.

    The network should start (``model.init``) from weights trained for PSNR, without batch norm, as folded files are.
    The averaged weights of the *last* epoch are the ones kept as ``best.safetensors``: validation PSNR is logged, but
    falls as texture appears, and chooses nothing here. A resumed run ends with the same bits, discriminator included.

    Args:
        config: the recipe; ``gan.adversarial`` is not ``"none"``.
        resume: go on from ``checkpoint.pt`` if there is one.
        compressor: for recipes that train on compressed video.

    Raises:
        ConfigError: an impossible setting, a checkpoint of another recipe, or, while it runs, a loss of NaN.
        DataError: the pictures cannot be used.
        WeightsError: those of VGG19 or of ``model.init`` cannot be used.
    """

    def __init__(self, config: TrainConfig, *, resume: bool = False, compressor: Compressor | None = None) -> None:
        _check(config.gan)
        if config.model.init is None:
            log.warning("the network starts from nothing; model.init should be weights trained for PSNR")
        super().__init__(config, resume=resume, compressor=compressor)

    def _prepare(self) -> None:
        gan = self.config.gan
        shape = DiscriminatorConfig(
            width=gan.discriminator_width, channels=self.network.channels, norm=gan.discriminator_norm
        )
        self.game = ADVERSARIAL[gan.adversarial]
        self.judge = self._placed(Discriminator(shape))
        self.judge_optimizer = torch.optim.Adam(self.judge.parameters(), lr=gan.discriminator_rate)
        self.vgg = None
        if gan.vgg_weight and gan.vgg:
            self.vgg = self._placed(VGGFeatures(gan.vgg_layer, source=gan.vgg))

    def _placed(self, module: M) -> M:
        return module.to(self.device, memory_format=torch.channels_last)  # type: ignore[call-overload, no-any-return]

    def _train_step(self) -> dict[str, Tensor]:
        low, high = self.patches.sample(self.config.data.batch, self.generator)
        if self.step < self.config.gan.warmup_steps:
            with torch.no_grad():
                made = self._made(low)
            seen = self._judge_step(made, high)
            self.step += 1
            return seen
        made = self._made(low)
        seen = self._judge_step(made.detach(), high)
        # Only the network learns from here on: no gradient of the judge's own weights is worth its time.
        self.judge.requires_grad_(False)
        parts = self._parts(made, high)
        loss = torch.stack(list(parts.values())).sum()
        self._descend(loss)
        self.judge.requires_grad_(True)
        return {"loss": loss.detach(), **{name: part.detach() for name, part in parts.items()}, **seen}

    def _judge_step(self, made: Tensor, high: Tensor) -> dict[str, Tensor]:
        config = self.config
        optim = dataclasses.replace(config.optim, rate=config.gan.discriminator_rate)
        rate = learning_rate(self.step, dataclasses.replace(config, optim=optim))
        with self._autocast():
            real, fake = self.judge(high), self.judge(made)
        real, fake = real.float(), fake.float()
        loss = self.game.discriminator(real, fake)
        follow(loss, self.judge_optimizer, rate=rate, clip=optim.clip)
        on_real, on_fake = self.game.beliefs(real.detach(), fake.detach())
        return {"discriminator": loss.detach(), "d_real": on_real.mean(), "d_fake": on_fake.mean()}

    def _parts(self, made: Tensor, high: Tensor) -> dict[str, Tensor]:
        """What the network's loss is the sum of, each with its weight."""
        gan = self.config.gan
        with self._autocast():
            with torch.no_grad():
                true_features, real = self.judge.features(high)
            made_features, fake = self.judge.features(made)
        parts = {
            "pixel": gan.pixel_weight * self._pixel_loss(made, high),
            "adversarial": gan.adversarial_weight * self.game.generator(real.float(), fake.float()),
        }
        if gan.feature_weight:
            parts["matching"] = gan.feature_weight * feature_matching(true_features, made_features)
        if self.vgg is not None:
            with self._autocast():
                with torch.no_grad():
                    content = self.vgg(high)
                made_content = self.vgg(made)
            parts["vgg"] = gan.vgg_weight * LOSSES[gan.vgg_loss](made_content.float(), content.float())
        return parts

    def _better(self, value: float) -> bool:
        """The last ones are kept, whatever their PSNR."""
        return True

    def _state(self) -> dict[str, Any]:
        judge = {"judge": self.judge.state_dict(), "judge_optimizer": self.judge_optimizer.state_dict()}
        return super()._state() | judge

    def _load_state(self, state: dict[str, Any]) -> None:
        super()._load_state(state)
        self.judge.load_state_dict(state["judge"])
        self.judge_optimizer.load_state_dict(state["judge_optimizer"])


def _check(gan: GanConfig) -> None:
    for label, got, allowed in (
        ("adversarial", gan.adversarial, tuple(ADVERSARIAL)),
        ("discriminator_norm", gan.discriminator_norm, NORMS),
        ("vgg_loss", gan.vgg_loss, tuple(LOSSES)),
    ):
        if got not in allowed:
            raise ConfigError(f"got gan.{label} = {got!r}, allowed are {', '.join(allowed)}")
    for label in ("adversarial_weight", "pixel_weight", "feature_weight", "vgg_weight", "discriminator_rate"):
        if getattr(gan, label) < 0:
            raise ConfigError(f"got gan.{label} = {getattr(gan, label)}, it must be at least 0")
    if gan.warmup_steps < 0 or gan.discriminator_width < 1:
        raise ConfigError("gan.warmup_steps must be at least 0, and gan.discriminator_width at least 1")
    if bool(gan.vgg_weight) != (gan.vgg is not None):
        raise ConfigError("gan.vgg_weight and gan.vgg (a file, or 'download') go together; set both or neither")
