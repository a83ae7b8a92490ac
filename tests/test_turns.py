"""Streams that share a machine take turns, the one that waited longest first."""

from __future__ import annotations

import threading
from collections.abc import Sequence
from contextlib import suppress

import pytest
from stubs import frame

import vsr.app.turns
from streams.frame import Frame
from vsr.app.turns import TakingTurns, Turns


class Slow:
    """Notes who is at work, and finds out when two are."""

    def __init__(self, name: str, log: list[str], busy: threading.Lock) -> None:
        self.name, self.log, self.busy = name, log, busy
        self.resets = 0

    def submit(self, frames: Sequence[Frame]) -> Slow:
        assert self.busy.acquire(blocking=False), "two at work at a time"
        self.log.append(self.name)
        self.frames = list(frames)
        return self

    def result(self) -> list[Frame]:
        self.busy.release()
        return self.frames

    def reset(self) -> None:
        self.resets += 1


def test_one_at_a_time_and_everybody_in_turn() -> None:
    turns, log, busy = Turns(), [], threading.Lock()
    rounds = 40

    def stream(name: str) -> None:
        enhancer = TakingTurns(Slow(name, log, busy), turns)
        ready.wait()
        for pts in range(rounds):
            assert enhancer.submit([frame(pts)]).result()[0].pts == pts

    ready = threading.Barrier(3)
    threads = [threading.Thread(target=stream, args=(name,)) for name in "abc"]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(log) == sorted("abc" * rounds)


def test_who_waited_longest_is_next() -> None:
    turns, order = Turns(), []

    def wait(name: str) -> None:
        with turns.turn():
            order.append(name)

    threads = []
    with turns.turn():
        for name in "abcd":
            threads.append(threading.Thread(target=wait, args=(name,)))
            threads[-1].start()
            while len(turns._waiting) < len(threads):
                pass
    for thread in threads:
        thread.join()
    assert order == list("abcd")


def test_an_error_ends_the_turn() -> None:
    turns = Turns()
    with pytest.raises(KeyError), turns.turn():
        raise KeyError
    with suppress(KeyError), turns.turn():
        raise KeyError
    with turns.turn():
        pass


def test_reset_is_passed_on() -> None:
    slow = Slow("a", [], threading.Lock())
    TakingTurns(slow, Turns()).reset()
    assert slow.resets == 1


def test_what_the_others_leave(monkeypatch: pytest.MonkeyPatch) -> None:
    now = 100.0
    monkeypatch.setattr(vsr.app.turns, "monotonic", lambda: now)
    turns = Turns(3)
    assert turns.share_left(1) == 1

    def work(stream: int, seconds: float) -> None:
        nonlocal now
        with turns.turn(stream):
            now += seconds

    work(1, 0.25)
    work(2, 0.5)
    now = 102
    assert [turns.share_left(stream) for stream in (1, 2, 3)] == [0.75, 0.875, 0.625]
    # Of what began before the last two seconds only the rest counts, and of what ended before them nothing.
    now = 102.5
    assert turns.share_left(3) == 0.875
    work(2, 5)
    assert turns.share_left(1) == pytest.approx(1 / 3), "its turn will come, whatever the others want"
    assert turns.share_left(2) == 1
