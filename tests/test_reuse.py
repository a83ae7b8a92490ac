"""Reuse: that no sample tells of it, that it drifts nowhere, and that it does save the work."""

from __future__ import annotations

import logging
from collections import deque
from collections.abc import Iterator, Sequence
from itertools import islice, pairwise
from pathlib import Path
from typing import Any

import av
import numpy as np
import pytest
from pictures import network, noise, photo, to_floats

from vsr import Upscaler, upscale_video
from vsr.app.bench_reuse import bench_reuse
from vsr.app.enhancer import UpscalerEnhancer
from vsr.backends.base import Done, Job, Numbers, Plane, Planes, Runner
from vsr.errors import ConfigError
from vsr.layout import Layout
from vsr.models.quantized import calibrate, quantize
from vsr.reuse import Reuse, ReusingRunner
from vsr.tiles import TiledRunner

MARGIN = 2
SHAPE = (230, 417)
GEOMETRY = (SHAPE, (115, 209), (115, 209))


class Waiting:
    """A job that is done when it is asked for, as on a device."""

    def __init__(self, planes: list[Plane]) -> None:
        self.planes = planes

    def result(self) -> list[Plane]:
        return [enlarged(plane) for plane in self.planes]


class Counting:
    """A runner in whole numbers, which counts the samples that it is given."""

    def __init__(self) -> None:
        self.samples = 0
        self.shapes: list[tuple[int, ...]] = []

    def submit(self, planes: Sequence[Plane]) -> Job:
        self.samples += sum(plane.size for plane in planes)
        self.shapes += [plane.shape for plane in planes]
        return Waiting([plane.copy() for plane in planes])


def enlarged(plane: Plane) -> Plane:
    """A sum of what lies within the margin; beyond the border there is nothing."""
    rows, columns = plane.shape
    padded = np.pad(plane, MARGIN)
    total = sum((2 * i + 7 * j + 1) * padded[i : i + rows, j : j + columns] for i in (0, 2, 4) for j in (0, 1, 4))
    return np.asarray(total).astype(plane.dtype).repeat(2, axis=0).repeat(2, axis=1)


def reusing(runner: Runner, *, threshold: int = 0, margin: int | None = MARGIN, **options: Any) -> ReusingRunner:
    given = {"numbers": Numbers(), "scale": 2, "margin": margin, "reuse": Reuse(threshold)}
    return ReusingRunner(runner, **given | options)


def sequence(shape: tuple[int, int], *, frames: int, seed: int, bit_depth: int = 8) -> Iterator[Plane]:
    """What cameras and screens do: rest, small changes, here and there a sample, cuts, and motion everywhere."""
    random = np.random.default_rng(seed)
    plane = noise(*shape, bit_depth=bit_depth, seed=seed)
    for number in range(frames):
        event = random.choice(
            ["rest", "rectangle", "rectangle", "samples", "cut", "motion"], p=[0.2, 0.3, 0.2, 0.2, 0.05, 0.05]
        )
        plane = plane.copy()
        if event == "rectangle":
            top, left = (int(random.integers(0, length)) for length in shape)
            part = plane[top : top + int(random.integers(1, 80)), left : left + int(random.integers(1, 80))]
            part[...] = noise(*part.shape, bit_depth=bit_depth, seed=number)
        elif event == "samples":
            for _ in range(3):
                plane[tuple(int(random.integers(0, length)) for length in shape)] ^= 1
        elif event == "cut":
            plane = noise(*shape, bit_depth=bit_depth, seed=seed + number)
        elif event == "motion":
            plane = np.roll(plane, 3, axis=1)
        yield plane


@pytest.mark.parametrize("any_shape", [False, True])
@pytest.mark.parametrize("seed", range(4))
def test_random_sequences_are_what_they_would_be(seed: int, any_shape: bool) -> None:
    random = np.random.default_rng(seed)
    bit_depth = (8, 10)[seed % 2]
    inner = Counting()
    runner = reusing(inner, numbers=Numbers(bit_depth=bit_depth), kept=(96, 32)[any_shape], any_shape=any_shape)
    waiting: deque[tuple[Job, Plane]] = deque()
    given_out: list[tuple[Plane, Plane]] = []
    samples = 0
    for part, shape in enumerate([SHAPE, (111, 333), SHAPE]):
        for plane in sequence(shape, frames=40, seed=10 * seed + part, bit_depth=bit_depth):
            if random.random() < 0.03:
                runner.reset()
            lent = plane.copy()
            waiting.append((runner.submit([lent]), enlarged(plane)))
            lent[:] = 0
            samples += plane.size
            while len(waiting) > random.integers(0, 5):
                job, expected = waiting.popleft()
                given_out.append((job.result()[0], expected))
    given_out += [(job.result()[0], expected) for job, expected in waiting]
    # At the end, too: nobody wrote into what was given out.
    for result, expected in given_out:
        np.testing.assert_array_equal(result, expected)
        assert not result.flags.writeable
    assert inner.samples < 0.75 * samples


