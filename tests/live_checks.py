"""What tests of live sources look at: frames up to a wanted one, and what is left behind."""

from __future__ import annotations

import gc
import itertools
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from streams.frame import Frame

PATIENCE_SECONDS = 20
"""Far more than anything here takes, for machines that do much else."""


def take(frames: Iterator[Frame], count: int) -> list[Frame]:
    return list(itertools.islice(frames, count))


def until(frames: Iterator[Frame], wanted: Callable[[Frame], bool]) -> list[Frame]:
    """Frames up to the first wanted one."""
    seen, deadline = [], time.monotonic() + PATIENCE_SECONDS
    for frame in frames:
        seen.append(frame)
        if wanted(frame):
            return seen
        if time.monotonic() > deadline:
            break
    pytest.fail(f"none of {len(seen)} frames was the wanted one")


def rises(frames: list[Frame]) -> bool:
    return all(earlier.pts < later.pts for earlier, later in itertools.pairwise(frames))


def is_marked(frame: Frame) -> bool:
    return frame.discontinuity


def descriptors() -> int:
    return len(list(Path("/proc/self/fd").iterdir()))


@contextmanager
def nothing_left() -> Iterator[None]:
    """Nothing that the test opened or started is there afterwards."""
    gc.collect()
    files, threads = descriptors(), set(threading.enumerate())
    yield
    deadline = time.monotonic() + PATIENCE_SECONDS
    while time.monotonic() < deadline and (descriptors() > files or set(threading.enumerate()) - threads):
        time.sleep(0.05)
    assert descriptors() <= files
    assert not set(threading.enumerate()) - threads
