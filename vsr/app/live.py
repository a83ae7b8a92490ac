"""A live run: a source that never ends, a network that keeps up with it, and as many outputs as were asked for."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from time import monotonic
from types import TracebackType
from typing import TYPE_CHECKING, Any, Literal, Self

from streams.errors import Cancelled, SinkError
from streams.pipeline import Pipeline
from streams.sinks import FanOut
from streams.sinks.base import Sink, SinkStatus
from streams.stats import LiveStats
from streams.stats import Report as RunReport
from vsr.app.governor import Move
from vsr.app.live_ends import Feed
from vsr.app.live_networks import LiveNetworks, LiveOptions, Quality
from vsr.app.live_watch import RunWatch
from vsr.app.sizes import plan_size
from vsr.app.stated import stated

if TYPE_CHECKING:
    from streams.enhancer import Enhancer
    from streams.sources.base import Source, SourceInfo
    from vsr.app.sizes import SizePlan

__all__ = ["LiveOptions", "LiveReport", "LiveSession", "LiveStatus", "Quality"]

Ending = Literal["source", "duration", "stopped"]

_POLL_SECONDS = 0.1
# One frame in each queue: whatever waits there is old when its turn comes.
_QUEUE_FRAMES = 1


@dataclass(frozen=True, slots=True, kw_only=True)
class LiveStatus:
    """How a live run stands.

    Attributes:
        stats: what the pipeline counted and measured.
        network: the one in use.
        moves: how often another took its place.
        input_size: (width, height) that the source began with.
        output_size: (width, height).
        outputs: how each stands that tells of itself.
    """

    stats: LiveStats
    network: str
    moves: int
    input_size: tuple[int, int]
    output_size: tuple[int, int]
    outputs: tuple[SinkStatus, ...] = ()

    @property
    def dropped_frames(self) -> int:
        """Frames dropped in the pipeline, which no output got."""
        return self.stats.dropped_frames

    def as_dict(self) -> dict[str, Any]:
        """Everything above as plain values, ready for JSON; times in seconds."""
        return {
            **self.stats.as_dict(),
            "network": self.network,
            "moves": self.moves,
            "input_size": self.input_size,
            "output_size": self.output_size,
            "outputs": [asdict(output) for output in self.outputs],
        }


@dataclass(frozen=True, slots=True, kw_only=True)
class LiveReport:
    """What a live run did.

    Attributes:
        status: at its end.
        ended_by: the source's end, the duration that was asked for, or a wish to stop.
        moves: the last changes of network, the oldest first.
        run: of the pipeline.
    """

    status: LiveStatus
    ended_by: Ending
    moves: tuple[Move, ...]
    run: RunReport

    @property
    def failed_outputs(self) -> tuple[SinkStatus, ...]:
        """Those that were given up while others went on."""
        return tuple(output for output in self.status.outputs if output.state == "failed")

    def as_dict(self) -> dict[str, Any]:
        """Everything above as plain values, ready for JSON."""
        return {
            **self.status.as_dict(),
            "ended_by": self.ended_by,
            "network_moves": [asdict(move) for move in self.moves],
            "wall_seconds": self.run.wall_seconds,
            "stage_ms": {name: stage.ms_per_frame for name, stage in self.run.stages.items()},
        }


class LiveSession:
    """One live run, from opening the outputs to closing them. The source belongs to the caller.

    The size of the output is settled by the source's first picture and stays. The outputs are opened first, because
    what is wrong with them is found at once; then the networks are made ready, about a second for each.

    A session that is never run is to be closed; leaving its ``with`` block does so.

    Args:
        source: open, and not iterated before; what cannot wait, such as a camera or a paced file.
        open_sink: opens the output.
        options: what is computed.
        wrap: given the enhancer, returns the one to use in its place: for who wants to see the frames before and after.
        stop: set it, from any thread, to end the run, or what the constructor is at.
        share: of the machine's time, above 0 up to 1, that this run may take now; asked where there is a governor.

    Attributes:
        feed: what the outputs are opened for.

    Raises:
        streams.errors.Cancelled: ``stop`` was set while the networks were made ready; nothing was written.
        streams.errors.SinkError: an output cannot be opened.
        vsr.errors.VsrError: a size, network, device or precision that does not exist here.
    """

    def __init__(
        self,
        source: Source,
        open_sink: Callable[[Feed], Sink],
        *,
        options: LiveOptions | None = None,
        wrap: Callable[[Enhancer], Enhancer] | None = None,
        stop: threading.Event | None = None,
        share: Callable[[], float] = lambda: 1.0,
    ) -> None:
        self._options = options or LiveOptions()
        self._wishes = [threading.Event(), *([stop] if stop is not None else [])]
        info = source.info
        plan = plan_size(
            info.width,
            info.height,
            scale=self._options.scale,
            to=self._options.to,
            sample_aspect_ratio=info.sample_aspect_ratio,
            rotation=info.rotation,
        )
        self._networks = LiveNetworks(
            self._options,
            scale=plan.scale,
            geometry=(info.width, info.height, info.format),
            size=(plan.width, plan.height),
            stopped=lambda: self.stopping,
        )
        self.feed = _feed(info, plan, on_quit=self.stop)
        self._outputs = _fan_out(open_sink(self.feed))
        self._begun = self._ended = False
        try:
            self._pipeline = self._make_pipeline(source, wrap, share)
        except BaseException:
            self.close()
            raise

    def run(
        self,
        *,
        duration_seconds: float | None = None,
        stop: threading.Event | None = None,
        on_status: Callable[[LiveStatus], None] | None = None,
        every_seconds: float = 1.0,
    ) -> LiveReport:
        """Work until the source ends, the time is over, or somebody wants it to stop. Runs once.

        Args:
            duration_seconds: after which to end; None for never.
            stop: as that of the constructor, besides.
            on_status: called every so often from another thread; what it raises ends the run.
            every_seconds: how often.

        Raises:
            streams.errors.Cancelled: it was to stop before there was a frame to write.
            streams.errors.StreamError: the source was given up, or no output is left. What was written is playable.
        """
        if stop is not None:
            self._wishes.append(stop)
        self._begun = True
        ticker = _Ticker(self, duration_seconds, on_status, every_seconds)
        try:
            with ticker.running():
                run = self._pipeline.run()
                status = self.status()
        except SinkError as error:
            # A recording without a single frame is an error, unless nobody waited for one.
            if ticker.ended_by == "stopped" and not self._pipeline.live_stats().frames_out:
                raise Cancelled("stopped before the first frame, as asked; nothing was written") from error
            raise
        finally:
            self._ended = True
            self._networks.close()
        governed = self._networks.governed
        moves = governed.moves if governed is not None else ()
        return LiveReport(status=status, ended_by=ticker.ended_by, moves=moves, run=run)

    def stop(self) -> None:
        """Ask the run to end well: what is under way is written and the outputs are finished. From any thread."""
        self._wishes[0].set()

    @property
    def stopping(self) -> bool:
        """Whether somebody wants it to stop."""
        return any(wish.is_set() for wish in self._wishes)

    def finish(self) -> None:
        """End the run, for the one who watches over it."""
        self._pipeline.finish()

    def close(self) -> None:
        """Free what a session holds that was never run; ask one that runs to stop. Any number of times."""
        if self._begun and not self._ended:
            self.stop()
        elif not self._ended:
            self._ended = True
            self._outputs.abort()
            self._networks.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def add_output(self, open_sink: Callable[[Feed], Sink]) -> Sink:
        """Open another output, which is written into from the next frame on. From any thread, also during the run.

        Raises:
            SinkError: it cannot be opened, or the run is over.
        """
        sink = open_sink(self.feed)
        try:
            self._outputs.add(sink)
        except SinkError:
            sink.abort()
            raise
        return sink

    def remove_output(self, sink: Sink) -> None:
        """Finish an output that was added; the others go on. From any thread, also during the run and after it.

        Raises:
            SinkError: it cannot be finished.
        """
        self._outputs.remove(sink)

    def baseline(self) -> Enhancer:
        """Bicubic to the same size, built when it is first asked for. For one thread at a time."""
        return self._networks.baseline()

    @property
    def network(self) -> str:
        """Name of the network in use. From any thread."""
        return self._networks.current

    def status(self) -> LiveStatus:
        """How the run stands. From any thread, before, during and after it."""
        governed = self._networks.governed
        info = self.feed.info
        return LiveStatus(
            stats=self._pipeline.live_stats(),
            network=self.network,
            moves=0 if governed is None else governed.moved,
            input_size=(info.width, info.height),
            output_size=(self.feed.width, self.feed.height),
            outputs=self._outputs.status(),
        )

    def _make_pipeline(
        self, source: Source, wrap: Callable[[Enhancer], Enhancer] | None, share: Callable[[], float]
    ) -> Pipeline:
        enhancer = self._networks.make()
        pipeline = Pipeline(
            source,
            enhancer if wrap is None else wrap(enhancer),
            self._outputs,
            queue_size=_QUEUE_FRAMES,
            in_flight=self._networks.in_flight,
            overflow="drop_oldest",
        )
        if self._networks.governed is not None:
            self._networks.governed.watch = RunWatch(pipeline, self._outputs.status, share=share)
        return pipeline


def _feed(info: SourceInfo, plan: SizePlan, *, on_quit: Callable[[], None]) -> Feed:
    return Feed(
        info=info,
        width=plan.width,
        height=plan.height,
        format=stated(info.format, lines=info.height),
        sample_aspect_ratio=plan.sample_aspect_ratio,
        on_quit=on_quit,
    )


def _fan_out(sink: Sink) -> FanOut:
    return sink if isinstance(sink, FanOut) else FanOut([sink])


class _Ticker:
    """Watches over a run from beside it: tells how it stands, and ends it when its time has come."""

    def __init__(
        self,
        session: LiveSession,
        duration_seconds: float | None,
        on_status: Callable[[LiveStatus], None] | None,
        every_seconds: float,
    ) -> None:
        self.ended_by: Ending = "source"
        self._session, self._on_status = session, on_status
        self._duration_seconds, self._every_seconds = duration_seconds, every_seconds
        self._over = threading.Event()
        self._error: BaseException | None = None

    @contextmanager
    def running(self) -> Iterator[None]:
        """For as long as the block lasts; raises what ``on_status`` raised."""
        thread = threading.Thread(target=self._work, name="vsr-live", daemon=True)
        thread.start()
        try:
            yield
        finally:
            self._over.set()
            thread.join()
        if self._error is not None:
            raise self._error

    def _work(self) -> None:
        begun = told = monotonic()
        while not self._over.wait(_POLL_SECONDS):
            now = monotonic()
            try:
                if self._on_status is not None and now - told >= self._every_seconds - _POLL_SECONDS / 2:
                    told = now
                    self._on_status(self._session.status())
            except BaseException as error:
                self._error = error
                self._session.finish()
                return
            if self._session.stopping:
                self._end("stopped")
            elif self._duration_seconds is not None and now - begun >= self._duration_seconds:
                self._end("duration")

    def _end(self, reason: Ending) -> None:
        if self.ended_by == "source":
            self.ended_by = reason
        self._session.finish()
