"""The bounded queue: frames and packets counted apart, both ends woken when it closes."""

from __future__ import annotations

import threading

import pytest
from stubs import LONG_SECONDS, frame, packet

from streams.frame import Frame, Packet
from streams.queues import FrameQueue, QueueClosed


class Putter(threading.Thread):
    """Puts one item, and says when it has done so or was told that nobody takes it."""

    def __init__(self, queue: FrameQueue, item: Frame | Packet) -> None:
        super().__init__(daemon=True)
        self.outcome: str | None = None
        self._queue = queue
        self._item = item
        self.start()

    def run(self) -> None:
        try:
            self._queue.put(self._item)
            self.outcome = "put"
        except QueueClosed:
            self.outcome = "closed"

    def wait(self, seconds: float = LONG_SECONDS) -> str | None:
        self.join(seconds)
        return self.outcome


def test_items_come_out_as_they_went_in_and_the_end_is_seen_after_them() -> None:
    queue = FrameQueue(frames=2, packets=2)
    given = [packet(0), frame(0), packet(1), frame(1)]
    for item in given:
        queue.put(item)
    assert (queue.frames, queue.peak_frames, queue.empty) == (2, 2, False)
    queue.finish()
    assert all(taken is item for taken, item in zip(queue, given, strict=True))
    assert queue.get() is None
    assert (queue.frames, queue.peak_frames, queue.empty) == (0, 2, True)


def test_frames_wait_for_frames_and_packets_for_packets() -> None:
    queue = FrameQueue(frames=1, packets=1)
    queue.put(frame(0))
    queue.put(packet(0))
    late = Putter(queue, frame(1))
    assert late.wait(0.05) is None
    assert isinstance(queue.get(), Frame)
    assert late.wait() == "put"
    late = Putter(queue, packet(1))
    assert late.wait(0.05) is None
    assert isinstance(queue.get(), Packet)
    assert late.wait() == "put"
    assert queue.put_wait_seconds > 0


def test_close_drops_what_is_inside_and_wakes_who_waits() -> None:
    queue = FrameQueue(frames=1)
    queue.put(frame(0))
    waiting = Putter(queue, frame(1))
    assert waiting.wait(0.05) is None
    queue.close()
    queue.close()
    assert waiting.wait() == "closed"
    assert queue.frames == 0
    with pytest.raises(QueueClosed):
        queue.get()
    with pytest.raises(QueueClosed):
        queue.put(packet(0))


def test_a_taker_is_woken_by_the_end() -> None:
    queue = FrameQueue(frames=1)
    timer = threading.Timer(0.02, queue.finish)
    timer.start()
    assert queue.get() is None
    assert queue.get_wait_seconds > 0
    timer.join()


def test_finish_after_close_does_not_look_like_a_good_end() -> None:
    queue = FrameQueue(frames=1)
    queue.close()
    queue.finish()
    with pytest.raises(QueueClosed):
        queue.get()
