"""Networks run by PyTorch, on a CPU or a CUDA device."""

from __future__ import annotations

import copy
import logging
from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor, nn

from vsr.backends.base import Done, Job, Numbers, Plane, Runner
from vsr.models.base import Network

log = logging.getLogger(__name__)

_TYPES = {"fp32": torch.float32, "bf16": torch.bfloat16, "fp16": torch.float16, "int8": torch.float32}


class TorchBackend:
    """PyTorch on one device. int8 is simulated in fp32: the same numbers as integers give, without their speed."""

    def __init__(self, device: str = "cpu", *, precision: str = "fp32") -> None:
        self.device = torch.device(device)
        self.precision = precision
        self.in_flight = 1
        self.name = f"PyTorch on {device}"

    def runner(self, network: Network, numbers: Numbers) -> Runner:
        """Make a network of one channel ready."""
        return _TorchRunner(_Planes(network, numbers, _TYPES[self.precision]), numbers, self.device)


class _Planes(nn.Module):
    """Whole numbers to whole numbers through a network that works on floats.

    Below fp32 only the convolutions are computed in fewer bits: what a network adds to them, the identity above all,
    and the numbers around it stay fp32, for sixteen bits of float do not hold ten bits of luma.
    """

    def __init__(self, network: Network, numbers: Numbers, kind: torch.dtype) -> None:
        super().__init__()
        self.network = copy.deepcopy(network)
        self.kind = kind
        self.numbers = numbers

    def forward(self, x: Tensor) -> Tensor:
        """N×1×H×W float32 numbers to N×1×rH×rW float32 numbers, rounded and clamped."""
        numbers = self.numbers
        with torch.autocast(x.device.type, dtype=self.kind, enabled=self.kind != torch.float32):
            y: Tensor = self.network(x * numbers.gain + numbers.offset).float()
        return ((y - numbers.offset) / numbers.gain).round_().clamp_(0, numbers.peak)


class _TorchRunner:
    def __init__(self, program: _Planes, numbers: Numbers, device: torch.device) -> None:
        self.program = program.to(device, memory_format=torch.channels_last).eval()  # type: ignore[call-overload]
        self.numbers, self.device = numbers, device

    @torch.inference_mode()
    def submit(self, planes: Sequence[Plane]) -> Job:
        """Run the planes as one batch; finished when it returns."""
        batch = torch.from_numpy(np.stack(planes)).to(self.device).unsqueeze(1)
        out = self.program(batch.float()).squeeze(1)
        if self.program.kind != torch.float32 and not torch.isfinite(out).all():
            # Some GPUs overflow in half precision, which would show as black frames.
            log.warning("%s overflowed on %s; going on in fp32", self.program.kind, self.device)
            self.program.kind = torch.float32
            out = self.program(batch.float()).squeeze(1)
        # torch.uint16 knows few operations; int32 carries the numbers to NumPy.
        kind = torch.uint8 if self.numbers.bit_depth == 8 else torch.int32
        result = out.to(kind).cpu().numpy()
        return Done(list(result.astype(self.numbers.dtype, copy=False)))
