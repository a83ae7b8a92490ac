"""Networks on RGB on GPUs: a thread for each, seen through programs on the CPU that stand in for them."""

from __future__ import annotations

import gc
import random
import signal
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import CancelledError
from functools import cache
from typing import Any

import numpy as np
import pytest
import torch
from pictures import colour_photo, network, noise
from stubs import TIME_BASE, StubSink, StubSource
from test_rgb import Bicubic, Loud
from torch import Tensor

from streams.frame import Frame, PixelFormat
from streams.pipeline import Pipeline
from streams.stats import Stats
from vsr import Upscaler, rgb, upscaler
from vsr.app.enhancer import UpscalerEnhancer
from vsr.backends import Choice
from vsr.backends.base import Planes, Program
from vsr.backends.pytorch import TorchBackend
from vsr.backends.several import SeveralBackends
from vsr.errors import DeviceError
from vsr.layout import Layout
from vsr.models.base import Network

LAYOUT = Layout(matrix=1)
PATIENCE_SECONDS = 30


class Gpu:
    """A backend and its program: PyTorch's on the CPU, behind what a test does before each call."""

    in_flight, name, device = 1, "stand-in", torch.device("cpu")

    def __init__(self, before: Callable[[Tensor], object] = lambda x: None, *, precision: str = "fp32") -> None:
        self.before, self.precision = before, precision
        self.shapes: list[tuple[int, ...]] = []
        self.threads: set[int] = set()

    def runner(self, *_: Any) -> Any:
        raise AssertionError("a network on RGB has no planes of its own")

    def program(self, network: Network) -> Program:
        self._program = TorchBackend(precision=self.precision).program(network)
        return self

    def __call__(self, x: Tensor, /) -> Tensor:
        self.threads.add(threading.get_ident())
        self.before(x)
        self.shapes.append(tuple(x.shape))
        return self._program(x)


class Gate:
    """Where a GPU waits until a test lets it go on."""

    def __init__(self) -> None:
        self.reached, self.opened = threading.Event(), threading.Event()

    def __call__(self, _: Tensor) -> None:
        self.reached.set()
        assert self.opened.wait(PATIENCE_SECONDS)


Open = Callable[..., Upscaler]


@pytest.fixture
def on(monkeypatch: pytest.MonkeyPatch) -> Open:
    """Opens an upscaler that takes stand-ins for GPUs."""

    def opened(*gpus: Gpu, net: Network | None = None, **options: Any) -> Upscaler:
        with monkeypatch.context() as patch:
            choice = Choice(device="cuda", precision=gpus[0].precision, reason="")
            patch.setattr(upscaler, "choose", lambda *_, **__: choice)
            patch.setattr(rgb, "make_backend", lambda *_, **__: SeveralBackends(gpus) if len(gpus) > 1 else gpus[0])
            return Upscaler(network=Bicubic(2) if net is None else net, device="cuda", **options)

    return opened


@pytest.fixture(autouse=True)
def _no_thread_is_left() -> Iterator[None]:
    yield
    gc.collect()
    wait_until(lambda: not threads())


def threads() -> list[str]:
    return [thread.name for thread in threading.enumerate() if thread.name.startswith("vsr-device")]


def wait_until(true: Callable[[], bool]) -> None:
    end = time.monotonic() + PATIENCE_SECONDS
    while not true():
        assert time.monotonic() < end
        time.sleep(0.005)


def picture(seed: int, rows: int = 10, columns: int = 12) -> Planes:
    return tuple(noise(*shape, seed=seed) for shape in ((rows, columns), *[LAYOUT.chroma_shape(rows, columns)] * 2))


@cache
def made_of(seed: int, rows: int = 10) -> Planes:
    return Upscaler(network=Bicubic(2), device="torch").submit([picture(seed, rows)], layout=LAYOUT).result()[0]


def assert_equal(one: Planes, other: Planes) -> None:
    for a, b in zip(one, other, strict=True):
        np.testing.assert_array_equal(a, b)


def refuse(rows: int, error: type[Exception]) -> Callable[[Tensor], None]:
    """An error for pictures of so many rows."""

    def before(x: Tensor) -> None:
        if x.shape[2] == rows:
            raise error(f"of {rows} rows")

    return before


@pytest.mark.parametrize("seed", range(4))
@pytest.mark.parametrize("count", [1, 2, 3])
def test_whatever_the_delays_results_keep_their_order(on: Open, count: int, seed: int) -> None:
    dice = random.Random(seed)
    gpus = [Gpu(lambda _: time.sleep(dice.choice([0, 0.001, 0.004]))) for _ in range(count)]
    up = on(*gpus)
    assert up.in_flight == count
    jobs = [up.submit([picture(number), picture(number + 1)], layout=LAYOUT) for number in range(24)]
    for number, job in enumerate(jobs):
        for each, result in enumerate(job.result()):
            assert_equal(result, made_of(number + each))
    assert sum(len(gpu.shapes) for gpu in gpus) == 24


