"""The command for the page in the browser: ``vsr preview``."""

from __future__ import annotations

import logging
import os
import re
from contextlib import ExitStack
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

import typer

from vsr.app.console import Console
from vsr.app.exit_codes import ExitCode
from vsr.app.inputs import expand
from vsr.app.interrupts import stop_on_signals
from vsr.app.networks import DEFAULT, select_network
from vsr.app.page.server import DEFAULT_PORT, EVERYWHERE, gradio_at_home, open_page, require_extra
from vsr.app.sizes import default_scale
from vsr.errors import ConfigError

if TYPE_CHECKING:
    from vsr.app.live_networks import LiveOptions
    from vsr.app.page.guard import Credentials

log = logging.getLogger(__name__)

_SERVER, _RUN = "Who may come, and what they may do", "What is computed unless a visitor chooses otherwise"
_AUTH_VARIABLE = "VSR_AUTH"
_UNITS = {"": 1, "K": 10**3, "M": 10**6, "G": 10**9}
_LOOK_SECONDS = 0.5


def register(app: typer.Typer) -> None:
    """Add the command to the program."""
    app.command("preview")(preview)


def preview(
    context: typer.Context,
    *,
    sources: Annotated[
        list[str] | None,
        typer.Argument(
            metavar="[SOURCE]", help="webcam, rtsp://…, http://…, files and folders; the first starts at once."
        ),
    ] = None,
    host: Annotated[
        str, typer.Option(help="Address to listen at; 0.0.0.0 for everybody.", rich_help_panel=_SERVER)
    ] = "127.0.0.1",
    port: Annotated[
        int, typer.Option(min=0, max=65535, help="0: any free port.", rich_help_panel=_SERVER)
    ] = DEFAULT_PORT,
    auth: Annotated[
        str | None,
        typer.Option(
            metavar="USER:PASSWORD",
            help=f"Let in with these alone. Others here may see it; {_AUTH_VARIABLE} and --auth-file do not show it.",
            rich_help_panel=_SERVER,
        ),
    ] = None,
    auth_file: Annotated[
        Path | None,
        typer.Option(metavar="FILE", help="Has USER:PASSWORD in its one line.", rich_help_panel=_SERVER),
    ] = None,
    allow_any_source: Annotated[
        bool,
        typer.Option("--allow-any-source", help="Visitors may type network addresses.", rich_help_panel=_SERVER),
    ] = False,
    recordings: Annotated[
        Path, typer.Option(metavar="FOLDER", help="Where recordings go.", rich_help_panel=_SERVER)
    ] = Path("recordings"),
    max_upload: Annotated[
        str, typer.Option(metavar="SIZE", help="Of a visitor's file: 500M, 2G.", rich_help_panel=_SERVER)
    ] = "2G",
    model: Annotated[str, typer.Option(help="The network; see 'vsr models'.", rich_help_panel=_RUN)] = DEFAULT,
    scale: Annotated[int | None, typer.Option(help="2 (the default), 3 or 4.", rich_help_panel=_RUN)] = None,
    realtime_quality: Annotated[
        Literal["fixed", "auto"],
        typer.Option(help="auto: cheaper networks whenever the chosen one does not keep up.", rich_help_panel=_RUN),
    ] = "fixed",
    device: Annotated[
        str, typer.Option(help="auto, cpu, native, openvino, torch, cuda or cuda:N.", rich_help_panel=_RUN)
    ] = "auto",
    precision: Annotated[
        str, typer.Option(help="auto, fp32, fp16, bf16, int16 or int8.", rich_help_panel=_RUN)
    ] = "auto",
    threads: Annotated[int, typer.Option(min=0, help="CPU cores; 0 for all.", rich_help_panel=_RUN)] = 0,
    start: Annotated[bool, typer.Option("--start/--no-start", help="Whether the first source starts at once.")] = True,
    open_browser: Annotated[bool, typer.Option("--open/--no-open", help="Open it in the browser here.")] = False,
    quiet: Annotated[bool, typer.Option("--quiet", "-q", help="Errors only.")] = False,
    verbose: Annotated[bool, typer.Option("--verbose", "-v", help="Also what was decided, and why.")] = False,
    debug: Annotated[bool, typer.Option("--debug", help="Tracebacks.")] = False,
) -> None:
    """Show live video before and after in the browser, for all who look at once.

    Visitors choose among the sources given here, their own camera, a sample, and clips they upload. Ctrl-C ends it.

    vsr preview                                      your camera, a sample, your clips
    vsr preview rtsp://camera/stream webcam          two cameras to choose from
    vsr preview --host 0.0.0.0 --auth-file secret    for others, by password
    """
    console: Console = context.obj
    console.debug, console.quiet, console.verbose = debug or console.debug, quiet, verbose
    console.start_logging()
    require_extra()
    code = _run(
        console,
        _named(sources or []),
        options=_options(model, scale, quality=realtime_quality, device=device, precision=precision, threads=threads),
        recordings=recordings,
        server={
            "host": host,
            "port": port,
            "max_upload_bytes": _bytes(max_upload),
            "credentials": _credentials(auth, auth_file),
        },
        allow_any_source=allow_any_source,
        start=start,
        open_browser=open_browser,
    )
    raise typer.Exit(code)


