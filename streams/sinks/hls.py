"""Live video as a folder of short files and a playlist of the newest, for any web server to hand out (HLS)."""

from __future__ import annotations

import re
from fractions import Fraction
from pathlib import Path

from streams.errors import SinkError, SinkExistsError, StreamError
from streams.frame import Frame, Item, PixelFormat
from streams.sinks.base import Sink, SinkState, SinkStatus
from streams.sinks.containers import Container
from streams.sinks.encoders import EncoderOptions, check_codec
from streams.sinks.lowlatency import KEY_SECONDS
from streams.sinks.output import LiveOutput
from streams.sinks.partial import check_writable
from streams.sinks.sound import only_best_sound
from streams.sources.base import SourceInfo

PLAYLIST = "index.m3u8"
_CODECS = ("h264", "h265")
CONTAINER = Container(
    name="HLS", muxer="hls", codecs=_CODECS[:1], text_subtitle="", trial="matroska", sounds=("aac", "mp3")
)
# So that both lie in the same segment.
_SOUND_WAIT_SECONDS = 0.2
_TICK = Fraction(1, 90_000)
_TS_PACKET_BYTES = 188
_LOOK_EVERY_FRAMES = 25


class HlsSink(Sink):
    """Keeps the newest seconds of live video as MPEG-TS segments in a folder; older segments are removed.

    Pictures of another size or format go on in the same playlist, behind a mark of discontinuity; so does a run that
    may ``overwrite`` the playlist of an earlier one. The first stream of sound goes with them, encoded anew where
    players would not take it as it is.

    Args:
        path: of the folder, or of the playlist in it (``.m3u8``); the folder is made with the first frame.
        info: what is known of the input.
        width, height, format: of the frames that will come first.
        options: for the encoder.
        overwrite: go on in a playlist that is there already.
        sample_aspect_ratio: of the output, otherwise the input's.
        segment_seconds: length of a segment, up to the next key frame; above 0.
        list_size: how many segments the playlist names, 2 or more.
        bits_per_second: how fast viewers read; otherwise by size and rate, 0.1 bit a pixel.

    Raises:
        SinkExistsError: the playlist is there, and ``overwrite`` is not set.
        UnsupportedStreamError: HLS does not hold the codec that was asked for.
        SinkError: the folder cannot be written into, or a number is out of range.
    """

    def __init__(
        self,
        path: str | Path,
        *,
        info: SourceInfo,
        width: int,
        height: int,
        format: PixelFormat,  # noqa: A002
        options: EncoderOptions | None = None,
        overwrite: bool = False,
        sample_aspect_ratio: Fraction | None = None,
        segment_seconds: float = KEY_SECONDS,
        list_size: int = 6,
        bits_per_second: int | None = None,
    ) -> None:
        if not segment_seconds > 0 or list_size < 2:
            raise SinkError(
                f"got {list_size} segments of {segment_seconds:g} s; allowed are 2 or more, of more than 0 s"
            )
        # From the root on: FFmpeg would take what is before a colon in the name for a scheme.
        path = Path(path).absolute()
        self.playlist = path if path.suffix.lower() == ".m3u8" else path / PLAYLIST
        self._info = info
        self._options = options or EncoderOptions()
        check_codec("HLS", _CODECS, options=self._options)
        self._aspect = sample_aspect_ratio if sample_aspect_ratio is not None else info.sample_aspect_ratio
        self._segment_seconds, self._list_size = segment_seconds, list_size
        self._bits_per_second = bits_per_second
        self._output: LiveOutput | None = None
        self._frames = 0
        self._listed = False
        self._state: SinkState = "running"
        self._error: str | None = None
        check_writable(next(folder for folder in self.playlist.parents if folder.exists()))
        if self.playlist.exists() and not overwrite:
            raise SinkExistsError(f"{self.playlist} exists; choose another folder or allow to --overwrite it")

    def write(self, item: Item) -> None:
        """Write a frame, or a packet of sound.

        Raises:
            SinkError: the encoder or the disk refused it; nothing can be written after.
        """
        if self._state != "running":
            raise SinkError(f"{self.playlist} is finished; nothing can be written any more")
        try:
            if not isinstance(item, Frame):
                if self._output is not None:
                    self._output.add_sound(item)
                return
            if self._output is None or item.geometry != self._output.geometry:
                self._begin(item)
            self._put(item)
        except StreamError as error:
            self._fail(error)
            raise

    def close(self) -> None:
        """Finish the last segment, and mark the playlist as ended.

        Raises:
            SinkError: the disk refused it.
        """
        if self._state != "running":
            self.abort()
            return
        self._state = "closed"
        output, self._output = self._output, None
        if output is not None:
            try:
                output.close()
                self._check_files()
            except SinkError as error:
                self._fail(error)
                raise

    def abort(self) -> None:
        """As :meth:`close`, and never raises."""
        if self._state == "running":
            self._state = "closed"
        output, self._output = self._output, None
        if output is not None:
            output.abort()

    def status(self) -> tuple[SinkStatus, ...]:
        """One entry."""
        return (SinkStatus(name=str(self.playlist), state=self._state, frames=self._frames, error=self._error),)

    def _fail(self, error: StreamError) -> None:
        self._state, self._error = "failed", str(error)

    def _put(self, frame: Frame) -> None:
        assert self._output is not None
        self._output.write(frame)
        self._frames += 1
        if self._frames % _LOOK_EVERY_FRAMES == 0 and (self._listed or self.playlist.exists()):
            self._check_files()

    def _check_files(self) -> None:
        """Whether the disk took the newest segment and the playlist: FFmpeg is silent about what it did not take."""
        self._listed = True
        try:
            names = [line for line in self.playlist.read_text(encoding="utf-8").splitlines() if line.endswith(".ts")]
            size = (self.playlist.parent / names[-1]).stat().st_size if names else 0
        except OSError as error:
            raise SinkError(f"cannot write {self.playlist}: {error.strerror}") from error
        if not size or size % _TS_PACKET_BYTES:
            raise SinkError(f"cannot write {self.playlist}: its newest files are cut off; is the disk full?")

    def _begin(self, frame: Frame) -> None:
        output, self._output = self._output, None
        if output is not None:
            output.close()
        self._make_folder()
        self._sweep()
        self._output = LiveOutput(
            str(self.playlist),
            name=str(self.playlist),
            container=CONTAINER,
            info=only_best_sound(self._info),
            geometry=frame.geometry,
            options=self._options,
            aspect=self._aspect,
            time_base=_TICK,
            muxer_options=self._muxer_options(),
            bounded=True,
            bits_per_second=self._bits_per_second,
            sound_wait_seconds=_SOUND_WAIT_SECONDS,
        )

    def _muxer_options(self) -> dict[str, str]:
        # Each file appears under its name only when it is whole: the web server sees no half of one.
        flags = "delete_segments+temp_file+independent_segments"
        if self.playlist.exists():
            flags += "+append_list"
        return {
            "hls_time": f"{self._segment_seconds:g}",
            "hls_list_size": str(self._list_size),
            "hls_flags": flags,
            "hls_segment_filename": f"{self.playlist.with_suffix('')}-%06d.ts",
        }

    def _make_folder(self) -> None:
        try:
            self.playlist.parent.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise SinkError(f"cannot make the folder {self.playlist.parent}: {error.strerror}") from error

    def _sweep(self) -> None:
        """Remove the segments that an earlier part left beside its playlist."""
        pattern = re.compile(re.escape(self.playlist.stem) + r"-\d{6,}\.ts(\.tmp)?")
        try:
            named = self.playlist.read_text(encoding="utf-8") if self.playlist.exists() else ""
            for path in self.playlist.parent.iterdir():
                if pattern.fullmatch(path.name) and path.name not in named.splitlines():
                    path.unlink(missing_ok=True)
        except OSError as error:
            raise SinkError(f"cannot tidy up {self.playlist.parent}: {error.strerror}") from error
