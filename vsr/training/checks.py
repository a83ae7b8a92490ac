"""What can be known to be wrong with a recipe before any picture is read."""

from __future__ import annotations

from vsr.errors import ConfigError
from vsr.models import build_network, model_spec
from vsr.training.acceleration import device_for, uses_bf16
from vsr.training.config import GanConfig, TrainConfig
from vsr.training.losses import ADVERSARIAL, LOSSES
from vsr.training.tensorboard import writer_class


def check(config: TrainConfig) -> None:
    """Refuse a recipe that cannot be run on this machine.

    Raises:
        ConfigError: an impossible value, a device that is not there, or a package that is not installed.
        UnknownModelError: no such network, scale or option.
    """
    if not model_spec(config.model.name).trained:
        raise ConfigError(f"got model.name = {config.model.name!r}, which has no weights to train")
    build_network(config.model.name, scale=config.model.scale, options=config.model.options)
    device = device_for(config.device, deterministic=config.deterministic)
    uses_bf16(config.optim.precision, device, quantize=config.model.quantize)
    for name in (config.optim.loss, config.optim.final_loss):
        if name not in LOSSES:
            raise ConfigError(f"got the loss {name!r}, allowed are {', '.join(LOSSES)}")
    _check_numbers(config)
    if config.gan.adversarial == "none" and config.gan != GanConfig():
        raise ConfigError(f"got a section gan without gan.adversarial, allowed are {', '.join(ADVERSARIAL)}")
    if config.tensorboard:
        writer_class()


def _check_numbers(config: TrainConfig) -> None:
    for label, number, least in (
        ("optim.steps", config.optim.steps, 1),
        ("optim.steps_per_epoch", config.optim.steps_per_epoch, 1),
        ("optim.minutes", config.optim.minutes, 0),
        ("optim.patience", config.optim.patience, 0),
        ("data.batch", config.data.batch, 1),
        ("data.patch", config.data.patch, 8),
        ("data.candidates", config.data.candidates, 1),
        ("data.holdout_every", config.data.holdout_every, 2),
        ("optim.rate", config.optim.rate, 0),
        ("optim.clip", config.optim.clip, 0),
        ("seed", config.seed, 0),
        ("threads", config.threads, 0),
        ("sample_every", config.sample_every, 0),
        ("checkpoint_every", config.checkpoint_every, 0),
    ):
        # Said so that what is not a number is refused as well.
        if not number >= least:
            raise ConfigError(f"got {label} = {number}, it must be at least {least}")
    for label, share in (("optim.ema", config.optim.ema), ("optim.final_fraction", config.optim.final_fraction)):
        if not 0 <= share <= 1:
            raise ConfigError(f"got {label} = {share}, it must be within 0 and 1")
