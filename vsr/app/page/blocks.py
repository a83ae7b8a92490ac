"""The page as Gradio builds it: controls beside the player, and a tab for files.

Pictures and figures do not pass through Gradio: ``assets/player.js`` takes them from the WebSocket. It presses the
hidden button ``vsr-sync`` whenever the run has changed, so that the controls of every open page agree with it.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

# Before Gradio is imported, which otherwise asks its makers' host.
os.environ.setdefault("GRADIO_ANALYTICS_ENABLED", "False")

import gradio as gr

from vsr.app.networks import DEFAULT
from vsr.app.page.files_tab import build_files_tab
from vsr.app.page.words import PageError
from vsr.app.sizes import SCALES, default_scale

if TYPE_CHECKING:
    from vsr.app.page.studio import Studio

TITLE = "vsr preview"

# Not by css_paths, which rewrites selectors and loses @container.
_HEAD = (
    '<link rel="stylesheet" href="/assets/page.css"><link rel="icon" href="data:,">'
    '<script type="module" src="/assets/player.js"></script>'
)
_INTRODUCTION = (
    f'<div class="vsr-head"><h1>{TITLE}</h1><p>Video made larger while you watch, beside plain bicubic.</p></div>'
)
_QUALITIES = [("Fixed", "fixed"), ("Automatic", "auto")]
_PLAIN: dict[str, Any] = {"js_on_load": None, "apply_default_css": False}
_UNDER_WAY = frozenset({"starting", "waiting", "running"})
_BEGIN = "(source, address) => window.vsr.begin((address || '').trim() || source)"


def mount_options() -> dict[str, Any]:
    """What ``gradio.mount_gradio_app`` is given besides the blocks: looks, the player, and no links of Gradio's own."""
    return {"theme": _theme(), "head": _HEAD, "footer_links": [], "show_error": True}


def build(studio: Studio) -> gr.Blocks:
    """The page of a studio, which holds the one run that all open pages show and steer.

    A field for an address is there only where the studio allows any source.
    """
    page = gr.Blocks(title=TITLE, analytics_enabled=False, fill_width=True, delete_cache=(600, 3600))
    with page:
        gr.HTML(_INTRODUCTION, **_PLAIN)
        with gr.Tabs():
            with gr.Tab("Live", id="live"), gr.Row(elem_id="vsr-live"):
                with gr.Column(elem_id="vsr-view"):
                    gr.HTML("<div data-vsr-player></div>", **_PLAIN, elem_id="vsr-player")
                with gr.Column(elem_id="vsr-controls"):
                    controls = _Controls(studio)
                    gr.HTML("<div data-vsr-recordings></div>", **_PLAIN)
                with gr.Column(elem_id="vsr-numbers"):
                    gr.HTML("<div data-vsr-figures></div>", **_PLAIN)
            with gr.Tab("Files", id="files"):
                build_files_tab(studio.networks)
        controls.connect(page)
    return page


def _theme() -> gr.themes.Base:
    return gr.themes.Base(
        primary_hue="cyan",
        neutral_hue="slate",
        radius_size="lg",
        font=["system-ui", "sans-serif"],
        font_mono=["ui-monospace", "monospace"],
    ).set(
        body_background_fill="var(--vsr-ground)",
        body_background_fill_dark="var(--vsr-ground)",
        block_background_fill="var(--vsr-card)",
        block_background_fill_dark="var(--vsr-card)",
        block_border_width="0px",
        block_shadow="var(--vsr-shadow)",
        block_shadow_dark="var(--vsr-shadow)",
        button_primary_background_fill="var(--vsr-accent)",
        button_primary_background_fill_dark="var(--vsr-accent)",
        button_primary_text_color="var(--vsr-on-accent)",
        button_primary_text_color_dark="var(--vsr-on-accent)",
    )


