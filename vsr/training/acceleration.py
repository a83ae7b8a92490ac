"""What makes a step faster where a machine has it: bf16, a compiler, kernels chosen by speed."""

from __future__ import annotations

import copy
import logging
from collections.abc import Callable
from contextlib import AbstractContextManager

import torch
from torch import Tensor, nn

from vsr.errors import ConfigError

log = logging.getLogger(__name__)

PRECISIONS = ("auto", "fp32", "bf16")

Forward = Callable[[Tensor], Tensor]


def device_for(name: str, *, deterministic: bool = False) -> torch.device:
    """The device of a name, made ready for training.

    Args:
        name: ``"auto"``, ``"cpu"``, ``"cuda"`` or ``"cuda:N"``.
        deterministic: choose CUDA's kernels by rule, not by speed, so that a run can be repeated bit for bit.

    Raises:
        ConfigError: another name, or a device that is not there.
    """
    there = torch.cuda.is_available()
    kind, _, number = (("cuda" if there else "cpu") if name == "auto" else name).partition(":")
    if kind == "cpu" and not number:
        return torch.device("cpu")
    index = int(number) if number.isdecimal() else 0
    if kind != "cuda" or not there or (number and not number.isdecimal()) or index >= torch.cuda.device_count():
        raise ConfigError(f"got device = {name!r}, allowed are auto, cpu and, where there is one, cuda or cuda:N")
    torch.backends.cudnn.benchmark = not deterministic
    torch.backends.cudnn.deterministic = deterministic
    return torch.device("cuda", index)


def uses_bf16(precision: str, device: torch.device, *, quantize: bool = False) -> bool:
    """Whether layers compute in bf16; ``"auto"`` does on a CUDA device that has it.

    Raises:
        ConfigError: another precision, or bf16 together with 8-bit rounding, whose steps it cannot tell apart.
    """
    if precision not in PRECISIONS:
        raise ConfigError(f"got optim.precision = {precision!r}, allowed are {', '.join(PRECISIONS)}")
    if quantize and precision == "bf16":
        raise ConfigError("got optim.precision = 'bf16' with model.quantize, whose roundings need fp32; leave it out")
    if precision == "auto":
        return device.type == "cuda" and not quantize and torch.cuda.is_bf16_supported()
    return precision == "bf16"


def autocast(device: torch.device, *, bf16: bool) -> AbstractContextManager[object]:
    """A context in which layers compute in bf16, if so wanted; weights, and what is summed up, stay fp32."""
    return torch.autocast(device.type, dtype=torch.bfloat16, enabled=bf16)


def compiled(network: nn.Module, example: Tensor, *, bf16: bool = False) -> Forward:
    """The network's ``forward`` through ``torch.compile``, tried there and back; as it is where that fails.

    Args:
        network: its weights and statistics are as they were afterwards.
        example: of the shape that it will be given.
        bf16: as it will be run.
    """
    before = copy.deepcopy(network.state_dict())
    forward: Forward = network
    try:
        forward = torch.compile(network, dynamic=False)
        with autocast(example.device, bf16=bf16):
            made = forward(example)
        made.float().mean().backward()  # type: ignore[no-untyped-call]
    except Exception as error:  # A missing compiler shows itself in many ways, and none is a reason not to train.
        reason = (str(error) or type(error).__name__).splitlines()[0]
        log.warning("torch.compile does not work here (%s); training goes on without", reason)
        forward = network
    network.zero_grad(set_to_none=True)
    network.load_state_dict(before)
    return forward
