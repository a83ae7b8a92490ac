"""What a camera does, on real drivers: run in a virtual machine by ``webcam_vm.sh``, never by a plain ``pytest``.

The machine has vivid's cameras: ``/dev/video0`` to ``/dev/video2``, and ``/dev/video3``, which shows pictures and gives
none; and one that is plugged in by USB, see ``usb_camera.py``. As it is emulated, everything takes ten times as long as
on a computer.
"""

from __future__ import annotations

import itertools
import json
import os
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from fractions import Fraction
from pathlib import Path
from statistics import fmean
from typing import Any

import av
import media
import numpy as np
import pytest

from streams.errors import AccessDeniedError, SourceError, SourceLostError, SourceNotFoundError
from streams.frame import Frame
from streams.sources import WebcamSource
from streams.sources.backoff import Backoff
from streams.sources.devices import list_devices
from tests import usb_camera
from tests.live_checks import is_marked, nothing_left, rises, take
from tests.usb_camera import UsbCamera

SOON = Backoff(first_seconds=0.1, longest_seconds=0.5)
NOBODY = 65534


def opened(url: str = "webcam:0", **options: Any) -> WebcamSource:
    return WebcamSource(url, **{"open_timeout_seconds": 60, "stall_timeout_seconds": 30, "backoff": SOON, **options})


def control(node: int, **values: int) -> None:
    """Set controls of a vivid camera."""
    wanted = ",".join(f"{name}={value}" for name, value in values.items())
    subprocess.run(["v4l2-ctl", "-d", f"/dev/video{node}", "-c", wanted], check=True)


def until(frames: Iterator[Frame], wanted: Callable[[Frame], object]) -> list[Frame]:
    """Frames up to the first wanted one; who waits in vain is ended by the time limit of all tests."""
    seen = []
    for frame in frames:
        seen.append(frame)
        if wanted(frame):
            return seen
    pytest.fail(f"none of {len(seen)} frames was the wanted one")


def plane_of(picture: av.VideoFrame) -> np.ndarray:
    plane = picture.planes[0]
    return np.frombuffer(plane, np.uint8).reshape(plane.height, -1)[:, : picture.width].astype(int)


@pytest.fixture
def usb() -> Iterator[UsbCamera]:
    with UsbCamera() as camera:
        deadline = time.monotonic() + 60
        while camera.node is None or not camera.node.exists():
            assert time.monotonic() < deadline, "the kernel does not find the camera"
            time.sleep(0.1)
        yield camera


def test_the_command_lists_what_can_be_opened() -> None:
    said = subprocess.run(
        [sys.executable, "-m", "vsr", "devices", "--json"], capture_output=True, text=True, check=True
    )
    assert [(device["address"], device["name"]) for device in json.loads(said.stdout)] == [
        (f"webcam:{number}", f"vivid-{number:03}-vid-cap") for number in range(3)
    ]


def test_pictures_come_as_the_camera_stands() -> None:
    with nothing_left(), opened() as source:
        assert (source.info.width, source.info.height, source.info.codec) == (640, 360, "rawvideo")
        assert source.info.live
        frames = take(iter(source), 10)
        assert rises(frames)
        assert all(frame.arrived is not None for frame in frames)
        assert {(frame.width, frame.height, frame.format) for frame in frames} == {(640, 360, source.info.format)}
    # They are there although the camera is closed. Colour bars: white at the left, blue at the right.
    luma = frames[-1].planes[0]
    assert luma[200, 20] > 150 > 60 > luma[200, 540]


@pytest.mark.parametrize(("size", "rate"), [((320, 180), 10), ((640, 480), 5), ((1280, 720), 5)])
def test_size_and_rate_as_wished(size: tuple[int, int], rate: int) -> None:
    with opened("webcam:0?size={}x{}&rate={}".format(*size, rate)) as source:
        assert (source.info.width, source.info.height, source.info.rate) == (*size, Fraction(rate))
        frames = take(iter(source), 8)
        steps = [float(later.seconds - earlier.seconds) for earlier, later in itertools.pairwise(frames)]
        # An emulated camera leaves pictures out, and makes none up.
        assert fmean(steps) > 0.7 / rate


def test_an_encoding_that_it_does_not_offer() -> None:
    with pytest.raises(SourceError, match="does not offer 640×480 as mjpeg"):
        opened("webcam:0?size=640x480&encoding=mjpeg")


def test_a_node_that_gives_no_pictures() -> None:
    with pytest.raises(SourceError, match="is no camera"):
        opened("/dev/video3")


def test_a_camera_that_there_is_not() -> None:
    with pytest.raises(SourceNotFoundError, match=r"there are: webcam:0 \(vivid-000-vid-cap\), webcam:1"):
        opened("webcam:9")


def test_a_camera_that_one_may_not_open() -> None:
    Path("/dev/video0").chmod(0o600)
    os.seteuid(NOBODY)
    try:
        with pytest.raises(AccessDeniedError, match="permission denied"):
            opened()
    finally:
        os.seteuid(0)


