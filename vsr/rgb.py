"""Pictures through a network on RGB: converted with the stream's matrix, range and bit depth, and back again."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor
from torch.nn import functional

from vsr.backends import Choice, layer_bytes, make_backend
from vsr.backends.base import Planes
from vsr.conversion import Conversion, luma_weights
from vsr.layout import Layout
from vsr.models.base import Network
from vsr.reuse import Repeats, Reuse
from vsr.tiles import Room, run_in_tiles, tile_side


@dataclass(frozen=True, slots=True)
class _FinishedJob:
    pictures: list[Planes]

    def result(self) -> list[Planes]:
        return self.pictures


class RGBPath:
    """The way of pictures through a network of three channels.

    Args:
        network: folded.
        choice: where it runs; conversions are done there too, for OpenVINO by PyTorch on the CPU.
        threads: CPU cores to use; 0 for all.
        tile: largest side of what is worked on at once; None chooses by memory.
        reuse: of pictures that are repeated; None to compute everything.
    """

    def __init__(
        self, network: Network, choice: Choice, *, threads: int, tile: int | None, reuse: Reuse | None = None
    ) -> None:
        self.network, self.scale = network, network.scale
        # These networks are heavy: all cores on one tile hold the memory of one.
        self.backend = make_backend(choice, threads=threads, latency=True)
        self._program = self.backend.program(network)
        self._room = Room(margin=network.overlap, side=tile or tile_side(network, layer_bytes=layer_bytes(choice)))
        self._repeats = None if reuse is None else Repeats()

    def reset(self) -> None:
        """Forget earlier pictures."""
        if self._repeats is not None:
            self._repeats.forget()

    def check(self, layout: Layout) -> None:
        """Compare a layout with what can be converted.

        Raises:
            PixelError: its matrix is not stated, or none that can be turned into RGB.
        """
        luma_weights(layout)

    @torch.inference_mode()
    def submit(self, pictures: Sequence[Planes], *, layout: Layout) -> _FinishedJob:
        """Enlarge pictures that were checked; finished when this returns."""
        repeated = None if self._repeats is None else self._repeats.find(pictures, key=layout)
        if repeated is not None:
            return _FinishedJob(repeated)
        conversion = Conversion(layout, self._program.device)

        def work(part: Sequence[Planes]) -> list[Planes]:
            return conversion.to_planes(self._enlarged_around(conversion.to_rgb(part)))

        parts = self._room.each(pictures, work, longest=max(pictures[0][0].shape))
        made = [planes for part in parts for planes in part]
        if self._repeats is not None:
            self._repeats.keep(pictures[-1], made[-1], key=layout)
        return _FinishedJob(made)

    @torch.inference_mode()
    def enlarge(self, rgb: npt.NDArray[np.uint8]) -> npt.NDArray[np.uint8]:
        """uint8 H×W×3 to uint8 rH×rW×3, without a detour."""

        def work(part: Sequence[npt.NDArray[np.uint8]]) -> npt.NDArray[np.uint8]:
            x = torch.from_numpy(np.stack(part)).to(self._program.device).movedim(-1, 1).float() / 255
            y = (self._enlarged(x) * 255).round_().clamp_(0, 255).byte()
            picture: npt.NDArray[np.uint8] = y[0].movedim(0, -1).contiguous().cpu().numpy()
            return picture

        return self._room.each([rgb], work, longest=max(rgb.shape[:2]))[0]

    def _enlarged_around(self, x: Tensor) -> Tensor:
        """The network on what lies in [0, 1], as it was trained; what video has beyond that is interpolated."""
        inside = x.clamp(0, 1)
        larger = self._enlarged(inside)
        beyond = x - inside
        if beyond.any():
            larger += functional.interpolate(beyond, scale_factor=self.scale, mode="bilinear")
        return larger

    def _enlarged(self, x: Tensor) -> Tensor:
        return run_in_tiles(x, self._program, scale=self.scale, room=self._room)
