"""Pairs of pictures kept in memory, and patches cut from them by the thousand."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from vsr.errors import DataError
from vsr.pairs import Pair


class Patches:
    """Random patches out of pairs that stay in memory, all cut by one indexing operation.

    Args:
        pairs: all luma or all RGB; those whose ``low`` is smaller than ``patch`` in a direction are left out.
        scale: of the pairs.
        patch: side of a patch in low-resolution samples.
        candidates: places drawn for each patch; the one with the largest variance is taken.
        device: where the pictures are kept and cut.

    Raises:
        DataError: no picture is large enough.
    """

    def __init__(
        self, pairs: Sequence[Pair], *, scale: int, patch: int, candidates: int = 1, device: torch.device | None = None
    ) -> None:
        pairs = [pair for pair in pairs if min(pair.low.shape[:2]) >= patch]
        if not pairs:
            raise DataError(f"no picture is as large as a patch of {patch * scale}×{patch * scale}")
        self.scale, self.patch, self.candidates = scale, patch, candidates
        self.low = _flat([pair.low for pair in pairs]).to(device)
        self.high = _flat([pair.high for pair in pairs]).to(device)
        shapes = np.array([pair.low.shape[:2] for pair in pairs])
        sizes = shapes.prod(axis=1)
        self.shapes = torch.from_numpy(shapes)
        self.starts = torch.from_numpy(np.concatenate([[0], np.cumsum(sizes)[:-1]]))

    def sample(self, count: int, generator: torch.Generator) -> tuple[Tensor, Tensor]:
        """Draw ``count`` patches: floats N×C×p×p and N×C×rp×rp in [0, 1].

        Every picture is drawn equally often, whatever its size, and all patches of one draw are turned and mirrored
        alike.
        """
        drawn = count * self.candidates
        which = torch.randint(len(self.shapes), (drawn,), generator=generator)
        room = self.shapes[which] - self.patch + 1
        place = (torch.rand(drawn, 2, generator=generator, dtype=torch.float64) * room).long()
        width, start, r = self.shapes[which, 1], self.starts[which], self.scale
        low = _windows(self.low, start, width, place, self.patch)
        if self.candidates > 1:
            spread = low.flatten(1).var(dim=1).view(count, self.candidates).cpu()
            chosen = spread.argmax(dim=1) + self.candidates * torch.arange(count)
            low = low[chosen.to(low.device)]
            width, start, place = width[chosen], start[chosen], place[chosen]
        high = _windows(self.high, start * r * r, width * r, place * r, self.patch * r)
        turn = int(torch.randint(8, (), generator=generator))
        return _dihedral(low, turn).contiguous(), _dihedral(high, turn).contiguous()


def _flat(images: Sequence[npt.NDArray[np.uint8]]) -> Tensor:
    """Pictures one after the other, C×samples: one channel of all, then the next."""
    channels = 1 if images[0].ndim == 2 else images[0].shape[2]
    result = np.empty((channels, sum(image.size for image in images) // channels), np.uint8)
    place = 0
    for image in images:
        end = place + image.size // channels
        result[:, place:end] = image.reshape(-1, channels).T
        place = end
    return torch.from_numpy(result)


def _windows(flat: Tensor, start: Tensor, width: Tensor, place: Tensor, side: int) -> Tensor:
    """Square windows out of pictures that lie one after the other in ``flat``, as floats N×C×side×side in [0, 1]."""
    steps = torch.arange(side)
    rows = (start + place[:, 0] * width)[:, None] + steps * width[:, None]
    index = ((rows + place[:, 1, None])[:, :, None] + steps).to(flat.device)
    return torch.stack([channel[index] for channel in flat], dim=1).float() / 255.0


def _dihedral(x: Tensor, turn: int) -> Tensor:
    if turn & 4:
        x = x.transpose(2, 3)
    if turn & 2:
        x = x.flip(2)
    return x.flip(3) if turn & 1 else x
