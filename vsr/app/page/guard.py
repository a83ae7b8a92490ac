"""Who may talk to the server, and what its pages may do: in front of everything, Gradio's own parts as well."""

from __future__ import annotations

import asyncio
import base64
import binascii
import hashlib
import hmac
import ipaddress
import logging
import secrets
import unicodedata
from collections import Counter
from collections.abc import Iterable, Sequence
from urllib.parse import urlsplit

from starlette.datastructures import Headers, MutableHeaders
from starlette.responses import PlainTextResponse
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from vsr.errors import ConfigError

log = logging.getLogger(__name__)

_GUESS_SECONDS, _MOST_GUESSES = 0.25, 8
"""How long the next wrong password waits for the one before, and how many may do so from one address."""
LOOPBACK_NAMES = frozenset({"localhost", "127.0.0.1", "::1"})

# Gradio's page has scripts in itself, which change with what it shows, and its HTML component makes functions of text.
_POLICY = "; ".join(
    (
        "default-src 'self'",
        "script-src 'self' 'unsafe-inline' 'unsafe-eval'",
        "style-src 'self' 'unsafe-inline'",
        "img-src 'self' data: blob:",
        "media-src 'self' blob:",
        "font-src 'self'",
        "connect-src 'self'",
        "worker-src 'self'",
        "object-src 'none'",
        "base-uri 'self'",
        "form-action 'self'",
        "frame-ancestors 'self'",
    )
)
SECURITY_HEADERS = {
    "Content-Security-Policy": _POLICY,
    "X-Content-Type-Options": "nosniff",
    "X-Frame-Options": "SAMEORIGIN",
    "Referrer-Policy": "same-origin",
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Permissions-Policy": "camera=(self), microphone=(), geolocation=(), display-capture=()",
}

_CHALLENGE = 'Basic realm="vsr", charset="UTF-8"'
_ELSEWHERE = frozenset({"cross-site", "same-site"})
_TOKEN_BYTES = 32
_POLICY_VIOLATION = 1008


class Credentials:
    """A name and a password, known by their hash alone: nothing that shows this object shows them."""

    __slots__ = ("_hash",)

    def __init__(self, text: str) -> None:
        """Of ``name:password``; the password may hold colons, and both any characters but controls.

        Raises:
            ConfigError: there is no colon, or nothing on one of its sides.
        """
        name, colon, password = text.partition(":")
        if not (name and colon and password) or any(unicodedata.category(sign) == "Cc" for sign in text):
            # Without what came: half of it may be a password.
            raise ConfigError("got credentials of another form, allowed is NAME:PASSWORD without control characters")
        self._hash = _hash(text)

    def match(self, text: str) -> bool:
        """Whether these are the same, in a time that does not tell how much of them is."""
        return hmac.compare_digest(self._hash, _hash(text))


def allowed_hosts(bound: str) -> frozenset[str] | None:
    """Names by which a browser may address a server that is bound to ``bound``; None: by any.

    A server that only this machine can reach has few names. A page elsewhere whose own name suddenly leads here (DNS
    rebinding) uses another one.
    """
    return LOOPBACK_NAMES | {bound.strip("[]").lower()} if is_loopback(bound) else None


def is_loopback(bound: str) -> bool:
    """Whether only this machine reaches what is bound there."""
    if bound.lower() == "localhost":
        return True
    try:
        return ipaddress.ip_address(bound.strip("[]")).is_loopback
    except ValueError:
        return False


