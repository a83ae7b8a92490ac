"""The sections of the benchmark of a GPU. Each yields what it finds, a dictionary of plain values at a time."""

from __future__ import annotations

import copy
import logging
import os
import platform
import threading
import time
from collections import deque
from collections.abc import Iterator
from functools import partial
from typing import Any

import numpy as np
import torch
from torch import nn
from torch.nn import functional

from vsr.app.cuda_bench import LAYOUT, Bench, Skipped, difference, noisy, rounded
from vsr.app.cuda_trace import traced
from vsr.backends.base import Numbers, Planes
from vsr.backends.cuda import CudaRunner, Kernels, Means
from vsr.backends.pytorch import TYPES
from vsr.backends.scheduler import SLOTS
from vsr.models.base import Network, macs_per_input_sample
from vsr.tiles import TiledRunner
from vsr.upscaler import Upscaler, load

Found = Iterator[dict[str, Any]]

_BATCHES = (1, 2, 4, 8, 16)
_BATCH = 4


def machine(bench: Bench) -> Found:
    """What is measured."""
    facts: dict[str, Any] = {"torch": torch.__version__, "python": platform.python_version(), "cpus": os.cpu_count()}
    if torch.cuda.is_available():
        found = torch.cuda.get_device_properties(0)
        facts |= {
            "gpu": found.name,
            "gpus": torch.cuda.device_count(),
            "memory_gib": found.total_memory / 2**30,
            "multiprocessors": found.multi_processor_count,
            "capability": f"{found.major}.{found.minor}",
            "cuda": torch.version.cuda,
            "cudnn": torch.backends.cudnn.version(),  # type: ignore[no-untyped-call]
        }
    yield rounded(facts | {"rehearsal": bench.rehearse})


def copies(bench: Bench) -> Found:
    """Gigabytes per second between pinned memory and the device: one way, the other, and both at once."""
    size = (1 if bench.rehearse else 256) << 20
    device = bench.accelerator
    up, down = device.stream("up"), device.stream("down")
    there, back = device.memory(size), device.memory(size)
    source, target = device.pinned(size), device.pinned(size)

    def rate(*, go: bool, come: bool) -> float:
        times = []
        for _ in range(10):
            device.settle()
            begun = time.perf_counter()
            if go:
                device.copy(up, there, source)
            if come:
                device.copy(down, target, back)
            device.settle()
            times.append(time.perf_counter() - begun)
        return (go + come) * size / min(times) / 1e9

    ordinary = torch.zeros(size, dtype=torch.uint8)
    result = {"up_gbs": rate(go=True, come=False), "down_gbs": rate(go=False, come=True)}
    result |= {"both_gbs": rate(go=True, come=True)}
    result |= {"up_not_pinned_gbs": size / bench.seconds_of(lambda: there.copy_(ordinary), repeats=5) / 1e9}
    result |= {"within_gbs": 2 * size / bench.seconds_of(lambda: there.copy_(back)) / 1e9}
    yield rounded(result)


def products(bench: Bench) -> Found:
    """The most that the device multiplies: one large matrix product, in random numbers."""
    side = 256 if bench.rehearse else 8192
    for kind in (torch.float16, torch.bfloat16):
        a, b = (torch.randn(side, side, device=bench.place, dtype=kind) for _ in range(2))
        rate = 2 * side**3 / bench.seconds_of(partial(torch.matmul, a, b)) / 1e12
        bench.reached[f"peak {kind}"] = rate
        yield rounded({"kind": str(kind), "tflops": rate})


def network(bench: Bench) -> Found:
    """Frames per second of the arithmetic alone, from whole numbers to whole numbers, without any copies."""
    for name, precision, graphs, batches in (
        ("espcn", "fp16", True, _BATCHES),
        ("espcn", "fp16", False, _BATCHES),
        ("espcn", "bf16", True, (_BATCH,)),
        ("espcn", "fp32", True, (_BATCH,)),
        ("ecbsr", "fp16", True, (1, _BATCH, 16)),
        ("bicubic", "fp32", True, (_BATCH,)),
    ):
        net = _on_device(bench, name)
        for batch in batches:
            if not bench.in_time:
                raise Skipped(f"no time for the rest, from {name} {precision} batch {batch} on")
            yield _arithmetic(bench, net, name=name, precision=precision, graphs=graphs, batch=batch)
            if bench.rehearse:
                break
    yield _parts(bench)
    yield _layers(bench)


def fused(bench: Bench) -> Found:
    """The same by kernels of our own, and whether they are right; they need Triton."""
    for name in ("espcn", "ecbsr"):
        net, plane = load(name, 2, "fp32"), bench.pictures(1)[0][0]
        found, wanted = (
            bench.backend(precision, means=means).runner(net, Numbers()).submit([plane]).result()
            for precision, means in (("fp16", "fused"), ("fp32", "plain"))
        )
        yield {"network": name, "max_difference": difference(found, wanted)}
        for batch in (1, _BATCH, 16):
            if bench.in_time and not (bench.rehearse and batch > 1):
                yield _arithmetic(
                    bench, _on_device(bench, name), name=name, precision="fp16", graphs=True, batch=batch, means="fused"
                )


