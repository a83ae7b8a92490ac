"""The one run behind the page: what can be chosen, how it goes, what is recorded, and what strangers are told."""

from __future__ import annotations

import json
import shutil
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import av
import media
import numpy as np
import pytest
from failing import Stub
from page_stubs import jpeg
from rtsp_server import RtspServer
from stubs import wait_for

from streams.errors import SinkError, SourceError
from streams.sinks import BufferedSink
from streams.sources import PushedSource
from vsr.app.live import LiveOptions
from vsr.app.page import bounds
from vsr.app.page.studio import PageError, Studio
from vsr.app.page.uploads import check_clip
from vsr.app.page.words import label_of, plain_words

PATTERN = "synthetic:64x36?rate=50&live=1"
OTHER = "synthetic:48x32?rate=50&live=1"
CHEAP = {"model": "bicubic", "scale": 2}


@pytest.fixture
def open_studio(tmp_path: Path) -> Iterator[Callable[..., Studio]]:
    opened: list[Studio] = []

    def make(*named: str, **more: Any) -> Studio:
        more = {"options": LiveOptions(threads=1), "recordings": tmp_path / "recordings", **more}
        opened.append(Studio(named, **more))
        return opened[-1]

    yield make
    for studio in opened:
        studio.close()
        assert studio.state()["phase"] in ("idle", "failed")
    assert "vsr-page-run" not in {thread.name for thread in threading.enumerate()}


def is_in(studio: Studio, phase: str) -> Callable[[], bool]:
    return lambda: studio.state()["phase"] == phase


def push_until(source: PushedSource, condition: Callable[[], bool], **about: Any) -> None:
    """Be a camera, as fast as a camera is: without a pause pictures would take all the time of the one that waits."""
    picture = jpeg(**about)

    def pushed() -> bool:
        source.push(picture)
        time.sleep(0.02)
        return condition()

    wait_for(pushed)


def shows(studio: Studio, key: str = "named:0", **more: Any) -> None:
    studio.start(key, **{**CHEAP, **more})
    wait_for(lambda: studio.state()["phase"] in ("running", "failed"))
    assert studio.state()["phase"] == "running", studio.state()["message"]


def fails(studio: Studio, key: str, **more: Any) -> str:
    studio.start(key, **{**CHEAP, **more})
    wait_for(is_in(studio, "failed"))
    message: str = studio.state()["message"]
    return message


def count_frames(path: Path) -> int:
    with av.open(str(path)) as container:
        return sum(1 for _ in container.decode(video=0))


@pytest.fixture
def clip_file(tmp_path: Path) -> Path:
    path = tmp_path / "holiday.mp4"
    return media.write_clip(path, media.pattern(10, 64, 48), codec="libx264", options={"preset": "ultrafast"})


# -------------------------------------------------------------------------------------------------------------- choices


def test_what_is_offered_names_no_password_and_no_folder(open_studio: Callable[..., Studio]) -> None:
    studio = open_studio("rtsp://admin:hunter2@camera.local:8554/stream?token=abc", "/home/somebody/clip.mp4", "webcam")
    assert [tuple(choice) for choice in studio.sources()] == [
        ("named:0", "rtsp://camera.local:8554/…"),
        ("named:1", "clip.mp4"),
        ("named:2", "Camera webcam"),
        ("browser", "This browser's camera"),
        ("sample", "Sample clip"),
    ]


def test_networks_are_those_with_weights_for_the_scale(open_studio: Callable[..., Studio]) -> None:
    studio = open_studio()
    assert {"ecbsr", "bicubic"} <= set(studio.networks(3)) < {*studio.networks(2), *studio.networks(3)}
    assert "srgan" not in studio.networks(3)


