"""What may be asked of Gradio: the requests of our own page, of bounded size, and files that were uploaded."""

from __future__ import annotations

import json
import re
import shutil
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from http import HTTPStatus
from pathlib import Path
from tempfile import mkdtemp
from typing import Any

from python_multipart.exceptions import FormParserError
from starlette.datastructures import Headers, MutableHeaders
from starlette.exceptions import HTTPException
from starlette.responses import PlainTextResponse
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from vsr.app.page.forms import FieldCounter

# Gradio serves much more, among it what runs FFmpeg on any file, and all that it will have in its next version.
_READ = re.compile(
    r"/(|config|theme\.css|favicon\.ico|manifest\.json|robots\.txt|live\.mjpeg|live/state)"
    r"|/(static|assets|svelte|files)/.+"
    r"|/gradio_api/(info|app_id|startup-events|theme\.css|upload_progress|queue/(data|status)|heartbeat/.+|file=.+)"
)
_TOLD = frozenset(f"/gradio_api/{path}" for path in ("queue/join", "run/predict", "cancel", "reset"))
_UPLOAD = "/gradio_api/upload"

_MOST_TOLD = 1 << 18
_FRAME_OF_UPLOAD = 1 << 16
"""Bytes of an upload that are not the file's."""
_MOST_IN_FIELDS = 1 << 12
"""Bytes of an upload that Gradio would keep in memory."""
_SPARE_BYTES, _SPARE_PART = 2 * 10**9, 0.1
_LOOK_BYTES = 1 << 26


