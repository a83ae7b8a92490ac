"""The shape of the samples in Matroska and WebM, written into the finished file.

FFmpeg writes the display size of a Matroska video from a field of its stream that PyAV cannot set, and VP9, AV1 and
FFV1 have no place of their own for it. So the header is written with a name of the track that is longer than it need
be, and when the file is done those spare bytes become the display size. Nothing else in the file moves.
"""

from __future__ import annotations

import zlib
from collections.abc import Iterator
from fractions import Fraction
from pathlib import Path

SPARE = " " * 48
"""What the title of the video track has to end with."""

_SEGMENT, _TRACKS, _TRACK, _VIDEO, _NAME, _CRC, _VOID = (
    bytes.fromhex(key) for key in ("18538067", "1654AE6B", "AE", "E0", "536E", "BF", "EC")
)
_DISPLAY_SIZE = (bytes.fromhex("54B0"), bytes.fromhex("54BA"))
_DISPLAY_UNIT = bytes.fromhex("54B2")
# The tracks come before everything that can be large.
_HEADER_BYTES = 1 << 20


def state_aspect(path: Path, *, width: int, height: int, aspect: Fraction) -> None:
    """Give the first track of a Matroska file the display size of ``width`` × ``aspect`` by ``height`` pixels.

    A file that was not written with :data:`SPARE` in the title of its first track is left as it is.
    """
    with path.open("r+b") as file:
        head = bytearray(file.read(_HEADER_BYTES))
        tracks, track = _find(head, _SEGMENT, _TRACKS), _find(head, _SEGMENT, _TRACKS, _TRACK)
        if tracks is None or track is None:
            return
        entry = _entry(bytes(head[slice(*track)]), size=(max(1, round(width * aspect)), height))
        if len(entry) != track[1] - track[0]:
            return
        head[slice(*track)] = entry
        _renew_checksum(head, *tracks)
        file.seek(tracks[0])
        file.write(head[slice(*tracks)])


def _renew_checksum(head: bytearray, start: int, end: int) -> None:
    key, first, last = next(_spans(head, start, end))
    if key == _CRC:
        head[first:last] = zlib.crc32(head[last:end]).to_bytes(4, "little")


def _entry(entry: bytes, *, size: tuple[int, int]) -> bytes:
    parts = []
    for key, data in _children(entry):
        if key == _NAME and data.endswith(SPARE.encode()):
            name = data.removesuffix(SPARE.encode())
            parts += [_element(_NAME, name)] if name else []
        elif key == _VIDEO:
            kept = [_element(*part) for part in _children(data) if part[0] not in (*_DISPLAY_SIZE, _DISPLAY_UNIT)]
            shown = [_element(*part) for part in zip(_DISPLAY_SIZE, map(_four_bytes, size), strict=True)]
            parts.append(_element(_VIDEO, b"".join(kept + shown)))
        else:
            parts.append(_element(key, data))
    body = b"".join(parts)
    spare = len(entry) - len(body)
    # A void element has two bytes at least: its key and its length.
    return body + _element(_VOID, bytes(spare - 2)) if 2 <= spare < 120 else body


def _find(data: bytes | bytearray, *path: bytes) -> tuple[int, int] | None:
    """Where the content of the first element at that path lies, or None."""
    start, end = 0, len(data)
    for wanted in path:
        found = next(((first, last) for key, first, last in _spans(data, start, end) if key == wanted), None)
        if found is None:
            return None
        start, end = found[0], min(found[1], len(data))
    return start, end


def _children(data: bytes) -> Iterator[tuple[bytes, bytes]]:
    for key, start, end in _spans(data, 0, len(data)):
        yield key, data[start:end]


def _spans(data: bytes | bytearray, position: int, end: int) -> Iterator[tuple[bytes, int, int]]:
    while position + 2 <= end:
        key_length = 9 - data[position].bit_length()
        key = bytes(data[position : position + key_length])
        position += key_length
        size_length = 9 - data[position].bit_length()
        marker = 1 << (7 * size_length)
        size = int.from_bytes(data[position : position + size_length], "big") - marker
        position += size_length
        # All ones: the size is not known, the element goes on to the end.
        last = end if size == marker - 1 else position + size
        yield key, position, last
        position = last


def _four_bytes(number: int) -> bytes:
    return number.to_bytes(4, "big")


def _element(key: bytes, data: bytes) -> bytes:
    length = next(n for n in range(1, 9) if len(data) < (1 << (7 * n)) - 1)
    return key + (len(data) | 1 << (7 * length)).to_bytes(length, "big") + data
