"""Measure trained weights and enter them in the index: ``python -m vsr.weights.ship best.safetensors ecbsr 2 …``.

For those who train the networks of this package. The file is copied beside the index under its proper name, and its
entry states what was measured on the test sets, which no training ever saw. At no moment, not even if this breaks off,
does an entry speak of another file than the one that is there.
"""

from __future__ import annotations

import argparse
import hashlib
import logging
import os
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import fields
from pathlib import Path
from typing import Any

import numpy as np
from safetensors.torch import save_file

from vsr.errors import WeightsError
from vsr.evaluate import trials
from vsr.metrics import psnr, ssim
from vsr.models import build_network, model_spec
from vsr.models.base import Network, macs_per_input_sample, parameter_count
from vsr.niqe import niqe
from vsr.pairs import find_images
from vsr.upscaler import Upscaler
from vsr.weights import WeightsInfo, index
from vsr.weights.bundled import bundled_scores
from vsr.weights.files import load_file_as, options_of, read_tensors

log = logging.getLogger(__name__)

_FOLDER = Path(__file__).parent
_HEAD = "# What each file of weights is, written by 'python -m vsr.weights.ship'; docs/training.md says more.\n"
# What a set may lose by weights of 16 bits, in dB: less than any table shows.
_HALF_COSTS = 0.005
_OPTIONAL = ("options", "niqe", "bundled")


def entry(path: Path, *, model: str, scale: int, recipe: str, data: list[str], tests: Path) -> dict[str, Any]:
    """Evaluate weights on every test set below ``tests`` and describe them."""
    network = load_file_as(model, path, scale=scale)
    state = network.state_dict()
    precision = "int8" if any("input_scale" in name for name in state) else "fp32"
    options = {name: value for name, value in options_of(state).items() if name != "batch_norm"}
    if not model_spec(model).options:
        options = {}
    plain = build_network(model, scale=scale, options=options).folded()
    return {
        "model": model,
        "scale": scale,
        "precision": precision,
        "file": f"{model}_x{scale}_{precision}.safetensors",
        "sha256": hashlib.sha256(path.read_bytes()).hexdigest(),
        "recipe": recipe,
        "data": data,
        "parameters": parameter_count(plain),
        "macs": macs_per_input_sample(plain),
        **measure(network, tests=tests),
        "options": options,
    }


def measure(network: Network, *, tests: Path) -> dict[str, dict[str, float]]:
    """Every measure that the index has of a network.

    Args:
        network: folded.
        tests: a folder with one folder of pictures per test set.
    """
    upscaler = reference(network)
    measures: dict[str, dict[str, float]] = {"psnr": {}, "ssim": {}, "check": {}, "niqe": {}}
    for folder in sorted(path for path in tests.iterdir() if path.is_dir()):
        pictures = list(trials(upscaler, find_images(folder), scale=network.scale))
        border = network.scale
        decibels = [psnr(picture.result, picture.truth, border=border) for picture in pictures]
        similar = [ssim(picture.result, picture.truth, border=border) for picture in pictures]
        measures["psnr"][folder.name] = round(float(np.mean(decibels)), 3)
        measures["ssim"][folder.name] = round(float(np.mean(similar)), 4)
        if network.channels == 3:
            natural = [niqe(picture.result, border=border) for picture in pictures]
            measures["niqe"][folder.name] = round(float(np.mean(natural)), 3)
        if folder.name == "Set5":
            firsts = zip(pictures[:2], decibels, strict=False)
            measures["check"] = {picture.name: round(value, 3) for picture, value in firsts}
    return {**measures, "bundled": bundled_scores(upscaler)}


def reference(network: Network) -> Upscaler:
    """The arithmetic that is measured: PyTorch in fp32, which also stands for int8 by rounding as integers do."""
    return Upscaler(scale=network.scale, network=network, device="torch", precision="fp32")


def halved(path: Path, target: Path) -> None:
    """Store weights in 16 bits each."""
    save_file({name: value.half() for name, value in read_tensors(path).items()}, target)


