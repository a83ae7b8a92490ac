"""The trained weights that come with the package, and what is known of each: ``index.toml`` beside this file."""

from __future__ import annotations

import hashlib
import tomllib
from dataclasses import dataclass
from functools import cache
from importlib import resources
from pathlib import Path

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import load_file
from torch import Tensor

from vsr.errors import WeightsError
from vsr.models import build_network
from vsr.models.base import Network
from vsr.models.quantized import quantize


@dataclass(frozen=True, slots=True, kw_only=True)
class WeightsInfo:
    """One trained set of weights, as the index describes it.

    ``psnr`` and ``ssim`` hold means over the luma of each test set, ``check`` the dB of single pictures of Set5;
    ``precision`` is ``"fp32"`` or ``"int8"`` (trained with 8-bit rounding in the loop); ``macs`` are multiplications
    per luma sample of the input.
    """

    model: str
    scale: int
    precision: str
    file: str
    sha256: str
    recipe: str
    data: tuple[str, ...]
    parameters: int
    macs: int
    psnr: dict[str, float]
    ssim: dict[str, float]
    check: dict[str, float]

    @property
    def path(self) -> Path:
        """Where the file lies."""
        return Path(str(resources.files(__name__) / self.file))


@cache
def index() -> tuple[WeightsInfo, ...]:
    """Every set of weights that is shipped."""
    tree = tomllib.loads((resources.files(__name__) / "index.toml").read_text(encoding="utf-8"))
    return tuple(WeightsInfo(**{**entry, "data": tuple(entry["data"])}) for entry in tree.get("weights", []))


def find(model: str, *, scale: int, precision: str = "fp32") -> WeightsInfo:
    """The shipped weights of a network.

    Raises:
        WeightsError: there are none for that scale and precision.
    """
    for info in index():
        if (info.model, info.scale, info.precision) == (model, scale, precision):
            return info
    have = ", ".join(f"×{i.scale} {i.precision}" for i in index() if i.model == model) or "none"
    raise WeightsError(f"no {precision} weights of {model} ×{scale} are shipped; there are: {have}")


def load_network(model: str, *, scale: int, precision: str = "fp32") -> Network:
    """A network with its shipped weights, folded, ready to run.

    Raises:
        UnknownModelError: no such network or scale.
        WeightsError: no such weights, or the file is damaged.
    """
    network = build_network(model, scale=scale).folded()
    if precision == "int8":
        network = quantize(network)
    info = find(model, scale=scale, precision=precision)
    check(info)
    load_into(network, info.path)
    return network.eval().requires_grad_(False)


def check(info: WeightsInfo) -> None:
    """Compare a shipped file with the hash in the index.

    Raises:
        WeightsError: it is missing or differs.
    """
    try:
        actual = hashlib.sha256(info.path.read_bytes()).hexdigest()
    except OSError as error:
        raise WeightsError(f"cannot read the weights {info.path}: {error.strerror}; install vsr anew") from error
    if actual != info.sha256:
        raise WeightsError(f"{info.path} is damaged (its hash is not the one in the index); install vsr anew")


def load_into(network: Network, path: Path) -> None:
    """Fill a folded network from a safetensors file.

    Raises:
        WeightsError: it cannot be read, or holds other tensors than the network needs.
    """
    try:
        state = load_file(path)
        network.load_state_dict({name: value.float() for name, value in state.items()})
    except (OSError, SafetensorError) as error:
        raise WeightsError(f"cannot read {path} as safetensors: {error}") from error
    except RuntimeError as error:
        raise WeightsError(f"{path} does not fit this network: {' '.join(str(error).split())}") from error


def load_file_as(model: str, path: Path, *, scale: int) -> Network:
    """A network with the weights of a safetensors file, 8-bit where the file is.

    Raises:
        UnknownModelError: no such network or scale.
        WeightsError: the file cannot be read or does not fit.
    """
    network = build_network(model, scale=scale).folded()
    try:
        with safe_open(path, framework="pt") as file:
            if any(name.endswith("input_scale") for name in file.keys()):  # noqa: SIM118 -- not a mapping
                network = quantize(network)
    except (OSError, SafetensorError) as error:
        raise WeightsError(f"cannot read {path} as safetensors: {error}") from error
    load_into(network, path)
    return network.eval().requires_grad_(False)


def start_from(network: Network, source: str) -> Network:
    """Begin training where another training ended: take over every layer that fits.

    Args:
        network: the one to train.
        source: a safetensors file, or ``"MODEL:SCALE"`` for shipped weights. From another scale, all but the last
            layer fit. A network with branches takes folded weights as its plain branch, its other branches are zeroed.

    Raises:
        WeightsError: it cannot be read, or nothing of it fits.
    """
    name, _, scale = source.rpartition(":")
    path = find(name, scale=int(scale)).path if scale.isdigit() else Path(source)
    try:
        state = load_file(path)
    except (OSError, SafetensorError) as error:
        raise WeightsError(f"cannot read {path} as safetensors: {error}") from error
    own = network.state_dict()
    layers = dict.fromkeys(key.rpartition(".")[0] for key in state)
    taken = [layer for layer in layers if _take_over(layer, state, own)]
    if not taken:
        raise WeightsError(f"nothing in {path} fits this network (its tensors: {', '.join(sorted(state)[:4])}, …)")
    network.load_state_dict(own)
    return network


def _take_over(layer: str, state: dict[str, Tensor], own: dict[str, Tensor]) -> bool:
    """Copy a layer from ``state`` to ``own`` where all of it fits; its branches, if it has any, fall silent."""
    home = f"{layer}.plain" if f"{layer}.plain.weight" in own else layer
    parts = {home + key.removeprefix(layer): value for key, value in state.items() if key.rpartition(".")[0] == layer}
    parts = {name: value.float() for name, value in parts.items() if name in own}
    if not parts or any(own[name].shape != value.shape for name, value in parts.items()):
        return False
    own.update(parts)
    for branch in (f"{layer}.expand", f"{layer}.gains"):
        if branch in own:
            own[branch] = torch.zeros_like(own[branch])
    return True