def compiled(bench: Bench) -> Found:
    """The same with ``torch.compile``, which may take minutes."""
    if bench.deadline - time.monotonic() < 60 and not bench.rehearse:
        raise Skipped("less than a minute is left, and compiling may take it all")
    for name in ("espcn", "ecbsr"):
        if bench.in_time:
            net = _on_device(bench, name)
            means: Means = "plain" if bench.rehearse else "compiled"
            yield _arithmetic(bench, net, name=name, precision="fp16", graphs=True, batch=_BATCH, means=means)


def overlap(bench: Bench) -> Found:
    """Pictures from memory to memory through the whole of it, several batches in flight against one after the other."""
    for batch in (_BATCH, 8):
        if not bench.in_time:
            raise Skipped(f"no time for batches of {batch}")
        up = Upscaler("espcn", device=bench.device)
        pictures, count = bench.pictures(batch), 3 if bench.rehearse else 30
        _through(up, pictures, count=2 * SLOTS, in_flight=1)
        serial, beside = (
            batch * count / _through(up, pictures, count=count, in_flight=n) for n in (1, up.in_flight + 1)
        )
        bench.reach("overlap", beside / serial)
        yield rounded({"batch": batch, "serial_fps": serial, "fps": beside, "ratio": beside / serial}) | _memory()


def trace(bench: Bench) -> Found:
    """A trace of a few batches, for chrome://tracing or Perfetto, and what can be read off it."""
    up = Upscaler("espcn", device=bench.device)
    pictures = bench.pictures(_BATCH)
    _through(up, pictures, count=1 if bench.rehearse else 3 * SLOTS, in_flight=up.in_flight + 1)
    count = 2 if bench.rehearse else 12
    yield rounded(traced(bench, lambda: _through(up, pictures, count=count, in_flight=up.in_flight + 1)))


def pipeline(bench: Bench) -> Found:
    """From a file to nowhere: decode, network, and a sink that only counts; and to a file that the GPU encodes."""
    try:
        from vsr.app.cuda_pipeline import measured
    except ImportError as error:
        raise Skipped(f"{error}; install it to decode") from error
    yield from measured(bench)


