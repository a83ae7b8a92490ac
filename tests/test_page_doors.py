"""What visitors may ask of Gradio: files of the machine, addresses, and floods are kept from it."""

from __future__ import annotations

import json
import shutil
import socket
import urllib.error
import urllib.request
from collections.abc import Iterator
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import pytest
from stubs import wait_for

from vsr.app.live import LiveOptions

if find_spec("gradio") is None:  # without importing it, which takes seconds
    pytest.skip("the page is an extra: pip install 'vsr[page]'", allow_module_level=True)

from vsr.app.page import connections, doors
from vsr.app.page.forms import FieldCounter
from vsr.app.page.server import PageServer, gradio_at_home, open_page
from vsr.app.page.studio import Studio

_MOST = 10**6
_EDGE = "vsr-edge"


@pytest.fixture(scope="module")
def page(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Studio, PageServer, Path]]:
    from gradio.utils import get_upload_folder

    studio = Studio(options=LiveOptions(model="bicubic", threads=1), recordings=tmp_path_factory.mktemp("recordings"))
    with gradio_at_home(), open_page(studio, host="127.0.0.1", port=0, max_upload_bytes=_MOST) as server:
        yield studio, server, Path(get_upload_folder())
        studio.close()


def post(url: str, body: Any, *, kind: str = "application/json") -> tuple[int, str]:
    data = body if isinstance(body, bytes) else json.dumps(body).encode()
    try:
        asked = urllib.request.Request(url, data=data, headers={"Content-Type": kind})
        with urllib.request.urlopen(asked, timeout=20) as answer:
            return answer.status, answer.read().decode()
    except urllib.error.HTTPError as error:
        return error.code, error.read().decode()


def upload(server: PageServer, data: bytes, *, name: str = "clip.mkv") -> tuple[int, str]:
    return post(f"{server.url}gradio_api/upload", _form(data, name), kind=f"multipart/form-data; boundary={_EDGE}")


def _form(data: bytes, name: str) -> bytes:
    head = f'--{_EDGE}\r\nContent-Disposition: form-data; name="files"; filename="{name}"\r\n\r\n'
    return head.encode() + data + f"\r\n--{_EDGE}--\r\n".encode()


def function_indices(server: PageServer) -> dict[str, int]:
    """The page's functions by name."""
    with urllib.request.urlopen(f"{server.url}config", timeout=20) as answer:
        return {one["api_name"]: one["id"] for one in json.load(answer)["dependencies"]}


def call(server: PageServer, function: str, *data: Any) -> tuple[int, str]:
    """Have Gradio call one of the page's functions, and return how that ended."""
    said = {"data": data, "fn_index": function_indices(server)[function], "session_hash": f"s{len(data)}"}
    code, text = post(f"{server.url}gradio_api/queue/join", said)
    if code != 200:
        return code, text
    with urllib.request.urlopen(f"{server.url}gradio_api/queue/data?session_hash=s{len(data)}", timeout=30) as lines:
        return code, next(line.decode() for line in lines if b"process_completed" in line)


def named(path: object) -> dict[str, Any]:
    return {"path": str(path), "orig_name": "clip.mkv", "meta": {"_type": "gradio.FileData"}}


@pytest.mark.parametrize("kind", ["file", "climb", "link", "address", "folder", "nothing"])
def test_no_file_of_the_server_is_taken_for_an_upload(
    page: tuple[Studio, PageServer, Path], clip: Path, kind: str
) -> None:
    _, server, folder = page
    (folder / "link.mkv").unlink(missing_ok=True)
    (folder / "link.mkv").symlink_to(clip)
    path = {
        "file": clip,
        "climb": f"{folder}/../{'../' * 20}{clip}",
        "link": folder / "link.mkv",
        "address": "http://127.0.0.1:9/clip.mkv",
        "folder": folder.parent,
        "nothing": "/nonesuch/clip.mkv",
    }[kind]
    before = set(folder.rglob("*"))
    assert call(server, "_take", named(path))[0] == 403
    assert call(server, "_enlarge", named(path), "bicubic", 2, None)[0] == 403
    assert call(server, "_enlarge", [{"deep": named(path)}], "bicubic", 2, None)[0] == 403
    assert set(folder.rglob("*")) == before
    assert clip.exists()


def test_gradio_itself_checks_too(page: tuple[Studio, PageServer, Path], clip: Path, monkeypatch: Any) -> None:
    monkeypatch.setattr(doors.Doors, "_is_upload", lambda self, path: True)
    code, text = call(page[1], "_take", named(clip))
    assert code == 200
    assert '"success":false' in text
    assert "upload:" not in text


def test_an_upload_is_taken(page: tuple[Studio, PageServer, Path], clip: Path) -> None:
    code, text = upload(page[1], clip.read_bytes())
    assert code == 200
    code, text = call(page[1], "_take", named(json.loads(text)[0]))
    assert '"success":true' in text
    assert "upload:" in text


