"""Passwords out of addresses, before they reach a message, a log or a traceback."""

from __future__ import annotations

import logging
import re
from typing import TypeVar

E = TypeVar("E", bound=BaseException)

_USER_INFO = re.compile(r"(?<=://)[^/?#\s]*@")
# What follows the host's colon is no port: a password with an unescaped slash, which reaches further.
_BROKEN_USER_INFO = re.compile(r"(?<=://)[^/?#\s@]*:(?!\d*(?:[/?#\s]|$))\S*@")
# Written with a slash or two too few it is still a password.
_BARE_USER_INFO = re.compile(r"(?i)(?<![\w.-])((?:rtsps?|rtmps?|https?|udp|tcp|srt):/?)(?!/)[^/?#\s]*@")
_SECRET_OPTION = re.compile(
    r"(?i)([?&;](?:[\w-]*(?:pass|passwd|password|passphrase|pwd|secret|token|key|auth|signature|sig))=)[^&;#\s]*(?<!:)"
)
_HEADER = re.compile(r"(?i)((?:proxy-)?authorization:\s*\w+\s+)[^\r\n]*")


def redact(text: object) -> str:
    """``text`` with the user information and the secret-looking options of every address in it replaced by ``***``.

    >>> redact("rtsp://admin:hunter2@10.0.0.7/live?token=abc&channel=1")
    'rtsp://***@10.0.0.7/live?token=***&channel=1'
    """
    shown = _USER_INFO.sub("***@", _BROKEN_USER_INFO.sub("***@", str(text)))
    shown = _BARE_USER_INFO.sub(r"\1***@", shown)
    return _HEADER.sub(r"\1***", _SECRET_OPTION.sub(r"\1***", shown))


def scrub(error: E) -> E:
    """The same error with every text in it redacted, so that it may be the cause of another: tracebacks show causes."""
    error.args = tuple(_scrubbed(part) for part in error.args)
    return error


def _scrubbed(part: object) -> object:
    if isinstance(part, str):
        return redact(part)
    # FFmpeg's last line of log travels inside PyAV's errors.
    return tuple(_scrubbed(each) for each in part) if isinstance(part, tuple) else part


class Address:
    """An address that may hold a password: every way of showing it is redacted, and only :meth:`reveal` is not."""

    __slots__ = ("_url",)

    def __init__(self, url: str) -> None:
        # FFmpeg knows schemes in small letters alone; phones begin what is typed with a capital.
        self._url = re.sub(r"^\w+://", lambda scheme: scheme[0].lower(), url)

    def reveal(self) -> str:
        """The address with its password: for the one who connects, and nobody else."""
        return self._url

    def __str__(self) -> str:
        return redact(self._url)

    def __repr__(self) -> str:
        return f"Address({str(self)!r})"


class RedactingFilter(logging.Filter):
    """Redacts what passes through the logger or the handler that it is added to."""

    def filter(self, record: logging.LogRecord) -> bool:
        """Always true; the record is changed."""
        message = record.getMessage()
        if (clean := redact(message)) != message:
            record.msg, record.args = clean, None
        return True
