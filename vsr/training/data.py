"""Pairs of pictures kept in memory, and patches cut from them by the thousand."""

from __future__ import annotations

import logging
from collections.abc import Sequence

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from vsr.errors import DataError
from vsr.pairs import Pair

log = logging.getLogger(__name__)

# The rest of a device's free memory is for the network and what it remembers for its gradient.
_SHARE_FOR_PICTURES = 0.5


class Patches:
    """Random patches out of pairs that stay in memory, all cut by one indexing operation.

    The pictures lie on the device if they fit into half of its free memory, and are cut there; else on the CPU, and
    patches are sent. A draw never waits for the device.

    Args:
        pairs: all luma or all RGB; those whose ``low`` is smaller than ``patch`` in a direction are left out.
        scale: of the pairs.
        patch: side of a patch in low-resolution samples.
        candidates: places drawn for each patch; the one with the largest variance is taken.
        device: that patches are wanted on.

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
        self.device = device or torch.device("cpu")
        self.storage = storage_for(sum(pair.low.nbytes + pair.high.nbytes for pair in pairs), self.device)
        self.low = _flat([pair.low for pair in pairs]).to(self.storage)
        self.high = _flat([pair.high for pair in pairs]).to(self.storage)
        shapes = np.array([pair.low.shape[:2] for pair in pairs])
        sizes = shapes.prod(axis=1)
        self.shapes = torch.from_numpy(shapes)
        self.starts = torch.from_numpy(np.concatenate([[0], np.cumsum(sizes)[:-1]]))

    def sample(self, count: int, generator: torch.Generator) -> tuple[Tensor, Tensor]:
        """Draw ``count`` patches: floats N×C×p×p and N×C×rp×rp in [0, 1], on the device.

        Every picture is drawn equally often, whatever its size, and all patches of one draw are turned and mirrored
        alike.

        Args:
            count: N.
            generator: of the CPU, so that a seed means the same patches on every device.
        """
        drawn = count * self.candidates
        which = torch.randint(len(self.shapes), (drawn,), generator=generator)
        room = self.shapes[which] - self.patch + 1
        place = (torch.rand(drawn, 2, generator=generator, dtype=torch.float64) * room).long()
        turn = int(torch.randint(8, (), generator=generator))
        # One copy for all four: where the picture starts, its width, row and column.
        numbers = torch.stack([self.starts[which], self.shapes[which, 1], place[:, 0], place[:, 1]])
        start, width, row, column = _sent(numbers, self.storage)
        r, patch = self.scale, self.patch
        low = _windows(self.low, start + row * width + column, width, patch)
        if self.candidates > 1:
            spread = low.flatten(1).float().var(dim=1).view(count, self.candidates)
            chosen = spread.argmax(dim=1) + self.candidates * torch.arange(count, device=self.storage)
            low, start, width, row, column = (part[chosen] for part in (low, start, width, row, column))
        high = _windows(self.high, start * r * r + (row * width * r + column) * r, width * r, patch * r)
        low, high = (_sent(part, self.device) for part in (low, high))
        return _dihedral(low.float() / 255.0, turn).contiguous(), _dihedral(high.float() / 255.0, turn).contiguous()


def storage_for(size: int, device: torch.device) -> torch.device:
    """Where ``size`` bytes of pictures are kept: on the device, or on the CPU if they would crowd it."""
    if device.type != "cuda":
        return device
    free, _ = torch.cuda.mem_get_info(device)
    fits = size <= free * _SHARE_FOR_PICTURES
    log.info(
        "%.1f GB of pictures are kept %s; it has %.1f GB free",
        size / 1e9,
        f"on {device} and cut there" if fits else f"in main memory, and patches are sent to {device}",
        free / 1e9,
    )
    return device if fits else torch.device("cpu")


def _sent(tensor: Tensor, device: torch.device) -> Tensor:
    """The tensor on the device, without waiting for it to arrive."""
    if device.type == tensor.device.type:
        return tensor
    return tensor.pin_memory().to(device, non_blocking=True)


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


def _windows(flat: Tensor, corner: Tensor, width: Tensor, side: int) -> Tensor:
    """Square windows out of pictures of some widths that lie one after the other in ``flat``: uint8 N×C×side×side."""
    steps = torch.arange(side, device=flat.device)
    index = corner[:, None, None] + steps[:, None] * width[:, None, None] + steps
    return torch.stack([channel[index] for channel in flat], dim=1)


def _dihedral(x: Tensor, turn: int) -> Tensor:
    if turn & 4:
        x = x.transpose(2, 3)
    if turn & 2:
        x = x.flip(2)
    return x.flip(3) if turn & 1 else x
