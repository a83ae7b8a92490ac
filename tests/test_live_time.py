"""The clock of live frames, and the waits between tries."""

from __future__ import annotations

import itertools

import pytest

from streams.sources.anchor import LIVE_TIME_BASE, Anchor, SoundAnchor
from streams.sources.backoff import Backoff

SECOND = round(1 / LIVE_TIME_BASE)


def place(anchor: Anchor, *points: tuple[float | None, float]) -> list[tuple[float, bool]]:
    """(seconds, jumped) for each (time of the stream, arrival)."""
    placed = [anchor.place(seconds, arrived=arrived) for seconds, arrived in points]
    return [(pts / SECOND, jumped) for pts, jumped in placed]


def test_the_rhythm_of_the_stream_is_kept_and_its_beginning_is_not() -> None:
    anchor = Anchor()
    placed = place(anchor, (500.0, 10.0), (500.04, 10.07), (500.08, 10.08), (500.12, 10.2))
    assert placed == [(0.0, False), (0.04, False), (0.08, False), (0.12, False)]
    assert anchor.due_seconds() == pytest.approx(10.12)


def test_pictures_without_a_time_are_placed_where_they_arrive() -> None:
    placed = place(Anchor(), (None, 3.0), (None, 3.05), (7.0, 3.1), (7.04, 3.2))
    assert placed == [(0.0, False), (0.05, False), (0.1, False), (0.14, False)]


@pytest.mark.parametrize("jump", [3600.0, -3600.0, 3.0, -3.0, -1.5, -0.2])
def test_a_jump_is_told_and_covered(jump: float) -> None:
    placed = place(Anchor(), (100.0, 0.0), (100.04, 0.04), (100.08 + jump, 0.08), (100.12 + jump, 0.12))
    assert [jumped for _, jumped in placed] == [False, False, True, False]
    assert [seconds for seconds, _ in placed] == pytest.approx([0.0, 0.04, 0.08, 0.12])


