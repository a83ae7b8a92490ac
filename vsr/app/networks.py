"""Which network a job runs: by name with the weights that are shipped, or from a file; and by how much it enlarges."""

from __future__ import annotations

import logging
import re
from dataclasses import dataclass
from importlib import resources
from pathlib import Path
from typing import TYPE_CHECKING

from vsr.app.inputs import did_you_mean
from vsr.app.sizes import default_scale
from vsr.errors import ConfigError, UnknownModelError, WeightsError

if TYPE_CHECKING:
    from vsr.models.base import Network

DEFAULT = "ecbsr"
"""The network of a job that names none."""

logger = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True, kw_only=True)
class Selection:
    """A network that was asked for.

    Attributes:
        model: its name in the registry.
        scales: by which it can enlarge here, the smallest first.
        network: where it came from a file.
        weights: that file.
        blend: how much texture it is to paint, where that was said.
    """

    model: str
    scales: tuple[int, ...]
    network: Network | None = None
    weights: str | None = None
    blend: float | None = None


def select_network(
    model: str | None = None,
    *,
    scale: int | None = None,
    to: str | None = None,
    weights: str | Path | None = None,
    blend: float | None = None,
) -> Selection:
    """Find the network for a job, and say so where its factor is not the usual one.

    Args:
        model: a name of the registry; None for the default, or for what ``weights`` hold.
        scale: by which it is to enlarge; None for what it can.
        to: the size that was asked for in place of a scale.
        weights: a file, in place of the shipped weights.
        blend: 0 to 1, for shipped networks that paint texture.

    Raises:
        UnknownModelError: there is no such network.
        WeightsError: no weights for that scale, or at all; or the file is damaged, of another network or scale.
        ConfigError: ``blend`` is not allowed, or not with this network.
    """
    if weights is not None:
        selection = _from_file(model, Path(weights).expanduser(), scale=scale, blend=blend)
    else:
        selection = _by_name(model or DEFAULT, scale=scale, blend=blend)
    usual = default_scale(selection.scales)
    if scale is None and to is None and usual != default_scale():
        logger.info("there is %s for ×%s, so the picture becomes %d times larger", *_named(selection), usual)
    return selection


def _from_file(model: str | None, path: Path, *, scale: int | None, blend: float | None) -> Selection:
    from vsr.weights.foreign import load_any

    if blend is not None:
        raise ConfigError(f"got --blend {blend:g} with --weights {path}; only shipped weights are blended")
    if model is not None:
        _spec(model)
    loaded = load_any(path, model=model, scale=scale)
    logger.info("%s holds %s ×%d", path, loaded.model, loaded.network.scale)
    return Selection(model=loaded.model, scales=(loaded.network.scale,), network=loaded.network, weights=str(path))


def _by_name(model: str, *, scale: int | None, blend: float | None) -> Selection:
    from vsr.weights import shipped_scales

    sharpens, trained, buildable = _spec(model)
    if blend is not None:
        _check_blend(model, blend, allowed=sharpens is not None)
    selection = Selection(model=model, scales=shipped_scales(model) if trained else buildable, blend=blend)
    if not selection.scales:
        raise WeightsError(
            f"no weights of {model} are shipped; train it{_recipes(model)}, or give a file of yours by --weights"
        )
    if scale is not None and scale not in selection.scales:
        most = selection.scales[-1]
        raise WeightsError(
            "got scale {}, and there is {} for ×{}; any size up to ×{} with --to".format(
                scale, *_named(selection), most
            )
        )
    return selection


def _spec(model: str) -> tuple[str | None, bool, tuple[int, ...]]:
    """What the registry says: the network that it sharpens, whether it has weights, and for which scales it can be."""
    from vsr.models import MODELS, model_spec

    try:
        spec = model_spec(model)
    except UnknownModelError as error:
        raise UnknownModelError(f"{error}{did_you_mean(model, MODELS)}") from error
    return spec.sharpens, spec.trained, spec.scales


def _check_blend(model: str, blend: float, *, allowed: bool) -> None:
    from vsr.models import MODELS

    if not allowed:
        names = ", ".join(name for name, spec in MODELS.items() if spec.sharpens is not None)
        raise ConfigError(f"got --blend {blend:g} with {model}, only networks that paint texture have it: {names}")
    if not 0 <= blend <= 1:
        raise ConfigError(f"got --blend {blend:g}, allowed is 0 (no painted texture) to 1 (all of it)")


def _named(selection: Selection) -> tuple[str, str]:
    return selection.model, " and ×".join(map(str, selection.scales))


def _recipes(model: str) -> str:
    """How to train it, where recipes for it are shipped."""
    folder = resources.files("configs") / "train"
    pattern = re.compile(rf"({model.replace('-', '_')}(?:_small)?_x\d)\.toml")
    found = sorted(match[1] for match in map(pattern.fullmatch, (file.name for file in folder.iterdir())) if match)
    return f" by 'vsr train RECIPE' with {' or '.join(found)}" if found else ""
