"""A small real clip out of scikit-image's bundled photographs, panned and zoomed, with a sound track.

It is made the same each time, so the true picture behind every frame is known: that is what demo and benchmark measure
against, and neither needs a download.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from fractions import Fraction
from functools import cache
from pathlib import Path

import av
import numpy as np
import numpy.typing as npt
from PIL import Image
from skimage import data

from vsr.resample import imresize

Rgb = npt.NDArray[np.uint8]

_PHOTOS: tuple[Callable[[], Rgb], ...] = (data.astronaut, data.coffee, data.chelsea, data.rocket)
_SOUND_RATE = 48_000


@dataclass(frozen=True, slots=True, kw_only=True)
class Clip:
    """What a clip shows: ``frames`` pictures of ``width`` × ``height`` at ``rate`` per second, in four shots."""

    width: int = 512
    height: int = 288
    frames: int = 96
    rate: int = 24

    def truth(self, index: int) -> Rgb:
        """The picture of frame ``index``, uint8 height×width×3."""
        shot, place = divmod(index * len(_PHOTOS), self.frames)
        photo = _photo(shot, self.width, self.height)
        return _window(photo, place / self.frames, self.width, self.height)

    def pictures(self, *, scale: int = 1) -> Iterator[Rgb]:
        """All pictures, shrunk by ``scale`` with antialiased bicubic."""
        for index in range(self.frames):
            picture = self.truth(index)
            yield picture if scale == 1 else np.asarray(imresize(picture, scale=1 / scale), dtype=np.uint8)


@cache
def _photo(shot: int, width: int, height: int) -> Image.Image:
    """A photograph at least as large as the window; enlarged only where the clip is larger than it."""
    image = Image.fromarray(_PHOTOS[shot]())
    grow = max(1.0, width / image.width, height / image.height)
    return image.resize((round(image.width * grow), round(image.height * grow)), Image.Resampling.BICUBIC)


def _window(photo: Image.Image, progress: float, width: int, height: int) -> Rgb:
    """A window that glides over the photograph and closes in on it, never smaller than the picture it gives."""
    room = min(photo.width / width, photo.height / height)
    zoom = 1 + (room - 1) * (1 - progress)
    across, down = (photo.width - width * zoom) * progress, (photo.height - height * zoom) * (0.2 + 0.6 * progress)
    box = (across, down, across + width * zoom, down + height * zoom)
    return np.asarray(photo.resize((width, height), Image.Resampling.BICUBIC, box=box))


def luma(picture: Rgb) -> npt.NDArray[np.uint8]:
    """The luma plane that :func:`write_clip` stores for a picture, before compression."""
    frame = av.VideoFrame.from_ndarray(picture, format="rgb24").reformat(format="yuv420p")
    plane = frame.planes[0]
    rows = np.frombuffer(memoryview(plane), np.uint8).reshape(plane.height, plane.line_size)
    return rows[:, : plane.width].copy()


def write_clip(
    path: Path, clip: Clip, *, scale: int = 1, crf: int = 12, preset: str = "fast", sound: bool = True
) -> None:
    """Encode a clip, shrunk by ``scale``, as H.264 with AAC sound."""
    with av.open(str(path), "w") as container:
        video = container.add_stream("libx264", rate=clip.rate, options={"crf": str(crf), "preset": preset})
        video.width, video.height, video.pix_fmt = clip.width // scale, clip.height // scale, "yuv420p"
        audio = container.add_stream("aac", rate=_SOUND_RATE) if sound else None
        for index, picture in enumerate(clip.pictures(scale=scale)):
            frame = av.VideoFrame.from_ndarray(picture, format="rgb24").reformat(format="yuv420p")
            frame.pts, frame.time_base = index, Fraction(1, clip.rate)
            container.mux(video.encode(frame))
        container.mux(video.encode(None))
        if audio is not None:
            for sound_frame in _chord(clip.frames / clip.rate):
                container.mux(audio.encode(sound_frame))
            container.mux(audio.encode(None))


def _chord(seconds: float) -> Iterator[av.AudioFrame]:
    """Three soft tones that swell and fade."""
    time = np.arange(round(seconds * _SOUND_RATE)) / _SOUND_RATE
    tones = sum(np.sin(2 * np.pi * pitch * time) for pitch in (220.0, 277.2, 329.6))
    wave = (0.08 * tones * np.sin(np.pi * time / seconds)).astype(np.float32)
    for start in range(0, len(wave) - 1023, 1024):
        frame = av.AudioFrame.from_ndarray(wave[None, start : start + 1024], format="fltp", layout="mono")
        frame.sample_rate, frame.pts = _SOUND_RATE, start
        frame.time_base = Fraction(1, _SOUND_RATE)
        yield frame
