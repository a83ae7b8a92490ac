"""What the sections of the benchmark of a GPU share: sizes, clocks, and a stand-in for rehearsals without a GPU."""

from __future__ import annotations

import gc
import statistics
import time
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager, nullcontext
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from vsr.backends.base import Backend, Planes
from vsr.backends.cuda import CudaBackend
from vsr.backends.device import Accelerator, cuda_device
from vsr.layout import Layout

LAYOUT = Layout(subsampling="420", matrix=1)


class Skipped(Exception):  # noqa: N818
    """A section cannot be run here; the message says why."""


class Bench:
    """One run of the benchmark.

    Args:
        rehearse: tiny, and on the CPU.
        out: folder for files; made when the first one is written.
    """

    def __init__(self, *, rehearse: bool, out: Path) -> None:
        self.rehearse, self.out = rehearse, out
        self.deadline = 0.0
        self.accelerator: Accelerator = Immediate() if rehearse else cuda_device(0) if _has_gpu() else Immediate()
        self.place = self.accelerator.device
        self.size = (48, 32) if rehearse else (1920, 1080)
        self.device = "torch" if rehearse else "cuda"
        self.reached: dict[str, float] = {}

    @property
    def in_time(self) -> bool:
        """Whether the section may go on."""
        return time.monotonic() < self.deadline

    def backend(self, precision: str, **options: Any) -> Backend:
        """The backend that is measured."""
        return CudaBackend(self.accelerator, precision=precision, **options)

    def seconds_of(self, work: Callable[[], object], *, repeats: int = 20, warm_up: int = 5) -> float:
        """Median seconds that work takes on the device, by its own clock."""
        for _ in range(0 if self.rehearse else warm_up):
            work()
        times = [self._seconds(work) for _ in range(1 if self.rehearse else repeats)]
        return statistics.median(times)

    def goals(self) -> dict[str, dict[str, float]]:
        """What was hoped for on an H200, and what was reached."""
        hoped = {"network_fps": 1500.0, "pipeline_fps": 600.0, "overlap": 1.6}
        return {name: {"goal": goal, "reached": self.reached.get(name, 0.0)} for name, goal in hoped.items()}

    def reach(self, name: str, value: float) -> None:
        """Note the best of a figure that there is a goal for."""
        self.reached[name] = max(value, self.reached.get(name, 0.0))

    def pictures(self, count: int, *, seed: int = 0) -> list[Planes]:
        """4:2:0 pictures of the size of the benchmark: noise on a slope, which no cache or compressor likes."""
        width, height = self.size
        return [
            (
                noisy(height, width, seed=seed + 3 * n),
                noisy(height // 2, width // 2, seed=seed + 3 * n + 1),
                noisy(height // 2, width // 2, seed=seed + 3 * n + 2),
            )
            for n in range(count)
        ]

    def clean(self) -> None:
        """Leave nothing behind for the next section."""
        gc.collect()
        self.accelerator.trim()

    def _seconds(self, work: Callable[[], object]) -> float:
        if self.place.type != "cuda":
            begun = time.perf_counter()
            work()
            return max(time.perf_counter() - begun, 1e-9)
        begin, end = (torch.cuda.Event(enable_timing=True) for _ in range(2))  # type: ignore[no-untyped-call]
        begin.record()
        work()
        end.record()
        end.synchronize()
        return float(begin.elapsed_time(end)) / 1000


class Immediate:
    """A device that does everything at once, on the CPU: :class:`vsr.backends.device.Accelerator` without one."""

    device = torch.device("cpu")

    def alone(self) -> AbstractContextManager[object]:
        """Nobody waits."""
        return nullcontext()

    def stream(self, name: str) -> Any:
        """Its name."""
        return name

    def pinned(self, size: int) -> Tensor:
        """Memory."""
        return torch.zeros(size, dtype=torch.uint8)

    def memory(self, size: int) -> Tensor:
        """Memory."""
        return torch.zeros(size, dtype=torch.uint8)

    def copy(self, stream: Any, target: Tensor, source: Tensor) -> None:
        """Copy."""
        target.copy_(source)

    def launch(
        self, stream: Any, work: Callable[[], None], *, reads: Sequence[Tensor], writes: Sequence[Tensor]
    ) -> None:
        """Do it."""
        work()

    def record(self, stream: Any) -> Any:
        """Nothing is under way."""
        return None

    def foreign(self) -> Any:
        """Nothing is under way."""
        return None

    def wait(self, stream: Any, event: Any) -> None:
        """Nothing is under way."""

    def synchronize(self, event: Any) -> None:
        """Nothing is under way."""

    def capture(self, stream: Any, work: Callable[[], None]) -> Callable[[], None]:
        """The work itself."""
        return work

    def settle(self) -> None:
        """Nothing is under way."""

    def trim(self) -> None:
        """Nothing is kept back."""


def noisy(rows: int, columns: int, *, seed: int) -> npt.NDArray[np.uint8]:
    """A slope with noise, in the numbers of limited range."""
    slope = np.linspace(40, 180, columns, dtype=np.float32)
    noise = np.random.default_rng(seed).integers(0, 32, (rows, columns), dtype=np.uint8)
    return (slope + noise).astype(np.uint8)


def difference(found: Sequence[Any], wanted: Sequence[Any]) -> int:
    """The largest between planes of two pictures, or of two lists of planes."""
    return max(
        int(np.abs(plane.astype(np.int32) - other.astype(np.int32)).max())
        for plane, other in zip(found, wanted, strict=True)
    )


def rounded(values: dict[str, Any], digits: int = 4) -> dict[str, Any]:
    """Figures with as many digits as mean something."""
    return {key: float(f"{value:.{digits}g}") if isinstance(value, float) else value for key, value in values.items()}


def _has_gpu() -> bool:
    return torch.cuda.is_available()
