"""The one run of a server, whoever of its viewers asks for it: its choices, start, stop, recordings, and state."""

from __future__ import annotations

import threading
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, get_args

from vsr.app.live import LiveOptions, Quality
from vsr.app.page.camera import Camera
from vsr.app.page.recordings import Recordings
from vsr.app.page.run import NO_FIGURES, Run
from vsr.app.page.scratch import ScratchFolder
from vsr.app.page.sources import BROWSER, Choice, Sources
from vsr.app.page.stage import Stage
from vsr.app.page.words import PageError, plain_words
from vsr.app.sizes import SCALES, default_scale

if TYPE_CHECKING:
    from streams.frame import Frame
    from streams.sources import Source
    from streams.sources.pushed import PushedSource

__all__ = ["Choice", "PageError", "Studio"]

# A source that does not answer is given up by itself within that time.
_STOP_SECONDS = 15.0


class Studio:
    """What the page and its viewers share. Every method may be called from any thread.

    Args:
        named: sources that are offered, as :func:`streams.open_source` takes them; files go round for ever.
        options: what is computed unless a visitor chooses otherwise; device, precision and threads are not theirs.
        recordings: folder for recordings, made with the first.
        allow_any_source: whether visitors may give addresses of the network. Never paths.

    Attributes:
        stage: where the newest pictures are seen.
        options: see above.
        allow_any_source: see above.
    """

    def __init__(
        self,
        named: Sequence[str] = (),
        *,
        options: LiveOptions | None = None,
        recordings: Path = Path("recordings"),
        allow_any_source: bool = False,
    ) -> None:
        self.options = options or LiveOptions(scale=default_scale())
        self.allow_any_source = allow_any_source
        self.stage = Stage(self.baseline)
        self._folder = ScratchFolder("vsr-page-")
        self._sources = Sources(named, folder=self._folder.path, allow_any=allow_any_source)
        self._recordings = Recordings(recordings)
        self._lock = threading.Lock()
        self._baseline_lock = threading.Lock()
        self._closed = False
        self._run: Run | None = None
        self._key = ""
        self._camera: Camera | None = None
        self._note = ""

    def sources(self) -> tuple[Choice, ...]:
        """What is offered to be shown: key and label."""
        return self._sources.choices

    def networks(self, scale: int) -> tuple[str, ...]:
        """Names of the networks that can enlarge by ``scale``."""
        from vsr.models import MODELS
        from vsr.weights import shipped_scales

        return tuple(
            name for name, spec in MODELS.items() if scale in (shipped_scales(name) if spec.trained else spec.scales)
        )

    def prepare(self) -> None:
        """Make the sample clip in the background, so that nobody has to wait for it."""
        self._sources.prepare()

    def start(self, source: str, *, model: str, scale: int, quality: str = "fixed") -> None:
        """Show a source; what is shown now is ended first. Returns at once, :meth:`state` says how it goes.

        Args:
            source: a key of :meth:`sources`, ``upload:`` and a token, or an address where those are allowed.
            model: of :meth:`networks`.
            scale: 2, 3 or 4.
            quality: ``"fixed"``, or ``"auto"`` for cheaper networks whenever the chosen one does not keep up.

        Raises:
            PageError: one of these is not to be had here.
        """
        label = self._sources.label(source)
        options = self._checked(model, scale, quality)
        with self._lock:
            if self._closed:
                raise PageError("the server is about to end")
            if self._camera is not None:
                # At once, so that its browser is free to come again.
                self._camera.close()
            camera = Camera() if source == BROWSER else None
            self._key, self._camera, self._note = source, camera, ""
            self._run = Run(
                label,
                camera.open if camera is not None else lambda run: self._open(source, run),
                options=options,
                stage=self.stage,
                before=self._run,
                explain=self._explain,
                on_status=self._look_at_recording,
                on_end=self._end_recording,
            )

    def start_first(self) -> None:
        """Show the first source that is offered, with the options of this studio."""
        options = self.options
        scale = options.scale or default_scale()
        self.start(self.sources()[0].key, model=options.model, scale=scale, quality=options.quality)

    def stop(self) -> None:
        """End what is shown, and finish its recording; returns when that is done. Without a run it does nothing."""
        run = self._run
        if run is not None:
            run.stop()
            run.wait(_STOP_SECONDS)

    def record(self, on: bool) -> str | None:
        """Begin or end a recording of what is shown.

        Returns:
            The name of the recording that is begun or finished; None where there is none to finish.

        Raises:
            PageError: nothing is shown, something is recorded already, or the recording has failed.
        """
        if not on:
            name = self._recordings.end()
            self.stage.touch()
            return name
        run = self._run
        session = run.session if run is not None and not run.stopping else None
        if session is None:
            raise PageError("nothing is shown that could be recorded; start a source first")
        self._note = ""
        name = self._recordings.begin(session)
        self.stage.touch()
        return name

    def recording(self, token: str, name: str) -> Path | None:
        """The file of a recording that has ended, for who knows its token and its name."""
        return self._recordings.path_of(token, name)

    def add_upload(self, path: Path) -> str:
        """Take over a clip that was uploaded; those from before are removed, but for the one that is shown.

        Returns:
            Its token: ``upload:`` and the token is a source for :meth:`start`.

        Raises:
            PageError: it is no video, or cannot be moved; it is still where it was.
        """
        with self._lock:
            shown = self._run is not None and not self._run.ended
            return self._sources.add_upload(path, keep=self._key if shown else "")

    def push_camera(self) -> PushedSource:
        """Where the camera of a browser pushes its pictures, of one at a time.

        Raises:
            PageError: no camera is waited for, or another one is there already.
        """
        with self._lock:
            if self._camera is None or self._run is None or self._run.ended:
                raise PageError("no camera is waited for; choose this browser's camera and start it first")
            return self._camera.take()

    def baseline(self, small: Frame) -> Frame:
        """What bicubic makes of a frame, at the size of the output.

        Raises:
            PageError: nothing is shown.
        """
        run = self._run
        session = run.session if run is not None else None
        if session is None:
            raise PageError("nothing is shown; start a source first")
        with self._baseline_lock:
            return session.baseline().submit([small]).result()[0]

    def state(self) -> dict[str, Any]:
        """How everything stands, as plain values ready for JSON."""
        run = self._run
        options = run.options if run is not None else self.options
        session = run.session if run is not None else None
        feed = session.feed if session is not None else None
        return {
            "phase": run.phase if run is not None else "idle",
            "message": (run.message if run is not None else "") or self._note,
            "source": run.label if run is not None else "",
            "model": options.model,
            "scale": options.scale,
            "quality": options.quality,
            "input_size": [feed.info.width, feed.info.height] if feed is not None else None,
            "output_size": [feed.width, feed.height] if feed is not None else None,
            "recording": self._recordings.now(),
            "recordings": self._recordings.ended(),
            "viewers": self.stage.viewers,
            "limited_fps": self.stage.limited_fps,
            "figures": run.figures() if run is not None else dict(NO_FIGURES),
        }

    def close(self) -> None:
        """End what is shown, and remove uploads and all else that is temporary. Any number of times."""
        with self._lock:
            self._closed = True
        self.stop()
        self.stage.close()
        self._sources.close()
        self._folder.close()

    def _checked(self, model: str, scale: int, quality: str) -> LiveOptions:
        if scale not in SCALES:
            raise PageError(f"got scale {scale}, allowed are {', '.join(map(str, SCALES))}")
        if model not in self.networks(scale):
            raise PageError(f"got the network {model}, for ×{scale} there are {', '.join(self.networks(scale))}")
        for allowed in get_args(Quality):
            if quality == allowed:
                return replace(self.options, model=model, scale=scale, to=None, quality=allowed)
        raise PageError(f"got quality {quality}, allowed are {', '.join(get_args(Quality))}")

    def _open(self, key: str, run: Run) -> Source:
        if not self._sources.is_ready(key):
            run.say_waiting("the sample is being made, which takes some seconds")
        return self._sources.open(key)

    def _explain(self, error: BaseException) -> str:
        return plain_words(error, labels=self._sources.labels)

    def _look_at_recording(self) -> None:
        if self._recordings.failed():
            self._end_recording()

    def _end_recording(self) -> None:
        try:
            self._recordings.end()
        except PageError as error:
            self._note = str(error)