class Guard:
    """Lets in who may, and gives every answer its headers.

    A browser that has shown the right name and password gets a cookie for as long as the server runs: scripts and
    WebSockets of the page then need neither.

    Args:
        app: what is guarded.
        hosts: of :func:`allowed_hosts`.
        credentials: needed for everything; None: for nothing.
    """

    def __init__(
        self, app: ASGIApp, *, hosts: Iterable[str] | None = None, credentials: Credentials | None = None
    ) -> None:
        self._app = app
        self._hosts = None if hosts is None else frozenset(hosts)
        self._credentials = credentials
        self._token = secrets.token_urlsafe(_TOKEN_BYTES)
        # Cookies know no ports: two servers on one machine must not take each other's away.
        self._cookie = f"vsr-{secrets.token_hex(4)}"
        self._guessing = asyncio.Lock()
        self._guesses: Counter[str] = Counter()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """As an application of ASGI."""
        if scope["type"] == "lifespan":
            await self._app(scope, receive, send)
            return
        headers = Headers(scope=scope)
        problem = self._foreign(headers)
        if problem is not None:
            await _refuse(problem, 403, scope, receive, send)
            return
        known = self._credentials is None or self._has_cookie(headers)
        guesses, address = "authorization" in headers, (scope.get("client") or ("unknown",))[0]
        if not known and guesses and self._guesses[address] >= _MOST_GUESSES:
            # Without a look at it: who hangs up need not wait to know that a password was wrong.
            await _refuse("too many wrong passwords; try again in some seconds", 429, scope, receive, send)
            return
        if not known and not self._has_password(headers):
            if guesses:
                await self._hold_up(address)
            await _refuse("a name and a password are needed", 401, scope, receive, send)
            return
        cookie = None if known else self._new_cookie(scope)
        await self._app(scope, receive, _dressed(send, cookie))

    def _foreign(self, headers: Headers) -> str | None:
        """Why a request is not from a page of this server, or None."""
        hosts, origins = headers.getlist("host"), headers.getlist("origin")
        if len(hosts) != 1 or len(origins) > 1:
            return "expected is one Host and at most one Origin"
        if self._hosts is not None and _name(hosts[0]) not in self._hosts:
            return "this server is not known by that name; open it as http://localhost with its port"
        if origins and _place(origins[0]) != hosts[0].lower():
            return "pages of other servers may not use this one"
        # Pictures that another page shows come without an Origin.
        if headers.get("sec-fetch-site") in _ELSEWHERE and headers.get("sec-fetch-mode") != "navigate":
            return "pages of other servers may not use this one"
        return None

    async def _hold_up(self, address: str) -> None:
        """One wrong guess after the other, whoever guesses: a right password does not wait."""
        log.warning("a wrong name or password from %s", address)
        self._guesses[address] += 1
        try:
            async with self._guessing:
                await asyncio.sleep(_GUESS_SECONDS)
        finally:
            self._guesses[address] -= 1
            # Those that are 0 would be kept for ever.
            self._guesses += Counter()

    def _has_cookie(self, headers: Headers) -> bool:
        # By hand: parsers give up at the first cookie that some other server on this machine has written badly.
        for part in ";".join(headers.getlist("cookie")).split(";"):
            name, _, value = part.strip().partition("=")
            if name == self._cookie and hmac.compare_digest(value.encode(), self._token.encode()):
                return True
        return False

    def _has_password(self, headers: Headers) -> bool:
        assert self._credentials is not None
        said = _basic(headers.getlist("authorization"))
        return said is not None and self._credentials.match(said)

    def _new_cookie(self, scope: Scope) -> str:
        secure = "; Secure" if scope["scheme"] in ("https", "wss") else ""
        return f"{self._cookie}={self._token}; Path=/; HttpOnly; SameSite=Strict{secure}"


def _dressed(send: Send, cookie: str | None) -> Send:
    async def send_dressed(message: Message) -> None:
        if message["type"] in ("http.response.start", "websocket.accept", "websocket.http.response.start"):
            message.setdefault("headers", [])
            headers = MutableHeaders(scope=message)
            for name, value in SECURITY_HEADERS.items():
                headers[name] = value
            if cookie is not None:
                headers.append("Set-Cookie", cookie)
        await send(message)

    return send_dressed


async def _refuse(reason: str, status: int, scope: Scope, receive: Receive, send: Send) -> None:
    if scope["type"] == "websocket":
        # Before it is accepted: the browser sees that it is not.
        await send({"type": "websocket.close", "code": _POLICY_VIOLATION, "reason": reason})
        return
    headers = {"Cache-Control": "no-store"} | ({"WWW-Authenticate": _CHALLENGE} if status == 401 else {})
    await PlainTextResponse(reason, status_code=status, headers=headers)(scope, receive, _dressed(send, None))


def _basic(lines: Sequence[str]) -> str | None:
    """Name and password of an Authorization header, with a colon between; None if it has none."""
    if len(lines) != 1:
        return None
    scheme, _, code = lines[0].partition(" ")
    if scheme.lower() != "basic":
        return None
    try:
        return base64.b64decode(code.strip(), validate=True).decode()
    except (binascii.Error, ValueError):
        return None


def _hash(text: str) -> bytes:
    # One letter may be written in several ways; which of them is typed depends on the system.
    return hashlib.sha256(unicodedata.normalize("NFC", text).encode("utf-8", "surrogatepass")).digest()


def _name(host: str) -> str | None:
    """The name in a Host header, without its port."""
    try:
        return urlsplit(f"//{host}").hostname
    except ValueError:
        return None


def _place(origin: str) -> str | None:
    """Name and port in an Origin header, as a Host header has them."""
    scheme, _, place = origin.lower().partition("://")
    return place if scheme in ("http", "https") else None