def test_who_takes_an_upload_leaves_the_same_one_of_another(page: tuple[Studio, PageServer, Path], clip: Path) -> None:
    paths = [Path(json.loads(upload(page[1], clip.read_bytes())[1])[0]) for _ in range(2)]
    assert [path.name for path in paths] == ["clip.mkv"] * 2
    for path in paths:
        assert path.is_relative_to(page[2])
        assert '"success":true' in call(page[1], "_take", named(path))[1]
        assert not path.exists()


@pytest.mark.parametrize(
    "path", ["process_recording", "component_server", "run/_start", "call/_start", "vibe-edit", "../login", "nonesuch"]
)
def test_what_the_page_does_not_use_is_not_there(page: tuple[Studio, PageServer, Path], path: str) -> None:
    assert post(f"{page[1].url}gradio_api/{path}", {"data": []})[0] == 404


@pytest.mark.parametrize("path", ["gradio_api/deep_link?session_hash=x", "gradio_api/proxy=http://127.0.0.1/", "runs"])
def test_nor_what_is_only_to_be_read(page: tuple[Studio, PageServer, Path], path: str) -> None:
    with pytest.raises(urllib.error.HTTPError, match="404"):
        urllib.request.urlopen(f"{page[1].url}{path}", timeout=20)


@pytest.mark.parametrize(
    ("body", "code"), [(b" " * (1 << 19), 413), (b"[" * 100_000, 400), (b"\xff", 400), (b'{"data":', 400)]
)
@pytest.mark.parametrize("path", ["queue/join", "run/predict"])
def test_words_are_few_and_json(page: tuple[Studio, PageServer, Path], path: str, body: bytes, code: int) -> None:
    assert post(f"{page[1].url}gradio_api/{path}", body)[0] == code


def test_beside_the_queue_the_same_holds(page: tuple[Studio, PageServer, Path], clip: Path) -> None:
    known = function_indices(page[1])
    said = {"data": [named(clip)], "fn_index": known["_take"], "session_hash": "s"}
    assert post(f"{page[1].url}gradio_api/run/predict", said)[0] == 403
    said = {"data": ["", "", "bicubic", 2, "auto"], "fn_index": known["_start"], "session_hash": "s"}
    assert post(f"{page[1].url}gradio_api/run/predict", said)[0] >= 400
    assert page[0].state()["phase"] == "idle"
    said = {"data": [""], "fn_index": known["_agree"], "session_hash": "s"}
    assert post(f"{page[1].url}gradio_api/run/predict", said)[0] == 200


def test_a_request_that_says_it_is_too_large_is_refused_at_once(page: tuple[Studio, PageServer, Path]) -> None:
    with socket.create_connection(("127.0.0.1", page[1].port), timeout=20) as flood:
        # As many small files as it wants, but not more in all than one may have.
        flood.sendall(
            f"POST /gradio_api/upload HTTP/1.1\r\nHost: localhost:{page[1].port}\r\nContent-Length: {2 * _MOST}\r\n"
            f"Content-Type: multipart/form-data; boundary={_EDGE}\r\n\r\n".encode()
        )
        assert b" 413 " in flood.recv(4096).split(b"\r\n")[0]


