"""The networks, by name. The list is written out: adding one means adding a line here (see CONTRIBUTING.md)."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any

from vsr.errors import UnknownModelError
from vsr.models.base import Network
from vsr.models.ecbsr import ECBSR, ECBSRConfig
from vsr.models.espcn import ESPCN, ESPCNConfig, WideESPCN
from vsr.models.interpolation import Interpolation
from vsr.models.rrdb import RRDBConfig, RRDBNet
from vsr.models.srcnn import SRCNN, SRCNNConfig, SubpixelSRCNN
from vsr.models.srresnet import SRResNet, SRResNetConfig


@dataclass(frozen=True, slots=True, kw_only=True)
class ModelSpec:
    """One entry of the registry.

    Attributes:
        build: makes the network for a scale and, by keyword, ``options``; with random weights if it has any.
        summary: one line for ``vsr models``.
        trained: whether it has weights to train and to load.
        scales: that it can be built for.
        options: what of its shape can be chosen beside the scale; the defaults are the paper's.
        sharpens: for a network trained to paint texture, the one trained for PSNR that it started from: same
            architecture, so that the weights of both can be blended.
    """

    build: Callable[..., Network]
    summary: str
    trained: bool = True
    scales: tuple[int, ...] = (2, 3, 4)
    options: tuple[str, ...] = ()
    sharpens: str | None = None


def _srresnet(scale: int, **options: Any) -> Network:
    return SRResNet(SRResNetConfig(scale=scale, **options))


def _rrdb(scale: int, **options: Any) -> Network:
    return RRDBNet(RRDBConfig(scale=scale, **options))


_SRRESNET_OPTIONS = ("blocks", "width", "batch_norm")
_RRDB_OPTIONS = ("blocks", "width", "growth")

MODELS: Mapping[str, ModelSpec] = MappingProxyType(
    {
        "ecbsr": ModelSpec(
            build=lambda scale: ECBSR(ECBSRConfig(scale=scale)),
            summary="re-parameterised 3×3 chain on luma, the fastest trained network (Zhang et al. 2021)",
        ),
        "ecbsr-stream": ModelSpec(
            build=lambda scale: ECBSR(ECBSRConfig(scale=scale)),
            summary="ecbsr trained on compressed video, for cameras and streams",
        ),
        "espcn": ModelSpec(
            build=lambda scale: ESPCN(ESPCNConfig(scale=scale)),
            summary="efficient sub-pixel network on luma, as published (Shi et al. 2016)",
        ),
        "espcn-wide": ModelSpec(
            build=lambda scale: WideESPCN(scale=scale),
            summary="espcn with 512, 256 and 64 channels and ReLU, sixty times as costly",
        ),
        "srcnn": ModelSpec(
            build=lambda scale: SRCNN(SRCNNConfig(scale=scale)),
            summary="9-1-5 on bicubic luma, the first of them (Dong et al. 2014)",
        ),
        "srcnn-955": ModelSpec(
            build=lambda scale: SRCNN(SRCNNConfig(scale=scale, middle=5)),
            summary="9-5-5 on bicubic luma, its authors' best",
        ),
        "srcnn-subpixel": ModelSpec(
            build=lambda scale: SubpixelSRCNN(SRCNNConfig(scale=scale)),
            summary="srcnn on luma at low resolution with a sub-pixel shuffle",
        ),
        "srresnet": ModelSpec(
            build=_srresnet,
            scales=(2, 4),
            options=_SRRESNET_OPTIONS,
            summary="residual network on RGB (Ledig et al. 2017)",
        ),
        "srresnet-y": ModelSpec(
            build=lambda scale, **options: _srresnet(scale, channels=1, **options),
            scales=(2, 4),
            options=_SRRESNET_OPTIONS,
            summary="srresnet on luma alone, for video",
        ),
        "srgan": ModelSpec(
            build=_srresnet,
            scales=(2, 4),
            options=_SRRESNET_OPTIONS,
            sharpens="srresnet",
            summary="srresnet trained against a discriminator, paints texture (Ledig et al. 2017)",
        ),
        "rrdb": ModelSpec(
            build=_rrdb,
            scales=(2, 4),
            options=_RRDB_OPTIONS,
            summary="residual-in-residual dense blocks on RGB, trained for PSNR (Wang et al. 2018)",
        ),
        "esrgan": ModelSpec(
            build=_rrdb,
            scales=(2, 4),
            options=_RRDB_OPTIONS,
            sharpens="rrdb",
            summary="rrdb trained against a relativistic discriminator, paints texture (Wang et al. 2018)",
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


def model_spec(name: str, *, scale: int | None = None) -> ModelSpec:
    """Look a network up.

    Args:
        name: of the registry.
        scale: one that it must have, if given.

    Raises:
        UnknownModelError: there is none of that name, or not for that scale.
    """
    try:
        spec = MODELS[name]
    except KeyError:
        raise UnknownModelError(f"got model {name!r}, allowed are {', '.join(MODELS)}; see 'vsr models'") from None
    if scale is not None and scale not in spec.scales:
        raise UnknownModelError(f"got scale {scale} for {name}, allowed are {', '.join(map(str, spec.scales))}")
    return spec


def build_network(name: str, *, scale: int, options: Mapping[str, Any] | None = None) -> Network:
    """A network with random weights (or none to learn).

    Args:
        name: of the registry.
        scale: one that it has.
        options: of :attr:`ModelSpec.options`; what is not given is as in the paper.

    Raises:
        UnknownModelError: no such name, not for that scale, or an option that it does not have.
    """
    spec = model_spec(name, scale=scale)
    for option, value in (options or {}).items():
        if option not in spec.options:
            allowed = ", ".join(spec.options) or "none"
            raise UnknownModelError(f"got the option {option!r} for {name}, allowed are: {allowed}")
        if not isinstance(value, int) or (not isinstance(value, bool) and value < 1):
            raise UnknownModelError(f"got {option} = {value!r} for {name}, it must be a whole number from 1")
    return spec.build(scale, **(options or {}))
