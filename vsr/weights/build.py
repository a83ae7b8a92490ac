"""Networks of the size that a state dict is of, told from the shapes of its tensors."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import pairwise
from math import isqrt
from typing import Any

from torch import Tensor, nn

from vsr.errors import WeightsError
from vsr.models import MODELS
from vsr.models.base import Network
from vsr.models.ecbsr import ECBSR, ECBSRConfig, EdgeConv
from vsr.models.espcn import ESPCN, ESPCNConfig, WideESPCN
from vsr.models.rrdb import RRDBConfig, RRDBNet
from vsr.models.srcnn import SRCNN, SRCNNConfig, SubpixelSRCNN
from vsr.models.srresnet import SRResNet, SRResNetConfig
from vsr.weights.files import count, options_of
from vsr.weights.schemes import SUPPORTED

State = dict[str, Tensor]


@dataclass(frozen=True, slots=True)
class Built:
    """A network with random weights, those that belong into it by its own names, and the model that comes nearest."""

    model: str
    network: Network
    state: State


def build(family: str, state: State, *, scale: int | None) -> Built:
    """The network that a state dict is of.

    Args:
        family: ``"chain"``, ``"srresnet"`` or ``"rrdb"``.
        state: by the names of this package, a chain as :mod:`vsr.weights.schemes` has it.
        scale: for SRCNN, whose weights do not tell.

    Raises:
        WeightsError: it is of none, or of a scale that is not supported.
    """
    try:
        built = {"chain": _chain, "srresnet": _srresnet, "rrdb": _rrdb}[family](state, scale)
    except KeyError as error:
        raise WeightsError(f"missing {error.args[0]}; supported are {SUPPORTED}") from None
    except (IndexError, ValueError) as error:
        raise WeightsError(f"its layers are of no shape that is known ({error}); supported are {SUPPORTED}") from error
    if built.network.scale not in MODELS[built.model].scales:
        raise WeightsError(f"it enlarges ×{built.network.scale}, which {built.model} does not do here")
    return built


def _chain(state: State, scale: int | None) -> Built:
    numbers = sorted({int(name.split(".")[1]) for name in state})
    weights = [_weight(state, number) for number in numbers]
    if any(weight.ndim != 4 for weight in weights):
        raise WeightsError(f"not all of its layers are convolutions; supported are {SUPPORTED}")
    if any(before.shape[0] != after.shape[1] for before, after in pairwise(weights)):
        raise WeightsError(f"its convolutions do not follow one another; supported are {SUPPORTED}")
    model, network = _chained(weights, scale)
    names = [name for name, layer in network.named_modules() if isinstance(layer, nn.Conv2d | EdgeConv)]
    names = [name for name in names if not name.endswith(".plain")]
    own = {str(number): name for number, name in zip(numbers, names, strict=True)}
    renamed = {}
    for name, value in state.items():
        _, number, part = name.split(".", 2)
        renamed[f"{own[number]}.{part}"] = value
    if isinstance(network, ECBSR) and not any(name.endswith(".plain.weight") for name in renamed):
        network = network.folded()
    return Built(model, network, renamed)


def _weight(state: State, number: int) -> Tensor:
    """A layer's kernel; that of the plain branch where there are more."""
    return state[next((n for n in state if n == f"chain.{number}.plain.weight"), f"chain.{number}.weight")]


def _chained(weights: list[Tensor], scale: int | None) -> tuple[str, Network]:
    """The network of convolutions one after the other, by their sides and widths."""
    sides = [weight.shape[-1] for weight in weights]
    widths = tuple(weight.shape[0] for weight in weights[:-1])
    channels, outputs = weights[0].shape[1], weights[-1].shape[0]
    shuffled = isqrt(outputs // channels)
    if sides[:1] + sides[2:] == [9, 5]:
        srcnn: dict[str, Any] = {"widths": widths, "middle": sides[1]}
        if outputs != channels:
            return "srcnn-subpixel", SubpixelSRCNN(SRCNNConfig(scale=shuffled, **srcnn))
        if scale is None:
            raise WeightsError("SRCNN's weights do not tell by how much they enlarge; give the scale, as in --scale 3")
        name = "srcnn-955" if sides[1] == 5 else "srcnn"
        return name, SRCNN(SRCNNConfig(scale=scale, channels=channels, **srcnn))
    if sides == [5, 3, 3]:
        return "espcn", ESPCN(ESPCNConfig(scale=shuffled, channels=channels, widths=(widths[0], widths[1])))
    if sides[:1] == [5] and len(sides) > 3 and set(sides[1:]) == {3}:
        return "espcn-wide", WideESPCN(scale=shuffled, widths=widths)
    if len(sides) >= 3 and set(sides) == {3}:
        return "ecbsr", ECBSR(ECBSRConfig(scale=shuffled, layers=len(sides) - 2, width=widths[0]))
    shown = "-".join(map(str, sides))
    raise WeightsError(f"no network here has convolutions of {shown} in a row; supported are {SUPPORTED}")


def _srresnet(state: State, scale: int | None) -> Built:
    # Elsewhere blocks are counted from 2, say.
    order = sorted({int(name.split(".")[1]) for name in state if name.startswith("blocks.")})
    places = {str(number): str(place) for place, number in enumerate(order)}
    renamed = {}
    for name, value in state.items():
        part, _, rest = name.partition(".")
        number, _, layer = rest.partition(".")
        renamed[f"blocks.{places[number]}.{layer}" if part == "blocks" else name] = value
    scale = 2 ** count(renamed, "stages.")
    channels = renamed["head.0.weight"].shape[1]
    if scale not in (2, 4):
        raise WeightsError(f"it enlarges ×{scale}, SRResNet does ×2 and ×4 here")
    options: dict[str, Any] = options_of(renamed)
    network = SRResNet(SRResNetConfig(scale=scale, channels=channels, **options))
    return Built("srresnet" if channels == 3 else "srresnet-y", network, renamed)


def _rrdb(state: State, scale: int | None) -> Built:
    inputs = state["conv_first.weight"].shape[1]
    if inputs in (12, 48):
        raise WeightsError("it packs pixels into channels first, as Real-ESRGAN ×2 does, which is not supported")
    if not options_of(state):
        raise WeightsError(f"missing body.0.rdb1.conv1.weight; supported are {SUPPORTED}")
    scale = 4 if "conv_up2.weight" in state else 2
    return Built("rrdb", RRDBNet(RRDBConfig(scale=scale, **options_of(state))), state)
