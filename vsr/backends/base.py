"""What runs a network promises: planes of whole numbers in, larger planes of whole numbers out.

The meaning of the numbers (:class:`Numbers`) is compiled into a :class:`Runner`, so that nothing outside touches a
float. Networks on RGB, whose pictures are converted first, are run on floats as they are: a :class:`Program`.
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol, TypeAlias

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from vsr.models.base import Network

Plane: TypeAlias = npt.NDArray[np.uint8] | npt.NDArray[np.uint16]
Planes: TypeAlias = tuple[Plane, ...]
"""A picture: (Y,), or (Y, U, V)."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Numbers:
    """What the numbers of a plane mean, and how they become the [0, 1] of a network.

    A luma network takes limited range, 16..235 over 255, at whatever bit depth; full-range luma is mapped there and
    back. For chroma and for interpolation the mapping is a matter of indifference, all of them being linear.
    """

    bit_depth: int = 8
    full_range: bool = False

    @property
    def dtype(self) -> type[np.uint8] | type[np.uint16]:
        """uint8 for 8 bit, uint16 for more."""
        return np.uint8 if self.bit_depth == 8 else np.uint16

    @property
    def peak(self) -> int:
        """The largest number there is."""
        return (1 << self.bit_depth) - 1

    @property
    def gain(self) -> float:
        """``network value = number * gain + offset``."""
        return 219 / 255 / self.peak if self.full_range else 1 / (255 << (self.bit_depth - 8))

    @property
    def offset(self) -> float:
        """``network value = number * gain + offset``."""
        return 16 / 255 if self.full_range else 0.0


LAYER_BYTES = 256 << 20
"""What one layer of one picture may take on a host; a few are there at a time, so the peak is two to four times it."""


class Job(Protocol):
    """Planes on their way."""

    def result(self) -> list[Plane]:
        """Wait, and return the larger planes in the order of the smaller ones. The caller owns them."""
        ...


class Runner(Protocol):
    """A network made ready for planes of one kind of numbers; used by one thread."""

    def submit(self, planes: Sequence[Plane]) -> Job:
        """Start on planes of one shape, H×W each; copied before this returns, so the caller may free them."""
        ...


class Program(Protocol):
    """A network made ready for floats; used by one thread.

    Attributes:
        device: where its input has to lie and its output will.
    """

    device: torch.device

    def __call__(self, x: Tensor, /) -> Tensor:
        """float32 N×C×H×W to float32 N×C×rH×rW, not clamped; finished, or in the order of the device's work."""
        ...


class Backend(Protocol):
    """Somewhere that networks can run.

    Attributes:
        name: for people: ``"OpenVINO on CPU"``.
        precision: ``"fp32"``, ``"bf16"``, ``"fp16"``, ``"int16"`` or ``"int8"``: what the arithmetic is done in.
        in_flight: how many jobs it takes to keep it busy.
    """

    name: str
    precision: str
    in_flight: int

    def runner(self, network: Network, numbers: Numbers) -> Runner:
        """Make a network of one channel ready for planes."""
        ...

    def program(self, network: Network) -> Program:
        """Make a network ready for floats."""
        ...


def usable_cores() -> int:
    """How many CPU cores this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


@dataclass(frozen=True, slots=True)
class Done:
    """A job that was finished when it was handed in."""

    planes: list[Plane]

    def result(self) -> list[Plane]:
        """The planes."""
        return self.planes
