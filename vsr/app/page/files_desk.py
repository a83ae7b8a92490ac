"""Whole files for the page: one is made larger at a time, the others wait their turn, and nothing is left behind."""

from __future__ import annotations

import atexit
import logging
import queue
import secrets
import shutil
import threading
from dataclasses import dataclass, field
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Literal

from PIL import Image

from streams.errors import Cancelled, StreamError
from streams.sources import FileSource
from vsr.app.page.uploads import check_clip, ending_of
from vsr.app.page.words import plain_words
from vsr.app.still import to_rgb
from vsr.errors import VsrError

if TYPE_CHECKING:
    from streams.frame import Frame
    from vsr.app.report import Progress, Report

log = logging.getLogger(__name__)

Phase = Literal["waiting", "running", "done", "cancelled", "failed"]

_PLACES = (0.1, 0.3, 0.5, 0.7, 0.9)
_STILL_WIDTH = 1920
_STILL_QUALITY = 90
_PATIENCE_SECONDS = 5.0


@dataclass(eq=False)
class FileJob:
    """One clip that is made larger.

    Attributes:
        name: of the clip, as it was uploaded.
        model, scale: the network and its factor.
        phase: where it stands; ``message`` what is to be said about it.
        progress: while it runs.
        output: the file, when it is done.
        stills: pictures to compare, each as (seconds, by bicubic, by the network): JPEG files.
        report: what was done.
    """

    name: str
    model: str
    scale: int
    folder: Path
    upload: Path
    phase: Phase = "waiting"
    message: str = ""
    progress: Progress | None = None
    output: Path | None = None
    stills: list[tuple[float, Path, Path]] = field(default_factory=list)
    report: Report | None = None
    stop: threading.Event = field(default_factory=threading.Event)

    @property
    def over(self) -> bool:
        """Whether nothing more happens to it."""
        return self.phase in {"done", "cancelled", "failed"}

    def cancel(self) -> None:
        """Ask it to end. From any thread; at any time."""
        self.stop.set()


class FilesDesk:
    """Takes clips and works on one at a time, in the order in which they came.

    Args:
        parent: where the temporary folder of all clips is made; None for the system's place.
    """

    def __init__(self, *, parent: Path | None = None) -> None:
        self._folder = TemporaryDirectory(prefix="vsr-files-", dir=parent, ignore_cleanup_errors=True)
        self._queue: queue.SimpleQueue[FileJob | None] = queue.SimpleQueue()
        self._jobs: list[FileJob] = []
        self._lock = threading.Lock()
        self._worker: threading.Thread | None = None
        atexit.register(self.close)

    def submit(self, upload: Path, *, model: str, scale: int) -> FileJob:
        """Take a clip over: the file is moved away from where it lies."""
        folder = Path(self._folder.name) / secrets.token_hex(8)
        folder.mkdir()
        kept = folder / f"upload{ending_of(upload)}"
        shutil.move(upload, kept)
        job = FileJob(upload.name, model, scale, folder, kept)
        with self._lock:
            self._jobs.append(job)
            if self._worker is None:
                self._worker = threading.Thread(target=self._work, name="vsr-files", daemon=True)
                self._worker.start()
        self._queue.put(job)
        return job

    def ahead(self, job: FileJob) -> int:
        """How many clips come before this one."""
        with self._lock:
            return sum(not other.over for other in self._jobs[: self._jobs.index(job)]) if job in self._jobs else 0

    def remove(self, job: FileJob) -> None:
        """Nobody wants it any more: it is ended, and its files go."""
        job.cancel()
        with self._lock:
            if job in self._jobs and job.over:
                self._jobs.remove(job)
                shutil.rmtree(job.folder, ignore_errors=True)

    def close(self) -> None:
        """End everything and remove all files."""
        atexit.unregister(self.close)
        with self._lock:
            for job in self._jobs:
                job.cancel()
        self._queue.put(None)
        if self._worker is not None:
            self._worker.join(_PATIENCE_SECONDS)
        self._folder.cleanup()

    def _work(self) -> None:
        while (job := self._queue.get()) is not None:
            try:
                _run(job)
            except Cancelled:
                job.phase, job.message = "cancelled", "Cancelled."
            except (StreamError, VsrError, OSError, MemoryError) as error:
                log.info("a file of the page failed: %s", error)
                job.message = plain_words(error, labels={str(job.upload): job.name})
                job.phase = "failed"
            except Exception as error:
                log.exception("a file of the page failed")
                job.message = plain_words(error)
                job.phase = "failed"
            finally:
                job.upload.unlink(missing_ok=True)
            if job.phase != "done" or job.stop.is_set():
                self.remove(job)


def _run(job: FileJob) -> None:
    from vsr.app.jobs import upscale_video

    if job.stop.is_set():
        raise Cancelled("before its turn")
    job.phase = "running"
    check_clip(job.upload)

    def watch(progress: Progress) -> None:
        job.progress = progress

    output = job.folder / f"{Path(job.name).stem}.x{job.scale}.mp4"
    job.report = upscale_video(job.upload, output, model=job.model, scale=job.scale, on_progress=watch, stop=job.stop)
    job.stills = _stills(job, output)
    job.output = output
    job.phase = "done"


def _stills(job: FileJob, output: Path) -> list[tuple[float, Path, Path]]:
    """The same instants of both files, so that the upload need not be kept for comparing."""
    from vsr.app.enhancer import UpscalerEnhancer
    from vsr.upscaler import Upscaler

    duration = job.progress.position_seconds if job.progress else 0.0
    bicubic = UpscalerEnhancer(Upscaler("bicubic", scale=job.scale))
    found = []
    for number, place in enumerate(_PLACES):
        seconds = round(duration * place, 3)
        small, large = _frame_at(job.upload, seconds), _frame_at(output, seconds)
        (plain,) = bicubic.submit([small]).result()
        paths = job.folder / f"{number}-before.jpg", job.folder / f"{number}-after.jpg"
        for frame, path in zip((plain, large), paths, strict=True):
            _save(frame, path)
        found.append((seconds, *paths))
    return found


def _frame_at(path: Path, seconds: float) -> Frame:
    with FileSource(path, start_seconds=seconds, max_frames=1, rotate=True) as source:
        return next(iter(source))


def _save(frame: Frame, path: Path) -> None:
    picture = Image.fromarray(to_rgb(frame))
    picture.thumbnail((_STILL_WIDTH, _STILL_WIDTH))
    picture.save(path, quality=_STILL_QUALITY, subsampling=0)
