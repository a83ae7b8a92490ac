"""Batches: which frames go together, what rides with them, and what an enhancer may not do. No thread, no queue."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Sequence
from fractions import Fraction

import pytest
from stubs import StubEnhancer, frame, names, packet

from streams.batches import BatchRunner
from streams.errors import FrameError
from streams.frame import Frame, Item


def run(
    items: Sequence[Item], enhancer: StubEnhancer, *, batch_size: int, in_flight: int = 2, packet_limit: int = 100
) -> list[Item]:
    """Feed everything, and return what was emitted."""
    emitted: list[Item] = []
    runner = BatchRunner(
        enhancer, emitted.append, batch_size=batch_size, in_flight=in_flight, packet_limit=packet_limit
    )
    for item in items:
        runner.feed(item)
    runner.finish()
    return emitted


def test_a_batch_has_one_geometry_and_a_full_batch_is_full() -> None:
    widths = [4, 4, 4, 4, 4, 6, 6, 4, 6, 6, 6, 6]
    enhancer = StubEnhancer()
    emitted = run([frame(pts, width=width) for pts, width in enumerate(widths)], enhancer, batch_size=4)
    assert [len(batch) for batch in enhancer.batches] == [4, 1, 2, 1, 4]
    assert all(len({f.geometry for f in batch}) == 1 for batch in enhancer.batches)
    assert names(emitted) == list(range(len(widths)))


def test_the_enhancer_forgets_before_a_discontinuity() -> None:
    enhancer = StubEnhancer()
    run([frame(pts, discontinuity=pts in {0, 5}) for pts in range(8)], enhancer, batch_size=4)
    assert enhancer.resets_after == [0, 5]
    assert [len(batch) for batch in enhancer.batches] == [4, 1, 3]


@pytest.mark.parametrize("in_flight", [1, 3])
def test_as_many_batches_are_under_way_as_allowed_and_the_oldest_is_asked_for_first(in_flight: int) -> None:
    enhancer = StubEnhancer()
    emitted = run([frame(pts) for pts in range(10)], enhancer, batch_size=1, in_flight=in_flight)
    assert enhancer.most_under_way == in_flight
    assert names(emitted) == list(range(10))


def test_packets_stay_where_they_were() -> None:
    """Before all frames, inside a batch, behind one that is under way, and at the end."""
    items = [packet(0), frame(0), packet(1), frame(1), packet(2), packet(3), frame(2), packet(4)]
    assert names(run(items, StubEnhancer(), batch_size=2)) == names(items)


def test_a_packet_with_no_frame_before_it_does_not_wait() -> None:
    emitted: list[Item] = []
    BatchRunner(StubEnhancer(), emitted.append, batch_size=2, in_flight=2).feed(packet(0))
    assert names(emitted) == ["p0"]


def test_too_many_packets_send_an_open_batch_on_its_way() -> None:
    enhancer = StubEnhancer()
    items = [frame(0), *(packet(k) for k in range(3)), frame(1), frame(2)]
    assert names(run(items, enhancer, batch_size=2, packet_limit=3)) == names(items)
    assert [len(batch) for batch in enhancer.batches] == [1, 2]


def test_only_packets_that_ride_at_one_time_count_as_too_many() -> None:
    enhancer = StubEnhancer()
    items = [item for pts in range(40) for item in (frame(pts), packet(pts))]
    run(items, enhancer, batch_size=4, in_flight=1, packet_limit=9)
    assert {len(batch) for batch in enhancer.batches} == {4}


def altered(frames: list[Frame], **changes: object) -> list[Frame]:
    return [*frames[:-1], dataclasses.replace(frames[-1], **changes)]


@pytest.mark.parametrize(
    ("alter", "message"),
    [
        (lambda frames: frames[:-1], "took 3 frames and returned 2"),
        (lambda frames: [], "took 3 frames and returned 0"),
        (lambda frames: [*frames, frames[-1]], "took 3 frames and returned 4"),
        (lambda frames: frames[::-1], "pts 0"),
        (lambda frames: altered(frames, pts=99), "pts 2"),
        (lambda frames: altered(frames, time_base=Fraction(1, 24)), "1/24"),
    ],
    ids=["one less", "none", "one more", "order", "pts", "time base"],
)
def test_an_enhancer_that_returns_other_frames_is_found_out(
    alter: Callable[[list[Frame]], list[Frame]], message: str
) -> None:
    with pytest.raises(FrameError, match=message):
        run([frame(pts) for pts in range(3)], StubEnhancer(alter), batch_size=3)
