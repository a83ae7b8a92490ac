"""The command line: what it says, where it says it, and which number it leaves behind."""

from __future__ import annotations

import json
import logging
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import av
import media
import pytest

from streams.errors import Cancelled, SourceNotFoundError
from vsr._version import __version__
from vsr.app import jobs
from vsr.app.cli import main
from vsr.app.console import message_of
from vsr.app.exit_codes import ExitCode, exit_code_of
from vsr.app.inputs import Task, expand, output_name, parse_seconds, plan_tasks
from vsr.app.interrupts import ending_at_once, stop_on_signals
from vsr.app.summary import bytes_text, seconds_text
from vsr.errors import ConfigError, VsrError

FAST = ["--model", "bicubic", "--device", "torch", "--preset", "ultrafast"]


@pytest.fixture(autouse=True)
def _loggers_as_they_were() -> Iterator[None]:
    before = [(log, log.handlers, log.level, log.propagate) for log in map(logging.getLogger, ("vsr", "streams"))]
    yield
    for log, log.handlers, level, log.propagate in before:
        log.setLevel(level)


def run(*arguments: str | Path, capsys) -> tuple[int, str, str]:
    code = main([str(each) for each in arguments])
    said = capsys.readouterr()
    return code, said.out, said.err


def frames(path: Path) -> int:
    with av.open(str(path)) as container:
        return sum(1 for _ in container.decode(video=0))


def test_one_file(clip, tmp_path, capsys):
    target = tmp_path / "out.mkv"
    code, out, err = run("upscale", clip, "-o", target, *FAST, capsys=capsys)
    assert (code, err) == (0, "")
    lines = out.splitlines()
    assert lines[0] == str(target)
    assert lines[1].startswith("  64×48 → 128×96, 12 frames in ")
    assert lines[2] == "  bicubic ×2 on cpu, fp32"
    assert frames(target) == 12


def test_json_and_nothing_else(clip, tmp_path, capsys):
    code, out, err = run("upscale", clip, "-o", tmp_path / "out.mkv", "--json", *FAST, capsys=capsys)
    assert (code, err) == (0, "")
    report = json.loads(out)
    assert (report["frames_out"], report["output_size"]) == (12, [128, 96])


def test_quiet(clip, tmp_path, capsys):
    assert run("upscale", clip, "-o", tmp_path / "out.mkv", "-q", *FAST, capsys=capsys) == (0, "", "")


def test_verbose_says_what_was_decided(clip, tmp_path, capsys):
    _, _, err = run("upscale", clip, "-o", tmp_path / "out.mkv", "-v", *FAST, capsys=capsys)
    assert "vsr: info: bicubic x2 on cpu, fp32: PyTorch on the CPU as asked" in err


def test_what_is_lost_is_said_on_stderr(clip, tmp_path, capsys):
    arguments = ("upscale", clip, "-o", tmp_path / "out.webm", "--model", "bicubic", "--device", "torch")
    code, out, err = run(*arguments, capsys=capsys)
    assert code == 0
    assert err.startswith("vsr: warning: audio stream 1 (pcm_s16le")
    assert "drop (" in out


@pytest.mark.parametrize("name", ["trace.json", "trace.svg"])
def test_what_every_thread_did(name, clip, tmp_path, capsys):
    path = tmp_path / name
    path.write_text("an older one")
    arguments = ("upscale", clip, "-o", tmp_path / "out.mkv", "--profile", path, "--overwrite", *FAST)
    code, _, err = run(*arguments, capsys=capsys)
    assert (code, err) == (0, "")
    told = path.read_text()
    assert all(work in told for work in ("decode", "interpolation", "encode"))
    assert sorted(each.name for each in tmp_path.iterdir()) == ["out.mkv", name]


def test_what_every_thread_did_until_it_was_interrupted(clip, tmp_path, capsys, monkeypatch):
    def interrupted(*paths, profile, **options):
        profile("decode", 1.0, 2.0)
        raise Cancelled("as asked")

    monkeypatch.setattr(jobs, "upscale_video", interrupted)
    arguments = ("upscale", clip, "-o", tmp_path / "out.mkv", "--profile", tmp_path / "trace.json", *FAST)
    code, _, _ = run(*arguments, capsys=capsys)
    assert code == ExitCode.INTERRUPTED
    assert "decode" in (tmp_path / "trace.json").read_text()


