"""What several commands share: options that mean the same everywhere, and how a command starts."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Annotated, TypeAlias

import typer

from vsr.app.console import Console

Json: TypeAlias = Annotated[bool, typer.Option("--json", help="One JSON object on stdout, nothing else.")]
Debug: TypeAlias = Annotated[bool, typer.Option("--debug", help="Tracebacks in place of one-line errors.")]


def start(context: typer.Context, *, as_json: bool, debug: bool) -> Console:
    """The console of this run, listening to the log."""
    console: Console = context.obj
    console.as_json = as_json
    console.debug = console.debug or debug
    console.start_logging()
    return console


def given(context: typer.Context) -> list[str]:
    """The parameters of the command that its command line names, as Python writes them."""
    sources = {name: context.get_parameter_source(name) for name in context.params}
    return [name for name, source in sources.items() if source is not None and source.name == "COMMANDLINE"]


def as_options(parameters: Iterable[str]) -> str:
    """Parameters as a command line writes them: --scale, --threads-sweep."""
    return ", ".join(f"--{name.replace('_', '-')}" for name in parameters)


def names(text: str | None) -> list[str] | None:
    """Words with commas between them; None stays None."""
    return None if text is None else [word.strip() for word in text.split(",") if word.strip()]
