"""What the pipeline asks of whoever makes the pictures larger. Nothing here knows a network."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

from streams.frame import Frame


class Pending(Protocol):
    """Work that was handed in and is not yet asked for."""

    def result(self) -> list[Frame]:
        """Wait, and return the frames in the order in which they were handed in, each with its own pts."""
        ...


class Enhancer(Protocol):
    """Makes frames larger. Used by one thread."""

    def submit(self, frames: Sequence[Frame]) -> Pending:
        """Hand in frames of one geometry; returns as soon as the work is under way."""
        ...

    def reset(self) -> None:
        """Forget what was learnt from earlier frames (after a cut or a seek)."""
        ...
