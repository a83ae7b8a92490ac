"""Networks on RGB on a real GPU: the same pixels as on the CPU, several batches under way, and little memory."""

from __future__ import annotations

import gc
import threading
import time
from collections.abc import Iterator
from typing import Any

import pytest
import torch
from pictures import colour_photo, difference, network
from test_rgb import DEEP, Bicubic, Loud, smooth

from vsr import Upscaler
from vsr.backends.base import Planes
from vsr.layout import Layout

pytestmark = pytest.mark.cuda

LAYOUT = Layout(matrix=1)


@pytest.fixture(autouse=True)
def _whole_memory() -> Iterator[None]:
    yield
    if torch.cuda.is_available():
        torch.cuda.set_per_process_memory_fraction(1.0)
        torch.cuda.empty_cache()


def assert_close(one: list[Planes], other: list[Planes], *, most: int) -> None:
    for planes, others in zip(one, other, strict=True):
        for a, b in zip(planes, others, strict=True):
            assert difference(a, b)[0] <= most


@pytest.mark.parametrize("name", DEEP)
@pytest.mark.parametrize(("precision", "bit_depth", "most"), [("fp32", 8, 1), ("fp32", 10, 4), ("fp16", 8, 3)])
def test_close_to_the_cpu(name: str, precision: str, bit_depth: int, most: int) -> None:
    net, layout = network(name, 2), Layout(bit_depth=bit_depth, matrix=9)
    batch = [smooth(60, 76, layout, seed=seed) for seed in range(3)]
    results, expected = (
        Upscaler(network=net, device=device, precision=each).submit(batch, layout=layout).result()
        for device, each in (("cuda", precision), ("torch", "fp32"))
    )
    assert_close(results, expected, most=most)


@pytest.mark.parametrize("device", ["cuda", "cuda:all"])
@pytest.mark.parametrize("reuse", ["off", "exact"])
def test_many_under_way_keep_their_order(device: str, reuse: str) -> None:
    up = Upscaler(network=Bicubic(2), device=device, precision="fp32", reuse=reuse)
    plain = Upscaler(network=Bicubic(2), device="torch")
    # Each picture comes twice, one shape is always followed by another, and one comes between from the side.
    pictures = [smooth(40 + seed // 2, 54, LAYOUT, seed=seed // 2) for seed in range(24)]
    jobs = [up.submit([planes], layout=LAYOUT) for planes in pictures]
    rgb = colour_photo(30, 40)
    assert difference(up(rgb), plain(rgb))[0] <= 1
    for planes, job in zip(pictures, jobs, strict=True):
        assert_close(job.result(), plain.submit([planes], layout=LAYOUT).result(), most=1)


def test_half_precision_that_overflows_goes_on_in_full(caplog: pytest.LogCaptureFixture) -> None:
    up = Upscaler(network=Loud(2), device="cuda", precision="fp16")
    plain = Upscaler(network=Bicubic(2), device="torch")
    pictures = [smooth(40, 54, LAYOUT, seed=seed) for seed in range(5)]
    jobs = [up.submit([planes], layout=LAYOUT) for planes in pictures]
    for planes, job in zip(pictures, jobs, strict=True):
        assert_close(job.result(), plain.submit([planes], layout=LAYOUT).result(), most=1)
    assert caplog.text.count("going on in fp32") == 1


def test_out_of_memory_makes_less_at_once(caplog: pytest.LogCaptureFixture) -> None:
    up = Upscaler(network=network("srresnet", 2), device="cuda")
    batch = [smooth(1080, 1920, LAYOUT, seed=seed) for seed in range(4)]
    expected = up.submit(batch, layout=LAYOUT).result()
    gc.collect()
    torch.cuda.empty_cache()
    used, total = torch.cuda.memory_reserved(), torch.cuda.mem_get_info()[1]
    torch.cuda.set_per_process_memory_fraction((used + (1 << 30)) / total)
    jobs: list[Any] = [up.submit(batch, layout=LAYOUT) for _ in range(2)]
    for job in jobs:
        assert_close(job.result(), expected, most=3)
    assert "out of memory with 4 pictures at once" in caplog.text


def test_no_thread_outlives_its_upscaler() -> None:
    up = Upscaler(network=Bicubic(2), device="cuda:all")
    jobs = [up.submit([smooth(40, 54, LAYOUT)], layout=LAYOUT) for _ in range(6)]
    jobs[0].result()
    del up
    end = time.monotonic() + 30
    while any(thread.name.startswith("vsr-device") for thread in threading.enumerate()):
        assert time.monotonic() < end
        time.sleep(0.01)
