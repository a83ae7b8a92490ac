"""How the program speaks: log lines and errors on stderr, one line each, that never break the progress bar."""

from __future__ import annotations

import json
import logging
import math
import sys
import traceback
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from vsr.app.exit_codes import ExitCode, exit_code_of


@dataclass(slots=True)
class Console:
    """What the user asked to hear.

    Attributes:
        debug: tracebacks, and every log record.
        quiet: errors only.
        verbose: what was decided and why, besides.
        as_json: stdout is kept for JSON.
    """

    debug: bool = False
    quiet: bool = False
    verbose: bool = False
    as_json: bool = False

    def start_logging(self) -> None:
        """Send the records of ``vsr`` and ``streams`` to stderr."""
        level = logging.WARNING
        if self.debug:
            level = logging.DEBUG
        elif self.quiet:
            level = logging.ERROR
        elif self.verbose:
            level = logging.INFO
        handler = _LineHandler()
        for name in ("vsr", "streams"):
            logger = logging.getLogger(name)
            logger.handlers = [handler]
            logger.setLevel(level)
            logger.propagate = False

    def say(self, text: str) -> None:
        """A line for people on stdout."""
        if not (self.quiet or self.as_json):
            print(text, flush=True)

    def give(self, value: Any) -> None:
        """The JSON on stdout; numbers that JSON has not, such as the dB of equal pictures, are null there."""
        if self.as_json:
            print(json.dumps(_finite(value), ensure_ascii=False, allow_nan=False), flush=True)

    def fail(self, error: BaseException, *, about: str = "") -> ExitCode:
        """Say what went wrong (with which of several things) on stderr, and with which code to leave."""
        if self.debug:
            traceback.print_exception(error)
        code = exit_code_of(error)
        word = "interrupted" if code is ExitCode.INTERRUPTED else "error"
        write_line(f"vsr: {word}: {about and about + ': '}{message_of(error)}")
        return code


def message_of(error: BaseException) -> str:
    """One line for people."""
    text = " ".join(str(error).split())
    if isinstance(error, KeyboardInterrupt):
        return "as asked"
    if isinstance(error, MemoryError):
        return "the memory does not suffice; try --tile 256, or close other programs"
    if exit_code_of(error) is not ExitCode.FAILURE or type(error).__module__.startswith(("vsr.", "streams.")):
        return text
    if isinstance(error, OSError) and error.strerror:
        return f"{error.strerror}: {error.filename}" if error.filename else error.strerror
    return f"this should not happen ({type(error).__name__}: {text}); run it again with --debug and report what it says"


def write_line(line: str) -> None:
    """A line on stderr, above the progress bar where there is one."""
    if "tqdm" not in sys.modules:
        print(line, file=sys.stderr, flush=True)
        return
    from tqdm import tqdm

    tqdm.write(line, file=sys.stderr)
    sys.stderr.flush()


class _LineHandler(logging.Handler):
    def emit(self, record: logging.LogRecord) -> None:
        # As the standard library's handlers: a record that cannot be written must not end the work.
        try:
            write_line(f"vsr: {record.levelname.lower()}: {record.getMessage()}")
        except Exception:
            self.handleError(record)


def _finite(value: Any) -> Any:
    if isinstance(value, Mapping):
        return {key: _finite(inner) for key, inner in value.items()}
    if isinstance(value, list | tuple):
        return [_finite(inner) for inner in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value
