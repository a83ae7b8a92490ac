"""OpenVINO, loaded without its telemetry, and not listening to our command line."""

from __future__ import annotations

import importlib
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache
from types import ModuleType


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


@contextmanager
def without_arguments() -> Iterator[None]:
    """Hide the words of the command line: OpenVINO's converter takes a ``--verbose`` there for its own, and prints."""
    words, sys.argv = sys.argv, sys.argv[:1]
    try:
        yield
    finally:
        sys.argv = words
