"""Serves the page: puts its parts together, binds to a port, and runs beside the caller until it is closed."""

from __future__ import annotations

import importlib.util
import logging
import os
import socket
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from errno import EACCES, EADDRINUSE, EADDRNOTAVAIL
from pathlib import Path
from time import monotonic
from types import TracebackType
from typing import TYPE_CHECKING, Any, Self

from streams.redact import redact
from vsr.app.page.scratch import ScratchFolder
from vsr.errors import ConfigError

if TYPE_CHECKING:
    from starlette.types import ASGIApp

    from vsr.app.page.guard import Credentials
    from vsr.app.page.routes import LiveStudio
    from vsr.app.page.studio import Studio

log = logging.getLogger(__name__)

DEFAULT_PORT = 7860
EVERYWHERE = frozenset({"0.0.0.0", "::"})  # noqa: S104 -- to be told apart, not to be bound to
"""What to bind to for all addresses of the machine."""

_NEEDED = ("gradio", "uvicorn", "websockets")
_LOG_OF_UVICORN = logging.getLogger("uvicorn.error")
_START_SECONDS = 30.0
_GRACE_SECONDS = 2
_POLL_SECONDS = 0.05
_MOST_PICTURE_BYTES = 1 << 23
"""Of a browser's camera."""
_MISTAKES = {
    EADDRINUSE: "another program listens there already; choose another port, or 0 for any",
    EACCES: "ports below 1024 are the administrator's; choose another one",
    EADDRNOTAVAIL: "that is no address of this machine; try 127.0.0.1, or 0.0.0.0 for all of them",
}


def require_extra() -> None:
    """Make sure that what the page needs is installed.

    Raises:
        ConfigError: something is missing.
    """
    missing = [name for name in _NEEDED if importlib.util.find_spec(name) is None]
    if missing:
        raise ConfigError(f"the page needs {' and '.join(missing)}; install it with: pip install 'vsr[page]'")


@contextmanager
def gradio_at_home() -> Iterator[None]:
    """Have Gradio keep its files in a folder that is removed at the end, and call nobody. Before it is imported."""
    with ScratchFolder("vsr-gradio-") as folder:
        wanted = {"GRADIO_TEMP_DIR": str(folder.path), "GRADIO_ANALYTICS_ENABLED": "False"}
        before = {name: os.environ.get(name) for name in wanted}
        os.environ.update(wanted)
        try:
            yield
        finally:
            for name, value in before.items():
                if value is None:
                    os.environ.pop(name, None)
                else:
                    os.environ[name] = value


def open_page(
    studio: Studio, *, host: str, port: int, max_upload_bytes: int, credentials: Credentials | None = None
) -> PageServer:
    """A server of the whole page, bound, and to be entered.

    Args:
        studio: what it shows and steers.
        host: see :class:`PageServer`.
        port: see :class:`PageServer`.
        max_upload_bytes: of one file.
        credentials: needed for everything, if given.

    Raises:
        ConfigError: it cannot be bound to.
    """
    return _open(lambda: _page_app(studio, max_upload_bytes=max_upload_bytes), host, port, credentials=credentials)


def open_player(studio: LiveStudio, *, host: str, port: int) -> PageServer:
    """A server of the player alone, to look and not to touch; bound, and to be entered.

    Raises:
        ConfigError: it cannot be bound to.
    """
    return _open(lambda: _player_app(studio), host, port)


def _open(make: Callable[[], ASGIApp], host: str, port: int, *, credentials: Credentials | None = None) -> PageServer:
    from vsr.app.page.guard import Guard, allowed_hosts

    # First of all: a port that is taken must not be found out after Gradio's seconds.
    bound = _bind(host, port)
    try:
        return PageServer(Guard(make(), hosts=allowed_hosts(host), credentials=credentials), bound, host=host)
    except BaseException:
        bound.close()
        raise


