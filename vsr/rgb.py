"""Pictures through a network on RGB: converted with the stream's matrix, range and bit depth, and back again.

On a CPU all cores work on one picture, in the thread that hands it in. Every GPU has a thread of its own, which copies,
converts, computes and waits, while the next pictures are decoded and the last ones encoded.
"""

from __future__ import annotations

from collections.abc import Sequence
from concurrent.futures import Future

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor
from torch.nn import functional

from vsr.backends import Choice, layer_bytes, make_backend
from vsr.backends.base import Planes, Program
from vsr.backends.several import Alone, Workers, programs
from vsr.conversion import Conversion, luma_weights
from vsr.layout import Layout
from vsr.models.base import Network
from vsr.reuse import Repeated, Repeats, Reuse
from vsr.tiles import Room, run_in_tiles, tile_side


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
        side = tile or tile_side(network, layer_bytes=layer_bytes(choice))
        enlargers = [_Enlarger(program, network, side=side) for program in programs(self.backend, network)]
        self._threaded = choice.device.startswith("cuda")
        self._workers: Workers[_Enlarger] | Alone[_Enlarger]
        self._workers = Workers(enlargers) if self._threaded else Alone(enlargers[0])
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

    def submit(self, pictures: Sequence[Planes], *, layout: Layout) -> Future[list[Planes]] | Repeated:
        """Enlarge pictures that were checked: on a CPU finished when this returns, on a GPU copied."""
        repeated = None if self._repeats is None else self._repeats.find(pictures, key=layout)
        if repeated is not None:
            return repeated
        if self._threaded:
            pictures = [tuple(plane.copy() for plane in planes) for planes in pictures]
        shared = self._repeats is not None
        # What waits for its turn must not hold this path, whose end is that of the threads.
        job = self._workers.submit(lambda enlarger: enlarger.planes(pictures, layout=layout, shared=shared))
        if self._repeats is not None:
            self._repeats.keep(pictures[-1], job, key=layout)
        return job

    def enlarge(self, rgb: npt.NDArray[np.uint8]) -> npt.NDArray[np.uint8]:
        """uint8 H×W×3 to uint8 rH×rW×3, without a detour."""
        return self._workers.submit(lambda enlarger: enlarger.rgb(rgb)).result()


class _Enlarger:
    """A network on one device, with the conversions around it; used by one thread.

    Args:
        program: the network, ready on the device.
        network: the same.
        side: of a tile, in input samples; smaller where this device's memory runs out.
    """

    def __init__(self, program: Program, network: Network, *, side: int) -> None:
        self.program, self.scale = program, network.scale
        self._room = Room(margin=network.overlap, side=side)
        self._stream: torch.cuda.Stream | None = None
        if program.device.type == "cuda":
            self._stream = torch.cuda.Stream(program.device)  # type: ignore[no-untyped-call]
            # The weights have just been moved on another one.
            self._stream.wait_stream(torch.cuda.current_stream(program.device))

    @torch.inference_mode()
    def planes(self, pictures: Sequence[Planes], *, layout: Layout, shared: bool) -> list[Planes]:
        """Pictures of one shape, larger; the last one is read-only where it may be ``shared``."""
        conversion = Conversion(layout, self.program.device)

        def work(part: Sequence[Planes]) -> list[Planes]:
            return conversion.to_planes(self._enlarged_around(conversion.to_rgb(part)))

        with torch.cuda.stream(self._stream):
            parts = self._room.each(pictures, work, longest=max(pictures[0][0].shape))
        made = [planes for part in parts for planes in part]
        if shared:
            for plane in made[-1]:
                plane.setflags(write=False)
        return made

    @torch.inference_mode()
    def rgb(self, rgb: npt.NDArray[np.uint8]) -> npt.NDArray[np.uint8]:
        """uint8 H×W×3 to uint8 rH×rW×3."""

        def work(part: Sequence[npt.NDArray[np.uint8]]) -> npt.NDArray[np.uint8]:
            x = torch.from_numpy(np.stack(part)).to(self.program.device).movedim(-1, 1).float() / 255
            y = (self._enlarged(x) * 255).round_().clamp_(0, 255).byte()
            picture: npt.NDArray[np.uint8] = y[0].movedim(0, -1).contiguous().cpu().numpy()
            return picture

        with torch.cuda.stream(self._stream):
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
        return run_in_tiles(x, self.program, scale=self.scale, room=self._room)