def test_every_jump_back_is_covered_and_time_only_rises() -> None:
    """A clock that is put right again and again, each time by less than the limit."""
    placed = place(Anchor(), *((index * 0.04 - index // 25 * 0.7, index * 0.04) for index in range(200)))
    assert [at for at, _ in placed] == pytest.approx([index * 0.04 for index in range(200)], abs=1e-4)
    assert sum(jumped for _, jumped in placed) == 7


def test_a_gap_of_the_stream_that_took_its_time_is_no_jump() -> None:
    assert place(Anchor(), (0.0, 0.0), (30.0, 30.1))[-1] == (30.0, False)


def test_what_comes_too_late_is_placed_where_it_arrives() -> None:
    placed = place(Anchor(), (0.0, 0.0), (0.04, 5.0), (0.08, 5.04))
    assert placed == [(0.0, False), (5.0, True), (5.04, False)]


def test_a_burst_of_the_last_seconds_is_run_in() -> None:
    """A server sends four seconds at once and goes on in time: frames stay apart, and the wall clock catches up."""
    burst = [(index * 0.04, 0.001 * index) for index in range(100)]
    steady = [(4 + index * 0.04, 0.1 + index * 0.04) for index in range(100)]
    placed = place(Anchor(), *burst, *steady)
    assert not any(jumped for _, jumped in placed)
    seconds = [at for at, _ in placed]
    assert min(later - earlier for earlier, later in itertools.pairwise(seconds)) > 0.015
    assert seconds[-1] - steady[-1][1] < 2.1


def test_a_clock_that_runs_fast_stays_within_the_limit() -> None:
    placed = place(Anchor(), *((index * 0.04 * 1.2, index * 0.04) for index in range(2000)))
    seconds = [at for at, _ in placed]
    assert all(earlier < later for earlier, later in itertools.pairwise(seconds))
    assert max(at - index * 0.04 for index, at in enumerate(seconds)) < 2.1
    assert not any(jumped for _, jumped in placed)


def test_a_clock_that_runs_slow_is_set_anew_now_and_then() -> None:
    placed = place(Anchor(), *((index * 0.04 * 0.8, index * 0.04) for index in range(2000)))
    assert max(index * 0.04 - at for index, (at, _) in enumerate(placed)) < 2.1
    assert 5 <= sum(jumped for _, jumped in placed) <= 10


def test_times_that_stand_still_or_step_back_a_little_still_rise() -> None:
    placed = place(Anchor(), (1.0, 0.0), (1.0, 0.04), (0.96, 0.08), (1.12, 0.12))
    seconds = [at for at, _ in placed]
    assert all(earlier < later for earlier, later in itertools.pairwise(seconds))
    assert not any(jumped for _, jumped in placed)


def test_a_new_connection_goes_on_where_the_wall_clock_is() -> None:
    anchor = Anchor()
    place(anchor, (100.0, 0.0), (100.04, 0.04))
    anchor.restart()
    assert place(anchor, (7.0, 9.0), (7.04, 9.04)) == [(9.0, False), (9.04, False)]


def hear(sound: SoundAnchor, *points: tuple[float | None, float]) -> list[float | None]:
    """Seconds for each (time of the stream, arrival) of packets of 20 ms; None for those without a place."""
    placed = [sound.place(seconds, length_seconds=0.02, arrived=arrived) for seconds, arrived in points]
    return [None if pts is None else pts / SECOND for pts in placed]


def test_sound_has_no_place_before_the_pictures_have_one() -> None:
    anchor = Anchor()
    sound = SoundAnchor(anchor)
    assert hear(sound, (100.0, 0.0)) == [None]
    place(anchor, (None, 0.1))
    assert hear(sound, (100.1, 0.11)) == [None]
    place(anchor, (100.2, 0.2))
    # The first picture was at 100.1 on the stream's clock.
    assert hear(sound, (100.09, 0.2), (None, 0.2), (100.1, 0.2), (100.12, 0.21)) == [None, None, 0.0, 0.02]


def test_sound_goes_on_where_the_pictures_do_after_a_loss() -> None:
    anchor = Anchor()
    sound = SoundAnchor(anchor)
    place(anchor, (100.0, 0.0), (100.04, 0.04))
    assert hear(sound, (100.02, 0.04)) == [0.02]
    anchor.restart()
    sound.restart()
    assert hear(sound, (7.0, 9.0)) == [None]
    place(anchor, (7.0, 9.0))
    assert hear(sound, (6.99, 9.0), (7.01, 9.01)) == [pytest.approx(8.99), pytest.approx(9.01)]


@pytest.mark.parametrize("first", ["sound", "pictures"])
def test_a_jump_that_sound_and_pictures_make_one_after_the_other(first: str) -> None:
    anchor = Anchor()
    sound = SoundAnchor(anchor)
    place(anchor, (10.0, 0.0), (10.04, 0.04))
    assert hear(sound, (10.04, 0.04)) == [0.04]
    if first == "sound":
        assert hear(sound, (500.06, 0.06)) == [None]
        place(anchor, (500.08, 0.08))
    else:
        place(anchor, (500.08, 0.08))
        assert hear(sound, (10.06, 0.06)) == [None]
    assert hear(sound, (500.08, 0.08)) == [pytest.approx(0.08)]
    assert not sound.astray


def test_sound_that_has_another_clock_for_good_is_placed_as_it_comes() -> None:
    anchor = Anchor()
    sound = SoundAnchor(anchor)
    heard = []
    for index in range(200):
        place(anchor, (10 + index * 0.04, index * 0.04))
        heard += hear(sound, (9000 + index * 0.04, index * 0.04))
    assert sound.astray
    places = [at for at in heard if at is not None]
    assert len(places) > 100
    assert all(abs(at - index * 0.04) < 0.1 for index, at in enumerate(heard) if at is not None)
    sound.restart()
    assert not sound.astray


def test_sound_that_lies_in_the_sound_before_it_is_left_out() -> None:
    anchor = Anchor()
    sound = SoundAnchor(anchor)
    place(anchor, (0.0, 0.0))
    # A burst: pictures are pressed together, and the sound with them.
    assert sound.place(0.0, length_seconds=1.0, arrived=0.0) == 0
    assert hear(sound, (0.5, 0.0), (0.94, 0.0), (0.96, 0.0)) == [None, None, 0.96]
    # A gap stays one, and what stands still rises.
    assert hear(sound, (1.9, 1.9), (1.9, 1.9)) == [1.9, pytest.approx(1.9, abs=0.0001)]


def test_waits_double_up_to_the_longest_and_begin_anew() -> None:
    backoff = Backoff(first_seconds=0.25, longest_seconds=5.0, jitter=0.0)
    assert [backoff.next_seconds() for _ in range(7)] == [0.25, 0.5, 1.0, 2.0, 4.0, 5.0, 5.0]
    backoff.reset()
    assert backoff.next_seconds() == 0.25


@pytest.mark.parametrize(("chance", "wait"), [(0.0, 0.8), (0.5, 1.0), (1.0, 1.2)])
def test_waits_vary(chance: float, wait: float) -> None:
    assert Backoff(first_seconds=1.0, jitter=0.2, chance=lambda: chance).next_seconds() == pytest.approx(wait)


@pytest.mark.parametrize("wrong", [{"first_seconds": 0}, {"first_seconds": 9}, {"jitter": 1}, {"jitter": -0.1}])
def test_waits_that_make_no_sense(wrong: dict) -> None:
    with pytest.raises(ValueError, match="got waits"):
        Backoff(**wrong)
