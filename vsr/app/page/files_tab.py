"""The tab for files: upload, make larger with progress, compare, download."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from html import escape
from pathlib import Path
from typing import Any
from urllib.parse import quote

import gradio as gr
from gradio.utils import get_upload_folder

from vsr.app.networks import DEFAULT
from vsr.app.page.files_desk import FileJob, FilesDesk
from vsr.app.sizes import SCALES, default_scale

_POLL_SECONDS = 0.4
_AT_ONCE = 16
_IDLE = "<p>Nothing to show yet.</p><p>Choose a video, press Enlarge, and keep this page open while it works.</p>"


def build_files_tab(networks: Callable[[int], tuple[str, ...]]) -> None:
    """Build the tab, inside of the blocks that are being built.

    Args:
        networks: the names of those that enlarge by a factor.
    """
    folder = Path(get_upload_folder())
    folder.mkdir(parents=True, exist_ok=True)
    # In Gradio's own folder, whose files it serves as they are: anything else would be copied into it.
    _FilesTab(FilesDesk(parent=folder), networks).connect()


class _FilesTab:
    def __init__(self, desk: FilesDesk, networks: Callable[[int], tuple[str, ...]]) -> None:
        self._desk, self._networks = desk, networks
        with gr.Row(elem_id="vsr-files"):
            with gr.Column(scale=1, min_width=280):
                self.upload = gr.File(label="Video", elem_id="vsr-file", height=170)
                scale = default_scale()
                self.model = gr.Dropdown(
                    list(networks(scale)), value=DEFAULT, label="Network", elem_id="vsr-file-model"
                )
                self.scale = gr.Radio([(f"×{one}", one) for one in SCALES], value=scale, label="Enlarge by")
                with gr.Row():
                    self.go = gr.Button("Enlarge", variant="primary", elem_id="vsr-enlarge", min_width=120)
                    self.cancel = gr.Button("Cancel", interactive=False, elem_id="vsr-cancel", min_width=100)
            with gr.Column(scale=2, min_width=320):
                self.said = gr.HTML(_card(_IDLE), js_on_load=None, apply_default_css=False, elem_id="vsr-file-job")
                self.still = gr.HTML("", js_on_load=None, apply_default_css=False, elem_id="vsr-file-still")
                self.place = gr.Slider(
                    1, 5, value=3, step=1, label="Picture to compare", visible=False, elem_id="vsr-place"
                )
                self.download = gr.DownloadButton("Download", variant="primary", visible=False, elem_id="vsr-download")
        self.job = gr.State(None, delete_callback=self._forget)

    def connect(self) -> None:
        """Say what happens when something is pressed or chosen."""
        quiet: dict[str, Any] = {"show_progress": "hidden", "api_visibility": "private"}
        results = [self.said, self.still, self.place, self.download]
        self.scale.input(self._on_scale, [self.scale, self.model], self.model, **quiet)
        self.go.click(
            self._enlarge,
            [self.upload, self.model, self.scale, self.job],
            [self.job, self.upload, self.go, self.cancel, *results],
            concurrency_limit=_AT_ONCE,
            trigger_mode="once",
            **quiet,
        )
        self.cancel.click(self._cancel, self.job, self.cancel, **quiet)
        self.place.change(self._show_still, [self.job, self.place], self.still, **quiet)

    def _on_scale(self, scale: int, model: str) -> gr.Dropdown:
        names = self._networks(scale)
        return gr.Dropdown(list(names), value=model if model in names else next(iter(names), None))

    def _enlarge(self, upload: str | None, model: str, scale: int, before: FileJob | None) -> Iterator[list[Any]]:
        """The states of the page while one clip is made larger."""
        if upload is None:
            words = _card("<p>There is no video yet.</p><p>Choose one at the left first.</p>", bad=True)
            yield [before, gr.skip(), gr.skip(), gr.skip(), words, *[gr.skip()] * 3]
            return
        self._forget(before)
        job = self._desk.submit(Path(upload), model=model, scale=scale)
        try:
            nothing = ["", gr.Slider(visible=False), gr.DownloadButton(visible=False)]
            yield [job, None, gr.Button(interactive=False), gr.Button(interactive=True), self._said(job), *nothing]
            while not job.over:
                time.sleep(_POLL_SECONDS)
                yield [*[gr.skip()] * 4, self._said(job), *[gr.skip()] * 3]
            yield [job, gr.skip(), gr.Button(interactive=True), gr.Button(interactive=False), *self._result(job)]
        finally:
            # Also where the page was closed meanwhile.
            if not job.over:
                self._desk.remove(job)

    def _result(self, job: FileJob) -> list[Any]:
        if job.output is None:
            return [self._said(job), *[gr.skip()] * 3]
        middle = len(job.stills) // 2 + 1
        return [
            self._said(job),
            self._show_still(job, middle),
            gr.Slider(1, max(2, len(job.stills)), value=middle, visible=len(job.stills) > 1),
            gr.DownloadButton(f"Download {job.output.name}", value=job.output, visible=True),
        ]

    def _show_still(self, job: FileJob | None, place: int) -> str:
        if job is None or not job.stills:
            return ""
        seconds, before, after = job.stills[min(len(job.stills), int(place)) - 1]
        images = "".join(
            f'<img src="/gradio_api/file={quote(str(path))}" alt="{escape(word)}, at {seconds:.2f} seconds">'
            for path, word in ((after, job.model), (before, "bicubic"))
        )
        return f'<div class="vsr-still" data-vsr-wipe data-after="{escape(job.model)}">{images}</div>'

    def _cancel(self, job: FileJob | None) -> gr.Button:
        if job is not None:
            job.cancel()
        return gr.Button(interactive=False)

    def _forget(self, job: FileJob | None) -> None:
        if job is not None:
            self._desk.remove(job)

    def _said(self, job: FileJob) -> str:
        return _card(said_of(job, ahead=self._desk.ahead(job)), bad=job.phase == "failed")


def said_of(job: FileJob, *, ahead: int) -> str:
    """How a clip stands, as HTML.

    Args:
        job: the clip.
        ahead: how many others come before it.
    """
    name = escape(job.name)
    if job.phase == "waiting":
        others = "another video is" if ahead <= 1 else f"{ahead} other videos are"
        return f'<p role="status">Waiting for its turn</p><p>{name}: {others} before it.</p>'
    if job.phase == "running":
        return f'<p role="status">Enlarging {name} by {job.scale} with {escape(job.model)}</p>{_progress(job)}'
    if job.phase == "failed":
        return f'<p role="alert">{name} could not be enlarged</p><p>{escape(_sentence(job.message))}</p>'
    if job.phase == "cancelled":
        return f'<p role="status">Cancelled</p><p>Nothing of {name} is kept.</p>'
    return f'<p role="status">{name} is enlarged</p><p>{escape(_summary(job))}</p>'


def _progress(job: FileJob) -> str:
    progress = job.progress
    if progress is None:
        return "<progress></progress><p>The network is being made ready.</p>"
    total = progress.total_frames
    if total is None or progress.frames > total:
        return f"<progress></progress><p>{progress.frames} frames, {progress.fps:.1f} per second</p>"
    left = (total - progress.frames) / progress.fps if progress.fps > 0 else 0.0
    return (
        f'<progress max="{total}" value="{progress.frames}"></progress>'
        f"<p>{progress.frames} of {total} frames, {progress.fps:.1f} per second, {_duration(left)} left</p>"
    )


def _summary(job: FileJob) -> str:
    report = job.report
    if report is None:
        return ""
    sizes = " → ".join("{}×{}".format(*size) for size in (report.input_size, report.output_size))
    left_out = f" Left out: {', '.join(report.dropped)}." if report.dropped else ""
    seconds = max(report.wall_seconds, 1e-3)
    return (
        f"{report.frames_out} frames, {sizes}, in {_duration(seconds)} ({report.frames_out / seconds:.1f} per second)."
        f"{left_out} The upload is deleted; the result goes with this page."
    )


def _duration(seconds: float) -> str:
    minutes, rest = divmod(round(seconds), 60)
    return f"{minutes} min {rest:02d} s" if minutes else f"{rest} s"


def _sentence(text: str) -> str:
    return text[:1].upper() + text[1:]


def _card(content: str, *, bad: bool = False) -> str:
    return f'<div class="vsr-job{" vsr-bad" if bad else ""}">{content}</div>'
