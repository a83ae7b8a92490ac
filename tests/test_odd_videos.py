"""Every odd file ends well: equal frames at exact times, or one clear error and nothing under the final name."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import pytest
import torch

from vsr.app.fidelity import Comparison, compare, main, markdown

DATA = Path(os.environ.get("VSR_DATA") or Path(__file__).parents[2] / "shared" / "data")
FILES = sorted(path for path in (DATA / "odd_videos").glob("*") if path.is_file())
# As many frames of a file as hold so many luma samples together: all of a short small one, two of a large one.
MOST_PIXELS = 600_000


@pytest.fixture(autouse=True, scope="module")
def _as_many_threads_afterwards() -> Iterator[None]:
    before = torch.get_num_threads()
    yield
    torch.set_num_threads(before)


@pytest.mark.skipif(not FILES, reason=f"no odd videos in {DATA}; set VSR_DATA")
@pytest.mark.parametrize("path", FILES, ids=lambda path: path.name)
def test_odd_video(path, tmp_path):
    result = compare(path, tmp_path, most_pixels=MOST_PIXELS)
    if result.error is not None:
        assert "\n" not in result.error
        assert not result.left_behind
    else:
        assert result.frames_in == result.frames_out > 0
        assert result.moved <= result.repaired


def test_the_table(clip, tmp_path):
    (tmp_path / "a_clip.mkv").write_bytes(clip.read_bytes())
    (tmp_path / "b|broken.mp4").write_text("no video")
    page = tmp_path / "page.md"
    folder = tmp_path / "in"
    folder.mkdir()
    for name in ("a_clip.mkv", "b|broken.mp4"):
        (tmp_path / name).rename(folder / name)
    assert main([str(folder), "--markdown", str(page)]) == 0
    text = page.read_text()
    assert "2 files: 1 upscaled, 1 refused, 0 bad." in text
    assert "| a_clip.mkv | ffv1 64×48 yuv420p | 128×96 yuv420p | 12 |  | 0 | 1 copy | matrix 2 → 6 |" in text
    assert "b\\|broken.mp4" in text


def test_bad_ends_are_told_apart():
    assert Comparison(name="x", error="e").good
    assert not Comparison(name="x", error="e", left_behind=True).good
    assert Comparison(name="x", frames_in=2, frames_out=2).good
    assert not Comparison(name="x", frames_in=2, frames_out=1).good
    assert not Comparison(name="x").good
    assert not Comparison(name="x", frames_in=2, frames_out=2, moved=1).good
    assert Comparison(name="x", frames_in=2, frames_out=2, moved=1, repaired=1).good
    assert "2 → 1" in "".join(markdown([Comparison(name="x", frames_in=2, frames_out=1)]))
