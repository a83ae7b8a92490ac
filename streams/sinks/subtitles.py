"""Text subtitles from one container's format into another's.

The text, its lines, and bold, italic and underlined runs survive. Positions, fonts, colours, karaoke and drawings of
ASS have no place in the simpler formats and are lost; :data:`STYLING_LOSS` is how a plan says so.
"""

from __future__ import annotations

import logging
from typing import Any

import av
from av.subtitles.subtitle import SubtitleSet

log = logging.getLogger(__name__)

TEXT_FORMATS = frozenset(
    {"ass", "ssa", "subrip", "srt", "webvtt", "mov_text", "text", "microdvd", "sami", "realtext", "subviewer", "mpl2"}
)
"""FFmpeg's names, of codecs and of decoders, of the subtitles that are text."""

STYLING_LOSS = "positions, fonts and colours are lost"

_HEADER = (
    "[Script Info]\nScriptType: v4.00+\nPlayResX: 384\nPlayResY: 288\n\n[V4+ Styles]\n"
    "Format: Name, Fontname, Fontsize, PrimaryColour, SecondaryColour, OutlineColour, BackColour, Bold, Italic, "
    "Underline, StrikeOut, ScaleX, ScaleY, Spacing, Angle, BorderStyle, Outline, Shadow, Alignment, MarginL, MarginR, "
    "MarginV, Encoding\n"
    "Style: Default,Arial,16,&Hffffff,&Hffffff,&H0,&H0,0,0,0,0,100,100,0,0,1,1,0,2,10,10,10,1\n\n[Events]\n"
    "Format: Layer, Start, End, Style, Name, MarginL, MarginR, MarginV, Effect, Text\n\0"
)
# What FFmpeg's ASS encoders and decoders pass to each other: ReadOrder, Layer, Style, Name, three margins, Effect.
_EVENT_FIELDS = 8
_EVENT_PREFIX = "0,0,Default,,0,0,0,,"


class SubtitleConverter:
    """Turns the packets of one text subtitle stream into packets of another format, one for one.

    Attributes:
        damaged: how many were not in UTF-8: they were read as Windows-1252, or left out if that did not help.
    """

    def __init__(self, template: Any, *, output: Any, codec: str) -> None:
        self.stream = output.add_stream(codec)
        self.stream.codec_context.subtitle_header = _HEADER.encode()
        self._encoder = self.stream.codec_context
        # A decoder of its own: the template's belongs to the thread that reads the input.
        self._decoder: Any = av.CodecContext.create(template.codec_context.name, "r")
        if template.codec_context.extradata:
            self._decoder.extradata = template.codec_context.extradata
        self.damaged = 0

    def convert(self, packet: Any) -> Any | None:
        """The same words at the same time; None where there are none (MP4 fills its gaps with empty ones)."""
        try:
            return self._converted(packet)
        except (av.FFmpegError, ValueError) as error:
            self._count_damaged(error)
        # What is not UTF-8, FFmpeg refuses; most of it is Western text of the time before.
        mended = av.Packet(bytes(packet).decode("cp1252", errors="replace").encode())
        mended.pts, mended.dts, mended.duration = packet.pts, packet.dts, packet.duration
        mended.time_base = packet.time_base
        try:
            return self._converted(mended)
        except (av.FFmpegError, ValueError) as error:
            log.debug("a subtitle is left out: %s", error)
            return None

    def _converted(self, packet: Any) -> Any | None:
        text = self._text(packet)
        if not text.strip():
            return None
        event = SubtitleSet.create((_EVENT_PREFIX + text).encode(), start=0, end=1, pts=0)
        result = self._encoder.encode_subtitle(event)
        result.pts = result.dts = packet.pts
        result.duration = packet.duration
        result.time_base = packet.time_base
        return result

    def _count_damaged(self, error: Exception) -> None:
        if not self.damaged:
            log.warning("subtitles are not in UTF-8 or damaged (%s): read as Windows-1252, or left out", error)
        self.damaged += 1

    def _text(self, packet: Any) -> str:
        decoded = self._decoder.decode2(packet)
        events = [rectangle.ass.decode(errors="replace") for rectangle in decoded or () if hasattr(rectangle, "ass")]
        return r"\N".join(event.split(",", _EVENT_FIELDS)[-1] for event in events)