def test_an_upload_without_a_length_is_counted(page: tuple[Studio, PageServer, Path]) -> None:
    with socket.create_connection(("127.0.0.1", page[1].port), timeout=20) as flood:
        flood.sendall(
            f"POST /gradio_api/upload HTTP/1.1\r\nHost: localhost:{page[1].port}\r\nTransfer-Encoding: chunked\r\n"
            f"Content-Type: multipart/form-data; boundary={_EDGE}\r\n\r\n".encode()
        )
        head = f'--{_EDGE}\r\nContent-Disposition: form-data; name="files"; filename="clip.mkv"\r\n\r\n'.encode()
        chunk = b"x" * 50_000
        flood.sendall(b"%x\r\n%s\r\n" % (len(head), head))
        for _ in range(_MOST // len(chunk) + 2):
            flood.sendall(b"%x\r\n%s\r\n" % (len(chunk), chunk))
        assert b" 413 " in flood.recv(4096).split(b"\r\n")[0]


def test_only_files_may_be_large(page: tuple[Studio, PageServer, Path]) -> None:
    def field(size: int) -> bytes:
        return f'--{_EDGE}\r\nContent-Disposition: form-data; name="note"\r\n\r\n{"x" * size}\r\n'.encode()

    kind, url = f"multipart/form-data; boundary={_EDGE}", f"{page[1].url}gradio_api/upload"
    assert post(url, field(4000) + _form(b"y" * 100_000, "clip.mkv"), kind=kind)[0] == 200
    for fields in (field(5000), field(3000) * 2):
        code, text = post(url, fields + _form(b"y" * 100_000, "clip.mkv"), kind=kind)
        assert code == 413
        assert "no file" in text


def test_an_upload_is_one_file(page: tuple[Studio, PageServer, Path]) -> None:
    _, server, folder = page
    before = set(folder.iterdir())
    two = _form(b"x", "a.mkv").removesuffix(f"--{_EDGE}--\r\n".encode()) + _form(b"y", "b.mkv")
    code, text = post(f"{server.url}gradio_api/upload", two, kind=f"multipart/form-data; boundary={_EDGE}")
    assert code == 413
    assert "one file" in text
    assert set(folder.iterdir()) == before


@pytest.mark.parametrize("size", [1, 7, 1000])
def test_bytes_of_fields_are_counted_however_they_come(size: int) -> None:
    head = f'--{_EDGE}\r\nConTent-disposition: form-data; name="filename"\r\n\r\n'.encode()
    body = head + b"\r\n--" * 50 + b"\r\n" + _form(b"z" * 3000, "a; b.mkv")
    counter = FieldCounter(f"multipart/form-data; boundary={_EDGE}")
    for start in range(0, len(body), size):
        counter.feed(body[start : start + size])
    assert (counter.total, counter.files) == (200, 1)


@pytest.mark.parametrize("kind", ["", "text/plain", "multipart/form-data"])
def test_what_is_no_form_has_no_fields(kind: str) -> None:
    counter = FieldCounter(kind)
    for _ in range(3):
        counter.feed(b"no form at all")
    assert counter.total == counter.files == 0


@pytest.mark.parametrize(
    ("body", "edge"),
    [
        (b"no form at all", _EDGE),
        (_form(b"x", "clip.mkv"), "e" * 500),
        (_form(b"x", "clip.mkv").replace(b'; filename="clip.mkv"', b""), _EDGE),
        (_form(b"x", "clip.mkv").replace(b"Content-Disposition:", b"Content-Disposition"), _EDGE),
    ],
    ids=["no parts", "a boundary that is too long", "a file without a name", "a header without a colon"],
)
@pytest.mark.parametrize("query", ["", "?upload_id=1"])
def test_a_broken_upload_is_refused(page: tuple[Studio, PageServer, Path], body: bytes, edge: str, query: str) -> None:
    kind = f"multipart/form-data; boundary={edge}"
    code, text = post(f"{page[1].url}gradio_api/upload{query}", body, kind=kind)
    assert code == 400
    assert "that upload is broken" in text
    assert "\n" not in text


def test_an_upload_that_breaks_off_leaves_nothing(page: tuple[Studio, PageServer, Path]) -> None:
    _, server, folder = page
    with socket.create_connection(("127.0.0.1", server.port), timeout=20) as flood:
        flood.sendall(
            f"POST /gradio_api/upload HTTP/1.1\r\nHost: localhost:{server.port}\r\nContent-Length: 900000\r\n"
            f"Content-Type: multipart/form-data; boundary={_EDGE}\r\n\r\n".encode()
            + _form(b"x" * 100_000, "clip.mkv")[:-14]
        )
        wait_for(lambda: any(folder.glob("tmp*")))
    wait_for(lambda: not any(folder.glob("tmp*")))


def test_an_upload_that_stands_still_is_given_up(
    page: tuple[Studio, PageServer, Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(connections, "BODY_SECONDS", 0.3)
    _, server, folder = page
    with socket.create_connection(("127.0.0.1", server.port), timeout=20) as slow:
        slow.sendall(
            f"POST /gradio_api/upload HTTP/1.1\r\nHost: localhost:{server.port}\r\nContent-Length: 900000\r\n"
            f"Content-Type: multipart/form-data; boundary={_EDGE}\r\n\r\n".encode()
            + _form(b"x" * 100, "clip.mkv")[:-14]
        )
        assert b" 408 " in slow.recv(4096).split(b"\r\n")[0]
    wait_for(lambda: not any(folder.glob("tmp*")))


def test_the_disk_is_not_filled(page: tuple[Studio, PageServer, Path], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(doors, "_SPARE_BYTES", 10**18)
    monkeypatch.setattr(doors, "_SPARE_PART", 1.1)
    code, text = upload(page[1], b"x" * 1000)
    assert code == 507
    assert "no room" in text


def test_a_disk_that_fills_during_an_upload_ends_it(
    page: tuple[Studio, PageServer, Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    used = shutil.disk_usage(page[2])
    looks = iter([used, used._replace(free=0)])
    monkeypatch.setattr(doors, "_LOOK_BYTES", 0)
    monkeypatch.setattr(shutil, "disk_usage", lambda folder: next(looks))
    code, text = upload(page[1], b"x" * 1000)
    assert (code, next(looks, None)) == (507, None)
    assert "no room" in text