def _page_app(studio: Studio, *, max_upload_bytes: int) -> ASGIApp:
    """Gradio's part, behind the routes for moving pictures."""
    import gradio
    from fastapi import FastAPI
    from gradio.utils import get_upload_folder

    from vsr.app.page.blocks import build, mount_options
    from vsr.app.page.doors import Doors
    from vsr.app.page.routes import live_routes

    app = FastAPI(docs_url=None, redoc_url=None, openapi_url=None)
    app.router.routes.extend(live_routes(studio))
    options: dict[str, Any] = {
        **mount_options(),
        # What is meant for visitors is shown all the same; other errors may name what is not theirs to know.
        "show_error": False,
        "max_file_size": max_upload_bytes,
        "app_kwargs": {"docs_url": None, "redoc_url": None, "openapi_url": None},
        "run_history": False,
        "ssr_mode": False,
    }
    page = build(studio)
    gradio.mount_gradio_app(app, page, path="/", **options)
    # Only of what it has launched itself does Gradio check which files a visitor names.
    page.has_launched = True
    uploads = page.upload_file_set
    return Doors(app, folder=Path(get_upload_folder()), max_upload_bytes=max_upload_bytes, uploads=uploads)


def _player_app(studio: LiveStudio) -> ASGIApp:
    from starlette.applications import Starlette
    from starlette.requests import Request
    from starlette.responses import FileResponse, Response
    from starlette.routing import Route

    from vsr.app.page.routes import ASSETS, live_routes

    async def player(request: Request) -> Response:
        return FileResponse(ASSETS / "player.html", headers={"Cache-Control": "no-cache"})

    return Starlette(routes=[*live_routes(studio), Route("/", player)])


class PageServer:
    """A server on a thread of its own, for as long as the ``with`` block lasts.

    Args:
        app: what it serves.
        bound: the socket to listen on; closed with the server.
        host: what the socket was bound to.

    Attributes:
        host: see above.
        port: the one it got.
    """

    def __init__(self, app: ASGIApp, bound: socket.socket, *, host: str) -> None:
        import uvicorn

        from vsr.app.page.connections import BoundedHttp, BoundedWebSocket

        self.host, self._socket = host, bound
        self.port: int = bound.getsockname()[1]
        config = uvicorn.Config(
            app,
            log_config=None,
            access_log=False,
            server_header=False,
            proxy_headers=False,
            http=BoundedHttp,
            ws=BoundedWebSocket,
            ws_max_size=_MOST_PICTURE_BYTES,
            # JPEGs do not become smaller.
            ws_per_message_deflate=False,
            timeout_graceful_shutdown=_GRACE_SECONDS,
        )
        self._server = uvicorn.Server(config)
        self._thread = threading.Thread(target=self._work, name="vsr-page-server", daemon=True)

    @property
    def url(self) -> str:
        """Where a browser on this machine finds it."""
        host = "127.0.0.1" if self.host in EVERYWHERE else self.host
        return f"http://{f'[{host}]' if ':' in host else host}:{self.port}/"

    @property
    def running(self) -> bool:
        """Whether it serves."""
        return self._server.started and self._thread.is_alive()

    def start(self) -> None:
        """Begin to serve.

        Raises:
            ConfigError: it could not, and is closed; the log says why.
        """
        _LOG_OF_UVICORN.addFilter(self._plain)
        self._thread.start()
        until = monotonic() + _START_SECONDS
        while not self.running:
            if not self._thread.is_alive() or monotonic() > until:
                self.close()
                raise ConfigError("the page could not be started; run it again with --debug and report what it says")
            self._thread.join(_POLL_SECONDS)

    def close(self) -> None:
        """End it; who still looks is sent home after two seconds at most."""
        self._server.should_exit = True
        if self._thread.ident is not None:
            self._thread.join()
        self._socket.close()
        _LOG_OF_UVICORN.removeFilter(self._plain)

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def _work(self) -> None:
        self._server.run(sockets=[self._socket])

    def _plain(self, record: logging.LogRecord) -> bool:
        """Whether a line of uvicorn's log is worth being seen; the traceback is for who debugs."""
        if self._server.should_exit and self._server.started:
            # Gradio's pages never hang up by themselves, and each is told of with a traceback when the time is up.
            return False
        if record.exc_info and record.exc_info[1] is not None and not log.isEnabledFor(logging.DEBUG):
            error = record.exc_info[1]
            record.msg, record.args = f"a request failed: {type(error).__name__}: {redact(error)}", ()
            record.exc_info = record.exc_text = None
        return True


def _bind(host: str, port: int) -> socket.socket:
    try:
        return socket.create_server((host, port), family=socket.AF_INET6 if ":" in host else socket.AF_INET)
    except OSError as error:
        # The look-up of names has numbers of its own.
        reason = _MISTAKES.get(error.errno or 0, "there is no such address; try 127.0.0.1")
        raise ConfigError(f"cannot serve the page at {host}:{port}: {reason}") from error
