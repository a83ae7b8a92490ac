"""Who runs a network, and that it makes no difference."""

from __future__ import annotations

import threading
from concurrent.futures import ThreadPoolExecutor
from functools import cache
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
from pictures import difference, network, noise, photo, to_floats

from vsr import Upscaler, backends
from vsr.backends import Choice, choose, for_chroma, make_backend, openvino_capabilities
from vsr.backends.base import Backend, Numbers
from vsr.backends.device import cuda_device
from vsr.backends.pytorch import TorchBackend
from vsr.errors import DeviceError
from vsr.layout import Layout
from vsr.models.base import Network
from vsr.models.quantized import calibrate, quantize


@pytest.fixture
def machine(monkeypatch: pytest.MonkeyPatch) -> pytest.MonkeyPatch:
    """A machine without a GPU, whose processor has 8-bit arithmetic."""
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    monkeypatch.setattr(backends, "openvino_capabilities", lambda: frozenset({"FP32", "INT8"}))
    monkeypatch.setattr(backends, "load", lambda: None)
    return monkeypatch


def add_gpus(machine: pytest.MonkeyPatch, count: int) -> None:
    machine.setattr(torch.cuda, "is_available", lambda: True)
    machine.setattr(torch.cuda, "device_count", lambda: count)
    machine.setattr(torch.cuda, "get_device_name", lambda *_: "a GPU")


@pytest.mark.parametrize(
    ("device", "precision", "has_int8", "expected"),
    [
        ("auto", "auto", True, ("openvino", "int8")),
        ("auto", "auto", False, ("openvino", "fp32")),
        ("cpu", "fp32", True, ("openvino", "fp32")),
        ("openvino", "int8", True, ("openvino", "int8")),
        ("torch", "auto", True, ("cpu", "fp32")),
        ("torch", "int8", True, ("cpu", "int8")),
        ("torch", "bf16", False, ("cpu", "bf16")),
    ],
)
@pytest.mark.usefixtures("machine")
def test_choice(device: str, precision: str, has_int8: bool, expected: tuple[str, str]) -> None:
    choice = choose(device, precision, has_int8=has_int8)
    assert (choice.device, choice.precision) == expected
    assert choice.reason


def test_choice_with_bf16(machine: pytest.MonkeyPatch) -> None:
    machine.setattr(backends, "openvino_capabilities", lambda: frozenset({"FP32", "BF16"}))
    assert choose().precision == "bf16"
    assert choose(trained=False).precision == "fp32"
    assert choose(channels=3).precision == "fp32"
    assert choose(channels=3, precision="bf16").precision == "bf16"


@pytest.mark.parametrize("has_chain", [True, False])
def test_choice_with_c_code(machine: pytest.MonkeyPatch, has_chain: bool) -> None:
    machine.setattr(backends, "load", lambda: SimpleNamespace(kinds=("AVX2",) if has_chain else ()))
    assert choose(trained=False).device == choose("cpu", trained=False).device == "native"
    chain = choose(has_int8=True)
    assert (chain.device, chain.precision) == ("native" if has_chain else "openvino", "int8")
    assert choose("openvino", has_int8=True).device == "openvino"
    assert choose(has_int8=True, precision="fp32").device == "openvino"
    assert choose(has_int8=True, channels=3).device == "openvino"
    assert choose().device == "openvino"
    machine.setattr(backends, "openvino_capabilities", frozenset)
    assert choose(trained=False).device == "native"
    assert choose().device == "cpu"
    with pytest.raises(DeviceError, match="knows no such network"):
        choose("native")


def test_choice_of_16_bit_integers(machine: pytest.MonkeyPatch) -> None:
    machine.setattr(backends, "load", lambda: SimpleNamespace(kinds=("AVX2",)))
    choice = choose(has_int16=True)
    assert (choice.device, choice.precision) == ("native", "int16")
    assert choose("cpu", "int16", has_int16=True).device == "native"
    assert choose(has_int16=True, precision="fp32").device == "openvino"
    with pytest.raises(DeviceError, match=r"int16 on openvino, .* allow fp32"):
        choose("openvino", "int16", has_int16=True)
    with pytest.raises(DeviceError, match=r"int16 on openvino, .* allow fp32"):
        choose(precision="int16")
    machine.setattr(backends, "openvino_capabilities", lambda: frozenset({"FP32", "BF16"}))
    assert (choose(has_int16=True).device, choose(has_int16=True).precision) == ("openvino", "bf16")
    assert choose(has_int16=True, precision="int16").device == choose("native", has_int16=True).device == "native"


