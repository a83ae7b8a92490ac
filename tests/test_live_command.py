"""``vsr live`` to its user: how it ends, what it says then, and what it refuses before it begins."""

from __future__ import annotations

import json
import re
import signal
import socket
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest

from streams.sinks.base import SinkStatus
from streams.sources import SyntheticSource
from tests import media, written
from vsr.app.cli import main
from vsr.app.live import LiveOptions, LiveSession, LiveStatus
from vsr.app.live_ends import check_targets, open_outputs
from vsr.app.prometheus import metrics_text
from vsr.errors import ConfigError

PATTERN = "synthetic:64x36?rate=50&live=1"
CHEAP = ["--model", "bicubic", "--threads", "1"]


@pytest.fixture
def full(tmp_path: Path) -> Path:
    """A recording on a disk on which there is no room."""
    device = Path("/dev/full")
    if not device.exists():
        pytest.skip("needs /dev/full")
    path = tmp_path / "full.mkv"
    path.symlink_to(device)
    return path


def live(*arguments: object) -> int:
    return main(["live", PATTERN, *CHEAP, *map(str, arguments)])


def test_a_full_disk_ends_its_output_and_the_end_is_told_of(
    full: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    good = tmp_path / "good.mkv"
    assert live("-o", full, "-o", good, "--overwrite", "--duration", "1", "--json") == 4
    said = capsys.readouterr()
    last = json.loads(said.out.splitlines()[-1])
    assert (last["event"], last["exit_code"], last["ended_by"]) == ("end", 4, "duration")
    assert [output["state"] for output in last["outputs"]] == ["failed", "closed"]
    assert last["outputs"][1]["frames"] == last["frames_out"] > 0
    assert "No space left on device" in last["outputs"][0]["error"]
    assert "No space left on device" in said.err


@pytest.mark.parametrize("as_json", [True, False])
def test_if_the_only_output_fails_it_is_said_how_far_it_came(
    as_json: bool, full: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert live("-o", full, "--overwrite", "--duration", "20", *(["--json"] if as_json else [])) == 4
    said = capsys.readouterr()
    assert "vsr: error: " in said.err
    assert "No space left on device" in said.err
    if as_json:
        last = json.loads(said.out.splitlines()[-1])
        assert (last["event"], last["exit_code"], last["ended_by"]) == ("end", 4, "error")
        assert "No space left on device" in last["error"]
        assert last["frames_out"] > 0
        assert sum(json.loads(line)["event"] in ("end", "error") for line in said.out.splitlines()) == 1
    else:
        assert " frames in " in said.out
        assert f"{full}: 0 frames" in said.out


@pytest.mark.parametrize(
    ("targets", "words"),
    [
        (["{}/b.mkv", "{}/b.mkv"], "b.mkv twice"),
        (["{}/b.mkv", "{}/../{name}/b.mkv"], "which is one output"),
        (["{}/b.mkv", "record:{}/b.mkv"], "which is one output"),
        (["hls:{}/www", "{}/www/index.m3u8"], "which is one output"),
        (["rtsp://me:secret@host/x", "rtsp://me:secret@host/x"], r"rtsp://\*\*\*@host/x twice"),
        (["window", "window:"], "which is one output"),
        (["{}/link.mkv", "{}/b.mkv"], "which is one output"),
        (["{}/in.mkv"], "which is the input"),
        (["null:", ""], "got an empty -o"),
    ],
)
def test_outputs_that_are_in_each_others_way_are_refused_before_anything_is_opened(
    targets: list[str], words: str, tmp_path: Path
) -> None:
    (tmp_path / "in.mkv").touch()
    (tmp_path / "link.mkv").symlink_to(tmp_path / "b.mkv")
    spelt = [target.format(tmp_path, name=tmp_path.name) for target in targets]
    with pytest.raises(ConfigError, match=words) as raised:
        check_targets(spelt, source=str(tmp_path / "in.mkv"))
    assert "secret" not in str(raised.value)


def test_outputs_that_are_not_are_not(tmp_path: Path) -> None:
    files = [f"{tmp_path}/a.mkv", f"{tmp_path}/a.mp4", f"hls:{tmp_path}/a", f"hls:{tmp_path}/b/c"]
    check_targets([*files, "window:a", "null:", "null:", "udp://h:1", "udp://h:2", "preview:8000"], source=PATTERN)
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["-o", "{}/a.mkv", "--crf", "52"], "got --crf 52, allowed for h264 is 0 (the best) to 51"),
        (["-o", "hls:{}/a", "--crf", "-1"], "got --crf -1"),
        (["-o", "udp://127.0.0.1:900{{n}}", "--preset", "quick"], "got --preset quick"),
        (["-o", "{}/a.webm", "--codec", "h264"], "WebM cannot hold h264"),
        (["-o", "{}/a.mkv", "--codec", "ffv1", "--crf", "3"], "ffv1 has no such setting"),
        (["-o", "{}/none/a.mkv"], "there is no folder"),
        (["-o", "/proc/{{n}}.mkv"], "cannot write into the folder /proc"),
        (["-o", "hls:/proc/{{n}}"], "cannot write into the folder /proc"),
        (["-o", "{}/there.mkv"], "exists"),
        (["-o", "{}"], "is a folder"),
        (["-o", "window:a", "-o", "window:b"], "one window"),
    ],
)
@pytest.mark.parametrize("count", [1, 2])
def test_what_is_wrong_with_an_output_is_said_before_the_source_is_connected(
    arguments: list[str], words: str, count: int, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Not when the first picture comes: that may be tomorrow, when nobody looks."""
    folders = [tmp_path / str(number + 1) for number in range(count)]
    for folder in folders:
        folder.mkdir()
        (folder / "there.mkv").touch()
    place = tmp_path / "{n}" if count > 1 else folders[0]
    spelt = [word.format(place) for word in arguments]
    assert main(["live", *["rtsp://127.0.0.1:9/nobody"] * count, *spelt]) in (2, 4)
    said = capsys.readouterr().err
    assert words in said or (count > 1 and "one thread" in said)
    assert said.count("\n") == 1
    assert all([path.name for path in folder.iterdir()] == ["there.mkv"] for folder in folders)


def test_the_command_refuses_them_too(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    target = tmp_path / "b.mkv"
    assert live("-o", target, "-o", target, "--overwrite", "--duration", "1") == 2
    assert "b.mkv twice" in capsys.readouterr().err
    assert not target.exists()


def test_a_length_of_segments_without_any_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="got --segment-time without"):
        check_targets(["window", "udp://h:1"], source=PATTERN, segment_seconds=2.0)
    check_targets(["window", f"hls:{tmp_path}/www"], source=PATTERN, segment_seconds=2.0)


def test_sound_is_left_out_where_it_is_not_wanted(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    clip = media.write_clip(tmp_path / "clip.mkv", media.pattern(10, 64, 48), sound_seconds=0.4)
    kinds = {}
    for name, more in {"with": [], "without": ["--no-audio"]}.items():
        target = tmp_path / f"{name}.mkv"
        assert main(["live", str(clip), "--realtime", "-o", str(target), *CHEAP, *more]) == 0
        kinds[name] = [stream["type"] for stream in written.read(target).streams]
    assert kinds == {"with": ["video", "audio"], "without": ["video"]}


def documented(heading: str) -> set[str]:
    """The keys in the table behind a line of the page about JSON."""
    page = (Path(__file__).parents[1] / "docs" / "live.md").read_text(encoding="utf-8")
    table = page.split(heading, 1)[1].split("\n\n", 2)[1]
    return set(re.findall(r"^\| `(\w+)`", table, re.MULTILINE))


def test_every_key_of_the_json_is_documented(full: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    live("-o", tmp_path / "a.mkv", "--duration", "1.3", "--json")
    status, *_, end = (json.loads(line) for line in capsys.readouterr().out.splitlines())
    live("-o", full, "--overwrite", "--json")
    broken = json.loads(capsys.readouterr().out.splitlines()[-1])
    assert documented("In `status` and `end`") == status.keys() - {"event"}
    assert documented("In each of `outputs`") == status["outputs"][0].keys()
    assert documented("In `end`, besides") == (end.keys() | broken.keys()) - status.keys()
    assert end.keys() - broken.keys() == {"network_moves", "wall_seconds", "stage_ms"}


def test_ctrl_c_breaks_off_the_connecting() -> None:
    with socket.create_server(("127.0.0.1", 0)) as silent:
        url = f"rtsp://me:secret@127.0.0.1:{silent.getsockname()[1]}/x"
        command = [sys.executable, "-m", "vsr", "live", url, *CHEAP, "--json"]
        with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as program:
            try:
                peer, _ = silent.accept()
                program.send_signal(signal.SIGINT)
                out, err = program.communicate()
            finally:
                program.kill()
        peer.close()
    # A shell says 130 of both: Python may end by the signal itself.
    assert program.returncode in (130, -signal.SIGINT)
    assert json.loads(out) == {"event": "error", "error": "as asked", "exit_code": 130}
    assert "vsr: interrupted: as asked" in err
    assert "secret" not in out + err


# -------------------------------------------------------------------------------------------------------------- labels


def status_of(*outputs: SinkStatus) -> LiveStatus:
    source = SyntheticSource(width=64, height=36, frames=3)
    with LiveSession(source, lambda feed: open_outputs(feed, targets=[]), options=LiveOptions(model="bicubic")) as run:
        return replace(run.status(), outputs=outputs)


def test_every_output_has_a_label_of_its_own() -> None:
    same = SinkStatus(name="rtsp://***@host/x", state="running", frames=2, dropped=7)
    text = metrics_text(status_of(same, replace(same, dropped=8)))
    assert 'vsr_output_frames_dropped_total{output="rtsp://***@host/x"} 7' in text
    assert 'vsr_output_frames_dropped_total{output="rtsp://***@host/x (2)"} 8' in text
