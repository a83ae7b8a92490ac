"""Who runs a network: PyTorch, or on CPUs C code or OpenVINO; and which of them this machine is served best by."""

from __future__ import annotations

import importlib.util
from dataclasses import dataclass, replace
from functools import cache

import torch

from vsr.backends.base import LAYER_BYTES, Backend
from vsr.backends.quiet import openvino_core
from vsr.errors import DeviceError
from vsr.native import load, state

DEVICES = ("auto", "cpu", "native", "openvino", "torch", "cuda", "cuda:N", "cuda:N,M", "cuda:all")
_SHARE = 32
"""A layer may take this part of a GPU's memory: several layers are there at a time, of several pictures."""
PRECISIONS = ("auto", "fp32", "fp16", "bf16", "int16", "int8")


@dataclass(frozen=True, slots=True, kw_only=True)
class Choice:
    """A backend and precision, and why."""

    device: str
    precision: str
    reason: str


def choose(
    device: str = "auto",
    precision: str = "auto",
    *,
    has_int8: bool = False,
    has_int16: bool = False,
    trained: bool = True,
    channels: int = 1,
) -> Choice:
    """Settle ``"auto"`` for this machine.

    Args:
        device: ``"auto"``; ``"cpu"`` (the fastest there is on the CPU); ``"native"`` (C code), ``"openvino"`` or
            ``"torch"`` (that one, on the CPU); ``"cuda"`` or ``"cuda:1"``; ``"cuda:0,1"`` or ``"cuda:all"`` for
            several at once.
        precision: one of :data:`PRECISIONS`.
        has_int8: whether 8-bit weights of the network exist.
        has_int16: whether the C code does the network in 16-bit integers (:func:`vsr.backends.native.has_int16`).
        trained: whether the network has weights at all; interpolation has not, and is done in fp32 alone.
        channels: of the network.

    Raises:
        DeviceError: a name that does not exist, a device that is not here, or a precision that it cannot do.
    """
    if precision not in PRECISIONS:
        raise DeviceError(f"got precision {precision!r}, allowed are {', '.join(PRECISIONS)}")
    place, why = _place(device)
    in_c = _native_precisions(has_int8=has_int8, has_int16=has_int16, trained=trained, channels=channels)
    if device in ("auto", "cpu") and place in ("openvino", "cpu") and precision in _meaning_c(in_c):
        place, why = (
            "native",
            f"CPU ({'no CUDA device' if device == 'auto' else 'as asked'}), where C code is the fastest",
        )
    allowed: tuple[str, ...]
    if place == "native":
        allowed = in_c
        if not allowed:
            raise DeviceError("the C code knows no such network, or not on this processor; try --device auto")
    elif not trained:
        allowed = ("fp32",)
    elif place.startswith("cuda"):
        allowed = ("fp16", "fp32", "bf16")
    elif place == "openvino":
        allowed = ("int8",) * has_int8 + ("bf16",) * ("BF16" in openvino_capabilities()) + ("fp32",)
        if channels == 3:
            # The picture itself runs through these networks, and eight bits of mantissa show as steps in a sky.
            allowed = ("fp32", *(each for each in allowed if each != "fp32"))
    else:
        allowed = ("fp32", "bf16") + ("int8",) * has_int8
    if precision == "auto":
        return Choice(device=place, precision=allowed[0], reason=f"{why}; {_PRECISION_REASONS[allowed[0]]}")
    if precision not in allowed:
        raise DeviceError(f"got precision {precision} on {place}, this machine and network allow {', '.join(allowed)}")
    return Choice(device=place, precision=precision, reason=f"{why}; {precision} as asked")


_PRECISION_REASONS = {
    "int8": "8-bit weights are shipped, trained with the rounding in the loop",
    "int16": "16-bit integers, as good as fp32",
    "bf16": "this processor multiplies bf16",
    "fp16": "half precision, the luma around the network stays fp32",
    "fp32": "nothing faster keeps the quality",
}


def make_backend(choice: Choice, *, threads: int = 0, latency: bool = False) -> Backend:
    """Open what was chosen.

    Args:
        choice: of :func:`choose`.
        threads: CPU cores to use; 0 for every one that this process may use.
        latency: all of them on one picture after the other, in place of one picture per core.
    """
    library = load() if choice.device == "native" else None
    if library is not None:
        from vsr.backends.native import NativeBackend

        def other() -> Backend:
            device = "openvino" if openvino_capabilities() else "cpu"
            return make_backend(replace(choice, device=device), threads=threads, latency=latency)

        return NativeBackend(library, other, precision=choice.precision, threads=threads, latency=latency)
    if choice.device == "openvino":
        from vsr.backends.openvino import OpenVINOBackend

        return OpenVINOBackend(precision=choice.precision, threads=threads, latency=latency)
    if choice.device.startswith("cuda"):
        return _cuda_backend(choice, latency=latency)
    from vsr.backends.pytorch import TorchBackend

    if threads and choice.device == "cpu":
        torch.set_num_threads(threads)
    return TorchBackend(choice.device, precision=choice.precision)


