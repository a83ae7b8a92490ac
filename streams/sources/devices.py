"""Cameras of this computer: which there are, and how FFmpeg calls them on each system."""

from __future__ import annotations

import logging
import os
import re
import struct
import sys
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

import av

log = logging.getLogger(__name__)

_FORMATS = {"linux": "v4l2", "darwin": "avfoundation", "win32": "dshow"}
_SYS = Path("/sys/class/video4linux")
# linux/videodev2.h: VIDIOC_QUERYCAP, and where its 104 bytes say what the opened node does.
_QUERY_CAPABILITY = 0x80685600
_CAPABILITY_SIZE, _DEVICE_CAPS_OFFSET = 104, 88
_CAPTURES, _CAPTURES_MULTIPLANAR = 0x1, 0x1000


@dataclass(frozen=True, slots=True, kw_only=True)
class Device:
    """A camera.

    Attributes:
        address: what :func:`streams.open_source` takes: ``webcam:0``, ``webcam:1``, …
        name: as the system calls it.
        path: what FFmpeg opens, in the words of ``format``.
        format: FFmpeg's input format: ``v4l2``, ``avfoundation`` or ``dshow``.
    """

    address: str
    name: str
    path: str
    format: str


def list_devices(*, platform: str = sys.platform) -> tuple[Device, ...]:
    """The cameras that can be opened now; empty where there are none, or where the system cannot say."""
    if platform == "linux":
        return _list_v4l2()
    form = device_format(platform)
    try:
        found = [d for d in av.enumerate_input_devices(form) if "video" in (d.media_types or ["video"])]
    except (av.FFmpegError, ValueError, OSError) as error:
        log.debug("this FFmpeg cannot list %s devices: %s", form, error)
        return ()
    return tuple(
        Device(
            address=f"webcam:{index}",
            name=device.description or device.name,
            path=f"video={device.name}" if form == "dshow" else f"{index}:none",
            format=form,
        )
        for index, device in enumerate(found)
    )


def device_format(platform: str = sys.platform) -> str:
    """FFmpeg's input format for cameras on a system."""
    return _FORMATS.get(platform, "v4l2")


def device_path(camera: str, *, platform: str = sys.platform) -> str:
    """What FFmpeg opens for the number of a camera, or for the system's own name of one."""
    if not camera.isdecimal():
        return f"video={camera}" if platform == "win32" and not camera.startswith("video=") else camera
    if platform == "linux":
        return f"/dev/video{camera}"
    if platform == "darwin":
        return f"{camera}:none"
    devices = list_devices(platform=platform)
    return devices[int(camera)].path if int(camera) < len(devices) else f"video={camera}"


def _list_v4l2() -> tuple[Device, ...]:
    nodes = sorted((int(node.name[5:]), node) for node in _SYS.glob("video*") if re.fullmatch(r"video\d+", node.name))
    return tuple(
        Device(address=f"webcam:{number}", name=_read(node / "name"), path=f"/dev/video{number}", format="v4l2")
        for number, node in nodes
        if _captures(f"/dev/video{number}", node)
    )


def _captures(path: str, node: Path) -> bool:
    """Whether a node gives pictures; cameras have others, for metadata."""
    try:
        return bool(_capabilities(path) & (_CAPTURES | _CAPTURES_MULTIPLANAR))
    except OSError:
        # Of a node that may not be opened its place among those of its camera tells: the first one captures.
        return _read(node / "index") in {"", "0"}


def _capabilities(path: str) -> int:
    import fcntl  # not on every system

    descriptor = os.open(path, os.O_RDWR | os.O_NONBLOCK)
    try:
        answer = fcntl.ioctl(descriptor, _QUERY_CAPABILITY, bytes(_CAPABILITY_SIZE))
    finally:
        os.close(descriptor)
    capabilities: int = struct.unpack_from("=I", answer, _DEVICE_CAPS_OFFSET)[0]
    return capabilities


def _read(path: Path) -> str:
    with suppress(OSError):
        return path.read_text(encoding="utf-8", errors="replace").strip()
    return ""
