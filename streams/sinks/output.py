"""One file, playlist or connection of live video: opened for one geometry, written from its first frame on."""

from __future__ import annotations

import logging
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import replace
from fractions import Fraction
from typing import Any

import av

from streams.errors import SinkError, StreamError
from streams.frame import Frame, Packet, PixelFormat
from streams.redact import redact
from streams.sinks.containers import Container
from streams.sinks.encoders import EncoderOptions
from streams.sinks.lowlatency import KEY_SECONDS, live_options, network_options
from streams.sinks.remux import StreamPlan
from streams.sinks.sound import Voice, make_voice, plan_voices
from streams.sinks.tags import container_tags
from streams.sinks.timeline import Timeline
from streams.sinks.track import VideoTrack, choose_encoder
from streams.sources.base import SourceInfo

log = logging.getLogger(__name__)

_ANNOUNCEMENT_SECONDS = Fraction(1, 100)

TRIAL = SourceInfo(width=256, height=256, format=PixelFormat(), time_base=Fraction(1, 90_000), live=True)
"""An input as good as any, to try outputs with."""


def try_encoder(container: Container, *, options: EncoderOptions) -> None:
    """Open the encoder that an output would open, for small pictures, to see whether it takes its options.

    Raises:
        SinkError: it does not, or the container does not hold what it makes.
    """
    encoder = choose_encoder(container, TRIAL.format, options=options)
    VideoTrack(
        container,
        info=TRIAL,
        width=TRIAL.width,
        height=TRIAL.height,
        format=TRIAL.format,
        options=live_options(options, encoder=encoder, rate=None),
        sample_aspect_ratio=Fraction(1),
    )


class LiveOutput:
    """Encodes frames of one geometry at once, each at its own time, and writes them into one container.

    Args:
        target: an address or path as FFmpeg takes it, or an object with ``write(bytes)``.
        name: of the target in messages.
        container: what is written.
        info: what is known of the input; its rate is a hint only.
        geometry: ``(width, height, format)`` of the frames.
        options: for the encoder.
        aspect: of the samples.
        time_base: of the times written.
        muxer_options: of FFmpeg's writer.
        bounded: bound the rate and choose a format that every receiver takes.
        bits_per_second: where ``bounded``, the bound; None for one that suits the size and the rate of the pictures.
        sound_wait_seconds: how long pictures may wait for sound of their time, to lie beside it in a file; above 0.

    Raises:
        UnsupportedStreamError: the container cannot hold the codec, or the encoder not the format.
        SinkError: the target or the encoder cannot be opened.
    """

    def __init__(
        self,
        target: Any,
        *,
        name: str,
        container: Container,
        info: SourceInfo,
        geometry: tuple[int, int, PixelFormat],
        options: EncoderOptions,
        aspect: Fraction,
        time_base: Fraction,
        muxer_options: Mapping[str, str],
        bounded: bool = False,
        bits_per_second: int | None = None,
        sound_wait_seconds: float = 1e-6,
    ) -> None:
        width, height, form = geometry
        self.geometry = geometry
        self.name = name
        self.timeline = Timeline(time_base)
        self.frames = 0
        self._key_due = 0
        self._sound_from = Fraction(0)
        self._told = self._ended = False
        encoder = choose_encoder(container, form, options=options)
        options = live_options(options, encoder=encoder, rate=info.rate)
        if bounded:
            options = network_options(
                options, encoder=encoder, rate=info.rate, pixels=width * height, bits_per_second=bits_per_second
            )
        plans = plan_voices(container, info, muxer_options=muxer_options)
        info = replace(info, time_base=time_base, streams=())
        if plans:
            muxer_options = {**muxer_options, "max_interleave_delta": str(round(sound_wait_seconds * 1_000_000))}
        with self._translated():
            self._track = VideoTrack(
                container,
                info=info,
                width=width,
                height=height,
                format=form,
                options=options,
                sample_aspect_ratio=aspect,
            )
            self._output: Any = av.open(target, "w", format=container.muxer, container_options=dict(muxer_options))
            self._voices: dict[int, Voice] = {}
            self._start(container, info, plans)

    def write(self, frame: Frame, *, key: bool = False) -> None:
        """Encode a frame at its place on the timeline; with ``key`` as a key frame.

        Raises:
            SinkError: the encoder or the target refused it.
        """
        placed = self.timeline.place(frame)
        key = key or placed.pts >= self._key_due
        if key:
            self._key_due = placed.pts + round(KEY_SECONDS / placed.time_base)
        with self._translated():
            for packet in self._track.encode(placed, shift=Fraction(0), key=key):
                self._output.mux_one(packet)
        self.frames += 1

    def add_sound(self, item: Packet) -> None:
        """Write a packet of another stream, if it is sound and lies behind the first frame.

        Raises:
            SinkError: the target refused it.
        """
        voice, payload = self._voices.get(item.stream), item.payload
        if voice is None or not self.frames or payload.pts is None:
            return
        shift = self.timeline.shift
        if payload.pts * payload.time_base + shift >= self._sound_from:
            self._mux_sound(voice.carry(payload, shift=shift))

    def announce_sound(self) -> None:
        """Write a packet without content for each stream of sound: the first picture no longer waits for it."""
        for voice in self._voices.values():
            packet: Any = av.Packet(bytes(1))
            packet.pts = packet.dts = 0
            packet.time_base, packet.stream = voice.stream.time_base, voice.stream
            self._mux_sound((packet,))
        self._sound_from = _ANNOUNCEMENT_SECONDS

    def end_pictures(self) -> None:
        """Flush the encoder: nothing more comes but sound.

        Raises:
            SinkError: the target refused it.
        """
        if self._ended:
            return
        self._ended = True
        with self._translated():
            for packet in self._track.flush():
                self._output.mux_one(packet)

    def close(self) -> None:
        """Flush the encoder and write the end.

        Raises:
            SinkError: the target refused it.
        """
        with self._translated():
            try:
                self.end_pictures()
                for voice in self._voices.values():
                    self._mux_sound(voice.flush())
            finally:
                self._output.close()

    def abort(self) -> None:
        """Write what can still be written. Never raises."""
        try:
            self.close()
        except StreamError as error:
            log.debug("%s", error)

    def _start(self, container: Container, info: SourceInfo, plans: Iterable[StreamPlan]) -> None:
        self._output.metadata.update(container_tags(info.metadata))
        self._track.add_to(self._output)
        for plan in plans:
            voice = make_voice(plan, output=self._output, container=container)
            if voice is not None:
                log.info("%s: %s goes with the pictures", self.name, plan)
                self._voices[plan.stream.index] = voice
        self._output.start_encoding()

    def _mux_sound(self, packets: Iterable[Any]) -> None:
        with self._translated():
            for packet in packets:
                try:
                    self._output.mux_one(packet)
                except (av.InvalidDataError, ValueError) as error:
                    # The packet's fault, and not the target's: the pictures go on.
                    log.log(
                        logging.DEBUG if self._told else logging.WARNING, "%s: sound is left out: %s", self.name, error
                    )
                    self._told = True

    @contextmanager
    def _translated(self) -> Iterator[None]:
        try:
            yield
        except StreamError:
            raise
        except (av.FFmpegError, OSError, ValueError) as error:
            words = getattr(error, "strerror", None) or error
            raise SinkError(f"cannot write {self.name}: {redact(words)}") from error
