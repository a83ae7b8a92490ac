"""Small files that commands write: pages and pictures. Video has its own way, :mod:`streams.sinks`."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from streams.errors import SinkError, SinkExistsError

PICTURE_ENDINGS = (".png", ".jpg", ".jpeg", ".webp", ".tif", ".tiff", ".bmp")


def check_picture(path: Path, *, source: Path, overwrite: bool) -> None:
    """Find out early what would keep a picture from being written.

    Raises:
        SinkExistsError: it is there, and is not to be replaced.
        SinkError: it is the input, its folder is not there, or its ending is not that of a picture.
    """
    if path.suffix.lower() not in PICTURE_ENDINGS:
        raise SinkError(f"got the output {path}, a picture ends in {', '.join(PICTURE_ENDINGS)}; choose one with -o")
    check_folder(path)
    if path.exists() and path.samefile(source):
        raise SinkError(f"{path} is the input; choose another output with -o")
    if path.exists() and not overwrite:
        raise SinkExistsError(f"{path} exists; give --overwrite to replace it, or another output with -o")


def check_folder(path: Path) -> None:
    """Find out before long work whether there is a folder for what it makes.

    Raises:
        SinkError: there is none, or the path is a folder itself.
    """
    if not path.parent.is_dir():
        raise SinkError(f"there is no folder {path.parent} to write {path.name} into; make it, or choose another")
    if path.is_dir():
        raise SinkError(f"{path} is a folder; name a file in it with -o")


@contextmanager
def writing(path: Path) -> Iterator[Path]:
    """A name to write under; the file gets its own once it is whole, and what was there stays until then.

    Raises:
        SinkError: the system does not allow it.
    """
    partial = path.with_name(f"{path.stem}.partial{path.suffix}")
    try:
        yield partial
        partial.replace(path)
    except OSError as error:
        raise SinkError(f"cannot write {path}: {error.strerror or error}; choose another output with -o") from error
    finally:
        partial.unlink(missing_ok=True)
