"""What every sink of video promises; ``tests/test_sink_contract.py`` runs the same checks over all of them."""

from __future__ import annotations

from abc import ABC, abstractmethod
from types import TracebackType
from typing import Self

from streams.frame import Item


class Sink(ABC):
    """An output of video: a context manager, written to by one thread.

    ``close`` finishes the output and gives it its final name; leaving the ``with`` block by an error calls ``abort``,
    which finishes what was written so far as a playable file under its partial name.
    """

    @abstractmethod
    def write(self, item: Item) -> None:
        """Take one frame or packet. Frames come in the order of their pts and all of one geometry.

        Raises:
            SinkError: the encoder or the disk refused it.
        """

    @abstractmethod
    def close(self) -> None:
        """Flush, finish, and publish under the final name. A second call does nothing."""

    @abstractmethod
    def abort(self) -> None:
        """Finish what can be finished without publishing it. Never raises; does nothing after ``close``."""

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if kind is None:
            self.close()
        else:
            self.abort()
