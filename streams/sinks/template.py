"""A stream made from nothing, for the facts that PyAV can copy and cannot set.

A container's own HDR boxes and chroma location are written from the parameters of the stream. PyAV copies them from
the stream of an input and has no way to set them. So the few bytes of a Matroska header that state them are made here
and opened as an input; its one stream, which has no packets, is the template of the stream to be written.
"""

from __future__ import annotations

import io
import struct
from collections.abc import Mapping
from types import MappingProxyType
from typing import Any

import av

from streams.frame import PixelFormat
from streams.sinks.hdr import Hdr

MATROSKA_CODECS: Mapping[str, str] = MappingProxyType(
    {
        "h264": "V_MPEG4/ISO/AVC",
        "hevc": "V_MPEGH/ISO/HEVC",
        "av1": "V_AV1",
        "vp9": "V_VP9",
        "ffv1": "V_FFV1",
        "prores": "V_PRORES",
    }
)

# (ChromaSitingHorz, ChromaSitingVert) of the Matroska specification: 1 is at the left or top sample, 2 in the middle.
_CHROMA_SITING: Mapping[str, tuple[int, int]] = MappingProxyType({"left": (1, 2), "center": (2, 2), "topleft": (1, 1)})


def open_template(codec: str, *, width: int, height: int, format: PixelFormat, hdr: Hdr) -> Any:  # noqa: A002
    """An ``av`` input whose only stream has that codec (FFmpeg's name), size, chroma location and HDR side data."""
    entry = [
        _number("D7", 1),
        _number("73C5", 1),
        _number("83", 1),
        _element("86", MATROSKA_CODECS[codec].encode()),
        _element("E0", _number("B0", width), _number("BA", height), _element("55B0", *_colour(format, hdr))),
    ]
    if codec == "prores":
        entry.append(_element("63A2", b"apch"))
    document = _element(
        "1A45DFA3",
        *(_number(key, value) for key, value in (("4286", 1), ("42F7", 1), ("42F2", 4), ("42F3", 8))),
        _element("4282", b"matroska"),
        *(_number(key, value) for key, value in (("4287", 4), ("4285", 2))),
    ) + _element(
        "18538067",
        _element("1549A966", _number("2AD7B1", 1_000_000), _element("4D80", b"-"), _element("5741", b"-")),
        _element("1654AE6B", _element("AE", *entry)),
        _element("1F43B675", _number("E7", 0)),
    )
    return av.open(io.BytesIO(document), format="matroska")


def _colour(form: PixelFormat, hdr: Hdr) -> list[bytes]:
    parts = []
    if form.subsampling == "420":
        across, down = _CHROMA_SITING[form.chroma_location]
        parts += [_number("55B7", across), _number("55B8", down)]
    if hdr.light is not None:
        parts += [_number("55BC", hdr.light[0]), _number("55BD", hdr.light[1])]
    if hdr.points:
        parts.append(_element("55D0", *_mastering(hdr)))
    return parts


def _mastering(hdr: Hdr) -> list[bytes]:
    least, most = hdr.luminance
    values = (*(value for point in hdr.points for value in point), most, least)
    return [_element(f"55{0xD1 + index:X}", struct.pack(">d", float(value))) for index, value in enumerate(values)]


def _number(key: str, value: int) -> bytes:
    return _element(key, value.to_bytes(max(1, (value.bit_length() + 7) // 8), "big"))


def _element(key: str, *parts: bytes) -> bytes:
    body = b"".join(parts)
    return bytes.fromhex(key) + (len(body) | 1 << 56).to_bytes(8, "big") + body