class Doors:
    """Keeps from Gradio what its page does not ask for.

    What a visitor says may name files, as uploads are named once they are there. Gradio opens any file of the machine,
    and any address, that is named in that way; here it has to be one of the folder of uploads.

    Args:
        app: Gradio's, and what else is served to pages.
        folder: where uploads are.
        max_upload_bytes: of one file; each comes by itself.
        uploads: the paths that Gradio removes after a while; kept up to date.
    """

    def __init__(self, app: ASGIApp, *, folder: Path, max_upload_bytes: int, uploads: set[str]) -> None:
        self._app, self._folder, self._uploads = app, folder, uploads
        self._most_uploaded = max_upload_bytes + _FRAME_OF_UPLOAD
        self._uploading = 0

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """As an application of ASGI."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        path, reads = scope["path"], scope["method"] in ("GET", "HEAD")
        try:
            if reads and _READ.fullmatch(path):
                await self._app(scope, receive, send)
            elif scope["method"] == "POST" and path in _TOLD:
                await self._app(scope, _again(await self._told(receive), receive), send)
            elif scope["method"] == "POST" and path == _UPLOAD:
                await self._upload(scope, receive, send)
            else:
                raise HTTPException(HTTPStatus.NOT_FOUND, "there is nothing here")
        except HTTPException as error:
            await PlainTextResponse(error.detail, status_code=error.status_code)(scope, receive, send)

    async def _told(self, receive: Receive) -> bytes:
        """The body of a request in JSON, whose files are uploads."""
        body = bytearray()
        while (message := await receive())["type"] == "http.request":
            body += message.get("body", b"")
            if len(body) > _MOST_TOLD:
                raise HTTPException(HTTPStatus.REQUEST_ENTITY_TOO_LARGE, f"allowed are {_MOST_TOLD} bytes")
            if not message.get("more_body", False):
                break
        try:
            said = json.loads(body)
        except (ValueError, RecursionError) as error:
            raise HTTPException(HTTPStatus.BAD_REQUEST, "expected is JSON") from error
        if not all(self._is_upload(path) for path in _paths(said)):
            raise HTTPException(HTTPStatus.FORBIDDEN, "allowed are files that were uploaded")
        return bytes(body)

    def _is_upload(self, path: Any) -> bool:
        if not isinstance(path, str):
            return False
        try:
            return Path(path).is_absolute() and Path(path).resolve(strict=True).is_relative_to(self._folder.resolve())
        except (OSError, ValueError, RuntimeError):
            return False

    async def _upload(self, scope: Scope, receive: Receive, send: Send) -> None:
        stated = Headers(scope=scope).get("content-length", "")
        self._check_size(int(stated) if re.fullmatch(r"\d{1,18}", stated) else 0)
        self._check_disk()
        self._uploading += 1
        try:
            with _refused_if_broken():
                fields = FieldCounter(Headers(scope=scope).get("content-type", ""))
            await self._app(scope, self._counted(receive, fields), self._set_apart(send))
        finally:
            self._uploading -= 1
            if not self._uploading:
                self._sweep()

    def _counted(self, receive: Receive, fields: FieldCounter) -> Receive:
        total, looked = 0, 0

        async def receive_counted() -> Message:
            nonlocal total, looked
            message = await receive()
            body = message.get("body", b"")
            total += len(body)
            self._check_size(total)
            with _refused_if_broken():
                fields.feed(body)
            if fields.total > _MOST_IN_FIELDS:
                detail = f"got more than {_MOST_IN_FIELDS} bytes that are no file; send the file with its name"
                raise HTTPException(HTTPStatus.REQUEST_ENTITY_TOO_LARGE, detail)
            if fields.files > 1:
                raise HTTPException(HTTPStatus.REQUEST_ENTITY_TOO_LARGE, "allowed is one file at a time")
            if total - looked > _LOOK_BYTES:
                looked = total
                self._check_disk()
            return message

        return receive_counted

    def _set_apart(self, send: Send) -> Send:
        """Give each upload a place of its own: by Gradio the same file from two visitors is one, taken by the first."""
        begun: list[Message] = []
        body = bytearray()

        async def send_changed(message: Message) -> None:
            if message["type"] != "http.response.body":
                begun.append(message)
                return
            body.extend(message.get("body", b""))
            if message.get("more_body", False):
                return
            answer = bytes(body)
            if begun and begun[0]["status"] == HTTPStatus.OK:
                answer = json.dumps([self._own_place(path) for path in json.loads(answer)]).encode()
                MutableHeaders(scope=begun[0])["content-length"] = str(len(answer))
            for one in begun:
                await send(one)
            await send({"type": "http.response.body", "body": answer})

        return send_changed

    def _own_place(self, path: str) -> str:
        folder = Path(mkdtemp(prefix="upload-", dir=self._folder))
        own = folder / Path(path).name
        with suppress(OSError):
            Path(path).rename(own)
            Path(path).parent.rmdir()
        if not own.exists():
            return path
        self._uploads.discard(path)
        self._uploads.add(str(own))
        return str(own)

    def _check_size(self, size: int) -> None:
        if size > self._most_uploaded:
            raise HTTPException(HTTPStatus.REQUEST_ENTITY_TOO_LARGE, "that file is larger than this server takes")

    def _check_disk(self) -> None:
        disk = shutil.disk_usage(self._folder)
        if disk.free < min(_SPARE_BYTES, _SPARE_PART * disk.total):
            raise HTTPException(HTTPStatus.INSUFFICIENT_STORAGE, "the server has no room left for clips; try later")

    def _sweep(self) -> None:
        # Gradio forgets what it has of an upload that broke off. Those that ended well lie in folders of their own.
        for path in self._folder.glob("tmp*"):
            with suppress(OSError):
                path.unlink()


@contextmanager
def _refused_if_broken() -> Iterator[None]:
    try:
        yield
    except FormParserError as error:
        detail = f"that upload is broken ({error}); send one file as multipart/form-data"
        raise HTTPException(HTTPStatus.BAD_REQUEST, detail) from error


def _paths(said: Any) -> Iterator[Any]:
    """Everything in it that is called a path."""
    rest = [said]
    while rest:
        value = rest.pop()
        if isinstance(value, Mapping):
            if "path" in value:
                yield value["path"]
            rest += value.values()
        elif isinstance(value, list):
            rest += value


def _again(body: bytes, receive: Receive) -> Receive:
    """As if it came now, and then what comes."""
    messages: list[Message] = [{"type": "http.request", "body": body, "more_body": False}]

    async def receive_again() -> Message:
        return messages.pop() if messages else await receive()

    return receive_again