def test_a_sample_estimates_the_whole(clip, tmp_path, capsys):
    _, out, _ = run("upscale", clip, "-o", tmp_path / "out.mkv", "--sample", "3", *FAST, capsys=capsys)
    assert "3 frames in" in out
    assert "the whole (12 frames) would take about" in out


def test_several_inputs_one_of_which_fails(clip, tmp_path, capsys):
    folder = tmp_path / "in"
    folder.mkdir()
    for name in ("a.mkv", "b.mkv"):
        (folder / name).write_bytes(clip.read_bytes())
    (folder / "broken.mp4").write_text("no video")
    (folder / "notes.txt").write_text("not even tried")
    target = tmp_path / "new" / "out"
    code, out, err = run("upscale", folder, "-o", target, *FAST, capsys=capsys)
    assert code == ExitCode.FAILURE
    assert sorted(path.name for path in target.iterdir()) == ["a_x2.mkv", "b_x2.mkv"]
    assert err.count("\n") == 1
    assert err.startswith("vsr: error: broken.mp4: ")
    assert out.endswith("2 of 3 done\n")
    code, out, _ = run("upscale", folder, "-o", target, "--json", "--overwrite", *FAST, capsys=capsys)
    reports = json.loads(out)
    assert [report.get("frames_out") for report in reports] == [12, 12, None]
    assert reports[2]["exit_code"] == ExitCode.INPUT


def test_a_folder_into_itself_twice(clip, tmp_path, capsys):
    (tmp_path / "a.mkv").write_bytes(clip.read_bytes())
    for _ in range(2):
        code, _, _ = run("upscale", tmp_path, "-o", tmp_path, "--overwrite", "--to", "100x80", *FAST, capsys=capsys)
        assert code == 0
    assert sorted(path.name for path in tmp_path.iterdir()) == ["a.mkv", "a_100x80.mkv"]


def test_patterns_and_names_that_look_like_patterns(clip, tmp_path):
    for name in ("a1.mkv", "a2.mkv", "te[s]t.mkv"):
        (tmp_path / name).write_bytes(b"")
    assert [path.name for path in expand([f"{tmp_path}/a*.mkv"])] == ["a1.mkv", "a2.mkv"]
    assert [path.name for path in expand([f"{tmp_path}/te[s]t.mkv"])] == ["te[s]t.mkv"]
    assert len(expand([f"{tmp_path}/a1.mkv", f"{tmp_path}/a?.mkv"])) == 2


def test_two_inputs_of_one_name(clip, tmp_path, capsys):
    for folder in ("x", "y"):
        (tmp_path / folder).mkdir()
        (tmp_path / folder / "a.mkv").write_bytes(clip.read_bytes())
    inputs = [tmp_path / "x" / "a.mkv", tmp_path / "y" / "a.mkv"]
    code, _, err = run("upscale", *inputs, "-o", tmp_path / "out", *FAST, capsys=capsys)
    assert code == ExitCode.USAGE
    assert "would both become" in err


