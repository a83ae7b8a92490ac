"""The bounded queue: frames and packets counted apart, both ends woken when it closes."""

from __future__ import annotations

import threading

import pytest
from stubs import LONG_SECONDS, frame, names, packet

from streams.frame import Frame, Packet
from streams.queues import FrameQueue, Overflow, QueueClosed


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


# ------------------------------------------------------------------------------------------------- dropping the oldest


def test_the_oldest_frame_makes_room_and_is_counted() -> None:
    queue = FrameQueue(frames=2, overflow="drop_oldest")
    for pts in range(5):
        queue.put(frame(pts))
    queue.finish()
    assert names(list(queue)) == [3, 4]
    assert (queue.dropped_frames, queue.dropped_packets, queue.put_wait_seconds) == (3, 0, 0)


def test_packets_stay_in_order_when_frames_between_them_are_dropped() -> None:
    queue = FrameQueue(frames=1, packets=10, overflow="drop_oldest")
    for number in range(4):
        queue.put(packet(number))
        queue.put(frame(number))
    queue.finish()
    assert names(list(queue)) == ["p0", "p1", "p2", "p3", 3]
    assert (queue.dropped_frames, queue.dropped_packets) == (3, 0)


def test_packets_are_dropped_only_for_packets_and_counted_apart() -> None:
    queue = FrameQueue(frames=1, packets=2, overflow="drop_oldest")
    queue.put(frame(0))
    for number in range(5):
        queue.put(packet(number))
    queue.finish()
    assert names(list(queue)) == [0, "p3", "p4"]
    assert (queue.dropped_frames, queue.dropped_packets) == (0, 3)


@pytest.mark.parametrize("frames", [1, 3])
def test_the_mark_of_a_dropped_frame_passes_to_the_next(frames: int) -> None:
    queue = FrameQueue(frames=frames, overflow="drop_oldest")
    queue.put(frame(0, discontinuity=True))
    queue.put(packet(0))
    for pts in range(1, frames + 2):
        queue.put(frame(pts))
    queue.finish()
    left = [item for item in queue if isinstance(item, Frame)]
    assert [item.pts for item in left] == list(range(2, frames + 2))
    assert [item.discontinuity for item in left] == [True] + [False] * (frames - 1)


@pytest.mark.parametrize("overflow", ["wait", "drop_oldest"])
def test_after_the_end_nothing_more_is_taken_in(overflow: Overflow) -> None:
    """The end may be declared by another thread than the one that puts."""
    queue = FrameQueue(frames=1, overflow=overflow)
    queue.put(frame(0))
    queue.finish()
    with pytest.raises(QueueClosed):
        queue.put(frame(1))
    assert names(list(queue)) == [0]
    assert queue.dropped_frames == 0


def test_a_putter_that_waits_is_woken_by_an_end_declared_elsewhere() -> None:
    queue = FrameQueue(frames=1)
    queue.put(frame(0))
    waiting = Putter(queue, frame(1))
    assert waiting.wait(0.05) is None
    queue.finish()
    assert waiting.wait() == "closed"
