"""Files of weights: reading their tensors, and telling from the shapes which variant of a network they belong to."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import Tensor

from vsr.errors import WeightsError
from vsr.models import build_network, model_spec
from vsr.models.base import Network
from vsr.models.quantized import quantize

Options = dict[str, int | bool]


def read_tensors(path: Path) -> dict[str, Tensor]:
    """The tensors of a safetensors file, as floats of 32 bit.

    Raises:
        WeightsError: it cannot be read.
    """
    try:
        return {name: value.float() for name, value in load_file(path).items()}
    except (OSError, SafetensorError) as error:
        raise WeightsError(f"cannot read {path} as safetensors: {error}") from error


def load_into(network: Network, path: Path) -> None:
    """Fill a folded network from a safetensors file.

    Raises:
        WeightsError: it cannot be read, or holds other tensors than the network needs.
    """
    fill(network, read_tensors(path), source=path)


def fill(network: Network, state: Mapping[str, Tensor], *, source: Path) -> None:
    """Give a network its tensors; ``source`` is for the message.

    Raises:
        WeightsError: they are not those that the network needs.
    """
    try:
        network.load_state_dict(state)
    except RuntimeError as error:
        raise WeightsError(f"{source} does not fit this network: {' '.join(str(error).split())}") from error


def load_file_as(model: str, path: Path, *, scale: int) -> Network:
    """A network with the weights of a safetensors file: 8-bit where the file is, of as many blocks as it holds.

    Args:
        model: a name of the registry.
        path: weights in this package's own naming, folded or as they are trained.
        scale: of the network.

    Raises:
        UnknownModelError: no such network or scale.
        WeightsError: the file cannot be read or does not fit.
    """
    model_spec(model, scale=scale)
    state = read_tensors(path)
    options = options_of(state) if model_spec(model).options else {}
    network = build_network(model, scale=scale, options=options)
    if state.keys() != network.state_dict().keys():
        network = network.folded()
    if any(name.endswith("input_scale") for name in state):
        network = quantize(network)
    fill(network, state, source=path)
    return network.eval().folded().requires_grad_(False)


def options_of(state: Mapping[str, Tensor]) -> Options:
    """All options that a deep network of this package was built with, told by its tensors; {} for any other."""
    if "head.0.weight" in state:
        norm = any(name.endswith("running_mean") for name in state)
        width = state["head.0.weight"].shape[0]
        return {"blocks": count(state, "blocks."), "width": width, "batch_norm": norm}
    if "conv_first.weight" in state and "body.0.rdb1.conv1.weight" in state:
        width, growth = state["conv_first.weight"].shape[0], state["body.0.rdb1.conv1.weight"].shape[0]
        return {"blocks": count(state, "body."), "width": width, "growth": growth}
    return {}


def count(state: Mapping[str, Tensor], prefix: str) -> int:
    """How many numbers follow a prefix among the names, from 0 on."""
    return len({name.removeprefix(prefix).partition(".")[0] for name in state if name.startswith(prefix)})
