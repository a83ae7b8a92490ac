"""Cameras without a camera: addresses, what is tried in which order, and what each failure of a driver is told as."""

from __future__ import annotations

import errno
import io
import itertools
import os
import select
import threading
from collections.abc import Iterator
from fractions import Fraction
from pathlib import Path
from types import SimpleNamespace

import av
import media
import pytest

from streams.errors import AccessDeniedError, SourceError, SourceLostError, SourceNotFoundError
from streams.sources import WebcamSource, devices, open_source, webcam
from streams.sources.backoff import Backoff
from streams.sources.webcam import Camera, is_webcam, parse_camera


@pytest.mark.parametrize(
    ("url", "platform", "path", "form"),
    [
        ("webcam", "linux", "/dev/video0", "v4l2"),
        ("webcam:1", "linux", "/dev/video1", "v4l2"),
        ("/dev/video7", "linux", "/dev/video7", "v4l2"),
        ("webcam", "darwin", "0:none", "avfoundation"),
        ("webcam:2", "darwin", "2:none", "avfoundation"),
        ("webcam:Integrated Camera", "win32", "video=Integrated Camera", "dshow"),
    ],
)
def test_addresses_on_every_system(url: str, platform: str, path: str, form: str) -> None:
    assert is_webcam(url)
    camera = parse_camera(url, platform=platform)
    assert (camera.path, camera.format, camera.size, camera.rate) == (path, form, None, None)


def test_a_number_finds_its_name_where_cameras_have_names_only(monkeypatch: pytest.MonkeyPatch) -> None:
    found = [
        SimpleNamespace(name="Microphone", description="Microphone", media_types=["audio"]),
        SimpleNamespace(name="@device_1", description="Front", media_types=["video"]),
        SimpleNamespace(name="@device_2", description="Back", media_types=["video"]),
    ]
    monkeypatch.setattr(av, "enumerate_input_devices", lambda form: found)
    assert [d.name for d in devices.list_devices(platform="win32")] == ["Front", "Back"]
    assert parse_camera("webcam:1", platform="win32").path == "video=@device_2"
    assert [d.path for d in devices.list_devices(platform="darwin")] == ["0:none", "1:none"]


@pytest.mark.parametrize("url", ["film.mp4", "/dev/video", "webcamera", "rtsp://webcam:1/x"])
def test_what_is_no_camera(url: str) -> None:
    assert not is_webcam(url)
    with pytest.raises(SourceError, match="names no camera"):
        parse_camera(url)


def test_wishes_come_from_the_address_and_from_arguments() -> None:
    camera = parse_camera("webcam:1?size=1280x720&rate=30000/1001&encoding=mjpeg", rate=25)
    assert (camera.size, camera.rate, camera.encoding) == ((1280, 720), Fraction(25), "mjpeg")


@pytest.mark.parametrize(
    "query", ["size=big", "size=0x10", "rate=fast", "rate=0", "rate=1/0", "encoding=h264", "colour=red"]
)
def test_wishes_that_cannot_be(query: str) -> None:
    with pytest.raises(SourceError, match="got "):
        open_source(f"webcam?{query}")


@pytest.mark.parametrize(
    ("wanted", "formats"),
    [
        ({}, [None]),
        ({"size": (640, 480)}, [None, "mjpeg"]),
        ({"size": (1280, 720)}, ["mjpeg", None]),
        ({"size": (1280, 720), "rate": Fraction(10)}, [None, "mjpeg"]),
        ({"size": (1280, 720), "encoding": "raw"}, [None]),
        ({"size": (320, 240), "encoding": "mjpeg"}, ["mjpeg"]),
    ],
)
def test_compressed_pictures_where_raw_ones_would_be_slow(wanted: dict, formats: list[str | None]) -> None:
    attempts = Camera(path="/dev/video0", format="v4l2", **wanted).attempts()
    assert [options.get("input_format") for options in attempts] == formats
    assert all(
        options.get("video_size") == ("{}x{}".format(*wanted["size"]) if wanted else None) for options in attempts
    )


