"""Passwords out of addresses, before they reach a message or a log."""

from __future__ import annotations

import re

_USER_INFO = re.compile(r"(?<=://)[^/?#\s]*@")
_SECRET_OPTION = re.compile(
    r"(?i)([?&;](?:[\w-]*(?:pass|passwd|password|passphrase|pwd|secret|token|key|auth|signature|sig))=)[^&;#\s]*"
)


def redact(text: object) -> str:
    """``text`` with the user information and the secret-looking options of every address in it replaced by ``***``.

    >>> redact("rtsp://admin:hunter2@10.0.0.7/live?token=abc&channel=1")
    'rtsp://***@10.0.0.7/live?token=***&channel=1'
    """
    return _SECRET_OPTION.sub(r"\1***", _USER_INFO.sub("***@", str(text)))
