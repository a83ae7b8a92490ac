"""The trained weights that come with the package, and what is known of each: ``index.toml`` beside this file."""

from __future__ import annotations

import hashlib
import tomllib
from dataclasses import dataclass, field
from functools import cache
from importlib import resources
from pathlib import Path

import torch
from torch import Tensor, nn

from vsr.errors import ConfigError, WeightsError
from vsr.models import build_network, model_spec
from vsr.models.base import Network
from vsr.models.quantized import quantize
from vsr.weights.files import Options, fill, load_file_as, load_into, options_of, read_tensors

__all__ = [
    "Options",
    "WeightsInfo",
    "check",
    "find",
    "index",
    "load_file_as",
    "load_into",
    "load_network",
    "options_of",
    "read_tensors",
    "shipped_scales",
    "start_from",
]


@dataclass(frozen=True, slots=True, kw_only=True)
class WeightsInfo:
    """One trained set of weights, as the index describes it.

    ``psnr`` and ``ssim`` hold means over the luma of each test set, ``niqe`` the same of an unreferenced measure where
    texture is painted; ``check`` the dB of single pictures of Set5, ``bundled`` that of pictures which come with
    scikit-image (:func:`vsr.weights.bundled.bundled_scores`); ``precision`` is ``"fp32"`` or ``"int8"`` (trained with
    8-bit rounding in the loop); ``macs`` are multiplications per place of the input; ``options`` what of the network's
    shape is not as in the paper.
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
    options: Options = field(default_factory=dict)
    niqe: dict[str, float] = field(default_factory=dict)
    bundled: dict[str, float] = field(default_factory=dict)

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


def shipped_scales(model: str, *, precision: str = "fp32") -> tuple[int, ...]:
    """The scales that weights of a network are shipped for, the smallest first; () where there are none."""
    return tuple(sorted(info.scale for info in index() if (info.model, info.precision) == (model, precision)))


def load_network(model: str, *, scale: int, precision: str = "fp32", blend: float | None = None) -> Network:
    """A network with its shipped weights, folded, ready to run.

    Args:
        model: a name of the registry.
        scale: one that weights are shipped for.
        precision: ``"fp32"`` or ``"int8"``.
        blend: for a network that paints texture, how much of it: 0 is the network trained for PSNR that it started
            from, 1 (or None) itself, and between them every weight is mixed in that proportion (network interpolation,
            Wang et al. 2018).

    Raises:
        UnknownModelError: no such network or scale.
        ConfigError: ``blend`` is not in 0..1, or the network has nothing to be blended with.
        WeightsError: no such weights, they are of another shape than those to blend with, or the file is damaged.
    """
    spec = model_spec(model, scale=scale)
    if blend is not None and not 0 <= blend <= 1:
        raise ConfigError(f"got blend={blend}, it must be from 0 (trained for PSNR) to 1 (all of {model}'s texture)")
    if blend is not None and spec.sharpens is None:
        raise ConfigError(f"got blend={blend} for {model}, only networks that paint texture have it: srgan, esrgan")
    info = find(model, scale=scale, precision=precision)
    network = _built(info)
    check(info)
    state = read_tensors(info.path)
    if blend not in (None, 1) and spec.sharpens is not None:
        state = _blended(info, find(spec.sharpens, scale=scale, precision=precision), state, blend)
    fill(network, state, source=info.path)
    return network.eval().requires_grad_(False)


def _built(info: WeightsInfo) -> Network:
    """The network that a file belongs to, folded; its weights are still random."""
    network = build_network(info.model, scale=info.scale, options=info.options).folded()
    return quantize(network) if info.precision == "int8" else network


def _blended(info: WeightsInfo, plain: WeightsInfo, state: dict[str, Tensor], blend: float) -> dict[str, Tensor]:
    """Every weight between those trained for PSNR (0) and ``state``, the ones that paint (1)."""
    if plain.options != info.options:
        raise WeightsError(
            f"cannot blend {info.model} {_shown(info.options)} with {plain.model} {_shown(plain.options)}: "
            "both must have the same shape; leave blend out"
        )
    check(plain)
    smooth = read_tensors(plain.path)
    if {name: value.shape for name, value in smooth.items()} != {name: value.shape for name, value in state.items()}:
        raise WeightsError(f"cannot blend {info.file} with {plain.file}: their tensors differ; leave blend out")
    return {name: torch.lerp(smooth[name], value, blend) for name, value in state.items()}


def _shown(options: Options) -> str:
    return "(" + (", ".join(f"{name}={value}" for name, value in options.items()) or "as in the paper") + ")"


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


def start_from(network: Network, source: str) -> Network:
    """Begin training where another training ended: take over every layer that fits.

    Args:
        network: the one to train.
        source: a safetensors file, or ``"MODEL:SCALE"`` for shipped weights. From another scale, all but the last
            layer fit. A network with branches takes folded weights as its plain branch, its other branches are zeroed.

    Raises:
        ConfigError: the network has batch norm, and the file, being folded, has no statistics for it.
        WeightsError: it cannot be read, or nothing of it fits.
    """
    name, _, scale = source.rpartition(":")
    path = find(name, scale=int(scale)).path if scale.isdigit() else Path(source)
    state = read_tensors(path)
    own = network.state_dict()
    layers = dict.fromkeys(key.rpartition(".")[0] for key in state)
    taken = [layer for layer in layers if _take_over(layer, state, own)]
    if not taken:
        raise WeightsError(f"nothing in {path} fits this network (its tensors: {', '.join(sorted(state)[:4])}, …)")
    # What a folded convolution does, a norm behind it with statistics of its own undoes.
    norms = [name for name, layer in network.named_modules() if isinstance(layer, nn.BatchNorm2d)]
    if any(f"{norm}.running_mean" not in state for norm in norms):
        raise ConfigError(
            f"the batch norm of {path} is folded away and cannot be recovered, but this network has some; "
            "set batch_norm = false in its options, or resume from a checkpoint"
        )
    network.load_state_dict(own)
    return network


def _take_over(layer: str, state: dict[str, Tensor], own: dict[str, Tensor]) -> bool:
    """Copy a layer from ``state`` to ``own`` where all of it fits; its branches, if it has any, fall silent."""
    home = f"{layer}.plain" if f"{layer}.plain.weight" in own else layer
    parts = {home + key.removeprefix(layer): value for key, value in state.items() if key.rpartition(".")[0] == layer}
    parts = {name: value for name, value in parts.items() if name in own}
    if not parts or any(own[name].shape != value.shape for name, value in parts.items()):
        return False
    own.update(parts)
    for branch in (f"{layer}.expand", f"{layer}.gains"):
        if branch in own:
            own[branch] = torch.zeros_like(own[branch])
    return True
