"""Pictures through a network on luma: chroma takes the way of interpolation, with its siting respected.

That is ESPCN's real-time design: the eye resolves far less colour than light.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from vsr.backends import Choice, for_chroma, layer_bytes, make_backend
from vsr.backends.base import Backend, Job, Numbers, Planes, Runner
from vsr.backends.cuda import CudaBackend
from vsr.layout import Layout
from vsr.models.base import Network
from vsr.models.interpolation import Interpolation
from vsr.reuse import Reuse, ReusingRunner
from vsr.tiles import TiledRunner, tile_side

# Sides of the tiles of which those at rest are not computed again, in samples.
_TILE, _SMALL_TILE = 96, 48


@dataclass(frozen=True, slots=True)
class _LumaJob:
    luma: list[Job]
    chroma: list[Job]
    chroma_shape: tuple[int, int]

    def result(self) -> list[Planes]:
        luma = [plane for job in self.luma for plane in job.result()]
        if not self.chroma:
            return [(y,) for y in luma]
        rows, columns = self.chroma_shape
        chroma = [plane[:rows, :columns] for job in self.chroma for plane in job.result()]
        return list(zip(luma, chroma[::2], chroma[1::2], strict=True))


class LumaPath:
    """The way of pictures through a network of one channel.

    Args:
        network: folded.
        choice: where it runs.
        threads: CPU cores to use; 0 for all.
        tile: largest side of what is worked on at once; None chooses by memory.
        latency: all cores on one picture after the other.
        reuse: what counts as unchanged since the last picture; None to compute everything.

    Attributes:
        gpu: index of the GPU in whose memory planes may lie; None where they have to be on the host.
    """

    def __init__(
        self,
        network: Network,
        choice: Choice,
        *,
        threads: int,
        tile: int | None,
        latency: bool = False,
        reuse: Reuse | None = None,
    ) -> None:
        self.network, self.scale, self.tile = network, network.scale, tile
        self.backend = make_backend(choice, threads=threads, latency=latency)
        self._layer_bytes = layer_bytes(choice)
        # One request per picture keeps each core on a picture of its own; a GPU wants them all at once.
        self._together = choice.device.startswith("cuda")
        beside = for_chroma(choice)
        same = beside == choice
        self._chroma_backend = self.backend if same else make_backend(beside, threads=threads, latency=latency)
        # Runners hold compiled graphs: one for each meaning of numbers, and one for each siting of chroma.
        self._runners: dict[Numbers | tuple[Numbers, tuple[float, float]], Runner] = {}
        self._reuse = reuse
        # What is looked at to be reused has to be on the host, and several GPUs have no one memory.
        self.gpu = self.backend.gpu if isinstance(self.backend, CudaBackend) and reuse is None else None
        # PyTorch sums in an order that depends on the shape, so that a tile may differ in the last bit from the whole.
        self._tiles_exact = choice.device != "cpu" and not self._together

    def reset(self) -> None:
        """Forget earlier pictures."""
        for runner in self._runners.values():
            if isinstance(runner, ReusingRunner):
                runner.reset()

    def check(self, layout: Layout) -> None:
        """Every layout is taken."""

    def leave_on_gpu(self) -> None:
        """Leave results on :attr:`gpu`, which is not None, from here on."""
        for backend in (self.backend, self._chroma_backend):
            if isinstance(backend, CudaBackend):
                backend.leaves = True

    def submit(self, pictures: Sequence[Planes], *, layout: Layout) -> _LumaJob:
        """Hand in pictures that were checked; copied before this returns, or on :attr:`gpu` kept until the result."""
        chroma: list[Job] = []
        parts = [pictures] if self._together else [[planes] for planes in pictures]
        if layout.subsampling != "gray":
            runner = self._chroma(Numbers(bit_depth=layout.bit_depth), layout.chroma_shift(self.scale))
            chroma = [runner.submit([plane for planes in part for plane in planes[1:]]) for part in parts]
        runner = self._luma(layout.numbers)
        luma = [runner.submit([planes[0] for planes in part]) for part in parts]
        rows, columns = (side * self.scale for side in pictures[0][0].shape)
        return _LumaJob(luma, chroma, layout.chroma_shape(rows, columns))

    def _luma(self, numbers: Numbers) -> Runner:
        if numbers not in self._runners:
            self._runners[numbers] = self._runner(self.backend, self.network, numbers, lanes=1)
        return self._runners[numbers]

    def _chroma(self, numbers: Numbers, shift: tuple[float, float]) -> Runner:
        if (numbers, shift) not in self._runners:
            network = Interpolation(self.scale, shift=shift)
            self._runners[numbers, shift] = self._runner(self._chroma_backend, network, numbers, lanes=2)
        return self._runners[numbers, shift]

    def _runner(self, backend: Backend, network: Network, numbers: Numbers, *, lanes: int) -> Runner:
        tiled = self._tiled(backend, network, numbers)
        if self._reuse is None:
            return tiled
        seen_whole = network.overlap == network.receptive_field
        any_shape = getattr(tiled.runner, "any_shape", False)
        usable = seen_whole and (self._tiles_exact or self._reuse.threshold > 0)
        return ReusingRunner(
            tiled,
            numbers=numbers,
            scale=self.scale,
            margin=network.receptive_field if usable else None,
            reuse=self._reuse,
            # Interpolation is so cheap that a tile costs more by being one than by its size.
            kept=_SMALL_TILE if any_shape and not isinstance(network, Interpolation) else _TILE,
            lanes=lanes,
            together=self._together,
            any_shape=any_shape,
        )

    def _tiled(self, backend: Backend, network: Network, numbers: Numbers) -> TiledRunner:
        return TiledRunner(
            backend.runner(network, numbers),
            scale=self.scale,
            margin=network.overlap,
            side=self.tile or tile_side(network, layer_bytes=self._layer_bytes),
            in_flight=self.backend.in_flight,
        )
