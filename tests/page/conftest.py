"""A whole page on a port of its own, and Chromium in front of it."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import media
import numpy as np
import pytest
from rtsp_server import RtspServer
from viewer import Viewer, find_chromium

from vsr.app.clip import Clip, write_clip

if TYPE_CHECKING:
    from playwright.sync_api import Browser

_OPTIONS = ["--no-sandbox", "--use-fake-device-for-media-stream"]
_UPLOAD_BYTES = 64 << 20


@pytest.fixture(scope="session")
def browser() -> Iterator[Browser]:
    api = pytest.importorskip("playwright.sync_api", reason="needs playwright: pip install -e '.[page-test]'")
    chromium = find_chromium()
    if chromium is None:
        pytest.skip("found no Chromium; install it, or name it in VSR_CHROMIUM")
    with api.sync_playwright() as playwright:
        launched = playwright.chromium.launch(executable_path=chromium, args=_OPTIONS)
        yield launched
        launched.close()


@pytest.fixture(scope="session")
def camera() -> Iterator[RtspServer]:
    with RtspServer(width=160, height=96) as server:
        yield server


@pytest.fixture(scope="session")
def texture(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A picture that stands still, full of detail: what is seen can be compared sample by sample."""
    picture = media.pattern(1, 160, 96)[0].to_ndarray(format="rgb24")
    noise = np.random.default_rng(0).integers(0, 120, (48, 80, 1), np.uint8).repeat(2, 0).repeat(2, 1)
    pictures = [media.av.VideoFrame.from_ndarray(picture // 2 + noise).reformat(format="yuv420p") for _ in range(25)]
    for index, one in enumerate(pictures):
        one.pts, one.time_base = index * 40, media.TICK
    return media.write_clip(tmp_path_factory.mktemp("texture") / "texture.mkv", pictures)


@pytest.fixture(scope="session")
def moving(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("moving") / "moving.mp4"
    write_clip(path, Clip(width=160, height=96, frames=48), crf=20, sound=False)
    return path


@pytest.fixture(scope="session")
def photographs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Half a second of real pictures, with sound."""
    path = tmp_path_factory.mktemp("photographs") / "holiday <b>.mp4"
    write_clip(path, Clip(width=160, height=96, frames=12), crf=20)
    return path


@pytest.fixture(scope="session")
def address(
    browser: Browser, camera: RtspServer, texture: Path, moving: Path, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[str]:
    """Where a page of some sources is served, for all tests: each ends what it began."""
    pytest.importorskip("gradio", reason="needs gradio: pip install -e '.[page]'")
    from vsr.app.page.server import gradio_at_home, open_page
    from vsr.app.page.studio import Studio

    studio = Studio([str(texture), str(moving), camera.url], recordings=tmp_path_factory.mktemp("recordings"))
    with gradio_at_home(), open_page(studio, host="127.0.0.1", port=0, max_upload_bytes=_UPLOAD_BYTES) as server:
        yield server.url
        studio.close()


@pytest.fixture
def visit(browser: Browser, address: str) -> Iterator[Callable[..., Viewer]]:
    """Opens the page in a browser of its own; at the end nothing runs, and nothing unexpected was said or asked for."""
    viewers: list[Viewer] = []

    def open_viewer(*, path: str = "", **options: Any) -> Viewer:
        options.setdefault("viewport", {"width": 1280, "height": 1000})
        viewers.append(Viewer(browser.new_context(**options), address, path))
        return viewers[-1]

    yield open_viewer
    for viewer in viewers:
        viewer.leave()
    for viewer in viewers:
        assert viewer.complaints == []
        assert viewer.foreign == []
