"""The files of a run: what it goes on from, what it learned, and how it went."""

from __future__ import annotations

import dataclasses
import json
import logging
import math
import pickle
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import save_file
from torch import Tensor

from vsr.errors import ConfigError
from vsr.training.config import TrainConfig, build

log = logging.getLogger(__name__)

CHECKPOINT = "checkpoint.pt"
HISTORY = "history.jsonl"
BEST = "best.safetensors"
LAST = "last.safetensors"
DONE = "done.json"

# These say where, how fast and how watched a run is; the rest is what the run is.
_FREE = frozenset({"out", "device", "compile", "sample_every", "checkpoint_every", "tensorboard"})


class RunFolder:
    """Reads and writes the files of one run. Each is replaced as a whole: a power cut leaves the one before.

    The history alone is added to; a line that was cut off is left out when the run goes on.

    Args:
        path: made when something is first written.
    """

    def __init__(self, path: Path) -> None:
        self.path = path

    @property
    def begun(self) -> bool:
        """Whether there is a checkpoint to go on from."""
        return (self.path / CHECKPOINT).exists()

    def save_state(self, state: Mapping[str, Any], *, keep_as: int | None = None) -> None:
        """Write the checkpoint; one to keep is written once more, under the number of its epoch."""
        self._replace(CHECKPOINT, lambda path: torch.save(dict(state), path))
        if keep_as is not None:
            self._replace(f"checkpoint_{keep_as:04d}.pt", lambda path: torch.save(dict(state), path))

    def load_state(self, config: TrainConfig) -> dict[str, Any]:
        """Read the checkpoint, and cut off what the history says of later steps.

        Raises:
            ConfigError: it is damaged, or of another recipe.
        """
        path = self.path / CHECKPOINT
        try:
            state: dict[str, Any] = torch.load(path, map_location="cpu", weights_only=True)
            rows = (self.path / HISTORY).read_text(encoding="utf-8").splitlines()
        except (OSError, EOFError, RuntimeError, pickle.UnpicklingError) as error:
            raise ConfigError(
                f"cannot resume from {path}, it is damaged; remove it to start anew, or give another out folder"
            ) from error
        # Built anew, a setting that came later than the checkpoint is as if it had been left out.
        differing = _differing(config, build(TrainConfig, state["config"], where=str(path)))
        if differing:
            raise ConfigError(
                f"{path} was made with other settings ({', '.join(differing)}); "
                "give another out folder, or remove this one to start anew"
            )
        step = state["place"]["step"]
        kept = "".join(row + "\n" for row in rows if _step_of(row) <= step)
        self._replace(HISTORY, lambda path: path.write_text(kept, encoding="utf-8"))
        log.info("resumed %s at step %d", self.path, step)
        return state

    def add_row(self, row: Mapping[str, float]) -> None:
        """One more line of the history."""
        self.path.mkdir(parents=True, exist_ok=True)
        with (self.path / HISTORY).open("a", encoding="utf-8") as file:
            file.write(json.dumps(row) + "\n")

    def save_weights(self, name: str, weights: Mapping[str, Tensor]) -> None:
        """Write weights as ``--weights`` takes them."""
        self._replace(name, lambda path: save_file(dict(weights), path))

    def save_done(self, facts: Mapping[str, float]) -> None:
        """Say that the run has come to its end."""
        self._replace(DONE, lambda path: path.write_text(json.dumps(facts) + "\n", encoding="utf-8"))

    def _replace(self, name: str, write: Any) -> None:
        self.path.mkdir(parents=True, exist_ok=True)
        temporary = self.path / (name + ".new")
        write(temporary)
        temporary.replace(self.path / name)


def _step_of(row: str) -> float:
    """The step of a line of the history; infinity where it is not whole."""
    try:
        return float(json.loads(row)["step"])
    except (ValueError, TypeError, KeyError):
        return math.inf


def _differing(one: TrainConfig, other: TrainConfig) -> list[str]:
    """Names of the settings, section by section, that two runs of one kind may not differ in."""
    trees = []
    for config in (one, other):
        optim = dataclasses.replace(config.optim, minutes=0.0)
        trees.append(dataclasses.asdict(dataclasses.replace(config, optim=optim)))
    return sorted(key for key in trees[0].keys() - _FREE if trees[0][key] != trees[1][key])
