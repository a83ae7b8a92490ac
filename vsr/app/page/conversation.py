"""What is said over a viewer's WebSocket: pictures and state one way, wishes and receipts the other."""

from __future__ import annotations

import asyncio
import json
import logging
import struct
from collections.abc import Callable, Coroutine, Iterator
from time import monotonic, time
from typing import Any

import anyio
from starlette.websockets import WebSocket, WebSocketDisconnect

from vsr.app.page.darkroom import Kind
from vsr.app.page.messages import MessageError, Ping, Shown, View, parse_message
from vsr.app.page.stage import Pair, Shot, Stage, Viewer
from vsr.app.page.stills import Still, shown_size

log = logging.getLogger(__name__)

GONE = (WebSocketDisconnect, RuntimeError, OSError)
"""The ways in which Starlette and its servers say that there is nobody to send to any more."""

_MOST_UNSHOWN = 2
_STATE_SECONDS = 0.5
_GOING_AWAY = 1001
_STEPS = 16
_LENGTH = struct.Struct(">I")


class Conversation:
    """One viewer, from the first word to the last.

    At most two frames are on their way to the screen; what comes meanwhile is passed over for the newest.

    Args:
        websocket: accepted.
        stage: where the pictures are.
        viewer: of that stage.
        state: asked for how everything stands, on a thread; JSON-ready.
    """

    def __init__(
        self, websocket: WebSocket, stage: Stage, viewer: Viewer, *, state: Callable[[], dict[str, Any]]
    ) -> None:
        self._websocket, self._stage, self._viewer, self._state = websocket, stage, viewer, state
        self._sending = asyncio.Lock()
        self._view = View()
        self._unshown: list[int] = []
        self._last: tuple[int, View] | None = None
        self._told_at, self._told = 0.0, -1

    async def run(self) -> None:
        """Talk until the viewer leaves or the stage closes."""
        try:
            await first_of(self._listen(), self._show())
            if self._stage.closed:
                await self._websocket.close(_GOING_AWAY)
        except GONE as error:
            log.debug("a viewer has gone: %r", error)

    async def _listen(self) -> None:
        while (message := await self._websocket.receive())["type"] != "websocket.disconnect":
            text = message.get("text")
            try:
                await self._answer("" if text is None else text)
            except MessageError as error:
                await self._say({"error": str(error)})

    async def _answer(self, text: str) -> None:
        said = parse_message(text)
        if isinstance(said, Ping):
            await self._say({"pong": said.stamp, "now": time()})
            return
        if isinstance(said, Shown):
            self._unshown = [number for number in self._unshown if number > said.number]
        else:
            self._view = said
        self._viewer.wake()

    async def _show(self) -> None:
        while not self._stage.closed:
            wait_seconds = self._told_at + _STATE_SECONDS - monotonic()
            if wait_seconds <= 0 or self._stage.touched != self._told:
                await self._tell()
            elif (pair := self._due()) is not None:
                await self._send(pair, self._view)
            else:
                await self._viewer.news(timeout_seconds=wait_seconds)

    async def _tell(self) -> None:
        self._told_at, self._told = monotonic(), self._stage.touched
        # It may have to wait for a lock that others hold.
        await self._say({"state": await asyncio.to_thread(self._state)})

    def _due(self) -> Pair | None:
        """The pair that all see now, if it is news to this viewer and there is room for it."""
        pair, last = self._stage.current, self._last
        if pair is None or len(self._unshown) >= _MOST_UNSHOWN or last == (pair.number, self._view):
            return None
        # Who looks elsewhere again and again must not keep the others from the next instant.
        another_view = last is not None and last[0] == pair.number
        return None if another_view and self._stage.newest is not pair else pair

    async def _send(self, pair: Pair, view: View) -> None:
        self._last = pair.number, view
        compare = view.compare and self._stage.compares
        parts = await self._developed(pair, view, compare=compare)
        if compare and "before" not in parts:
            parts = await self._developed(pair, view, compare=False)
        if "after" not in parts:
            return
        self._unshown.append(pair.number)
        message = _packed(pair, parts, width=view.width)
        async with self._sending:
            await self._websocket.send_bytes(message)

    async def _developed(self, pair: Pair, view: View, *, compare: bool) -> dict[Kind, Still]:
        shots = list(_shots(view, compare=compare, compares=self._stage.compares))
        stills = await asyncio.gather(*(self._stage.develop(pair, shot) for shot in shots))
        return {shot.kind: still for shot, still in zip(shots, stills, strict=True) if still is not None}

    async def _say(self, message: dict[str, Any]) -> None:
        async with self._sending:
            await self._websocket.send_json(message)


def _shots(view: View, *, compare: bool, compares: bool) -> Iterator[Shot]:
    first, last = _seen(view.divider) if compare else (0.0, 1.0)
    yield Shot(kind="after", width=view.width, span=(first, 1.0))
    if compare:
        yield Shot(kind="before", width=view.width, span=(0.0, last))
    if view.loupe is not None:
        yield Shot(kind="loupe_after", loupe=view.loupe)
        if compares:
            yield Shot(kind="loupe_before", loupe=view.loupe)


def _seen(divider: float | None) -> tuple[float, float]:
    """From where on the picture after is seen, and up to where the one before: viewers nearly alike get the same."""
    if divider is None:
        return 0.0, 1.0
    step = round(divider * _STEPS)
    return max(0, step - 1) / _STEPS, min(_STEPS, step + 1) / _STEPS


def _packed(pair: Pair, parts: dict[Kind, Still], *, width: int) -> bytes:
    """Four bytes of length, a header in JSON, and the JPEGs in the order in which it names them."""
    header = {
        "number": pair.number,
        "age_ms": round(1000 * (monotonic() - pair.arrived), 1),
        "size": shown_size(pair.large, pair.look),
        "canvas": shown_size(pair.large, pair.look, width=width),
        "network": pair.network,
        "parts": [
            {"kind": kind, "bytes": len(still.jpeg), "size": [still.width, still.height], "left": still.left}
            for kind, still in parts.items()
        ],
    }
    head = json.dumps(header).encode()
    return b"".join((_LENGTH.pack(len(head)), head, *(still.jpeg for still in parts.values())))


async def first_of(*works: Coroutine[Any, Any, None]) -> None:
    """Work at all until one is done; the others are cancelled, and have ended when this returns or raises.

    Raises:
        Exception: the first that any of them raised.
    """
    errors: list[Exception] = []
    async with anyio.create_task_group() as group:

        async def do(work: Coroutine[Any, Any, None]) -> None:
            try:
                await work
            except Exception as error:
                errors.append(error)
            group.cancel_scope.cancel()

        for work in works:
            group.start_soon(do, work)
    if errors:
        raise errors[0]
