"""The sound of live video: copied where the container takes it as it is, otherwise encoded anew."""

from __future__ import annotations

import io
import logging
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import replace
from fractions import Fraction
from typing import Any, Protocol

import av

from streams.sinks.containers import Container, add_copy, header_fits
from streams.sinks.remux import Carrier, StreamPlan, plan_streams
from streams.sources.base import SourceInfo, StreamInfo

log = logging.getLogger(__name__)

_BITS_PER_SECOND = 64_000
"""For each channel."""
_RATES = (48_000, 44_100)
"""What every player takes, in samples per second; the first is for sound of another rate. An encoder works in pieces of
so many samples: those of a telephone's sound would last long, and all that time pictures would wait for them."""
# Decoders of these need to be told what they get before the first packet, which containers store apart.
_CONFIGURED = frozenset({"aac", "alac", "flac", "opus", "vorbis"})


class Voice(Protocol):
    """What makes of the packets of one stream of sound those of one stream of an output."""

    stream: Any

    def carry(self, payload: Any, *, shift: Fraction) -> Iterable[Any]:
        """The packets to write that are ready once ``payload`` is in, ``shift`` seconds later than it says."""
        ...

    def flush(self) -> Iterable[Any]:
        """Those that were held back."""
        ...


def plan_voices(container: Container, info: SourceInfo, *, muxer_options: Mapping[str, str]) -> list[StreamPlan]:
    """The streams of sound of ``info``, each to be copied, or to be encoded anew: ``convert``.

    ``muxer_options`` are those of the output: MP4 in fragments takes less than MP4.
    """
    plans = []
    for plan in plan_streams(container, info):
        template = plan.stream.template
        if plan.stream.kind != "audio" or template is None or template.codec_context is None:
            log.info("%s is not written", plan.stream)
        elif plan.action == "copy" and _can_be_copied(container, template, muxer_options):
            plans.append(plan)
        else:
            plans.append(replace(plan, action="convert", target=container.sound_codec))
    return plans


def only_best_sound(info: SourceInfo) -> SourceInfo:
    """``info`` with the first stream of sound alone: what is watched live has one."""
    return replace(info, streams=tuple(stream for stream in info.streams if stream.kind == "audio")[:1])


def make_voice(plan: StreamPlan, *, output: Any, container: Container) -> Voice | None:
    """The stream in ``output``; None where the sound cannot be decoded here."""
    if plan.action == "copy":
        return _Copied(plan, output=output, container=container)
    try:
        return _Encoded(plan.stream, output=output, codec=container.sound_codec)
    except (av.FFmpegError, ValueError) as error:
        log.warning("%s cannot be encoded anew and is left out: %s", plan.stream, error)
        return None


class _Copied:
    def __init__(self, plan: StreamPlan, *, output: Any, container: Container) -> None:
        self._carrier = Carrier(plan, output=output, container=container)
        self.stream = self._carrier.stream

    def carry(self, payload: Any, *, shift: Fraction) -> Iterator[Any]:
        packet = self._carrier.carry(_own(payload), shift=shift)
        if packet is not None:
            yield packet

    def flush(self) -> Iterator[Any]:
        yield from ()


class _Encoded:
    """Decodes, and encodes in pieces that each have the time of their first sample: gaps stay, and nothing drifts."""

    def __init__(self, stream: StreamInfo, *, output: Any, codec: str) -> None:
        self._name = str(stream)
        # Of a container that is never written: a decoder of one's own, with all that the template says.
        self._decoder = add_copy(av.open(io.BytesIO(), "w", format="mpegts"), stream.template).codec_context
        rate = self._decoder.sample_rate if self._decoder.sample_rate in _rates_of(codec) else _RATES[0]
        channels = min(2, self._decoder.layout.nb_channels)
        layout = ("mono", "stereo")[channels - 1]
        self.stream = output.add_stream(codec, rate=rate, layout=layout, bit_rate=channels * _BITS_PER_SECOND)
        self._resampler: Any = None
        self._kind: tuple[str, str, int] | None = None
        self._last = -1
        self._begun = self._told = False

    def carry(self, payload: Any, *, shift: Fraction) -> Iterator[Any]:
        try:
            for sound in self._decoder.decode(_own(payload)):
                yield from self._encode(sound, shift=shift)
        except (av.FFmpegError, ValueError) as error:
            level = logging.DEBUG if self._told else logging.WARNING
            self._told = True
            log.log(level, "a part of %s cannot be encoded and is left out: %s", self._name, error)

    def flush(self) -> Iterator[Any]:
        if self._begun:
            yield from self._resample(None)
            yield from self._rising(self.stream.encode(None))

    def _encode(self, sound: av.AudioFrame, *, shift: Fraction) -> Iterator[Any]:
        if sound.pts is None or sound.time_base is None:
            return
        tick = Fraction(1, sound.sample_rate)
        sound.pts, sound.time_base = round((sound.pts * Fraction(sound.time_base) + shift) / tick), tick
        kind = (sound.format.name, sound.layout.name, sound.sample_rate)
        if kind != self._kind:
            # A broadcast goes from stereo to surround and back; the encoder bears no change of what it gets.
            yield from self._resample(None)
            context, self._kind = self.stream.codec_context, kind
            self._resampler = av.AudioResampler(format=context.format, layout=context.layout, rate=context.sample_rate)
        self._begun = True
        yield from self._resample(sound)

    def _resample(self, sound: av.AudioFrame | None) -> Iterator[Any]:
        for piece in self._resampler.resample(sound) if self._resampler is not None else ():
            if piece is not None:
                yield from self._rising(self.stream.encode(piece))

    def _rising(self, packets: Iterable[Any]) -> Iterator[Any]:
        for packet in packets:
            # What the encoder puts before the first sample has no place in the file.
            if packet.pts is None or packet.pts < 0:
                continue
            self._last = packet.pts = packet.dts = max(packet.pts, self._last + 1)
            yield packet


def _rates_of(codec: str) -> set[int]:
    return set(_RATES) & set(av.Codec(codec, "w").audio_rates or _RATES)


def _own(payload: Any) -> Any:
    """A copy that may be changed: the same packet may go into a second part, or another output."""
    packet: Any = av.Packet(bytes(payload))
    packet.pts, packet.dts, packet.time_base = payload.pts, payload.dts, payload.time_base
    packet.duration, packet.is_keyframe = payload.duration, payload.is_keyframe
    return packet


def _can_be_copied(container: Container, template: Any, muxer_options: Mapping[str, str]) -> bool:
    context = template.codec_context
    if context.codec.canonical_name in _CONFIGURED and not context.extradata:
        return False
    # Where receivers are known they were asked already.
    return bool(container.sounds) or header_fits(
        container, lambda output: add_copy(output, template), muxer_options=muxer_options
    )