@pytest.mark.parametrize(
    ("arguments", "code", "text"),
    [
        (["IN", "-o", "out.mkv", "--scale", "7"], 2, "got scale 7, allowed are 2, 3, 4"),
        (["IN", "-o", "out.mkv", "--scale", "2", "--to", "720p"], 2, "leave out the other"),
        (["IN", "-o", "out.mkv", "--start", "-5"], 2, "got time '-5'"),
        (["IN", "-o", "out.mkv", "--start", "1:75"], 2, "go up to 59"),
        (["IN", "-o", "out.mkv", "--duration", "0"], 2, "more than 0"),
        (["IN", "-o", "out.mkv", "--sample", "0"], 2, "--sample"),
        (["IN", "-o", "out.mkv", "--frobnicate"], 2, "No such option"),
        (["IN"], 2, "--output"),
        (["", "-o", "out/"], 2, "empty name"),
        (["IN", "-o", ""], 2, "empty name"),
        (["IN", "IN2", "-o", "out.mp4"], 2, "-o out/"),
        (["nowhere.mp4", "-o", "out.mkv"], 3, "there is no file nowhere.mp4"),
        (["IN3", "-o", "out.mkv"], 3, "did you mean 'clip.mkv'?"),
        (["none/clip.mkv", "-o", "out.mkv"], 3, "nor a folder none"),
        (["*.xyz", "-o", "out.mkv"], 3, "no file matches *.xyz"),
        (["TEXT", "-o", "out.mkv"], 3, "notes.txt"),
        (["IN", "-o", "out.mkv", "--start", "1:00"], 3, "start earlier"),
        (["IN", "-o", "out.xyz"], 4, ".mp4, .mov, .mkv, .webm"),
        (["IN", "-o", "no/out.mkv"], 4, "there is no folder no"),
        (["IN", "-o", "TEXT.mkv"], 4, "exists"),
        (["IN", "-o", "IN", "--overwrite"], 4, "is the input itself"),
        (["IN", "-o", "out.mkv", "--profile", "out.txt"], 2, "allowed are .json (for Perfetto) and .svg"),
        (["IN", "IN2", "-o", "out/", "--profile", "out.json"], 2, "got --profile with 2 inputs"),
        (["IN", "-o", "out.mkv", "--profile", "no/out.json"], 4, "there is no folder no"),
        (["IN", "-o", "out.mkv", "--profile", "TEXT.json"], 4, "exists.json exists; give --overwrite"),
        (["IN", "-o", "TEXT.mkv", "--profile", "out.json"], 4, "exists"),
        (["IN", "-o", "out.mkv", "--codec", "h256"], 4, "did you mean 'h265'?"),
        (["IN", "-o", "out.mp4", "--codec", "prores"], 4, "MP4 cannot hold prores"),
        (["IN", "-o", "out.mkv", "--model", "ecsbr"], 5, "did you mean 'ecbsr'?"),
        (["IN", "-o", "out.mkv", "--device", "abacus"], 5, "got device 'abacus'"),
        (["IN", "-o", "out.mkv", "--precision", "fp7"], 5, "got precision 'fp7'"),
    ],
)
def test_mistakes_are_one_line(arguments, code, text, clip, tmp_path, capsys, monkeypatch):
    monkeypatch.chdir(tmp_path)
    for name in ("clip.mkv", "clip2.mkv"):
        Path(name).write_bytes(clip.read_bytes())
    Path("notes.txt").write_text("not a video\n")
    for name in ("exists.mkv", "exists.json"):
        Path(name).write_text("mine")
    words = {"IN": "clip.mkv", "IN2": "clip2.mkv", "IN3": "clap.mkv", "TEXT": "notes.txt"}
    words |= {"TEXT.mkv": "exists.mkv", "TEXT.json": "exists.json"}
    before = sorted(Path().iterdir())
    # The case's own options come last and win.
    got, out, err = run("upscale", *FAST, *(words.get(each, each) for each in arguments), capsys=capsys)
    assert (got, out) == (code, "")
    assert err.count("\n") == 1
    assert err.startswith("vsr: error: ")
    assert text in err
    assert sorted(Path().iterdir()) == before


@pytest.mark.skipif(hasattr(os, "geteuid") and os.geteuid() == 0, reason="root may write anywhere")
def test_a_folder_that_may_not_be_written_to(clip, tmp_path, capsys):
    folder = tmp_path / "locked"
    folder.mkdir(mode=0o500)
    code, _, err = run("upscale", clip, "-o", folder / "out.mkv", *FAST, capsys=capsys)
    assert code == ExitCode.OUTPUT
    assert "nothing can be written" in err


def test_traceback_only_with_debug(tmp_path, capsys):
    (tmp_path / "x.mp4").write_text("no")
    arguments = ["upscale", tmp_path / "x.mp4", "-o", tmp_path / "y.mp4"]
    assert "Traceback" not in run(*arguments, capsys=capsys)[2]
    assert "Traceback" in run(*arguments, "--debug", capsys=capsys)[2]
    assert "Traceback" in run("--debug", *arguments, capsys=capsys)[2]


