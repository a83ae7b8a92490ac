"""The default network in 8-bit integers, ESPCN in 16, and interpolation, by this project's own arithmetic in C.

A general runtime goes through a picture layer by layer, and hands every layer's output to memory and back; here a row
goes through all layers while it is in the cache of one core. Nothing is compiled for a shape, so the first frame is as
fast as the others. What the C code does not know is handed to another backend.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from functools import cache, cached_property
from itertools import pairwise
from typing import Any, TypeAlias

import numpy as np
import numpy.typing as npt
from torch import nn

from vsr.backends.base import Backend, Job, Numbers, Plane, Program, Runner, usable_cores
from vsr.models.base import Network
from vsr.models.ecbsr import ECBSR
from vsr.models.espcn import ESPCN
from vsr.models.interpolation import Interpolation
from vsr.models.quantized import QuantConv2d
from vsr.native import Form, Layer, Library
from vsr.spans import span

# Fewer rows than this are not worth a thread of their own: the layers' margins at its ends are computed twice.
_LEAST_ROWS = 48
_CHANNELS = 16
_MOST_LAYERS = 16
_SCALES = (2, 3, 4)
# The largest inputs: of the picture in 8 bit, of the picture in 16, and what is behind tanh.
_PEAK_8, _PEAK_16, _PEAK_TANH = 255, 255 * 64, 4095

Array: TypeAlias = npt.NDArray[np.float64]
Work = Callable[[Plane, Plane, tuple[int, int]], None]
"""Make the larger plane's part that belongs to some rows of the smaller one."""


class NativeBackend:
    """The C code in front of another backend, which gets what it does not know.

    Args:
        library: of :func:`vsr.native.load`.
        other: opens the other backend, when it is needed.
        precision: ``"int8"`` for networks of 8-bit convolutions, ``"int16"`` for ESPCN; interpolation is exact in any.
        threads: cores to use; 0 for all that this process may use.
        latency: all cores on one frame after the other, in place of one frame per core.
    """

    def __init__(
        self, library: Library, other: Callable[[], Backend], *, precision: str, threads: int = 0, latency: bool = False
    ) -> None:
        self.library, self.precision = library, precision
        self.name = "C code on CPU"
        self.threads = threads or usable_cores()
        self.in_flight = 1 if latency else self.threads
        self.bands = self.threads if latency else 1
        self._open_other = other

    def runner(self, network: Network, numbers: Numbers) -> Runner:
        """Make a network of one channel ready for planes."""
        if isinstance(network, Interpolation):
            return _NativeRunner(self, _interpolation(self.library, network, numbers), network.scale)
        if self.library.kinds and is_chain(network):
            return _NativeRunner(self, _chain(self.library, network, numbers), network.scale)
        return self.other.runner(network, numbers)

    def program(self, network: Network) -> Program:
        """Make a network ready for floats; the C code has none."""
        return self.other.program(network)

    @cached_property
    def other(self) -> Backend:
        """The backend behind this one."""
        return self._open_other()


@cache
def _workers(count: int) -> ThreadPoolExecutor:
    """Threads that all backends share: more of them than cores would be no faster."""
    return ThreadPoolExecutor(count, thread_name_prefix="vsr-native")


if hasattr(os, "register_at_fork"):
    # A child has none of its parent's threads, and would wait for them for ever.
    os.register_at_fork(after_in_child=_workers.cache_clear)


def is_chain(network: nn.Module) -> bool:
    """Whether the C code knows a network: ECBSR in 8 bit, sixteen channels wide, and ESPCN."""
    return bool(_forms(network))


def has_int16(network: nn.Module) -> bool:
    """Whether it does a network in 16-bit integers, which it makes of any weights itself."""
    return isinstance(network, ESPCN) and is_chain(network)


