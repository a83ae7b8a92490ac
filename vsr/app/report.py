"""What a job did, for people and for programs."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from fractions import Fraction
from typing import Any


@dataclass(frozen=True, slots=True, kw_only=True)
class Progress:
    """Where a running job stands, given to ``on_progress`` after each frame that was written.

    Attributes:
        frames: written so far.
        total_frames: what the container promises, which may be wrong; None where it does not.
        elapsed_seconds: since the first frame was asked for.
        position_seconds: time of the frame just written, in seconds of the video.
    """

    frames: int
    total_frames: int | None
    elapsed_seconds: float
    position_seconds: float

    @property
    def fps(self) -> float:
        """Frames per second since the start."""
        return self.frames / self.elapsed_seconds if self.elapsed_seconds > 0 else 0.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Report:
    """What a finished job did.

    Attributes:
        input, output: paths.
        model: the network, and ``scale`` what it enlarges by.
        weights: the file that they came from, where they are not the shipped ones.
        blend: how much painted texture was asked for, where it was.
        device, precision: what it ran on, and ``reason`` why.
        input_size, output_size: (width, height) in luma samples, as stored.
        sample_aspect_ratio: of the output.
        format: of the pictures, in FFmpeg's words, the same before and behind the network.
        frames_in, frames_out: read and written.
        packets: written of the other streams.
        streams: what became of each of the other streams, in words; ``dropped`` those that the container cannot hold.
        repaired_timestamps: frames that had no usable time of their own.
        skipped_packets: of the video, too damaged to be decoded.
        damaged_subtitles: that had to be converted, and were read as Windows-1252 or left out.
        wall_seconds: from the first frame asked for until the output had its name.
        first_frame_seconds: until the first frame was written, for which the network is made ready.
        stage_ms: milliseconds per frame that each stage was busy.
        slowest_stage: the one that sets the speed.
        input_bytes, output_bytes: of the files.
        whole_frames: how many frames there would have been without ``max_frames``, where that is known.
    """

    input: str
    output: str
    model: str
    scale: int
    device: str
    precision: str
    reason: str
    input_size: tuple[int, int]
    output_size: tuple[int, int]
    sample_aspect_ratio: Fraction
    format: str
    frames_in: int
    frames_out: int
    packets: int
    streams: tuple[str, ...]
    dropped: tuple[str, ...]
    repaired_timestamps: int
    skipped_packets: int
    wall_seconds: float
    first_frame_seconds: float
    stage_ms: Mapping[str, float]
    slowest_stage: str
    input_bytes: int
    output_bytes: int
    whole_frames: int | None = None
    damaged_subtitles: int = 0
    weights: str | None = None
    blend: float | None = None

    @property
    def fps(self) -> float:
        """Frames written per second of wall time."""
        return self.frames_out / self.wall_seconds if self.wall_seconds > 0 else 0.0

    @property
    def whole_seconds(self) -> float | None:
        """How long the whole would take at this speed; None unless this was a sample of it."""
        if not self.whole_frames or not self.frames_out:
            return None
        rest, first = self.frames_out - 1, self.first_frame_seconds
        if not rest:
            return self.wall_seconds * self.whole_frames
        return first + (self.wall_seconds - first) * (self.whole_frames - 1) / rest

    @property
    def whole_bytes(self) -> int | None:
        """How large the whole would be at this rate; None unless this was a sample of it."""
        if not self.whole_frames or not self.frames_out:
            return None
        return round(self.output_bytes * self.whole_frames / self.frames_out)

    def as_dict(self) -> dict[str, Any]:
        """Everything above as plain numbers, strings, lists and dicts, ready for JSON."""
        plain = asdict(self) | {
            "sample_aspect_ratio": f"{self.sample_aspect_ratio.numerator}:{self.sample_aspect_ratio.denominator}",
            "stage_ms": dict(self.stage_ms),
            "fps": self.fps,
            "whole_seconds": self.whole_seconds,
            "whole_bytes": self.whole_bytes,
        }
        return {key: list(value) if isinstance(value, tuple) else value for key, value in plain.items()}
