"""Several sinks at once, the newest frame, and the thread that stands between a run and a sink that hangs."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable

import pytest

from streams.errors import Cancelled, SinkError, SinkRefusedError
from streams.frame import Frame, Item
from streams.sinks import DetachedSink, FanOut, LatestFrame, NullSink, Sink
from streams.sources.backoff import Backoff
from tests import written
from tests.failing import LONG, Broken, Stub, frames, until


def quickly() -> Backoff:
    return Backoff(first_seconds=0.001, longest_seconds=0.002)


# Fan-out


def test_every_sink_gets_every_item() -> None:
    sinks = [NullSink(), NullSink(), NullSink()]
    with FanOut(sinks) as fan:
        for frame in frames(5):
            fan.write(frame)
    assert [sink.frames for sink in sinks] == [5, 5, 5]
    assert all(sink.closed for sink in sinks)


def test_one_that_fails_is_ended_and_the_others_go_on(caplog: pytest.LogCaptureFixture) -> None:
    bad, good = Stub(fails_at=2), Stub()
    with FanOut([bad, good]) as fan:
        for frame in frames(5):
            fan.write(frame)
    assert (len(bad.items), bad.ends) == (2, ["abort"])
    assert (len(good.items), good.ends) == (5, ["close"])
    assert [str(error) for error in fan.errors] == ["no space left at rtsp://me:secret@host/"]
    assert "no space left at rtsp://***@host/" in caplog.text
    assert "secret" not in caplog.text


def test_the_last_one_to_fail_ends_the_run() -> None:
    fan = FanOut([Stub(fails_at=1), Stub(fails_at=2)])
    fan.write(frames(1)[0])
    fan.write(frames(1)[0])
    with pytest.raises(SinkError, match="no space left"):
        fan.write(frames(1)[0])
    with pytest.raises(SinkError, match="no output is left"):
        fan.write(frames(1)[0])


def test_a_wish_to_stop_is_passed_on_and_is_no_failure() -> None:
    other = Stub()
    with pytest.raises(Cancelled), FanOut([Stub(fails_at=0, error=Cancelled), other]) as fan:
        fan.write(frames(1)[0])
    assert other.ends == ["abort"]
    assert fan.errors == ()


def test_one_that_cannot_be_finished_has_failed_and_the_others_are_finished(caplog: pytest.LogCaptureFixture) -> None:
    broken, good = Broken(), Stub()
    fan = FanOut([broken, good])
    fan.close()
    assert (broken.ends, good.ends) == (["close", "abort"], ["close"])
    assert [str(error) for error in fan.errors] == ["the end does not fit"]
    assert [(status.state, status.error) for status in fan.status()] == [("failed", "the end does not fit")]
    assert "could not be finished: the end does not fit" in caplog.text
    fan.close()
    fan.abort()
    assert good.ends == ["close"]


def test_all_are_closed_and_the_first_error_raised_where_none_can_be_finished() -> None:
    sinks = [Broken(), Broken()]
    with pytest.raises(SinkError, match="the end does not fit"):
        FanOut(sinks).close()
    assert [sink.ends for sink in sinks] == [["close", "abort"], ["close", "abort"]]


def test_no_sink_is_a_fault_of_the_caller() -> None:
    with pytest.raises(ValueError, match="got no sink"):
        FanOut([])


# Sinks that come and go


def test_one_that_is_added_begins_at_the_next_frame_and_ends_where_it_is_removed() -> None:
    preview, recording = LatestFrame(), Stub()
    fan = FanOut([preview])
    ten = frames(10)
    for frame in ten[:3]:
        fan.write(frame)
    fan.add(recording)
    for frame in ten[3:6]:
        fan.write(frame)
    fan.remove(recording)
    assert (recording.items, recording.ends) == (ten[3:6], ["close"])
    fan.write(ten[6])
    assert preview.latest == (7, ten[6])
    assert fan.sinks == (preview,)
    fan.close()
    assert recording.ends == ["close"]


class Ending(Stub):
    """Takes its time to be finished."""

    def close(self) -> None:
        self.hanging.set()
        assert self.let_go.wait(LONG)
        super().close()


def test_a_write_under_way_does_not_wait_for_one_that_is_removed_meanwhile() -> None:
    ending = Ending()

    class Slow(Stub):
        def write(self, item: Item) -> None:
            super().write(item)
            remover.start()
            assert ending.hanging.wait(LONG)

    first = Slow()
    fan = FanOut([first, ending])
    remover = threading.Thread(target=fan.remove, args=(ending,))
    rescue = threading.Timer(LONG / 4, ending.let_go.set)
    rescue.start()
    fan.write(frames(1)[0])
    assert not ending.let_go.is_set()
    rescue.cancel()
    ending.let_go.set()
    remover.join(LONG)
    assert (ending.items, ending.ends, fan.sinks) == ([], ["close"], (first,))


def test_removing_what_cannot_be_finished_says_so_and_ends_nobody_else() -> None:
    broken, good = Broken(), Stub()
    fan = FanOut([broken, good])
    with pytest.raises(SinkError, match="the end does not fit"):
        fan.remove(broken)
    fan.write(frames(1)[0])
    fan.close()
    assert (len(good.items), good.ends, fan.errors) == (1, ["close"], ())
    assert fan.status() == ()


def test_what_was_closed_with_the_others_can_be_removed_once_more() -> None:
    broken, good = Broken(), Stub()
    fan = FanOut([broken, good])
    fan.close()
    fan.remove(good)
    with pytest.raises(SinkError, match="the end does not fit"):
        fan.remove(broken)
    with pytest.raises(ValueError, match="never added, or is removed"):
        fan.remove(good)
    late = Stub()
    with pytest.raises(SinkError, match="has ended"):
        fan.add(late)
    assert (good.ends, late.ends) == (["close"], [])


def test_the_others_go_on_while_one_takes_long_to_be_finished() -> None:
    class Slow(Stub):
        def close(self) -> None:
            self.hanging.set()
            assert self.let_go.wait(LONG)
            super().close()

    slow, good = Slow(), Stub()
    fan = FanOut([slow, good])
    remover = threading.Thread(target=fan.remove, args=(slow,))
    remover.start()
    assert slow.hanging.wait(LONG)
    fan.write(frames(1)[0])
    assert (len(good.items), slow.ends) == (1, [])
    slow.let_go.set()
    remover.join(LONG)
    assert (slow.ends, slow.items) == (["close"], [])


def test_sinks_come_and_go_from_many_threads_while_another_writes() -> None:
    class Strict(Stub):
        """Notices whoever comes while another is inside, or after the end."""

        def write(self, item: Item) -> None:
            self._alone(lambda: super(Strict, self).write(item))

        def close(self) -> None:
            self._alone(lambda: super(Strict, self).close())

        def _alone(self, work: Callable[[], None]) -> None:
            assert not self.let_go.is_set()
            assert not self.ends
            self.let_go.set()
            time.sleep(0)
            work()
            self.let_go.clear()

    kept = Strict()
    fan = FanOut([kept])
    faults: list[BaseException] = []
    gone: list[Strict] = []

    def come_and_go() -> None:
        try:
            for _ in range(50):
                sink = Strict()
                fan.add(sink)
                until(lambda sink=sink: sink.items)
                fan.remove(sink)
                gone.append(sink)
        except BaseException as error:
            faults.append(error)

    guests = [threading.Thread(target=come_and_go) for _ in range(4)]
    for guest in guests:
        guest.start()
    number = 0
    while any(guest.is_alive() for guest in guests):
        fan.write(next(written.frames([number])))
        number += 1
    fan.close()
    assert not faults
    assert len(kept.items) == number
    assert len(gone) == 200
    for sink in [kept, *gone]:
        numbers = [frame.pts for frame in sink.items if isinstance(frame, Frame)]
        assert numbers == list(range(numbers[0], numbers[-1] + 1))
        assert sink.ends == ["close"]


# Detached


def test_detached_writes_everything_in_order_and_closes() -> None:
    inner = Stub()
    with DetachedSink(lambda: inner, name="x", queue_size=50) as sink:
        for frame in frames(30):
            sink.write(frame)
    assert [frame.pts for frame in inner.items if isinstance(frame, Frame)] == list(range(30))
    assert inner.ends[0] == "close"
    (status,) = sink.status()
    assert (status.state, status.frames, status.dropped, status.reconnects) == ("closed", 30, 0, 0)


def test_a_sink_that_hangs_costs_the_oldest_frames_and_never_the_caller() -> None:
    inner = Stub(hangs_at=0)
    sink = DetachedSink(lambda: inner, name="x", queue_size=4, close_seconds=0.01)
    sink.write(frames(1)[0])
    assert inner.hanging.wait(LONG)
    for frame in frames(100):
        sink.write(frame)
    assert sink.status()[0].dropped == 96
    sink.abort()
    assert inner.let_go.is_set()
    until(lambda: inner.ends)


def test_others_get_their_frames_while_one_hangs() -> None:
    stuck, good = Stub(hangs_at=0), NullSink()
    fan = FanOut([DetachedSink(lambda: stuck, name="stuck", queue_size=2), good])
    for frame in frames(50):
        fan.write(frame)
    assert good.frames == 50
    fan.abort()


def test_it_opens_again_after_an_error_and_says_so_without_the_password(caplog: pytest.LogCaptureFixture) -> None:
    made: list[Stub] = []

    def factory() -> Sink:
        made.append(Stub(fails_at=1) if len(made) < 3 else Stub())
        return made[-1]

    sink = DetachedSink(factory, name="rtsp://me:secret@host/live", backoff=quickly())
    until(lambda: sink.write(frames(1)[0]) or (len(made) == 4 and made[3].items))
    (status,) = sink.status()
    assert (status.state, status.reconnects, status.error) == ("running", 3, None)
    assert status.name == "rtsp://***@host/live"
    sink.close()
    assert [stub.ends[0] for stub in made] == ["abort", "abort", "abort", "close"]
    assert "the next attempt is in" in caplog.text
    assert "secret" not in caplog.text + repr(sink.status())


def test_it_opens_again_when_it_could_not_be_opened() -> None:
    attempts: list[int] = []

    def factory() -> Sink:
        attempts.append(1)
        if len(attempts) < 4:
            raise SinkError("connection refused")
        return Stub()

    with DetachedSink(factory, name="x", backoff=quickly()) as sink:
        until(lambda: sink.write(frames(1)[0]) or sink.status()[0].frames)
    assert sink.status()[0].reconnects == 0


@pytest.mark.parametrize(("retries", "attempts"), [(0, 1), (3, 4)])
def test_it_is_given_up_after_so_many_retries(retries: int, attempts: int) -> None:
    made: list[int] = []

    def factory() -> Sink:
        made.append(1)
        raise SinkError("connection refused")

    sink = DetachedSink(factory, name="x", backoff=quickly(), max_retries=retries)
    until(lambda: sink.status()[0].state == "failed")
    with pytest.raises(SinkError, match="connection refused"):
        sink.write(frames(1)[0])
    with pytest.raises(SinkError, match="connection refused"):
        sink.close()
    assert len(made) == attempts


def test_who_is_refused_does_not_try_again() -> None:
    made: list[int] = []

    def factory() -> Sink:
        made.append(1)
        raise SinkRefusedError("401 Unauthorized")

    sink = DetachedSink(factory, name="x", backoff=quickly())
    until(lambda: sink.status()[0].state == "failed")
    with pytest.raises(SinkRefusedError, match="401"):
        sink.write(frames(1)[0])
    sink.abort()
    assert len(made) == 1


def test_a_write_that_takes_too_long_is_interrupted() -> None:
    made = [Stub(hangs_at=0), Stub()]
    waiting = list(made)
    sink = DetachedSink(lambda: waiting.pop(0), name="x", stall_seconds=1, backoff=quickly())
    until(lambda: sink.write(frames(1)[0]) or made[1].items)
    assert made[0].ends == ["abort"]
    sink.close()


def test_a_thread_that_never_comes_back_is_left_behind_and_another_takes_over() -> None:
    made = [Stub(hangs_at=0), Stub()]
    made[0].wakes = False
    waiting = list(made)
    sink = DetachedSink(lambda: waiting.pop(0), name="x", stall_seconds=0.05, backoff=quickly())
    until(lambda: sink.write(frames(1)[0]) or made[1].items)
    made[0].let_go.set()
    until(lambda: made[0].ends)
    assert sink.status()[0].state == "running"
    sink.close()
    assert made[1].ends[0] == "close"


def test_not_more_than_a_few_threads_are_left_behind() -> None:
    made: list[Stub] = []

    def factory() -> Sink:
        made.append(Stub(hangs_at=0))
        made[-1].wakes = False
        return made[-1]

    sink = DetachedSink(factory, name="x", stall_seconds=0.03, backoff=quickly())
    with pytest.raises(SinkError, match="has not come back"):
        until(lambda: sink.write(frames(1)[0]))
    assert len(made) == 3
    sink.abort()
    for stub in made:
        stub.let_go.set()


def test_a_fault_in_the_sink_ends_it_and_not_the_thread_silently() -> None:
    sink = DetachedSink(lambda: Stub(fails_at=0, error=ZeroDivisionError), name="x", backoff=quickly())
    with pytest.raises(SinkError, match="ZeroDivisionError"):
        until(lambda: sink.write(frames(1)[0]))
    sink.abort()


def test_every_frame_is_counted_as_written_or_lost() -> None:
    made: list[Stub] = []

    def factory() -> Sink:
        made.append(Stub(fails_at=0))
        return made[-1]

    sink = DetachedSink(factory, name="x", queue_size=4, backoff=quickly())
    until(lambda: sink.write(frames(1)[0]) or len(made) > 5)
    sink.abort()
    made.clear()
    waiting = DetachedSink(factory, name="x", backoff=Backoff(first_seconds=LONG, longest_seconds=LONG))
    for frame in frames(5):
        waiting.write(frame)
    until(lambda: waiting.status()[0].state == "waiting")
    waiting.abort()
    assert sink.status()[0].dropped > 5
    assert waiting.status()[0].dropped == 5


def test_closing_what_was_never_reached_says_why() -> None:
    def factory() -> Sink:
        raise SinkError("connection refused")

    sink = DetachedSink(factory, name="x", backoff=Backoff(first_seconds=LONG, longest_seconds=LONG))
    until(lambda: sink.status()[0].state == "waiting")
    with pytest.raises(SinkError, match="nothing could be written to x: connection refused"):
        sink.close()


# The newest frame


def test_latest_gives_each_reader_what_it_has_not_seen() -> None:
    tap = LatestFrame()
    assert tap.latest is None
    assert tap.wait(timeout_seconds=0) is None
    first, second = frames(2)
    tap.write(first)
    tap.write(second)
    newest = tap.wait()
    assert newest == (2, second)
    assert tap.wait(after=2, timeout_seconds=0) is None
    tap.close()
    assert tap.wait(after=2) is None
    assert tap.latest == (2, second)
    with pytest.raises(SinkError):
        tap.write(first)


def test_latest_serves_many_readers_and_ends_them_all() -> None:
    tap = LatestFrame()
    seen: list[list[int]] = [[] for _ in range(8)]

    def read(numbers: list[int]) -> None:
        after = 0
        while (newest := tap.wait(after=after)) is not None:
            after = newest.number
            numbers.append(after)

    readers = [threading.Thread(target=read, args=(numbers,)) for numbers in seen]
    for reader in readers:
        reader.start()
    for frame in frames(200):
        tap.write(frame)
    until(lambda: all(numbers and numbers[-1] == 200 for numbers in seen))
    tap.close()
    for reader in readers:
        reader.join(LONG)
        assert not reader.is_alive()
    assert all(numbers == sorted(set(numbers)) for numbers in seen)