@pytest.mark.parametrize(
    ("number", "error", "text"),
    [
        (errno.ENOENT, SourceNotFoundError, r"there are: webcam:0 \(Front\)"),
        (errno.EACCES, AccessDeniedError, "permission"),
        (errno.EBUSY, SourceLostError, "another program"),
        (errno.ENODEV, SourceLostError, "unplugged"),
        (errno.EIO, SourceLostError, "failed"),
        (errno.EINVAL, SourceError, "does not offer 320×240"),
    ],
)
def test_failures_in_plain_words(
    monkeypatch: pytest.MonkeyPatch, number: int, error: type[SourceError], text: str
) -> None:
    front = devices.Device(address="webcam:0", name="Front", path="/dev/video0", format="v4l2")
    monkeypatch.setattr(webcam, "list_devices", lambda: (front,))

    def fail(*_: object, **__: object) -> None:
        raise OSError(number, os.strerror(number))

    monkeypatch.setattr(webcam.av, "open", fail)
    with pytest.raises(error, match=text):
        WebcamSource("/dev/video9", size="320x240")


@pytest.fixture
def uncoded() -> io.BytesIO:
    """Three pictures in a container that leaves them as they are."""
    film = io.BytesIO()
    with av.open(film, "w", format="yuv4mpegpipe") as container:
        stream = container.add_stream("wrapped_avframe", rate=25)
        stream.width, stream.height, stream.pix_fmt = 64, 48, "yuv420p"
        for picture in media.pattern(3, 64, 48):
            container.mux(stream.encode(picture))
        container.mux(stream.encode(None))
    film.seek(0)
    return film


