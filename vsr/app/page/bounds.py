"""How large pictures may become that strangers have enlarged: the memory is everybody's."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from streams.enhancer import Enhancer, Pending
from streams.frame import Frame
from vsr.app.page.words import PageError

# 8K, in either shape of it.
_MOST_SAMPLES = 8192 * 4320


def check_size(width: int, height: int, *, scale: int) -> None:
    """Make sure that a picture may be enlarged.

    Raises:
        PageError: it would become larger than 8K.
    """
    if width * height * scale**2 > _MOST_SAMPLES:
        raise PageError(
            f"pictures of {width}×{height} would become {width * scale}×{height * scale}, allowed are at most as many "
            "samples as 8192×4320 has; enlarge less, or take a smaller video"
        )


@dataclass(frozen=True, slots=True)
class Bounded:
    """Another enhancer, kept from pictures that are too large: a source may change their size at any time.

    Args:
        enhancer: the other one.
        scale: by which it enlarges.
    """

    enhancer: Enhancer
    scale: int

    def submit(self, frames: Sequence[Frame]) -> Pending:
        """As the other one.

        Raises:
            PageError: as :func:`check_size`.
        """
        for frame in frames:
            check_size(frame.width, frame.height, scale=self.scale)
        return self.enhancer.submit(frames)

    def reset(self) -> None:
        """As the other one."""
        self.enhancer.reset()
