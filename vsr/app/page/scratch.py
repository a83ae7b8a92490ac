"""Temporary folders that a later run removes where this one could not, because it was killed."""

from __future__ import annotations

import logging
import os
import shutil
import stat
import tempfile
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from types import ModuleType, TracebackType
from typing import Self

_fcntl: ModuleType | None
try:
    import fcntl as _fcntl
except ImportError:
    # Where there are no such locks nothing is known of other folders, and they stay.
    _fcntl = None

log = logging.getLogger(__name__)

_LOCK = "owner.lock"
_FILES = "files"


class ScratchFolder:
    """A folder for files of this process, removed when it is closed. Those that killed processes left go first.

    As long as its owner lives it holds a lock, which the system gives back with the process, however that ends.

    Args:
        prefix: of the name; what begins with it is looked through, of this user alone.

    Attributes:
        path: for files.
    """

    def __init__(self, prefix: str) -> None:
        _remove_left(prefix)
        self._folder = tempfile.TemporaryDirectory(prefix=prefix, ignore_cleanup_errors=True)
        # Beside the files: what lies among them may be named by visitors.
        self.path = Path(self._folder.name) / _FILES
        self.path.mkdir()
        self._lock = _hold(Path(self._folder.name) / _LOCK)

    def close(self) -> None:
        """Remove it with all that is in it. Any number of times."""
        self._folder.cleanup()
        if self._lock is not None:
            os.close(self._lock)
            self._lock = None

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()


def _hold(path: Path) -> int | None:
    """Lock a new file; None where that is not to be had. It gets its name last, so that it is never seen unlocked."""
    if _fcntl is None:
        return None
    new = path.with_suffix(".new")
    descriptor = os.open(new, os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
    try:
        _fcntl.flock(descriptor, _fcntl.LOCK_EX | _fcntl.LOCK_NB)
    except OSError:
        # File systems of other machines may know no locks: then this folder stays if its owner is killed.
        os.close(descriptor)
        return None
    new.rename(path)
    return descriptor


def _remove_left(prefix: str) -> None:
    """Remove folders of that name whose owner is gone."""
    if _fcntl is None or not shutil.rmtree.avoids_symlink_attacks:
        return
    with suppress(OSError), os.scandir(tempfile.gettempdir()) as entries:
        for entry in entries:
            if entry.name.startswith(prefix) and _is_left(entry.path):
                log.info("removing %s, which a run that was killed has left", entry.path)
                shutil.rmtree(entry.path, ignore_errors=True)


def _is_left(folder: str) -> bool:
    """Whether it is a folder of this user that nobody holds. One without a lock is another's, or not ready yet."""
    assert _fcntl is not None
    with suppress(OSError):
        place = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW)
        try:
            lock = os.open(_LOCK, os.O_RDWR | os.O_NOFOLLOW | os.O_NONBLOCK, dir_fd=place)
            try:
                if not (_is_ours(place, stat.S_ISDIR) and _is_ours(lock, stat.S_ISREG)):
                    return False
                _fcntl.flock(lock, _fcntl.LOCK_EX | _fcntl.LOCK_NB)
                return True
            finally:
                os.close(lock)
        finally:
            os.close(place)
    return False


def _is_ours(descriptor: int, is_kind: Callable[[int], bool]) -> bool:
    status = os.fstat(descriptor)
    return status.st_uid == os.geteuid() and is_kind(status.st_mode)
