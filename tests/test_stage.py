"""The newest pair, for all who look: made into pictures only when asked, once for all, and holding nobody up."""

from __future__ import annotations

import asyncio
import gc
import logging
import threading
import weakref
from collections import Counter
from collections.abc import Sequence
from concurrent.futures import CancelledError
from dataclasses import replace
from typing import Any

import pytest
from page_stubs import GRAY, interpolated, pair_of, pixels, plain
from stubs import LONG_SECONDS, StubEnhancer, packet, wait_for

from streams.enhancer import Pending
from streams.errors import SinkError
from streams.frame import Frame
from streams.pipeline import Pipeline
from streams.sinks import FanOut, NullSink
from streams.sources import SyntheticSource
from vsr.app.page import darkroom
from vsr.app.page.stage import Pair, Shot, Stage
from vsr.app.page.stills import Loupe, StillMaker
from vsr.app.page.tap import StageTap

AFTER, BEFORE = Shot(kind="after", width=640), Shot(kind="before", width=640)
LOUPE = Loupe(x=0.5, y=0.5, width=16, height=16)


@pytest.fixture
def made(monkeypatch: pytest.MonkeyPatch) -> Counter[str]:
    """How many pictures were made, by kind, and on which threads."""
    counts: Counter[str] = Counter()
    for name in ("whole", "crop"):
        original = getattr(StillMaker, name)

        def counting(*args: Any, _name: str = name, _original: Any = original, **options: Any) -> Any:
            counts[_name] += 1
            counts[threading.current_thread().name.rpartition("_")[0]] += 1
            return _original(*args, **options)

        monkeypatch.setattr(StillMaker, name, counting)
    return counts


@pytest.fixture
def stage() -> Any:
    stage = Stage(interpolated)
    yield stage
    stage.close()


def brightness(stage: Stage, pair: Pair, shot: Shot) -> int:
    return int(pixels(stage.picture(pair, shot).result(LONG_SECONDS).jpeg).mean().round())


def test_numbers_rise_for_ever(stage: Stage) -> None:
    assert stage.newest is None
    assert [stage.publish(pair_of(20)).number for _ in range(3)] == [1, 2, 3]
    stage.clear()
    assert stage.newest is None
    assert stage.publish(replace(pair_of(20), number=1)).number == 4
    assert stage.newest is not None
    assert stage.newest.number == 4


def test_a_thread_waits_for_what_is_newer(stage: Stage) -> None:
    assert stage.wait(timeout_seconds=0.01) is None
    threading.Timer(0.05, stage.publish, [pair_of(20)]).start()
    first = stage.wait(timeout_seconds=LONG_SECONDS)
    assert first is not None
    assert stage.wait(after=first.number, timeout_seconds=0.01) is None
    threading.Timer(0.05, stage.close).start()
    assert stage.wait(after=first.number, timeout_seconds=LONG_SECONDS) is None


def test_nothing_is_made_that_nobody_asks_for(stage: Stage, made: Counter[str]) -> None:
    pair = [stage.publish(pair_of(20)) for _ in range(5)][-1]
    assert not made
    assert brightness(stage, pair, AFTER) == 30
    assert made["whole"] == 1
    assert made["crop"] == 0
    assert made["vsr-stills"] == 1


