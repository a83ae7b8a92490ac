"""What a live source is told about waiting, and what it tells about itself."""

from __future__ import annotations

from dataclasses import dataclass

from streams.errors import SourceError


@dataclass(frozen=True, slots=True, kw_only=True)
class LiveStatus:
    """How a live source is doing.

    Attributes:
        connected: pictures may be expected.
        reconnects: how often it came back.
        stalls: how often nothing came for too long.
        jumps: how often the stream's clock was set anew within a connection.
        corrupt_frames: pictures that the decoder had to guess parts of.
        last_error: why the connection was lost last, in one line and without a password, or None.
    """

    connected: bool = False
    reconnects: int = 0
    stalls: int = 0
    jumps: int = 0
    corrupt_frames: int = 0
    last_error: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Patience:
    """How long a live source is waited for.

    Attributes:
        open_timeout_seconds: for a connection.
        stall_timeout_seconds: for anything to come over it, and after the first picture for the next.
        max_retries: tries in a row without a picture before giving up; None: for ever.
        wait: begin with retries too, where a source that is not there when it is opened is an error otherwise.

    Raises:
        SourceError: a value out of range.
    """

    open_timeout_seconds: float = 5.0
    stall_timeout_seconds: float = 5.0
    max_retries: int | None = None
    wait: bool = False

    def __post_init__(self) -> None:
        for name in ("open_timeout_seconds", "stall_timeout_seconds"):
            value = getattr(self, name)
            if not 0 < value < float("inf"):
                raise SourceError(f"got {name} {value}, allowed is more than 0")
        if self.max_retries is not None and self.max_retries < 0:
            raise SourceError(f"got max_retries {self.max_retries}, allowed is 0 or more, or None for ever")
