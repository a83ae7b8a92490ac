"""The program ``vsr``. Nothing here loads PyTorch or PyAV: help and mistakes must be answered at once."""

from __future__ import annotations

import atexit
import importlib
import importlib.util
import os
import sys
import threading
from collections.abc import Sequence
from contextlib import suppress
from typing import Annotated, NoReturn

import typer

from vsr._version import __version__
from vsr.app.console import Console, write_line
from vsr.app.exit_codes import ExitCode
from vsr.app.upscale import upscale

app = typer.Typer(
    name="vsr", rich_markup_mode="rich", add_completion=False, pretty_exceptions_enable=False, no_args_is_help=False
)
app.command("upscale")(upscale)

# The base of everything that a wrong command line raises; typer does not export it.
_UsageError: type[Exception] = typer.BadParameter.__bases__[0]


def _show_version(wanted: bool) -> None:
    if wanted:
        typer.echo(f"vsr {__version__}")
        raise typer.Exit


@app.callback(invoke_without_command=True)
def _start(
    context: typer.Context,
    debug: Annotated[bool, typer.Option("--debug", help="Tracebacks in place of one-line errors.")] = False,
    _version: Annotated[
        bool, typer.Option("--version", callback=_show_version, is_eager=True, help="Say which version this is.")
    ] = False,
) -> None:
    """Video super-resolution: a video in, a larger and sharper one out.

    vsr upscale in.mp4 -o out.mp4        make a video twice as large
    vsr upscale --help                   everything that can be chosen
    """
    context.obj.debug = debug
    if context.invoked_subcommand is None:
        typer.echo(context.get_help())
        raise typer.Exit(ExitCode.USAGE)


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the program.

    Args:
        arguments: what follows the program's name; None takes them from ``sys.argv``.

    Returns:
        One of :class:`vsr.app.exit_codes.ExitCode`.
    """
    console = Console()
    command = typer.main.get_command(app)
    try:
        result = command.main(
            args=None if arguments is None else list(arguments), prog_name="vsr", standalone_mode=False, obj=console
        )
    except (typer.Abort, KeyboardInterrupt):
        return console.fail(KeyboardInterrupt())
    except Exception as error:
        if isinstance(error, _UsageError):
            return _fail_usage(error)
        return console.fail(error)
    return result if isinstance(result, int) else ExitCode.OK


def program() -> NoReturn:
    """Run :func:`main` and leave with its code.

    A thread may still be inside FFmpeg, which nothing can call back: it waits for a server, with a deadline. Left alone
    it would ask for Python's lock while Python is being taken down, and bring the process down with a signal.
    """
    code = main()
    if any(thread.daemon and thread.is_alive() for thread in threading.enumerate()):
        atexit._run_exitfuncs()
        for stream in (sys.stdout, sys.stderr):
            with suppress(OSError, ValueError, AttributeError):
                stream.flush()
        os._exit(code)
    sys.exit(code)


def _fail_usage(error: Exception) -> ExitCode:
    command = getattr(getattr(error, "ctx", None), "command_path", "vsr")
    text = getattr(error, "format_message", error.__str__)()
    write_line(f"vsr: error: {' '.join(text.replace('Value error, ', '').split()).rstrip('.')}; try '{command} --help'")
    return ExitCode.USAGE


for _module in ("vsr.app.commands", "vsr.app.commands_live", "vsr.app.commands_page"):
    if importlib.util.find_spec(_module) is not None:
        importlib.import_module(_module).register(app)
