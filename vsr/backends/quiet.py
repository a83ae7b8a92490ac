"""OpenVINO, loaded without its telemetry.

Merely importing it starts a child process that reports the use of the program over the network; behind a firewall that
process stays, and the program waits for it when it should end. What people do with their video is nobody's affair.
"""

from __future__ import annotations

import importlib
import sys
from functools import cache
from types import ModuleType

_REPORTER = "openvino_telemetry"


@cache
def load_openvino() -> ModuleType:
    """The module ``openvino``, its reporting replaced by the stub that it brings for when the reporter is missing.

    Raises:
        ImportError: OpenVINO is not installed.
    """
    known = _REPORTER in sys.modules
    if not known:
        sys.modules[_REPORTER] = None  # type: ignore[assignment]  # makes an import of it fail
    try:
        module = importlib.import_module("openvino")
        importlib.import_module("openvino.tools.ovc.convert_impl")
    finally:
        if not known:
            del sys.modules[_REPORTER]
    return module
