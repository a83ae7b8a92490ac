"""Three streams, events and rings, on an accelerator that is made of numbers."""

from __future__ import annotations

import gc
import random
from collections import deque
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch
from fake_device import FOREIGN, POISON, FakeDevice, FakeEvent, RaceError, always
from torch import Tensor

from vsr.backends.scheduler import SLOTS, Flight, HostPool, Ring

SIZE = 8


def doubled(source: Tensor, target: Tensor) -> Callable[[], None]:
    """Arithmetic whose result tells which batch it was made of: n becomes n + 1, twice."""

    def work() -> None:
        target[:SIZE], target[SIZE:] = source + 1, source + 1

    return work


def ring_on(device: FakeDevice, *, slots: int = SLOTS) -> Ring:
    return Ring(device, doubled, size_in=SIZE, size_out=2 * SIZE, slots=slots)


def send(ring: Ring, number: int) -> tuple[Flight, Any]:
    """Hand in a batch; what it was made of is held until its result is there, as runners do."""
    lease = ring.inputs.take()
    ring.device.host_writes(lease.block.buffer)  # type: ignore[attr-defined]
    lease.array[:] = number
    return ring.submit(lease), lease


def numbers_through(ring: Ring, count: int, *, in_flight: int, pause: Callable[[], float] = lambda: 0.0) -> list[int]:
    """Hand in 0, 1, 2, …, never more than ``in_flight`` at once; the results, less one."""
    flights: deque[tuple[Flight, Any]] = deque()
    seen: list[int] = []

    def deliver() -> None:
        flight, _lease = flights.popleft()
        array = flight.result()
        ring.device.host_works(pause())  # type: ignore[attr-defined]
        assert len(set(array.tolist())) == 1
        seen.append(int(array[0]) - 1)

    for number in range(count):
        ring.device.host_works(pause())  # type: ignore[attr-defined]
        flights.append(send(ring, number))
        if len(flights) >= in_flight:
            deliver()
    while flights:
        deliver()
    return seen


def test_memory_that_another_stream_is_not_done_with_is_waited_for(monkeypatch: pytest.MonkeyPatch) -> None:
    device = FakeDevice()
    memory = device.memory

    def used_before(size: int) -> Tensor:
        buffer = memory(size)
        device.launch(device.stream(FOREIGN), lambda: None, reads=[buffer], writes=[])
        return buffer

    monkeypatch.setattr(device, "memory", used_before)
    assert numbers_through(ring_on(device), 5, in_flight=2) == [0, 1, 2, 3, 4]


@pytest.mark.parametrize("seed", range(60))
def test_random_times_change_nothing(seed: int) -> None:
    rng = random.Random(seed)
    device = FakeDevice(lambda _: rng.choice([0.0, 0.1, 1.0, rng.expovariate(1.0), 20.0]))
    ring = ring_on(device, slots=rng.randint(1, 4))
    count = rng.randint(1, 25)
    results = numbers_through(ring, count, in_flight=rng.randint(1, 7), pause=lambda: rng.choice([0.0, 0.5, 3.0]))
    assert results == list(range(count))


@pytest.mark.parametrize(
    ("up", "compute", "down"), [(1.0, 1.0, 1.0), (1.0, 4.0, 2.0), (1.0, 2.0, 5.0), (3.0, 1.0, 0.5)]
)
def test_the_slowest_stream_sets_the_pace(up: float, compute: float, down: float) -> None:
    device, count = FakeDevice(always({"up": up, "compute": compute, "down": down})), 50
    numbers_through(ring_on(device), count, in_flight=4)
    slowest, serial = max(up, compute, down), up + compute + down
    assert count * slowest <= device.finish() <= count * slowest + serial
    for name, seconds in (("up", up), ("compute", compute), ("down", down)):
        assert device.streams[name].busy == pytest.approx(count * seconds)


def test_one_at_a_time_takes_the_sum() -> None:
    device = FakeDevice(always({"up": 1.0, "compute": 2.0, "down": 1.0}))
    numbers_through(ring_on(device), 10, in_flight=1)
    assert device.finish() == pytest.approx(10 * 4.0)


