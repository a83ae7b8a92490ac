"""The window, with a stand-in for OpenCV and for the display: what it shows, how it is closed, what is missing."""

from __future__ import annotations

import importlib
import socket
import sys
import threading
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import pytest

from streams.errors import Cancelled, SinkError
from streams.frame import Frame, PixelFormat
from streams.sinks import FanOut, NullSink, WindowSink, open_sink
from streams.sinks.window import ToBgr, display_answers
from tests import written

LONG = 20.0


class FakeOpenCv(ModuleType):
    """Keeps what is shown, and notes if it is used from more than one thread."""

    WINDOW_NORMAL, WINDOW_KEEPRATIO, WND_PROP_VISIBLE = 0, 0, 4

    class error(Exception):  # noqa: N801, N818
        pass

    def __init__(self) -> None:
        super().__init__("cv2")
        self.shown: list[np.ndarray[Any, Any]] = []
        self.new = threading.Condition()
        self.key = -1
        self.visible = 1.0
        self.windows: list[str] = []
        self.threads: set[int] = set()

    def namedWindow(self, title: str, flags: int) -> None:  # noqa: N802
        self.threads.add(threading.get_ident())
        self.windows.append(title)

    def resizeWindow(self, title: str, width: int, height: int) -> None:  # noqa: N802
        self.size = width, height

    def imshow(self, title: str, picture: np.ndarray[Any, Any]) -> None:
        self.threads.add(threading.get_ident())
        with self.new:
            self.shown.append(picture)
            self.new.notify_all()

    def waitKey(self, milliseconds: int) -> int:  # noqa: N802
        self.threads.add(threading.get_ident())
        return self.key

    def getWindowProperty(self, title: str, which: int) -> float:  # noqa: N802
        return self.visible

    def destroyWindow(self, title: str) -> None:  # noqa: N802
        self.windows.remove(title)

    def await_shown(self, count: int) -> None:
        with self.new:
            assert self.new.wait_for(lambda: len(self.shown) >= count, LONG)


