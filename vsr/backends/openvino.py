"""Networks run by OpenVINO on a CPU: the fastest that two cores can do.

The graph takes and gives the stream's own whole numbers. Every shape is compiled once, for static shapes are faster. A
pool of requests keeps all cores busy: one stream of inference per core, because decoder and encoder use them too, and
threads that wait for one another in every layer lose more to that than they gain.
"""

from __future__ import annotations

import threading
import warnings
from collections import OrderedDict
from collections.abc import Sequence
from dataclasses import dataclass
from time import perf_counter
from typing import Any, TypeAlias

import numpy as np
import torch
from torch import Tensor, nn

from vsr.backends.base import Job, Numbers, Plane, Program, Runner, usable_cores
from vsr.backends.quiet import load_openvino, openvino_core, without_arguments
from vsr.models.base import Network, SubpixelNetwork
from vsr.models.interpolation import Interpolation
from vsr.spans import tell

Shape: TypeAlias = tuple[int, int, int, int]

_SHAPES_KEPT = 8
# PyTorch traces one network at a time: two at once spoil each other, and fail.
_CONVERTING = threading.Lock()


class OpenVINOBackend:
    """OpenVINO's CPU plugin.

    Args:
        precision: ``"fp32"``, ``"bf16"`` or, for networks with 8-bit convolutions, ``"int8"``.
        threads: cores to use; 0 for all that this process may use.
        latency: all cores on one frame after the other, in place of one frame per core.
    """

    def __init__(self, *, precision: str = "fp32", threads: int = 0, latency: bool = False) -> None:
        self.core = openvino_core()
        self.precision = precision
        threads = threads or usable_cores()
        self.in_flight = 1 if latency else threads
        self.name = "OpenVINO on CPU"
        self.settings = {
            "INFERENCE_PRECISION_HINT": "bf16" if precision == "bf16" else "f32",
            "INFERENCE_NUM_THREADS": threads,
            "NUM_STREAMS": self.in_flight,
        }

    def runner(self, network: Network, numbers: Numbers) -> Runner:
        """Make a network of one channel ready for planes."""
        return _OpenVINORunner(self, network, numbers)

    def program(self, network: Network) -> Program:
        """Make a network ready for floats."""
        return _OpenVINOProgram(self, network)

    def compile(self, network: Network, numbers: Numbers | None, shape: Shape) -> Any:
        """Build and compile the graph for one shape N×C×H×W; between floats where ``numbers`` is None."""
        graph = _converted(network, shape) if numbers is None else _graph(network, numbers, shape)
        return self.core.compile_model(graph, "CPU", self.settings)


def _graph(network: Network, numbers: Numbers, shape: Shape) -> Any:
    """The network between whole numbers and whole numbers."""
    openvino = load_openvino()
    opset13 = openvino.opset13
    model = _converted(_Subpixels(network) if isinstance(network, SubpixelNetwork) else network, shape)
    kind = np.dtype(numbers.dtype).name
    pre = openvino.preprocess.PrePostProcessor(model)
    pre.input().tensor().set_element_type(openvino.Type(np.dtype(_input_type(numbers))))
    steps = pre.input().preprocess().convert_element_type(openvino.Type.f32).scale(1 / numbers.gain)
    if numbers.offset:
        steps.mean(-numbers.offset)
    model = pre.build()
    y = model.get_results()[0].input_value(0)
    if numbers.offset:
        y = opset13.subtract(y, np.float32(numbers.offset))
    y = opset13.multiply(y, np.float32(1 / numbers.gain))
    y = opset13.clamp(opset13.round(y, "half_to_even"), 0.0, float(numbers.peak))
    y = opset13.convert(y, {"uint8": "u8", "uint16": "u16"}[kind])
    if isinstance(network, SubpixelNetwork):
        y = _shuffle(y, shape, network.scale)
    return openvino.Model([opset13.result(y)], model.get_parameters(), "planes")