def for_chroma(choice: Choice) -> Choice:
    """Where the planes beside luma are interpolated: where it is, or by C code, which is several times as fast."""
    if choice.device.startswith("cuda"):
        # A float of sixteen bits does not hold ten bits of chroma, and the eye sees the steps in a sky.
        return replace(choice, precision="fp32")
    if load() is not None:
        return replace(choice, device="native", precision="fp32")
    # The first backend serves for both, unless it rounds to half precision.
    return replace(choice, precision="fp32") if choice.precision in ("bf16", "fp16") else choice


def _native_precisions(*, has_int8: bool, has_int16: bool, trained: bool, channels: int) -> tuple[str, ...]:
    """What the C code does for a network; nothing where it does not know it, or is not there."""
    library = load()
    if library is None or channels != 1:
        return ()
    if not trained:
        return ("fp32",)
    return (("int8",) * has_int8 + ("int16",) * has_int16) if library.kinds else ()


def _meaning_c(precisions: tuple[str, ...]) -> tuple[str, ...]:
    """The words for a precision by which the C code is meant."""
    if not precisions:
        return ()
    # Where a processor multiplies bf16, as many of them at a time, OpenVINO stays until both were measured there.
    as_fast = precisions == ("int16",) and "BF16" in openvino_capabilities()
    return precisions if as_fast else ("auto", *precisions)


def layer_bytes(choice: Choice) -> int:
    """What one layer of one picture may take where it runs; larger pictures are cut in tiles."""
    if not choice.device.startswith("cuda") or not torch.cuda.is_available():
        return LAYER_BYTES
    return max(LAYER_BYTES, min(torch.cuda.mem_get_info(name)[1] for name in _names(choice)) // _SHARE)


def _names(choice: Choice) -> list[str]:
    """A CUDA device each."""
    return [f"cuda:{number or 0}" for number in choice.device.partition(":")[2].split(",")]


def _cuda_backend(choice: Choice, *, latency: bool) -> Backend:
    from vsr.backends.cuda import CudaBackend
    from vsr.backends.several import SeveralBackends

    backends = [CudaBackend.on(name, precision=choice.precision, latency=latency) for name in _names(choice)]
    return SeveralBackends(backends) if len(backends) > 1 else backends[0]


def _place(device: str) -> tuple[str, str]:
    """The concrete device behind a name (``openvino``, ``cpu`` for torch's, ``cuda…``), and why."""
    if device in ("native", "openvino", "torch"):
        return _on_cpu(device)
    if device.partition(":")[0] == "cuda":
        return _cuda(device), "CUDA as asked"
    if device not in ("auto", "cpu"):
        raise DeviceError(f"got device {device!r}, allowed are {', '.join(DEVICES)}")
    if device == "auto" and torch.cuda.is_available():
        return "cuda", f"{torch.cuda.get_device_name()} is here"
    no_gpu = "as asked" if device == "cpu" else "no CUDA device"
    if openvino_capabilities():
        return "openvino", f"CPU ({no_gpu}), where OpenVINO is the fastest"
    return "cpu", f"CPU ({no_gpu}), OpenVINO is not installed"


def _on_cpu(device: str) -> tuple[str, str]:
    if device == "native":
        if load() is None:
            raise DeviceError(f"there is no C code here: {state()}")
        return "native", "C code as asked"
    if device == "openvino":
        if not openvino_capabilities():
            raise DeviceError("OpenVINO is not installed here; 'pip install openvino', or use --device torch")
        return "openvino", "OpenVINO as asked"
    return "cpu", "PyTorch on the CPU as asked"


def _cuda(device: str) -> str:
    count = torch.cuda.device_count() if torch.cuda.is_available() else 0
    asked = device.partition(":")[2] or "0"
    if asked == "all" and count:
        return "cuda:" + ",".join(map(str, range(count)))
    numbers = asked.split(",")
    if not all(number.isdecimal() and int(number) < count for number in numbers) or len({*numbers}) < len(numbers):
        have = ", ".join(f"cuda:{index}" for index in range(count)) or "none"
        raise DeviceError(f"got device {device}, CUDA devices here: {have}; try --device auto")
    return device


@cache
def openvino_capabilities() -> frozenset[str]:
    """What OpenVINO can compute with on this CPU (``FP32``, ``BF16``, ``INT8``, …); empty where it is not installed."""
    if importlib.util.find_spec("openvino") is None:
        return frozenset()
    return frozenset(openvino_core().get_property("CPU", "OPTIMIZATION_CAPABILITIES"))
