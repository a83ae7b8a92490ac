"""The one door to the pixels: planes in, larger planes out; what is behind it (network, device, tiles) is its affair.

Behind it there are two ways: :mod:`vsr.luma`, on which chroma is interpolated, and :mod:`vsr.rgb`, on which a network
sees colours.
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from typing import Literal, NoReturn, Protocol, TypeVar, cast

import numpy as np
import numpy.typing as npt

from vsr.backends import Choice, choose
from vsr.backends.base import Plane, Planes
from vsr.backends.native import has_int16
from vsr.colour import rgb_to_ycbcr16, ycbcr16_to_rgb
from vsr.errors import ConfigError, DeviceError, PixelError, WeightsError
from vsr.layout import Layout
from vsr.luma import LumaPath
from vsr.models import build_network, model_spec
from vsr.models.base import Network
from vsr.models.interpolation import Interpolation
from vsr.models.quantized import quantized_layers
from vsr.reuse import Reuse
from vsr.rgb import RGBPath
from vsr.weights import find, load_network

P = TypeVar("P", npt.NDArray[np.uint8], npt.NDArray[np.uint16])


class PlanesJob(Protocol):
    """Pictures on their way."""

    def result(self) -> list[Planes]:
        """Wait, and return the larger pictures in their order; the caller owns the planes."""
        ...


class Upscaler:
    """A network ready to enlarge pictures. Used by one thread at a time, of the process that made it.

    Args:
        model: a name that ``vsr.list_models()`` gives.
        scale: 2, 3 or 4.
        device: ``"auto"``, ``"cpu"``, ``"native"``, ``"openvino"``, ``"torch"``, ``"cuda"``, ``"cuda:1"``, or several
            GPUs at once: ``"cuda:0,1"``, ``"cuda:all"``.
        precision: ``"auto"``, ``"fp32"``, ``"fp16"``, ``"bf16"``, ``"int16"`` or ``"int8"``.
        tile: largest side of what is worked on at once, in input samples, but never less than the network needs to see
            plus a little; None chooses by memory. No choice changes the result; but for the deepest networks
            (``rrdb``, ``esrgan``), of which it changes samples here and there by a step of 8 bit, since what they make
            of places further away than a tenth of what they could see is less than that.
        threads: CPU cores to use; 0 for all.
        latency: finish each picture as soon as possible, in place of as many a second as possible.
        blend: for a network that was trained to paint texture (``srgan``, ``esrgan``), how much of it, from 0 (the
            network that it started from, which was trained for PSNR) to 1; None for all of it.
        network: a network of this scale, on luma or on RGB, to use in place of ``model`` with its shipped weights.
        reuse: what of a picture need not be computed, since it is as it was in the picture before: ``"off"``;
            ``"exact"``, which changes no sample; ``"threshold=N"``, which also takes as unchanged what differs by N
            steps of 8 bit at most, and is lossy; ``"auto"``: exact, but off for interpolation and on CUDA, where to
            compare costs about as much as to compute. Planes of results are then read-only, for they may be given out
            twice. Where PyTorch runs the network, and for networks on RGB, exact reuse is of pictures that are repeated
            as a whole.

    Attributes:
        choice: the device and precision that were settled on, and why.
        gpu: index of the GPU in whose memory pictures may lie (:mod:`vsr.backends.surfaces`); None where they have to
            be on the host.

    Raises:
        UnknownModelError, DeviceError, WeightsError: what was asked for does not exist here.
        ConfigError: ``tile``, ``threads``, ``blend``, ``network`` or ``reuse`` do not fit.

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
        blend: float | None = None,
        network: Network | None = None,
        reuse: str = "off",
    ) -> None:
        unchanged = Reuse.parse(reuse)
        if threads < 0:
            raise ConfigError(f"got threads={threads}, it must be at least 1, or 0 for all that this process may use")
        if tile is not None and tile < 1:
            raise ConfigError(f"got tile={tile}, it must be at least 1, or None to choose by memory")
        if blend is not None and (network is not None or not model_spec(model).trained):
            what = "a network of its own" if network is not None else model
            raise ConfigError(f"got blend={blend} for {what}, only networks that paint texture have it: srgan, esrgan")
        self._process = os.getpid()
        self.model = model if network is None else type(network).__name__.lower()
        self.scale = scale
        self.network = load(model, scale, "fp32", blend=blend) if network is None else _fitting(network, scale)
        has_int8 = _has_int8(model, scale) if network is None else bool(quantized_layers(network))
        trained = not isinstance(self.network, Interpolation)
        channels = self.network.channels
        kinds = {"has_int8": has_int8, "has_int16": has_int16(self.network), "trained": trained}
        self.choice = choose(device, precision, channels=channels, **kinds)
        if reuse == "auto" and (not trained or self.choice.device.startswith("cuda")):
            unchanged = None
        if network is None and self.choice.precision == "int8":
            self.network = load(model, scale, "int8")
        self._path: LumaPath | RGBPath
        self.gpu: int | None = None
        if channels == 3:
            self._path = RGBPath(self.network, self.choice, threads=threads, tile=tile, reuse=unchanged)
        else:
            self._path = LumaPath(
                self.network, self.choice, threads=threads, tile=tile, latency=latency, reuse=unchanged
            )
            self.gpu = self._path.gpu
        self.backend = self._path.backend
        self.in_flight = self.backend.in_flight

    def luma(self, y: P, *, bit_depth: int | None = None, full_range: bool = False) -> P:
        """Enlarge one luma plane.

        Args:
            y: H×W, uint8, or uint16 with the value in the low bits; limited range (16..235 at 8 bit) unless
                ``full_range``.
            bit_depth: 8 for uint8; 9 to 16 for uint16, 16 where it is not given.
            full_range: luma uses every number.

        Returns:
            rH×rW of the same type, range and bit depth. A network on RGB sees a gray picture.

        Raises:
            PixelError: another shape, type or bit depth.
        """
        depth = _depth_of(y, bit_depth)
        layout = Layout(subsampling="gray", bit_depth=depth, full_range=full_range)
        return cast(P, self.submit([(y,)], layout=layout).result()[0][0])

    def __call__(self, rgb: npt.NDArray[np.uint8]) -> npt.NDArray[np.uint8]:
        """Enlarge one RGB picture: uint8 H×W×3 to uint8 rH×rW×3.

        A network on luma is given that of BT.601 at 16 bit, one on RGB the picture as it is.

        Raises:
            PixelError: another shape or type.
        """
        if rgb.ndim != 3 or rgb.shape[2] != 3 or rgb.dtype != np.uint8:
            raise PixelError(f"got {rgb.shape} {rgb.dtype}, a picture is H×W×3 uint8; for one plane use .luma(y)")
        if isinstance(self._path, RGBPath):
            if not rgb.size:
                raise PixelError(f"got a picture of {rgb.shape}, it needs at least one row and one column")
            self._check_process()
            return self._path.enlarge(rgb)
        planes = rgb_to_ycbcr16(rgb)
        layout = Layout(subsampling="444", bit_depth=16)
        return ycbcr16_to_rgb(self.submit([planes], layout=layout).result()[0])

    def submit(self, pictures: Sequence[Planes], *, layout: Layout) -> PlanesJob:
        """Hand in pictures of one shape; returns while they are worked on.

        Args:
            pictures: (Y,) or (Y, U, V) each, as ``layout`` says; copied before this returns, but for planes on the GPU
                :attr:`gpu`, which have to stay as they are until the result is there.
            layout: how the planes relate, of the input and the output alike.

        Returns:
            A job whose ``result()`` is the pictures, ``scale`` times larger, in their order.

        Raises:
            PixelError: no pictures, planes that do not fit the layout or one another, or a layout that
                :meth:`check` refuses.
            DeviceError: this is a fork of the process that made it.
        """
        self._check_process()
        self.check(layout)
        if not pictures:
            raise PixelError("got no pictures, a batch has at least one")
        for planes in pictures:
            layout.check(planes)
            if planes[0].shape != pictures[0][0].shape:
                raise PixelError(f"got {planes[0].shape} and {pictures[0][0].shape} in one batch, they must be equal")
        return self._path.submit(pictures, layout=layout)

    def leave_on_gpu(self) -> None:
        """Leave results on :attr:`gpu` from here on: planes are then :class:`vsr.backends.surfaces.DevicePlane`.

        Raises:
            ConfigError: there is none.
        """
        if self.gpu is None or not isinstance(self._path, LumaPath):
            raise ConfigError("results can be left only on one GPU, by a network on luma, with reuse='off'")
        self._path.leave_on_gpu()

    def reset(self) -> None:
        """Forget earlier pictures, of which ``reuse`` keeps some in memory."""
        self._path.reset()

    def check(self, layout: Layout) -> None:
        """Ask whether pictures of a layout can be enlarged; before many of them are on their way, say.

        Raises:
            PixelError: a network on RGB, and a matrix that is not stated or that does not lead to RGB.
        """
        self._path.check(layout)

    def __reduce__(self) -> NoReturn:
        raise TypeError(
            "an Upscaler is bound to its process and cannot be pickled or copied; make one where it is used"
        )

    def _check_process(self) -> None:
        # OpenVINO and PyTorch would wait for ever, for threads that no fork has; the C code starts its own.
        if os.getpid() != self._process and self.choice.device != "native":
            raise DeviceError(
                "got an Upscaler that another process made before it forked, which has lost its threads; "
                "make one in each process, and start processes by 'spawn'"
            )


def load(model: str, scale: int, precision: Literal["fp32", "int8"], *, blend: float | None = None) -> Network:
    """A network ready to run: its shipped weights where it has any, 8-bit ones for int8.

    Raises:
        UnknownModelError, WeightsError: it does not exist.
    """
    if not model_spec(model).trained:
        return build_network(model, scale=scale).eval()
    return load_network(model, scale=scale, precision=precision, blend=blend)


def _fitting(network: Network, scale: int) -> Network:
    if network.scale != scale or network.channels not in (1, 3):
        raise ConfigError(
            f"got a network of {network.channels} channels that enlarges ×{network.scale}, "
            f"it must be of 1 or 3 and ×{scale}"
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