def _converted(body: nn.Module, shape: Shape) -> Any:
    openvino = load_openvino()
    with _CONVERTING, warnings.catch_warnings(), without_arguments():
        # OpenVINO reads a trace of the network, and PyTorch warns of each that traces are going away.
        warnings.simplefilter("ignore")
        example = torch.zeros(1, shape[1], 16, 16)
        return openvino.convert_model(body, example_input=example, input=[openvino.PartialShape(list(shape))])


class _Subpixels(nn.Module):
    """A network without its shuffle, which is cheaper done on whole numbers, by a transposition."""

    def __init__(self, network: SubpixelNetwork) -> None:
        super().__init__()
        self.network = network

    def forward(self, x: Tensor) -> Tensor:
        return self.network.subpixels(x)


def _shuffle(y: Any, shape: Shape, r: int) -> Any:
    opset13 = load_openvino().opset13
    count, _, rows, columns = shape
    y = opset13.reshape(y, np.array([count, r, r, rows, columns]), special_zero=False)
    y = opset13.transpose(y, np.array([0, 3, 1, 4, 2]))
    return opset13.reshape(y, np.array([count, 1, rows * r, columns * r]), special_zero=False)


def _input_type(numbers: Numbers) -> type[np.uint8] | type[np.float32]:
    """What the graph is fed with: its 8-bit convolutions take no 16-bit integers, floats hold those exactly."""
    return np.uint8 if numbers.bit_depth == 8 else np.float32


class _Graphs:
    """The compiled graphs of one network, the latest few, each with its pool of requests that are free."""

    def __init__(self, backend: OpenVINOBackend, network: Network, numbers: Numbers | None) -> None:
        self.backend, self.network, self.numbers = backend, network, numbers
        self.compiled: OrderedDict[Shape, tuple[Any, list[Any]]] = OrderedDict()

    def request(self, shape: Shape) -> tuple[Any, list[Any]]:
        """A request for a shape, and the pool that it goes back to."""
        if shape not in self.compiled:
            self.compiled[shape] = (self.backend.compile(self.network, self.numbers, shape), [])
            while len(self.compiled) > _SHAPES_KEPT:
                self.compiled.popitem(last=False)
        self.compiled.move_to_end(shape)
        compiled, free = self.compiled[shape]
        return (free.pop() if free else compiled.create_infer_request()), free


class _OpenVINOProgram:
    device = torch.device("cpu")

    def __init__(self, backend: OpenVINOBackend, network: Network) -> None:
        self.graphs = _Graphs(backend, network, None)

    def __call__(self, x: Tensor, /) -> Tensor:
        batch = x.contiguous().numpy()
        request, free = self.graphs.request(batch.shape)
        request.infer([batch], share_inputs=True)
        result = torch.from_numpy(np.array(request.get_output_tensor(0).data))
        free.append(request)
        return result


class _OpenVINORunner:
    def __init__(self, backend: OpenVINOBackend, network: Network, numbers: Numbers) -> None:
        self.graphs = _Graphs(backend, network, numbers)

    def submit(self, planes: Sequence[Plane]) -> Job:
        """Start one request for all planes; when the pool is empty a new request joins it."""
        assert self.graphs.numbers is not None
        batch: Any = np.stack(planes, dtype=_input_type(self.graphs.numbers), casting="safe")[:, None]
        request, free = self.graphs.request(batch.shape)
        name = "interpolation" if isinstance(self.graphs.network, Interpolation) else "network"
        since = perf_counter()
        request.start_async([batch], share_inputs=True)
        return _Request(request, batch, free, name, since)


@dataclass(slots=True)
class _Request:
    """A request under way; it goes back to the pool when its result is taken, and the planes stay."""

    request: Any
    batch: Any
    free: list[Any]
    name: str
    since: float
    planes: list[Plane] | None = None

    def result(self) -> list[Plane]:
        if self.planes is None:
            self.request.wait()
            tell(self.name, self.since, "OpenVINO")
            self.planes = list(np.array(self.request.get_output_tensor(0).data)[:, 0])
            self.free.append(self.request)
            self.request = self.batch = None
        return self.planes
