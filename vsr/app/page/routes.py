"""What the browser fetches beside the page itself: moving pictures, the camera's way in, files."""

from __future__ import annotations

import asyncio
import contextlib
from pathlib import Path
from typing import Any, Protocol

from starlette.requests import Request
from starlette.responses import FileResponse, JSONResponse, PlainTextResponse, Response
from starlette.routing import BaseRoute, Route, WebSocketRoute
from starlette.types import Receive, Scope, Send
from starlette.websockets import WebSocket

from streams.errors import StreamError
from streams.sources.pushed import PushedSource
from vsr.app.page.conversation import GONE, Conversation, first_of
from vsr.app.page.messages import WIDTHS, MessageError, camera_size, served_width
from vsr.app.page.stage import Pair, Shot, Stage
from vsr.errors import VsrError

ASSETS = Path(__file__).parent / "assets"

_BOUNDARY = b"vsr-frame"
# What a system says of these is what was installed on it last, and a browser runs no script that is called otherwise.
_ASSET_KINDS = {".js": "text/javascript", ".css": "text/css", ".html": "text/html"}
_USUAL_WIDTH = 1280
_MOST_VIEWERS = 32
_CAMERA_LOOK_SECONDS = 0.5
_GOING_AWAY, _REFUSED, _TRY_LATER = 1001, 1008, 1013


class LiveStudio(Protocol):
    """What the routes need of a :class:`vsr.app.page.studio.Studio`."""

    @property
    def stage(self) -> Stage:
        """Where the newest pictures are."""
        ...

    def state(self) -> dict[str, Any]:
        """How everything stands, ready for JSON."""
        ...

    def push_camera(self) -> PushedSource:
        """Where the pictures of a browser's camera go, for one at a time."""
        ...

    def recording(self, token: str, name: str) -> Path | None:
        """The file that belongs to a token and a name."""
        ...


def live_routes(studio: LiveStudio, *, assets: Path = ASSETS) -> list[BaseRoute]:
    """Everything that is served beside Gradio's own; to be put in front of that.

    ======================  ============================================================================
    ``/live/ws``            pictures and state, for as long as the viewer stays
    ``/live.mjpeg``         pictures alone, at most ``width`` columns, where no WebSocket gets through
    ``/live/state``         the state, once
    ``/camera/ws``          the way in for a browser's camera
    ``/files/TOKEN/NAME``   recordings
    ``/assets/NAME``        the browser's side of this; other names are left to Gradio
    ======================  ============================================================================
    """

    async def live(websocket: WebSocket) -> None:
        await websocket.accept()
        if studio.stage.viewers >= _MOST_VIEWERS:
            await _refuse(websocket, f"{_MOST_VIEWERS} are watching already; try again later", code=_TRY_LATER)
            return
        with studio.stage.viewer() as viewer:
            await Conversation(websocket, studio.stage, viewer, state=studio.state).run()

    async def camera(websocket: WebSocket) -> None:
        await websocket.accept()
        with contextlib.suppress(*GONE):
            await _take_camera(websocket, studio)

    async def state(request: Request) -> Response:
        return JSONResponse({"state": await asyncio.to_thread(studio.state)}, headers={"Cache-Control": "no-store"})

    async def file(request: Request) -> Response:
        path = studio.recording(request.path_params["token"], request.path_params["name"])
        if path is None or not path.is_file():
            return PlainTextResponse("there is no such file; it may have been removed", status_code=404)
        return FileResponse(
            path, filename=path.name, content_disposition_type="inline", headers={"Cache-Control": "private, no-cache"}
        )

    async def mjpeg(request: Request) -> Response:
        answer = _mjpeg(studio.stage, request.query_params.get("width"))
        # Who asks for the head alone would wait for its end for ever.
        return Response(media_type=answer.media_type) if request.method == "HEAD" else answer

    return [
        WebSocketRoute("/live/ws", live),
        WebSocketRoute("/camera/ws", camera),
        Route("/live.mjpeg", mjpeg),
        Route("/live/state", state),
        Route("/files/{token}/{name}", file),
        *(_asset(path) for path in sorted(assets.iterdir()) if path.is_file()),
    ]


