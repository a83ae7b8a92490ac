"""Recordings that are begun and ended on the page: names by the server alone, and a token for each to fetch it by."""

from __future__ import annotations

import logging
import re
import secrets
import threading
from contextlib import suppress
from datetime import datetime
from itertools import count
from pathlib import Path
from time import monotonic
from typing import TYPE_CHECKING, Any, NamedTuple

from streams.errors import SinkError
from streams.sinks import Sink, open_sink
from vsr.app.page.words import PageError, plain_words

if TYPE_CHECKING:
    from vsr.app.live import LiveSession
    from vsr.app.live_ends import Feed

log = logging.getLogger(__name__)


class _Begun(NamedTuple):
    session: LiveSession
    sink: Sink
    path: Path
    since: float

    def parts(self) -> list[Path]:
        """The files: pictures of another kind began a new one."""
        pattern = re.compile(rf"{re.escape(self.path.stem)}(-\d{{4}})?{re.escape(self.path.suffix)}")
        with suppress(OSError):
            found = (path for path in self.path.parent.iterdir() if pattern.fullmatch(path.name))
            return sorted(found, key=lambda path: path.stem)
        return []


class Recordings:
    """One recording at a time, and all that have ended since the server began. From any thread.

    Args:
        folder: where they go; made with the first.
    """

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._lock = threading.Lock()
        self._begun: _Begun | None = None
        self._ended: dict[str, Path] = {}

    def begin(self, session: LiveSession) -> str:
        """Record a running session from its next frame on.

        Returns:
            The name of the file.

        Raises:
            PageError: something is being recorded already, or the recording cannot be opened.
        """
        with self._lock:
            if self._begun is not None:
                raise PageError(f"{self._begun.path.name} is being recorded already; end it first")
            try:
                self._folder.mkdir(parents=True, exist_ok=True)
                path = self._free_path()
                sink = session.add_output(lambda feed: _open(path, feed))
            except (SinkError, OSError) as error:
                log.warning("no recording: %s", error)
                raise PageError(f"cannot record: {self._plain(error)}") from error
            self._begun = _Begun(session, sink, path, monotonic())
            return path.name

    def end(self) -> str | None:
        """End the recording, if there is one, and finish its file.

        Returns:
            Its name; None where there was none.

        Raises:
            PageError: not a single frame was recorded, or the file could not be finished, or is there no more.
        """
        with self._lock:
            begun, self._begun = self._begun, None
            if begun is None:
                return None
            try:
                begun.session.remove_output(begun.sink)
            except SinkError as error:
                log.warning("the recording: %s", error)
                raise PageError(f"the recording has ended: {self._plain(error)}") from error
            finally:
                parts = begun.parts()
                self._ended = self._ended | {secrets.token_urlsafe(16): part for part in parts}
            if not parts:
                # Systems go on writing into what somebody has removed.
                raise PageError(f"{begun.path.name} is lost: somebody has removed it while it was written")
            return begun.path.name

    def failed(self) -> bool:
        """Whether the recording is still there to be ended, though nothing is written into it any more."""
        begun = self._begun
        return begun is not None and any(status.state == "failed" for status in begun.sink.status())

    def now(self) -> dict[str, Any] | None:
        """The one that is under way: its name, and for how many seconds."""
        begun = self._begun
        return begun and {"name": begun.path.name, "seconds": round(monotonic() - begun.since, 1)}

    def ended(self) -> list[dict[str, Any]]:
        """Those that have ended and are still there, the oldest first."""
        return [
            {"name": path.name, "url": f"/files/{token}/{path.name}", "bytes": size}
            for token, path in self._ended.items()
            if (size := _size(path)) is not None
        ]

    def path_of(self, token: str, name: str) -> Path | None:
        """The file of a recording that has ended, for who knows its token and its name."""
        path = self._ended.get(token)
        return path if path is not None and path.name == name and path.is_file() else None

    def _plain(self, error: Exception) -> str:
        return plain_words(error, labels={f"{self._folder}/": "", str(self._folder): "the folder for recordings"})

    def _free_path(self) -> Path:
        """A name that is not taken; the sink passes over one that is, should somebody be faster."""
        stem = datetime.now().astimezone().strftime("vsr-%Y%m%d-%H%M%S")
        names = (stem if number == 1 else f"{stem}-{number}" for number in count(1))
        return next(path for name in names if not (path := self._folder / f"{name}.mp4").exists())


def _open(path: Path, feed: Feed) -> Sink:
    return open_sink(
        f"record:{path}",
        info=feed.info,
        width=feed.width,
        height=feed.height,
        format=feed.format,
        sample_aspect_ratio=feed.sample_aspect_ratio,
    )


def _size(path: Path) -> int | None:
    try:
        return path.stat().st_size
    except OSError:
        return None
