"""What a training run can be told, with defaults; a TOML file overlays them and may not hold any other key."""

from __future__ import annotations

import dataclasses
import tomllib
import types
import typing
from collections.abc import Mapping
from dataclasses import dataclass, field
from importlib import resources
from pathlib import Path
from typing import Any

from vsr.errors import ConfigError


@dataclass(frozen=True, slots=True, kw_only=True)
class ModelConfig:
    """Which network, and where it starts.

    ``init`` is a weight file, or shipped weights by name and scale (``"ecbsr:2"``); layers that fit are taken over.
    ``quantize`` trains with 8-bit rounding in the loop. ``options`` choose the shape of networks that have a choice
    (``vsr models``): ``blocks``, ``width``, ….
    """

    name: str = "ecbsr"
    scale: int = 2
    init: str | None = None
    quantize: bool = False
    options: dict[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, slots=True, kw_only=True)
class DataConfig:
    """Which pictures, and how patches are cut from them.

    ``folder`` is searched with its sub-folders. Every ``holdout_every``-th picture is kept for validation and never
    trained on. ``patch`` is the side in low-resolution samples. Of ``candidates`` random places the one with the most
    detail is taken.
    """

    folder: str = ""
    holdout_every: int = 50
    patch: int = 32
    batch: int = 16
    candidates: int = 1


@dataclass(frozen=True, slots=True, kw_only=True)
class OptimConfig:
    """How long and how fast to learn: Adam, a warm-up, then a cosine from ``rate`` to ``final_rate``.

    ``loss`` is ``"l1"``, ``"mse"`` or ``"charbonnier"``; for the last ``final_fraction`` of the steps ``final_loss``.
    ``ema`` is the decay of the averaged weights, which are the ones evaluated and kept. ``patience`` counts epochs
    without a better validation PSNR before the run ends early; 0 never does. ``clip`` bounds the gradient's norm.
    """

    steps: int = 100_000
    steps_per_epoch: int = 2_000
    rate: float = 1e-3
    final_rate: float = 1e-5
    warmup_steps: int = 500
    loss: str = "l1"
    final_loss: str = "mse"
    final_fraction: float = 0.2
    ema: float = 0.999
    clip: float = 1.0
    patience: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class GanConfig:
    """A stage against a discriminator; without ``adversarial`` there is none, and the rest says nothing.

    ``adversarial`` is ``"none"``, ``"bce"`` (SRGAN's) or ``"relativistic"`` (ESRGAN's). The network's loss is
    ``optim.loss`` × ``pixel_weight``, plus the discriminator's feature matching × ``feature_weight``, plus the distance
    ``vgg_loss`` of VGG19's features × ``vgg_weight``, plus the adversarial loss × ``adversarial_weight``.

    ``vgg`` is a file of torchvision's weights or ``"download"``; ``vgg_layer`` such as ``"conv5_4"``, ahead of its
    activation, or ``"relu5_4"``. The discriminator has ``discriminator_norm`` ``"batch"``, ``"spectral"`` or
    ``"none"``, learns at ``discriminator_rate`` along the network's curve, and for the first ``warmup_steps`` alone.
    """

    adversarial: str = "none"
    adversarial_weight: float = 1e-3
    pixel_weight: float = 1.0
    feature_weight: float = 0.0
    vgg_weight: float = 0.0
    vgg_loss: str = "l1"
    vgg_layer: str = "conv5_4"
    vgg: str | None = None
    discriminator_width: int = 64
    discriminator_norm: str = "batch"
    discriminator_rate: float = 1e-4
    warmup_steps: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class TrainConfig:
    """One run: its network, data, optimisation, and the folder ``out`` that takes all it writes."""

    out: str = "runs/unnamed"
    seed: int = 1
    device: str = "auto"
    threads: int = 0
    sample_every: int = 10
    model: ModelConfig = field(default_factory=ModelConfig)
    data: DataConfig = field(default_factory=DataConfig)
    optim: OptimConfig = field(default_factory=OptimConfig)
    gan: GanConfig = field(default_factory=GanConfig)


def load_config(path: Path, **overrides: Any) -> TrainConfig:
    """Read a recipe; ``overrides`` are ``section__key=value`` and win over the file; None leaves it as it is.

    Raises:
        ConfigError: no such file, not TOML, an unknown key, or a value of the wrong type.
    """
    try:
        tree = tomllib.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise ConfigError(f"cannot read the recipe {path}: {error.strerror}") from error
    except (UnicodeDecodeError, tomllib.TOMLDecodeError) as error:
        raise ConfigError(f"{path} is not valid TOML: {error}") from error
    for name, value in overrides.items():
        if value is not None:
            _overlay(tree, name.split("__"), value, where=str(path))
    return build(TrainConfig, tree, where=str(path))


def _overlay(tree: dict[str, Any], names: list[str], value: Any, *, where: str) -> None:
    *sections, key = names
    for section in sections:
        tree = tree.setdefault(section, {})
        if not isinstance(tree, dict):
            raise ConfigError(f"{where}: {section} is a section, got {tree!r}")
    tree[key] = value


def find_recipe(name: str) -> Path:
    """A recipe by its file, or one that is shipped by its name (``"ecbsr_x2"``).

    Raises:
        ConfigError: there is neither.
    """
    if Path(name).is_file():
        return Path(name)
    folder = Path(str(resources.files("configs") / "train"))
    path = folder / f"{name.removesuffix('.toml')}.toml"
    if not path.is_file():
        have = ", ".join(sorted(file.stem for file in folder.glob("*.toml")))
        raise ConfigError(f"there is no file {name} and no recipe of that name; shipped are {have}")
    return path


T = typing.TypeVar("T")


def build(kind: type[T], tree: Mapping[str, Any], *, where: str) -> T:
    """Make a config dataclass from nested mappings, checking keys and types.

    Raises:
        ConfigError: an unknown key or a value of the wrong type.
    """
    hints = typing.get_type_hints(kind)
    values: dict[str, Any] = {}
    for key, value in tree.items():
        if key not in hints:
            raise ConfigError(f"{where}: got the key {key!r}, allowed are {', '.join(hints)}")
        values[key] = _convert(hints[key], value, where=f"{where}: {key}")
    return kind(**values)


def _convert(hint: Any, value: Any, *, where: str) -> Any:
    if dataclasses.is_dataclass(hint):
        if not isinstance(value, Mapping):
            raise ConfigError(f"{where} is a section, got {value!r}")
        return build(typing.cast(type, hint), value, where=where)
    if typing.get_origin(hint) is dict:
        if not isinstance(value, Mapping):
            raise ConfigError(f"{where} is a section, got {value!r}")
        return dict(value)
    allowed = typing.get_args(hint) if isinstance(hint, types.UnionType) else (hint,)
    if float in allowed and type(value) is int:
        value = float(value)
    if type(value) not in allowed:
        names = ", ".join(getattr(kind, "__name__", str(kind)) for kind in allowed)
        raise ConfigError(f"{where} takes {names}, got {value!r}")
    return value
