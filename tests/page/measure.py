"""How fast, and how late, pictures reach the canvas: ``python tests/page/measure.py`` prints one line of JSON.

The source writes the time of day into each picture, as a row of black and white blocks, right when it gives it out. The
page reads it back from its canvas after each drawing. Server and browser share the clock of one machine, so the
difference is all that lies between: queue, network, bicubic beside it, JPEG, WebSocket, decoding and drawing.
"""

from __future__ import annotations

import argparse
import json
import os
import sys
import tempfile
import time
from collections.abc import Iterator
from fractions import Fraction
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
from av import VideoFrame
from playwright.sync_api import Page, sync_playwright
from viewer import find_chromium

from streams.frame import Frame, Item, PixelFormat
from streams.sources.base import Source, SourceInfo
from vsr.app.clip import Clip
from vsr.app.page.server import gradio_at_home, open_page
from vsr.app.page.studio import Studio

WIDTH, HEIGHT, SCALE = 640, 360, 2
BITS, BLOCK_ROWS = 32, 24
_DARK, _LIGHT = 16, 235
_WARM_UP_SECONDS = 5
# So many device pixels that the canvas holds each sample of the output.
_WINDOW = {"viewport": {"width": 1480, "height": 1000}, "device_scale_factor": 1.25}

_READ = """bits => {
  const player = window.vsr.players()[0], draw = player.draw.bind(player);
  window.measured = [];
  player.draw = (...all) => {
    draw(...all);
    const { width } = player.after, line = Math.round(8 * width / 640);
    const rows = [player.before, player.after].map((one) => one.getContext("2d").getImageData(0, line, width, 1).data);
    let stamp = 0;
    for (let bit = 0; bit < bits; bit += 1) {
      const share = (bit + 0.5) / bits;
      // As it is seen: what the divider hides may be older.
      const row = rows[player.wipe.shown && 100 * share < player.wipe.percent ? 0 : 1];
      stamp = stamp * 2 + (row[4 * Math.floor(share * width)] > 127 ? 1 : 0);
    }
    const now = Date.now();
    window.measured.push([now, (now % 2 ** bits) - stamp, width]);
  };
}"""


class StampedSource(Source):
    """Real pictures that hold the time of day at which each was given out, as a live source."""

    def __init__(self, *, rate: int) -> None:
        clip = Clip(width=WIDTH, height=HEIGHT, frames=48)
        self._pictures = [_planes(clip.truth(index)) for index in range(clip.frames)]
        self._rate, self._open = rate, True
        self.info = SourceInfo(
            width=WIDTH,
            height=HEIGHT,
            format=PixelFormat(),
            time_base=Fraction(1, rate),
            rate=Fraction(rate),
            live=True,
        )

    def items(self) -> Iterator[Item]:
        """One picture a tick."""
        begun, number = time.monotonic(), 0
        while self._open:
            time.sleep(max(0.0, begun + number / self._rate - time.monotonic()))
            luma, *chroma = self._pictures[number % len(self._pictures)]
            planes = (_stamped(luma), *chroma)
            yield Frame(
                planes=planes,
                format=self.info.format,
                pts=number,
                time_base=self.info.time_base,
                duration=1,
                arrived=time.monotonic(),
            )
            number += 1

    def close(self) -> None:
        """The next picture is not given out."""
        self._open = False


def _planes(rgb: npt.NDArray[np.uint8]) -> tuple[npt.NDArray[np.uint8], ...]:
    stacked = VideoFrame.from_ndarray(rgb).reformat(format="yuv420p").to_ndarray()
    chroma = stacked[HEIGHT:].reshape(2, HEIGHT // 2, WIDTH // 2)
    return stacked[:HEIGHT], chroma[0], chroma[1]


def _stamped(luma: npt.NDArray[np.uint8]) -> npt.NDArray[np.uint8]:
    stamp = int(time.time() * 1000) % 2**BITS
    bits = [_LIGHT if stamp >> (BITS - 1 - bit) & 1 else _DARK for bit in range(BITS)]
    picture = luma.copy()
    picture[:BLOCK_ROWS] = np.repeat(np.array(bits, np.uint8), WIDTH // BITS)
    return picture


def measure(page: Page, *, seconds: float, compare: bool, whole: bool) -> dict[str, Any]:
    """What the canvas has shown within some seconds."""
    page.wait_for_function("!document.querySelector('.vsr-picture').classList.contains('vsr-blank')")
    if not compare:
        page.locator("[data-tool=compare]").click()
    if whole:
        page.evaluate("{ const { wipe } = window.vsr.players()[0]; wipe.rest = () => {}; wipe.move(); }")
    page.wait_for_timeout(_WARM_UP_SECONDS * 1000)
    page.evaluate(_READ, BITS)
    cpu = time.process_time()
    page.wait_for_timeout(seconds * 1000)
    cpu = time.process_time() - cpu
    shown = np.array(page.evaluate("window.measured"), float)
    if len(shown) < 2:
        raise SystemExit("fewer than two pictures came; give it more --seconds")
    low, high = np.percentile(shown[:, 1], [50, 95])
    return {
        "fps": round((len(shown) - 1) * 1000 / (shown[-1, 0] - shown[0, 0]), 1),
        "latency_p50_ms": round(low, 1),
        "latency_p95_ms": round(high, 1),
        "frames": len(shown),
        "canvas_width": int(shown[-1, 2]),
        "server_cpu_percent": round(100 * cpu / seconds),
    }


def main() -> None:
    """Serve a page, look at it, and say how it went."""
    parser = argparse.ArgumentParser(description="Measure the page: frames per second and latency at the canvas.")
    parser.add_argument("--model", default="ecbsr", help="network")
    parser.add_argument("--seconds", type=float, default=20, help="how long to measure")
    parser.add_argument("--rate", type=int, default=30, help="pictures per second of the source")
    parser.add_argument("--compare", action="store_true", help="with the bicubic picture beside")
    parser.add_argument("--whole", action="store_true", help="both whole, as while the divider moves")
    wanted = parser.parse_args()
    chromium = find_chromium()
    if chromium is None:
        raise SystemExit("found no Chromium; install it, or name it in VSR_CHROMIUM")
    with tempfile.TemporaryDirectory() as folder, gradio_at_home(), sync_playwright() as playwright:
        studio = Studio(["stamped"], recordings=Path(folder))
        # The one way in for a source that no address names.
        studio._sources.open = lambda *_, **__: StampedSource(rate=wanted.rate)  # type: ignore[method-assign]
        with open_page(studio, host="127.0.0.1", port=0, max_upload_bytes=1) as server:
            browser = playwright.chromium.launch(executable_path=chromium, args=["--no-sandbox"])
            page = browser.new_context(**_WINDOW).new_page()  # type: ignore[arg-type]
            page.goto(server.url)
            page.wait_for_selector(".vsr-player[data-link=open]")
            studio.start("named:0", model=wanted.model, scale=SCALE)
            result = measure(page, seconds=wanted.seconds, compare=wanted.compare, whole=wanted.whole)
            figures = studio.state()["figures"]
            browser.close()
            studio.close()
    way = {"input": [WIDTH, HEIGHT], "output": [WIDTH * SCALE, HEIGHT * SCALE], "rate": wanted.rate}
    load = {"output_fps": figures["output_fps"], "load": round(os.getloadavg()[0], 1), "cores": os.cpu_count()}
    sys.stdout.write(
        json.dumps({"model": wanted.model, "compare": wanted.compare, "whole": wanted.whole, **way, **result, **load})
        + "\n"
    )


if __name__ == "__main__":
    main()
