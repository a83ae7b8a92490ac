"""``vsr preview`` as a whole: what it serves and to whom, mistakes in one line, and how it ends."""

from __future__ import annotations

import json
import os
import signal
import socket
import struct
import subprocess
import sys
import time
import urllib.error
import urllib.request
from base64 import b64encode
from collections.abc import Iterator
from contextlib import ExitStack, suppress
from dataclasses import replace
from fractions import Fraction
from http.client import HTTPException
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import pytest
from page_stubs import jpeg, plain
from stubs import wait_for

from streams.errors import SinkError
from streams.frame import PixelFormat
from streams.sources import SyntheticSource
from vsr.app import commands_page
from vsr.app.cli import main
from vsr.app.live import LiveOptions
from vsr.app.live_ends import Feed, open_outputs

if find_spec("gradio") is None:  # without importing it, which takes seconds
    pytest.skip("the page is an extra: pip install 'vsr[page]'", allow_module_level=True)
websockets = pytest.importorskip("websockets.sync.client", reason="the page is an extra: pip install 'vsr[page]'")

from vsr.app.page.guard import Credentials  # noqa: E402
from vsr.app.page.preview import PreviewSink, open_preview  # noqa: E402
from vsr.app.page.server import PageServer, gradio_at_home, open_page  # noqa: E402
from vsr.app.page.studio import Studio  # noqa: E402

PATTERN = "synthetic:64x36?rate=50&live=1"
NEEDS = [PATTERN, "--model", "bicubic", "--threads", "1", "--port", "0"]


def get(url: str, **headers: str) -> tuple[int, bytes]:
    asked = urllib.request.Request(url, headers=headers)
    try:
        with urllib.request.urlopen(asked, timeout=20) as answer:
            return answer.status, answer.read()
    except urllib.error.HTTPError as error:
        return error.code, error.read()


def shown(viewer: Any) -> dict[str, Any]:
    """The header of the next pictures, which are JPEGs; the viewer has seen them."""
    while not isinstance(message := viewer.recv(timeout=20), bytes):
        pass
    (length,) = struct.unpack(">I", message[:4])
    header: dict[str, Any] = json.loads(message[4 : 4 + length])
    assert message[4 + length :].startswith(b"\xff\xd8")
    viewer.send(json.dumps({"shown": header["number"]}))
    return header


def state_of(url: str) -> dict[str, Any]:
    state: dict[str, Any] = json.loads(get(f"{url}live/state")[1])["state"]
    return state


# ----------------------------------------------------------------------------------------------------------- the server


@pytest.fixture(scope="module")
def page(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Studio, PageServer]]:
    folder = tmp_path_factory.mktemp("recordings")
    studio = Studio([PATTERN], options=LiveOptions(model="bicubic", threads=1), recordings=folder)
    with gradio_at_home(), open_page(studio, host="127.0.0.1", port=0, max_upload_bytes=10**6) as server:
        yield studio, server
        studio.close()


def test_the_page_and_its_pictures_are_served(page: tuple[Studio, PageServer]) -> None:
    studio, server = page
    code, html = get(server.url)
    assert code == 200
    assert b"data-vsr-player" in html
    studio.start_first()
    with websockets.connect(f"ws://127.0.0.1:{server.port}/live/ws") as viewer:
        viewer.send(json.dumps({"view": {"width": 320, "compare": True, "loupe": None}}))
        # The first of them may have been on its way before the wish for two pictures was read.
        while len((header := shown(viewer))["parts"]) < 2:
            pass
        wait_for(lambda: state_of(server.url)["viewers"] == 1)
    assert header["network"] == "bicubic"
    assert [(part["kind"], part["size"]) for part in header["parts"]] == [("after", [128, 72]), ("before", [128, 72])]


def test_the_camera_of_a_browser_comes_and_goes(page: tuple[Studio, PageServer]) -> None:
    studio, server = page
    studio.start("browser", model="bicubic", scale=2)
    with websockets.connect(f"ws://127.0.0.1:{server.port}/camera/ws") as camera:
        camera.send(json.dumps({"camera": {"width": 64, "height": 48}}))
        for taken in range(1, 200):
            camera.send(jpeg())
            assert json.loads(camera.recv(timeout=20)) == {"taken": taken}
            if state_of(server.url)["phase"] == "running":
                break
    wait_for(lambda: state_of(server.url)["phase"] == "idle")
    assert state_of(server.url)["message"] == "the source has ended"


