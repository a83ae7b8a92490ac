"""Weights from elsewhere: state dicts of these architectures, whatever their layers are called.

Architecture, scale and size are told from names and shapes. Pickles are read with ``weights_only=True``: a file cannot
run code.
"""

from __future__ import annotations

import logging
import pickle
import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from torch import Tensor

from vsr.errors import WeightsError
from vsr.models import MODELS, model_spec
from vsr.models.base import Network
from vsr.models.quantized import quantize
from vsr.weights.adapted import FULL_LUMA, SAME, Adapted
from vsr.weights.build import build
from vsr.weights.files import read_tensors
from vsr.weights.schemes import OTHERS, SCHEMES, SUPPORTED, Scheme

log = logging.getLogger(__name__)

State = dict[str, Tensor]

# Where a training keeps the generator, the averaged weights first.
_HOLDERS = (
    *("params_ema", "ema", "params", "state_dict", "model_state_dict", "model", "network"),
    *("generator", "netG", "net_g", "G", "weights"),
)
_PREFIXES = ("module.", "_orig_mod.", "generator.", "netG.", "net_g.", "net.", "network.")
_SHOWN = 6


@dataclass(frozen=True, slots=True)
class Loaded:
    """A network from a file, folded and frozen; ``model`` is the name of the registry that comes nearest."""

    model: str
    network: Network


def load_any(path: Path, *, model: str | None = None, scale: int | None = None) -> Loaded:
    """Load weights of any naming that is known.

    Args:
        path: safetensors, or a pickle of tensors; a checkpoint that holds them under a usual name will do.
        model: what it is, of the registry; told from the file where it is not given.
        scale: likewise; SRCNN's weights are the same for every scale and need it.

    Raises:
        UnknownModelError: no such model.
        WeightsError: the file cannot be read, is of another model or scale, or of none of these architectures.
    """
    if model is not None:
        model_spec(model)
    state = strip(tensors(path))
    scheme = _nearest(state, path)
    try:
        built = build(scheme.family, _renamed(scheme, state), scale=scale)
        network = _filled(built.network, built.state)
    except WeightsError as error:
        raise WeightsError(f"{path.name}: {error}") from error
    _check(path, network, found=built.model, model=model, scale=scale)
    return Loaded(model or built.model, _adapted(network, scheme, built.model).eval().requires_grad_(False))


def tensors(path: Path) -> State:
    """What a file holds by way of tensors, as floats.

    Raises:
        WeightsError: it cannot be read, or would run code if it were.
    """
    try:
        with path.open("rb") as file:
            # Safetensors begin with the length of a header in JSON.
            safe = file.read(9)[8:] == b"{"
        tree = read_tensors(path) if safe else torch.load(path, map_location="cpu", weights_only=True)
    except pickle.UnpicklingError as error:
        refused = re.search(r"GLOBAL (\S+)", str(error))
        if refused is None:
            raise WeightsError(f"cannot read {path}: it is neither safetensors nor a pickle of tensors") from error
        raise WeightsError(
            f"{path} holds more than tensors ({refused[1]}), which could run code, and was not loaded; "
            "save its state_dict() alone"
        ) from error
    except OSError as error:
        raise WeightsError(f"cannot read {path}: {error.strerror or error}") from error
    except SafetensorError as error:
        # PyTorch goes by the ending of the name.
        raise WeightsError(f"cannot read {path} as safetensors: {error}") from error
    except (RuntimeError, EOFError, ValueError, KeyError, IndexError, AttributeError, TypeError) as error:
        said = " ".join(str(error).split()) or "it ends too early"
        raise WeightsError(f"cannot read {path} as a pickle of tensors: {said}") from error
    return _find_state(tree, path)


def _find_state(tree: Any, path: Path) -> State:
    """The state dict in a checkpoint."""
    while isinstance(tree, Mapping):
        state = {str(name): value.float() for name, value in tree.items() if isinstance(value, Tensor)}
        inner = [tree[name] for name in _HOLDERS if isinstance(tree.get(name), Mapping)]
        if not inner and state:
            return state
        tree = inner[0] if inner else None
    raise WeightsError(f"{path} holds no state dict, neither itself nor as one of {', '.join(_HOLDERS)}")