def correctness(bench: Bench) -> Found:
    """The largest difference to PyTorch in fp32 on the CPU, in steps of 8 bit (of 10 where it says so)."""
    columns, rows = (side if bench.rehearse else side // 2 for side in bench.size)
    pictures: list[Planes] = [
        (noisy(rows, columns, seed=n), *(noisy(rows // 2, columns // 2, seed=n + 9) for _ in range(2)))
        for n in range(_BATCH)
    ]
    for name in ("espcn",) if bench.rehearse else ("espcn", "ecbsr", "srcnn"):
        wanted = Upscaler(name, device="torch", precision="fp32").submit(pictures, layout=LAYOUT).result()
        for precision, tile in (("fp32", None), ("fp16", None), ("bf16", None), ("fp16", 256)):
            if not bench.in_time:
                raise Skipped("no time for the rest")
            if precision == "fp16" and bench.rehearse:
                continue  # the CPU path has none
            up = Upscaler(name, device=bench.device, precision=precision, tile=tile)
            yield {"network": name, "precision": precision, "tile": tile} | _compared(up, pictures, wanted)


def overflow(bench: Bench) -> Found:
    """A network that overflows in half precision on bright pictures: nothing is lost, and it is told once."""
    runner = bench.backend("fp16").runner(Loud(), Numbers())
    planes = [np.full((64, 64), 16 if n < 6 else 200 + n, np.uint8) for n in range(12)]
    with Listening() as heard:
        jobs = [runner.submit([plane]) for plane in planes]
        right = [int(job.result()[0].min()) == int(plane[0, 0]) for job, plane in zip(jobs, planes, strict=True)]
    yield {"frames": len(right), "right": sum(right), "warnings": heard.messages}


def out_of_memory(bench: Bench) -> Found:
    """Too large a batch for what memory is left: it becomes smaller, and the pictures are the same."""
    if bench.rehearse:
        raise Skipped("a rehearsal has no memory that could run out")
    net = load("espcn", 2, "fp32")
    inner = bench.backend("fp16").runner(net, Numbers())
    assert isinstance(inner, CudaRunner)
    runner = TiledRunner(inner, scale=2, margin=net.overlap, side=4096, in_flight=SLOTS)
    planes = [picture[0] for picture in bench.pictures(8)]
    wanted = [plane.copy() for plane in runner.submit(planes).result()]
    inner.free()
    total = torch.cuda.mem_get_info()[1]
    torch.cuda.set_per_process_memory_fraction((torch.cuda.memory_reserved() + (1536 << 20)) / total)
    try:
        with Listening() as heard:
            found = runner.submit(planes).result()
    finally:
        torch.cuda.set_per_process_memory_fraction(1.0)
    yield {"frames": len(found), "max_difference": difference(found, wanted), "warnings": heard.messages}


def two_at_once(bench: Bench) -> Found:
    """Two streams of video on one device, each in a thread of its own, against one alone."""
    ups = [Upscaler("espcn", device=bench.device) for _ in range(2)]
    pictures, count = bench.pictures(_BATCH), 2 if bench.rehearse else 30
    for up in ups:
        _through(up, pictures, count=2 * SLOTS, in_flight=1)
    alone = _BATCH * count / _through(ups[0], pictures, count=count, in_flight=SLOTS + 1)
    begun = time.perf_counter()
    threads = [
        threading.Thread(target=_through, args=(up, pictures), kwargs={"count": count, "in_flight": SLOTS + 1})
        for up in ups
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    together = 2 * _BATCH * count / (time.perf_counter() - begun)
    yield rounded({"one_fps": alone, "two_fps": together, "ratio": together / alone})


def colours(bench: Bench) -> Found:
    """Networks on RGB: one picture after the other, and with the next handed in while one is computed."""
    pictures, count = bench.pictures(1), 1 if bench.rehearse else 10
    for name, scale in (("srresnet", 2),) if bench.rehearse else (("srresnet", 2), ("srresnet", 4), ("esrgan", 4)):
        if not bench.in_time:
            raise Skipped("no time for the rest")
        up = Upscaler(name, scale=scale, device=bench.device)
        _through(up, pictures, count=2, in_flight=1)
        alone, ahead = (
            count / _through(up, pictures, count=count, in_flight=in_flight) for in_flight in (1, up.in_flight + 1)
        )
        yield rounded({"network": name, "scale": scale, "one_fps": alone, "ahead_fps": ahead, "ratio": ahead / alone})


class Loud(Network):
    """Twice as large by repetition, by way of numbers that half precision reaches for dark samples only."""

    scale, receptive_field = 2, 0

    def __init__(self) -> None:
        super().__init__()
        self.up, self.down = (nn.Conv2d(1, 1, 1, bias=False) for _ in range(2))
        nn.init.constant_(self.up.weight, 2.0**17)
        nn.init.constant_(self.down.weight, 2.0**-17)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """N×1×H×W to N×1×2H×2W."""
        y: torch.Tensor = self.down(self.up(x))
        return y.repeat_interleave(2, dim=2).repeat_interleave(2, dim=3)


class Listening(logging.Handler):
    """What the library warns of meanwhile."""

    def __init__(self) -> None:
        super().__init__(logging.WARNING)
        self.messages: list[str] = []

    def emit(self, record: logging.LogRecord) -> None:
        """Keep it."""
        self.messages.append(record.getMessage())

    def __enter__(self) -> Listening:
        logging.getLogger("vsr").addHandler(self)
        return self

    def __exit__(self, *_: object) -> None:
        logging.getLogger("vsr").removeHandler(self)


def _on_device(bench: Bench, name: str) -> Network:
    net: Network = load(name, 2, "fp32").to(bench.place, memory_format=torch.channels_last).eval()  # type: ignore[call-overload]
    bench.accelerator.settle()
    return net


def _arithmetic(
    bench: Bench, net: Network, *, name: str, precision: str, graphs: bool, batch: int, means: Means = "plain"
) -> dict[str, Any]:
    width, height = bench.size
    kernels = Kernels(net, Numbers(), TYPES[precision], (batch, height, width), means=means)
    source, target = bench.accelerator.memory(kernels.size), bench.accelerator.memory(kernels.size * 4 + 16)
    source.copy_(torch.from_numpy(np.stack([noisy(height, width, seed=n) for n in range(batch)])).flatten())
    _reset_memory()
    begun = time.perf_counter()

    def work() -> None:
        kernels(source, target)

    for _ in range(1 if bench.rehearse else SLOTS):
        work()
    bench.accelerator.settle()
    ready = time.perf_counter() - begun
    run = bench.accelerator.capture(bench.accelerator.stream("compute"), work) if graphs else work
    seconds = bench.seconds_of(run, repeats=max(5, 40 // batch))
    tflops = 2 * macs_per_input_sample(net) * width * height * batch / seconds / 1e12
    if name == "espcn":
        bench.reach("network_fps", batch / seconds)
    found = {"network": name, "precision": precision, "batch": batch, "graphs": graphs, "means": kernels.in_use}
    found |= {"fps": batch / seconds, "ms_a_batch": 1000 * seconds, "tflops": tflops, "first_s": ready}
    peak = bench.reached.get("peak torch.float16", 0.0)
    return rounded(found | {"share_of_peak": tflops / peak if peak and precision != "fp32" else 0.0}) | _memory()


def _parts(bench: Bench) -> dict[str, Any]:
    """Where the time of a batch goes: reading and rounding whole numbers cost no multiplications, but memory."""
    width, height = bench.size
    net = _on_device(bench, "espcn")
    kernels = Kernels(net, Numbers(), torch.float16, (_BATCH, height, width))
    x = torch.rand(_BATCH, 1, height, width, device=bench.place)
    y = torch.rand(_BATCH, 4, height, width, device=bench.place).half().to(memory_format=torch.channels_last)

    @torch.inference_mode()
    def convolutions() -> None:
        with torch.autocast(bench.place.type, dtype=torch.float16, cache_enabled=False):
            net.subpixels(x)  # type: ignore[operator]

    found = {
        "convolutions_ms": bench.seconds_of(convolutions),
        "rounding_ms": bench.seconds_of(lambda: kernels.whole(y)),
    }
    found |= {"watch_for_overflow_ms": bench.seconds_of(lambda: y.sum(dtype=torch.float32))}
    return rounded({"parts of": f"espcn fp16 batch {_BATCH}"} | {key: 1000 * value for key, value in found.items()})


@torch.inference_mode()
def _layers(bench: Bench) -> dict[str, Any]:
    """Each layer of ESPCN in half precision, and other ways to do the same, of which cuDNN may do one better.

    One channel in, and four out, are fewer than its kernels for matrix units are made for; and PyTorch adds the bias in
    a pass of its own.
    """
    width, height = bench.size
    net = copy.deepcopy(_on_device(bench, "espcn")).half()
    found: dict[str, float] = {}
    x = torch.rand(_BATCH, 1, height, width, device=bench.place).half()
    for index, layer in enumerate(net.body):  # type: ignore[arg-type]
        found[f"{index} {type(layer).__name__.lower()}"] = bench.seconds_of(partial(layer, x))
        if isinstance(layer, nn.Conv2d):
            plain = partial(functional.conv2d, x, layer.weight, None, padding=layer.padding)
            found[f"{index} without bias"] = bench.seconds_of(plain)
        last, x = x, layer(x)
    first, final = (net.body[index] for index in (0, 4))  # type: ignore[index]
    assert isinstance(first, nn.Conv2d) and isinstance(final, nn.Conv2d)
    patches = torch.rand(_BATCH, 32, height, width, device=bench.place).half().to(memory_format=torch.channels_last)
    weight = torch.rand(64, 32, 1, 1, device=bench.place).half().to(memory_format=torch.channels_last)
    found["0 as 1×1 of 32 patches"] = bench.seconds_of(partial(functional.conv2d, patches, weight, first.bias))
    wider = final.weight.repeat(2, 1, 1, 1).to(memory_format=torch.channels_last)
    found["4 with 8 outputs"] = bench.seconds_of(partial(functional.conv2d, last, wider, None, padding=1))
    rows = {name: 1000 * seconds for name, seconds in found.items()}
    return rounded({"layers of": f"espcn fp16 batch {_BATCH}, ms"} | rows)


def _through(up: Upscaler, pictures: list[Planes], *, count: int, in_flight: int) -> float:
    """Seconds for ``count`` batches."""
    jobs: deque[Any] = deque()
    begun = time.perf_counter()
    for _ in range(count):
        jobs.append(up.submit(pictures, layout=LAYOUT))
        if len(jobs) >= in_flight:
            jobs.popleft().result()
    for job in jobs:
        job.result()
    return time.perf_counter() - begun


def _compared(up: Upscaler, pictures: list[Planes], wanted: list[Planes]) -> dict[str, Any]:
    """Often enough that graphs are recorded on the way; whole batches, and pictures one by one."""
    worst, total, unequal = 0, 0, 0
    for batch in [pictures] * (2 * SLOTS) + [[picture] for picture in pictures]:
        at = 0 if len(batch) > 1 else next(n for n, picture in enumerate(pictures) if picture is batch[0])
        for found, other in zip(up.submit(batch, layout=LAYOUT).result(), wanted[at:], strict=False):
            worst = max(worst, difference(list(found), list(other)))
            unequal += sum(int((plane != same).sum()) for plane, same in zip(found, other, strict=True))
            total += sum(plane.size for plane in found)
    return rounded({"max_difference": worst, "share_unequal": unequal / total})


def _reset_memory() -> None:
    if torch.cuda.is_available():
        torch.cuda.reset_peak_memory_stats()


def _memory() -> dict[str, Any]:
    return {"peak_mib": torch.cuda.max_memory_allocated() >> 20 if torch.cuda.is_available() else 0}