def test_a_recording_is_fetched_by_its_address_alone(page: tuple[Studio, PageServer]) -> None:
    studio, server = page
    studio.start_first()
    wait_for(lambda: state_of(server.url)["phase"] == "running")
    studio.record(True)
    number = studio.stage.wait(timeout_seconds=20).number
    assert studio.stage.wait(after=number + 5, timeout_seconds=20)
    studio.stop()
    (told,) = state_of(server.url)["recordings"]
    code, data = get(f"{server.url.rstrip('/')}{told['url']}")
    assert (code, len(data)) == (200, told["bytes"])
    assert get(f"{server.url}files/guess/{told['name']}")[0] == 404


@pytest.mark.parametrize(
    "path", ["docs", "redoc", "openapi.json", "files/x/..%2f..%2fetc%2fpasswd", "gradio_api/file=/etc/passwd"]
)
def test_nothing_else_is_served(page: tuple[Studio, PageServer], path: str) -> None:
    code, data = get(f"{page[1].url}{path}")
    assert code in (403, 404)
    assert b"root:" not in data


def test_pages_of_others_and_other_names_are_refused(page: tuple[Studio, PageServer]) -> None:
    url = page[1].url
    assert get(url, Host="evil.example")[0] == 403
    assert get(f"{url}live/state", Origin="http://evil.example")[0] == 403


