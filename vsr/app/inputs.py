"""What the words on a command line stand for: files, folders, patterns, times."""

from __future__ import annotations

import glob
import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from difflib import get_close_matches
from pathlib import Path

from streams.errors import SinkError, SourceError, SourceNotFoundError
from vsr.errors import ConfigError

_ENDINGS = """
    3g2 3gp asf avi divx dv f4v flv gif ivf m2t m2ts m2v m4v mkv mov mp4 mpeg mpg mts mxf ogm ogv qt rm rmvb ts vob webm
    wmv y4m
"""
VIDEO_ENDINGS = frozenset(f".{ending}" for ending in _ENDINGS.split())
"""Endings that a file in a folder is taken for a video by; a file that is named outright may have any."""

_LIKENESS = 0.7

OUTPUT_ENDINGS = (".mp4", ".mov", ".mkv", ".webm")


@dataclass(frozen=True, slots=True)
class Task:
    """One file to make of another."""

    source: Path
    target: Path


def plan_tasks(words: Sequence[str], *, output: str, label: str) -> list[Task]:
    """Which file becomes which.

    Args:
        words: files, folders (their videos, not those of folders in them) and patterns that no shell has expanded.
        output: a file for one input, or a folder, which is created.
        label: goes into the names of files in a folder: ``clip.mp4`` becomes ``clip_x2.mp4``.

    Raises:
        SourceNotFoundError: nothing is there.
        ConfigError: several inputs for one output file, or an output that is, or passes through, another's input; or an
            empty name.
        SinkError: the folder cannot be created.
    """
    # What a shell makes of a variable that is not set would stand for all of the folder that one is in.
    if not all([*words, output]):
        raise ConfigError("got an empty name of an input or of the output; name a file, or . for this folder")
    sources = expand(words)
    from_folders = any(path.is_dir() for word in words for path in _paths_of(word))
    folder = _output_folder(output, several=len(sources) > 1 or from_folders)
    if folder is None:
        return [Task(sources[0], Path(output).expanduser())]
    tasks = [Task(source, folder / output_name(source, label)) for source in sources]
    if from_folders:
        # A second run over the folder that the first wrote into must not enlarge its results.
        made = {task.target.resolve() for task in tasks}
        tasks = [task for task in tasks if task.source.resolve() not in made]
    _refuse_clashes(tasks)
    return tasks


def expand(words: Iterable[str]) -> list[Path]:
    """The files that words stand for, in their order, each once.

    Raises:
        SourceNotFoundError: a word stands for nothing.
        SourceError: a folder without videos.
    """
    found = [path for word in words for path in _expand_one(word)]
    return list(dict.fromkeys(found))


def output_name(source: Path, label: str) -> str:
    """``clip.mp4`` as ``clip_x2.mp4``; a kind of file that is not written here becomes ``.mkv``, which holds all."""
    ending = source.suffix.lower()
    return f"{source.stem}_{label}{ending if ending in OUTPUT_ENDINGS else '.mkv'}"


def parse_seconds(text: str) -> float:
    """``90``, ``1:30`` and ``00:01:30.5`` in seconds.

    Raises:
        ConfigError: anything else.
    """
    match = re.fullmatch(r"(?:(?:(\d+):)?(\d+):)?(\d+(?:\.\d*)?|\.\d+)", text.strip())
    if match is None:
        raise ConfigError(f"got time {text!r}, allowed are seconds, M:SS and H:MM:SS from 0 on, such as 90 or 1:30.5")
    hours, minutes, seconds = match.groups()
    if (minutes and float(seconds) >= 60) or (hours and int(minutes) >= 60):
        raise ConfigError(f"got time {text!r}, minutes and seconds behind a colon go up to 59")
    return 3600 * int(hours or 0) + 60 * int(minutes or 0) + float(seconds)


def did_you_mean(name: str, names: Iterable[str]) -> str:
    """``"; did you mean 'ecbsr'?"``, or nothing."""
    close = get_close_matches(name.lower(), list(names), n=1, cutoff=_LIKENESS)
    return f"; did you mean {close[0]!r}?" if close else ""


def _expand_one(word: str) -> list[Path]:
    path = Path(word).expanduser()
    if path.is_dir():
        found = _videos_in(path)
        if not found:
            raise SourceError(f"the folder {path} holds no video; name the files if their endings are unusual")
        return found
    found = [file for each in _paths_of(word) for file in (_videos_in(each) if each.is_dir() else [each])]
    if found:
        return found
    if glob.has_magic(word):
        raise SourceNotFoundError(f"no file matches {word}; check the pattern and the folder")
    raise SourceNotFoundError(f"there is no file {word}{_similar_file(path)}")


def _paths_of(word: str) -> list[Path]:
    """The file or folder of that name, or else those that match the pattern."""
    path = Path(word).expanduser()
    if path.exists() or not glob.has_magic(word):
        return [path] if path.exists() else []
    matches = sorted(Path(match) for match in glob.glob(str(path)))  # noqa: PTH207 -- patterns may be absolute
    return [match for match in matches if match.exists()]


def _videos_in(folder: Path) -> list[Path]:
    return sorted(
        path
        for path in folder.iterdir()
        if path.suffix.lower() in VIDEO_ENDINGS and path.is_file() and not path.stem.endswith(".partial")
    )


def _similar_file(path: Path) -> str:
    if not path.parent.is_dir():
        return f", nor a folder {path.parent}; check the path"
    return did_you_mean(path.name, [other.name for other in path.parent.iterdir()]) or "; check the path"


def _output_folder(output: str, *, several: bool) -> Path | None:
    """The folder to write into, made if it has to be, or None for a file."""
    path = Path(output).expanduser()
    if not several and not path.is_dir() and not output.endswith("/"):
        return None
    if path.is_file() or (not path.is_dir() and path.suffix.lower() in OUTPUT_ENDINGS):
        raise ConfigError(f"got several inputs and the one output {output}; give a folder, such as -o {path.stem}/")
    try:
        path.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise SinkError(f"the folder {output} cannot be made: {error.strerror}; choose another") from error
    return path


def _refuse_clashes(tasks: Sequence[Task]) -> None:
    # Not above: it brings PyAV, and '--help' should not wait for that.
    from streams.sinks import partial_path

    seen: dict[Path, Path] = {}
    sources = {_identity(task.source): task.source for task in tasks}
    for task in tasks:
        other = seen.setdefault(task.target, task.source)
        if other != task.source:
            raise ConfigError(f"{other} and {task.source} would both become {task.target}; upscale them one by one")
        for path in (task.target, partial_path(task.target)):
            source = sources.get(_identity(path))
            if source is not None and source != task.source:
                raise ConfigError(f"{task.source} would be written over the input {source}; choose another folder")


def _identity(path: Path) -> tuple[int, int] | Path:
    """What two names of one file have in common; the name itself where there is no file."""
    try:
        status = path.stat()
    except OSError:
        return path.absolute()
    return status.st_dev, status.st_ino