@pytest.fixture
def _display(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    with socket.socket(socket.AF_UNIX) as listening:
        listening.bind(str(tmp_path / "wayland-0"))
        listening.listen()
        monkeypatch.setenv("XDG_RUNTIME_DIR", str(tmp_path))
        monkeypatch.setenv("WAYLAND_DISPLAY", "wayland-0")
        yield


@pytest.fixture
def opencv(_display: None, monkeypatch: pytest.MonkeyPatch) -> FakeOpenCv:
    fake = FakeOpenCv()
    monkeypatch.setitem(sys.modules, "cv2", fake)
    return fake


def frames(count: int, **more: Any) -> list[Frame]:
    return list(written.frames(count, **more))


def test_it_shows_frames_from_one_thread_of_its_own(opencv: FakeOpenCv) -> None:
    first = frames(1)[0]
    url = "window:Front door"
    facts: dict[str, Any] = {"width": first.width, "height": first.height, "format": first.format}
    with open_sink(url, info=written.info(first), **facts) as sink:
        for number, frame in enumerate(frames(3), start=1):
            sink.write(frame)
            opencv.await_shown(number)
        assert opencv.windows == ["Front door"]
    assert opencv.windows == []
    assert opencv.shown[0].shape == (64, 96, 3)
    assert opencv.size == written.SIZE
    assert len(opencv.threads) == 1
    assert threading.get_ident() not in opencv.threads
    assert (sink.status()[0].state, sink.status()[0].frames) == ("closed", 3)


def test_a_slow_screen_passes_frames_over_and_shows_the_newest(opencv: FakeOpenCv) -> None:
    with WindowSink() as sink:
        with opencv.new:  # the screen is busy
            for frame in frames(50):
                sink.write(frame)
        bright = frames(51)[50]
        opencv.await_shown(1)
        sink.write(bright)
        opencv.await_shown(2)
    assert len(opencv.shown) < 50
    assert sink.status()[0].dropped > 0
    assert (opencv.shown[-1] == ToBgr(bright)(bright)).all()


@pytest.mark.parametrize("how", [{"key": ord("q")}, {"key": 27}, {"visible": 0.0}])
def test_its_user_ends_the_run(opencv: FakeOpenCv, how: dict[str, Any]) -> None:
    sink = WindowSink()
    sink.write(frames(1)[0])
    opencv.await_shown(1)
    vars(opencv).update(how)
    with pytest.raises(Cancelled, match="window was closed"):
        for _ in range(10**6):
            sink.write(frames(1)[0])
    assert sink.status()[0].state == "closed"
    sink.close()
    assert opencv.windows == []


def test_or_tells_somebody_and_takes_what_still_comes(opencv: FakeOpenCv) -> None:
    told = threading.Event()
    with FanOut([WindowSink(on_quit=told.set), NullSink()]) as fan:
        fan.write(frames(1)[0])
        opencv.await_shown(1)
        opencv.key = ord("q")
        assert told.wait(LONG)
        fan.write(frames(1)[0])
    assert fan.errors == ()


def test_an_opencv_without_windows_is_a_clear_error(opencv: FakeOpenCv, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: object) -> None:
        raise opencv.error("OpenCV(5.0) error: (-2) The function is not implemented.\nRebuild the library")

    monkeypatch.setattr(opencv, "namedWindow", refuse)
    with pytest.raises(SinkError, match="in place of opencv-python-headless"):
        WindowSink()


def test_a_missing_opencv_is_a_clear_error(_display: None, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "cv2", None)
    with pytest.raises(SinkError, match=r"pip install 'vsr\[window\]'"):
        WindowSink()


@pytest.mark.skipif(sys.platform != "linux", reason="elsewhere there is always a display")
@pytest.mark.parametrize(
    ("environment", "words"),
    [({}, "DISPLAY and WAYLAND_DISPLAY are not set"), ({"DISPLAY": ":4711"}, "the display :4711 does not answer")],
)
def test_no_display_is_a_clear_error_and_opencv_is_not_even_asked(
    monkeypatch: pytest.MonkeyPatch, environment: dict[str, str], words: str
) -> None:
    for name in ("DISPLAY", "WAYLAND_DISPLAY"):
        monkeypatch.delenv(name, raising=False)
    for name, value in environment.items():
        monkeypatch.setenv(name, value)
    asked: list[str] = []
    monkeypatch.setattr(importlib, "import_module", asked.append)
    with pytest.raises(SinkError, match=words):
        WindowSink()
    assert asked == []


def test_where_displays_are_looked_for(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as listening:
        port = listening.getsockname()[1]
        assert display_answers({"DISPLAY": f"127.0.0.1:{port - 6000}.0"}) == (port >= 6000)
    assert not display_answers({"DISPLAY": "nonsense"})
    assert not display_answers({"WAYLAND_DISPLAY": "wayland-7", "XDG_RUNTIME_DIR": str(tmp_path)})


@pytest.mark.parametrize(
    ("form", "size", "red"),
    [
        # Cr at its limited peak, Y at 128: R by BT.601 or BT.709, cut off at 255; G tells them apart.
        (PixelFormat(), (64, 64), 39),
        (PixelFormat(matrix=1), (64, 64), 71),
        (PixelFormat(), (64, 720), 71),
    ],
)
def test_colours_are_those_that_players_show(form: PixelFormat, size: tuple[int, int], red: int) -> None:
    planes = tuple(np.full(form.plane_shape(n, *size), value, np.uint8) for n, value in enumerate((128, 128, 240)))
    frame = Frame(planes=planes, format=form, pts=0, time_base=next(written.frames(1)).time_base)
    picture = ToBgr(frame)(frame)
    assert picture[8, 8, 2] == 255
    assert abs(int(picture[8, 8, 1]) - red) <= 4


@pytest.mark.parametrize(
    ("form", "black", "white"),
    [
        (PixelFormat(), 16, 235),
        (PixelFormat(range="full"), 0, 255),
        (PixelFormat(bit_depth=10), 64, 940),
        (PixelFormat(subsampling="444", range="full", matrix=1), 0, 255),
        (PixelFormat(subsampling="gray"), 16, 235),
    ],
)
def test_every_format_is_shown_from_black_to_white(form: PixelFormat, black: int, white: int) -> None:
    planes = [
        np.full(form.plane_shape(n, 64, 48), 1 << form.bit_depth - 1, form.dtype) for n in range(form.plane_count)
    ]
    planes[0][:, :32], planes[0][:, 32:] = black, white
    frame = Frame(planes=tuple(planes), format=form, pts=0, time_base=next(written.frames(1)).time_base)
    picture = ToBgr(frame)(frame)
    assert (picture.shape, picture.dtype) == ((48, 64, 3), np.uint8)
    assert picture[:, :30].max() <= 2
    assert picture[:, 34:].min() >= 253
