"""One file, playlist or connection of live video: opened for one geometry, written from its first frame on."""

from __future__ import annotations

import logging
from collections.abc import Iterator, Mapping
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
from streams.sinks.remux import Carrier, plan_streams
from streams.sinks.tags import container_tags
from streams.sinks.timeline import Timeline
from streams.sinks.track import VideoTrack, choose_encoder
from streams.sources.base import SourceInfo

log = logging.getLogger(__name__)


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
        bounded: bound the rate and choose a format that every receiver takes; ``bits_per_second`` says which rate.
        sound: copy the other streams that the container holds.

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
        sound: bool = False,
    ) -> None:
        width, height, form = geometry
        self.geometry = geometry
        self.name = name
        self.timeline = Timeline(time_base)
        self.frames = 0
        self._key_due = 0
        encoder = choose_encoder(container, form, options=options)
        options = live_options(options, encoder=encoder, rate=info.rate)
        if bounded:
            options = network_options(
                options, encoder=encoder, rate=info.rate, pixels=width * height, bits_per_second=bits_per_second
            )
        info = replace(info, time_base=time_base, streams=info.streams if sound else ())
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
            self._carriers: dict[int, Carrier] = {}
            self._start(container, info)

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

    def copy(self, item: Packet) -> None:
        """Write a packet of another stream, if it is carried and lies behind the first frame.

        Raises:
            SinkError: the target refused it.
        """
        carrier = self._carriers.get(item.stream)
        if carrier is None or not self.frames or item.payload.pts is None:
            return
        shift = self.timeline.shift
        if item.payload.pts * item.payload.time_base + shift < 0:
            return
        with self._translated():
            packet = carrier.carry(item.payload, shift=shift)
            if packet is not None:
                self._output.mux_one(packet)

    def close(self) -> None:
        """Flush the encoder and write the end.

        Raises:
            SinkError: the target refused it.
        """
        with self._translated():
            try:
                for packet in self._track.flush():
                    self._output.mux_one(packet)
            finally:
                self._output.close()

    def abort(self) -> None:
        """Write what can still be written. Never raises."""
        try:
            self.close()
        except StreamError as error:
            log.debug("%s", error)

    def _start(self, container: Container, info: SourceInfo) -> None:
        self._output.metadata.update(container_tags(info.metadata))
        self._track.add_to(self._output)
        for plan in plan_streams(container, info):
            if plan.action == "copy" and plan.stream.kind == "audio":
                self._carriers[plan.stream.index] = Carrier(plan, output=self._output, container=container)
            else:
                log.info("%s is not recorded", plan.stream)
        self._output.start_encoding()

    @contextmanager
    def _translated(self) -> Iterator[None]:
        try:
            yield
        except StreamError:
            raise
        except (av.FFmpegError, OSError, ValueError) as error:
            words = getattr(error, "strerror", None) or error
            raise SinkError(f"cannot write {self.name}: {redact(words)}") from error
