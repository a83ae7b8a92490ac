"""The device in PyTorch's words, on a PyTorch that has none: what it says, and in which order."""

from __future__ import annotations

import gc
import itertools
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import pytest
import torch

from vsr.backends.device import CudaDevice


class Graphs:
    """PyTorch's graphs and streams, by its rules: a pool that has lost its last graph takes no other one."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.living: Counter[int] = Counter()
        self.current = "default"
        self._pools = itertools.count(1)
        owner = self

        class Graph:
            in_pool = 0

            def pool(self) -> int:
                assert self.in_pool
                return self.in_pool

            def replay(self) -> None:
                """Nothing to do."""

            def __del__(self) -> None:
                owner.living[self.in_pool] -= 1

        @contextmanager
        def stream(name: str) -> Iterator[None]:
            before, self.current = self.current, name
            try:
                yield
            finally:
                self.current = before

        @contextmanager
        def graph(made: Graph, *, pool: int | None, stream: str, capture_error_mode: str) -> Iterator[None]:
            assert capture_error_mode == "thread_local"
            if pool is not None and not self.living[pool]:
                raise RuntimeError("use_count > 0 INTERNAL ASSERT FAILED")
            self.current = stream
            yield  # what is raised within leaves the stream as it is, as PyTorch does
            made.in_pool = pool or next(self._pools)
            self.living[made.in_pool] += 1

        for name, stand_in in (("CUDAGraph", Graph), ("stream", stream), ("graph", graph)):
            monkeypatch.setattr(torch.cuda, name, stand_in)


def nothing() -> None:
    """Work that enqueues nothing."""


@pytest.fixture
def graphs(monkeypatch: pytest.MonkeyPatch) -> Graphs:
    return Graphs(monkeypatch)


def record(device: CudaDevice, work: Callable[[], None] = nothing) -> Callable[[], None]:
    stream: Any = "compute"
    return device.capture(stream, work)


def test_graphs_share_their_memory_as_long_as_one_lives(graphs: Graphs) -> None:
    device = CudaDevice()
    replays = [record(device) for _ in range(3)]
    assert graphs.living == {1: 3}
    del replays[0]
    replays.append(record(device))
    assert graphs.living == {1: 3}


def test_graphs_are_recorded_again_when_all_are_gone(graphs: Graphs) -> None:
    device = CudaDevice()
    for _ in range(3):
        replay = record(device)
        del replay
        gc.collect()
    assert sum(graphs.living.values()) == 0


def test_a_recording_that_fails_leaves_its_stream(graphs: Graphs) -> None:
    def broken() -> None:
        raise RuntimeError("operation not permitted when stream is capturing")

    device = CudaDevice()
    with pytest.raises(RuntimeError, match="not permitted"):
        record(device, broken)
    assert graphs.current == "default"
    record(device)


def test_threads_that_ask_at_once_get_the_same_stream(monkeypatch: pytest.MonkeyPatch) -> None:
    def slow(_: torch.device) -> object:
        time.sleep(0.05)
        return object()

    monkeypatch.setattr(torch.cuda, "Stream", slow)
    device = CudaDevice()
    found: list[object] = []
    threads = [threading.Thread(target=lambda: found.append(device.stream("compute"))) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len({id(stream) for stream in found}) == 1