def half_costs(half: dict[str, Any], whole: dict[str, Any]) -> float:
    """The most that a test set loses in dB from one entry to another."""
    return max((whole["psnr"][name] - value for name, value in half["psnr"].items()), default=0.0)


def as_entry(info: WeightsInfo) -> dict[str, Any]:
    """What the index says of weights, as it is written."""
    return {field.name: getattr(info, field.name) for field in fields(info)}


def publish(file: Path, new: dict[str, Any]) -> None:
    """Put weights and their entry in the place of those of the same model, scale and precision.

    Two files cannot be replaced in one step. So the entry goes first, then comes the file and then the new entry: who
    reads in between finds no such weights, and never an entry with another's file.

    Raises:
        WeightsError: the disk did not keep what was written; what was there before is left as it was.
    """
    others = [old for old in map(as_entry, index()) if _key(old) != _key(new)]
    with _replacing(_FOLDER / new["file"]) as partial:
        shutil.copyfile(file, partial)
        if hashlib.sha256(partial.read_bytes()).hexdigest() != new["sha256"]:
            raise WeightsError(f"the copy of {file} in {_FOLDER} is not what was measured; try again, or another disk")
        write_index(others)
    write_index([*others, new])


def _key(described: dict[str, Any]) -> tuple[str, int, str]:
    return described["model"], described["scale"], described["precision"]


@contextmanager
def _replacing(path: Path) -> Iterator[Path]:
    """A name to write under; at the end of the block what is there is on the disk, and takes the place of ``path``."""
    partial = path.with_name(f"{path.name}.partial")
    try:
        yield partial
        with partial.open("rb") as written:
            os.fsync(written.fileno())
        partial.replace(path)
    finally:
        partial.unlink(missing_ok=True)


def write_index(entries: list[dict[str, Any]]) -> None:
    """Write ``index.toml``, sorted by model, scale and precision; what is empty and may be is left out."""
    text = _HEAD
    for described in sorted(entries, key=_key):
        names = [field.name for field in fields(WeightsInfo)]
        ordered = {name: described[name] for name in names if described.get(name) or name not in _OPTIONAL}
        text += "\n[[weights]]\n" + "".join(f"{name} = {_toml(value)}\n" for name, value in ordered.items())
    with _replacing(_FOLDER / "index.toml") as partial:
        partial.write_text(text, encoding="utf-8")


def _toml(value: Any) -> str:
    if isinstance(value, dict):
        return "{ " + ", ".join(f'"{key}" = {_toml(inner)}' for key, inner in value.items()) + " }"
    if isinstance(value, (list, tuple)):
        return "[" + ", ".join(map(_toml, value)) + "]"
    if isinstance(value, bool):
        return str(value).lower()
    return f'"{value}"' if isinstance(value, str) else str(value)


def _parsed() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("file", type=Path)
    parser.add_argument("model")
    parser.add_argument("scale", type=int)
    parser.add_argument("--recipe", required=True, help="how it was made, in a line")
    parser.add_argument("--data", required=True, nargs="+", help="names of the sets it was trained on")
    parser.add_argument("--tests", required=True, type=Path, help="folder with one folder of pictures per test set")
    parser.add_argument("--half", action="store_true", help="store 16 bits per weight, unless that costs any quality")
    return parser.parse_args()


def main() -> None:
    """The command line."""
    logging.basicConfig(level=logging.INFO, format="%(message)s")
    options = _parsed()
    about = {name: getattr(options, name) for name in ("model", "scale", "recipe", "data", "tests")}
    file, new = options.file, entry(options.file, **about)
    with tempfile.TemporaryDirectory() as folder:
        if options.half:
            half = Path(folder) / "half.safetensors"
            halved(options.file, half)
            measured = entry(half, **about)
            cost = half_costs(measured, new)
            kept = cost <= _HALF_COSTS
            log.info("16 bits cost %.4f dB: %s", cost, "stored so" if kept else "stored in 32 bits")
            if kept:
                file, new = half, measured
        publish(file, new)
    log.info("%s: %s", new["file"], new["psnr"])


if __name__ == "__main__":
    main()