class Driver:
    """Stands for a camera: ``av.open`` gives a moving pattern, and a pipe says when there is a picture.

    Attributes:
        film: what it gives in place of the pattern.
        only_size: what it sets whatever one wants.
        raw_rate: of uncoded pictures, whatever one wants.
        packets: where in memory the driver put what it gave.
    """

    def __init__(self) -> None:
        self.film: io.BytesIO | None = None
        self.only_size, self.raw_rate = "", 30
        self.packets: list[range] = []
        self.ready, self.feed = os.pipe()
        self.opened: list[dict[str, str]] = []
        self.refuse: list[int] = []
        self.fail_read: int | None = None
        os.write(self.feed, b"x")

    def open(self, path: str, *, format: str, options: dict[str, str], timeout: object) -> object:  # noqa: A002
        self.opened.append(options)
        number = self.refuse.pop(0) if self.refuse else 0
        if number:
            raise OSError(number, os.strerror(number))
        size = self.only_size or options.get("video_size", "64x48")
        rate = options.get("framerate", "30") if "input_format" in options else self.raw_rate
        film = self.film or f"testsrc2=size={size}:rate={rate}"
        container = self._open(film, format=None if self.film else "lavfi")
        return SimpleNamespace(
            streams=container.streams, close=container.close, demux=lambda stream: self._demux(container, stream)
        )

    def _demux(self, container: object, stream: object) -> Iterator[av.Packet]:
        for packet in container.demux(stream):
            if not select.select([self.ready], [], [], 0)[0]:
                raise av.error.BlockingIOError(errno.EAGAIN, os.strerror(errno.EAGAIN))
            if self.fail_read is not None:
                number, self.fail_read = self.fail_read, None
                raise av.error.OSError(number, os.strerror(number))
            if packet.size:
                self.packets.append(range(packet.buffer_ptr, packet.buffer_ptr + packet.size))
            yield packet

    def stall(self) -> None:
        os.read(self.ready, 1)

    def install(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self._open = av.open
        monkeypatch.setattr(webcam.av, "open", self.open)
        monkeypatch.setattr(webcam, "_unblocked", lambda camera: self.ready)


@pytest.fixture
def driver(monkeypatch: pytest.MonkeyPatch) -> Iterator[Driver]:
    driver = Driver()
    driver.install(monkeypatch)
    yield driver
    os.close(driver.ready)
    os.close(driver.feed)


def opened(**options) -> WebcamSource:
    return WebcamSource("/dev/video0", backoff=Backoff(first_seconds=0.02, longest_seconds=0.05), **options)


def test_pictures_come(driver: Driver) -> None:
    with opened(size="1280x720") as source:
        assert source.info.live
        assert (source.info.width, source.info.height) == (1280, 720)
        assert len(list(itertools.islice(source.items(), 5))) == 5
    assert driver.opened == [{"video_size": "1280x720", "input_format": "mjpeg"}]


def test_pictures_are_not_left_in_the_memory_of_the_driver(uncoded: io.BytesIO, driver: Driver) -> None:
    # It is gone when the camera is: who still looked at them would crash.
    driver.film = uncoded
    session = webcam.WebcamSession(Camera(path="/dev/video0", format="v4l2"))
    events = session.events()
    for picture, packet in zip(itertools.islice(events, 3), driver.packets, strict=False):
        assert session.traits.codec == "rawvideo"
        assert picture.planes[0].buffer_ptr not in packet
    events.close()
    session.close()
    assert len(driver.packets) == 3


def test_what_it_does_not_offer_compressed_is_asked_for_raw(driver: Driver) -> None:
    driver.refuse = [errno.EINVAL]
    with opened(size="1280x720"):
        assert [options.get("input_format") for options in driver.opened] == ["mjpeg", None]


def test_another_size_than_the_wanted_one_is_not_taken(driver: Driver) -> None:
    driver.only_size = "320x240"
    with pytest.raises(SourceError, match="does not offer 1280×720; the nearest is 320×240"):
        opened(size="1280x720")
    assert len(driver.opened) == 2, "it might have had it in the other encoding"
    for refusals in ([0, errno.EINVAL], [errno.EINVAL, 0]):
        driver.refuse = refusals
        with pytest.raises(SourceError, match="the nearest is 320×240"):
            opened(size="1280x720")
    with opened(size="320x240") as source:
        assert (source.info.width, source.info.height) == (320, 240)


def test_the_encoding_that_comes_at_the_wanted_rate(driver: Driver) -> None:
    driver.raw_rate = 5
    with opened(size="1280x720", rate=15) as source:
        assert source.info.rate == 15
    assert [options.get("input_format") for options in driver.opened] == [None, "mjpeg"]


def test_else_the_one_that_comes_nearest(driver: Driver) -> None:
    driver.raw_rate = 5
    driver.refuse = [0, errno.EINVAL]
    with opened(size="1280x720", rate=15) as source:
        assert source.info.rate == 5
    assert [options.get("input_format") for options in driver.opened] == [None, "mjpeg", None]


def test_unplugged_and_plugged_in_again(driver: Driver) -> None:
    with opened() as source:
        frames = source.items()
        next(frames)
        driver.refuse = [errno.ENOENT, errno.EACCES]
        driver.fail_read = errno.ENODEV
        assert next(frame for frame in frames if frame.discontinuity)
        assert source.status.reconnects == 1
        assert "permission denied" in (source.status.last_error or "")


def test_a_driver_that_stalls_is_left(driver: Driver) -> None:
    with opened(stall_timeout_seconds=0.5, max_retries=0) as source:
        frames = source.items()
        next(frames)
        driver.stall()
        with pytest.raises(SourceLostError, match="nothing came"):
            list(frames)
        assert source.status.stalls == 1


def test_a_camera_that_stalls_can_be_closed(driver: Driver) -> None:
    source = opened(stall_timeout_seconds=60)
    frames = source.items()
    next(frames)
    driver.stall()
    threading.Timer(0.2, source.close).start()
    list(frames)


def test_the_descriptor_of_a_device_is_found(tmp_path: Path) -> None:
    path = tmp_path / "video0"
    path.write_bytes(b"")
    camera = Camera(path=str(path), format="v4l2")
    with path.open("rb") as file:
        assert webcam._unblocked(camera) == file.fileno()
        assert not os.get_blocking(file.fileno())
    with pytest.raises(SourceLostError, match="went away"):
        webcam._unblocked(camera)


def test_devices_are_listed_without_those_for_metadata(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for number, name, index in ((0, "Front", "0"), (1, "Front", "1"), (10, "Back", "0")):
        folder = tmp_path / f"video{number}"
        folder.mkdir()
        (folder / "name").write_text(f"{name}\n")
        (folder / "index").write_text(f"{index}\n")
    monkeypatch.setattr(devices, "_SYS", tmp_path)
    found = devices.list_devices(platform="linux")
    assert [(d.address, d.name, d.path) for d in found] == [
        ("webcam:0", "Front", "/dev/video0"),
        ("webcam:10", "Back", "/dev/video10"),
    ]
    monkeypatch.setattr(devices, "_capabilities", lambda path: 0x1 if path.endswith("1") else 0x800000)
    assert [d.path for d in devices.list_devices(platform="linux")] == ["/dev/video1"]


def test_a_system_that_cannot_list_says_nothing() -> None:
    assert devices.list_devices(platform="win32") == ()