def test_batches_and_two_sequences_in_turn() -> None:
    inner = Counting()
    runner = reusing(inner, lanes=2, together=True)
    first, second = (list(sequence(SHAPE, frames=30, seed=seed)) for seed in (1, 2))
    taken = 0
    for size in (1, 4, 1, 3, 2, 7, 12):
        pairs = zip(first[taken : taken + size], second[taken : taken + size], strict=True)
        planes = [plane for pair in pairs for plane in pair]
        for result, plane in zip(runner.submit(planes).result(), planes, strict=True):
            np.testing.assert_array_equal(result, enlarged(plane))
        taken += size
    assert inner.samples < 0.9 * 2 * taken * SHAPE[0] * SHAPE[1]


def test_rest_costs_nothing_and_a_small_change_one_tile() -> None:
    inner = Counting()
    runner = reusing(inner)
    plane = noise(*SHAPE).copy()
    runner.submit([plane]).result()
    inner.shapes.clear()
    before = runner.submit([plane]).result()[0]
    assert inner.shapes == []
    plane[50, 50] ^= 1
    after = runner.submit([plane]).result()[0]
    # The first tile is proved to be exact before it is used.
    (whole, *tiles, changed) = inner.shapes
    assert whole == SHAPE
    assert set(tiles) == {changed}
    assert not np.array_equal(before, after)
    plane[50, 50] ^= 1
    inner.shapes.clear()
    np.testing.assert_array_equal(runner.submit([plane]).result()[0], before)
    assert inner.shapes == [changed]


def test_motion_is_compared_seldom_and_rest_is_found_again() -> None:
    inner = Counting()
    runner = reusing(inner)
    for seed in range(80):
        plane = noise(*SHAPE, seed=seed)
        np.testing.assert_array_equal(runner.submit([plane]).result()[0], enlarged(plane))
    assert inner.shapes == [SHAPE] * 80
    inner.shapes.clear()
    for _ in range(30):
        np.testing.assert_array_equal(runner.submit([plane]).result()[0], enlarged(plane))
    assert len(inner.shapes) <= 10


def test_results_that_nobody_asks_for_do_not_pile_up() -> None:
    runner = reusing(Counting())
    plane = noise(*SHAPE)
    jobs = []
    for number in range(300):
        plane = plane.copy()
        plane[number % SHAPE[0], number % 7] ^= 1
        jobs.append(runner.submit([plane]))
    assert runner._lanes[0].made is not None
    assert runner._lanes[0].made.depth < 40
    np.testing.assert_array_equal(jobs[-1].result()[0], enlarged(plane))


class Failing(Counting):
    """A runner that fails where it is told to."""

    at = ""

    def submit(self, planes: Sequence[Plane]) -> Job:
        if self.at == "submit":
            raise MemoryError("no room")
        job = super().submit(planes)
        return Lost() if self.at == "result" else job


class Lost:
    def result(self) -> list[Plane]:
        raise RuntimeError("the device is gone")


@pytest.mark.parametrize("patched", [False, True])
@pytest.mark.parametrize("at", ["submit", "result"])
def test_what_failed_is_computed_again(at: str, patched: bool) -> None:
    inner = Failing()
    runner = reusing(inner)
    plane = noise(*SHAPE).copy()
    for place in range(2 if patched else 0):
        plane[3, place] ^= 1
        runner.submit([plane]).result()
    plane[7, 7] ^= 1
    inner.at = at
    with pytest.raises((MemoryError, RuntimeError)):
        runner.submit([plane]).result()
    inner.at = ""
    for _ in range(2):
        np.testing.assert_array_equal(runner.submit([plane]).result()[0], enlarged(plane))


