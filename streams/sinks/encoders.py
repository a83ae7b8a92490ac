"""The video encoders: their names, what they are given by default, and which of them work on this machine."""

from __future__ import annotations

import logging
import os
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from fractions import Fraction
from functools import cache
from types import MappingProxyType
from typing import Any

import av
from av.codec.context import Flags
from av.codec.hwaccel import HWAccel

from streams.cuda import share_primary_context
from streams.errors import SinkError, UnsupportedStreamError
from streams.frame import PixelFormat
from streams.sinks.hdr import Hdr

log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True, kw_only=True)
class EncoderOptions:
    """What the user asks of the encoder; None leaves it to the defaults below.

    Attributes:
        codec: a name of :data:`ENCODERS` or :data:`ALIASES`, or FFmpeg's name of one of those encoders.
        crf: constant quality on the scale of that encoder, lower is better.
        preset: speed against size, in the words of that encoder.
        pix_fmt: FFmpeg's name of the pixel format to encode; otherwise the nearest that loses nothing.
        threads: how many, otherwise as many as the encoder likes.
        gpu: index of a GPU in whose memory pictures will lie; NVENC then takes them there.
        extra: more options of the encoder, by FFmpeg's names.
    """

    codec: str | None = None
    crf: float | None = None
    preset: str | None = None
    pix_fmt: str | None = None
    threads: int | None = None
    gpu: int | None = None
    extra: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True, kw_only=True)
class Encoder:
    """One encoder.

    ``crf_key`` and ``preset_key`` are its options for quality and speed (None: it has no such), ``params_key`` the
    option that takes private ``key=value:…`` settings, ``fixed`` what is always set, ``limited_only`` that
    every decoder takes its pictures for limited range, ``software`` what takes the place of one of a GPU. Quality goes
    from 0 to ``crf_most``, and ``presets`` are all there are; None and empty leave it to the encoder to refuse.
    """

    name: str
    library: str
    codec: str
    crf_key: str | None = "crf"
    crf: float | None = None
    crf_most: float | None = None
    preset_key: str | None = "preset"
    preset: str | None = None
    presets: tuple[str, ...] = ()
    params_key: str | None = None
    limited_only: bool = False
    software: str | None = None
    fixed: Mapping[str, str] = field(default_factory=dict)


_X26X_PRESETS = (
    *("ultrafast", "superfast", "veryfast", "faster", "fast"),
    *("medium", "slow", "slower", "veryslow", "placebo"),
)


def _hardware(codec: str, family: str) -> Encoder:
    name = f"{codec}_{family}"
    usual = Encoder(name=name, library=name, codec=codec, crf=21, software="h265" if codec == "hevc" else codec)
    if family == "nvenc":
        return replace(usual, crf_key="cq", crf_most=51, preset="p5", fixed={"rc": "vbr"})
    return replace(usual, crf_key="global_quality", preset="medium")


# Qualities at which the loss is hard to see beside the upscaled picture, and presets that keep up with it on a few
# cores: the encoder shares them with the network.
ENCODERS: Mapping[str, Encoder] = MappingProxyType(
    {
        encoder.name: encoder
        for encoder in (
            Encoder(
                name="h264",
                library="libx264",
                codec="h264",
                crf=18,
                crf_most=51,
                preset="veryfast",
                presets=_X26X_PRESETS,
                params_key="x264-params",
            ),
            Encoder(
                name="h265",
                library="libx265",
                codec="hevc",
                crf=20,
                crf_most=51,
                preset="fast",
                presets=_X26X_PRESETS,
                params_key="x265-params",
            ),
            Encoder(
                name="av1",
                library="libsvtav1",
                codec="av1",
                crf=24,
                crf_most=63,
                preset="9",
                presets=tuple(map(str, range(14))),
                params_key="svtav1-params",
            ),
            Encoder(
                name="vp9",
                library="libvpx-vp9",
                codec="vp9",
                crf=24,
                crf_most=63,
                preset_key="cpu-used",
                preset="5",
                presets=tuple(map(str, range(-8, 9))),
                fixed={"deadline": "good", "row-mt": "1"},
            ),
            Encoder(
                name="ffv1",
                library="ffv1",
                codec="ffv1",
                crf_key=None,
                preset_key=None,
                fixed={"level": "3", "slicecrc": "1"},
            ),
            Encoder(
                name="prores",
                library="prores_ks",
                codec="prores",
                crf_key=None,
                preset_key="profile",
                limited_only=True,
            ),
            *(_hardware(codec, family) for family in ("nvenc", "qsv") for codec in ("h264", "hevc", "av1")),
        )
    }
)
ALIASES: Mapping[str, str] = MappingProxyType(
    {"hevc": "h265", "x264": "h264", "x265": "h265", "svtav1": "av1"}
    | {encoder.library: name for name, encoder in ENCODERS.items()}
)

