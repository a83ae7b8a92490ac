"""What every sink of video promises; ``tests/test_sink_contract.py`` runs the same checks over all of them."""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass
from types import TracebackType
from typing import Literal, Self

from streams.frame import Item

SinkState = Literal["connecting", "running", "waiting", "failed", "closed"]


@dataclass(frozen=True, slots=True, kw_only=True)
class SinkStatus:
    """How one output of a live run stands.

    Attributes:
        name: its path or address, without any password.
        state: ``"waiting"`` is the time between two attempts to connect; ``"failed"`` is for good.
        frames: written so far.
        dropped: frames that it was too slow, or not connected, to take.
        reconnects: how often it was connected again after a loss.
        error: the last thing that went wrong, in one line, or None.
    """

    name: str
    state: SinkState
    frames: int
    dropped: int = 0
    reconnects: int = 0
    error: str | None = None


class Sink(ABC):
    """An output of video: a context manager, written to by one thread.

    ``close`` finishes the output and gives it its final name; leaving the ``with`` block by an error calls ``abort``,
    which finishes what was written so far as a playable file under its partial name.
    """

    @abstractmethod
    def write(self, item: Item) -> None:
        """Take one frame or packet. Frames come in the order of their pts and all of one geometry.

        Sinks for live video also take frames whose geometry or time begins anew.

        Raises:
            SinkError: the encoder or the disk refused it.
        """

    @abstractmethod
    def close(self) -> None:
        """Flush, finish, and publish under the final name. A second call does nothing."""

    @abstractmethod
    def abort(self) -> None:
        """Finish what can be finished without publishing it. Never raises; does nothing after ``close``."""

    def interrupt(self) -> None:
        """Make a :meth:`write` that waits for somebody raise soon. Called from any thread, at any time, never raises.

        The default does nothing: a sink that waits for nobody has nothing to be woken from.
        """
        return

    def status(self) -> tuple[SinkStatus, ...]:
        """How each live output behind this sink stands; empty where there is nothing to tell. From any thread."""
        return ()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if kind is None:
            self.close()
        else:
            self.abort()
