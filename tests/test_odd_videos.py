"""A collection of files that break video tools: each gives all its frames in rising time, or one clear error."""

from __future__ import annotations

import itertools
import re
import threading
from pathlib import Path

import pytest

from streams.errors import SourceError
from streams.sources import FileSource

# What the manifest counted with FFmpeg 5.1 from the first video stream, and why there are more or fewer now.
EXPLAINED = {
    "fate_loewe_hevc_dvb.ts": 6,  # from FFmpeg 7.1 on, pictures whose references are lost are withheld
    "nasa_13013.mp4": 390,  # the best of its two video streams, not the first
    "sample_vvc.mp4": 120,  # FFmpeg 5.1 had no decoder
}
LIMIT_SECONDS = 60


def manifest(folder: Path) -> dict[str, int]:
    text = (folder / "MANIFEST.md").read_text()
    section = text[text.index("## odd_videos/") : text.index("Licences of the sources")]
    rows = re.findall(r"^\| (.+?) \| \d+ \|.*\| (\d+) \|[^|]*\|[^|]*\|$", section, re.MULTILINE)
    return {name: int(frames) for name, frames in rows}


def read(path: Path) -> tuple[int, str]:
    """(frames, error) of a file."""
    try:
        with FileSource(path) as source:
            times = [frame.pts for frame in source]
    except SourceError as error:
        return 0, str(error)
    assert all(earlier < later for earlier, later in itertools.pairwise(times)), f"{path.name}: time runs back"
    return len(times), ""


@pytest.mark.timeout(200)
def test_every_file_gives_its_frames_or_one_error(data_dir: Path) -> None:
    expected = {**manifest(data_dir), **EXPLAINED}
    assert len(expected) > 100
    results: dict[str, tuple[int, str] | str] = {}

    def work() -> None:
        for name in sorted(expected):
            results[name] = "hangs"
            try:
                results[name] = read(data_dir / "odd_videos" / name)
            except Exception as error:
                results[name] = f"{type(error).__name__}: {error}"

    # A daemon, so that a file that hangs in FFmpeg's code fails the test instead of holding it.
    worker = threading.Thread(target=work, daemon=True)
    worker.start()
    worker.join(LIMIT_SECONDS * 3)
    wrong = {}
    for name, frames in expected.items():
        result = results.get(name, "not reached")
        fine = (
            isinstance(result, tuple)
            and result[0] == frames
            and bool(result[1]) == (frames == 0)
            and "\n" not in result[1]
        )
        if not fine:
            wrong[name] = (frames, result)
    assert not wrong
