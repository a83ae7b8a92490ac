import subprocess
import sys

_LOOK = """
import multiprocessing, sys
import numpy as np
import vsr
vsr.Upscaler("bicubic", device="openvino").luma(np.zeros((16, 16), np.uint8))
assert "openvino" in sys.modules
loaded = [name for name, module in sys.modules.items() if name.startswith("openvino_telemetry") and module]
print(loaded, multiprocessing.active_children())
"""


def test_upscaling_reports_to_nobody_and_leaves_no_process_behind():
    run = subprocess.run([sys.executable, "-c", _LOOK], capture_output=True, text=True, timeout=120, check=True)
    assert run.stdout.strip() == "[] []"


def test_the_converter_does_not_listen_to_our_command_line() -> None:
    code = "import numpy as np, vsr; vsr.Upscaler('bicubic', device='openvino').luma(np.zeros((16, 16), np.uint8))"
    done = subprocess.run(
        [sys.executable, "-c", code, "--verbose"], capture_output=True, text=True, check=True, timeout=120
    )
    assert done.stdout == ""


def test_signals_are_caught_after_networks_came_and_went() -> None:
    """In a process of its own, which it would bring down."""
    ran = subprocess.run([sys.executable, "-c", _COME_AND_GO], capture_output=True, text=True, check=False, timeout=120)
    assert (ran.returncode, ran.stdout) == (0, "caught\n"), ran.stderr


_COME_AND_GO = """
import gc, os, signal
from vsr.backends.base import Numbers
from vsr.backends.openvino import OpenVINOBackend
from vsr.models.interpolation import Interpolation
import numpy as np

for _ in range(3):
    kept = [OpenVINOBackend() for _ in range(2)]
    for backend in kept:
        backend.runner(Interpolation(2), Numbers()).submit([np.zeros((9, 9), np.uint8)]).result()
    while kept:
        del backend, kept[0]
        gc.collect()
        backend = None
signal.signal(signal.SIGINT, lambda *_: print("caught"))
os.kill(os.getpid(), signal.SIGINT)
"""