def test_help_and_version(capsys):
    code, out, _ = run("upscale", "--help", capsys=capsys)
    assert code == 0
    assert "vsr upscale in.mp4 -o out.mp4 --to 1080p" in out
    assert run("--version", capsys=capsys) == (0, f"vsr {__version__}\n", "")
    code, out, _ = run(capsys=capsys)
    assert code == ExitCode.USAGE
    assert "upscale" in out


def test_help_waits_for_no_network():
    program = (
        "import sys; from vsr.app.cli import main; main(['upscale', '--help']);"
        "sys.exit(str({'torch', 'openvino', 'av', 'numpy'} & set(sys.modules)))"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=False)
    assert done.stderr == "set()\n"


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_leaves_a_playable_partial_file(number, tmp_path):
    source = media.write_clip(tmp_path / "in.mkv", media.pattern(200, 320, 240), rate=25)
    # Many pictures and a slow encoder: the job must still be under way when the signal comes.
    command = [sys.executable, "-m", "vsr", "upscale", source, "-o", tmp_path / "out.mkv", *FAST]
    command += ["--scale", "4", "--codec", "ffv1"]
    command[command.index("--preset") : command.index("--preset") + 2] = []
    partial = tmp_path / "out.partial.mkv"
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as process:
        give_up = time.monotonic() + 100
        while not (partial.exists() and partial.stat().st_size > 1000) and time.monotonic() < give_up:
            time.sleep(0.02)
        process.send_signal(number)
        out, err = process.communicate(timeout=100)
    assert process.returncode == ExitCode.INTERRUPTED
    assert out == ""
    assert f"plays: {partial}" in err
    assert "Traceback" not in err
    assert not (tmp_path / "out.mkv").exists()
    assert 1 <= frames(partial) < 200


def test_ctrl_c_while_libraries_load_cannot_be_swallowed(clip, tmp_path):
    program = """
import contextlib, signal, sys
from vsr.app import cli, upscale

def load(*arguments, **options):
    with contextlib.suppress(BaseException):
        signal.raise_signal(signal.SIGINT)
    return select(*arguments, **options)

select, upscale.select_network = upscale.select_network, load
sys.exit(cli.main(sys.argv[1:]))
"""
    command = [sys.executable, "-c", program, "upscale", clip, "-o", tmp_path / "out.mkv", *FAST]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout, done.stderr) == (-signal.SIGINT, "", "")
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("handler", [signal.default_int_handler, signal.SIG_IGN, lambda *_: None])
def test_ctrl_c_means_afterwards_what_it_did(handler):
    before = signal.signal(signal.SIGINT, handler)
    try:
        with ending_at_once():
            within = signal.getsignal(signal.SIGINT)
        assert within is (signal.SIG_DFL if handler is signal.default_int_handler else handler)
        assert signal.getsignal(signal.SIGINT) is handler
    finally:
        signal.signal(signal.SIGINT, before)


def test_the_second_signal_is_not_caught():
    before = signal.getsignal(signal.SIGINT)
    with stop_on_signals() as stop:
        os.kill(os.getpid(), signal.SIGINT)
        assert stop.wait(10)
        assert signal.getsignal(signal.SIGINT) is signal.SIG_DFL
    assert signal.getsignal(signal.SIGINT) is before


@pytest.mark.parametrize(
    ("text", "seconds"),
    [("90", 90), ("1:30", 90), ("00:01:30.5", 90.5), (".5", 0.5), ("100:00", 6000), ("2:00:00", 7200)],
)
def test_times(text, seconds):
    assert parse_seconds(text) == seconds


@pytest.mark.parametrize("text", ["", "-1", "1:60", "1:60:00", "1h", "nan", "1:2:3:4"])
def test_times_that_are_none(text):
    with pytest.raises(ConfigError, match="got time"):
        parse_seconds(text)


def test_names_of_outputs():
    assert output_name(Path("a/Film.MP4"), "x2") == "Film_x2.mp4"
    assert output_name(Path("film.avi"), "1080p") == "film_1080p.mkv"


