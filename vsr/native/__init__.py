"""Arithmetic for CPUs in C: :func:`load` finds what was compiled when the package was installed.

Where it was not (no compiler, another system), or the processor lacks the instructions, everything works without it.
"""

from __future__ import annotations

import ctypes
import logging
import sys
from enum import IntEnum
from functools import cache
from itertools import count
from pathlib import Path
from time import thread_time
from typing import Any, Final

import numpy as np
import numpy.typing as npt

log = logging.getLogger(__name__)

_ABI_VERSION: Final = 5
_NO_MEMORY: Final = -1
_PEAK_ROUNDS: Final = 2_000_000
_ENDINGS = (".so", ".pyd", ".dylib")


class Layer(ctypes.Structure):
    """One convolution, as ``chain.c`` describes it; ``form`` is one of :class:`Form`."""

    _fields_ = (
        ("form", ctypes.c_int32),
        *((name, ctypes.c_void_p) for name in ("weights", "gain", "bias", "totals")),
    )


class Form(IntEnum):
    """What a layer is in the C code."""

    RELU_FIRST = 0
    RELU_HIDDEN = 1
    RESIDUAL = 2
    TANH_FIRST = 3
    TANH_HIDDEN = 4
    PLAIN = 5


class _Plane(ctypes.Structure):
    _fields_ = (
        ("input", ctypes.c_void_p),
        ("output", ctypes.c_void_p),
        ("in_stride", ctypes.c_ssize_t),
        ("out_stride", ctypes.c_ssize_t),
        ("rows", ctypes.c_int32),
        ("columns", ctypes.c_int32),
        ("first", ctypes.c_int32),
        ("last", ctypes.c_int32),
        ("wide", ctypes.c_int32),
        ("peak", ctypes.c_int32),
    )


class Library:
    """The compiled functions; they hold no lock of Python's while they work.

    Attributes:
        name: of the file.
        kinds: of instructions that :meth:`chain` has on this processor; none where it does not work. The first is used,
            which is the fastest; all give the same.
    """

    def __init__(self, path: Path) -> None:
        self.name, self._library = path.name, ctypes.CDLL(str(path))
        if self._library.vsr_abi_version() != _ABI_VERSION:
            raise OSError(f"{path.name} is of another version; install the package again")
        self._library.vsr_kind.restype = ctypes.c_char_p
        self.kinds = tuple(name.decode() for name in iter(map(self._library.vsr_kind, count()).__next__, None))
        plane = ctypes.POINTER(_Plane)
        self._library.vsr_multiply.argtypes = [ctypes.c_char_p, ctypes.c_int64]
        self._library.vsr_multiply.restype = ctypes.c_int64
        self._library.vsr_chain.argtypes = [
            ctypes.c_char_p, ctypes.POINTER(Layer), ctypes.c_int, ctypes.c_int, ctypes.c_float, ctypes.c_float, plane
        ]  # fmt: skip
        self._library.vsr_interpolate.argtypes = [
            ctypes.c_void_p, ctypes.c_void_p, ctypes.c_int, ctypes.c_int, plane
        ]  # fmt: skip

    def peak_macs_per_second(self) -> float:
        """What one core of this processor could do at best in 8-bit integers; takes a second. 0 without the chain."""
        if not self.kinds:
            return 0.0
        begun = thread_time()
        multiplications: int = self._library.vsr_multiply(self.kinds[0].encode(), _PEAK_ROUNDS)
        return multiplications / (thread_time() - begun)

    def chain(
        self,
        layers: ctypes.Array[Layer],
        source: npt.NDArray[Any],
        result: npt.NDArray[Any],
        *,
        rows: tuple[int, int],
        scale: int,
        grid: tuple[float, float],
        peak: int,
    ) -> None:
        """Run a chain of convolutions.

        Args:
            layers: packed as ``chain.c`` describes it; the arrays behind it have to live as long.
            source: H×W, uint8 or uint16, its rows contiguous.
            result: rH×rW of the same type; rows ``r * rows[0]`` to ``r * rows[1]`` are written.
            rows: the first row of the source to work on, and the one behind the last.
            scale: r: 2, 3 or 4.
            grid: (step, start): ``number * step + start`` is the first layer's input, 0 to 255, or 0 to 16320 in 16
                bit.
            peak: the largest number that a sample may be.

        Raises:
            MemoryError: there is not enough.
        """
        plane = _plane(source, result, rows, peak)
        kind = self.kinds[0].encode()
        _check(self._library.vsr_chain(kind, layers, len(layers), scale, *grid, ctypes.byref(plane)))

    def interpolate(
        self,
        down: npt.NDArray[np.float32],
        across: npt.NDArray[np.float32],
        source: npt.NDArray[Any],
        result: npt.NDArray[Any],
        *,
        rows: tuple[int, int],
        peak: int,
    ) -> None:
        """Run a separable kernel.

        Args:
            down: r×taps weights, taps odd.
            across: the same along a row.
            source: as for :meth:`chain`.
            result: as for :meth:`chain`.
            rows: as for :meth:`chain`.
            peak: as for :meth:`chain`.

        Raises:
            MemoryError: there is not enough.
        """
        scale, taps = down.shape
        plane = _plane(source, result, rows, peak)
        code = self._library.vsr_interpolate(down.ctypes.data, across.ctypes.data, taps, scale, ctypes.byref(plane))
        _check(code)


def _plane(source: npt.NDArray[Any], result: npt.NDArray[Any], rows: tuple[int, int], peak: int) -> _Plane:
    height, width = source.shape
    assert source.strides[1] == source.itemsize == result.itemsize == result.strides[1]
    return _Plane(
        source.ctypes.data,
        result.ctypes.data,
        source.strides[0],
        result.strides[0],
        height,
        width,
        *rows,
        source.itemsize == 2,
        peak,
    )


def _check(code: int) -> None:
    if code == _NO_MEMORY:
        raise MemoryError("there is no memory for the rows that a picture is worked on in")
    assert code == 0, f"the library takes no such arguments ({code})"


def load() -> Library | None:
    """The library; None where there is none that can be used."""
    return _here()[0]


def state() -> str:
    """What there is of the C code here, or why there is nothing, for people."""
    return _here()[1]


@cache
def _here() -> tuple[Library | None, str]:
    return find(Path(__file__).parent)


def find(folder: Path) -> tuple[Library | None, str]:
    """The library in a folder, and what there is to say of it; of several, rather that of this Python."""
    found = [each for each in folder.glob("_kernels*") if each.suffix in _ENDINGS]
    said = "it was not compiled when vsr was installed; install vsr again with a compiler present"
    for path in sorted(found, key=lambda each: sys.implementation.cache_tag not in each.name):
        try:
            library = Library(path)
        except (OSError, AttributeError) as error:
            said = f"it was compiled but cannot be used: {error}"
            log.debug("%s", said)
        else:
            what = f"compiled, {library.kinds[0]}" if library.kinds else "compiled, for interpolation alone here"
            return library, what
    return None, said
