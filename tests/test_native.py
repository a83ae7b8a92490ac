"""The C code gives what the networks give, whatever the size, the depth, and the share of each thread."""

from __future__ import annotations

import copy
import os
import shutil
import signal
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch

from vsr import native
from vsr.backends.base import Numbers
from vsr.backends.native import NativeBackend, is_chain
from vsr.models import build_network
from vsr.models.ecbsr import ECBSR, ECBSRConfig
from vsr.models.espcn import ESPCN, ESPCNConfig
from vsr.models.interpolation import Interpolation
from vsr.models.quantized import quantize
from vsr.native import Library, find, load
from vsr.weights import load_network

NUMBERS = [Numbers(), Numbers(full_range=True), Numbers(bit_depth=10), Numbers(bit_depth=12, full_range=True)]
SIZES = [(1, 1), (1, 7), (5, 1), (2, 25), (23, 24), (49, 47), (97, 130)]


@pytest.fixture(scope="module")
def library() -> Library:
    found = load()
    if found is None:
        pytest.skip("the C code is not compiled here: install the package, with a compiler")
    return found


@pytest.fixture(scope="module")
def chain_library(library: Library) -> Library:
    if not library.kinds:
        pytest.skip("this processor has none of the instructions")
    return library


def backend(library: Library, *, threads: int = 2, latency: bool = False) -> NativeBackend:
    def other() -> None:
        raise AssertionError("the other backend was not to be asked")

    return NativeBackend(library, other, precision="int8", threads=threads, latency=latency)


