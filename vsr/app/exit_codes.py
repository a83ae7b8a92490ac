"""What the number says that ``vsr`` leaves behind.

=====  =========================================================================================
0      all that was asked for is done
1      something failed inside, or some of several inputs failed (the summary says which)
2      the command line: an option that does not exist, or a value that is not allowed
3      the input: not there, not a video, or not to be decoded
4      the output: there already, not writable, or the encoder refused it
5      the network: unknown, without weights, or on a device or precision that is not here
130    interrupted (Ctrl-C or SIGTERM); what was written until then is playable
=====  =========================================================================================
"""

from __future__ import annotations

from collections.abc import Mapping
from enum import IntEnum
from types import MappingProxyType

from streams.errors import Cancelled, SinkError, SourceError
from vsr.errors import ConfigError, DataError, DeviceError, PixelError, UnknownModelError, WeightsError


class ExitCode(IntEnum):
    """The table above, by name."""

    OK = 0
    FAILURE = 1
    USAGE = 2
    INPUT = 3
    OUTPUT = 4
    MODEL = 5
    INTERRUPTED = 130


_CODES: Mapping[type[BaseException], ExitCode] = MappingProxyType(
    {
        SourceError: ExitCode.INPUT,
        DataError: ExitCode.INPUT,
        PixelError: ExitCode.INPUT,
        SinkError: ExitCode.OUTPUT,
        ConfigError: ExitCode.USAGE,
        UnknownModelError: ExitCode.MODEL,
        DeviceError: ExitCode.MODEL,
        WeightsError: ExitCode.MODEL,
        Cancelled: ExitCode.INTERRUPTED,
        KeyboardInterrupt: ExitCode.INTERRUPTED,
    }
)


def exit_code_of(error: BaseException) -> ExitCode:
    """The code for what ended the program; ``FAILURE`` for everything that is not in the table."""
    return next((code for kind, code in _CODES.items() if isinstance(error, kind)), ExitCode.FAILURE)