def test_all_are_at_work_at_once_each_in_its_own_thread(on: Open) -> None:
    together = threading.Barrier(3)
    gpus = [Gpu(lambda _: together.wait(PATIENCE_SECONDS)) for _ in range(3)]
    up = on(*gpus)
    for job in [up.submit([picture(number)], layout=LAYOUT) for number in range(12)]:
        job.result()
    assert [len(gpu.shapes) for gpu in gpus] == [4, 4, 4]
    assert [len(gpu.threads) for gpu in gpus] == [1, 1, 1]
    assert len(set.union(*(gpu.threads for gpu in gpus))) == 3


def test_a_slow_one_does_not_hold_up_the_others(on: Open) -> None:
    gate = Gate()
    slow, fast = Gpu(gate), Gpu(lambda _: gate.reached.wait(PATIENCE_SECONDS))
    up = on(slow, fast)
    jobs = [up.submit([picture(number)], layout=LAYOUT) for number in range(9)]
    wait_until(lambda: len(fast.shapes) == 8)
    gate.opened.set()
    for number, job in enumerate(jobs):
        assert_equal(job.result()[0], made_of(number))


def test_the_next_is_handed_in_while_the_last_is_computed(on: Open) -> None:
    gate = Gate()
    up = on(Gpu(gate))
    first, second = picture(1), picture(2)
    jobs = [up.submit([planes], layout=LAYOUT) for planes in (first, second)]
    assert gate.reached.wait(PATIENCE_SECONDS)
    # What was handed in was copied.
    for plane in (*first, *second):
        plane.fill(0)
    gate.opened.set()
    for number, job in enumerate(jobs, start=1):
        assert_equal(job.result()[0], made_of(number))
        assert job.result() is job.result()


def test_on_a_cpu_it_is_done_in_the_thread_that_hands_it_in() -> None:
    up = Upscaler(network=Bicubic(2), device="torch")
    job = up.submit([picture(1)], layout=LAYOUT)
    assert job.done()  # type: ignore[attr-defined]
    assert not threads()


@pytest.mark.parametrize("count", [1, 2])
def test_an_error_is_raised_by_the_result_it_belongs_to(on: Open, count: int) -> None:
    up = on(*(Gpu(refuse(8, ArithmeticError)) for _ in range(count)))
    jobs = [up.submit([picture(number, rows=8 if number == 2 else 10)], layout=LAYOUT) for number in range(6)]
    for number, job in enumerate(jobs):
        if number == 2:
            with pytest.raises(ArithmeticError, match="of 8 rows"):
                job.result()
        else:
            assert_equal(job.result()[0], made_of(number))


@pytest.mark.parametrize("count", [1, 2])
def test_out_of_memory_makes_less_of_each_device_that_it_happens_on(on: Open, count: int) -> None:
    def before(x: Tensor) -> None:
        if x[:, 0].numel() > 2 * 120:
            raise torch.OutOfMemoryError("CUDA out of memory")

    gpus = [Gpu(before) for _ in range(count)]
    up = on(*gpus)
    jobs = [up.submit([picture(number + each) for each in range(5)], layout=LAYOUT) for number in range(6)]
    for number, job in enumerate(jobs):
        for each, result in enumerate(job.result()):
            assert_equal(result, made_of(number + each))
    assert {shape[0] for gpu in gpus for shape in gpu.shapes} == {1, 2}


def test_no_memory_at_all_is_an_error_of_the_result(on: Open) -> None:
    up = on(Gpu(refuse(10, torch.OutOfMemoryError)))
    jobs = [up.submit([picture(1, rows=rows)], layout=LAYOUT) for rows in (10, 8)]
    with pytest.raises(DeviceError, match="memory does not suffice even for tiles"):
        jobs[0].result()
    assert_equal(jobs[1].result()[0], made_of(1, rows=8))


@pytest.mark.parametrize("count", [1, 2])
def test_half_precision_that_overflows_goes_on_in_full(on: Open, count: int, caplog: pytest.LogCaptureFixture) -> None:
    up = on(*(Gpu(precision="fp16") for _ in range(count)), net=Loud(2))
    jobs = [up.submit([picture(number)], layout=LAYOUT) for number in range(6)]
    for number, job in enumerate(jobs):
        assert_equal(job.result()[0], made_of(number))
    messages = [record.message for record in caplog.records]
    assert 1 <= len(messages) <= count
    assert set(messages) == {"torch.float16 overflowed on cpu; going on in fp32"}


def test_one_picture_of_rgb_waits_for_its_turn(on: Open) -> None:
    net, photo = network("srresnet", 2), colour_photo(20, 24)
    up = on(Gpu(), Gpu(), net=net)
    jobs = [up.submit([picture(number)], layout=LAYOUT) for number in range(4)]
    np.testing.assert_array_equal(up(photo), Upscaler(network=net, device="torch")(photo))
    assert len([job.result() for job in jobs]) == 4


