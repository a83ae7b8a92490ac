"""What players assume of a video that does not say which matrix its colours are made with."""

from __future__ import annotations

from dataclasses import replace

from streams.frame import UNSPECIFIED, PixelFormat

_BT709, _BT601 = 1, 6
# Below as many lines, players take a video that does not say for BT.601.
_HD_LINES = 720


def stated(form: PixelFormat, *, lines: int) -> PixelFormat:
    """``form`` with the matrix that players assume where it states none.

    They go by the number of lines, and the output has more: unsaid, its colours would shift.

    Args:
        form: of the input.
        lines: of the input.
    """
    if form.matrix != UNSPECIFIED or form.subsampling == "gray":
        return form
    return replace(form, matrix=_BT601 if lines < _HD_LINES else _BT709)
