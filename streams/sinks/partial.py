"""The name under which a file is written until it is whole, and the lock that keeps a second writer away from it."""

from __future__ import annotations

import errno
import os
import tempfile
from contextlib import suppress
from pathlib import Path

from streams.errors import SinkError

try:
    import fcntl
except ImportError:  # on Windows, where a file that is open, be it for its lock, cannot be renamed
    fcntl = None  # type: ignore[assignment]

_BUSY = (errno.EAGAIN, errno.EACCES)


def partial_path(path: Path) -> Path:
    """``NAME.partial.EXT`` beside ``NAME.EXT``."""
    return path.with_name(f"{path.stem}.partial{path.suffix}")


def check_writable(folder: Path) -> None:
    """See that files can be made in a folder, by making one that has no name.

    Raises:
        SinkError: the system does not allow it.
    """
    try:
        tempfile.TemporaryFile(dir=folder).close()
    except OSError as error:
        raise SinkError(f"cannot write into the folder {folder}: {error.strerror}; choose another") from error


class PartialFile:
    """One writer's claim on a partial file.

    What an earlier job left under the name is locked at once and not touched before :meth:`claim`.

    Args:
        path: of the partial file.

    Raises:
        SinkError: it is a folder, cannot be written, or another writer is at it.
        OSError: the system does not even tell.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self._descriptor: int | None = None
        self._claimed = False
        if not path.exists():
            return
        if path.is_dir() or not os.access(path, os.W_OK):
            raise SinkError(f"{path} is in the way and cannot be replaced; remove it or choose another name")
        with suppress(FileNotFoundError):
            self._lock(os.O_RDWR)

    def claim(self) -> None:
        """Create the file, or take over what is there: from now on it may be overwritten.

        Raises:
            SinkError: another writer is at it.
            OSError: it cannot be created.
        """
        self._lock(os.O_RDWR | os.O_CREAT)
        self._claimed = True

    def release(self) -> None:
        """Let others at it, under whatever name it has now. A second call does nothing."""
        descriptor, self._descriptor = self._descriptor, None
        self._claimed = False
        if descriptor is not None:
            os.close(descriptor)

    def remove(self) -> None:
        """Delete what was claimed; what was not claimed stays."""
        if self._claimed:
            with suppress(OSError):
                self.path.unlink()
        self.release()

    def _lock(self, flags: int) -> None:
        while fcntl is not None and self._descriptor is None:
            descriptor = os.open(self.path, flags, 0o666)
            try:
                _lock(descriptor, self.path)
                # Whoever held the lock until now may have published or removed the file meanwhile.
                with suppress(FileNotFoundError):
                    if os.path.samestat(os.fstat(descriptor), self.path.stat()):
                        self._descriptor = descriptor
            finally:
                if self._descriptor is None:
                    os.close(descriptor)


def _lock(descriptor: int, path: Path) -> None:
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError as error:
        # Some network file systems have no locks; the work goes on there without.
        if error.errno in _BUSY:
            raise SinkError(f"{path} is being written by another job; choose another name, or wait") from error
