"""A live run: a source that never ends, a network that keeps up with it, and as many outputs as were asked for."""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from time import monotonic
from typing import TYPE_CHECKING, Any, Literal

from streams.pipeline import Pipeline
from streams.sinks.base import Sink, SinkStatus
from streams.stats import LiveStats
from streams.stats import Report as RunReport
from vsr.app.boxed import BoxedEnhancer
from vsr.app.enhancer import UpscalerEnhancer
from vsr.app.governed import GovernedEnhancer, Watch, blank
from vsr.app.governor import Move
from vsr.app.ladder import ladder
from vsr.app.live_ends import Feed
from vsr.app.sizes import plan_size
from vsr.app.stated import stated

if TYPE_CHECKING:
    from streams.enhancer import Enhancer
    from streams.sources.base import Source, SourceInfo
    from vsr.upscaler import Upscaler

logger = logging.getLogger(__name__)

Quality = Literal["fixed", "auto"]
Ending = Literal["source", "duration", "stopped"]

_POLL_SECONDS = 0.1
# One frame in each queue: whatever waits there is old when its turn comes.
_QUEUE_FRAMES = 1


@dataclass(frozen=True, slots=True, kw_only=True)
class LiveOptions:
    """What is computed, and how.

    Attributes:
        model: the network; with ``quality="auto"`` the best that may be used.
        scale: 2, 3 or 4; 2 where ``to`` is not given either.
        to: in place of ``scale``, as :func:`vsr.upscale_video` takes it.
        quality: ``"auto"`` moves to cheaper networks and back so that the source's rate is held.
        device: as :class:`vsr.Upscaler` takes it.
        precision: as :class:`vsr.Upscaler` takes it.
        threads: CPU cores for the network; 0 for all.
    """

    model: str = "ecbsr"
    scale: int | None = None
    to: str | None = None
    quality: Quality = "fixed"
    device: str = "auto"
    precision: str = "auto"
    threads: int = 0


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

    The size of the output is settled by the source's first picture and stays. Networks are made ready in the
    constructor: it takes about a second for each.

    Args:
        source: open, and not iterated before; what cannot wait, such as a camera or a paced file.
        open_sink: opens the output.
        options: what is computed.

    Raises:
        streams.errors.SinkError: an output cannot be opened.
        vsr.errors.VsrError: a size, network, device or precision that does not exist here.
    """

    def __init__(
        self, source: Source, open_sink: Callable[[Feed], Sink], *, options: LiveOptions | None = None
    ) -> None:
        self._options = options or LiveOptions()
        info = source.info
        self._input_size = info.width, info.height
        self._plan = plan_size(
            info.width,
            info.height,
            scale=self._options.scale,
            to=self._options.to,
            sample_aspect_ratio=info.sample_aspect_ratio,
            rotation=info.rotation,
        )
        self._size = self._plan.width, self._plan.height
        self._geometry = info.width, info.height, info.format
        self._governed: GovernedEnhancer | None = None
        self._in_flight = 1
        self._stop = threading.Event()
        enhancer = self._make_enhancer()
        try:
            self._sink = open_sink(self._feed(info))
        except BaseException:
            self._free()
            raise
        self._pipeline = Pipeline(
            source,
            enhancer,
            self._sink,
            queue_size=_QUEUE_FRAMES,
            in_flight=self._in_flight,
            overflow="drop_oldest",
        )
        if self._governed is not None:
            self._governed.watch = self._watch

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
            stop: set it, from any thread, to end the run; so does :meth:`stop`.
            on_status: called every so often from another thread; what it raises ends the run.
            every_seconds: how often.

        Raises:
            streams.errors.StreamError: the source was given up, or no output is left. What was written is playable.
        """
        ticker = _Ticker(self, duration_seconds, stop or threading.Event(), on_status, every_seconds)
        try:
            with ticker.running():
                run = self._pipeline.run()
                status = self.status()
        finally:
            self._free()
        moves = self._governed.moves if self._governed is not None else ()
        return LiveReport(status=status, ended_by=ticker.ended_by, moves=moves, run=run)

    def stop(self) -> None:
        """Ask the run to end well: what is under way is written and the outputs are finished. From any thread."""
        self._stop.set()

    @property
    def stopping(self) -> bool:
        """Whether :meth:`stop` was called."""
        return self._stop.is_set()

    def finish(self) -> None:
        """End the run, for the one who watches over it."""
        self._pipeline.finish()

    def status(self) -> LiveStatus:
        """How the run stands. From any thread, before, during and after it."""
        governed = self._governed
        return LiveStatus(
            stats=self._pipeline.live_stats(),
            network=self._options.model if governed is None else governed.network,
            moves=0 if governed is None else governed.moved,
            input_size=self._input_size,
            output_size=self._size,
            outputs=self._sink.status(),
        )

    def _feed(self, info: SourceInfo) -> Feed:
        return Feed(
            info=info,
            width=self._plan.width,
            height=self._plan.height,
            format=stated(info.format, lines=info.height),
            sample_aspect_ratio=self._plan.sample_aspect_ratio,
            on_quit=self.stop,
        )

    def _make_enhancer(self) -> Enhancer:
        options = self._options
        if options.quality == "auto":
            rungs = ladder(options.model, scale=self._plan.scale)
            logger.info("networks to choose from: %s", ", ".join(rungs))
            self._governed = GovernedEnhancer(rungs, self._build, geometry=self._geometry)
            return self._governed
        enhancer = self._build(options.model)
        # The first frame of a size compiles the network; better now than with the source waiting.
        enhancer.submit([blank(self._geometry)]).result()
        return enhancer

    def _build(self, name: str) -> Enhancer:
        from vsr.upscaler import Upscaler

        options = self._options
        upscaler = Upscaler(
            name,
            scale=self._plan.scale,
            device=options.device,
            # A precision that is asked for is meant for the network; those that stand in for it have their own.
            precision=options.precision if name == options.model else "auto",
            threads=options.threads,
            latency=True,
        )
        self._note(upscaler)
        return BoxedEnhancer(UpscalerEnhancer(upscaler), size=self._size, first=self._input_size)

    def _note(self, upscaler: Upscaler) -> None:
        choice = upscaler.choice
        self._in_flight = max(self._in_flight, upscaler.in_flight)
        logger.info(
            "%s x%d on %s, %s: %s", upscaler.model, upscaler.scale, choice.device, choice.precision, choice.reason
        )

    def _watch(self) -> Watch:
        return Watch(input_fps=self._pipeline.input_fps, dropped=self._pipeline.dropped_frames)

    def _free(self) -> None:
        if self._governed is not None:
            self._governed.close()


class _Ticker:
    """Watches over a run from beside it: tells how it stands, and ends it when its time has come."""

    def __init__(
        self,
        session: LiveSession,
        duration_seconds: float | None,
        stop: threading.Event,
        on_status: Callable[[LiveStatus], None] | None,
        every_seconds: float,
    ) -> None:
        self.ended_by: Ending = "source"
        self._session, self._stop, self._on_status = session, stop, on_status
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
            if self._stop.is_set() or self._session.stopping:
                self._end("stopped")
            elif self._duration_seconds is not None and now - begun >= self._duration_seconds:
                self._end("duration")

    def _end(self, reason: Ending) -> None:
        if self.ended_by == "source":
            self.ended_by = reason
        self._session.finish()
