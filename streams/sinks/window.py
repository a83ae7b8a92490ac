"""A window on the screen, by OpenCV, which is not among what is always installed.

OpenCV's windows belong to the one thread that made them, and where there is no display they end the whole process
instead of raising. So the display is asked for first, and everything else happens on a thread of the window's own,
which shows the newest frame whenever it is done with the one before.
"""

from __future__ import annotations

import importlib
import logging
import os
import socket
import sys
import threading
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from streams.errors import Cancelled, SinkError
from streams.frame import UNSPECIFIED, Frame, Item
from streams.sinks.base import Sink, SinkState, SinkStatus
from streams.sinks.latest import LatestFrame
from streams.sinks.pictures import PictureMaker

log = logging.getLogger(__name__)

_ESCAPE = 27
_QUIT_KEYS = frozenset({ord("q"), ord("Q"), _ESCAPE})
# How often the window answers its user while no frame comes.
_BEAT_SECONDS = 0.03
_STARTUP_SECONDS = 20.0
_LEAVE_SECONDS = 5.0
_BT601, _BT709 = 6, 1


class WindowSink(Sink):
    """Shows the newest frame; frames for which the screen is too slow are passed over.

    The user closes it with q, Escape or the mouse. That ends the run: ``on_quit`` is called, on the window's thread, or
    without it the next :meth:`write` raises :class:`streams.errors.Cancelled`.

    Args:
        title: of the window.
        on_quit: see above.

    Raises:
        SinkError: there is no display, or OpenCV is missing, or was built without windows.
    """

    def __init__(self, title: str = "vsr", *, on_quit: Callable[[], None] | None = None) -> None:
        self._cv2 = load_opencv()
        self._title, self._on_quit = title, on_quit
        self._newest = LatestFrame()
        self._ready = threading.Event()
        self._quit = False
        self._error: str | None = None
        self._frames = 0
        self._shown = 0
        self._thread = threading.Thread(target=self._run, name="window", daemon=True)
        self._thread.start()
        self._ready.wait(_STARTUP_SECONDS)
        if self._error is not None:
            raise SinkError(self._error)

    def write(self, item: Item) -> None:
        """Show a frame as soon as the screen is free, without waiting for it.

        Raises:
            Cancelled: the user has closed the window, and there is no ``on_quit``.
            SinkError: the window has failed, or was closed by us.
        """
        if self._error is not None:
            raise SinkError(self._error)
        if self._quit:
            if self._on_quit is None:
                raise Cancelled("the window was closed")
            return
        self._newest.write(item)
        self._frames += isinstance(item, Frame)

    def close(self) -> None:
        """Take the window from the screen."""
        self._newest.close()
        self._thread.join(_LEAVE_SECONDS)

    def abort(self) -> None:
        """As :meth:`close`."""
        self.close()

    def status(self) -> tuple[SinkStatus, ...]:
        """One entry; what the screen passed over counts as dropped."""
        state: SinkState = "running"
        if self._error is not None:
            state = "failed"
        elif self._quit or self._newest.closed:
            state = "closed"
        shown = self._shown
        return (
            SinkStatus(
                name="window",
                state=state,
                frames=shown,
                dropped=max(0, self._frames - shown),
                error=self._error,
            ),
        )

    def _run(self) -> None:
        try:
            self._cv2.namedWindow(self._title, self._cv2.WINDOW_NORMAL | self._cv2.WINDOW_KEEPRATIO)
            self._ready.set()
            self._show_all()
            self._cv2.destroyWindow(self._title)
        except self._cv2.error as error:
            log.debug("OpenCV: %s", error)
            self._error = "OpenCV shows no window here; install opencv-python in place of opencv-python-headless"
        except Exception as error:
            log.exception("the window failed")
            self._error = f"the window failed: {error!r}"
        finally:
            self._ready.set()

    def _show_all(self) -> None:
        number, size = 0, (0, 0)
        to_bgr: ToBgr | None = None
        while not self._newest.closed:
            newest = self._newest.wait(after=number, timeout_seconds=_BEAT_SECONDS)
            if newest is not None:
                number, frame = newest
                if to_bgr is None or to_bgr.geometry != frame.geometry:
                    to_bgr = ToBgr(frame)
                if (frame.width, frame.height) != size:
                    size = frame.width, frame.height
                    self._cv2.resizeWindow(self._title, *size)
                self._cv2.imshow(self._title, to_bgr(frame))
                self._shown += 1
            if self._wants_to_leave(shown=number > 0):
                self._leave()
                return

    def _wants_to_leave(self, *, shown: bool) -> bool:
        if self._cv2.waitKey(1) & 0xFF in _QUIT_KEYS:
            return True
        # Some window systems report a window as visible only once there is a picture in it.
        return shown and self._cv2.getWindowProperty(self._title, self._cv2.WND_PROP_VISIBLE) < 1

    def _leave(self) -> None:
        self._quit = True
        self._newest.close()
        log.info("the window was closed")
        if self._on_quit is not None:
            self._on_quit()


class ToBgr:
    """Turns frames of one geometry into the B, G, R bytes that OpenCV shows: H×W×3 uint8.

    A matrix that nobody stated is taken for BT.709 from 720 lines on and for BT.601 below, as players do.
    """

    def __init__(self, first: Frame) -> None:
        self.geometry = first.geometry
        width, height, form = first.geometry
        # swscale takes every gray for full range: as colour it is what it says it is.
        colour = form.name.replace("gray", "yuv420p")
        self._maker = PictureMaker(form, width=width, height=height, pix_fmt=colour)
        self._matrix = form.matrix
        if form.matrix == UNSPECIFIED:
            self._matrix = _BT709 if height >= 720 else _BT601

    def __call__(self, frame: Frame) -> Any:
        """The picture, as an array of its own."""
        picture = self._maker.make(frame)
        return picture.to_ndarray(format="bgr24", src_colorspace=self._matrix)


def load_opencv(environment: Mapping[str, str] = os.environ) -> Any:
    """OpenCV, where it can show windows.

    Raises:
        SinkError: there is no display, or no OpenCV.
    """
    if sys.platform.startswith("linux") and not display_answers(environment):
        named = environment.get("WAYLAND_DISPLAY") or environment.get("DISPLAY")
        what = f"the display {named} does not answer" if named else "DISPLAY and WAYLAND_DISPLAY are not set"
        raise SinkError(f"no window can be shown: {what}; try another output, such as a file or an hls: folder")
    try:
        return importlib.import_module("cv2")
    except ImportError as error:
        raise SinkError(f"no window can be shown: {error}; install it with pip install 'vsr[window]'") from error


def display_answers(environment: Mapping[str, str]) -> bool:
    """Whether somebody listens at the display that the environment names."""
    wayland, display = environment.get("WAYLAND_DISPLAY"), environment.get("DISPLAY")
    if wayland and _answers(str(Path(environment.get("XDG_RUNTIME_DIR", "/"), wayland))):
        return True
    if not display:
        return False
    host, _, number = display.rpartition(":")
    screen = number.partition(".")[0]
    if not screen.isdigit():
        return False
    if host in ("", "unix"):
        path = f"/tmp/.X11-unix/X{screen}"  # noqa: S108 -- where X servers listen
        return _answers(f"\0{path}") or _answers(path)
    return _answers((host, 6000 + int(screen)))


def _answers(address: str | tuple[str, int]) -> bool:
    family = socket.AF_UNIX if isinstance(address, str) else socket.AF_INET
    with socket.socket(family, socket.SOCK_STREAM) as peer:
        peer.settimeout(3)
        try:
            peer.connect(address)
        except OSError:
            return False
    return True