@pytest.mark.parametrize(
    ("source", "choice", "words"),
    [
        ("named:7", {}, "not among those offered"),
        ("/etc/passwd", {}, "not among those offered"),
        ("rtsp://10.0.0.7/live", {}, "not among those offered"),
        ("upload:../../secret", {}, "no longer here"),
        ("sample", {"model": "nonesuch"}, "nonesuch"),
        ("sample", {"model": "srgan", "scale": 3}, "srgan"),
        ("sample", {"scale": 7}, "allowed are 2, 3, 4"),
        ("sample", {"quality": "best"}, "allowed are fixed, auto"),
    ],
)
def test_what_cannot_be_chosen_leaves_everything_as_it_was(
    open_studio: Callable[..., Studio], source: str, choice: dict[str, Any], words: str
) -> None:
    studio = open_studio(PATTERN)
    with pytest.raises(PageError, match=words):
        studio.start(source, **{**CHEAP, **choice})
    assert studio.state()["phase"] == "idle"


@pytest.mark.parametrize("source", ["/etc/passwd", "clip.mp4", "file:///etc/passwd", PATTERN, "webcam", "gopher://x/y"])
def test_where_any_address_is_allowed_it_is_still_an_address(open_studio: Callable[..., Studio], source: str) -> None:
    studio = open_studio(allow_any_source=True)
    with pytest.raises(PageError, match="not an address"):
        studio.start(source, **CHEAP)


def test_an_address_is_shown_where_that_is_allowed(open_studio: Callable[..., Studio]) -> None:
    studio = open_studio(allow_any_source=True)
    with RtspServer(width=64, height=48) as server:
        shows(studio, server.url.replace("rtsp://", "rtsp://me:hunter2@"))
        state = studio.state()
        assert state["source"].startswith("rtsp://127.0.0.1:")
        assert "hunter2" not in json.dumps(state)
        studio.stop()


# -------------------------------------------------------------------------------------------------------------- the run


def test_pairs_come_to_the_stage_and_the_state_tells_of_them(open_studio: Callable[..., Studio]) -> None:
    studio = open_studio(PATTERN)
    assert studio.state()["phase"] == "idle"
    shows(studio)
    pair = studio.stage.wait(timeout_seconds=20)
    assert pair is not None
    assert (pair.small.width, pair.large.width, pair.network) == (64, 128, "bicubic")
    before = studio.baseline(pair.small)
    assert before.geometry == pair.large.geometry
    np.testing.assert_array_equal(before.planes[0], pair.large.planes[0])
    wait_for(lambda: studio.state()["figures"]["output_fps"] > 0)
    state = json.loads(json.dumps(studio.state()))
    assert (state["input_size"], state["output_size"]) == ([64, 36], [128, 72])
    assert (state["model"], state["scale"], state["quality"]) == ("bicubic", 2, "fixed")
    assert state["figures"]["network"] == "bicubic"
    assert state["figures"]["connected"]
    studio.stop()
    assert studio.state()["phase"] == "idle"
    assert studio.stage.newest is None
    studio.stop()


def test_a_start_ends_what_runs_and_the_last_of_many_wins(open_studio: Callable[..., Studio]) -> None:
    studio = open_studio(PATTERN, OTHER)
    shows(studio)
    eager = [threading.Thread(target=studio.start, args=("named:0",), kwargs=CHEAP) for _ in range(6)]
    for thread in eager:
        thread.start()
    for thread in eager:
        thread.join()
    shows(studio, "named:1", scale=3)
    assert studio.state()["output_size"] == [144, 96]
    wait_for(lambda: sum(thread.name == "vsr-page-run" for thread in threading.enumerate()) == 1)


def test_a_stop_while_the_network_is_made_ready_is_heeded(open_studio: Callable[..., Studio]) -> None:
    studio = open_studio(PATTERN)
    studio.start("named:0", model="ecbsr", scale=2, quality="auto")
    studio.stop()
    assert studio.state()["phase"] == "idle"
    assert studio.state()["message"] == ""
    assert studio.state()["figures"]["output_fps"] == 0


def test_a_file_goes_round(open_studio: Callable[..., Studio], clip_file: Path) -> None:
    studio = open_studio(str(clip_file))
    shows(studio)
    wait_for(lambda: studio.stage.newest is not None and studio.stage.newest.number > 15)
    assert studio.state()["source"] == "holiday.mp4"


