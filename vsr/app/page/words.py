"""What is said to whoever sees the page, who may be a stranger: no password, no path of this machine, no traceback."""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path

from streams.errors import StreamError
from streams.redact import redact
from streams.sources.webcam import is_webcam
from vsr.app.console import message_of
from vsr.errors import VsrError

_ADDRESS = re.compile(r"([a-z][a-z0-9+.-]*)://(?:[^/?#]*@)?([^/?#]*)", re.IGNORECASE)
# Whatever follows is the name of a file, or of a folder: that may be said.
_FOLDERS = re.compile(r"(?<![\w:/.~-])~?(?:/[^\s/:'\"]+)+/(?=[^\s/])")


class PageError(VsrError):
    """What was asked for on the page cannot be; the message is for whoever asked, and safe to be seen by anybody."""


def label_of(source: str) -> str:
    """What the page calls a source.

    >>> label_of("rtsp://admin:hunter2@camera.local:8554/stream?token=abc")
    'rtsp://camera.local:8554/…'
    """
    address = _ADDRESS.match(source)
    if address is not None:
        return f"{address[1].lower()}://{address[2]}/…"
    if is_webcam(source):
        return f"Camera {source}"
    return source if source.startswith("synthetic:") else Path(source).name


def plain_words(error: BaseException, *, labels: Mapping[str, str] | None = None) -> str:
    """An error as one line for strangers.

    Args:
        error: any.
        labels: what to call sources and folders that the message may name.
    """
    if isinstance(error, OSError):
        # With its path, which is somewhere on this machine.
        return error.strerror or "the system refused it"
    if not isinstance(error, StreamError | VsrError | MemoryError):
        return "something went wrong on the server, whose log says what"
    text = message_of(error)
    for name, label in (labels or {}).items():
        for shown in {name, redact(name)}:
            text = text.replace(shown, label)
    return _FOLDERS.sub("", redact(text))