def test_pictures_that_come_again_before_the_first_is_done(on: Open) -> None:
    gate = Gate()
    gpu = Gpu(gate)
    up = on(gpu, reuse="exact")
    order = (0, 0, 1, 1, 1, 0)
    jobs = [up.submit([picture(seed)], layout=LAYOUT) for seed in order]
    both = up.submit([picture(0)] * 2, layout=LAYOUT)
    gate.opened.set()
    results = [job.result()[0] for job in jobs]
    for seed, result in zip(order, results, strict=True):
        assert_equal(result, made_of(seed))
    assert len(gpu.shapes) == 3
    assert results[0] is results[1]
    assert both.result() == [results[5]] * 2
    assert not any(plane.flags.writeable for result in results for plane in result)


def test_what_comes_again_after_a_reset_is_computed_again(on: Open) -> None:
    gate = Gate()
    gpu = Gpu(gate)
    up = on(gpu, reuse="exact")
    first = up.submit([picture(0)], layout=LAYOUT)
    up.reset()
    second = up.submit([picture(0)], layout=LAYOUT)
    gate.opened.set()
    assert_equal(first.result()[0], second.result()[0])
    assert len(gpu.shapes) == 2


def test_nothing_rests_on_a_picture_that_failed(on: Open) -> None:
    gate, fails = Gate(), iter([True])

    def before(x: Tensor) -> None:
        gate(x)
        if next(fails, False):
            raise ArithmeticError("once")

    up = on(Gpu(before), reuse="exact")
    failing = [up.submit([picture(0)], layout=LAYOUT) for _ in range(2)]
    gate.opened.set()
    for job in failing:
        with pytest.raises(ArithmeticError, match="once"):
            job.result()
    assert_equal(up.submit([picture(0)], layout=LAYOUT).result()[0], made_of(0))


def test_without_its_upscaler_no_work_is_begun_and_no_thread_left(on: Open) -> None:
    gate = Gate()
    gpu = Gpu(gate)
    up = on(gpu, reuse="exact")
    jobs = [up.submit([picture(number)], layout=LAYOUT) for number in range(4)]
    assert gate.reached.wait(PATIENCE_SECONDS)
    gc.disable()
    try:
        del up
        gate.opened.set()
        wait_until(lambda: not threads())
    finally:
        gc.enable()
    assert_equal(jobs[0].result()[0], made_of(0))
    assert len(gpu.shapes) == 1
    for job in jobs[1:]:
        with pytest.raises(CancelledError):
            job.result()


def interrupt_soon() -> None:
    """Ctrl-C, as it reaches a main thread that waits."""
    main = threading.main_thread().ident
    assert main is not None
    threading.Timer(0.1, signal.pthread_kill, (main, signal.SIGINT)).start()


def test_interrupted_while_it_waits_it_can_be_asked_again(on: Open) -> None:
    gate = Gate()
    up = on(Gpu(gate), Gpu(gate))
    jobs = [up.submit([picture(number)], layout=LAYOUT) for number in range(3)]
    assert gate.reached.wait(PATIENCE_SECONDS)
    with pytest.raises(KeyboardInterrupt):
        interrupt_soon()
        jobs[0].result()
    gate.opened.set()
    for number, job in enumerate(jobs):
        assert_equal(job.result()[0], made_of(number))


FORM = PixelFormat(matrix=1)


def frames(count: int, *, rows: int = 10) -> Iterator[Frame]:
    for number in range(count):
        yield Frame(planes=picture(number % 7, rows), format=FORM, pts=number, time_base=TIME_BASE)


def test_a_pipeline_keeps_every_frame(on: Open) -> None:
    dice = random.Random(0)
    up = on(*(Gpu(lambda _: time.sleep(dice.choice([0, 0.003]))) for _ in range(2)))
    sink = StubSink()
    source = StubSource(list(frames(30)))
    Pipeline(source, UpscalerEnhancer(up), sink, batch_size=2, in_flight=up.in_flight + 1).run()
    assert [frame.pts for frame in sink.items] == list(range(30))
    for number, frame in enumerate(sink.items):
        assert_equal(frame.planes, made_of(number % 7))


def test_a_pipeline_ends_with_the_error_of_a_device(on: Open) -> None:
    up = on(*(Gpu(refuse(8, ArithmeticError)) for _ in range(2)))
    source, sink = StubSource([*frames(10), *frames(10, rows=8), *frames(100)]), StubSink()
    with pytest.raises(ArithmeticError, match="of 8 rows"):
        Pipeline(source, UpscalerEnhancer(up), sink, in_flight=up.in_flight + 1).run()
    assert len(sink.items) == 10
    assert sink.calls == ["abort"]


def test_a_pipeline_that_is_interrupted_leaves_nothing_behind(on: Open) -> None:
    up, sink = on(Gpu(), Gpu()), StubSink()

    def interrupt(stats: Stats) -> None:
        if stats.frames_out == 5:
            signal.raise_signal(signal.SIGINT)

    source = StubSource(list(frames(200)))
    pipeline = Pipeline(source, UpscalerEnhancer(up), sink, in_flight=up.in_flight + 1, on_frame=interrupt)
    with pytest.raises(KeyboardInterrupt):
        pipeline.run()
    assert sink.calls == ["abort"]
    assert len(sink.items) < 200
