"""The documents say what is true: their commands parse, their links lead somewhere, their names exist."""

from __future__ import annotations

import importlib.util
import re
import shlex
from pathlib import Path

import pytest
import typer

import vsr
from vsr.app.cli import app

ROOT = Path(__file__).parents[1]
PAGES = [ROOT / "README.md", ROOT / "CONTRIBUTING.md", *sorted((ROOT / "docs").glob("*.md"))]


def _commands() -> list[str]:
    found = []
    for page in PAGES:
        text = page.read_text(encoding="utf-8")
        found += re.findall(r"^\$ (vsr [^\n#]*)", text, re.MULTILINE)
        found += re.findall(
            r"`(vsr (?:upscale|train|evaluate|compare|models|doctor|bench|demo|preview|devices)[^`\n]*)`", text
        )
    return sorted({command.strip() for command in found})


@pytest.mark.parametrize("line", _commands())
def test_commands_parse(line: str) -> None:
    _, *words = shlex.split(line)
    command = typer.main.get_command(app)
    assert words[0] in command.commands, words[0]
    if "--help" not in words and len(words) > 1:
        command.commands[words[0]].make_context(words[0], words[1:])


def test_there_are_commands() -> None:
    assert len(_commands()) > 8


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_links_lead_somewhere(page: Path) -> None:
    text = page.read_text(encoding="utf-8")
    anchors = {
        re.sub(r"[^\w -]", "", title).strip().lower().replace(" ", "-") for title in re.findall(r"^#+ (.*)", text, re.M)
    }
    for target in re.findall(r"\]\(([^)]+)\)", text):
        if target.startswith(("http:", "https:")):
            continue
        if target.startswith("#"):
            assert target[1:] in anchors, target
        else:
            assert (page.parent / target.partition("#")[0]).exists(), target


def test_make_targets_exist() -> None:
    makefile = (ROOT / "Makefile").read_text(encoding="utf-8")
    for page in PAGES:
        for target in re.findall(r"^\$ make (\w+)", page.read_text(encoding="utf-8"), re.MULTILINE):
            assert re.search(rf"^{target}:", makefile, re.MULTILINE), target


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_modules_and_scripts_that_are_run_exist(page: Path) -> None:
    text = page.read_text(encoding="utf-8")
    for module in re.findall(r"python -m (vsr[.\w]*)", text):
        assert importlib.util.find_spec(module) is not None, module
    for script in re.findall(r"python (tests/[\w/]+\.py)", text):
        assert (ROOT / script).is_file(), script


def test_nothing_is_left_to_fill_in() -> None:
    for page in PAGES:
        assert not re.search(r"@[A-Z0-9_]+@|TODO|TBD", page.read_text(encoding="utf-8")), page.name


def test_python_names_in_the_readme_exist() -> None:
    text = (ROOT / "README.md").read_text(encoding="utf-8")
    for name in set(re.findall(r"vsr\.([A-Za-z_]\w*)\(", text)):
        assert hasattr(vsr, name), name