class _Controls:
    """The column beside the player: what to run, and the buttons."""

    def __init__(self, studio: Studio) -> None:
        self._studio = studio
        self._uploaded: tuple[str, str] | None = None
        sources = self._sources()
        self.source = gr.Dropdown(sources, value=sources[0][1], label="Source", elem_id="vsr-source")
        self.address = gr.Textbox(
            label="Address",
            value="",
            placeholder="rtsp://… or http://…",
            info="Used in place of the source above, when it is filled in.",
            visible=studio.allow_any_source,
            elem_id="vsr-address",
        )
        self.upload = gr.UploadButton("Choose a clip of your own…", size="sm", elem_id="vsr-upload")
        scale = studio.options.scale or default_scale()
        networks = studio.networks(scale)
        self.model = gr.Dropdown(
            list(networks), value=_usual(networks, studio.options.model), label="Network", elem_id="vsr-model"
        )
        self.scale = gr.Radio(
            [(f"×{one}", one) for one in SCALES], value=scale, label="Enlarge by", elem_id="vsr-scale"
        )
        self.quality = gr.Radio(
            _QUALITIES,
            value=studio.options.quality,
            label="Quality",
            info="Automatic takes a smaller network when this machine cannot keep up.",
            elem_id="vsr-quality",
        )
        self.start = gr.Button("Start", variant="primary", elem_id="vsr-start")
        with gr.Row():
            self.record = gr.Button("Record", interactive=False, elem_id="vsr-record", min_width=100)
            self.stop = gr.Button("Stop", interactive=False, elem_id="vsr-stop", min_width=100)
        # Pressed by the player alone: a button that is disabled, as Stop may be at that moment, cannot be.
        self.sync = gr.Button("Agree with the run", elem_id="vsr-sync")
        self.end = gr.Button("End the run", elem_id="vsr-end")
        self.seen = gr.State("")

    def connect(self, page: gr.Blocks) -> None:
        """Say what happens when something is pressed or chosen."""
        quiet: dict[str, Any] = {"show_progress": "hidden", "api_visibility": "private"}
        choices = [self.source, self.model, self.scale, self.quality]
        buttons = [self.start, self.record, self.stop]
        asked = [self.source, self.address, self.model, self.scale, self.quality]
        self.scale.input(self._networks, [self.scale, self.model], self.model, **quiet)
        self.upload.upload(self._take, self.upload, self.source, **quiet)
        begun = self.start.click(self._start, asked, None, trigger_mode="once", **quiet)
        begun.success(None, [self.source, self.address], None, js=_BEGIN, api_visibility="private")
        self.stop.click(self._stop, None, None, **quiet)
        self.end.click(self._stop, None, None, **quiet)
        self.record.click(self._record, None, None, trigger_mode="once", **quiet)
        everything = [self.seen, *choices, *buttons]
        # Answered at once: an answer that got lost in the queue's stream would keep all later ones waiting.
        page.load(self._agree, self.seen, everything, queue=False, **quiet)
        self.sync.click(self._agree, self.seen, everything, trigger_mode="always_last", queue=False, **quiet)

    def _networks(self, scale: int, model: str) -> gr.Dropdown:
        networks = self._studio.networks(scale)
        return gr.Dropdown(list(networks), value=_usual(networks, model))

    def _take(self, upload: str) -> gr.Dropdown:
        path = Path(upload)
        try:
            key = f"upload:{_told(lambda: self._studio.add_upload(path))}"
        finally:
            # It is still there where it was not taken.
            path.unlink(missing_ok=True)
        self._uploaded = (path.name, key)
        return gr.Dropdown(self._sources(), value=key)

    def _start(self, source: str, address: str | None, model: str, scale: int, quality: str) -> None:
        wanted = (address or "").strip() or source
        _told(lambda: self._studio.start(wanted, model=model, scale=scale, quality=quality))

    def _stop(self) -> None:
        _told(self._studio.stop)

    def _record(self) -> None:
        recording = self._studio.state()["recording"]
        _told(lambda: self._studio.record(recording is None))

    def _agree(self, seen: str) -> list[Any]:
        """The controls as the run is; what somebody is just choosing is left alone unless the run is another one."""
        state = self._studio.state()
        under_way = state["phase"] in _UNDER_WAY
        buttons = [
            gr.Button("Start again with these" if under_way else "Start"),
            gr.Button(
                "Stop recording" if state["recording"] else "Record",
                interactive=state["phase"] in {"waiting", "running"},
            ),
            gr.Button(interactive=under_way),
        ]
        run = repr([state[name] for name in ("source", "model", "scale", "quality")]) if under_way else seen
        if run == seen:
            return [seen, *[gr.skip()] * 4, *buttons]
        networks = self._studio.networks(state["scale"])
        source = self._source_of(state["source"])
        return [
            run,
            source,
            gr.Dropdown(list(networks), value=state["model"]),
            state["scale"],
            state["quality"],
            *buttons,
        ]

    def _source_of(self, label: str) -> Any:
        """The source by its label, unless somebody typed its address."""
        sources = self._sources()
        key = next((key for name, key in sources if name == label), None)
        return gr.skip() if key is None else gr.Dropdown(sources, value=key)

    def _sources(self) -> list[tuple[str, str]]:
        """Labels and keys, with the clip that was uploaded last."""
        offered = [(choice.label, choice.key) for choice in self._studio.sources()]
        return [*offered, self._uploaded] if self._uploaded is not None else offered


def _usual(networks: tuple[str, ...], wanted: str | None = None) -> str | None:
    return next((name for name in (wanted, DEFAULT) if name in networks), next(iter(networks), None))


def _told(action: Callable[[], Any]) -> Any:
    """Do it; where it cannot be done, the page says why."""
    try:
        return action()
    except PageError as error:
        text = str(error)
        raise gr.Error(text[:1].upper() + text[1:], title="That did not work", print_exception=False) from error
