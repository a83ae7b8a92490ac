from __future__ import annotations

import logging
from collections.abc import Callable
from typing import Any

import pytest
import torch
from pictures import network
from torch import nn

from vsr.errors import ConfigError
from vsr.models import build_network
from vsr.training.acceleration import compiled, device_for, uses_bf16
from vsr.training.data import storage_for

CPU = torch.device("cpu")
CUDA = torch.device("cuda", 0)


@pytest.mark.parametrize(
    ("precision", "device", "supported", "quantize", "expected"),
    [
        ("auto", CPU, True, False, False),
        ("auto", CUDA, True, False, True),
        ("auto", CUDA, False, False, False),
        ("auto", CUDA, True, True, False),
        ("fp32", CUDA, True, False, False),
        ("bf16", CPU, False, False, True),
    ],
)
def test_precision(
    monkeypatch: pytest.MonkeyPatch,
    precision: str,
    device: torch.device,
    supported: bool,
    quantize: bool,
    expected: bool,
) -> None:
    monkeypatch.setattr(torch.cuda, "is_bf16_supported", lambda: supported)
    assert uses_bf16(precision, device, quantize=quantize) is expected


def test_rounding_to_8_bit_needs_fp32() -> None:
    with pytest.raises(ConfigError, match=r"'bf16' with model.quantize"):
        uses_bf16("bf16", CPU, quantize=True)


@pytest.mark.parametrize("there", [False, True])
@pytest.mark.parametrize("name", ["tpu", "cuda:7", "cuda:x", "cpu:1", "cuda:-1", ""])
def test_devices_that_are_not_there(monkeypatch: pytest.MonkeyPatch, name: str, there: bool) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: there)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 2 * there)
    with pytest.raises(ConfigError, match=f"device = {name!r}, allowed are auto"):
        device_for(name)


def test_cuda_chooses_kernels_by_speed_unless_told(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("benchmark", "deterministic"):
        monkeypatch.setattr(torch.backends.cudnn, name, getattr(torch.backends.cudnn, name))
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 2)
    assert device_for("auto") == CUDA
    assert (torch.backends.cudnn.benchmark, torch.backends.cudnn.deterministic) == (True, False)
    assert device_for("cuda:1", deterministic=True) == torch.device("cuda", 1)
    assert (torch.backends.cudnn.benchmark, torch.backends.cudnn.deterministic) == (False, True)


def stand_in(fails: bool) -> Callable[..., Any]:
    def compile_it(module: nn.Module, **_: Any) -> Callable[[torch.Tensor], torch.Tensor]:
        def run(x: torch.Tensor) -> torch.Tensor:
            if fails:
                raise RuntimeError("no working C++ compiler\nand much more")
            made: torch.Tensor = module(x)
            return made

        return run

    return compile_it


@pytest.mark.parametrize("fails", [False, True])
def test_compiling_is_tried_and_leaves_no_trace(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture, fails: bool
) -> None:
    monkeypatch.setattr(torch, "compile", stand_in(fails))
    torch.manual_seed(0)
    # Batch norm would remember the trial.
    net = build_network("srresnet", scale=2, options={"blocks": 1, "width": 8})
    before = {name: value.clone() for name, value in net.state_dict().items()}
    with caplog.at_level(logging.WARNING):
        forward = compiled(net, torch.rand(2, 3, 8, 8))
    assert (forward is net) is fails
    assert ("does not work here (no working C++ compiler); training goes on" in caplog.text) is fails
    assert all(torch.equal(value, before[name]) for name, value in net.state_dict().items())
    assert all(parameter.grad is None for parameter in net.parameters())


def test_the_compiled_network_is_the_network() -> None:
    """The real thing, without generating code: the graph is taken and run as it is."""
    net = network("espcn", 2).requires_grad_(True)
    x = torch.rand(1, 1, 9, 9)
    forward = torch.compile(net, dynamic=False, backend="eager")
    assert torch.equal(forward(x), net(x))


@pytest.mark.parametrize(("free", "expected"), [(1_000, CUDA), (150, CPU)])
def test_pictures_lie_where_there_is_room(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture, free: int, expected: torch.device
) -> None:
    monkeypatch.setattr(torch.cuda, "mem_get_info", lambda device: (free, 2_000))
    with caplog.at_level(logging.INFO):
        assert storage_for(100, CUDA) == expected
    assert ("cut there" if expected == CUDA else "in main memory") in caplog.text
    assert storage_for(10**12, CPU) == CPU