def test_a_camera_that_another_program_has() -> None:
    with opened() as other:
        frames = iter(other)
        take(frames, 1)
        with pytest.raises(SourceLostError, match="another program"):
            opened()
        threading.Timer(3.0, other.close).start()
        with opened(wait=True) as source:
            assert take(iter(source), 2)


def test_a_driver_that_stalls_is_left_and_found_again() -> None:
    with opened(size="320x180", stall_timeout_seconds=5) as source:
        frames = iter(source)
        take(frames, 3)
        control(0, percentage_of_dropped_buffers=100)
        # Longer than the patience, so it stalls in the next connection too.
        threading.Timer(8.0, control, (0,), {"percentage_of_dropped_buffers": 0}).start()
        assert rises(until(frames, lambda frame: frame.discontinuity and source.status.reconnects))
        assert source.status.stalls >= 1


def test_a_driver_that_stalls_can_be_left_at_any_time() -> None:
    with nothing_left():
        source = opened(size="320x180", stall_timeout_seconds=600)
        frames = iter(source)
        take(frames, 3)
        control(0, percentage_of_dropped_buffers=100)
        try:
            threading.Timer(2.0, source.close).start()
            list(frames)
        finally:
            control(0, percentage_of_dropped_buffers=0)


def test_a_driver_that_fails() -> None:
    with opened("webcam:1?size=320x180") as source:
        frames = iter(source)
        take(frames, 3)
        control(1, inject_fatal_streaming_error=1)
        assert rises(until(frames, is_marked))
        assert "the camera failed" in (source.status.last_error or "")


def test_unplugged_and_plugged_in_again() -> None:
    with nothing_left(), opened("webcam:1?size=320x180") as source:
        frames = iter(source)
        take(frames, 3)
        control(1, disconnect=1)
        assert rises(until(frames, is_marked))
        assert "unplugged" in (source.status.last_error or "")


@pytest.mark.parametrize(
    ("wish", "codec"),
    [
        ("", "rawvideo"),
        ("?size=320x240&rate=15", "rawvideo"),
        ("?size=320x240&encoding=mjpeg", "mjpeg"),
        ("?size=1280x720&rate=15", "mjpeg"),
        ("?size=1280x720&encoding=raw", "rawvideo"),
    ],
)
def test_usb_sends_compressed_pictures_where_raw_ones_would_be_slow(usb: UsbCamera, wish: str, codec: str) -> None:
    with nothing_left(), opened(f"{usb.node}{wish}") as source:
        assert source.info.codec == codec
        if "size" in wish:
            assert f"size={source.info.width}x{source.info.height}" in wish
        frames = take(iter(source), 5)
        assert rises(frames)
        # The pattern grows brighter to the right and moves, whatever carries it.
        sent = [plane_of(picture) for picture in media.pattern(4, source.info.width, source.info.height)]
        if source.info.format.range == "full":
            sent = [(plane - 16) * (255 / 219) for plane in sent]
        assert min(np.abs(frames[-1].planes[0].astype(int) - each).mean() for each in sent) < 10


def test_usb_does_not_offer_every_size(usb: UsbCamera) -> None:
    with pytest.raises(SourceError, match="does not offer 500×400"):
        opened(f"{usb.node}?size=500x400")


def test_usb_gives_the_rate_that_it_has(usb: UsbCamera) -> None:
    with opened(f"{usb.node}?size=320x240&rate=60") as source:
        assert source.info.rate is not None
        assert round(source.info.rate) == 15


def test_usb_unplugged_and_plugged_in_again(usb: UsbCamera) -> None:
    with opened(f"{usb.node}?size=320x240") as source:
        frames = iter(source)
        take(frames, 3)
        usb.unplug()
        threading.Timer(4.0, usb.plug).start()
        seen = until(frames, is_marked)
        assert rises([*seen, *take(frames, 2)])
        assert source.status.reconnects == 1


def test_usb_unplugged_for_good(usb: UsbCamera) -> None:
    with opened(f"{usb.node}?size=320x240", max_retries=2) as source:
        frames = iter(source)
        kept = take(frames, 3)
        usb.unplug()
        with pytest.raises(SourceLostError, match=r"no such camera.*gave up after 2 tries"):
            list(frames)
        assert [int(frame.planes[0].max()) for frame in kept], "what it gave is still there"
    assert usb.node is None


def test_usb_sends_nothing_any_more(usb: UsbCamera) -> None:
    with opened(f"{usb.node}?size=320x240", stall_timeout_seconds=5) as source:
        frames = iter(source)
        take(frames, 3)
        usb.frozen = True
        threading.Timer(8.0, setattr, (usb, "frozen", False)).start()
        assert rises(until(frames, lambda frame: frame.discontinuity and source.status.reconnects))
        assert source.status.stalls >= 1


def test_usb_is_listed_once(usb: UsbCamera) -> None:
    # It has a second node, for metadata.
    assert [device.path for device in list_devices() if usb_camera.NAME in device.name] == [str(usb.node)]