def _run(
    console: Console,
    sources: list[str],
    *,
    options: LiveOptions,
    recordings: Path,
    server: dict[str, Any],
    allow_any_source: bool,
    start: bool,
    open_browser: bool,
) -> ExitCode:
    from vsr.app.page.studio import Studio

    with ExitStack() as stack:
        stop = stack.enter_context(stop_on_signals())
        stack.enter_context(gradio_at_home())
        studio = Studio(sources, options=options, recordings=recordings, allow_any_source=allow_any_source)
        stack.callback(studio.close)
        page = stack.enter_context(open_page(studio, **server))
        _warn(server["host"], open_to_all=server["credentials"] is None)
        if sources and start:
            studio.start_first()
        else:
            # Now that nothing else is made ready.
            studio.prepare()
        others = "" if page.host not in EVERYWHERE else "and every other address of this machine; "
        console.say(f"{page.url}  ({others}Ctrl-C ends it)")
        if open_browser:
            typer.launch(page.url)
        while not stop.wait(_LOOK_SECONDS):
            if not page.running:
                raise RuntimeError("the server has ended by itself")
        # Before the server, so that those who look are sent home by it.
        studio.close()
    return ExitCode.INTERRUPTED


def _options(model: str, scale: int | None, **more: Any) -> LiveOptions:
    """What is computed, checked as far as can be before there is a picture."""
    from vsr.app.live_networks import LiveOptions
    from vsr.backends import choose

    scales = select_network(model, scale=scale).scales
    choose(more["device"], more["precision"], has_int8=True, has_int16=True)
    return LiveOptions(model=model, scale=scale or default_scale(scales), **more)


def _named(words: list[str]) -> list[str]:
    """Sources that words stand for: a folder or a pattern for several files. What is not there is told at once."""
    from streams.sources.webcam import is_webcam

    named: list[str] = []
    for word in words:
        if re.match(r"[a-z][a-z0-9+.-]+:", word, re.IGNORECASE) or is_webcam(word):
            named.append(word)
        else:
            named += map(str, expand([word]))
    return named


def _credentials(auth: str | None, file: Path | None) -> Credentials | None:
    """Whom to let in; what is said outright goes before the environment."""
    from vsr.app.page.guard import Credentials

    if auth is not None and file is not None:
        raise ConfigError("got --auth and --auth-file; one of the two says who is let in, leave out the other")
    text = auth if auth is not None else os.environ.get(_AUTH_VARIABLE)
    if file is not None:
        try:
            text = file.read_text(encoding="utf-8").strip("\r\n")
        except (OSError, UnicodeDecodeError) as error:
            raise ConfigError(f"cannot read --auth-file {file}; it has to be a text file with one line") from error
    return None if text is None else Credentials(text)


def _bytes(size: str) -> int:
    match = re.fullmatch(r"(\d+(?:\.\d+)?)\s*([KMG]?)i?B?", size.strip(), re.IGNORECASE)
    amount = int(float(match[1]) * _UNITS[match[2].upper()]) if match is not None else 0
    if amount < 1:
        raise ConfigError(f"got --max-upload {size}, allowed are sizes such as 500M and 2G")
    return amount


def _warn(host: str, *, open_to_all: bool) -> None:
    from vsr.app.page.guard import is_loopback

    if open_to_all and not is_loopback(host):
        log.warning("everybody who reaches %s can watch and steer this; let in few with --auth-file FILE", host)