def test_two_slots_are_enough_where_times_do_not_vary() -> None:
    device = FakeDevice(always({"up": 1.0, "compute": 2.0, "down": 1.0}))
    numbers_through(ring_on(device, slots=2), 40, in_flight=4)
    assert device.finish() <= 40 * 2.0 + 4.0


def test_handing_in_waits_for_nothing() -> None:
    device = FakeDevice()
    ring = ring_on(device)
    sent = [send(ring, number) for number in range(2 * SLOTS)]
    assert device.now == 0.0
    assert [int(flight.result()[0]) - 1 for flight, _ in sent] == list(range(2 * SLOTS))


class Careless(FakeDevice):
    """Forgets one of the waits of the schedule, by its number in the course of each batch."""

    def __init__(self, forgotten: int) -> None:
        super().__init__(always({"up": 1.0, "compute": 5.0, "down": 3.0}))
        self.forgotten, self.waits = forgotten, 0

    def wait(self, stream: Any, event: FakeEvent) -> None:
        self.waits += 1
        # The first batches find their slots free: they wait for two events, later ones for four.
        which = (self.waits - 2 * SLOTS - 1) % 4 if self.waits > 2 * SLOTS else None
        if which != self.forgotten:
            super().wait(stream, event)


@pytest.mark.parametrize("forgotten", range(4))
def test_every_wait_is_needed(forgotten: int) -> None:
    """Or else the fake would not notice a race; it does, for each of the four."""
    device = Careless(forgotten)
    with pytest.raises(RaceError):
        numbers_through(ring_on(device), 4 * SLOTS, in_flight=4)


@pytest.mark.parametrize("seed", range(4))
def test_results_that_are_left_on_the_device_keep_their_order(seed: int) -> None:
    rng = random.Random(seed)
    device = FakeDevice(lambda _: rng.choice([0.0, 1.0, 9.0]))
    ring = ring_on(device)
    flights: deque[Flight] = deque()
    seen: list[int] = []

    def deliver() -> None:
        memory = flights.popleft().result()
        assert isinstance(memory, Tensor)
        device.host_reads(memory)
        seen.append(int(memory.unique().item()) - 1)

    for number in range(30):
        lease = ring.inputs.take()
        device.host_writes(lease.block.buffer)
        lease.array[:] = number
        flights.append(ring.submit(lease, leave=True))
        if len(flights) > rng.randint(1, 5):
            deliver()
    while flights:
        deliver()
    assert seen == list(range(30))


def test_memory_that_another_still_reads_is_not_written(monkeypatch: pytest.MonkeyPatch) -> None:
    """An allocator hands out what was freed while the last use of it is only enqueued."""
    device = FakeDevice()
    ring = ring_on(device)
    used = device.memory(2 * SIZE)
    device.launch(device.stream(FOREIGN), lambda: None, reads=[used], writes=[])
    monkeypatch.setattr(device, "memory", lambda _: used)
    lease = ring.inputs.take()
    device.host_writes(lease.block.buffer)
    lease.array[:] = 4
    assert set(ring.submit(lease, leave=True).result().tolist()) == {5}


def test_a_result_that_is_looked_at_too_early_is_seen() -> None:
    device = FakeDevice()
    ring = ring_on(device)
    flight, _lease = send(ring, 1)
    buffer = flight._output.block.buffer
    with pytest.raises(RaceError, match="read by host of a buffer that a write by down"):
        device.host_reads(buffer)
    assert set(buffer.tolist()) == {POISON}
    flight.result()
    device.host_reads(buffer)
    assert set(buffer.tolist()) == {2}


def test_an_input_given_back_too_early_is_waited_for() -> None:
    device = FakeDevice(always({"up": 5.0, "compute": 1.0, "down": 1.0}))
    ring = ring_on(device)
    flights = []
    for number in range(4):
        flight, lease = send(ring, number)
        del lease
        flights.append(flight)
    assert [int(flight.result()[0]) - 1 for flight in flights] == [0, 1, 2, 3]


