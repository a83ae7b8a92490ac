"""Which of FFmpeg's pixel formats are frames as they stand, and how the others become frames."""

from __future__ import annotations

import functools
import logging
from dataclasses import dataclass, replace

import av
import numpy as np
from av.video.format import VideoFormat
from av.video.reformatter import ColorRange, Colorspace, Interpolation, VideoReformatter

from streams.errors import SourceError
from streams.frame import ChromaLocation, PixelFormat, Plane, Range, Subsampling
from streams.sources.surfaces import on_host, stored_format

log = logging.getLogger(__name__)

_DEPTHS = (8, 9, 10, 12, 14, 16)
_SUBSAMPLINGS: dict[tuple[int, int], Subsampling] = {(1, 1): "420", (1, 0): "422", (0, 0): "444"}
_QUALITY = (
    Interpolation.BICUBIC
    | Interpolation.FULL_CHR_H_INT
    | Interpolation.FULL_CHR_H_INP
    | Interpolation.ACCURATE_RND
    | Interpolation.BITEXACT
)
_FULL = int(ColorRange.JPEG)
_BT601, _BT709, _BT2020 = 6, 1, 9
_PQ, _HLG = 16, 18
# By code point of H.273, of which two mean BT.601.
_SWS_MATRIX = {
    _BT709: Colorspace.ITU709,
    4: Colorspace.FCC,
    5: Colorspace.ITU601,
    _BT601: Colorspace.ITU601,
    7: Colorspace.SMPTE240M,
    _BT2020: Colorspace.BT2020,
}

# FFmpeg 8's swscale ends the process on these instead of reporting an error.
_CRASHING = frozenset({"yaf32le", "yaf32be"})

_CENTER_CODECS = frozenset({"mpeg1video", "mjpeg", "mjpegb", "ljpeg", "h261", "h263", "h263p", "flv1", "theora", "vp3"})
_UHD_CODECS = frozenset({"hevc", "av1", "vvc"})


@dataclass(frozen=True, slots=True, kw_only=True)
class Layout:
    """The planar layout nearest to one of FFmpeg's formats.

    Attributes:
        name: FFmpeg's name of it.
        subsampling, bit_depth: as in :class:`streams.frame.PixelFormat`.
        native: the format is that layout already; its planes need no conversion.
        rgb: the format is not YUV; a matrix has to be applied.
        alpha: the format has an alpha channel, which the layout has not.
    """

    name: str
    subsampling: Subsampling
    bit_depth: int
    native: bool
    rgb: bool
    alpha: bool


@functools.cache
def layout_of(name: str) -> Layout:
    """The nearest planar layout that keeps all that luma and chroma planes of up to 16 bit can keep."""
    # Subsampling is read off a size that every format divides without a remainder.
    form = VideoFormat(name, 16, 16)
    rgb = form.is_rgb or form.has_palette or name.startswith("xyz")
    colours = [part for part in form.components if not part.is_alpha]
    bits = sum(part.bits for part in colours) if form.is_bayer else max(part.bits for part in colours)
    depth = next((allowed for allowed in _DEPTHS if allowed >= bits), _DEPTHS[-1])
    subsampling: Subsampling = "444"
    if not rgb:
        subsampling = _subsampling(colours[1].width, colours[1].height) if len(colours) > 1 else "gray"
    planar = PixelFormat(subsampling=subsampling, bit_depth=depth).name
    return Layout(
        name=planar,
        subsampling=subsampling,
        bit_depth=depth,
        native=name.replace("yuvj", "yuv") == planar,
        rgb=rgb,
        alpha=len(colours) < len(form.components),
    )


def _subsampling(chroma_width: int, chroma_height: int) -> Subsampling:
    across, down = chroma_width < 16, chroma_height < 16
    # 4:4:0 is the one that has no coarser or equal neighbour among ours.
    return _SUBSAMPLINGS.get((int(across), int(down)), "444")


def pixel_format(frame: av.VideoFrame, codec: str, chroma_location: ChromaLocation | None = None) -> PixelFormat:
    """What the planes of a decoded frame will hold once :class:`Planar` has seen it."""
    layout = layout_of(stored_format(frame))
    full = _is_full(frame) and not layout.rgb
    value_range: Range = "full" if full else "limited"
    return PixelFormat(
        subsampling=layout.subsampling,
        bit_depth=layout.bit_depth,
        range=value_range,
        chroma_location=chroma_location or usual_chroma_location(codec, frame.color_primaries, frame.color_trc),
        matrix=_rgb_matrix(frame) if layout.rgb else frame.colorspace,
        primaries=frame.color_primaries,
        transfer=frame.color_trc,
    )


def usual_chroma_location(codec: str, primaries: int, transfer: int) -> ChromaLocation:
    """Where the chroma samples of 4:2:0 lie in streams of a codec, as PyAV does not pass on what the stream says.

    Centre: MPEG-1 (ISO/IEC 11172-2), JPEG (JFIF 1.02), H.261 and H.263 (their section 4.1), Theora (its section 4.4).
    Top left: BT.2020 with PQ or HLG in a codec of ultra-high definition (ITU-R BT.2100, table 6; ETSI TS 101 154).
    Left: the default of MPEG-2, MPEG-4, H.264 and HEVC (``chroma_sample_loc_type`` 0), and what VP8 and VP9, whose
    specifications are silent, are taken for by players.
    """
    if codec in _CENTER_CODECS:
        return "center"
    if codec in _UHD_CODECS and primaries == _BT2020 and transfer in (_PQ, _HLG):
        return "topleft"
    return "left"


