"""Kernels of our own, interpreted on the CPU: slow, and the same numbers as on a GPU but for their last bits."""

from __future__ import annotations

import importlib.util
import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

pytestmark = pytest.mark.skipif(importlib.util.find_spec("triton") is None, reason="Triton is not installed")

# Triton decides when it is loaded whether it compiles or interprets, so this has a process of its own.
_PROGRAM = """
import json, sys
import numpy as np, torch
from pictures import difference, network, noise
from vsr.backends.base import Numbers
from vsr.backends.chain import chain_of
from vsr.backends.pytorch import TorchBackend

found = []
for name, scale, numbers in [
    ("espcn", 2, Numbers()), ("espcn", 3, Numbers(bit_depth=10, full_range=True)),
    ("ecbsr", 2, Numbers(bit_depth=16)), ("ecbsr", 4, Numbers(full_range=True)),
]:
    net = network(name, scale)
    planes = np.stack([noise(13, 19, bit_depth=numbers.bit_depth, seed=seed) for seed in range(2)])
    bits = planes.view(np.int16) if planes.dtype == np.uint16 else planes
    source = torch.from_numpy(bits).flatten()
    target, finite = torch.zeros(source.numel() * scale**2, dtype=source.dtype), torch.zeros(1, dtype=torch.uint8)
    chain_of(net, torch.float16)(source, target, finite, shape=planes.shape, numbers=numbers)
    got = target.numpy().view(planes.dtype).reshape(2, 13 * scale, 19 * scale)
    wanted = np.stack(TorchBackend().runner(net, numbers).submit(list(planes)).result())
    found.append([name, int(finite), difference(got, wanted)[0] / 2 ** (numbers.bit_depth - 8)])

net = network("ecbsr", 2)
net.body[2].weight.data *= 1e6
source, target = (torch.full((side * side,), 200, dtype=torch.uint8) for side in (8, 16))
finite = torch.ones(1).byte()
chain_of(net, torch.float16)(source, target, finite, shape=(1, 8, 8), numbers=Numbers())
found.append(["overflow", int(finite), 0])
found += [[name, chain_of(network(name, 2), torch.float16) is None, 0] for name in ("bicubic", "srcnn")]
print(json.dumps(found))
"""


def test_interpreted_kernels_give_what_pytorch_gives() -> None:
    here = Path(__file__).parent
    paths = os.pathsep.join(map(str, (here, here.parent, *filter(None, sys.path))))
    run = subprocess.run(
        [sys.executable, "-c", _PROGRAM],
        env=os.environ | {"TRITON_INTERPRET": "1", "PYTHONPATH": paths},
        capture_output=True,
        text=True,
        timeout=200,
        check=False,
    )
    assert run.returncode == 0, run.stderr[-2000:]
    found = {(name, index): (flag, worst) for index, (name, flag, worst) in enumerate(json.loads(run.stdout))}
    for (name, _), (flag, worst) in found.items():
        if name in ("espcn", "ecbsr"):
            assert flag == 1
            assert worst <= 1.5
        else:
            assert flag == (0 if name == "overflow" else True)
