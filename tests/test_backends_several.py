"""Several devices as one: dealt out in turn, answered in order."""

from __future__ import annotations

import threading
from collections.abc import Sequence

import numpy as np
import pytest
from fake_device import FakeDevice, always
from pictures import network, noise

from vsr.backends import Choice, layer_bytes
from vsr.backends.base import LAYER_BYTES, Job, Numbers, Plane
from vsr.backends.cuda import CudaBackend
from vsr.backends.pytorch import TorchBackend
from vsr.backends.several import Alone, SeveralBackends, SeveralRunners, Workers, programs
from vsr.tiles import TiledRunner


class Worker:
    """Answers with its number, if it does not refuse; what is asked of it is written down for all."""

    def __init__(self, number: int, log: list[tuple[str, int, int]], *, refuses: Sequence[int] = ()) -> None:
        self.number, self.log, self.refuses = number, log, list(refuses)

    def submit(self, planes: Sequence[Plane]) -> Job:
        if int(planes[0][0, 0]) in self.refuses:
            self.refuses.remove(int(planes[0][0, 0]))
            raise MemoryError
        self.log.append(("submit", self.number, int(planes[0][0, 0])))
        return Answer(self, [plane.copy() for plane in planes])


class Answer:
    def __init__(self, worker: Worker, planes: list[Plane]) -> None:
        self.worker, self.planes = worker, planes

    def result(self) -> list[Plane]:
        self.worker.log.append(("result", self.worker.number, int(self.planes[0][0, 0])))
        return self.planes


def plane(number: int) -> Plane:
    return np.full((2, 2), number, np.uint8)


def test_batches_are_dealt_out_in_turn_and_answered_in_order() -> None:
    log: list[tuple[str, int, int]] = []
    runner = SeveralRunners([Worker(number, log) for number in range(3)])
    jobs = [runner.submit([plane(n)]) for n in range(7)]
    assert log == [("submit", n % 3, n) for n in range(7)]
    assert [int(job.result()[0][0, 0]) for job in jobs] == list(range(7))


def test_a_batch_refused_for_memory_loses_nothing() -> None:
    log: list[tuple[str, int, int]] = []
    workers = [Worker(0, log), Worker(1, log, refuses=[10])]
    runner = TiledRunner(SeveralRunners(workers), scale=1, margin=0, side=100, in_flight=4)
    jobs = [runner.submit([plane(n), plane(n + 1)]) for n in (0, 10, 20)]
    numbers = [int(result[0, 0]) for job in jobs for result in job.result()]
    assert numbers == [0, 1, 10, 11, 20, 21]
    assert [entry for entry in log if entry[0] == "submit"][1] == ("submit", 1, 10)


def test_two_devices_take_half_the_time() -> None:
    times = {"up": 1.0, "compute": 8.0, "down": 1.0}
    net = network("nearest", 2)

    def seconds(devices: list[FakeDevice]) -> float:
        backend = SeveralBackends([CudaBackend(device, precision="fp32") for device in devices])
        runner = backend.runner(net, Numbers())
        planes = [noise(4, 4, seed=n) for n in range(16)]
        jobs = [runner.submit([each]) for each in planes]
        for job, each in zip(jobs, planes, strict=True):
            np.testing.assert_array_equal(job.result()[0], each.repeat(2, axis=0).repeat(2, axis=1))
        return max(device.finish() for device in devices)

    one, two = seconds([FakeDevice(always(times))]), seconds([FakeDevice(always(times)) for _ in range(2)])
    assert two <= one / 2 + 2 * sum(times.values())


def test_what_they_are_together() -> None:
    backend = SeveralBackends([CudaBackend(FakeDevice(), precision="bf16") for _ in range(2)])
    assert (backend.precision, backend.in_flight, backend.name) == ("bf16", 6, "PyTorch on cpu, PyTorch on cpu")


def test_a_network_on_rgb_is_made_ready_on_each() -> None:
    net, single = network("srresnet", 2), TorchBackend()
    several = SeveralBackends([TorchBackend(), TorchBackend()])
    assert [len(programs(backend, net)) for backend in (single, several)] == [1, 2]


def test_alone_an_error_is_raised_where_work_is_handed_in() -> None:
    alone = Alone([1, 2])
    assert alone.submit(sum).result() == 3
    with pytest.raises(TypeError):
        alone.submit(abs)  # type: ignore[arg-type]


def test_workers_are_each_used_by_one_thread_that_ends_with_them() -> None:
    together = threading.Barrier(2)

    def work(name: str) -> tuple[str, int]:
        together.wait(30)
        return name, threading.get_ident()

    workers = Workers(["one", "other"])
    found = {job.result() for job in [workers.submit(work) for _ in range(8)]}
    assert {name for name, _ in found} == {"one", "other"}
    assert len(found) == len({thread for _, thread in found}) == 2
    mine = [thread for thread in threading.enumerate() if thread.ident in {thread for _, thread in found}]
    del workers
    for thread in mine:
        thread.join(30)
        assert not thread.is_alive()


def test_layers_without_a_gpu_are_small() -> None:
    assert layer_bytes(Choice(device="openvino", precision="fp32", reason="")) == LAYER_BYTES
