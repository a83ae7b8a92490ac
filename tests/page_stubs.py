"""A studio without a network, and frames that say which they are, for tests of the page's server half."""

from __future__ import annotations

import io
import json
import struct
import time
from dataclasses import dataclass, field
from fractions import Fraction
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
from PIL import Image

from streams.frame import Frame, PixelFormat
from streams.sources import PushedSource
from vsr.app.page.stage import Pair, Stage
from vsr.errors import ConfigError

GRAY = PixelFormat(subsampling="gray", range="full")
TICK = Fraction(1, 90_000)


def plain(value: int, *, width: int = 64, height: int = 48, pts: int = 0) -> Frame:
    """A gray frame of one brightness, 0 to 255."""
    return Frame(planes=(np.full((height, width), value, np.uint8),), format=GRAY, pts=pts, time_base=TICK)


def pair_of(value: int, *, width: int = 64, height: int = 48) -> Pair:
    """The brightness ``value`` made half as bright again; what interpolates it keeps the brightness."""
    return Pair(
        small=plain(value, width=width // 2, height=height // 2),
        large=plain(value + value // 2, width=width, height=height),
        network="stub",
        arrived=time.monotonic(),
    )


def interpolated(small: Frame) -> Frame:
    """Every sample twice, in each direction."""
    return plain(int(small.planes[0][0, 0]), width=2 * small.width, height=2 * small.height, pts=small.pts)


def pixels(jpeg: bytes) -> npt.NDArray[np.int32]:
    return np.asarray(Image.open(io.BytesIO(jpeg)).convert("RGB"), np.int32)


def jpeg(value: int = 128, *, width: int = 64, height: int = 48, mode: str = "RGB", **options: Any) -> bytes:
    buffer = io.BytesIO()
    Image.new(mode, (width, height), value if mode == "L" else (value,) * len(mode)).save(buffer, "JPEG", **options)
    return buffer.getvalue()


@dataclass
class Seen:
    """What a binary message holds."""

    header: dict[str, Any]
    parts: dict[str, bytes]

    @property
    def number(self) -> int:
        return self.header["number"]

    @classmethod
    def unpack(cls, message: bytes) -> Seen:
        (length,) = struct.unpack_from(">I", message)
        header, offset, parts = json.loads(message[4 : 4 + length]), 4 + length, {}
        for part in header["parts"]:
            parts[part["kind"]] = message[offset : offset + part["bytes"]]
            offset += part["bytes"]
        assert offset == len(message)
        return cls(header, parts)


@dataclass
class StubStudio:
    """What the routes ask a studio for."""

    stage: Stage = field(default_factory=lambda: Stage(interpolated))
    camera: PushedSource = field(default_factory=PushedSource)
    files: dict[tuple[str, str], Path] = field(default_factory=dict)
    cameras: int = 0
    phase: str = "idle"

    def state(self) -> dict[str, Any]:
        return {"phase": self.phase}

    def push_camera(self) -> PushedSource:
        self.cameras += 1
        if self.cameras > 1:
            raise ConfigError("another browser's camera is shown already")
        return self.camera

    def recording(self, token: str, name: str) -> Path | None:
        return self.files.get((token, name))
