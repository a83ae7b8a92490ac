"""What a browser may say, checked: it comes from anybody, and is answered, never trusted."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, NamedTuple, TypeAlias

from vsr.app.page.stills import Loupe

WIDTHS = (480, 960, 1280, 1920, 2560, 3840)
"""Columns of a whole picture: so few that viewers whose windows are nearly alike share their pictures."""

_LEAST_PART, _MOST_PART = 16, 1024
_MOST_SIDE = 8192
_MOST_CHARACTERS = 4096
_USUAL_WIDTH = 1280


class MessageError(ValueError):
    """What was said means nothing here; the message says what was expected."""


@dataclass(frozen=True, slots=True, kw_only=True)
class View:
    """What a viewer wants to see.

    Attributes:
        width: columns at most, of :data:`WIDTHS`.
        compare: also the picture of before.
        divider: up to which share of the width before is seen, and after from there on; None: both are sent whole.
        loupe: a part as well, sample by sample, or None.
    """

    width: int = _USUAL_WIDTH
    compare: bool = False
    divider: float | None = None
    loupe: Loupe | None = None


class Shown(NamedTuple):
    """A frame is on the viewer's screen."""

    number: int


class Ping(NamedTuple):
    """A question for the time; ``stamp`` comes back."""

    stamp: float


Message: TypeAlias = View | Shown | Ping


def parse_message(text: str) -> Message:
    """What a viewer says.

    Raises:
        MessageError: it is none of the three.
    """
    said = _json(text)
    if "view" in said:
        return _view(_mapping(said["view"], "view"))
    if "shown" in said:
        return Shown(int(_number(said["shown"], "shown")))
    if "ping" in said:
        return Ping(_number(said["ping"], "ping"))
    raise MessageError("got a message without view, shown or ping; one of these is expected")


def camera_size(text: str | None) -> tuple[int, int]:
    """(width, height) that a camera begins with, of the message that it introduces itself with.

    Raises:
        MessageError: it does not, or with a size that no camera has.
    """
    if text is None:
        raise MessageError('got a picture first; expected is {"camera": {"width": …, "height": …}}')
    camera = _mapping(_json(text).get("camera"), "camera")
    width, height = (int(_number(camera.get(side), side)) for side in ("width", "height"))
    if not (0 < width <= _MOST_SIDE and 0 < height <= _MOST_SIDE):
        raise MessageError(f"got a camera of {width}×{height}, allowed are sides from 1 to {_MOST_SIDE}")
    return width, height


def served_width(width: object) -> int:
    """The least of :data:`WIDTHS` that is no less than what is asked for, or the largest.

    Raises:
        MessageError: it is no number.
    """
    asked = _number(width, "width")
    return next((served for served in WIDTHS if served >= asked), WIDTHS[-1])


def _view(said: Mapping[str, Any]) -> View:
    compare = said.get("compare", False)
    if not isinstance(compare, bool):
        raise MessageError("got a compare that is neither true nor false")
    divider, loupe = said.get("divider"), said.get("loupe")
    return View(
        width=served_width(said.get("width", _USUAL_WIDTH)),
        compare=compare,
        divider=None if divider is None else _clamped(_number(divider, "divider"), 0.0, 1.0),
        loupe=None if loupe is None else _loupe(_mapping(loupe, "loupe")),
    )


def _loupe(said: Mapping[str, Any]) -> Loupe:
    x, y = (_clamped(_number(said.get(name), name), 0.0, 1.0) for name in ("x", "y"))
    width, height = (
        int(_clamped(_number(said.get(name), name), _LEAST_PART, _MOST_PART)) for name in ("width", "height")
    )
    return Loupe(x=x, y=y, width=width, height=height)


def _json(text: str) -> Mapping[str, Any]:
    if len(text) > _MOST_CHARACTERS:
        raise MessageError(f"got {len(text)} characters, allowed are {_MOST_CHARACTERS}")
    try:
        said = json.loads(text)
    except (ValueError, RecursionError) as error:
        raise MessageError("got what is no JSON") from error
    return _mapping(said, "message")


def _mapping(value: object, name: str) -> Mapping[str, Any]:
    if not isinstance(value, dict):
        raise MessageError(f"got a {name} that is no object")
    return value


def _number(value: object, name: str) -> float:
    # JSON as Python reads it has numbers without a bound, and some that are none.
    if isinstance(value, bool) or not isinstance(value, int | float) or not -1e15 < value < 1e15:
        raise MessageError(f"got a {name} that is no number, or too large a one")
    return value


def _clamped(value: float, least: float, most: float) -> float:
    return min(max(value, least), most)
