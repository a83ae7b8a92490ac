"""Two pictures that come with scikit-image, to check weights by where no test set is."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
from skimage import data

from vsr.evaluate import luma_of_enlarged
from vsr.metrics import psnr
from vsr.pairs import luma_of, make_pair
from vsr.upscaler import Upscaler

# A side that 2, 3 and 4 divide, small enough for the heaviest network.
_SIDE = 240


def bundled_pictures() -> dict[str, npt.NDArray[np.uint8]]:
    """The pictures by name, uint8 240×240×3: two faces, one of them with fur."""
    astronaut, chelsea = data.astronaut(), data.chelsea()  # type: ignore[no-untyped-call]
    whole = {"astronaut": (astronaut, 20, 130), "chelsea": (chelsea, 30, 100)}
    return {name: image[top : top + _SIDE, left : left + _SIDE] for name, (image, top, left) in whole.items()}


def bundled_scores(upscaler: Upscaler) -> dict[str, float]:
    """PSNR in dB of each picture by the papers' protocol, rounded to three places."""
    scores = {}
    for name, rgb in bundled_pictures().items():
        pair = make_pair(rgb, upscaler.scale, channels=3)
        result = luma_of_enlarged(upscaler, pair.low)
        scores[name] = round(psnr(result, luma_of(pair.high), border=upscaler.scale), 3)
    return scores
