"""The training loop: patches in, averaged weights out; an interruption costs one epoch at most."""

from __future__ import annotations

import copy
import dataclasses
import json
import logging
import math
import pickle
from collections import defaultdict
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from safetensors.torch import save_file
from torch import Tensor, nn
from tqdm import tqdm

from vsr.errors import ConfigError, DataError
from vsr.metrics import psnr
from vsr.models import build_network, model_spec
from vsr.models.base import Network
from vsr.models.quantized import calibrate, quantize
from vsr.pairs import Pair, find_images, load_pairs, luma_of, to_image, to_tensor
from vsr.training.config import TrainConfig
from vsr.training.data import Patches
from vsr.training.losses import LOSSES
from vsr.training.samples import sample_grid
from vsr.weights import start_from

log = logging.getLogger(__name__)

CHECKPOINT = "checkpoint.pt"
HISTORY = "history.jsonl"
BEST = "best.safetensors"


class Trainer:
    """One run of a recipe; everything that it writes lies in ``config.out``.

    ``checkpoint.pt`` holds all that the run depends on (weights, averages, optimiser, random state, place), so that a
    resumed run ends with the same bits as one that was never interrupted, on the same machine and number of threads.

    Args:
        config: the recipe.
        resume: go on from ``checkpoint.pt`` if there is one.

    Raises:
        ConfigError: an impossible setting, or a checkpoint of another recipe.
        DataError: the pictures cannot be used.
    """

    def __init__(self, config: TrainConfig, *, resume: bool = False) -> None:
        _check(config)
        self.config, self.out = config, Path(config.out)
        if (self.out / CHECKPOINT).exists() and not resume:
            raise ConfigError(
                f"{self.out} holds a run already; go on with it (--resume), or give another folder (--out)"
            )
        if config.threads:
            torch.set_num_threads(config.threads)
        self.device = torch.device(_device(config.device))
        torch.manual_seed(config.seed)
        self.generator = torch.Generator().manual_seed(config.seed)
        training, validation = split(find_images(Path(config.data.folder)), config.data.holdout_every)
        channels = self._build().channels
        self.validation = list(load_pairs(validation, config.model.scale, channels=channels))
        if not self.validation:
            raise DataError(f"every picture kept for validation is too small: {', '.join(map(str, validation[:4]))}")
        self.patches = Patches(
            list(load_pairs(_shown(training), config.model.scale, channels=channels)),
            scale=config.model.scale,
            patch=config.data.patch,
            candidates=config.data.candidates,
            device=self.device,
        )
        self.network = self._make_network()
        self.average = self._averaged()
        self.optimizer = torch.optim.Adam(self.network.parameters(), lr=config.optim.rate)
        self.step, self.best, self.stale = 0, -math.inf, 0
        self._prepare()
        self.out.mkdir(parents=True, exist_ok=True)
        if (self.out / CHECKPOINT).exists():
            self._restore()

    def run(self) -> float:
        """Train to the end, or until validation stops getting better; returns the best validation PSNR in dB."""
        optim = self.config.optim
        bar = tqdm(total=optim.steps, initial=self.step, disable=None, unit="step", desc=self.out.name)
        while self.step < optim.steps and not (optim.patience and self.stale >= optim.patience):
            until = min(optim.steps, (self.step // optim.steps_per_epoch + 1) * optim.steps_per_epoch)
            seen: dict[str, list[Tensor]] = defaultdict(list)
            while self.step < until:
                for name, value in self._train_step().items():
                    seen[name].append(value)
                bar.update()
            self._end_of_epoch({name: float(torch.stack(values).mean()) for name, values in seen.items()}, bar)
        bar.close()
        return self.best

    def _prepare(self) -> None:
        """What another kind of training needs beside the network, before a checkpoint is read."""

    def _train_step(self) -> dict[str, Tensor]:
        """One more step; returns scalars by name, whose means over an epoch the history keeps, "loss" among them."""
        low, high = self.patches.sample(self.config.data.batch, self.generator)
        loss = self._pixel_loss(self.network(low), high)
        self._descend(loss)
        return {"loss": loss.detach()}

    def _pixel_loss(self, made: Tensor, high: Tensor) -> Tensor:
        optim = self.config.optim
        last = self.step >= optim.steps * (1 - optim.final_fraction)
        return LOSSES[optim.final_loss if last else optim.loss](made, high)

    def _descend(self, loss: Tensor) -> None:
        """Follow a loss with the network, and the network with its average."""
        optim = self.config.optim
        follow(loss, self.optimizer, rate=learning_rate(self.step, self.config), clip=optim.clip)
        self.step += 1
        # Early weights are far off; a decay that grows with the step forgets them.
        decay = min(optim.ema, (1 + self.step) / (10 + self.step))
        with torch.no_grad():
            for kept, new in zip(self.average.parameters(), self.network.parameters(), strict=True):
                kept.lerp_(new, 1 - decay)
            for same, buffer in zip(self.average.buffers(), self.network.buffers(), strict=True):
                same.copy_(buffer)

    def _end_of_epoch(self, means: dict[str, float], bar: tqdm[Any]) -> None:
        epoch = math.ceil(self.step / self.config.optim.steps_per_epoch)
        if not all(map(math.isfinite, means.values())):
            raise ConfigError(
                f"training has diverged in epoch {epoch} (loss {means.get('loss')}); lower optim.rate or optim.clip, "
                "or go on from the epoch before it with --resume"
            )
        value = validate(self.average, self.validation, self.device)
        better = self._better(value)
        self.stale = 0 if better else self.stale + 1
        rate = learning_rate(self.step, self.config)
        row = {"epoch": epoch, "step": self.step, **means, "psnr": value, "rate": rate}
        with (self.out / HISTORY).open("a", encoding="utf-8") as file:
            file.write(json.dumps(row) + "\n")
        bar.set_postfix(psnr=f"{value:.3f}")
        if better:
            self.best = value
            save_file(exported(self.average), self.out / (BEST + ".new"))
            (self.out / (BEST + ".new")).replace(self.out / BEST)
        if self.config.sample_every and epoch % self.config.sample_every == 0:
            sample_grid(self.average, self.validation[:4], device=self.device).save(
                self.out / f"sample_{epoch:04d}.png"
            )
        self._save()

    def _better(self, value: float) -> bool:
        """Whether the average is to be kept, at this validation PSNR."""
        return value > self.best

    def _build(self) -> Network:
        model = self.config.model
        return build_network(model.name, scale=model.scale, options=model.options)

    def _make_network(self) -> Network:
        model = self.config.model
        network = self._build()
        if model.init:
            network = start_from(network, model.init)
        if model.quantize:
            network = quantize(network)
            low, _ = self.patches.sample(256, torch.Generator().manual_seed(self.config.seed))
            calibrate(network, low.cpu())
        return network.to(self.device, memory_format=torch.channels_last)  # type: ignore[call-overload, no-any-return]

    def _averaged(self) -> Network:
        return copy.deepcopy(self.network).requires_grad_(False).eval()

    def _state(self) -> dict[str, Any]:
        """All that the run depends on."""
        return {
            "config": dataclasses.asdict(self.config),
            "network": self.network.state_dict(),
            "average": self.average.state_dict(),
            "optimizer": self.optimizer.state_dict(),
            "generator": self.generator.get_state(),
            "place": {"step": self.step, "best": self.best, "stale": self.stale},
        }

    def _load_state(self, state: dict[str, Any]) -> None:
        self.network.load_state_dict(state["network"])
        self.average.load_state_dict(state["average"])
        self.optimizer.load_state_dict(state["optimizer"])
        self.generator.set_state(state["generator"])
        place = state["place"]
        self.step, self.best, self.stale = place["step"], place["best"], place["stale"]

    def _save(self) -> None:
        temporary = self.out / (CHECKPOINT + ".new")
        torch.save(self._state(), temporary)
        temporary.replace(self.out / CHECKPOINT)

    def _restore(self) -> None:
        path = self.out / CHECKPOINT
        try:
            state = torch.load(path, map_location="cpu", weights_only=True)
            rows = (self.out / HISTORY).read_text(encoding="utf-8").splitlines()
        except (OSError, EOFError, RuntimeError, pickle.UnpicklingError) as error:
            raise ConfigError(f"cannot resume from {path}, it is damaged; start anew without --resume") from error
        wanted = dataclasses.asdict(self.config)
        # A section that came later than the checkpoint is as if it had been left out.
        earlier = {**dataclasses.asdict(TrainConfig()), **state["config"]}
        # These say where and how it runs; the rest is what the run is.
        differing = {key for key in wanted if wanted[key] != earlier[key]} - {
            "out",
            "device",
            "sample_every",
        }
        if differing:
            raise ConfigError(
                f"{path} was made with other settings ({', '.join(sorted(differing))}); "
                "give another out folder, or start anew without --resume"
            )
        self._load_state(state)
        kept = [row for row in rows if json.loads(row)["step"] <= self.step]
        (self.out / HISTORY).write_text("".join(row + "\n" for row in kept), encoding="utf-8")
        log.info("resumed %s at step %d", self.out, self.step)


def split(paths: Sequence[Path], holdout_every: int) -> tuple[list[Path], list[Path]]:
    """Part pictures into those to train on and those to validate with: every n-th, or the last of a few.

    Raises:
        DataError: there is only one, and it cannot be both.
    """
    if len(paths) < 2:
        raise DataError(f"got {len(paths)} picture, training needs at least 2: one of them is kept for validation")
    every = min(holdout_every, len(paths))
    training = [path for number, path in enumerate(paths, start=1) if number % every]
    return training, list(paths[every - 1 :: every])


def follow(loss: Tensor, optimizer: torch.optim.Optimizer, *, rate: float, clip: float) -> None:
    """One step of an optimiser down a loss, its gradient bounded by ``clip``."""
    parameters = [parameter for group in optimizer.param_groups for parameter in group["params"]]
    for group in optimizer.param_groups:
        group["lr"] = rate
    optimizer.zero_grad()
    loss.backward()  # type: ignore[no-untyped-call]
    nn.utils.clip_grad_norm_(parameters, clip)
    optimizer.step()


def learning_rate(step: int, config: TrainConfig) -> float:
    """Adam's rate at a step: a linear warm-up, then half a cosine."""
    optim = config.optim
    warm = min(1.0, (step + 1) / max(1, optim.warmup_steps))
    half = 0.5 * (1 + math.cos(math.pi * min(1.0, step / optim.steps)))
    return warm * (optim.final_rate + (optim.rate - optim.final_rate) * half)


@torch.no_grad()
def validate(network: Network, pairs: list[Pair], device: torch.device) -> float:
    """Mean PSNR in dB over the luma of whole pictures, a border of ``scale`` samples left out."""
    values = []
    for pair in pairs:
        high = to_image(network(to_tensor(pair.low).to(device)))
        values.append(psnr(luma_of(high), luma_of(pair.high), border=network.scale))
    return float(np.mean(values))


def exported(network: Network) -> dict[str, Tensor]:
    """The weights to ship: folded, on the CPU, contiguous."""
    return {name: value.detach().cpu().contiguous() for name, value in network.folded().state_dict().items()}


def _shown(paths: Sequence[Path]) -> Sequence[Path]:
    """The paths, with a bar for people while they are gone through."""
    bar: Sequence[Path] = tqdm(paths, "pictures", disable=None, leave=False)
    return bar


def _device(name: str) -> str:
    return ("cuda" if torch.cuda.is_available() else "cpu") if name == "auto" else name


def _check(config: TrainConfig) -> None:
    if not model_spec(config.model.name).trained:
        raise ConfigError(f"got model.name = {config.model.name!r}, which has no weights to train")
    # An impossible scale is better known before all pictures are read.
    build_network(config.model.name, scale=config.model.scale, options=config.model.options)
    kind = config.device.partition(":")[0]
    if kind not in ("auto", "cpu", "cuda") or (kind == "cuda" and not torch.cuda.is_available()):
        raise ConfigError(f"got device = {config.device!r}, allowed are auto, cpu and, where there is one, cuda")
    for name in (config.optim.loss, config.optim.final_loss):
        if name not in LOSSES:
            raise ConfigError(f"got the loss {name!r}, allowed are {', '.join(LOSSES)}")
    for label, number, least in (
        ("optim.steps", config.optim.steps, 1),
        ("optim.steps_per_epoch", config.optim.steps_per_epoch, 1),
        ("data.batch", config.data.batch, 1),
        ("data.patch", config.data.patch, 8),
        ("data.candidates", config.data.candidates, 1),
        ("data.holdout_every", config.data.holdout_every, 2),
    ):
        if number < least:
            raise ConfigError(f"got {label} = {number}, it must be at least {least}")
    for label, share in (("optim.ema", config.optim.ema), ("optim.final_fraction", config.optim.final_fraction)):
        if not 0 <= share <= 1:
            raise ConfigError(f"got {label} = {share}, it must be within 0 and 1")
