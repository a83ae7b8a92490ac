"""A person before the page: opens it, chooses, presses, looks."""

from __future__ import annotations

import base64
import io
import os
import shutil
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

import numpy as np
import numpy.typing as npt
from PIL import Image

if TYPE_CHECKING:
    from playwright.sync_api import BrowserContext, ConsoleMessage, Request

_WAIT_MS = 20_000
# Said by Gradio at every upload and download, and where its page is left while it waits for an answer.
_USUAL = ("Method not implemented", "BodyStreamBuffer was aborted", "Connection errored out")
_NAMES = ("chromium", "chromium-browser", "google-chrome")
_LOCAL = frozenset({"data", "blob", "about"})

Pixels = npt.NDArray[np.uint8]


def find_chromium() -> str | None:
    """The one that VSR_CHROMIUM names, or one in the path."""
    return next(filter(None, map(shutil.which, (os.environ.get("VSR_CHROMIUM", ""), *_NAMES))), None)


class Viewer:
    """One open page.

    Attributes:
        page: Playwright's.
        complaints: errors and warnings of the console.
        foreign: addresses of other hosts that were asked for something.
    """

    def __init__(self, context: BrowserContext, address: str, path: str = "") -> None:
        self._context, self._host = context, urlsplit(address).netloc
        self.page = context.new_page()
        self.page.set_default_timeout(_WAIT_MS)
        self.complaints: list[str] = []
        self.foreign: list[str] = []
        self.page.on("console", self._on_console)
        self.page.on("pageerror", lambda error: self._on_complaint(str(error)))
        context.on("request", self._on_request)
        self.page.goto(address + path)
        self.page.wait_for_selector(".vsr-player[data-link=open]")

    def start(self, source: str, *, model: str = "ecbsr", scale: int = 2) -> None:
        """Choose and press Start, and wait until it runs."""
        self.choose("#vsr-source", source)
        self.page.locator("#vsr-scale").get_by_label(f"×{scale}").check()
        self.choose("#vsr-model", model)
        self.press("#vsr-start")
        self.wait_for_phase("running")
        self.wait_for_picture()

    def choose(self, dropdown: str, label: str) -> None:
        self.page.locator(f"{dropdown} input").click()
        self.page.get_by_role("option", name=label, exact=True).click()

    def press(self, button: str) -> None:
        self.page.locator(button).click()

    def tool(self, name: str) -> None:
        self.page.locator(f"[data-tool={name}]").click()

    def wait_for_phase(self, phase: str) -> None:
        # In one question: a moment later it may be another one.
        reached = self.page.wait_for_function(
            """wanted => {
              const { phase } = document.querySelector(".vsr-player").dataset;
              return [wanted, "failed"].includes(phase) && phase;
            }""",
            arg=phase,
        ).json_value()
        assert reached == phase, self.page.locator(".vsr-words").inner_text()

    def wait_for_picture(self) -> None:
        self.page.wait_for_function("!document.querySelector('.vsr-picture').classList.contains('vsr-blank')")

    def wait_for_words(self, words: str, *, timeout_seconds: float = _WAIT_MS / 1000) -> None:
        """Until the line below the stage says so, to eyes or to a screen reader."""
        self.page.wait_for_function(
            "words => document.querySelector('.vsr-words').textContent.includes(words)",
            arg=words,
            timeout=timeout_seconds * 1000,
        )

    def wait_for_change(self) -> None:
        """Until the canvas shows another picture."""
        before = self.canvas().tobytes()
        for _ in range(40):
            self.page.wait_for_timeout(100)
            if self.canvas().tobytes() != before:
                return
        raise AssertionError("the picture stands still")

    def canvas(self, selector: str = ".vsr-picture > canvas:not(.vsr-top)") -> Pixels:
        """What a canvas holds, H×W×3."""
        url = self.page.locator(selector).evaluate("canvas => canvas.toDataURL('image/png')")
        return _pixels(base64.b64decode(url.split(",")[1]))

    def seen(self, selector: str = ".vsr-picture") -> Pixels:
        """A screenshot of an element, H×W×3."""
        return _pixels(self.page.locator(selector).screenshot())

    def state(self) -> dict[str, Any]:
        """As the server has it."""
        answer = self._context.request.get(f"http://{self._host}/live/state").json()
        return dict(answer["state"])

    def wait_for_viewers(self, count: int) -> None:
        """Until the server knows of so many; one who left is noticed soon."""
        for _ in range(50):
            if self.state()["viewers"] == count:
                return
            self.page.wait_for_timeout(100)
        raise AssertionError(f"{self.state()['viewers']} viewers, not {count}")

    def leave(self) -> None:
        """End the run, if there is one and it can be ended here, and close the page."""
        end = self.page.locator("#vsr-end")
        if not self.page.is_closed() and end.count() and self.state()["phase"] not in {"idle", "failed"}:
            end.evaluate("button => button.click()")
            self.page.wait_for_selector(".vsr-player:is([data-phase=idle], [data-phase=failed])", state="attached")
        self._context.close()

    def _on_console(self, message: ConsoleMessage) -> None:
        if message.type in {"error", "warning"}:
            self._on_complaint(message.text)

    def _on_complaint(self, words: str) -> None:
        if not any(usual in words for usual in _USUAL):
            self.complaints.append(words)

    def _on_request(self, request: Request) -> None:
        address = urlsplit(request.url)
        if address.scheme not in _LOCAL and address.netloc != self._host:
            self.foreign.append(request.url)


def _pixels(png: bytes) -> Pixels:
    return np.asarray(Image.open(io.BytesIO(png)).convert("RGB"))
