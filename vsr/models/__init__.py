"""The networks, by name. The list is written out: adding one means adding a line here (see CONTRIBUTING.md)."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from types import MappingProxyType

from vsr.errors import UnknownModelError
from vsr.models.base import Network
from vsr.models.ecbsr import ECBSR, ECBSRConfig
from vsr.models.espcn import ESPCN, ESPCNConfig
from vsr.models.interpolation import Interpolation


@dataclass(frozen=True, slots=True, kw_only=True)
class ModelSpec:
    """One entry of the registry.

    Attributes:
        build: makes the network for a scale, with random weights if it has any.
        trained: whether it has weights to train and to load.
        scales: that it can be built for.
        summary: one line for ``vsr models``.
    """

    build: Callable[[int], Network]
    trained: bool
    summary: str
    scales: tuple[int, ...] = (2, 3, 4)


MODELS: Mapping[str, ModelSpec] = MappingProxyType(
    {
        "ecbsr": ModelSpec(
            build=lambda scale: ECBSR(ECBSRConfig(scale=scale)),
            trained=True,
            summary="re-parameterised 3×3 chain on luma, the fastest trained network (Zhang et al. 2021)",
        ),
        "espcn": ModelSpec(
            build=lambda scale: ESPCN(ESPCNConfig(scale=scale)),
            trained=True,
            summary="efficient sub-pixel network on luma, as published (Shi et al. 2016)",
        ),
        "bicubic": ModelSpec(
            build=lambda scale: Interpolation(scale, kernel="bicubic"),
            trained=False,
            summary="cubic convolution (Keys 1981)",
        ),
        "bilinear": ModelSpec(
            build=lambda scale: Interpolation(scale, kernel="bilinear"), trained=False, summary="linear interpolation"
        ),
        "nearest": ModelSpec(
            build=lambda scale: Interpolation(scale, kernel="nearest"), trained=False, summary="repeats samples"
        ),
    }
)


def model_spec(name: str) -> ModelSpec:
    """Look a network up.

    Raises:
        UnknownModelError: there is none of that name.
    """
    try:
        return MODELS[name]
    except KeyError:
        raise UnknownModelError(f"got model {name!r}, allowed are {', '.join(MODELS)}; see 'vsr models'") from None


def build_network(name: str, *, scale: int) -> Network:
    """A network with random weights (or none to learn).

    Raises:
        UnknownModelError: no such name, or not for that scale.
    """
    spec = model_spec(name)
    if scale not in spec.scales:
        raise UnknownModelError(f"got scale {scale} for {name}, allowed are {', '.join(map(str, spec.scales))}")
    return spec.build(scale)
