"""Measure trained weights and enter them in the index: ``python -m vsr.weights.ship best.safetensors ecbsr 2 …``.

For those who train the networks of this package. The file is copied beside the index under its proper name, and its
entry states what was measured on the test sets, which no training ever saw.
"""

from __future__ import annotations

import argparse
import hashlib
import shutil
from pathlib import Path
from typing import Any

from vsr.evaluate import evaluate_folder, mean
from vsr.models import build_network
from vsr.models.base import macs_per_input_sample, parameter_count
from vsr.upscaler import Upscaler
from vsr.weights import index, load_file_as

_FOLDER = Path(__file__).parent
_HEAD = "# What each file of weights is, written by 'python -m vsr.weights.ship'; docs/training.md says more.\n"


def entry(path: Path, *, model: str, scale: int, recipe: str, data: list[str], tests: Path) -> dict[str, Any]:
    """Evaluate weights on every test set below ``tests`` and describe them."""
    network = load_file_as(model, path, scale=scale)
    precision = "int8" if any("input_scale" in name for name in network.state_dict()) else "fp32"
    # The reference arithmetic: PyTorch in fp32, which also stands for int8 by rounding as integers do.
    upscaler = Upscaler(model, scale=scale, network=network, device="torch", precision="fp32")
    scores = {
        folder.name: evaluate_folder(upscaler.luma, folder, scale=scale)
        for folder in sorted(tests.iterdir())
        if folder.is_dir()
    }
    plain = build_network(model, scale=scale).folded()
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
        "psnr": {name: round(mean(values).psnr, 3) for name, values in scores.items()},
        "ssim": {name: round(mean(values).ssim, 4) for name, values in scores.items()},
        "check": {score.name: round(score.psnr, 3) for score in scores.get("Set5", [])[:2]},
    }


def write_index(entries: list[dict[str, Any]]) -> None:
    """Write ``index.toml``, sorted by model, scale and precision."""
    entries = sorted(entries, key=lambda e: (e["model"], e["scale"], e["precision"]))
    text = _HEAD + "".join("\n[[weights]]\n" + "".join(map(_line, e.items())) for e in entries)
    (_FOLDER / "index.toml").write_text(text, encoding="utf-8")


def _line(item: tuple[str, Any]) -> str:
    key, value = item
    return f"{key} = {_toml(value)}\n"


def _toml(value: Any) -> str:
    if isinstance(value, dict):
        return "{ " + ", ".join(f'"{key}" = {_toml(inner)}' for key, inner in value.items()) + " }"
    if isinstance(value, (list, tuple)):
        return "[" + ", ".join(map(_toml, value)) + "]"
    return f'"{value}"' if isinstance(value, str) else str(value)


def main() -> None:
    """The command line."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("file", type=Path)
    parser.add_argument("model")
    parser.add_argument("scale", type=int)
    parser.add_argument("--recipe", required=True, help="how it was made, in a line")
    parser.add_argument("--data", required=True, nargs="+", help="names of the sets it was trained on")
    parser.add_argument("--tests", required=True, type=Path, help="folder with one folder of pictures per test set")
    options = parser.parse_args()
    new = entry(
        options.file,
        model=options.model,
        scale=options.scale,
        recipe=options.recipe,
        data=options.data,
        tests=options.tests,
    )
    shutil.copyfile(options.file, _FOLDER / new["file"])
    kept = [
        {name: getattr(old, name) for name in new}
        for old in index()
        if (old.model, old.scale, old.precision) != (new["model"], new["scale"], new["precision"])
    ]
    write_index([*kept, new])


if __name__ == "__main__":
    main()