def _asset(path: Path) -> Route:
    """One route a file: Gradio has a folder of the same name, and what is not here is looked for there."""

    async def serve(request: Request) -> Response:
        return FileResponse(path, media_type=_ASSET_KINDS.get(path.suffix), headers={"Cache-Control": "no-cache"})

    return Route(f"/assets/{path.name}", serve)


def _mjpeg(stage: Stage, asked: str | None) -> Response:
    try:
        width = served_width(float(asked) if asked is not None else _USUAL_WIDTH)
    except (ValueError, MessageError):
        return PlainTextResponse(f"got width {asked!r:.40}, allowed is a number up to {WIDTHS[-1]}", status_code=400)
    if stage.viewers >= _MOST_VIEWERS:
        return PlainTextResponse(f"{_MOST_VIEWERS} are watching already; try again later", status_code=503)
    return _MjpegResponse(stage, width)


class _MjpegResponse(Response):
    """The newest picture, again and again, each in place of the one before."""

    media_type = f"multipart/x-mixed-replace; boundary={_BOUNDARY.decode()}"

    def __init__(self, stage: Stage, width: int) -> None:
        super().__init__(headers={"Cache-Control": "no-store"})
        del self.headers["content-length"]
        self._stage, self._width = stage, width

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Send until the viewer leaves or the stage closes."""
        with contextlib.suppress(OSError):
            await first_of(self._send_all(send), _gone(receive))

    async def _send_all(self, send: Send) -> None:
        with self._stage.viewer() as viewer:
            await send({"type": "http.response.start", "status": self.status_code, "headers": self.raw_headers})
            # The end of a part is where the next one begins: said at once, or the browser waits for it.
            await _send_body(send, b"--" + _BOUNDARY + b"\r\n")
            number = 0
            while not self._stage.closed:
                pair = self._stage.current
                if pair is None or pair.number <= number:
                    await viewer.news()
                    continue
                number = pair.number
                await self._send_one(send, pair)
            await send({"type": "http.response.body", "body": b"", "more_body": False})

    async def _send_one(self, send: Send, pair: Pair) -> None:
        still = await self._stage.develop(pair, Shot(kind="after", width=self._width))
        if still is not None:
            head = f"Content-Type: image/jpeg\r\nContent-Length: {len(still.jpeg)}\r\n\r\n".encode()
            await _send_body(send, head + still.jpeg + b"\r\n--" + _BOUNDARY + b"\r\n")


async def _take_camera(websocket: WebSocket, studio: LiveStudio) -> None:
    """One camera, from its first message to its end."""
    message = await websocket.receive()
    if message["type"] == "websocket.disconnect":
        return
    try:
        camera_size(message.get("text"))
        source = await asyncio.to_thread(studio.push_camera)
        try:
            await first_of(_pass_on(websocket, source), _ended(source))
            if source.over:
                await _refuse(websocket, "the camera is not wanted any more", code=_GOING_AWAY)
        finally:
            source.finish()
    except (MessageError, StreamError, VsrError) as error:
        await _refuse(websocket, str(error))


async def _pass_on(websocket: WebSocket, source: PushedSource) -> None:
    taken = 0
    while (message := await websocket.receive())["type"] != "websocket.disconnect":
        picture = message.get("bytes")
        if picture is None:
            raise MessageError("got text, expected are pictures, each a JPEG")
        if not source.push(picture):
            return
        taken += 1
        await websocket.send_json({"taken": taken})


async def _ended(source: PushedSource) -> None:
    while not source.over:
        await asyncio.sleep(_CAMERA_LOOK_SECONDS)


async def _gone(receive: Receive) -> None:
    while (await receive())["type"] != "http.disconnect":
        pass


async def _send_body(send: Send, body: bytes) -> None:
    await send({"type": "http.response.body", "body": body, "more_body": True})


async def _refuse(websocket: WebSocket, reason: str, *, code: int = _REFUSED) -> None:
    await websocket.send_json({"error": reason})
    await websocket.close(code)
