"""The kinds of file that can be written, and what each of them holds."""

from __future__ import annotations

import io
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from types import MappingProxyType
from typing import Any

import av

from streams.errors import UnsupportedStreamError


@dataclass(frozen=True, slots=True, kw_only=True)
class Container:
    """One kind of file.

    Attributes:
        name: as people say it.
        muxer: FFmpeg's name of its writer.
        codecs: friendly names of the video codecs to try, in this order, where none is asked for.
        text_subtitle: FFmpeg's name of the text subtitles that it holds.
        ticks_exactly: whether every time base comes out exactly; else times are rounded to milliseconds.
        cover: how a cover picture is kept: as a ``"stream"``, as an ``"attachment"``, or not at all.
        attachments: whether files (fonts) can be attached.
        trial: FFmpeg's name of the writer to ask instead what it holds, where ``muxer`` needs a peer to be asked.
        sounds: FFmpeg's names of the codecs of sound that receivers take; where there are none, the writer is asked.
        sound_codec: FFmpeg's name of the encoder for other sound, where it is encoded anew.
    """

    name: str
    muxer: str
    codecs: tuple[str, ...]
    text_subtitle: str
    ticks_exactly: bool = False
    cover: str | None = None
    attachments: bool = False
    trial: str = ""
    sounds: tuple[str, ...] = ()
    sound_codec: str = "aac"


CONTAINERS: Mapping[str, Container] = MappingProxyType(
    {
        ".mp4": Container(
            name="MP4", muxer="mp4", codecs=("h264",), text_subtitle="mov_text", ticks_exactly=True, cover="stream"
        ),
        ".mov": Container(name="MOV", muxer="mov", codecs=("h264",), text_subtitle="mov_text", ticks_exactly=True),
        ".mkv": Container(
            name="MKV",
            muxer="matroska",
            codecs=("h264",),
            text_subtitle="subrip",
            cover="attachment",
            attachments=True,
        ),
        ".webm": Container(
            name="WebM", muxer="webm", codecs=("vp9", "av1"), text_subtitle="webvtt", sound_codec="libopus"
        ),
    }
)

# Inputs that do not say which channel is which; MP4 wants to know for raw sound.
_USUAL_LAYOUTS = MappingProxyType({"1 channels": "mono", "2 channels": "stereo"})


def container_of(path: Path) -> Container:
    """The kind of file that the ending of a name asks for.

    Raises:
        UnsupportedStreamError: for an ending that is not one of :data:`CONTAINERS`.
    """
    try:
        return CONTAINERS[path.suffix.lower()]
    except KeyError:
        got = repr(path.suffix) if path.suffix else "no ending"
        raise UnsupportedStreamError(
            f"cannot tell the kind of file from {path.name!r} ({got}); allowed are {', '.join(CONTAINERS)}"
        ) from None


@cache
def holds_codec(container: Container, codec: str) -> bool:
    """Whether the writer has a place for a codec, encoder or decoder of that FFmpeg name."""
    with av.open(_Nowhere(), "w", format=container.trial or container.muxer) as output:
        return codec in output.supported_codecs


def holds_stream(container: Container, template: Any) -> bool:
    """Whether the container takes a stream like ``template`` as it is."""
    # FFmpeg writes a WebM file without a word about the attachments that are not in it.
    if template.type == "attachment" and not container.attachments:
        return False
    context = template.codec_context
    if template.type == "audio" and container.sounds:
        return context is not None and context.codec.canonical_name in container.sounds
    raw_sound = context is not None and context.name.startswith("pcm_")
    return header_fits(container, lambda output: add_copy(output, template), silence=raw_sound)


def header_fits(
    container: Container,
    add: Callable[[Any], Any],
    *,
    silence: bool = False,
    muxer_options: Mapping[str, str] = MappingProxyType({}),
) -> bool:
    """Whether a file can be written for the stream that ``add`` adds: tried out, into the void.

    ``silence`` adds a packet of zeros: MP4 refuses some raw sound only at the end, and only if there is any.
    """
    form = container.trial or container.muxer
    output = av.open(_Nowhere(), "w", format=form, container_options=dict(muxer_options))
    try:
        stream = add(output)
        output.start_encoding()
        if silence:
            packet = av.Packet(bytes(1 << 12))
            packet.pts, packet.dts, packet.stream = 0, 0, stream
            packet.time_base = stream.time_base
            output.mux_one(packet)
        output.close()
    except (av.FFmpegError, ValueError):
        return False
    return True


def add_copy(output: Any, template: Any) -> Any:
    """Add a stream with the coded parameters of ``template``, for packets that are not encoded anew."""
    if template.codec_context is None:
        return output.add_stream_from_template(template)
    stream = output.add_stream_from_template(template, opaque=True)
    if template.type == "audio" and template.codec_context.layout.name in _USUAL_LAYOUTS:
        stream.codec_context.layout = _USUAL_LAYOUTS[template.codec_context.layout.name]
    return stream


class _Nowhere(io.RawIOBase):
    """A seekable file that forgets what is written into it."""

    def __init__(self) -> None:
        super().__init__()
        self._position = 0
        self._end = 0

    def writable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return True

    def write(self, data: Any) -> int:
        self._position += len(data)
        self._end = max(self._end, self._position)
        return len(data)

    def seek(self, offset: int, whence: int = io.SEEK_SET) -> int:
        self._position = offset + (0, self._position, self._end)[whence]
        return self._position

    def tell(self) -> int:
        return self._position