def test_choice_of_c_code_that_is_not_there(machine: pytest.MonkeyPatch) -> None:
    machine.setattr(backends, "state", lambda: "it was not compiled")
    with pytest.raises(DeviceError, match="no C code here: it was not compiled"):
        choose("native", has_int8=True)


def test_chroma(machine: pytest.MonkeyPatch) -> None:
    half = Choice(device="openvino", precision="bf16", reason="")
    eighth = Choice(device="openvino", precision="int8", reason="")
    assert (for_chroma(half).precision, for_chroma(eighth)) == ("fp32", eighth)
    machine.setattr(backends, "load", lambda: SimpleNamespace(kinds=()))
    assert for_chroma(eighth).device == for_chroma(half).device == "native"
    gpu = Choice(device="cuda:1", precision="fp16", reason="")
    assert (for_chroma(gpu).device, for_chroma(gpu).precision) == ("cuda:1", "fp32")


def test_choice_with_a_gpu(machine: pytest.MonkeyPatch) -> None:
    add_gpus(machine, 2)
    assert (choose().device, choose().precision) == ("cuda", "fp16")
    assert choose("cuda:1", "bf16").device == "cuda:1"
    assert choose("cpu").device == "openvino"
    assert choose("cuda:1,0").device == "cuda:1,0"
    assert choose("cuda:all").device == "cuda:0,1"
    for wrong in ("cuda:0,0", "cuda:0,2", "cuda:0,", "cuda:-1"):
        with pytest.raises(DeviceError, match=f"got device {wrong}"):
            choose(wrong)
    with pytest.raises(DeviceError, match=r"cuda:2, CUDA devices here: cuda:0, cuda:1"):
        choose("cuda:2")
    with pytest.raises(DeviceError, match=r"int8 on cuda, .* allow fp16, fp32, bf16"):
        choose("cuda", "int8", has_int8=True)


def test_on_a_gpu_fp32_is_fp32(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.backends.cudnn, "allow_tf32", True)
    monkeypatch.setattr(torch.backends.cudnn, "benchmark", False)
    cuda_device.cache_clear()
    cuda_device(0)
    assert torch.backends.cudnn.benchmark
    assert not torch.backends.cudnn.allow_tf32


def test_choice_without_openvino(machine: pytest.MonkeyPatch) -> None:
    machine.setattr(backends, "openvino_capabilities", frozenset)
    choice = choose()
    assert (choice.device, choice.precision) == ("cpu", "fp32")
    assert "not installed" in choice.reason
    with pytest.raises(DeviceError, match=r"pip install openvino.*--device torch"):
        choose("openvino")


@pytest.mark.parametrize(
    ("device", "precision", "message"),
    [
        ("gpu", "auto", "'gpu', allowed are auto, cpu, native, openvino, torch, cuda, cuda:N, cuda:N,M, cuda:all"),
        ("", "auto", "''"),
        ("cuda", "auto", "cuda, CUDA devices here: none; try --device auto"),
        ("cuda:x", "auto", "cuda:x"),
        ("auto", "half", "'half', allowed are auto, fp32, fp16, bf16, int16, int8"),
        ("cpu", "fp16", "fp16 on openvino, this machine and network allow fp32"),
        ("cpu", "bf16", "bf16 on openvino"),
        ("cpu", "int8", "int8 on openvino"),
    ],
)
@pytest.mark.usefixtures("machine")
def test_refuses(device: str, precision: str, message: str) -> None:
    with pytest.raises(DeviceError, match=message):
        choose(device, precision)


