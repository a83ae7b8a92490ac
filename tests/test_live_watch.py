"""What the governor is told of the outputs: frames for which an encoder came too late, and no others."""

from __future__ import annotations

import threading
from dataclasses import replace

from stubs import StubSink, wait_for

from streams.sinks import BufferedSink
from streams.sinks.base import SinkState, SinkStatus
from streams.sources import open_source
from vsr.app.live import LiveOptions, LiveSession
from vsr.app.live_watch import OutputDrops, RunWatch


class Outputs:
    """Told of by hand."""

    def __init__(self, *names: str) -> None:
        self.all = [SinkStatus(name=name, state="running", frames=0) for name in names]

    def __call__(self) -> list[SinkStatus]:
        return self.all

    def drop(self, number: int, count: int, *, state: SinkState = "running", error: str | None = None) -> None:
        before = self.all[number]
        self.all[number] = replace(before, dropped=before.dropped + count, state=state, error=error)


def test_drops_of_outputs_that_run_are_counted_and_only_grow() -> None:
    outputs = Outputs("a.mkv", "hls:www", "a.mkv")
    drops = OutputDrops(outputs)
    assert drops.count() == 0
    outputs.drop(0, 3)
    outputs.drop(2, 2)
    assert drops.count() == 5
    outputs.drop(1, 4)
    del outputs.all[0]
    assert drops.count() == 9
    outputs.all.append(SinkStatus(name="late.mkv", state="running", frames=0, dropped=90))
    assert drops.count() == 9
    outputs.drop(2, 1)
    assert drops.count() == 10


def test_what_the_network_is_not_to_blame_for_is_not_counted() -> None:
    outputs = Outputs("rtsp://server/x", "disk.mkv", "window")
    drops = OutputDrops(outputs)
    drops.count()
    outputs.drop(0, 50, state="waiting", error="nobody answers")
    outputs.drop(1, 60, error="took nothing for 4 s")
    outputs.drop(2, 70)
    assert drops.count() == 0
    outputs.drop(0, 5)
    outputs.drop(1, 5)
    assert drops.count() == 0, "dropped while it came back"
    outputs.drop(0, 1)
    assert drops.count() == 1


def test_a_recording_whose_encoder_is_starved_is_seen_by_the_governor() -> None:
    go_on = threading.Event()
    slow = StubSink(before_write=lambda item: go_on.wait(20) and None)
    options = LiveOptions(model="bicubic", quality="auto", threads=1)
    with open_source("synthetic:64x36?rate=50&live=1") as source:
        run = LiveSession(source, lambda feed: BufferedSink(slow, name="a.mkv", queue_size=1), options=options)
        governed = run._networks.governed
        assert governed is not None
        assert isinstance(governed.watch, RunWatch)
        watch = RunWatch(run._pipeline, run._outputs.status, share=lambda: 0.5)
        thread = threading.Thread(target=run.run)
        thread.start()
        wait_for(lambda: watch().dropped > run.status().dropped_frames + 5)
        assert watch().input_fps < run.status().stats.input_fps * 2.5
        go_on.set()
        run.stop()
        thread.join()
