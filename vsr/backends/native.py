"""The default network in 8-bit integers, and interpolation, by this project's own arithmetic in C.

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
from typing import Any

import numpy as np
import numpy.typing as npt
from torch import nn

from vsr.backends.base import Backend, Job, Numbers, Plane, Program, Runner, usable_cores
from vsr.models.base import Network
from vsr.models.ecbsr import ECBSR
from vsr.models.interpolation import Interpolation
from vsr.models.quantized import QuantConv2d
from vsr.native import Layer, Library
from vsr.spans import span

# Fewer rows than this are not worth a thread of their own: the layers' margins at its ends are computed twice.
_LEAST_ROWS = 48
_CHANNELS = 16
_MOST_LAYERS = 16
_SCALES = (2, 3, 4)

Work = Callable[[Plane, Plane, tuple[int, int]], None]
"""Make the larger plane's part that belongs to some rows of the smaller one."""


class NativeBackend:
    """The C code in front of another backend, which gets what it does not know.

    Args:
        library: of :func:`vsr.native.load`.
        other: opens the other backend, when it is needed.
        precision: ``"int8"`` for networks of 8-bit convolutions; interpolation is exact in any.
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
    """Whether the C code knows a network: ECBSR in 8 bit, sixteen channels wide."""
    if not isinstance(network, ECBSR) or network.scale not in _SCALES:
        return False
    if not 2 <= len(_convolutions(network)) <= _MOST_LAYERS:
        return False
    kinds = (QuantConv2d, nn.ReLU)
    alternate = all(isinstance(layer, kinds[index % 2]) for index, layer in enumerate(network.body))
    return alternate and all(layer.out_channels == _CHANNELS for layer in _convolutions(network)[:-1])


def _convolutions(network: ECBSR) -> list[QuantConv2d]:
    return [layer for layer in network.body if isinstance(layer, QuantConv2d)]


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
    assert isinstance(network, ECBSR)
    packed = [_packed(layer, into) for layer, into in _steps(network, numbers)]
    layers = (Layer * len(packed))(*(Layer(*(array.ctypes.data for array in arrays)) for arrays in packed))
    # The first layer's grid is that of limited-range luma at 8 bit, which needs no conversion.
    exact = numbers == Numbers()
    grid = (1.0, 0.0) if exact else (numbers.gain * 255, numbers.offset * 255)

    def work(source: Plane, result: Plane, rows: tuple[int, int], packed: Any = packed) -> None:
        with span("network"):
            library.chain(layers, source, result, rows=rows, scale=network.scale, grid=grid, peak=numbers.peak)

    return work


def _steps(network: ECBSR, numbers: Numbers) -> list[tuple[QuantConv2d, float]]:
    """The convolutions, each with the step of what takes its output: the next one's grid, or the plane's numbers."""
    layers = _convolutions(network)
    steps = [float(layer.input_scale) for layer in layers[1:]]
    return list(zip(layers, [*steps, numbers.gain], strict=True))


def _packed(layer: QuantConv2d, step: float) -> tuple[npt.NDArray[Any], ...]:
    """What ``chain.c`` wants of a layer."""
    weight = layer.weight.detach().double().numpy()
    assert layer.bias is not None
    scales = np.maximum(np.abs(weight).max(axis=(1, 2, 3)) / 127, 1e-8)
    whole = np.clip(np.rint(weight / scales[:, None, None, None]), -127, 127).astype(np.int8)
    gain = scales * float(layer.input_scale) / step
    bias = layer.bias.detach().double().numpy() / step
    start = 128 * whole.sum(axis=(1, 2, 3), dtype=np.int32)
    return _in_fours(whole), gain.astype(np.float32), bias.astype(np.float32), start


def _in_fours(weights: npt.NDArray[np.int8]) -> npt.NDArray[np.int8]:
    """Weights (outputs, inputs, 3, 3) in groups of four that are multiplied together."""
    if weights.shape[1] == 1:
        row = np.pad(weights[:, 0], ((0, 0), (0, 0), (0, 1)))
        return np.ascontiguousarray(row.transpose(1, 0, 2))
    outputs, inputs = weights.shape[:2]
    fours = weights.reshape(outputs, inputs // 4, 4, 3, 3)
    return np.ascontiguousarray(fours.transpose(3, 1, 4, 0, 2))