def test_words_for_amounts():
    assert [bytes_text(count) for count in (512, 12_345, 2_000_000_000)] == ["512 B", "12.3 kB", "2 GB"]
    assert [seconds_text(value) for value in (8.12, 200, 7500)] == ["8.1 s", "3 min 20 s", "2 h 05 min"]


def test_errors_that_should_not_happen_ask_for_a_report():
    assert exit_code_of(ZeroDivisionError()) is ExitCode.FAILURE
    assert "--debug" in message_of(ZeroDivisionError("division by zero"))
    assert message_of(VsrError("two\nlines")) == "two lines"
    assert message_of(MemoryError()).endswith("close other programs")
    assert message_of(FileNotFoundError(2, "No such file", "x")) == "No such file: x"


@pytest.mark.parametrize("second", ["a_x2.mkv", "a_x2.partial.mkv"])
def test_an_input_is_never_where_another_is_written(second, clip, tmp_path, capsys):
    inputs = [tmp_path / "a.mkv", tmp_path / second]
    for path in inputs:
        path.write_bytes(clip.read_bytes())
    code, _, err = run("upscale", *inputs, "-o", tmp_path, "--overwrite", *FAST, capsys=capsys)
    assert code == ExitCode.USAGE
    assert f"would be written over the input {inputs[1]}" in err
    assert all(path.read_bytes() == clip.read_bytes() for path in inputs)
    assert len(list(tmp_path.iterdir())) == 2


def test_a_pattern_that_matches_folders(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    for name in ("full", "empty"):
        Path(name).mkdir()
    Path("full/a.mkv").write_bytes(b"")
    assert expand(["f*"]) == [Path("full/a.mkv")]
    assert expand(["*"]) == [Path("full/a.mkv")]
    with pytest.raises(SourceNotFoundError, match=r"no file matches e\*"):
        expand(["e*"])
    tasks = plan_tasks(["f*"], output="out", label="x2")
    assert [task.target for task in tasks] == [Path("out/a_x2.mkv")]


def test_a_home_in_quotes(tmp_path, monkeypatch):
    monkeypatch.setenv("HOME", str(tmp_path))
    (tmp_path / "a.mkv").write_bytes(b"")
    assert plan_tasks(["~/a.mkv"], output="~/b.mkv", label="x2") == [Task(tmp_path / "a.mkv", tmp_path / "b.mkv")]


def test_an_interruption_between_two_inputs(clip, tmp_path, capsys, monkeypatch):
    inputs = [tmp_path / name for name in ("a.mkv", "b.mkv", "c.mkv")]
    for path in inputs:
        path.write_bytes(clip.read_bytes())
    real = jobs.upscale_video

    def interrupted(*arguments: Any, **options: Any) -> Any:
        report = real(*arguments, **options)
        options["stop"].set()
        return report

    monkeypatch.setattr(jobs, "upscale_video", interrupted)
    code, out, _ = run("upscale", *inputs, "-o", tmp_path / "out", "--json", *FAST, capsys=capsys)
    assert code == ExitCode.INTERRUPTED
    results = json.loads(out)
    assert results[0]["frames_out"] == 12
    assert [result["input"] for result in results] == [str(path) for path in inputs]
    assert [result["exit_code"] for result in results[1:]] == [ExitCode.INTERRUPTED] * 2


def test_an_ignored_signal_stays_ignored():
    before = signal.signal(signal.SIGINT, signal.SIG_IGN)
    try:
        with stop_on_signals() as stop:
            os.kill(os.getpid(), signal.SIGINT)
            assert not stop.is_set()
            assert signal.getsignal(signal.SIGINT) is signal.SIG_IGN
    finally:
        signal.signal(signal.SIGINT, before)


def test_a_signal_without_a_stderr(monkeypatch):
    def closed(*_: object) -> int:
        raise OSError(9, "Bad file descriptor")

    monkeypatch.setattr(os, "write", closed)
    with stop_on_signals() as stop:
        os.kill(os.getpid(), signal.SIGINT)
        assert stop.wait(10)
