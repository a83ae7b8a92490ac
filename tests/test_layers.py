"""Who may import whom, as the source text has it: ``vsr`` knows pixels, ``streams`` knows video, ``vsr.app`` both."""

from __future__ import annotations

import ast
import importlib
from collections.abc import Iterator, Mapping
from graphlib import CycleError, TopologicalSorter
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
PACKAGES = ("vsr", "streams")
WEB = frozenset({"gradio", "fastapi", "starlette", "uvicorn", "websockets"})
VIDEO = frozenset({"streams", "av", "cv2"}) | WEB
PIXELS = frozenset({"vsr", "torch", "openvino"}) | WEB


def module_name(path: Path) -> str:
    parts = path.relative_to(ROOT).with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


MODULES: Mapping[str, Path] = {
    module_name(path): path for package in PACKAGES for path in sorted((ROOT / package).rglob("*.py"))
}


def parse(name: str) -> ast.Module:
    return ast.parse(MODULES[name].read_text(encoding="utf-8"))


def is_type_checking(node: ast.AST) -> bool:
    return isinstance(node, ast.If) and ast.unparse(node.test).endswith("TYPE_CHECKING")


def imports_below(node: ast.AST, *, at_import_time: bool) -> Iterator[ast.Import | ast.ImportFrom]:
    """Import statements anywhere below, or only those that run when the module is imported."""
    for child in ast.iter_child_nodes(node):
        if isinstance(child, ast.Import | ast.ImportFrom):
            yield child
        runs_later = isinstance(child, ast.FunctionDef | ast.AsyncFunctionDef | ast.Lambda) or is_type_checking(child)
        if not (at_import_time and runs_later):
            yield from imports_below(child, at_import_time=at_import_time)


def imported(name: str, *, at_import_time: bool = False) -> set[str]:
    """Full names of the modules (and of the names taken from them) that a module imports."""
    found: set[str] = set()
    for node in imports_below(parse(name), at_import_time=at_import_time):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        else:
            assert node.level == 0, f"{name} line {node.lineno}: imports are absolute in this project"
            assert node.module is not None
            found |= {node.module} | {f"{node.module}.{alias.name}" for alias in node.names}
    return found


def top_levels(name: str) -> set[str]:
    return {other.partition(".")[0] for other in imported(name)}


def is_app(name: str) -> bool:
    return name == "vsr.app" or name.startswith("vsr.app.") or name == "vsr.__main__"


@pytest.mark.parametrize("name", [name for name in MODULES if name.startswith("vsr") and not is_app(name)])
def test_pixels_know_no_video(name: str) -> None:
    assert not top_levels(name) & VIDEO


@pytest.mark.parametrize("name", [name for name in MODULES if name.startswith("vsr") and not is_app(name)])
def test_pixels_know_no_app(name: str) -> None:
    """At import time at least: ``import vsr`` for one picture must not load video. Lazy doors are allowed."""
    assert not any(is_app(other) for other in imported(name, at_import_time=True))


@pytest.mark.parametrize("name", [name for name in MODULES if name.startswith("streams")])
def test_video_knows_no_network(name: str) -> None:
    assert not top_levels(name) & PIXELS


def test_no_module_is_imported_in_a_circle() -> None:
    graph = {name: (imported(name, at_import_time=True) & MODULES.keys()) - {name} for name in MODULES}
    try:
        TopologicalSorter(graph).prepare()
    except CycleError as error:
        pytest.fail("import cycle: " + " → ".join(error.args[1]))


def exports(name: str) -> bool:
    return any(
        isinstance(target, ast.Name) and target.id == "__all__"
        for node in parse(name).body
        if isinstance(node, ast.Assign | ast.AnnAssign)
        for target in (node.targets if isinstance(node, ast.Assign) else [node.target])
    )


@pytest.mark.parametrize("name", [name for name in MODULES if exports(name)])
def test_every_exported_name_exists(name: str) -> None:
    module = importlib.import_module(name)
    assert len(set(module.__all__)) == len(module.__all__)
    missing = [each for each in module.__all__ if not hasattr(module, each)]
    assert missing == []
