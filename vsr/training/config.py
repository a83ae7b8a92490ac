"""What a training run can be told, with defaults; a TOML file overlays them and may not hold any other key."""

from __future__ import annotations

import dataclasses
import tomllib
import types
import typing
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from importlib import resources
from pathlib import Path
from typing import Any

from vsr.errors import ConfigError
from vsr.training.degradation import DegradationConfig


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

    ``folder`` is searched with its sub-folders; of data sets that come in parts the right ones are taken (see
    :mod:`vsr.training.folders`), with ``with_val`` also the part ``val``. All pictures in ``validation`` are kept for
    validation and never trained on; where none are given or come with the set, every ``holdout_every``-th is.
    ``patch`` is the side in low-resolution samples. Of ``candidates`` random places the one with the most detail is
    taken.
    """

    folder: str = ""
    validation: str | None = None
    with_val: bool = False
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
    ``minutes`` lowers ``steps`` to what fits into that time, as measured on the way; 0 takes as long as it takes.
    ``precision`` is that of the layers: ``"fp32"``, ``"bf16"`` (weights and loss stay fp32), or ``"auto"``, which is
    bf16 on a CUDA device that has it.
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
    minutes: float = 0.0
    precision: str = "auto"


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
    """One run: its network, data, optimisation, and the folder ``out`` that takes all it writes.

    ``sample_every`` and ``checkpoint_every`` count epochs between sample pictures and between checkpoints that are
    kept; 0 makes none. ``compile`` runs the network through ``torch.compile``. ``deterministic`` keeps CUDA from
    choosing its kernels by speed. ``tensorboard`` writes its event files beside everything else.
    """

    out: str = "runs/unnamed"
    seed: int = 1
    device: str = "auto"
    threads: int = 0
    compile: bool = False
    deterministic: bool = False
    sample_every: int = 10
    checkpoint_every: int = 0
    tensorboard: bool = False
    model: ModelConfig = field(default_factory=ModelConfig)
    data: DataConfig = field(default_factory=DataConfig)
    degradation: DegradationConfig = field(default_factory=DegradationConfig)
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
    kinds = typing.get_args(hint) if isinstance(hint, types.UnionType) else (hint,)
    for kind in kinds:
        if dataclasses.is_dataclass(kind) and value is not None:
            if not isinstance(value, Mapping):
                raise ConfigError(f"{where} is a section, got {value!r}")
            return build(typing.cast(type, kind), value, where=where)
        if typing.get_origin(kind) is dict:
            if not isinstance(value, Mapping):
                raise ConfigError(f"{where} is a section, got {value!r}")
            return dict(value)
        if typing.get_origin(kind) is tuple and isinstance(value, list | tuple):
            return _convert_all(typing.get_args(kind), value, where=where)
    if float in kinds and type(value) is int:
        value = float(value)
    if type(value) not in kinds:
        names = ", ".join(_name(kind) for kind in kinds)
        raise ConfigError(f"{where} takes {names}, got {value!r}")
    return value


def _convert_all(kinds: Sequence[Any], values: Sequence[Any], *, where: str) -> tuple[Any, ...]:
    if len(values) != len(kinds):
        raise ConfigError(f"{where} takes [{', '.join(map(_name, kinds))}], got {list(values)!r}")
    return tuple(_convert(kind, value, where=where) for kind, value in zip(kinds, values, strict=True))


def _name(kind: Any) -> str:
    if typing.get_origin(kind) is tuple:
        return f"[{', '.join(map(_name, typing.get_args(kind)))}]"
    return "nothing" if kind is types.NoneType else kind.__name__