def test_what_is_not_there_is_told_in_plain_words(open_studio: Callable[..., Studio], tmp_path: Path) -> None:
    studio = open_studio(str(tmp_path / "none.mp4"), "rtsp://admin:hunter2@127.0.0.1:9/x?token=abc", PATTERN)
    assert fails(studio, "named:0") == "none.mp4: there is no such file; check the path"
    message = fails(studio, "named:1")
    assert message.startswith("rtsp://127.0.0.1:9/…: ")
    assert "hunter2" not in message
    assert "abc" not in message
    shows(studio, "named:2")
    assert studio.state()["message"] == ""


def test_a_source_that_is_lost_is_told_of_and_found_again(open_studio: Callable[..., Studio]) -> None:
    with RtspServer(width=64, height=48) as server:
        studio = open_studio(server.url)
        shows(studio)
        server.stop()
        wait_for(lambda: "lost" in studio.state()["message"])
        assert not studio.state()["figures"]["connected"]
        server.start()
        wait_for(lambda: studio.state()["figures"]["reconnects"] == 1)
        wait_for(lambda: studio.state()["message"] == "")
        studio.stop()


def test_a_mistake_of_ours_is_no_traceback_for_strangers(
    open_studio: Callable[..., Studio], monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def fall(*_: Any, **__: Any) -> None:
        raise ZeroDivisionError("at /home/somebody/secret.py")

    monkeypatch.setattr("vsr.app.page.run.LiveSession", fall)
    message = fails(open_studio(PATTERN), "named:0")
    assert message == "something went wrong on the server, whose log says what"
    assert "ZeroDivisionError" in caplog.text


@pytest.mark.parametrize(
    ("error", "words"),
    [
        (SourceError("/srv/films/a.mp4: broken"), "a.mp4: broken"),
        (SourceError("cannot read file:///srv/films/a.mp4"), "cannot read file:///srv/films/a.mp4"),
        (SourceError("rtsp://u:p@host/x: lost"), "rtsp://***@host/x: lost"),
        (OSError(28, "No space left on device", "/srv/films"), "No space left on device"),
    ],
)
def test_plain_words(error: Exception, words: str) -> None:
    assert plain_words(error) == words


@pytest.mark.parametrize(
    ("source", "label"),
    [
        ("rtsp://u:p@host:99/path/x?y=1", "rtsp://host:99/…"),
        ("HTTP://host", "http://host/…"),
        ("udp://@:5000", "udp://:5000/…"),
        ("/dev/video0", "Camera /dev/video0"),
        ("../films/a b.mkv", "a b.mkv"),
    ],
)
def test_labels(source: str, label: str) -> None:
    assert label_of(source) == label


# ------------------------------------------------------------------------------------------------------------ recording


def test_a_recording_is_begun_and_ended_while_the_run_goes_on(
    open_studio: Callable[..., Studio], tmp_path: Path
) -> None:
    studio = open_studio(PATTERN)
    shows(studio)
    name = studio.record(True)
    assert name is not None
    assert studio.state()["recording"]["name"] == name
    with pytest.raises(PageError, match="already"):
        studio.record(True)
    wait_for((tmp_path / "recordings" / name).exists)
    number = studio.stage.newest.number
    wait_for(lambda: studio.stage.newest.number > number + 10)
    assert studio.record(False) == name
    assert studio.record(False) is None
    (told,) = studio.state()["recordings"]
    _, _, token, last = told["url"].split("/")
    path = studio.recording(token, last)
    assert path == tmp_path / "recordings" / name
    assert path.stat().st_size == told["bytes"]
    assert count_frames(path) >= 10
    assert studio.state()["phase"] == "running"
    assert studio.recording(token, "other.mp4") is None
    assert studio.recording("guess", last) is None


@pytest.mark.parametrize("how", ["stop", "start", "close"])
def test_the_end_of_a_run_finishes_its_recording(open_studio: Callable[..., Studio], tmp_path: Path, how: str) -> None:
    studio = open_studio(PATTERN)
    shows(studio)
    name = studio.record(True)
    wait_for((tmp_path / "recordings" / str(name)).exists)
    {"stop": studio.stop, "start": lambda: shows(studio), "close": studio.close}[how]()
    assert studio.state()["recording"] is None
    assert [each["name"] for each in studio.state()["recordings"]] == [name]
    assert count_frames(tmp_path / "recordings" / str(name)) > 0


def test_no_recording_takes_the_name_of_another(open_studio: Callable[..., Studio], tmp_path: Path) -> None:
    studio = open_studio(PATTERN)
    shows(studio)
    names = []
    for _ in range(3):
        names.append(str(studio.record(True)))
        wait_for((tmp_path / "recordings" / names[-1]).exists)
        assert studio.record(False) == names[-1]
    assert len({each["url"] for each in studio.state()["recordings"]}) == len(set(names)) == 3


def test_what_cannot_be_recorded_is_told(open_studio: Callable[..., Studio], tmp_path: Path) -> None:
    (tmp_path / "recordings").touch()
    studio = open_studio(PATTERN)
    with pytest.raises(PageError, match="start a source first"):
        studio.record(True)
    shows(studio)
    with pytest.raises(PageError, match="cannot record") as caught:
        studio.record(True)
    assert str(tmp_path) not in str(caught.value)
    assert studio.state()["phase"] == "running"


def test_a_recording_that_fails_is_told_and_the_run_goes_on(
    open_studio: Callable[..., Studio], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = tmp_path / "films and more" / "recordings"
    full = Stub(fails_at=3, error=lambda _: SinkError(f"cannot record into {folder}/a.mp4: No space left on device"))
    monkeypatch.setattr(
        "vsr.app.page.recordings.open_sink", lambda *_, **__: BufferedSink(full, name="full", queue_size=2)
    )
    studio = open_studio(PATTERN, recordings=folder)
    shows(studio)
    studio.record(True)
    wait_for(lambda: studio.state()["message"] != "")
    assert studio.state()["recording"] is None
    assert studio.state()["message"] == "the recording has ended: cannot record into a.mp4: No space left on device"
    assert studio.state()["phase"] == "running"
    assert full.ends == ["abort"]


def test_the_parts_of_a_recording_are_told_in_their_order(open_studio: Callable[..., Studio]) -> None:
    studio = open_studio()
    studio.start("browser", **CHEAP)
    wait_for(is_in(studio, "waiting"))
    source = studio.push_camera()
    push_until(source, is_in(studio, "running"))
    name = str(studio.record(True))
    for mode in ("RGB", "L"):
        number = studio.stage.newest.number
        push_until(source, lambda number=number: studio.stage.newest.number >= number + 10, mode=mode)
    studio.record(False)
    names = [each["name"] for each in studio.state()["recordings"]]
    assert names == [name, name.replace(".mp4", "-0002.mp4")]


def test_a_recording_that_somebody_removes_is_told_of(open_studio: Callable[..., Studio], tmp_path: Path) -> None:
    studio = open_studio(PATTERN)
    shows(studio)
    assert studio.record(True)
    number = studio.stage.newest.number
    wait_for(lambda: studio.stage.newest.number > number + 20)
    shutil.rmtree(tmp_path / "recordings")
    with pytest.raises(PageError, match="somebody has removed it"):
        studio.record(False)
    assert studio.state()["phase"] == "running"
    assert studio.state()["recordings"] == []


# ------------------------------------------------------------------------------------------------- the browser's camera


def test_the_camera_of_a_browser_is_waited_for_and_shown(open_studio: Callable[..., Studio]) -> None:
    studio = open_studio(PATTERN)
    with pytest.raises(PageError, match="start it first"):
        studio.push_camera()
    studio.start("browser", **CHEAP)
    wait_for(is_in(studio, "waiting"))
    assert "allow it" in studio.state()["message"]
    source = studio.push_camera()
    with pytest.raises(PageError, match="another browser's"):
        studio.push_camera()

    def pushed() -> bool:
        source.push(jpeg())
        return studio.state()["phase"] == "running"

    wait_for(pushed)
    assert studio.state()["input_size"] == [64, 48]
    source.finish()
    wait_for(is_in(studio, "idle"))
    assert studio.state()["message"] == "the source has ended"


def test_pictures_that_would_fill_the_memory_are_refused(
    open_studio: Callable[..., Studio], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(bounds, "_MOST_SAMPLES", 128 * 72)
    studio = open_studio(PATTERN)
    assert "would become 192×108" in fails(studio, "named:0", scale=3)
    shows(studio, "named:0", scale=2)


def test_pictures_that_become_too_large_end_the_run(
    open_studio: Callable[..., Studio], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(bounds, "_MOST_SAMPLES", 128 * 96)
    studio = open_studio()
    studio.start("browser", **CHEAP)
    wait_for(is_in(studio, "waiting"))
    source = studio.push_camera()
    push_until(source, is_in(studio, "running"))
    push_until(source, lambda: source.over, width=128, height=96)
    wait_for(is_in(studio, "failed"))
    assert "pictures of 128×96 would become 256×192" in studio.state()["message"]


def test_a_camera_that_does_not_come_can_be_stopped_and_another_start_frees_it(
    open_studio: Callable[..., Studio],
) -> None:
    studio = open_studio(PATTERN)
    studio.start("browser", **CHEAP)
    first = studio.push_camera()
    studio.start("browser", **CHEAP)
    assert first.over
    assert studio.push_camera() is not first
    studio.stop()
    assert studio.state()["phase"] == "idle"


# -------------------------------------------------------------------------------------------------------------- uploads


def test_an_upload_is_moved_shown_and_removed(open_studio: Callable[..., Studio], clip_file: Path) -> None:
    studio = open_studio()
    data = clip_file.read_bytes()
    token = studio.add_upload(clip_file)
    assert not clip_file.exists()
    shows(studio, f"upload:{token}")
    assert studio.state()["source"] == "holiday.mp4"
    for _ in range(2):
        clip_file.write_bytes(data)
        newer = studio.add_upload(clip_file)
    number = studio.stage.newest.number
    wait_for(lambda: studio.stage.newest.number > number + 12)
    shows(studio, f"upload:{newer}")
    clip_file.write_bytes(data)
    studio.add_upload(clip_file)
    with pytest.raises(PageError, match="no longer here"):
        studio.start(f"upload:{token}", **CHEAP)


def test_nothing_temporary_is_left(
    open_studio: Callable[..., Studio], clip_file: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    home = tmp_path / "temporary"
    home.mkdir()
    monkeypatch.setattr("tempfile.tempdir", str(home))
    studio = open_studio()
    shows(studio, f"upload:{studio.add_upload(clip_file)}")
    assert list(home.rglob("upload-*.mp4"))
    studio.close()
    assert list(home.iterdir()) == []
    with pytest.raises(PageError, match="about to end"):
        studio.start("sample", **CHEAP)


def test_a_file_that_names_other_files_is_not_taken(tmp_path: Path) -> None:
    segment = media.write_clip(
        tmp_path / "secret.ts", media.pattern(5, 64, 48), codec="libx264", options={"preset": "ultrafast"}
    )
    check_clip(segment)
    playlist = f"#EXTM3U\n#EXT-X-TARGETDURATION:1\n#EXTINF:0.2,\nfile://{segment}\n#EXT-X-ENDLIST\n"
    for name, text in (
        ("a.m3u8", playlist),
        ("a.mp4", playlist),
        ("b.mp4", "ffconcat version 1.0\nfile secret.ts\n"),
        ("c.sdp", "v=0\no=- 0 0 IN IP4 127.0.0.1\ns=x\nc=IN IP4 127.0.0.1\nt=0 0\nm=video 5004 RTP/AVP 96\n"),
        ("d.mp4", "no video at all"),
    ):
        (tmp_path / name).write_text(text)
        with pytest.raises(PageError, match="no playlist"):
            check_clip(tmp_path / name)


def test_the_sample_is_made_and_shown(open_studio: Callable[..., Studio], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("vsr.app.page.sources._SAMPLE_SECONDS", 1)
    studio = open_studio()
    shows(studio, "sample")
    assert studio.state()["source"] == "Sample clip"
    wait_for(lambda: studio.stage.newest.number > 30)
