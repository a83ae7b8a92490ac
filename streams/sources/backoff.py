"""How long to wait before the next try."""

from __future__ import annotations

import random
from collections.abc import Callable


class Backoff:
    """Waits that double from ``first_seconds`` up to ``longest_seconds``, each varied by up to ``jitter`` of itself.

    The jitter keeps many readers of one server from coming back to it in the same instant.

    Args:
        first_seconds: the shortest, above 0.
        longest_seconds: where the doubling ends.
        jitter: from 0 to below 1.
        chance: numbers in [0, 1); :func:`random.random` unless a test wants others.

    Raises:
        ValueError: a value out of range.
    """

    def __init__(
        self,
        *,
        first_seconds: float = 0.25,
        longest_seconds: float = 5.0,
        jitter: float = 0.2,
        chance: Callable[[], float] = random.random,
    ) -> None:
        if not (0 < first_seconds <= longest_seconds and 0 <= jitter < 1):
            raise ValueError(
                f"got waits from {first_seconds} to {longest_seconds} s with jitter {jitter}; allowed are rising waits "
                "above 0 and a jitter in [0, 1)"
            )
        self._first, self._longest, self._jitter, self._chance = first_seconds, longest_seconds, jitter, chance
        self._next = first_seconds

    def next_seconds(self) -> float:
        """The wait before the next try; the one after it is twice as long."""
        wait, self._next = self._next, min(2 * self._next, self._longest)
        return wait * (1 + self._jitter * (2 * self._chance() - 1))

    def reset(self) -> None:
        """Begin with the shortest again: a try succeeded."""
        self._next = self._first