@cache
def model(name: str, kind: str) -> Network:
    net = network(name, 2)
    if kind == "int8":
        net = quantize(net)
        calibrate(net, to_floats(photo()))
    return net


def enlarged(backend: Backend, name: str, kind: str, plane: np.ndarray, numbers: Numbers) -> np.ndarray:
    return backend.runner(model(name, kind), numbers).submit([plane]).result()[0]


@pytest.mark.parametrize(
    ("name", "numbers"),
    [
        ("espcn", Numbers()),
        ("ecbsr", Numbers()),
        ("ecbsr", Numbers(full_range=True)),
        ("ecbsr", Numbers(bit_depth=10)),
        ("bicubic", Numbers(bit_depth=10)),
    ],
)
def test_openvino_equals_torch(name: str, numbers: Numbers) -> None:
    plane = (photo(40, 52) * (numbers.peak / 255)).astype(numbers.dtype)
    backend = make_backend(choose("openvino", "fp32"), threads=1)
    result, expected = (enlarged(b, name, "fp32", plane, numbers) for b in (backend, TorchBackend()))
    assert result.dtype == expected.dtype == numbers.dtype
    largest, share = difference(result, expected)
    assert largest <= 1
    assert share < 1e-3


@pytest.mark.parametrize(
    ("name", "numbers"), [("espcn", Numbers()), ("ecbsr", Numbers(full_range=True)), ("ecbsr", Numbers(bit_depth=10))]
)
def test_integers_of_openvino_equal_those_simulated_by_torch(name: str, numbers: Numbers) -> None:
    plane = (photo(40, 52) * (numbers.peak / 255)).astype(numbers.dtype)
    backend = make_backend(choose("openvino", "int8", has_int8=True), threads=1)
    simulated = TorchBackend(precision="int8")
    result, expected = (enlarged(b, name, "int8", plane, numbers) for b in (backend, simulated))
    largest, share = difference(result, expected)
    assert largest <= 1
    # Every fourth number of ten bits lies halfway between two of eight, and may be rounded to either.
    assert share < (1e-3 if numbers.bit_depth == 8 else 0.05)
    assert difference(expected, enlarged(TorchBackend(), name, "fp32", plane, numbers))[0] > 0


def test_openvino_really_computes_in_integers() -> None:
    """A network whose convolutions fell back to floats would be right, and slow."""
    up = Upscaler(network=model("ecbsr", "int8"), device="openvino", threads=1)
    assert up.choice.precision == "int8"
    compiled = up.backend.compile(up.network, Numbers(), (1, 1, 40, 52))  # type: ignore[attr-defined]
    kinds = [
        node.get_rt_info()["runtimePrecision"].astype(str)
        for node in compiled.get_runtime_model().get_ordered_ops()
        if node.get_rt_info()["layerType"].astype(str) == "Convolution"
    ]
    assert len(kinds) == 6
    assert set(kinds) <= {"u8", "i8"}


@pytest.mark.parametrize("name", ["espcn", "ecbsr"])
def test_bf16_of_torch_is_close(name: str) -> None:
    backend, exact = TorchBackend(precision="bf16"), TorchBackend()
    result, expected = (enlarged(b, name, "fp32", photo(40, 52), Numbers()) for b in (backend, exact))
    assert difference(result, expected)[0] <= 3
    assert np.abs(result.astype(float) - expected).mean() < 0.6


@pytest.mark.skipif("BF16" not in openvino_capabilities(), reason="this processor has no bf16 arithmetic")
def test_bf16_of_openvino_is_close() -> None:
    backend = make_backend(choose("openvino", "bf16"), threads=1)
    result, expected = (enlarged(b, "ecbsr", "fp32", photo(40, 52), Numbers()) for b in (backend, TorchBackend()))
    assert difference(result, expected)[0] <= 3


@pytest.mark.cuda
@pytest.mark.parametrize(("precision", "most"), [("fp32", 1), ("fp16", 2), ("bf16", 3)])
def test_cuda_is_close(precision: str, most: int) -> None:
    result, expected = (
        enlarged(b, "ecbsr", "fp32", photo(40, 52), Numbers())
        for b in (TorchBackend("cuda", precision=precision), TorchBackend())
    )
    assert difference(result, expected)[0] <= most


