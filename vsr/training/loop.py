"""The training loop: patches in, averaged weights out; an interruption costs one epoch at most."""

from __future__ import annotations

import copy
import dataclasses
import logging
import math
import time
from collections import defaultdict
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from tqdm import tqdm

from vsr.errors import ConfigError, DataError
from vsr.metrics import psnr
from vsr.models import build_network
from vsr.models.base import Network
from vsr.models.quantized import calibrate, quantize
from vsr.pairs import Pair, luma_of, to_image, to_tensor
from vsr.training.acceleration import Forward, autocast, compiled, device_for, uses_bf16
from vsr.training.budget import Budget
from vsr.training.checkpoints import BEST, LAST, RunFolder
from vsr.training.checks import check
from vsr.training.config import TrainConfig
from vsr.training.data import Patches
from vsr.training.degradation import Compressor
from vsr.training.folders import find_sources
from vsr.training.loading import PairLoader
from vsr.training.losses import LOSSES
from vsr.training.samples import sample_grid
from vsr.training.tensorboard import Board
from vsr.weights import start_from

log = logging.getLogger(__name__)

# Steps from the start at which the pace is first measured (those before also choose kernels and compile), and then
# how often: each time the host waits for the device.
_FIRST_MARKS = (3, 10)
_MARK_EVERY = 50


