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
