"""Decides which network a live run can afford: by measured times and dropped frames, with hysteresis, and no thread.

Down quickly: less than a second of too much work is enough, or of drops, because every frame that is dropped is seen.
Up slowly: only when all has been calm for seconds, and only to a network whose time was measured since the last move
down and leaves headroom. A move up that did not hold is not tried again for a while, twice as long each time: a machine
at its limit must not be seen swinging between two networks.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise
from statistics import median_low


@dataclass(frozen=True, slots=True, kw_only=True)
class Load:
    """What a run has done until now; all but ``interval_seconds`` only grow.

    Attributes:
        now: seconds of a clock that never goes back.
        interval_seconds: from one frame of the source to the next, lately; 0 where that is not known yet.
        frames: enlarged.
        busy_seconds: spent on them.
        dropped: frames that had to be dropped.
    """

    now: float
    interval_seconds: float
    frames: int
    busy_seconds: float
    dropped: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Move:
    """A change of network.

    Attributes:
        at: when, by the clock of :class:`Load`.
        before, after: names of the networks.
        reason: in words.
    """

    at: float
    before: str
    after: str
    reason: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Tuning:
    """How eager a governor is; seconds, and shares of the source's interval.

    Attributes:
        slot_seconds: how often it looks.
        window_seconds: what it judges by.
        too_much: a network that takes this share of the interval is too slow.
        headroom: one that would take at most this share can be afforded.
        settle_seconds: after a move, what happens is not counted for so long.
        calm_seconds: without overload before a move up.
        trial_seconds: a move up that has to be taken back within so long has failed.
        hold_off_seconds: how long a network is left alone after its first failure.
        measure_seconds: until a network that was too slow is measured again, at first.
        longest_seconds: to which the last two grow by doubling.
    """

    slot_seconds: float = 0.25
    window_seconds: float = 1.0
    too_much: float = 0.95
    headroom: float = 0.7
    settle_seconds: float = 0.5
    calm_seconds: float = 3.0
    trial_seconds: float = 10.0
    hold_off_seconds: float = 10.0
    measure_seconds: float = 5.0
    longest_seconds: float = 300.0


@dataclass(slots=True)
class _Rung:
    """What is known of one network.

    Attributes:
        seconds: its measured time for a frame; None while it must not be moved to.
        measured_at: when that was.
        hold_until: not to be tried before.
        failures: moves up to it that did not hold, since the last that did.
        measure_at: not to be measured again before.
        measure_wait: how long after the next measurement.
    """

    seconds: float | None = None
    measured_at: float = float("-inf")
    hold_until: float = float("-inf")
    failures: int = 0
    measure_at: float = float("-inf")
    measure_wait: float = 0.0


class Governor:
    """Moves along a ladder of networks. Used by one thread; all times come from its caller.

    Args:
        names: of the networks, the best first, each cheaper than the one before.
        start: the one in use at first.
        tuning: how eager it is.
    """

    def __init__(self, names: Sequence[str], *, start: str, tuning: Tuning | None = None) -> None:
        self._tuning = tuning or Tuning()
        self._names = list(names)
        self._rungs = {name: _Rung(measure_wait=self._tuning.measure_seconds) for name in names}
        self._current = start
        self._samples: deque[Load] = deque()
        self._deaf_until = self._calm_since = self._fell_at = float("-inf")
        self._raised_at: float | None = None

    @property
    def current(self) -> str:
        """The network in use."""
        return self._current

    @property
    def names(self) -> tuple[str, ...]:
        """The ladder, the best first."""
        return tuple(self._names)

    def measured(self, name: str, seconds: float, *, now: float) -> None:
        """A network is ready, and a frame takes it so long."""
        rung = self._rungs[name]
        rung.seconds, rung.measured_at = seconds, now

    def not_ready(self, name: str) -> None:
        """A network must not be moved to until it is measured (again)."""
        self._rungs[name].seconds = None

    def remove(self, name: str) -> None:
        """A network cannot be had at all."""
        if name != self._current and name in self._names:
            self._names.remove(name)

    def settle(self, *, now: float) -> None:
        """Something outside the usual happened (a new size of picture): what follows is not counted for a moment."""
        self._samples.clear()
        self._deaf_until = now + self._tuning.settle_seconds

    def decide(self, load: Load) -> Move | None:
        """Look at how things stand; the move is made, as far as the governor is concerned, when it is returned."""
        tuning = self._tuning
        if load.now < self._deaf_until or not self._due(load):
            return None
        self._samples.append(load)
        # Three at least, however far apart: a network that takes a second a frame must be found out too.
        while len(self._samples) > 3 and load.now - self._samples[0].now > tuning.window_seconds + 1e-6:
            self._samples.popleft()
        trouble = self._trouble()
        if trouble:
            self._calm_since = load.now
            return self._down(load, trouble)
        if self._raised_at is not None and load.now - self._raised_at >= tuning.trial_seconds:
            self._rungs[self._current].failures, self._raised_at = 0, None
        return self._up(load)

    def wants_measured(self, *, now: float) -> str | None:
        """A better network whose time is worth knowing anew; it counts as not ready until it is measured."""
        if not self._calm(now):
            return None
        for name in self._above():
            rung = self._rungs[name]
            if rung.seconds is None or now < max(rung.hold_until, rung.measure_at):
                continue
            rung.measure_at = now + rung.measure_wait
            rung.measure_wait = min(2 * rung.measure_wait, self._tuning.longest_seconds)
            rung.seconds = None
            return name
        return None

    def _due(self, load: Load) -> bool:
        return not self._samples or load.now - self._samples[-1].now >= self._tuning.slot_seconds

    def _trouble(self) -> str:
        """What is wrong, in words; empty if nothing is."""
        first, last = self._samples[0], self._samples[-1]
        interval, cost = last.interval_seconds, self._cost()
        if interval and cost > self._tuning.too_much * interval:
            return f"{self._current} takes {cost * 1000:.0f} ms of the {interval * 1000:.0f} ms that there are"
        if sum(later.dropped > earlier.dropped for earlier, later in pairwise(self._samples)) >= 3:
            return f"{last.dropped - first.dropped} frames were dropped in {last.now - first.now:.1f} s"
        return ""

    def _cost(self) -> float:
        """Seconds a frame in the middle one of the window's slots, so that no single hiccup counts; 0 if not known."""
        costs = [
            (later.busy_seconds - earlier.busy_seconds) / (later.frames - earlier.frames)
            for earlier, later in pairwise(self._samples)
            if later.frames > earlier.frames
        ]
        return median_low(costs) if len(costs) >= 2 else 0.0

    def _down(self, load: Load, trouble: str) -> Move | None:
        below = [name for name in self._below() if self._rungs[name].seconds is not None]
        if not below:
            return None
        target = next((name for name in below if self._fits(name, load, slower=self._slowdown())), below[-1])
        rung = self._rungs[self._current]
        if self._raised_at is not None:
            rung.failures += 1
            wait = self._tuning.hold_off_seconds * 2 ** (rung.failures - 1)
            rung.hold_until = load.now + min(wait, self._tuning.longest_seconds)
        self._raised_at, self._fell_at = None, load.now
        for name in self._names:
            self._rungs[name].measure_at = float("-inf")
            self._rungs[name].measure_wait = self._tuning.measure_seconds
        return self._move(target, load, trouble)

    def _up(self, load: Load) -> Move | None:
        if not self._calm(load.now):
            return None
        for name in self._above():
            rung = self._rungs[name]
            known = rung.measured_at > self._fell_at and load.now >= rung.hold_until
            if known and self._fits(name, load):
                self._raised_at = load.now
                share = (rung.seconds or 0) / load.interval_seconds
                return self._move(name, load, f"{name} would take {share:.0%} of the time that there is")
        return None

    def _move(self, name: str, load: Load, reason: str) -> Move:
        move = Move(at=load.now, before=self._current, after=name, reason=reason)
        self._current = name
        self.settle(now=load.now)
        return move

    def _fits(self, name: str, load: Load, *, slower: float = 1.0) -> bool:
        seconds = self._rungs[name].seconds
        return seconds is not None and 0 < slower * seconds <= self._tuning.headroom * load.interval_seconds

    def _slowdown(self) -> float:
        """How much longer a frame takes now than when the network in use was measured."""
        seconds = self._rungs[self._current].seconds
        return max(1.0, self._cost() / seconds) if seconds else 1.0

    def _calm(self, now: float) -> bool:
        return now - self._calm_since >= self._tuning.calm_seconds

    def _above(self) -> list[str]:
        return self._names[: self._names.index(self._current)]

    def _below(self) -> list[str]:
        return self._names[self._names.index(self._current) + 1 :]
