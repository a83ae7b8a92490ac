"""The one door to the pixels: planes in, larger planes out; what is behind it (network, device, tiles) is its affair.

Luma goes through the network, chroma through bicubic interpolation with its siting respected, as in ESPCN's real-time
design: the eye resolves far less colour than light.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Literal, TypeVar, cast

import numpy as np
import numpy.typing as npt
from torch import nn

from vsr.backends import Choice, choose, make_backend
from vsr.backends.base import Backend, Job, Numbers, Plane, Runner
from vsr.colour import rgb_to_ycbcr16, ycbcr16_to_rgb
from vsr.errors import ConfigError, PixelError, WeightsError
from vsr.layout import Layout
from vsr.models import build_network, model_spec
from vsr.models.base import Network
from vsr.models.interpolation import Interpolation
from vsr.models.quantized import quantized_layers
from vsr.tiles import TiledRunner
from vsr.weights import find, load_network

Planes = tuple[Plane, ...]
P = TypeVar("P", npt.NDArray[np.uint8], npt.NDArray[np.uint16])

# A network's widest layer, as floats, is kept below this for each tile (bytes).
_TILE_MEMORY = 256 << 20


@dataclass(frozen=True, slots=True)
class PlanesJob:
    """Pictures on their way."""

    luma: list[Job]
    chroma: list[Job]
    shapes: tuple[tuple[int, int], tuple[int, int]]

    def result(self) -> list[Planes]:
        """Wait, and return the larger pictures in their order; the caller owns the planes."""
        luma = [plane for job in self.luma for plane in job.result()]
        if not self.chroma:
            return [(y,) for y in luma]
        rows, columns = self.shapes[1]
        pairs = [[plane[:rows, :columns] for plane in job.result()] for job in self.chroma]
        return [(y, *pair) for y, pair in zip(luma, pairs, strict=True)]


class Upscaler:
    """A network ready to enlarge pictures. Used by one thread at a time.

    Args:
        model: a name that ``vsr.list_models()`` gives.
        scale: 2, 3 or 4.
        device: ``"auto"``, ``"cpu"``, ``"openvino"``, ``"torch"``, ``"cuda"`` or ``"cuda:1"``.
        precision: ``"auto"``, ``"fp32"``, ``"fp16"``, ``"bf16"`` or ``"int8"``.
        tile: largest side of what is worked on at once, in input samples, but never less than the network needs to see
            plus a little; None chooses by memory. No choice changes the result.
        threads: CPU cores to use; 0 for all.
        latency: finish each picture as soon as possible, in place of as many a second as possible.
        network: a network of one channel and this scale, to use in place of ``model`` with its shipped weights.

    Attributes:
        choice: the device and precision that were settled on, and why.

    Raises:
        UnknownModelError, DeviceError, WeightsError: what was asked for does not exist here.
        ConfigError: ``tile`` or ``network`` do not fit.

    Example:
        >>> import numpy as np
        >>> up = Upscaler("bicubic", scale=2)
        >>> up.luma(np.zeros((90, 160), np.uint8)).shape
        (180, 320)
    """

    choice: Choice

    def __init__(
        self,
        model: str = "ecbsr",
        *,
        scale: int = 2,
        device: str = "auto",
        precision: str = "auto",
        tile: int | None = None,
        threads: int = 0,
        latency: bool = False,
        network: Network | None = None,
    ) -> None:
        if tile is not None and tile < 1:
            raise ConfigError(f"got tile={tile}, it must be at least 1, or None to choose by memory")
        self.model = model if network is None else type(network).__name__.lower()
        self.scale, self.tile = scale, tile
        has_int8 = _has_int8(model, scale) if network is None else bool(quantized_layers(network))
        trained = model_spec(model).trained if network is None else not isinstance(network, Interpolation)
        self.choice = choose(device, precision, has_int8=has_int8, trained=trained)
        self.network = load(model, scale, self.choice.precision) if network is None else _fitting(network, scale)
        self.backend = make_backend(self.choice, threads=threads, latency=latency)
        self.in_flight = self.backend.in_flight
        # A float of sixteen bits does not hold ten bits of chroma, and the eye sees the steps in a sky.
        half = self.choice.precision in ("bf16", "fp16")
        exact = replace(self.choice, precision="fp32")
        self.chroma_backend = make_backend(exact, threads=threads, latency=latency) if half else self.backend
        # Runners hold compiled graphs: one for each meaning of numbers, and one for each siting of chroma.
        self._runners: dict[Numbers | tuple[Numbers, tuple[float, float]], Runner] = {}

    def luma(self, y: P, *, bit_depth: int | None = None, full_range: bool = False) -> P:
        """Enlarge one luma plane.

        Args:
            y: H×W, uint8, or uint16 with the value in the low bits; limited range (16..235 at 8 bit) unless
                ``full_range``.
            bit_depth: 8 for uint8; 9 to 16 for uint16, 16 where it is not given.
            full_range: luma uses every number.

        Returns:
            rH×rW of the same type, range and bit depth.

        Raises:
            PixelError: another shape, type or bit depth.
        """
        depth = _depth_of(y, bit_depth)
        layout = Layout(subsampling="gray", bit_depth=depth, full_range=full_range)
        return cast(P, self.submit([(y,)], layout=layout).result()[0][0])

    def __call__(self, rgb: npt.NDArray[np.uint8]) -> npt.NDArray[np.uint8]:
        """Enlarge one RGB picture: uint8 H×W×3 to uint8 rH×rW×3, through BT.601 luma and chroma at 16 bit.

        Raises:
            PixelError: another shape or type.
        """
        if rgb.ndim != 3 or rgb.shape[2] != 3 or rgb.dtype != np.uint8:
            raise PixelError(f"got {rgb.shape} {rgb.dtype}, a picture is H×W×3 uint8; for one plane use .luma(y)")
        planes = rgb_to_ycbcr16(rgb)
        layout = Layout(subsampling="444", bit_depth=16)
        return ycbcr16_to_rgb(self.submit([planes], layout=layout).result()[0])

    def submit(self, pictures: Sequence[Planes], *, layout: Layout) -> PlanesJob:
        """Hand in pictures of one shape; returns while they are worked on.

        Args:
            pictures: (Y,) or (Y, U, V) each, as ``layout`` says; copied before this returns.
            layout: how the planes relate, of the input and the output alike.

        Returns:
            A job whose ``result()`` is the pictures, ``scale`` times larger, in their order.

        Raises:
            PixelError: no pictures, or planes that do not fit the layout or one another.
        """
        if not pictures:
            raise PixelError("got no pictures, a batch has at least one")
        for planes in pictures:
            layout.check(planes)
            if planes[0].shape != pictures[0][0].shape:
                raise PixelError(f"got {planes[0].shape} and {pictures[0][0].shape} in one batch, they must be equal")
        rows, columns = (side * self.scale for side in pictures[0][0].shape)
        chroma = []
        if layout.subsampling != "gray":
            runner = self._chroma(Numbers(bit_depth=layout.bit_depth), layout.chroma_shift(self.scale))
            chroma = [runner.submit(planes[1:]) for planes in pictures]
        luma_runner = self._luma(layout.numbers)
        luma = [luma_runner.submit([planes[0] for planes in part]) for part in self._batches(pictures)]
        return PlanesJob(luma, chroma, ((rows, columns), layout.chroma_shape(rows, columns)))

    def _batches(self, pictures: Sequence[Planes]) -> list[Sequence[Planes]]:
        """One request per picture keeps each core on a picture of its own; a GPU wants them all at once."""
        return [pictures] if self.choice.device.startswith("cuda") else [[planes] for planes in pictures]

    def _luma(self, numbers: Numbers) -> Runner:
        if numbers not in self._runners:
            self._runners[numbers] = self._tiled(self.backend, self.network, numbers)
        return self._runners[numbers]

    def _chroma(self, numbers: Numbers, shift: tuple[float, float]) -> Runner:
        if (numbers, shift) not in self._runners:
            network = Interpolation(self.scale, shift=shift)
            self._runners[numbers, shift] = self._tiled(self.chroma_backend, network, numbers)
        return self._runners[numbers, shift]

    def _tiled(self, backend: Backend, network: Network, numbers: Numbers) -> Runner:
        width = max([layer.out_channels for layer in network.modules() if isinstance(layer, nn.Conv2d)], default=1)
        side = self.tile or int((_TILE_MEMORY / (4 * max(width, self.scale**2))) ** 0.5)
        return TiledRunner(
            backend.runner(network, numbers),
            scale=self.scale,
            margin=network.receptive_field,
            side=side,
            in_flight=self.in_flight,
        )


def load(model: str, scale: int, precision: Literal["fp32", "int8"] | str) -> Network:
    """A network ready to run: its shipped weights where it has any, 8-bit ones for int8.

    Raises:
        UnknownModelError, WeightsError: it does not exist.
    """
    if not model_spec(model).trained:
        return build_network(model, scale=scale).eval()
    return load_network(model, scale=scale, precision="int8" if precision == "int8" else "fp32")


def _fitting(network: Network, scale: int) -> Network:
    if network.scale != scale or network.channels != 1:
        raise ConfigError(
            f"got a network of {network.channels} channels that enlarges ×{network.scale}, it must be of 1 and ×{scale}"
        )
    return network.folded()


def _has_int8(model: str, scale: int) -> bool:
    try:
        find(model, scale=scale, precision="int8")
    except WeightsError:
        return False
    return True


def _depth_of(y: Plane, bit_depth: int | None) -> int:
    if y.ndim != 2 or y.dtype not in (np.uint8, np.uint16):
        raise PixelError(f"got {y.shape} {y.dtype}, a luma plane is H×W uint8 or uint16")
    if y.dtype == np.uint8:
        if bit_depth not in (None, 8):
            raise PixelError(f"got bit_depth={bit_depth} with uint8, which is 8 bit; more bits come in uint16")
        return 8
    if bit_depth is not None and not 9 <= bit_depth <= 16:
        raise PixelError(f"got bit_depth={bit_depth} with uint16, allowed are 9 to 16")
    return bit_depth or 16
