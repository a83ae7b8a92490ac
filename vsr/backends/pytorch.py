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

TYPES = {"fp32": torch.float32, "bf16": torch.bfloat16, "fp16": torch.float16, "int8": torch.float32}


class TorchBackend:
    """PyTorch on one device. int8 is simulated in fp32: the same numbers as integers give, without their speed."""

    def __init__(self, device: str = "cpu", *, precision: str = "fp32") -> None:
        self.device = torch.device(device)
        self.precision = precision
        self.in_flight = 1
        self.name = f"PyTorch on {device}"

    def runner(self, network: Network, numbers: Numbers) -> Runner:
        """Make a network of one channel ready for planes."""
        return _TorchRunner(self.program(network), numbers)

    def program(self, network: Network) -> TorchProgram:
        """Make a network ready for floats."""
        return TorchProgram(network, self.device, TYPES[self.precision])


class TorchProgram:
    """A copy of a network on a device.

    Below fp32 only the convolutions are computed in fewer bits: what a network adds to them, the identity above all,
    stays fp32 where it can, for sixteen bits of float do not hold ten bits of luma.
    """

    def __init__(self, network: Network, device: torch.device, kind: torch.dtype) -> None:
        copied = copy.deepcopy(network)
        self.network: nn.Module = copied.to(device, memory_format=torch.channels_last).eval()  # type: ignore[call-overload]
        self.device, self.kind = device, kind

    @torch.inference_mode()
    def __call__(self, x: Tensor, /) -> Tensor:
        """float32 N×C×H×W to float32 N×C×rH×rW."""
        y = self._run(x)
        if self.kind != torch.float32 and not torch.isfinite(y).all():
            # Some GPUs overflow in half precision, which would show as black frames.
            log.warning("%s overflowed on %s; going on in fp32", self.kind, self.device)
            self.kind = torch.float32
            y = self._run(x)
        return y

    def _run(self, x: Tensor) -> Tensor:
        with torch.autocast(self.device.type, dtype=self.kind, enabled=self.kind != torch.float32):
            y: Tensor = self.network(x)
        return y.float()


class _TorchRunner:
    """Whole numbers to whole numbers through a program on floats."""

    def __init__(self, program: TorchProgram, numbers: Numbers) -> None:
        self.program, self.numbers = program, numbers

    @torch.inference_mode()
    def submit(self, planes: Sequence[Plane]) -> Job:
        """Run the planes as one batch; finished when it returns."""
        numbers = self.numbers
        batch = torch.from_numpy(np.stack(planes)).to(self.program.device).unsqueeze(1).float()
        y = self.program(batch * numbers.gain + numbers.offset).squeeze(1)
        out = ((y - numbers.offset) / numbers.gain).round_().clamp_(0, numbers.peak)
        # torch.uint16 knows few operations; int32 carries the numbers to NumPy.
        kind = torch.uint8 if numbers.bit_depth == 8 else torch.int32
        result = out.to(kind).cpu().numpy()
        return Done(list(result.astype(numbers.dtype, copy=False)))