def luma(rows: int, columns: int, numbers: Numbers) -> np.ndarray:
    """Smooth light with hard edges and noise, over all the numbers that there are."""
    random = np.random.default_rng(rows * 1000 + columns)
    ramp = np.add.outer(np.linspace(0, 0.6, rows), np.linspace(0, 0.4, columns))
    ramp[:, columns // 2 :] = 1 - ramp[:, columns // 2 :]
    noisy = np.clip(ramp + random.normal(0, 0.05, ramp.shape), 0, 1)
    return np.rint(noisy * numbers.peak).astype(numbers.dtype)


def by_torch(network: torch.nn.Module, plane: np.ndarray, numbers: Numbers) -> np.ndarray:
    """What the network says, in floats, rounded as a plane is."""
    x = torch.from_numpy(plane.astype(np.float32)) * numbers.gain + numbers.offset
    with torch.no_grad():
        y = network(x[None, None])[0, 0].double().numpy()
    return np.clip(np.rint((y - numbers.offset) / numbers.gain), 0, numbers.peak).astype(numbers.dtype)


def exactly(network: Interpolation, plane: np.ndarray, numbers: Numbers) -> np.ndarray:
    """Interpolation in doubles, axis by axis, not rounded."""
    margin, scale = network.down.shape[1] // 2, network.scale
    padded = np.pad(plane.astype(float), margin, mode="edge")
    result = np.zeros((plane.shape[0] * scale, plane.shape[1] * scale))
    for i, j in np.ndindex(scale, scale):
        rows = sum(w * padded[k : k + plane.shape[0]] for k, w in enumerate(network.down[i]))
        result[i::scale, j::scale] = sum(w * rows[:, k : k + plane.shape[1]] for k, w in enumerate(network.across[j]))
    return np.clip(result, 0, numbers.peak)


@pytest.mark.parametrize("scale", [2, 3, 4])
@pytest.mark.parametrize("numbers", NUMBERS, ids=str)
def test_the_chain_is_the_network(chain_library: Library, scale: int, numbers: Numbers) -> None:
    network = load_network("ecbsr", scale=scale, precision="int8")
    runner = backend(chain_library).runner(network, numbers)
    step = 1 << (numbers.bit_depth - 8)
    for rows, columns in SIZES:
        plane = luma(rows, columns, numbers)
        (result,) = runner.submit([plane]).result()
        assert result.dtype == numbers.dtype
        off = np.abs(result.astype(int) - by_torch(network, plane, numbers).astype(int))
        # Where a value lies between two steps of a grid, the last bit of a float decides to which it is rounded.
        assert off.max() <= 4 * step
        assert (off > step).mean() < 0.002
        assert off.mean() < 0.06 * step


@pytest.mark.parametrize("scale", [2, 3, 4])
@pytest.mark.parametrize("numbers", NUMBERS, ids=str)
def test_espcn_in_16_bit_is_espcn(chain_library: Library, scale: int, numbers: Numbers) -> None:
    network = load_network("espcn", scale=scale)
    runner = backend(chain_library).runner(network, numbers)
    for rows, columns in SIZES:
        plane = luma(rows, columns, numbers)
        (result,) = runner.submit([plane]).result()
        assert result.dtype == numbers.dtype
        off = np.abs(result.astype(int) - by_torch(network, plane, numbers).astype(int))
        step = 1 << (numbers.bit_depth - 8)
        assert off.max() <= 1.5 * step
        assert off.mean() < 0.2 * step


def test_espcn_of_any_weights_overflows_nowhere(chain_library: Library) -> None:
    torch.manual_seed(0)
    network = build_network("espcn", scale=2)
    with torch.no_grad():
        for layer in network.modules():
            if isinstance(layer, torch.nn.Conv2d):
                layer.weight.copy_(torch.where(layer.weight > 0, 1.0, 0.9))
                layer.weight[0] = 0
    plane = np.full((20, 50), 255, np.uint8)
    runner = backend(chain_library).runner(network, Numbers())
    assert np.array_equal(runner.submit([plane]).result()[0], by_torch(network, plane, Numbers()))


def test_the_chain_sees_the_end_of_the_picture_and_no_memory_behind_it(chain_library: Library) -> None:
    runner = backend(chain_library).runner(load_network("ecbsr", scale=2, precision="int8"), Numbers())
    plane = luma(40, 61, Numbers())
    inside = np.full((60, 100), 255, np.uint8)
    inside[10:50, 20:81] = plane
    (expected,) = runner.submit([plane]).result()
    (result,) = runner.submit([inside[10:50, 20:81]]).result()
    assert np.array_equal(result, expected)


@pytest.mark.parametrize("scale", [2, 3, 4])
@pytest.mark.parametrize("numbers", NUMBERS, ids=str)
@pytest.mark.parametrize(("name", "precision"), [("ecbsr", "int8"), ("espcn", "fp32")])
def test_all_processors_give_the_same(
    chain_library: Library, name: str, precision: str, scale: int, numbers: Numbers
) -> None:
    network = load_network(name, scale=scale, precision=precision)
    planes = [luma(rows, columns, numbers) for rows, columns in [*SIZES, (40, 961)]]
    found = []
    for kind in chain_library.kinds:
        library = copy.copy(chain_library)
        library.kinds = (kind,)
        runner = backend(library).runner(network, numbers)
        found.append([runner.submit([plane]).result()[0] for plane in planes])
    for results in zip(*found, strict=True):
        assert all(np.array_equal(result, results[0]) for result in results)


@pytest.mark.parametrize("name", ["ecbsr", "espcn", "bicubic"])
@pytest.mark.parametrize("threads", [1, 2, 3, 5])
def test_bands_leave_no_trace(chain_library: Library, name: str, threads: int) -> None:
    precision = "int8" if name == "ecbsr" else "fp32"
    network = Interpolation(3) if name == "bicubic" else load_network(name, scale=3, precision=precision)
    plane = luma(259, 77, Numbers())
    (whole,) = backend(chain_library, threads=1).runner(network, Numbers()).submit([plane]).result()
    (shared,) = (
        backend(chain_library, threads=threads, latency=True).runner(network, Numbers()).submit([plane]).result()
    )
    assert np.array_equal(whole, shared)


@pytest.mark.parametrize(("name", "precision"), [("ecbsr", "int8"), ("espcn", "fp32")])
def test_a_part_of_a_picture_is_what_it_is_in_the_whole(chain_library: Library, name: str, precision: str) -> None:
    network = load_network(name, scale=2, precision=precision)
    runner = backend(chain_library).runner(network, Numbers())
    plane = luma(120, 150, Numbers())
    margin = network.receptive_field
    whole, part = (runner.submit([each]).result()[0] for each in (plane, plane[30:80, 41:110]))
    inner = slice(2 * margin, -2 * margin)
    assert np.array_equal(part[inner, inner], whole[60:160, 82:220][inner, inner])


@pytest.mark.parametrize("scale", [2, 3, 4])
@pytest.mark.parametrize("shift", [(0.0, 0.0), (0.0, 0.25), (-0.25, 0.125)])
@pytest.mark.parametrize("kernel", ["bicubic", "bilinear", "nearest"])
def test_interpolation(library: Library, scale: int, shift: tuple[float, float], kernel: str) -> None:
    network = Interpolation(scale, kernel=kernel, shift=shift)
    for numbers in (Numbers(), Numbers(bit_depth=10), Numbers(bit_depth=16)):
        runner = backend(library).runner(network, numbers)
        for rows, columns in SIZES:
            plane = luma(rows, columns, numbers)
            (result,) = runner.submit([plane]).result()
            # Sixteen bits are nearly all that a float has.
            assert np.abs(result - exactly(network, plane, numbers)).max() <= (
                0.5001 if numbers.bit_depth < 16 else 0.52
            )


def test_several_planes_come_back_in_their_order(library: Library) -> None:
    planes = [np.full((30, 40), index, np.uint8) for index in range(7)]
    results = backend(library, threads=3).runner(Interpolation(2), Numbers()).submit(planes).result()
    assert [set(result.flat) for result in results] == [{index} for index in range(7)]


def test_what_is_handed_in_may_change_afterwards(library: Library) -> None:
    plane = luma(300, 400, Numbers())
    runner = backend(library).runner(Interpolation(2), Numbers())
    (expected,) = runner.submit([plane.copy()]).result()
    job = runner.submit([plane])
    plane[:] = 0
    assert np.array_equal(job.result()[0], expected)


def test_what_it_does_not_know_goes_to_the_other_backend(library: Library) -> None:
    asked = []

    class Other:
        def runner(self, network: torch.nn.Module, numbers: Numbers) -> str:
            asked.append((network, numbers))
            return "runner"

    native = NativeBackend(library, Other, precision="fp32")  # type: ignore[arg-type]
    wide = build_network("espcn-wide", scale=2)
    assert native.runner(wide, Numbers()) == "runner"
    assert asked == [(wide, Numbers())]


def compiled(folder: Path, name: str, *sources: Path) -> None:
    """A library as an installation leaves it."""
    compiler = shutil.which("cc")
    if compiler is None or sys.platform != "linux":
        pytest.skip("there is no C compiler here")
    subprocess.run([compiler, "-shared", "-fPIC", "-O1", "-std=c11", "-o", folder / name, *sources], check=True)


def test_why_there_is_no_c_code(tmp_path: Path) -> None:
    assert find(tmp_path) == (
        None,
        "it was not compiled when vsr was installed; install vsr again with a compiler present",
    )
    (tmp_path / "_kernels.cpython.so").write_bytes(b"no library")
    nothing, why = find(tmp_path)
    assert nothing is None
    assert "cannot be used" in why


def test_a_library_of_another_version_is_passed_over(tmp_path: Path) -> None:
    stale = tmp_path / "stale.c"
    stale.write_text("int vsr_abi_version(void) { return 0; }")
    compiled(tmp_path, "_kernels.cpython-300.so", stale)
    nothing, why = find(tmp_path)
    assert nothing is None
    assert "_kernels.cpython-300.so is of another version" in why
    own = f"_kernels.{sys.implementation.cache_tag}.so"
    compiled(tmp_path, own, *Path(native.__file__).parent.glob("*.c"))
    library, what = find(tmp_path)
    assert library is not None
    assert what.startswith("compiled")
    assert library.name == own


def test_which_networks_are_chains() -> None:
    assert is_chain(load_network("ecbsr", scale=2, precision="int8"))
    assert not is_chain(load_network("ecbsr", scale=2, precision="fp32"))
    assert not is_chain(Interpolation(2))
    assert is_chain(build_network("espcn", scale=2))
    assert not is_chain(quantize(build_network("espcn", scale=2)))
    assert not is_chain(ESPCN(ESPCNConfig(widths=(32, 16))))
    assert not is_chain(ESPCN(ESPCNConfig(channels=3)))


def test_a_chain_of_a_scale_that_the_c_code_does_not_know_is_none() -> None:
    assert not any(is_chain(quantize(ECBSR(ECBSRConfig(scale=scale)))) for scale in (1, 5))


@pytest.mark.skipif(not hasattr(os, "fork"), reason="this system does not fork")
def test_a_forked_child_has_threads_of_its_own(library: Library) -> None:
    runner = backend(library).runner(Interpolation(2), Numbers())
    plane = luma(30, 40, Numbers())
    (expected,) = runner.submit([plane]).result()
    child = os.fork()
    if not child:
        # Whatever happens here must not go on as a second run of the tests.
        try:
            signal.alarm(20)
            os._exit(0 if np.array_equal(runner.submit([plane]).result()[0], expected) else 1)
        finally:
            os._exit(2)
    assert os.waitpid(child, 0)[1] == 0
