"""What works behind the tab for files, without a browser."""

from __future__ import annotations

import shutil
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from vsr.app.page.files_desk import FileJob, FilesDesk

_PATIENCE_SECONDS = 60


@pytest.fixture
def desk(tmp_path: Path) -> Iterator[FilesDesk]:
    parent = tmp_path / "desk"
    parent.mkdir()
    opened = FilesDesk(parent=parent)
    yield opened
    opened.close()
    assert list(parent.iterdir()) == []


def wait_until(true: Callable[[], bool]) -> None:
    """Files go right after it is said that a job is over."""
    until = time.monotonic() + _PATIENCE_SECONDS
    while not true():
        assert time.monotonic() < until
        time.sleep(0.02)


def copy(clip: Path, folder: Path, name: str) -> Path:
    return Path(shutil.copy(clip, folder / name))


def test_a_clip_becomes_a_file_and_pictures_to_compare_and_the_upload_goes(
    desk: FilesDesk, clip: Path, tmp_path: Path
) -> None:
    upload = copy(clip, tmp_path, "clip.mkv")
    job = desk.submit(upload, model="bicubic", scale=2)
    assert not upload.exists()
    wait_until(lambda: job.over)
    assert (job.phase, job.message) == ("done", "")
    assert job.output is not None
    assert job.output.name == "clip.x2.mp4"
    assert job.report is not None
    assert job.report.frames_out == 12
    assert all(path.is_file() for _, *paths in job.stills for path in paths)
    wait_until(lambda: not job.upload.exists())
    desk.remove(job)
    assert not job.folder.exists()


def test_one_comes_after_the_other(desk: FilesDesk, clip: Path, tmp_path: Path) -> None:
    jobs = [desk.submit(copy(clip, tmp_path, f"{n}.mkv"), model="bicubic", scale=2) for n in range(3)]
    assert desk.ahead(jobs[2]) >= 1
    running_with_others = False
    while not all(job.over for job in jobs):
        running_with_others |= sum(job.phase == "running" for job in jobs) > 1
        time.sleep(0.01)
    assert not running_with_others
    assert [job.phase for job in jobs] == ["done"] * 3


def test_cancelled_before_its_turn_it_is_never_begun(desk: FilesDesk, clip: Path, tmp_path: Path) -> None:
    first, second = (desk.submit(copy(clip, tmp_path, f"{n}.mkv"), model="bicubic", scale=2) for n in range(2))
    second.cancel()
    wait_until(lambda: first.over and second.over)
    assert (first.phase, second.phase) == ("done", "cancelled")
    wait_until(lambda: not second.folder.exists())


@pytest.mark.parametrize("content", [b"Dear Sir", b"#EXTM3U\n#EXTINF:1,\n/etc/passwd\n"])
def test_what_is_no_video_fails_in_words_without_a_path(desk: FilesDesk, tmp_path: Path, content: bytes) -> None:
    upload = tmp_path / "letter.mp4"
    upload.write_bytes(content)
    job = desk.submit(upload, model="bicubic", scale=2)
    wait_until(lambda: job.over)
    assert job.phase == "failed"
    assert "not a video file" in job.message
    assert str(tmp_path) not in job.message


def test_names_are_text_and_never_markup(tmp_path: Path) -> None:
    pytest.importorskip("gradio")
    from vsr.app.page.files_tab import said_of

    job = FileJob("<img src=x>.mp4", "ecbsr", 2, tmp_path, tmp_path / "upload.mp4")
    for phase in ("waiting", "running", "done", "cancelled", "failed"):
        job.phase, job.message = phase, "<script>"  # type: ignore[assignment]
        said = said_of(job, ahead=2)
        assert "<img" not in said
        assert "<script" not in said
        assert "&lt;img src=x&gt;.mp4" in said
