"""OpenVINO, loaded without its telemetry, and not listening to our command line."""

from __future__ import annotations

import importlib
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache
from types import ModuleType
from typing import Any

_MAKING_CORE = threading.Lock()


@cache
def load_openvino() -> ModuleType:
    """The module ``openvino``; the only place that imports it.

    Importing it reports its use over the network, from a process forked in the midst of our threads: that costs seconds
    where there is no network, can hang, and what people do with their video is nobody's business. Where the reporting
    package is missing, OpenVINO stays silent by itself.

    Raises:
        ImportError: OpenVINO is not installed.
    """
    sys.modules.setdefault("openvino_telemetry", None)  # type: ignore[arg-type]  # makes an import of it fail
    return importlib.import_module("openvino")


def openvino_core() -> Any:
    """OpenVINO's ``Core``, of which a process has one that it keeps.

    Each sets a stack for signals when it is made and puts the one before it back when it goes; of two that go in the
    order in which they came, the second puts back what the first has freed, and the next Ctrl-C is a crash.
    """
    with _MAKING_CORE:
        return _core()


@cache
def _core() -> Any:
    return load_openvino().Core()


@contextmanager
def without_arguments() -> Iterator[None]:
    """Hide the words of the command line: OpenVINO's converter takes a ``--verbose`` there for its own, and prints."""
    words, sys.argv = sys.argv, sys.argv[:1]
    try:
        yield
    finally:
        sys.argv = words
