"""Connections that end by themselves when the other side does nothing: nobody holds one for ever, or many at once.

uvicorn closes connections that are idle between two requests. Here is what it leaves open: a request that does not come
to its end, and an answer that nobody reads.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable
from http import HTTPStatus
from typing import Any

import h11
from uvicorn.protocols.http.h11_impl import H11Protocol
from uvicorn.protocols.websockets.websockets_sansio_impl import WebSocketsSansIOProtocol

log = logging.getLogger(__name__)

MOST_CONNECTIONS = 320
"""Ten for each viewer that is let in: browsers open up to six at once, and a page has streams besides."""
HEAD_SECONDS = 10.0
"""For a request without its body."""
BODY_SECONDS, LEAST_BODY = 30.0, 1 << 14
"""Within so many seconds at least so many bytes, as long as we take them."""
READ_SECONDS, LEAST_READ = 30.0, 1 << 14
"""Within so many seconds so many bytes of an answer are taken by its reader, or all that there are."""
MOST_UNREAD = 1 << 26
"""With so many bytes nobody waits for a reader any longer."""
_REFUSING_SECONDS = 1.0


class Deadline:
    """Something that happens after a while, unless it is called off.

    Args:
        action: what happens.
    """

    def __init__(self, action: Callable[[], None]) -> None:
        self._action = action
        self._handle: asyncio.TimerHandle | None = None

    @property
    def running(self) -> bool:
        """Whether it is still to come."""
        return self._handle is not None

    def start(self, seconds: float) -> None:
        """Begin to wait; from the beginning where it waits already."""
        self.stop()
        self._handle = asyncio.get_running_loop().call_later(seconds, self._pass)

    def stop(self) -> None:
        """Call it off."""
        if self._handle is not None:
            self._handle.cancel()
            self._handle = None

    def _pass(self) -> None:
        self._handle = None
        self._action()


class _Read(asyncio.Protocol):
    """What has to be read by the other side, or is dropped."""

    transport: asyncio.Transport

    def __init__(self, *args: Any, **options: Any) -> None:
        super().__init__(*args, **options)
        self._not_read = Deadline(self._look_at_unread)
        self._unread = 0

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Watch it from the first byte that is not taken: for its reader even one that is closed waits, for ever."""
        super().connection_made(transport)
        self.transport.set_write_buffer_limits(high=0)

    def pause_writing(self) -> None:
        """The other side has not read everything."""
        super().pause_writing()
        self._begin_unread()

    def resume_writing(self) -> None:
        """It has."""
        super().resume_writing()
        self._not_read.stop()

    def connection_lost(self, exc: Exception | None) -> None:
        """It has ended."""
        self._not_read.stop()
        super().connection_lost(exc)

    def _begin_unread(self) -> None:
        self._unread = self.transport.get_write_buffer_size()
        self._not_read.start(READ_SECONDS)

    def _look_at_unread(self) -> None:
        if self._unread - self.transport.get_write_buffer_size() < LEAST_READ:
            self.transport.abort()
        else:
            self._begin_unread()


class BoundedHttp(_Read, H11Protocol):
    """One connection for requests, as uvicorn makes one."""

    def __init__(self, *args: Any, **options: Any) -> None:
        super().__init__(*args, **options)
        self._slow_head, self._slow_body = Deadline(self._give_up), Deadline(self._look_at_body)
        self._arrived = 0
        self._full = False

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        """Wait for its first request; there may be no room for it."""
        super().connection_made(transport)
        self._full = len(self.connections) > MOST_CONNECTIONS
        self._slow_head.start(_REFUSING_SECONDS if self._full else HEAD_SECONDS)

    def data_received(self, data: bytes) -> None:
        """Take what came, and see for what there is to wait next."""
        if self.transport.is_closing():
            return
        if self._full:
            # Not before: an answer to what was not read yet may be lost.
            self._refuse(HTTPStatus.SERVICE_UNAVAILABLE, "too many connections; try again later")
            return
        self._arrived += len(data)
        super().data_received(data)
        self._watch()

    def on_response_complete(self) -> None:
        """Go on to the next request, which may be here in part."""
        super().on_response_complete()
        self._watch()

    def handle_websocket_upgrade(self, event: h11.Request) -> None:
        """Hand it over; what follows is no request."""
        self._forget()
        if self.flow.write_paused:
            # A WebSocket would never be told when the answers before it are read; browsers begin none with such.
            self.transport.abort()
        else:
            super().handle_websocket_upgrade(event)

    def connection_lost(self, exc: Exception | None) -> None:
        """It has ended."""
        self._forget()
        super().connection_lost(exc)

    def _watch(self) -> None:
        if self.transport.get_protocol() is not self:
            # It is a WebSocket by now.
            return
        state = self.conn.their_state
        if state is not h11.IDLE or self.timeout_keep_alive_task is not None:
            self._slow_head.stop()
        elif not self._slow_head.running:
            self._slow_head.start(HEAD_SECONDS)
        if state is not h11.SEND_BODY:
            self._slow_body.stop()
        elif not self._slow_body.running:
            self._begin_body()

    def _begin_body(self) -> None:
        self._arrived = 0
        self._slow_body.start(BODY_SECONDS)

    def _look_at_body(self) -> None:
        if self._arrived < LEAST_BODY and not self.flow.read_paused:
            self._give_up()
        else:
            self._begin_body()

    def _give_up(self) -> None:
        """End it; browsers open connections in advance, and need no answer on those that they do not use."""
        if self.conn.their_state is h11.IDLE and not self.conn.trailing_data[0]:
            self.transport.close()
        else:
            self._refuse(HTTPStatus.REQUEST_TIMEOUT, "the request came too slowly; try again")

    def _refuse(self, status: HTTPStatus, words: str) -> None:
        log.debug("refused a connection from %s: %s", self.client, words)
        self._forget()
        if self.conn.our_state in (h11.IDLE, h11.SEND_RESPONSE):
            headers = f"Content-Type: text/plain; charset=utf-8\r\nContent-Length: {len(words)}\r\nConnection: close"
            self.transport.write(f"HTTP/1.1 {status.value} {status.phrase}\r\n{headers}\r\n\r\n{words}".encode())
        self.transport.close()

    def _forget(self) -> None:
        self._slow_head.stop()
        self._slow_body.stop()


class BoundedWebSocket(_Read, WebSocketsSansIOProtocol):
    """One WebSocket, as uvicorn makes one."""

    def data_received(self, data: bytes) -> None:
        """Take what came. Pings are answered whether or not the answers are read: not for ever."""
        super().data_received(data)
        if self.transport.get_write_buffer_size() > MOST_UNREAD:
            self.transport.abort()