RANGES = MappingProxyType({"limited": 1, "full": 2})
"""FFmpeg's numbers for the range of the samples."""

UNKNOWN_RATE = Fraction(25)
"""What an encoder is told for its rate control where nobody knows the rate; no timestamp depends on it."""


def encoder_named(name: str) -> Encoder:
    """The encoder of a friendly name.

    Raises:
        UnsupportedStreamError: for a name that is not in the table.
    """
    key = name.lower()
    try:
        return ENCODERS[ALIASES.get(key, key)]
    except KeyError:
        raise UnsupportedStreamError(
            f"no encoder is called {name!r}; allowed are {', '.join(ENCODERS)}; "
            f"of these work here {', '.join(available_encoders())}"
        ) from None


def working_encoder(name: str) -> Encoder:
    """The encoder of a name; where it is one of a GPU that does not encode here, the one in software of that codec.

    Raises:
        UnsupportedStreamError: for a name that is not in the table.
    """
    encoder = encoder_named(name)
    if encoder.software is None:
        return encoder
    reason = _refusal(encoder.name)
    if reason is None:
        return encoder
    log.warning("%s does not work here (%s); %s encodes in its place", encoder.name, reason, encoder.software)
    return ENCODERS[encoder.software]


def check_codec(carrier: str, codecs: tuple[str, ...], *, options: EncoderOptions) -> None:
    """See that the encoder asked for, if any, makes one of ``codecs`` (friendly names).

    Raises:
        UnsupportedStreamError: it makes another, which ``carrier`` does not carry, or its name is not known.
    """
    if options.codec is None:
        return
    if encoder_named(options.codec).codec not in {encoder_named(name).codec for name in codecs}:
        raise UnsupportedStreamError(f"{carrier} carries no {options.codec}; allowed are {', '.join(codecs)}")


@cache
def available_encoders() -> tuple[str, ...]:
    """Names of the encoders that encoded a picture here and now. To be listed by FFmpeg proves nothing."""
    return tuple(name for name in ENCODERS if _refusal(name) is None)


def fits(encoder: Encoder, chroma: str, *, width: int, height: int) -> bool:
    """Whether a codec can state that size: H.264 and H.265 crop by whole chroma samples only."""
    if encoder.codec not in ("h264", "hevc") or chroma not in ("420", "422"):
        return True
    return width % 2 == 0 and (chroma == "422" or height % 2 == 0)


@cache
def takes(library: str, pix_fmt: str) -> bool:
    """Whether an encoder opens for a pixel format."""
    try:
        context = _context(library, width=256, height=256, pix_fmt=pix_fmt, rate=UNKNOWN_RATE)
        context.options = {"x265-params": "log-level=none"} if library == "libx265" else {}
        context.open()
    except (av.FFmpegError, ValueError):
        return False
    return True


def open_encoder(
    encoder: Encoder,
    *,
    width: int,
    height: int,
    pix_fmt: str,
    format: PixelFormat,  # noqa: A002
    time_base: Fraction,
    rate: Fraction | None,
    sample_aspect_ratio: Fraction,
    hdr: Hdr,
    options: EncoderOptions,
    gpu: int | None = None,
) -> Any:
    """An open ``av.VideoCodecContext`` that counts time in ``time_base`` and states every colour fact of ``format``.

    With ``gpu`` it takes pictures of ``pix_fmt`` in the memory of that GPU, and others as well.

    Raises:
        SinkError: the encoder refused the size, the format or an option.
    """
    _check_asked(encoder, options)
    context = _context(encoder.library, width=width, height=height, pix_fmt=pix_fmt, rate=rate or UNKNOWN_RATE, gpu=gpu)
    context.time_base = time_base
    context.sample_aspect_ratio = sample_aspect_ratio
    set_colours(context, format)
    context.flags |= Flags.global_header
    context.thread_count = options.threads or 0
    context.options = _settings(encoder, format=format, hdr=hdr, options=options)
    asked = " ".join(f"{key}={value}" for key, value in context.options.items())
    try:
        context.open()
    except (av.FFmpegError, ValueError) as error:
        raise SinkError(
            f"{encoder.library} refused {width}×{height} {pix_fmt} ({asked}): {getattr(error, 'strerror', error)}; "
            f"try another --codec, --preset or --pix-fmt"
        ) from error
    unused = set(context.options) & {*options.extra}
    if unused:
        names = ", ".join(sorted(unused))
        raise SinkError(f"{encoder.library} knows no option {names}; see ffmpeg -h encoder={encoder.library}")
    return context