def test_a_picture_is_made_once_for_all(stage: Stage, made: Counter[str]) -> None:
    pair = stage.publish(pair_of(20))
    answers: list[Any] = []
    threads = [threading.Thread(target=lambda: answers.append(stage.picture(pair, AFTER))) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len({id(answer.result(LONG_SECONDS)) for answer in answers}) == 1
    # Wider than it is, it is as wide as it is.
    assert stage.picture(pair, Shot(kind="after", width=3840)).result(LONG_SECONDS) is answers[0].result()
    assert made["whole"] == 1
    narrow = stage.picture(pair, Shot(kind="after", width=32)).result(LONG_SECONDS)
    assert (narrow.width, made["whole"]) == (32, 2)


def test_all_see_the_same_instants_however_long_their_pictures_take() -> None:
    release = threading.Event()

    def slowly(small: Frame) -> Frame:
        assert release.wait(LONG_SECONDS)
        return interpolated(small)

    async def look() -> None:
        with stage.viewer():
            first = stage.publish(pair_of(20))
            assert stage.current is first
            future = stage.picture(first, BEFORE)
            newest = [stage.publish(pair_of(value)) for value in range(20, 120)][-1]
            assert stage.current is first
            assert stage.newest is newest
            assert stage.limited_fps == 0
            release.set()
            future.result(LONG_SECONDS)
            wait_for(lambda: stage.current is newest)
            assert stage.limited_fps is not None

    stage = Stage(slowly)
    asyncio.run(look())
    assert stage.limited_fps is None
    stage.close()


def test_what_it_is_compared_with_is_made_once_a_pair(made: Counter[str]) -> None:
    asked: list[Frame] = []
    begun = threading.Barrier(2, timeout=LONG_SECONDS)

    def slowly(small: Frame) -> Frame:
        asked.append(small)
        begun.wait()
        return interpolated(small)

    stage = Stage(slowly)
    pair = stage.publish(pair_of(20))
    shots = [BEFORE, Shot(kind="before", width=32), Shot(kind="loupe_before", loupe=LOUPE), AFTER]
    futures = [stage.picture(pair, shot) for shot in shots]
    begun.wait()
    values = [int(pixels(future.result(LONG_SECONDS).jpeg).mean().round()) for future in futures]
    assert values == [20, 20, 20, 30]
    assert len(asked) == 1
    assert asked[0] is pair.small
    assert made == {"whole": 3, "crop": 1, "vsr-stills": 4}
    stage.close()


def test_what_cannot_be_made_is_left_out_and_told_once(caplog: pytest.LogCaptureFixture) -> None:
    def fails(small: Frame) -> Frame:
        raise OSError("out of paint")

    async def look() -> list[Any]:
        answers = []
        for _ in range(3):
            pair = stage.publish(pair_of(20))
            answers.append([await stage.develop(pair, shot) for shot in (AFTER, BEFORE)])
        return answers

    stage = Stage(fails)
    with caplog.at_level(logging.WARNING):
        answers = asyncio.run(look())
    assert all(after is not None and before is None for after, before in answers)
    assert [record.getMessage() for record in caplog.records] == ["no picture of before: out of paint"]
    stage.close()


def test_who_leaves_takes_no_picture_from_others() -> None:
    release = threading.Event()

    def slowly(small: Frame) -> Frame:
        assert release.wait(LONG_SECONDS)
        return interpolated(small)

    async def look() -> Any:
        # All threads have work, so that the picture in question is one that could still be called off.
        for _ in range(2):
            stage.picture(stage.publish(pair_of(20)), BEFORE)
        pair = stage.publish(pair_of(20))
        leaving, staying = (asyncio.create_task(stage.develop(pair, AFTER)) for _ in range(2))
        await asyncio.sleep(0.05)
        leaving.cancel()
        await asyncio.wait([leaving])
        release.set()
        return await staying

    stage = Stage(slowly)
    assert asyncio.run(look()) is not None
    stage.close()


def test_old_frames_are_let_go_of(stage: Stage) -> None:
    published = []
    for value in range(20, 28):
        pair = stage.publish(pair_of(value))
        brightness(stage, pair, AFTER)
        brightness(stage, pair, BEFORE)
        published.append(weakref.ref(pair.large.planes[0]))
    del pair
    gc.collect()
    assert sum(frame() is not None for frame in published) <= 3
    stage.clear()
    wait_for(lambda: gc.collect() >= 0 and not any(frame() for frame in published))


def test_one_who_looks_everywhere_fills_no_memory(stage: Stage) -> None:
    pair = stage.publish(pair_of(10, width=1024, height=32))
    begun = weakref.WeakSet[Any]()
    for place in range(150):
        loupe = Loupe(x=place / 150, y=0.5, width=16, height=16)
        future = stage.picture(pair, Shot(kind="loupe_after", loupe=loupe))
        begun.add(future)
        future.result(timeout=LONG_SECONDS)
    del future
    wait_for(lambda: gc.collect() >= 0 and len(begun) <= darkroom._STILLS_KEPT)


def test_viewers_come_and_go(stage: Stage) -> None:
    async def look() -> None:
        with stage.viewer() as one, stage.viewer() as other:
            assert stage.viewers == 2
            assert not await one.news(timeout_seconds=0.01)
            threading.Timer(0.05, stage.publish, [pair_of(20)]).start()
            assert await one.news(timeout_seconds=LONG_SECONDS)
            assert await other.news(timeout_seconds=LONG_SECONDS)
            assert not await one.news(timeout_seconds=0.01)
            before = stage.touched
            stage.touch()
            assert await one.news(timeout_seconds=LONG_SECONDS)
            assert stage.touched == before + 1
        with pytest.raises(RuntimeError, match="on purpose"), stage.viewer():
            raise RuntimeError("on purpose")

    asyncio.run(look())
    assert stage.viewers == 0


def test_the_last_who_leaves_puts_out_the_light(stage: Stage) -> None:
    async def look() -> Any:
        with stage.viewer():
            pair = stage.publish(pair_of(20))
            assert await stage.develop(pair, BEFORE) is not None
            stage.publish(pair_of(40))
        return weakref.ref(pair.large.planes[0])

    old = asyncio.run(look())
    wait_for(lambda: gc.collect() >= 0 and old() is None)


def test_a_viewer_whose_loop_stands_still_or_is_closed_holds_nobody_up(stage: Stage) -> None:
    async def come() -> Any:
        door = stage.viewer()
        door.__enter__()
        return door

    loop = asyncio.new_event_loop()
    door = loop.run_until_complete(come())
    for _ in range(1000):
        stage.publish(pair_of(20))
    loop.close()
    assert stage.publish(pair_of(20)).number == 1001
    door.__exit__(None, None, None)


def test_after_the_end_there_is_nothing() -> None:
    stage = Stage()
    assert not stage.compares
    pair = stage.publish(pair_of(20))
    stage.close()
    stage.close()
    assert stage.closed
    assert stage.newest is None
    with pytest.raises(CancelledError):
        stage.picture(pair, AFTER).result(LONG_SECONDS)


class Doubling(StubEnhancer):
    """Twice the size, half as bright again."""

    def __init__(self) -> None:
        super().__init__(lambda frames: [self._larger(frame) for frame in frames])
        self.name = "first"

    def submit(self, frames: Sequence[Frame]) -> Pending:
        pending = super().submit(frames)
        self.name = f"network {len(self.batches)}"
        return pending

    @staticmethod
    def _larger(frame: Frame) -> Frame:
        value = int(frame.planes[0][0, 0]) % 128
        return replace(frame, planes=plain(value + value // 2, width=2 * frame.width, height=2 * frame.height).planes)


class Watching(Stage):
    """Keeps all that was published."""

    def __init__(self) -> None:
        super().__init__()
        self.pairs: list[Pair] = []

    def publish(self, pair: Pair) -> Pair:
        self.pairs.append(super().publish(pair))
        return self.pairs[-1]


def tapped() -> tuple[Watching, StageTap, Doubling]:
    stage, network = Watching(), Doubling()
    return stage, StageTap(stage, network=lambda: network.name), network


def test_frames_meet_what_was_made_of_them() -> None:
    stage, tap, network = tapped()
    enhancer = tap.wrap(network)
    frames = [plain(value, pts=value * 10) for value in (20, 40, 60)]
    pendings = [enhancer.submit([frame]) for frame in frames]
    # The second is dropped behind the network.
    for pending in pendings[::2]:
        tap.sink.write(pending.result()[0])
    assert [(int(p.small.planes[0][0, 0]), int(p.large.planes[0][0, 0])) for p in stage.pairs] == [(20, 30), (60, 90)]
    assert [p.network for p in stage.pairs] == ["network 1", "network 3"]
    assert stage.pairs[0].small is frames[0]
    # Late, twice, of nobody: passed over.
    tap.sink.write(pendings[1].result()[0])
    tap.sink.write(plain(20, pts=7))
    tap.sink.write(packet(1))
    assert len(stage.pairs) == 2


def test_what_never_comes_out_is_forgotten() -> None:
    _, tap, network = tapped()
    enhancer = tap.wrap(network)
    lost = []
    for number in range(40):
        frame = plain(20, pts=number)
        lost.append(weakref.ref(frame.planes[0]))
        enhancer.submit([frame])
    network.batches.clear()
    del frame
    gc.collect()
    assert sum(frame() is not None for frame in lost) <= 16
    tap.sink.close()
    gc.collect()
    assert not any(frame() for frame in lost)


def test_the_enhancer_behind_is_told_all() -> None:
    _, tap, network = tapped()
    enhancer = tap.wrap(network)
    pending = enhancer.submit([plain(20), plain(20, pts=1)])
    assert len(pending.result()) == 2
    enhancer.reset()
    assert network.resets_after == [2]


def test_a_run_is_shown_whole_and_in_order() -> None:
    stage, tap, network = tapped()
    with SyntheticSource(width=16, height=16, frames=30, format=GRAY) as source:
        pipeline = Pipeline(source, tap.wrap(network), FanOut([NullSink(), tap.sink]), in_flight=2)
        pipeline.run()
    assert [pair.number for pair in stage.pairs] == list(range(1, 31))
    assert all(pair.small.pts == pair.large.pts == pair.number - 1 for pair in stage.pairs)


def test_a_stage_takes_no_part_in_the_end_of_outputs() -> None:
    class Failing(NullSink):
        def write(self, item: Any) -> None:
            raise SinkError("the disk is full")

    stage, tap, network = tapped()
    with SyntheticSource(width=16, height=16, frames=5, format=GRAY) as source:
        Pipeline(source, tap.wrap(network), FanOut([Failing(), tap.sink])).run()
    assert len(stage.pairs) == 5