def _forms(network: nn.Module) -> list[Form]:
    """What each convolution is to the C code; nothing where it does not know the network."""
    if not isinstance(network, (ECBSR, ESPCN)) or network.scale not in _SCALES or network.channels != 1:
        return []
    convolution, between = (QuantConv2d, nn.ReLU) if isinstance(network, ECBSR) else (nn.Conv2d, nn.Tanh)
    if not all(type(layer) is (convolution, between)[index % 2] for index, layer in enumerate(network.body)):
        return []
    widths = [layer.out_channels for layer in _convolutions(network)[:-1]]
    if isinstance(network, ESPCN):
        return [Form.TANH_FIRST, Form.TANH_HIDDEN, Form.PLAIN] if widths == [64, 32] else []
    if not 1 <= len(widths) < _MOST_LAYERS or set(widths) != {_CHANNELS}:
        return []
    return [Form.RELU_FIRST, *[Form.RELU_HIDDEN] * (len(widths) - 1), Form.RESIDUAL]


def _convolutions(network: ECBSR | ESPCN) -> list[nn.Conv2d]:
    return [layer for layer in network.body if isinstance(layer, nn.Conv2d)]


class _NativeRunner:
    any_shape = True
    """Nothing is compiled for a shape."""

    def __init__(self, backend: NativeBackend, work: Work, scale: int) -> None:
        self.backend, self.work, self.scale = backend, work, scale

    def submit(self, planes: Sequence[Plane]) -> Job:
        """Start on every plane, in as many bands as there are threads for one picture."""
        return _Job([self._start(plane.copy(order="C")) for plane in planes])

    def _start(self, plane: Plane) -> _Picture:
        rows, columns = plane.shape
        result: Plane = np.empty((rows * self.scale, columns * self.scale), plane.dtype)
        count = max(1, min(self.backend.bands, rows // _LEAST_ROWS))
        edges = [rows * index // count for index in range(count + 1)]
        pool = _workers(self.backend.threads)
        return _Picture(result, [pool.submit(self.work, plane, result, band) for band in pairwise(edges)])


@dataclass(frozen=True, slots=True)
class _Picture:
    plane: Plane
    bands: list[Future[None]]

    def result(self) -> Plane:
        for band in self.bands:
            band.result()
        return self.plane


@dataclass(frozen=True, slots=True)
class _Job:
    pictures: list[_Picture]

    def result(self) -> list[Plane]:
        return [picture.result() for picture in self.pictures]


def _interpolation(library: Library, network: Interpolation, numbers: Numbers) -> Work:
    down, across = (np.ascontiguousarray(rows, np.float32) for rows in (network.down, network.across))

    def work(source: Plane, result: Plane, rows: tuple[int, int]) -> None:
        with span("interpolation"):
            library.interpolate(down, across, source, result, rows=rows, peak=numbers.peak)

    return work


def _chain(library: Library, network: Network, numbers: Numbers) -> Work:
    assert isinstance(network, (ECBSR, ESPCN))
    whole = _in_8_bit(network, numbers) if isinstance(network, ECBSR) else _in_16_bit(network, numbers)
    forms = _forms(network)
    packed = [layer.packed(form) for layer, form in zip(whole, forms, strict=True)]
    layers = (Layer * len(packed))(
        *(Layer(form, *(array.ctypes.data for array in arrays)) for form, arrays in zip(forms, packed, strict=True))
    )
    # The grid of the picture is that of limited-range luma at 8 bit, which needs no conversion, or 64 times finer.
    peak = _PEAK_8 if isinstance(network, ECBSR) else _PEAK_16
    grid = (numbers.gain * peak, numbers.offset * peak)

    def work(source: Plane, result: Plane, rows: tuple[int, int], packed: Any = packed) -> None:
        with span("network"):
            library.chain(layers, source, result, rows=rows, scale=network.scale, grid=grid, peak=numbers.peak)

    return work


@dataclass(frozen=True, slots=True)
class _Whole:
    """A convolution in whole numbers: result = sum * gain + bias, for each output."""

    weights: npt.NDArray[np.int16]
    gain: Array
    bias: Array

    def packed(self, form: Form) -> tuple[npt.NDArray[Any], ...]:
        """As ``chain.c`` wants it: weights, gain, bias and totals."""
        pairs = form >= Form.TANH_FIRST
        totals = self.weights.sum(axis=(1, 2, 3), dtype=np.int32) * (not pairs)
        floats = (np.ascontiguousarray(each, np.float32) for each in (self.gain, self.bias))
        weights = _quarters(self.weights) if form > Form.TANH_FIRST else _grouped(self.weights, pairs=pairs)
        return weights, *floats, totals


def _in_8_bit(network: ECBSR, numbers: Numbers) -> list[_Whole]:
    layers = [layer for layer in _convolutions(network) if isinstance(layer, QuantConv2d)]
    # The step of what takes the output: the next one's grid, or the plane's numbers.
    steps = [*(float(layer.input_scale) for layer in layers[1:]), numbers.gain]
    whole = []
    for layer, step in zip(layers, steps, strict=True):
        weight, bias = _values(layer)
        scales = np.maximum(np.abs(weight).max(axis=(1, 2, 3)) / 127, 1e-8)
        rounded = np.clip(np.rint(weight / scales[:, None, None, None]), -127, 127).astype(np.int16)
        whole.append(_Whole(rounded, scales * float(layer.input_scale) / step, bias / step))
    return whole


def _in_16_bit(network: ESPCN, numbers: Numbers) -> list[_Whole]:
    """What is behind tanh is known to be 1 at most, so nothing has to be calibrated."""
    first, *others = _convolutions(network)
    *whole, last = [_rounded(first, _PEAK_16), *(_rounded(layer, _PEAK_TANH, times=2) for layer in others)]
    return [*whole, _Whole(last.weights, last.gain / numbers.gain, (last.bias - numbers.offset) / numbers.gain)]


def _rounded(layer: nn.Conv2d, peak: int, *, times: int = 1) -> _Whole:
    """Weights as large as they can be, so that no sum of their products with inputs up to ``peak`` overflows 32 bit.

    Args:
        layer: of floats.
        peak: the largest input.
        times: what the C code makes is so many times the sums; where it is 2, of :func:`_quarters`.
    """
    weight, bias = _values(layer)
    widest = np.abs(_transformed(weight)) if times == 2 else np.abs(weight)
    most = widest.max(axis=(1, 2, 3)), np.abs(weight).sum(axis=(1, 2, 3))
    # Rounding may add a half to each weight; and to three of them at a time.
    fits = (2**31 - 1) / (times * peak) - weight[0].size / 2
    scales = np.maximum(np.maximum(most[0] / (2**15 - 1 - 2 * (times - 1)), most[1] / fits), 1e-12)
    rounded = np.rint(weight / scales[:, None, None, None]).astype(np.int16)
    return _Whole(rounded, scales / (times * peak), bias)


def _transformed(weights: npt.NDArray[Any]) -> npt.NDArray[Any]:
    """Each row of three weights as the four that make two outputs side by side; see ``chain_pairs.h``."""
    f, g, h = np.moveaxis(weights, -1, 0)
    return np.stack([2 * f, f + g + h, f - g + h, 2 * h], axis=-1)


def _quarters(weights: npt.NDArray[np.int16]) -> npt.NDArray[np.int16]:
    """Weights (outputs, inputs, rows, 3) as those four, in pairs of inputs: (4, rows, pairs, outputs, 2)."""
    outputs, inputs, rows, _ = weights.shape
    pairs = _transformed(weights).reshape(outputs, inputs // 2, 2, rows, 4)
    return np.ascontiguousarray(pairs.transpose(4, 3, 1, 0, 2), np.int16)


def _values(layer: nn.Conv2d) -> tuple[Array, Array]:
    assert layer.bias is not None
    return layer.weight.detach().double().numpy(), layer.bias.detach().double().numpy()


def _grouped(weights: npt.NDArray[np.int16], *, pairs: bool) -> npt.NDArray[Any]:
    """Weights (outputs, inputs, rows, columns) in groups that are multiplied together: two of 16 bit, or four of 8."""
    size = 2 if pairs else 4
    outputs, inputs, rows, columns = weights.shape
    if inputs == 1:
        # Neighbours in a row are a group.
        groups = -(-columns // size)
        padded = np.pad(weights[:, 0], ((0, 0), (0, 0), (0, groups * size - columns)))
        grouped = padded.reshape(outputs, rows, groups, size).transpose(1, 2, 0, 3)
    else:
        grouped = weights.reshape(outputs, inputs // size, size, rows, columns).transpose(3, 1, 4, 0, 2)
    return np.ascontiguousarray(grouped, np.int16 if pairs else np.int8)
