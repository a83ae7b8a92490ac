"""Tiny pictures and recipes that the tests of training share."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

from PIL import Image
from skimage import data

from vsr.training.checkpoints import HISTORY
from vsr.training.config import DataConfig, ModelConfig, OptimConfig, TrainConfig


def write_pictures(folder: Path) -> Path:
    """Six small crops of photographs."""
    folder.mkdir(parents=True, exist_ok=True)
    for number, picture in enumerate([data.astronaut(), data.coffee(), data.chelsea()]):
        for part, rows in enumerate([40, 140]):
            Image.fromarray(picture[rows : rows + 72, 160:250]).save(folder / f"{number}{part}.png")
    return folder


def tiny(folder: Path, out: Path) -> TrainConfig:
    """Three epochs of eight steps."""
    return TrainConfig(
        out=str(out),
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