def strip(state: State) -> State:
    """Without what wrappers put ahead of the names, and without what is not the generator's."""
    prefix = next((p for p in _PREFIXES if any(name.startswith(p) for name in state)), None)
    if prefix is None:
        return state
    return strip({name.removeprefix(prefix): value for name, value in state.items() if name.startswith(prefix)})


def _nearest(state: State, path: Path) -> Scheme:
    """The scheme that knows all names.

    Raises:
        WeightsError: none does; says what is missing from the nearest.
    """
    for first, second, said in OTHERS:
        if all(any(re.fullmatch(expression, name) for name in state) for expression in (first, second)):
            raise WeightsError(f"{path.name} is of {said}, which is not supported; supported are {SUPPORTED}")
    # The first of equals: its own naming stands at the top of the table, with what has needs ahead of what has none.
    scheme = max(SCHEMES, key=lambda scheme: scheme.known(state))
    unexpected = sorted(name for name in state if scheme.renamed(name) is None)
    if len(unexpected) == len(state):
        raise WeightsError(f"{path.name} has no known layers ({_some(unexpected)}); supported are {SUPPORTED}")
    if unexpected:
        raise WeightsError(f"{path.name}: {_closest(scheme, _renamed(scheme, state), unexpected)}")
    return scheme


def _renamed(scheme: Scheme, state: State) -> State:
    """By the names of this package, without what has none."""
    return {ours: value for name, value in state.items() if (ours := scheme.renamed(name)) is not None}


def _closest(scheme: Scheme, state: State, unexpected: list[str]) -> str:
    try:
        built = build(scheme.family, state, scale=2)
    except WeightsError as error:
        return f"unexpected {_some(unexpected)}; {error}"
    missing = sorted(built.network.state_dict().keys() - built.state.keys())
    apart = f"missing {_some(missing)}; unexpected {_some(unexpected)}"
    return f"closest is {built.model}; {apart}; supported are {SUPPORTED}"


def _filled(network: Network, state: State) -> Network:
    """The network with its weights, folded."""
    if any(name.endswith("input_scale") for name in state):
        network = quantize(network)
    own = network.state_dict()
    # A convolution ahead of a norm needs no bias and often has none; older norms did not count their batches.
    silent = {n for n in own if n.endswith("num_batches_tracked") or n.removesuffix("0.bias") + "1.running_mean" in own}
    state = {**{name: torch.zeros_like(own[name]) for name in silent if name not in state}, **state}
    missing, unexpected = sorted(own.keys() - state.keys()), sorted(state.keys() - own.keys())
    if missing or unexpected:
        raise WeightsError(f"missing {_some(missing)}; unexpected {_some(unexpected)}")
    other = [
        f"{name} {tuple(state[name].shape)} in place of {tuple(own[name].shape)}"
        for name in own
        if own[name].shape != state[name].shape
    ]
    if other:
        raise WeightsError(f"layers of another shape: {_some(other)}; supported are {SUPPORTED}")
    network.load_state_dict(state)
    return network.eval().folded()


def _adapted(network: Network, scheme: Scheme, found: str) -> Network:
    if scheme.numbers is FULL_LUMA or (scheme.numbers is not SAME and network.channels == 3):
        log.info("these weights are taken to be trained on %s, by the names of their layers", scheme.numbers.said)
        return Adapted(network, scheme.numbers)
    if found == "espcn" and scheme is not SCHEMES[0]:
        log.info("tanh is taken to be between the layers, as ESPCN has it: weights do not tell")
    return network


def _check(path: Path, network: Network, *, found: str, model: str | None, scale: int | None) -> None:
    """Whether the file holds what was asked for."""
    if scale is not None and network.scale != scale:
        raise WeightsError(f"{path.name} enlarges ×{network.scale}, not ×{scale}; leave the scale out or give that")
    if model is not None and _family(model) != _family(found):
        raise WeightsError(f"{path.name} holds {found}, not {model}; leave the model out or give that")


def _family(model: str) -> str:
    """Models of one architecture go by the name of the first."""
    return "ecbsr" if model == "ecbsr-stream" else MODELS[model].sharpens or model


def _some(names: list[str]) -> str:
    shown = ", ".join(names[:_SHOWN]) or "nothing"
    return shown + (f" and {len(names) - _SHOWN} more" if len(names) > _SHOWN else "")
