"""Which networks stand in for one that is too slow: each cheaper than the one above, and the best that is."""

from __future__ import annotations

from statistics import mean

from vsr.models import build_network, model_spec
from vsr.weights import WeightsInfo, find, index

FLOOR = "bicubic"
"""The last rung: it needs no weights, and runs in real time wherever video can be decoded."""

# A network that saves less is not worth a move.
_CHEAPER = 0.8
_YARDSTICK = "Set14"


def ladder(model: str, *, scale: int) -> tuple[str, ...]:
    """Names of networks for luma, from ``model`` downwards, for all of which there are weights.

    Args:
        model: the best that is wanted.
        scale: 2, 3 or 4.

    Raises:
        UnknownModelError, WeightsError: ``model`` does not exist, or not at that scale.
    """
    if not model_spec(model).trained:
        return (model,)
    top = find(model, scale=scale)
    rungs, macs = [model], top.macs
    others = {info.model: info for info in index() if info.scale == scale and info.precision == top.precision}
    for info in sorted(others.values(), key=_quality, reverse=True):
        if info.macs <= _CHEAPER * macs and _enlarges_luma(info):
            rungs.append(info.model)
            macs = info.macs
    return (*rungs, FLOOR)


def _quality(info: WeightsInfo) -> float:
    """PSNR in dB as far as it was measured."""
    return info.psnr.get(_YARDSTICK) or mean(info.psnr.values() or [0.0])


def _enlarges_luma(info: WeightsInfo) -> bool:
    return build_network(info.model, scale=info.scale, options=info.options).channels == 1