def test_results_nobody_asks_for_do_no_harm() -> None:
    device = FakeDevice()
    ring = ring_on(device)
    for number in range(10):
        send(ring, number)
    gc.collect()
    assert numbers_through(ring, 5, in_flight=3) == [0, 1, 2, 3, 4]
    assert ring.outputs.lent == ring.inputs.lent == 0


def test_what_a_caller_keeps_is_never_written_to() -> None:
    ring = Ring(FakeDevice(), doubled, size_in=SIZE, size_out=2 * SIZE, kept_bytes=9 * 2 * SIZE)
    assert ring.kept == 2 * SLOTS + 9
    kept = []
    for number in range(4 * ring.kept):
        flight, _lease = send(ring, number)
        kept.append(flight.result()[2:6].reshape(2, 2))
    assert [int(view[1, 1]) - 1 for view in kept] == list(range(4 * ring.kept))
    assert ring.outputs.lent == ring.kept


def test_memory_is_lent_and_comes_back() -> None:
    pool = HostPool(FakeDevice(), SIZE)
    first = pool.take()
    address, view = first.block.buffer.data_ptr(), first.array[1:3][None]
    del first
    assert pool.lent == 1
    del view
    assert pool.lent == 0
    assert pool.take().block.buffer.data_ptr() == address


def test_the_number_of_buffers_does_not_grow_with_time() -> None:
    device = FakeDevice()
    ring = ring_on(device)
    numbers_through(ring, 10, in_flight=4)
    before = len(device._buffers)
    numbers_through(ring, 100, in_flight=4)
    assert len(device._buffers) == before


class Failing:
    """Arithmetic that fails for memory the n-th time, before or while it is enqueued."""

    def __init__(self, at: int, *, late: bool) -> None:
        self.calls, self.at, self.late = 0, at, late

    def __call__(self, source: Tensor, target: Tensor) -> Callable[[], None]:
        self.calls += 1
        if self.calls != self.at:
            return doubled(source, target)
        if not self.late:
            raise torch.OutOfMemoryError("out of memory")
        return self._fail

    def _fail(self) -> None:
        raise torch.OutOfMemoryError("out of memory")


class Eager(FakeDevice):
    """Calls work that fails at once, as launching kernels one by one does."""

    def launch(self, stream: Any, work: Callable[[], None], **buffers: Any) -> None:
        if getattr(work, "__name__", "") == "_fail":
            work()
        super().launch(stream, work, **buffers)


@pytest.mark.parametrize("late", [False, True])
@pytest.mark.parametrize("at", [1, 2, 5])
def test_a_batch_that_fails_can_be_handed_in_again(at: int, late: bool) -> None:
    ring = Ring(Eager(), Failing(at, late=late), size_in=SIZE, size_out=2 * SIZE)
    flights = []
    for number in range(9):
        lease = ring.inputs.take()
        lease.array[:] = number
        try:
            flights.append((ring.submit(lease), lease))
        except torch.OutOfMemoryError:
            flights.append((ring.submit(lease), lease))
    assert [int(flight.result()[0]) - 1 for flight, _ in flights] == list(range(9))


def test_closing_waits_for_what_is_under_way() -> None:
    device = FakeDevice()
    ring = ring_on(device)
    sent = [send(ring, number) for number in range(5)]
    ring.close()
    assert device.now == max(stream.time for stream in device.streams.values())
    assert [int(flight.result()[0]) - 1 for flight, _ in sent] == [0, 1, 2, 3, 4]


@pytest.mark.parametrize("in_flight", [1, 2, 3, 8])
def test_more_in_flight_is_never_slower(in_flight: int) -> None:
    times = {"up": 1.0, "compute": 3.0, "down": 2.0}
    fewer, more = (FakeDevice(always(times)) for _ in range(2))
    numbers_through(ring_on(fewer), 20, in_flight=in_flight)
    numbers_through(ring_on(more), 20, in_flight=in_flight + 1)
    assert more.finish() <= fewer.finish()


def test_arrays_are_bytes_of_the_buffer() -> None:
    lease = HostPool(FakeDevice(), SIZE).take()
    lease.array[:] = np.arange(SIZE)
    assert lease.block.buffer.tolist() == list(range(SIZE))