@pytest.mark.parametrize("threshold", [1, 3])
@pytest.mark.parametrize("bit_depth", [8, 10])
def test_a_threshold_bounds_the_difference_and_nothing_drifts(threshold: int, bit_depth: int) -> None:
    numbers = Numbers(bit_depth=bit_depth)
    allowed = threshold << (bit_depth - 8)
    inner = Copying()
    runner = reusing(inner, threshold=threshold, numbers=numbers)
    random = np.random.default_rng(0)
    base = np.full(SHAPE, 40 << (bit_depth - 8), numbers.dtype)
    reused = 0
    for number in range(60):
        # The light fades in, by less than is seen from one picture to the next, over noise and something that moves.
        plane = base + number // 4 + random.integers(0, allowed // 2 + 1, SHAPE).astype(base.dtype)
        plane[100:130, 5 * number : 5 * number + 20] = number
        before = inner.samples
        result = runner.submit([plane]).result()[0][::2, ::2]
        reused += inner.samples - before < plane.size
        assert np.abs(result.astype(int) - plane).max() <= allowed
    assert reused > 20


class Copying(Counting):
    """Every sample, twice each way: the output tells which input it was made of."""

    def submit(self, planes: Sequence[Plane]) -> Job:
        super().submit(planes)
        return Done([plane.repeat(2, axis=0).repeat(2, axis=1) for plane in planes])


class Inexact(Counting):
    """Its results depend on the shape."""

    def submit(self, planes: Sequence[Plane]) -> Job:
        super().submit(planes)
        return Done([enlarged(plane) + plane.dtype.type(plane.shape[0] % 7) for plane in planes])


def test_tiles_that_are_not_exact_are_not_used(caplog: pytest.LogCaptureFixture) -> None:
    inner = Inexact()
    runner = reusing(inner)
    with caplog.at_level(logging.INFO, logger="vsr"):
        for plane in sequence(SHAPE, frames=20, seed=4):
            expected = Inexact().submit([plane]).result()[0]
            np.testing.assert_array_equal(runner.submit([plane]).result()[0], expected)
    assert sum("only repeated pictures" in record.message for record in caplog.records) == 1
    inner.shapes.clear()
    for _ in range(20):
        np.testing.assert_array_equal(runner.submit([plane]).result()[0], expected)
    assert inner.shapes in ([SHAPE] * count for count in range(11))


@pytest.mark.parametrize("shape", [(1, 1), (5, 90), (90, 90), (100, 100)])
def test_pictures_too_small_for_tiles(shape: tuple[int, int]) -> None:
    inner = Counting()
    runner = reusing(inner)
    for plane in sequence(shape, frames=30, seed=5):
        np.testing.assert_array_equal(runner.submit([plane]).result()[0], enlarged(plane))
    assert set(inner.shapes) == {shape}
    assert len(inner.shapes) < 30


def upscalers(reuse: str, *, kind: str, scale: int = 2) -> tuple[Upscaler, Upscaler]:
    net = network("ecbsr", scale)
    if kind == "int8":
        net = quantize(net)
        calibrate(net, to_floats(photo()))
    given: dict[str, Any] = {"network": net, "scale": scale, "device": "openvino", "precision": kind, "threads": 2}
    return Upscaler(**given), Upscaler(**given, reuse=reuse)


def assert_same(plain: Upscaler, other: Upscaler, pictures: Sequence[Planes], layout: Layout) -> None:
    """Both make the same of a sequence, three pictures under way at a time."""
    for at in range(0, len(pictures), 3):
        jobs = [other.submit([planes], layout=layout) for planes in pictures[at : at + 3]]
        for job, planes in zip(jobs, pictures[at : at + 3], strict=True):
            expected = plain.submit([planes], layout=layout).result()[0]
            for a, b in zip(job.result()[0], expected, strict=True):
                np.testing.assert_array_equal(a, b)


@pytest.mark.parametrize(
    ("kind", "scale", "layout"),
    [
        ("fp32", 3, Layout(bit_depth=10, full_range=True)),
        ("int8", 4, Layout(subsampling="gray")),
        ("int8", 3, Layout(subsampling="444", bit_depth=10)),
    ],
)
def test_networks_on_openvino_are_exact(kind: str, scale: int, layout: Layout, monkeypatch: pytest.MonkeyPatch) -> None:
    taken = spy(monkeypatch)
    rows, columns = 213, 335
    shapes = [(rows, columns), *[layout.chroma_shape(rows, columns)] * 2][: 1 if layout.subsampling == "gray" else 3]
    planes = [sequence(shape, frames=12, seed=n, bit_depth=layout.bit_depth) for n, shape in enumerate(shapes)]
    pictures = list(zip(*planes, strict=True))
    assert_same(*upscalers("exact", kind=kind, scale=scale), pictures, layout)
    assert set(taken) > set(shapes)


