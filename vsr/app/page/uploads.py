"""What may be taken from a stranger: files that hold their video themselves, and name no others."""

from __future__ import annotations

import re
from pathlib import Path

import av

from vsr.app.page.words import PageError

# Not playlists, which make FFmpeg open whatever they name: files of this machine, or of hosts that only it can reach.
_FORMATS = """
    mov mp4 matroska webm avi mpegts mpeg mpegvideo m4v h264 hevc vc1 obu ivf flv asf ogg mxf nut dv gxf wtv rm gif apng
    yuv4mpegpipe
"""


def check_clip(path: Path) -> None:
    """Make sure that a file may be opened as a video.

    Raises:
        PageError: it holds no video, or refers to other files.
    """
    options = {"format_whitelist": ",".join(_FORMATS.split()), "protocol_whitelist": "file"}
    try:
        # With its scheme: FFmpeg would take what is before a colon in the name for one.
        with av.open(f"file:{path}", options=options, metadata_errors="replace") as container:
            has_video = container.streams.best("video") is not None
    except (av.FFmpegError, OSError, ValueError) as error:
        raise PageError(
            "that is not a video file that is taken here; try MP4, MOV, MKV or WebM, and no playlist"
        ) from error
    if not has_video:
        raise PageError("there is no video in that file; try another one")


def ending_of(path: Path) -> str:
    """The ending of its name where it is a plain one, else nothing."""
    ending = path.suffix.lower()
    return ending if re.fullmatch(r"\.[a-z0-9]{1,5}", ending) else ""
