from __future__ import annotations

import dataclasses
import re
from pathlib import Path
from typing import Any

import pytest

from vsr.errors import ConfigError
from vsr.training.config import TrainConfig, build, load_config

RECIPES = sorted((Path(__file__).parents[1] / "configs/train").glob("*.toml"))


def recipe(folder: Path, text: str) -> Path:
    path = folder / "recipe.toml"
    path.write_text(text, encoding="utf-8")
    return path


def test_an_empty_recipe_is_the_defaults(tmp_path: Path) -> None:
    assert load_config(recipe(tmp_path, "")) == TrainConfig()


def test_a_recipe_overlays_what_it_names(tmp_path: Path) -> None:
    config = load_config(recipe(tmp_path, 'seed = 5\n[optim]\nrate = 1\n[model]\ninit = "ecbsr:2"\n'))
    default = TrainConfig()
    assert config == dataclasses.replace(
        default,
        seed=5,
        optim=dataclasses.replace(default.optim, rate=1.0),
        model=dataclasses.replace(default.model, init="ecbsr:2"),
    )
    assert type(config.optim.rate) is float


def test_overrides_win_and_none_leaves_it(tmp_path: Path) -> None:
    path = recipe(tmp_path, 'out = "here"\n[data]\npatch = 24\n')
    config = load_config(path, out=None, data__patch=32, model__scale=3, seed=9)
    assert (config.out, config.data.patch, config.model.scale, config.seed) == ("here", 32, 3, 9)


@pytest.mark.parametrize("path", RECIPES, ids=lambda path: path.stem)
def test_every_recipe_that_is_shipped_is_valid(path: Path) -> None:
    config = load_config(path)
    name = f"{config.model.name.replace('-', '_')}_x{config.model.scale}"
    stem = re.sub("_(small|mid|long)", "", path.stem)
    assert stem.removesuffix("_stream") == "int8" if config.model.quantize else stem == name
    assert config.out == f"runs/{path.stem}"


def test_there_are_recipes() -> None:
    assert len(RECIPES) >= 6


@pytest.mark.parametrize(
    ("text", "overrides", "message"),
    [
        ("lr = 1", {}, r"recipe.toml: got the key 'lr', allowed are out, seed, device"),
        ("[optim]\nlr = 1", {}, r"recipe.toml: optim: got the key 'lr', allowed are steps, "),
        ("[optimizer]\n", {}, "'optimizer', allowed are .*optim"),
        ('seed = "one"', {}, "seed takes int, got 'one'"),
        ("seed = 1.5", {}, "seed takes int, got 1.5"),
        ("seed = true", {}, "seed takes int, got True"),
        ('[optim]\nrate = "fast"', {}, "optim: rate takes float, got 'fast'"),
        ("[model]\nquantize = 1", {}, "quantize takes bool, got 1"),
        ("[model]\ninit = 3", {}, "init takes str, nothing, got 3"),
        ("model = 3", {}, "model is a section, got 3"),
        ("model = 3", {"model__scale": 2}, "model is a section, got 3"),
        ("", {"optim__warmup": 3}, "optim: got the key 'warmup'"),
        ("seed = ", {}, "not valid TOML"),
    ],
)
def test_refuses(tmp_path: Path, text: str, overrides: dict[str, Any], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        load_config(recipe(tmp_path, text), **overrides)


def test_files_that_cannot_be_read(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"nowhere.toml: No such file"):
        load_config(tmp_path / "nowhere.toml")
    (tmp_path / "binary.toml").write_bytes(b"\xff\xfe\x00")
    with pytest.raises(ConfigError, match="not valid TOML"):
        load_config(tmp_path / "binary.toml")


def test_configs_build_from_what_they_become() -> None:
    """A checkpoint keeps its recipe as nested dictionaries."""
    config = TrainConfig(seed=4)
    assert build(TrainConfig, dataclasses.asdict(config), where="checkpoint") == config