def spy(monkeypatch: pytest.MonkeyPatch) -> list[tuple[int, ...]]:
    """Shapes of all that is handed in behind the reuse."""
    taken: list[tuple[int, ...]] = []
    submit = TiledRunner.submit

    def submitted(self: TiledRunner, planes: Sequence[Plane]) -> Job:
        taken.extend(plane.shape for plane in planes)
        return submit(self, planes)

    monkeypatch.setattr(TiledRunner, "submit", submitted)
    return taken


@pytest.mark.parametrize("layout", [Layout(), Layout(bit_depth=10)])
def test_the_default_network_on_this_machine_is_exact(layout: Layout) -> None:
    """On the C code where it was built."""
    planes = [sequence(shape, frames=30, seed=n, bit_depth=layout.bit_depth) for n, shape in enumerate(GEOMETRY)]
    plain, other = (Upscaler(device="cpu", reuse=reuse) for reuse in ("off", "auto"))
    assert_same(plain, other, list(zip(*planes, strict=True)), layout)


def test_auto_is_off_for_interpolation() -> None:
    up = Upscaler("bicubic", device="cpu", reuse="auto")
    first, second = (up.luma(photo()) for _ in range(2))
    assert not np.shares_memory(first, second)


def test_a_real_clip_is_exact(data_dir: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Of which a good part is at rest in most pictures."""
    taken = spy(monkeypatch)
    with av.open(str(data_dir / "odd_videos" / "fragmented_captions.mp4")) as container:
        frames = islice(container.decode(video=0), 40)
        pictures = [tuple(plane_of(plane) for plane in frame.planes) for frame in frames]
    assert_same(Upscaler(device="cpu"), Upscaler(device="cpu", reuse="exact"), pictures, Layout())
    assert set(taken) > {plane.shape for plane in pictures[0]}


def plane_of(plane: Any) -> Plane:
    return np.frombuffer(memoryview(plane), np.uint8).reshape(plane.height, plane.line_size)[:, : plane.width]


@pytest.mark.parametrize("model", ["espcn", "srresnet"])
def test_on_torch_repeated_pictures_are_reused(model: str) -> None:
    layout = Layout(matrix=1)
    net = network(model, 2)
    plain, other = (Upscaler(network=net, device="torch", reuse=reuse) for reuse in ("off", "exact"))
    first, second = ([(noise(*SHAPE, seed=n), *[noise(*GEOMETRY[1], seed=n)] * 2)] for n in (0, 1))
    results = [other.submit(planes, layout=layout).result()[0] for planes in (first, first, second, second, first)]
    for planes, result in zip((first, first, second, second, first), results, strict=True):
        for a, b in zip(result, plain.submit(planes, layout=layout).result()[0], strict=True):
            np.testing.assert_array_equal(a, b)
    shared = [np.shares_memory(a[0], b[0]) for a, b in pairwise(results)]
    assert shared == [True, False, True, False]


def test_reset_forgets() -> None:
    up = Upscaler("nearest", device="torch", reuse="exact")
    first, second = (up.luma(photo()) for _ in range(2))
    assert np.shares_memory(first, second)
    UpscalerEnhancer(up).reset()
    assert not np.shares_memory(second, up.luma(photo()))


def test_files_are_the_same_with_and_without(tmp_path: Path, clip: Path) -> None:
    made = {how: upscale_video(clip, tmp_path / f"{how}.mkv", reuse=how, codec="ffv1") for how in ("off", "exact")}
    pictures = {}
    for how, report in made.items():
        with av.open(report.output) as container:
            pictures[how] = [frame.to_ndarray() for frame in container.decode(video=0)]
    np.testing.assert_array_equal(pictures["exact"], pictures["off"])
    with pytest.raises(ConfigError, match="got reuse 'on'"):
        upscale_video(clip, tmp_path / "none.mkv", reuse="on")
    assert not (tmp_path / "none.mkv").exists()


def test_bench_compares_scenes() -> None:
    figures = bench_reuse(size=(128, 96), model="nearest", scale=2)
    assert set(figures["scenes"]) == {"motion", "desk", "still"}
    assert figures["scenes"]["still"]["cpu_ms"] > 0


@pytest.mark.parametrize("text", ["on", "threshold", "threshold=0", "threshold=256", "threshold=-1", "exact ", ""])
def test_refuses_what_is_no_reuse(text: str) -> None:
    with pytest.raises(ConfigError, match=r"allowed are auto, exact, off, and threshold=N with N from 1 to 255"):
        Upscaler("nearest", reuse=text)