def set_colours(target: Any, form: PixelFormat) -> None:
    """State range, matrix, primaries and transfer on an ``av`` codec context or frame."""
    target.color_range = RANGES[form.range]
    target.colorspace = form.matrix
    target.color_primaries = form.primaries
    target.color_trc = form.transfer


def _check_asked(encoder: Encoder, options: EncoderOptions) -> None:
    if options.preset is not None and encoder.presets and options.preset not in encoder.presets:
        raise SinkError(f"got --preset {options.preset}, allowed for {encoder.name} are {', '.join(encoder.presets)}")
    most = encoder.crf_most
    if options.crf is not None and most is not None and not 0 <= options.crf <= most:
        raise SinkError(f"got --crf {options.crf:g}, allowed for {encoder.name} is 0 (the best) to {most:g}")


def _settings(encoder: Encoder, *, format: PixelFormat, hdr: Hdr, options: EncoderOptions) -> dict[str, str]:  # noqa: A002
    settings = dict(encoder.fixed)
    if format.subsampling == "420":
        settings["chroma_sample_location"] = format.chroma_location
    _put(settings, encoder, key=encoder.crf_key, what="crf", value=options.crf, default=encoder.crf)
    _put(settings, encoder, key=encoder.preset_key, what="preset", value=options.preset, default=encoder.preset)
    params = hdr.params(encoder.library)
    if encoder.library == "libx265":
        params["log-level"] = "none"
        if options.threads:
            params["pools"] = str(options.threads)
    if encoder.library == "libsvtav1" and options.threads:
        params["lp"] = str(options.threads)
    settings.update(options.extra)
    if encoder.params_key and params:
        own = ":".join(f"{key}={value}" for key, value in params.items())
        asked = settings.get(encoder.params_key)
        settings[encoder.params_key] = f"{own}:{asked}" if asked else own
    return settings


def _put(settings: dict[str, str], encoder: Encoder, *, key: str | None, what: str, value: Any, default: Any) -> None:
    if key is None and value is not None:
        raise UnsupportedStreamError(f"got --{what} {value}, {encoder.name} has no such setting; leave it out")
    chosen = default if value is None else value
    if key is not None and chosen is not None:
        settings[key] = f"{chosen:g}" if isinstance(chosen, float) else str(chosen)


def _context(library: str, *, width: int, height: int, pix_fmt: str, rate: Fraction, gpu: int | None = None) -> Any:
    # SVT-AV1 prints its banner on the terminal unless the environment forbids it.
    os.environ.setdefault("SVT_LOG", "1")
    context: Any = av.CodecContext.create(library, "w", hwaccel=None if gpu is None else _place(gpu))
    context.width, context.height, context.pix_fmt = width, height, pix_fmt
    context.framerate, context.time_base, context.bit_rate = rate, 1 / rate, 0
    return context


def _place(gpu: int) -> HWAccel:
    share_primary_context(gpu)
    return HWAccel("cuda", device=str(gpu), options={"primary_ctx": "1"})


@cache
def _refusal(name: str) -> str | None:
    """Why an encoder of the table does not encode a picture here and now; None where it does."""
    encoder = ENCODERS[name]
    try:
        formats = av.codec.Codec(encoder.library, "w").video_formats or []
        pix_fmt = next((name for name in ("yuv420p", "nv12", "yuv422p10le") if name in {f.name for f in formats}), "")
        context = _context(encoder.library, width=256, height=256, pix_fmt=pix_fmt, rate=UNKNOWN_RATE)
        context.options = {"x265-params": "log-level=none"} if encoder.library == "libx265" else {}
        frame = av.VideoFrame(256, 256, pix_fmt)
        frame.pts = 0
        packets = context.encode(frame) + context.encode(None)
    except (av.FFmpegError, ValueError) as error:
        return str(getattr(error, "strerror", None) or error)
    return None if packets else "it made nothing of a picture"