def is_as(frame: av.VideoFrame, width: int, height: int, form: PixelFormat) -> bool:
    """Whether a frame needs no conversion but of its layout to be of a size and a format."""
    same = (frame.width, frame.height, layout_of(stored_format(frame)).name) == (width, height, form.name)
    return same and _is_full(frame) == (form.range == "full") and not _matrix_change(frame, form)


def planes_of(frame: av.VideoFrame, form: PixelFormat) -> tuple[Plane, ...]:
    """Views of the planes of a frame that is in the planar layout of ``form``; they keep the frame's memory alive."""
    return tuple(_view(frame, index, form) for index in range(form.plane_count))


def _view(frame: av.VideoFrame, index: int, form: PixelFormat) -> Plane:
    plane = frame.planes[index]
    rows, columns = form.plane_shape(index, frame.width, frame.height)
    samples: Plane = np.frombuffer(memoryview(plane), np.dtype(form.dtype))
    lines = samples.reshape(-1, abs(plane.line_size) // samples.itemsize)
    # A negative line size: the picture is stored bottom-up.
    return (lines if plane.line_size > 0 else lines[::-1])[:rows, :columns]


class Planar:
    """Brings decoded frames into a planar layout and a size, and says so in the log once per kind of change.

    Holds its scalers, so that no frame sets one up anew.
    """

    def __init__(self) -> None:
        self._layout_scaler = VideoReformatter()
        self._size_scaler = VideoReformatter()
        self._from_gray = VideoReformatter()
        self._to_gray = VideoReformatter()
        self._told: set[str] = set()

    def to_planar(self, frame: av.VideoFrame) -> av.VideoFrame:
        """The frame itself where its layout is native, else a conversion to the nearest that is; on the host.

        Raises:
            SourceError: for a format that FFmpeg cannot convert.
        """
        frame = on_host(frame)
        name = frame.format.name
        layout = layout_of(name)
        if layout.native:
            return frame
        self._tell(f"converting {name} to {layout.name}", drops="the alpha channel" if layout.alpha else None)
        matrix = _SWS_MATRIX[_rgb_matrix(frame)] if layout.rgb else None
        source_range, target_range = (_FULL, int(ColorRange.MPEG)) if layout.rgb else (_range(frame), _range(frame))
        return _scale(
            self._layout_scaler,
            frame,
            format=layout.name,
            dst_colorspace=matrix,
            src_color_range=source_range,
            dst_color_range=target_range,
        )

    def to_geometry(self, frame: av.VideoFrame, width: int, height: int, form: PixelFormat) -> av.VideoFrame:
        """A planar frame in the size, layout, range and matrix of the first, as it is already in nearly every stream.

        A matrix that one of the two does not state is taken for the same.
        """
        if is_as(frame, width, height, form):
            return frame
        name = frame.format.name
        target_range = _FULL if form.range == "full" else int(ColorRange.MPEG)
        matrices = _matrix_change(frame, form)
        now = f"{frame.width}×{frame.height} {name} {'full' if _is_full(frame) else 'limited'}"
        self._tell(
            f"the picture changes from {width}×{height} {form.name} {form.range} to {now}"
            f"{' in another matrix' if matrices else ''} on the way; it is scaled to the first"
        )
        # The scaler takes every gray format for full range, whatever it is told: ranges change in 4:4:4.
        value_range, wide = _range(frame), replace(form, subsampling="444").name
        if name.startswith("gray"):
            frame = _scale(self._from_gray, frame, format=wide, src_color_range=_FULL, dst_color_range=_FULL)
        gray = form.subsampling == "gray"
        frame = _scale(
            self._size_scaler,
            frame,
            width=width,
            height=height,
            format=wide if gray else form.name,
            src_color_range=value_range,
            dst_color_range=target_range,
            **matrices,
        )
        if gray:
            frame = _scale(self._to_gray, frame, format=form.name, src_color_range=_FULL, dst_color_range=_FULL)
            frame.color_range = target_range
        return frame

    def _tell(self, text: str, *, drops: str | None = None) -> None:
        kind = text.split(" ", 2)[0]
        if text in self._told or (kind == "the" and kind in self._told):
            return
        self._told |= {text, kind}
        if drops:
            log.warning("%s: %s is dropped", text, drops)
        else:
            log.info("%s", text)


def _scale(scaler: VideoReformatter, frame: av.VideoFrame, **target: object) -> av.VideoFrame:
    try:
        if frame.format.name in _CRASHING:
            raise ValueError("known to crash")
        # More than one thread damages rows of pictures with an odd height (seen with PyAV 18.1).
        return scaler.reformat(frame, interpolation=_QUALITY, threads=1, **target)  # type: ignore[arg-type]
    except (av.FFmpegError, ValueError) as error:
        raise SourceError(
            f"got pictures of {frame.width}×{frame.height} {frame.format.name}, which FFmpeg cannot convert to "
            f"{target.get('format')}; try to convert the file first"
        ) from error


def _is_full(frame: av.VideoFrame) -> bool:
    return frame.color_range == _FULL or frame.format.name.startswith("yuvj")


def _range(frame: av.VideoFrame) -> int:
    return _FULL if _is_full(frame) else int(ColorRange.MPEG)


def _matrix_change(frame: av.VideoFrame, form: PixelFormat) -> dict[str, object]:
    """From which matrix to which, as the scaler's arguments; empty where they are the same or one is not known."""
    source, target = _SWS_MATRIX.get(frame.colorspace), _SWS_MATRIX.get(form.matrix)
    if form.subsampling == "gray" or source is None or target is None or source == target:
        return {}
    return {"src_colorspace": source, "dst_colorspace": target}


def _rgb_matrix(frame: av.VideoFrame) -> int:
    return _BT601 if frame.height < 720 else _BT709