def test_several_shapes_and_many_jobs_at_once_on_openvino() -> None:
    runner = make_backend(choose("openvino", "fp32"), threads=2).runner(model("nearest", "fp32"), Numbers())
    # One shape more than is kept compiled.
    planes = [noise(rows, 9, seed=n) for n, rows in enumerate([8, 8, 9, 9, 8, 10, 11, 12, 8])]
    jobs = [runner.submit([plane]) for plane in planes]
    for job, plane in reversed(list(zip(jobs, planes, strict=True))):
        np.testing.assert_array_equal(job.result()[0], plane.repeat(2, axis=0).repeat(2, axis=1))


def test_networks_are_made_on_several_threads_at_once_on_openvino() -> None:
    ready = threading.Barrier(4)

    def enlarge(rows: int) -> np.ndarray[Any, Any]:
        backend = make_backend(choose("openvino", "fp32"), threads=1)
        ready.wait(20)
        return enlarged(backend, "espcn", "fp32", photo(rows, 40), Numbers())

    with ThreadPoolExecutor(4) as pool:
        for rows, result in zip(range(16, 32, 4), pool.map(enlarge, range(16, 32, 4)), strict=True):
            assert difference(result, enlarged(TorchBackend(), "espcn", "fp32", photo(rows, 40), Numbers()))[0] <= 1


def test_the_network_given_is_left_as_it_was() -> None:
    net = network("espcn", 2).train()
    TorchBackend(precision="bf16").runner(net, Numbers()).submit([photo(9, 9)])
    assert net.training
    assert {parameter.dtype for parameter in net.parameters()} == {torch.float32}


@pytest.mark.parametrize("bit_depth", [8, 10, 16])
@pytest.mark.parametrize("full_range", [False, True])
def test_numbers_map_black_and_white(bit_depth: int, full_range: bool) -> None:
    numbers = Numbers(bit_depth=bit_depth, full_range=full_range)
    step = 1 << (bit_depth - 8)
    black, white = (0, numbers.peak) if full_range else (16 * step, 235 * step)
    assert black * numbers.gain + numbers.offset == pytest.approx(16 / 255)
    assert white * numbers.gain + numbers.offset == pytest.approx(235 / 255)


def test_threads_of_torch() -> None:
    before = torch.get_num_threads()
    try:
        make_backend(Choice(device="cpu", precision="fp32", reason=""), threads=2)
        assert torch.get_num_threads() == 2
    finally:
        torch.set_num_threads(before)


@pytest.mark.parametrize("device", ["openvino", "torch"])
def test_a_result_can_be_asked_for_twice(device: str) -> None:
    upscaler = Upscaler("bicubic", device=device)
    plane = np.arange(256, dtype=np.uint8).reshape(16, 16)
    job = upscaler.submit([(plane,)], layout=Layout(subsampling="gray"))
    first, again = job.result()[0][0], job.result()[0][0]
    later = [upscaler.submit([(plane,)], layout=Layout(subsampling="gray")) for _ in range(2)]
    for result in (again, *(job.result()[0][0] for job in later)):
        np.testing.assert_array_equal(result, first)


class Loud(Network):
    """The identity, by way of numbers that sixteen bits of float do not reach."""

    scale, receptive_field = 1, 0

    def __init__(self) -> None:
        super().__init__()
        self.up, self.down = (torch.nn.Conv2d(1, 1, 1, bias=False) for _ in range(2))
        torch.nn.init.constant_(self.up.weight, 1e6)
        torch.nn.init.constant_(self.down.weight, 1e-6)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.down(self.up(x))


def test_half_precision_that_overflows_goes_on_in_full(caplog: pytest.LogCaptureFixture) -> None:
    plane = np.arange(64, dtype=np.uint8).reshape(8, 8)
    [result] = TorchBackend(precision="fp16").runner(Loud(), Numbers()).submit([plane]).result()
    np.testing.assert_array_equal(result, plane)
    assert "going on in fp32" in caplog.text
