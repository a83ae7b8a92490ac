"""When a network and when interpolation was at work, for whoever wants to see it: nobody, most of the time."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from time import perf_counter
from typing import TypeAlias

Observer: TypeAlias = Callable[[str, float, float, str], None]
"""Told of a piece of work when it ends: its name, when by ``perf_counter``, and who did it; "" for this thread."""

_observers: list[Observer] = []
_NOBODY = nullcontext()


@contextmanager
def observed_by(observer: Observer) -> Iterator[None]:
    """Tell of all work, on all threads, while the block lasts."""
    _observers.append(observer)
    try:
        yield
    finally:
        _observers.remove(observer)


def span(name: str) -> AbstractContextManager[None]:
    """A block of work; costs next to nothing where nobody observes."""
    return _span(name) if _observers else _NOBODY


@contextmanager
def _span(name: str) -> Iterator[None]:
    since = perf_counter()
    try:
        yield
    finally:
        tell(name, since)


def tell(name: str, since: float, who: str = "") -> None:
    """Tell of work that began at ``since`` and ends now, of this thread or of ``who`` worked for it."""
    now = perf_counter()
    for observer in tuple(_observers):
        observer(name, since, now, who)