def test_a_request_that_fails_is_a_line_in_the_log(
    page: tuple[Studio, PageServer], caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level("ERROR"):
        with suppress(HTTPException):
            get(f"{page[1].url}gradio_api/queue/data?session_hash=nobody")
        wait_for(lambda: "a request failed" in caplog.text)
    assert "Traceback" not in caplog.text


def test_with_credentials_nothing_is_served_without(tmp_path: Path) -> None:
    studio = Studio(recordings=tmp_path)
    credentials = Credentials("me:secret")
    with open_page(studio, host="127.0.0.1", port=0, max_upload_bytes=10**6, credentials=credentials) as server:
        for path in ("", "live/state", "assets/player.js", "gradio_api/info"):
            assert get(f"{server.url}{path}")[0] == 401
        known = b64encode(b"me:secret").decode()
        assert get(f"{server.url}live/state", Authorization=f"Basic {known}")[0] == 200
        studio.close()


# ---------------------------------------------------------------------------------------------------------- the command


@pytest.mark.parametrize(
    ("arguments", "code", "words"),
    [
        (["--model", "nonesuch"], 5, "nonesuch"),
        (["--scale", "7"], 5, "scale 7"),
        (["--device", "toaster"], 5, "toaster"),
        (["--auth", "hunter2"], 2, "NAME:PASSWORD"),
        (["--auth-file", "nothing.txt"], 2, "cannot read"),
        (["--auth", "a:b", "--auth-file", "nothing.txt"], 2, "leave out the other"),
        (["--max-upload", "huge"], 2, "500M and 2G"),
        (["--host", "host.invalid"], 2, "no such address"),
        (["nothing.mp4"], 3, "nothing.mp4"),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, list) else None,
)
def test_what_cannot_be_is_said_in_one_line(
    arguments: list[str], code: int, words: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["preview", "--port", "0", *arguments]) == code
    said = capsys.readouterr()
    assert words in said.err
    assert "hunter2" not in said.err
    assert len(said.err.strip().splitlines()) == 1
    assert said.out == ""


def test_a_port_that_is_taken_is_told_at_once(capsys: pytest.CaptureFixture[str]) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        assert main(["preview", "--port", str(port)]) == 2
    assert "another program listens there" in capsys.readouterr().err


def test_what_is_not_installed_is_named(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    assert main(["preview"]) == 2
    assert "pip install 'vsr[page]'" in capsys.readouterr().err


def test_credentials_come_from_the_environment_or_a_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("VSR_AUTH", raising=False)
    assert commands_page._credentials(None, None) is None
    monkeypatch.setenv("VSR_AUTH", "me:there")
    assert commands_page._credentials(None, None).match("me:there")
    (tmp_path / "secret").write_text("you:here\n")
    assert commands_page._credentials(None, tmp_path / "secret").match("you:here")
    assert commands_page._credentials("he:said", None).match("he:said")


@pytest.mark.parametrize(("text", "size"), [("500", 500), ("1.5k", 1500), ("500MB", 5 * 10**8), ("2 GiB", 2 * 10**9)])
def test_sizes(text: str, size: int) -> None:
    assert commands_page._bytes(text) == size


def test_ctrl_c_ends_it_and_leaves_nothing_temporary(tmp_path: Path) -> None:
    command = [sys.executable, "-m", "vsr", "preview", *NEEDS, "--recordings", str(tmp_path / "recordings")]
    environment = {**os.environ, "TMPDIR": str(tmp_path)}
    with ExitStack() as stack:
        program = stack.enter_context(
            subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env=environment)
        )
        try:
            assert program.stdout is not None
            url = program.stdout.readline().split()[0]
            wait_for(lambda: state_of(url)["phase"] == "running")
            assert list(tmp_path.glob("vsr-*"))
            # As every page of Gradio that is open.
            page = stack.enter_context(urllib.request.urlopen(f"{url}gradio_api/heartbeat/page", timeout=20))
            assert page.readline()
            program.send_signal(signal.SIGINT)
            _, err = program.communicate(timeout=60)
        finally:
            program.kill()
    assert program.returncode == 130
    assert err.strip() == "vsr: finishing the file; once more to leave at once"
    assert list(tmp_path.glob("vsr-*")) == []


def test_whoever_lets_everybody_in_is_warned(caplog: pytest.LogCaptureFixture) -> None:
    commands_page._warn("127.0.0.1", open_to_all=True)
    commands_page._warn("0.0.0.0", open_to_all=False)
    assert caplog.text == ""
    commands_page._warn("0.0.0.0", open_to_all=True)
    assert "--auth-file" in caplog.text


# --------------------------------------------------------------------------------------------- an output of a live run


@pytest.fixture
def feed() -> Feed:
    info = replace(SyntheticSource(width=64, height=36).info, live=True)
    return Feed(
        info=info,
        width=128,
        height=72,
        format=PixelFormat(matrix=6),
        sample_aspect_ratio=Fraction(1),
        on_quit=lambda: None,
    )


def test_an_output_for_browsers_shows_and_takes_no_orders(feed: Feed, capsys: pytest.CaptureFixture[str]) -> None:
    with open_preview(feed, "preview:0") as sink:
        assert isinstance(sink, PreviewSink)
        assert f"preview at {sink.url}" in capsys.readouterr().err
        assert b"data-vsr-player" in get(sink.url)[1]
        assert state_of(sink.url)["phase"] == "waiting"
        with websockets.connect(f"{sink.url.replace('http', 'ws')}camera/ws") as camera:
            camera.send(json.dumps({"camera": {"width": 64, "height": 48}}))
            assert "no camera can be shown here" in json.loads(camera.recv(timeout=20))["error"]
        with websockets.connect(f"{sink.url.replace('http', 'ws')}live/ws") as viewer:
            while not isinstance(message := viewer.recv(timeout=20), bytes):
                sink.write(plain(200, width=128, height=72))
                time.sleep(0.01)
        assert b"\xff\xd8" in message
        state = state_of(sink.url)
        assert (state["phase"], state["output_size"]) == ("running", [128, 72])
        assert sink.status()[0].frames >= 1
        with pytest.raises(SinkError, match="another program"):
            open_preview(feed, f"preview:{sink.url.split(':')[2].rstrip('/')}")
    with pytest.raises(SinkError, match="has ended"):
        sink.write(plain(200))
    with pytest.raises(urllib.error.URLError):
        urllib.request.urlopen(sink.url, timeout=5)


@pytest.mark.parametrize("target", ["preview:x", "preview:-1", "preview:99999"])
def test_a_port_that_is_none(feed: Feed, target: str) -> None:
    with pytest.raises(SinkError, match="preview:PORT"):
        open_preview(feed, target)


def test_a_live_run_writes_into_it_as_into_any_output(feed: Feed) -> None:
    with open_outputs(feed, targets=["preview:0", "null:"]) as sink:
        sink.write(plain(200, width=128, height=72))
        assert sink.status()[0].name.startswith("http://127.0.0.1:")
