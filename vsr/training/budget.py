"""How many steps fit into a time, as measured on the way."""

from __future__ import annotations

import time
from dataclasses import dataclass


@dataclass(slots=True)
class Budget:
    """Steps and the time that they took, from mark to mark.

    Attributes:
        seconds: how long a run may take; 0 does not bound it.
        most_steps: never more than these, however fast they are.
        spent_seconds: up to the last mark, in this process and those before it.
        counted_steps: that were done in this time.
    """

    seconds: float
    most_steps: int
    spent_seconds: float = 0.0
    counted_steps: int = 0
    _last: tuple[int, float] | None = None

    def mark(self, step: int) -> int:
        """Count what was done since the last mark; what comes before the first, such as compiling, is not counted.

        Args:
            step: how many are done.

        Returns:
            The step that the run should end with: at the pace so far the time is over then.
        """
        now = time.perf_counter()
        if self._last is not None:
            self.counted_steps += step - self._last[0]
            self.spent_seconds += now - self._last[1]
        self._last = (step, now)
        if not self.seconds or not self.counted_steps:
            return self.most_steps
        left = max(0.0, self.seconds - self.spent_seconds)
        return min(self.most_steps, step + int(left * self.counted_steps / max(1e-9, self.spent_seconds)))
