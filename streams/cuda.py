"""FFmpeg and PyTorch in one context of a GPU, so that an address means the same to both."""

from __future__ import annotations

import ctypes
import sys
from contextlib import suppress

_LIBRARY = "nvcuda.dll" if sys.platform == "win32" else "libcuda.so.1"
_BLOCKING_SYNC = 4


def share_primary_context(device: int) -> None:
    """Have FFmpeg find the primary context of a GPU as it wants it, also where PyTorch has made it before.

    FFmpeg takes none but one in which the host sleeps while it waits for the device, and PyTorch leaves that to the
    driver. Where this cannot be set FFmpeg refuses, and says so; nothing is raised here.

    Args:
        device: index of the GPU.
    """
    handle = ctypes.c_int()
    # Without a driver, or with one that is older than the call.
    with suppress(OSError, AttributeError):
        driver = ctypes.CDLL(_LIBRARY)
        if driver.cuInit(0) == 0 and driver.cuDeviceGet(ctypes.byref(handle), device) == 0:
            driver.cuDevicePrimaryCtxSetFlags_v2(handle, _BLOCKING_SYNC)
