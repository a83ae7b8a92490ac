"""Streams that share a machine take turns, the one that waited longest first."""

from __future__ import annotations

import threading
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager, suppress

import pytest
from stubs import LONG_SECONDS, frame, wait_for

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


@contextmanager
def queued(turns: Turns, wishes: Sequence[tuple[str, int]], order: list[str]) -> Iterator[None]:
    """A thread for each wish (name, rows), which waits in this order; it notes its name when it is let in."""

    def wait(name: str, rows: int) -> None:
        with turns.turn(rows=rows):
            order.append(name)

    threads = [threading.Thread(target=wait, args=wish, daemon=True) for wish in wishes]
    for number, thread in enumerate(threads, start=1):
        thread.start()
        wait_for(lambda number=number: len(turns._waiting) == number)
    yield
    for thread in threads:
        thread.join(LONG_SECONDS)


def test_who_waited_longest_is_next() -> None:
    turns, order = Turns(), list[str]()
    with ExitStack() as first:
        first.enter_context(turns.turn())
        with queued(turns, [(name, 180) for name in "abcd"], order):
            first.close()
    assert order == list("abcd")


def test_as_many_small_ones_at_once_as_there_are_cores() -> None:
    turns, order = Turns(4, cores=3), list[str]()
    with ExitStack() as first:
        # Of 540 rows each half is worth a core; what is tiny wants one as well.
        first.enter_context(turns.turn(rows=540))
        first.enter_context(turns.turn(rows=1))
        with queued(turns, [("a", 180), ("b", 180)], order):
            assert order == []
            first.close()
    assert sorted(order) == ["a", "b"]


def test_a_large_one_is_not_overtaken_by_small_ones() -> None:
    turns, order = Turns(3, cores=2), list[str]()
    with ExitStack() as first:
        first.enter_context(turns.turn(rows=180))
        with queued(turns, [("large", 1080), ("small", 180)], order):
            assert order == [], "a core is free, but it is kept for who waited longest"
            first.close()
    assert order == ["large", "small"]


@pytest.mark.parametrize("taken", [False, True])
def test_who_is_interrupted_leaves_the_queue(taken: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    class Interrupted(threading.Event):
        def wait(self, timeout: float | None = None) -> bool:
            raise KeyboardInterrupt

    turns, order = Turns(), list[str]()
    with ExitStack() as first:
        if taken:
            first.enter_context(turns.turn())
        with monkeypatch.context() as patch, pytest.raises(KeyboardInterrupt):
            patch.setattr(threading, "Event", Interrupted)
            first.enter_context(turns.turn())
        with queued(turns, [("a", 180)] if taken else [], order):
            first.close()
    with turns.turn():
        assert order == (["a"] if taken else [])


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


def test_cores_that_are_free_are_left(monkeypatch: pytest.MonkeyPatch) -> None:
    now = 100.0
    monkeypatch.setattr(vsr.app.turns, "monotonic", lambda: now)
    turns = Turns(3, cores=4)
    with turns.turn(1, rows=540), turns.turn(2, rows=180), turns.turn(3, rows=180):
        now += 2
    assert turns.share_left(2) == turns.share_left(3) == 1, "the others had three, and it makes use of one"
    assert turns.share_left(1) == 1
    with turns.turn(1, rows=1080):
        now += 1
    # Of the last two seconds the others had a core each in the first.
    assert turns.share_left(1) == 0.75
    assert turns.share_left(2) == 1, "two cores on average are more than it wants"
