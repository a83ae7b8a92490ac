"""Temporary folders: gone with their owner, or at the next start; and nothing else is touched."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import tempfile
from pathlib import Path

import pytest

from vsr.app.page import scratch
from vsr.app.page.scratch import ScratchFolder

pytestmark = pytest.mark.skipif(scratch._fcntl is None, reason="this system has no such locks")

PREFIX = "vsr-test-"
_OWNER = """
import sys, time
from vsr.app.page.scratch import ScratchFolder
folder = ScratchFolder(sys.argv[1])
(folder.path / "clip.mkv").write_bytes(b"clip")
print(folder.path, flush=True)
time.sleep(600)
"""


@pytest.fixture(autouse=True)
def temporary(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    return tmp_path


def test_it_is_there_and_then_gone(temporary: Path) -> None:
    with ScratchFolder(PREFIX) as folder:
        (folder.path / "deep").mkdir()
        (folder.path / "deep" / "file").write_text("a")
        assert temporary in folder.path.parents
        assert not list(folder.path.glob("*.lock"))
    folder.close()
    assert not list(temporary.iterdir())


def test_one_that_is_held_stays(temporary: Path) -> None:
    with ScratchFolder(PREFIX) as one, ScratchFolder(PREFIX) as other:
        assert one.path != other.path
        assert one.path.is_dir()
        assert other.path.is_dir()


def test_what_a_killed_process_left_is_removed_at_the_next_start(temporary: Path) -> None:
    environment = os.environ | {"TMPDIR": str(temporary), "PYTHONPATH": os.pathsep.join(sys.path)}
    with subprocess.Popen(
        [sys.executable, "-c", _OWNER, PREFIX], stdout=subprocess.PIPE, text=True, env=environment
    ) as owner:
        assert owner.stdout is not None
        left = Path(owner.stdout.readline().strip())
        ScratchFolder(PREFIX).close()
        assert (left / "clip.mkv").exists()
        owner.send_signal(signal.SIGKILL)
        owner.wait()
    assert (left / "clip.mkv").exists()
    ScratchFolder("vsr-other-").close()
    assert (left / "clip.mkv").exists()
    ScratchFolder(PREFIX).close()
    assert not list(temporary.iterdir())


def abandoned(temporary: Path, name: str) -> Path:
    """As a killed process leaves it."""
    folder = temporary / name
    (folder / "files").mkdir(parents=True)
    (folder / scratch._LOCK).touch()
    return folder


def test_no_link_is_followed(temporary: Path) -> None:
    precious = abandoned(temporary, "precious")
    (temporary / f"{PREFIX}link").symlink_to(precious)
    linked = temporary / f"{PREFIX}lock-is-a-link"
    linked.mkdir()
    (linked / scratch._LOCK).symlink_to(precious / scratch._LOCK)
    holds_link = abandoned(temporary, f"{PREFIX}holds-a-link")
    (holds_link / "files" / "link").symlink_to(precious)
    ScratchFolder(PREFIX).close()
    assert (precious / scratch._LOCK).exists()
    assert linked.is_dir()
    assert (temporary / f"{PREFIX}link").is_symlink()
    assert not holds_link.exists()


def test_what_is_not_ours_stays(temporary: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (temporary / f"{PREFIX}file").write_text("a")
    (temporary / f"{PREFIX}without-a-lock").mkdir()
    os.mkfifo(abandoned(temporary, f"{PREFIX}pipe") / "pipe")
    pipe = temporary / f"{PREFIX}lock-is-a-pipe"
    pipe.mkdir()
    os.mkfifo(pipe / scratch._LOCK)
    another = abandoned(temporary, f"{PREFIX}of-another-user")
    monkeypatch.setattr(os, "geteuid", lambda: another.stat().st_uid + 1)
    ScratchFolder(PREFIX).close()
    assert another.exists()
    monkeypatch.undo()
    monkeypatch.setattr(tempfile, "tempdir", str(temporary))
    ScratchFolder(PREFIX).close()
    assert {path.name.removeprefix(PREFIX) for path in temporary.iterdir()} == {
        "file",
        "without-a-lock",
        "lock-is-a-pipe",
    }


def test_without_locks_everything_stays(temporary: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    left = abandoned(temporary, f"{PREFIX}left")
    monkeypatch.setattr(scratch, "_fcntl", None)
    with ScratchFolder(PREFIX) as folder:
        assert folder.path.is_dir()
    assert list(temporary.iterdir()) == [left]


def test_a_file_system_without_locks_is_no_hindrance(temporary: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: object) -> None:
        raise OSError("no locks available")

    with monkeypatch.context() as context:
        context.setattr(scratch._fcntl, "flock", refuse)
        folder = ScratchFolder(PREFIX)
    ScratchFolder(PREFIX).close()
    assert folder.path.is_dir()
    folder.close()
    assert not list(temporary.iterdir())