class Trainer:
    """One run of a recipe; everything that it writes lies in ``config.out``.

    ``checkpoint.pt`` holds all that the run depends on (weights, averages, optimiser, random state, place), so that a
    resumed run ends with the same bits as one that was never interrupted, on the same machine and number of threads;
    on CUDA with ``deterministic``, and nowhere with ``optim.minutes``, which measures time.

    Args:
        config: the recipe.
        resume: go on from ``checkpoint.pt`` if there is one.
        compressor: for recipes that train on compressed video.

    Raises:
        ConfigError: an impossible setting, or a checkpoint of another recipe.
        DataError: the pictures cannot be used.
    """

    def __init__(self, config: TrainConfig, *, resume: bool = False, compressor: Compressor | None = None) -> None:
        check(config)
        self.recipe = self.config = config
        self.out, self.folder = Path(config.out), RunFolder(Path(config.out))
        if self.folder.begun and not resume:
            raise ConfigError(
                f"{self.out} holds a run already; go on with it (--resume), or give another folder (--out)"
            )
        if config.threads:
            torch.set_num_threads(config.threads)
        self.device = device_for(config.device, deterministic=config.deterministic)
        self.bf16 = uses_bf16(config.optim.precision, self.device, quantize=config.model.quantize)
        torch.manual_seed(config.seed)
        self.generator = torch.Generator().manual_seed(config.seed)
        self.patches, self.validation = self._load(compressor)
        self.network = self._make_network()
        self.average = self._averaged()
        # On CUDA one kernel for all weights; on the CPU the plain form is as fast.
        self.optimizer = torch.optim.Adam(
            self.network.parameters(), lr=config.optim.rate, fused=self.device.type == "cuda"
        )
        self.step, self.best, self.stale = 0, -math.inf, 0
        self.budget = Budget(config.optim.minutes * 60, config.optim.steps)
        self._forward: Forward = self._compiled() if config.compile else self.network
        self._prepare()
        if self.folder.begun:
            self._load_state(self.folder.load_state(config))
        self.board = Board(self.out, step=self.step) if config.tensorboard else None

    def run(self) -> float:
        """Train to the end, or until validation stops getting better; returns the best validation PSNR in dB."""
        patience = self.config.optim.patience
        self._begun = self.step
        with tqdm(total=self._steps, initial=self.step, disable=None, unit="step", desc=self.out.name) as bar:
            while self.step < self._steps and not (patience and self.stale >= patience):
                self._end_of_epoch(self._epoch(bar), bar)
        if self.board is not None:
            self.board.close()
        self.folder.save_done({"step": self.step, "psnr": self.best})
        return self.best

    @property
    def _steps(self) -> int:
        return self.config.optim.steps

    def _epoch(self, bar: tqdm[Any]) -> dict[str, float]:
        """Steps up to the next epoch; returns the means of what they report, and how fast they were."""
        begun, first = time.perf_counter(), self.step
        boundary = (self.step // self.config.optim.steps_per_epoch + 1) * self.config.optim.steps_per_epoch
        seen: dict[str, list[Tensor]] = defaultdict(list)
        while self.step < min(boundary, self._steps):
            for name, value in self._train_step().items():
                seen[name].append(value)
            bar.update()
            if self.budget.seconds and self._is_mark(self.step - self._begun):
                self._fit_into_budget(bar)
        # Only here does the host wait for the device.
        means = {name: float(torch.stack(values).mean()) for name, values in seen.items()}
        patches = (self.step - first) * self.config.data.batch
        return means | {"patches_per_second": patches / (time.perf_counter() - begun)}

    @staticmethod
    def _is_mark(steps: int) -> bool:
        return steps in _FIRST_MARKS or steps % _MARK_EVERY == 0

    def _fit_into_budget(self, bar: tqdm[Any]) -> None:
        if self.device.type == "cuda":
            torch.cuda.synchronize(self.device)
        self._set_steps(self.budget.mark(self.step))
        bar.total = self._steps

    def _set_steps(self, steps: int) -> None:
        """Let the run, and the curve of its rate, end with another step than its recipe says."""
        self.config = dataclasses.replace(self.config, optim=dataclasses.replace(self.config.optim, steps=steps))

    def _prepare(self) -> None:
        """What another kind of training needs beside the network, before a checkpoint is read."""

    def _train_step(self) -> dict[str, Tensor]:
        """One more step; returns scalars by name, whose means over an epoch the history keeps, "loss" among them."""
        low, high = self.patches.sample(self.config.data.batch, self.generator)
        loss = self._pixel_loss(self._made(low), high)
        self._descend(loss)
        return {"loss": loss.detach()}

    def _autocast(self) -> Any:
        """The precision that layers compute in, as a context."""
        return autocast(self.device, bf16=self.bf16)

    def _made(self, low: Tensor) -> Tensor:
        """What the network makes of patches, in its precision; fp32 from there on."""
        with self._autocast():
            return self._forward(low).float()

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
            torch._foreach_lerp_(list(self.average.parameters()), list(self.network.parameters()), 1 - decay)
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
        self.folder.add_row(row)
        bar.set_postfix(psnr=f"{value:.3f}", patches=f"{means['patches_per_second']:.0f}/s")
        if self.board is not None:
            self.board.add_row(row)
        weights = exported(self.average)
        self.folder.save_weights(LAST, weights)
        if better:
            self.best = value
            self.folder.save_weights(BEST, weights)
        if self.config.sample_every and epoch % self.config.sample_every == 0:
            self._show_samples(epoch)
        if self.step < self._steps and self.budget.seconds:
            self._fit_into_budget(bar)
        kept = self.config.checkpoint_every and epoch % self.config.checkpoint_every == 0
        self.folder.save_state(self._state(), keep_as=epoch if kept else None)

    def _better(self, value: float) -> bool:
        """Whether the average is to be kept, at this validation PSNR."""
        return value > self.best

    def _show_samples(self, epoch: int) -> None:
        picture = sample_grid(self.average, self.validation[:4], device=self.device)
        picture.save(self.out / f"sample_{epoch:04d}.png")
        if self.board is not None:
            self.board.add_picture(picture, step=self.step)

    def _load(self, compressor: Compressor | None) -> tuple[Patches, list[Pair]]:
        """The pictures: patches to train on, whole pairs to validate with, one of each whatever the versions."""
        config = self.config
        training, validation = find_sources(config.data, scale=config.model.scale)
        loader = PairLoader(
            scale=config.model.scale,
            channels=self._build().channels,
            settings=config.degradation,
            seed=config.seed,
            compressor=compressor,
            threads=config.threads,
        )
        once = dataclasses.replace(loader, settings=dataclasses.replace(config.degradation, versions=1))
        held = once.load(validation, label="validation")
        if not held:
            names = ", ".join(str(source.high) for source in validation[:4])
            raise DataError(f"every picture kept for validation is too small: {names}")
        patches = Patches(
            loader.load(training),
            scale=config.model.scale,
            patch=config.data.patch,
            candidates=config.data.candidates,
            device=self.device,
        )
        return patches, held

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

    def _compiled(self) -> Forward:
        data = self.config.data
        shape = (data.batch, self.network.channels, data.patch, data.patch)
        return compiled(self.network, torch.zeros(shape, device=self.device), bf16=self.bf16)

    def _averaged(self) -> Network:
        return copy.deepcopy(self.network).requires_grad_(False).eval()

    def _state(self) -> dict[str, Any]:
        """All that the run depends on."""
        return {
            "config": dataclasses.asdict(self.recipe),
            "network": self.network.state_dict(),
            "average": self.average.state_dict(),
            "optimizer": self.optimizer.state_dict(),
            "generator": self.generator.get_state(),
            "place": {
                "step": self.step,
                "best": self.best,
                "stale": self.stale,
                "steps": self._steps,
                "spent": (self.budget.counted_steps, self.budget.spent_seconds),
            },
        }

    def _load_state(self, state: dict[str, Any]) -> None:
        self.network.load_state_dict(state["network"])
        self.average.load_state_dict(state["average"])
        self.optimizer.load_state_dict(state["optimizer"])
        self.generator.set_state(state["generator"])
        place = state["place"]
        self.step, self.best, self.stale = place["step"], place["best"], place["stale"]
        self._set_steps(place.get("steps", self._steps))
        self.budget.counted_steps, self.budget.spent_seconds = place.get("spent", (0, 0.0))


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
