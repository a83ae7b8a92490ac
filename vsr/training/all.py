"""``python -m vsr.training.all --data DIR``: all networks one after the other on a GPU, each within a time.

Networks for PSNR come first and those that start from them after. What is done is skipped and what was interrupted is
gone on with, so the same command is given again until nothing is left to do. A recipe that fails does not end the rest.
"""

from __future__ import annotations

import argparse
import gc
import logging
import sys
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from types import MappingProxyType

import torch

from vsr.errors import VsrError
from vsr.training.checkpoints import BEST, DONE
from vsr.training.config import TrainConfig, find_recipe, load_config
from vsr.training.degradation import Compressor
from vsr.training.gan import trainer_for

log = logging.getLogger(__name__)

RECIPES: Mapping[str, float] = MappingProxyType(
    {
        "ecbsr_long_x2": 4,
        "ecbsr_long_x3": 2,
        "ecbsr_long_x4": 2,
        "ecbsr_stream_x2": 1,
        "espcn_long_x3": 2,
        "espcn_long_x2": 1,
        "espcn_long_x4": 1,
        "srresnet_x4": 4,
        "rrdb_mid_x4": 4,
        "srgan_x4": 2,
        "esrgan_mid_x4": 2,
    }
)
"""What is trained, in this order, and how much of a common time each gets."""

# Where recipes say that they write, and where others look for what they start from.
_RECIPES_FOLDER = Path("runs")


def train_all(
    recipes: Sequence[str],
    *,
    data: Path | None = None,
    runs: Path = _RECIPES_FOLDER,
    minutes: float | None = None,
    in_all: float | None = None,
    device: str | None = None,
    compressor: Compressor | None = None,
) -> list[str]:
    """Train by recipes, in their order.

    Args:
        recipes: files, or names of shipped ones; each writes into the folder of its name.
        data: folder of pictures, in place of the recipes'.
        runs: takes the place of the folder ``runs`` that recipes name.
        minutes: of training for each, loading not counted; steps are lowered to what fits.
        in_all: minutes for all of them together, loading counted, shared out by :data:`RECIPES`; what is done already
            leaves its share to the rest.
        device: in place of the recipes'.
        compressor: for recipes on compressed video.

    Returns:
        Those that failed; why is in the log.
    """
    failed = []
    end = None if in_all is None else time.perf_counter() + 60 * in_all
    for index, name in enumerate(recipes):
        try:
            config = _config(name, data=data, runs=runs, minutes=minutes, device=device)
            if (Path(config.out) / DONE).exists():
                log.info("%s is done; remove %s to train it anew", name, config.out)
                continue
            log.info("%s: training in %s", name, config.out)
            mine = None if end is None else _end_of_first(recipes[index:], runs, end)
            trainer = trainer_for(config, resume=True, compressor=compressor)
            if mine is not None:
                trainer.budget.seconds = max(1.0, mine - time.perf_counter()) + trainer.budget.spent_seconds
            log.info("%s: %s, validation PSNR %.3f dB", name, Path(config.out) / BEST, trainer.run())
        except (VsrError, torch.OutOfMemoryError) as error:
            log.error("%s failed: %s", name, error)  # noqa: TRY400
            failed.append(name)
        # Pictures and weights of one run make room for those of the next.
        gc.collect()
        torch.cuda.empty_cache()
    return failed


def _end_of_first(recipes: Sequence[str], runs: Path, end: float) -> float:
    """When the first of those that are left has used up its share of the time to ``end``."""
    shares = [RECIPES.get(name, 1.0) for name in recipes if not (runs / _stem(name) / DONE).exists()]
    now = time.perf_counter()
    return now + (end - now) * shares[0] / sum(shares)


def _stem(name: str) -> str:
    # Without looking for it: a recipe that is not there fails in its own turn.
    return Path(name.removesuffix(".toml")).name


def _config(name: str, *, data: Path | None, runs: Path, minutes: float | None, device: str | None) -> TrainConfig:
    path = find_recipe(name)
    init = load_config(path).model.init
    if init is not None and Path(init).is_relative_to(_RECIPES_FOLDER):
        init = str(runs / Path(init).relative_to(_RECIPES_FOLDER))
    return load_config(
        path,
        out=str(runs / path.stem),
        device=device,
        data__folder=data and str(data),
        model__init=init,
        optim__minutes=minutes,
    )


def main(arguments: Sequence[str] | None = None) -> int:
    """Read the command line and train; returns 1 if a recipe failed."""
    parser = argparse.ArgumentParser("python -m vsr.training.all", description="Train many networks, one by one.")
    parser.add_argument("recipes", nargs="*", metavar="RECIPE", help=f"files or names (default: {' '.join(RECIPES)})")
    parser.add_argument("--data", type=Path, help="folder of training pictures")
    parser.add_argument("--runs", type=Path, default=_RECIPES_FOLDER, help="folder for the runs (default: runs)")
    parser.add_argument("--minutes", type=float, help="of training for each recipe (default: all its steps)")
    parser.add_argument("--in-all", type=float, metavar="MINUTES", help="for all recipes together, loading counted")
    parser.add_argument("--device", help="auto, cpu, cuda or cuda:N")
    chosen = parser.parse_args(arguments)
    # Only here: who trains from Python need not have video.
    from vsr.app.compress import through_h264

    logging.basicConfig(level=logging.INFO, format="%(message)s", stream=sys.stderr)
    failed = train_all(
        chosen.recipes or list(RECIPES),
        data=chosen.data,
        runs=chosen.runs,
        minutes=chosen.minutes,
        in_all=chosen.in_all,
        device=chosen.device,
        compressor=through_h264,
    )
    if failed:
        log.error("%d of %d failed: %s", len(failed), len(chosen.recipes or RECIPES), ", ".join(failed))
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
