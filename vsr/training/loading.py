"""Pictures from disk as pairs in memory: small ones made once, the same for the same seed and file name."""

from __future__ import annotations

import logging
import os
import zlib
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt
from tqdm import tqdm

from vsr.colour import rgb_to_luma
from vsr.errors import ConfigError, DataError
from vsr.pairs import Pair, crop_to_multiple, read_rgb
from vsr.training.degradation import Compressor, DegradationConfig, degraded_pairs
from vsr.training.folders import Source

log = logging.getLogger(__name__)

LEAST_SIDE = 16
"""In low-resolution samples; smaller pictures are passed over."""

# Much of resampling holds Python's lock; more threads only wait for each other.
_MOST_THREADS = 4
# A camera that moves over a picture needs room.
_LEAST_SIDE_OF_VIDEO = 28


@dataclass(frozen=True, slots=True, kw_only=True)
class PairLoader:
    """Makes pairs of pictures.

    Attributes:
        scale: r.
        channels: 1 for luma, 3 for RGB.
        settings: how the small pictures are made. Those that came with a set are taken if this is plain bicubic.
        seed: what is random follows from this and the picture's name.
        compressor: for H.264.
        threads: that read and degrade; 0 is one for each processor, to a point.
    """

    scale: int
    channels: int = 1
    settings: DegradationConfig = field(default_factory=DegradationConfig)
    seed: int = 1
    compressor: Compressor | None = None
    threads: int = 0

    def __post_init__(self) -> None:
        if self.settings.h264_crf is not None and self.compressor is None:
            raise ConfigError(
                "degradation.h264_crf needs a video encoder; train with 'vsr train', or give the Trainer a compressor"
            )

    def load(self, sources: Sequence[Source], *, label: str = "pictures") -> list[Pair]:
        """All pairs, in the order of the sources, with a bar for people while they are made.

        Raises:
            DataError: a file that is no picture, or small and true pictures that do not belong together.
        """
        result: list[Pair] = []
        with ThreadPoolExecutor(self.threads or min(_MOST_THREADS, os.cpu_count() or 1)) as pool:
            try:
                for pairs in tqdm(
                    pool.map(self._pairs, sources), label, total=len(sources), disable=None, leave=False, unit="picture"
                ):
                    result += pairs
            except BaseException:
                pool.shutdown(cancel_futures=True)
                raise
        return result

    def _pairs(self, source: Source) -> list[Pair]:
        rgb = read_rgb(source.high)
        least = LEAST_SIDE if self.settings.h264_crf is None else _LEAST_SIDE_OF_VIDEO
        if min(rgb.shape[:2]) < least * self.scale:
            return []
        if source.low is not None and self.settings.plain:
            return [self._ready_made(rgb, source)]
        rng = np.random.default_rng([self.seed, zlib.crc32(source.high.name.encode())])
        made = degraded_pairs(
            rgb,
            scale=self.scale,
            settings=self.settings,
            channels=self.channels,
            rng=rng,
            compressor=self.compressor,
        )
        return [Pair(low, high) for low, high in made]

    def _ready_made(self, rgb: npt.NDArray[np.uint8], source: Source) -> Pair:
        assert source.low is not None
        low, high = read_rgb(source.low), crop_to_multiple(rgb, self.scale)
        if (low.shape[0] * self.scale, low.shape[1] * self.scale) != high.shape[:2]:
            raise DataError(
                f"{source.low} is {low.shape[1]}×{low.shape[0]}, ×{self.scale} of that is not {source.high} with "
                f"{rgb.shape[1]}×{rgb.shape[0]}; remove the small pictures, and they are made"
            )
        return Pair(low, high) if self.channels == 3 else Pair(rgb_to_luma(low), rgb_to_luma(high))
