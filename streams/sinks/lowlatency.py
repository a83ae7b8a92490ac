"""What encoders are told for live video: nothing held back, key frames by the clock, a bounded rate on a network."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from fractions import Fraction
from types import MappingProxyType

from streams.sinks.encoders import UNKNOWN_RATE, Encoder, EncoderOptions

KEY_SECONDS = 2
"""How long a viewer who joins waits for a key frame, at most."""

# No pictures that wait for later ones: they cost latency, and their reordering cannot be stated in fragments.
_PROMPT: Mapping[str, Mapping[str, str]] = MappingProxyType(
    {
        "libx264": {"tune": "zerolatency", "bf": "0", "forced-idr": "1"},
        "libx265": {"tune": "zerolatency", "bf": "0", "forced-idr": "1"},
        "libsvtav1": {"svtav1-params": "pred-struct=1"},
        "libvpx-vp9": {"deadline": "realtime", "lag-in-frames": "0"},
        **{f"{codec}_nvenc": {"tune": "ll", "bf": "0", "forced-idr": "1"} for codec in ("h264", "hevc", "av1")},
        **{f"{codec}_qsv": {"bf": "0", "async_depth": "1", "forced_idr": "1"} for codec in ("h264", "hevc")},
    }
)
_NETWORK_CRF: Mapping[str, float] = MappingProxyType({"libx264": 23, "libx265": 25})
_BITS_PER_PIXEL = 0.1
_RATES = (500_000, 40_000_000)


def live_options(options: EncoderOptions, *, encoder: Encoder, rate: Fraction | None) -> EncoderOptions:
    """``options`` for an encoder that gives out each picture at once; what the user asked for stays."""
    # Key frames are asked for by time; this is for encoders that take no wishes, and for rates nobody foresaw.
    interval = {"g": str(max(1, round((rate or UNKNOWN_RATE) * KEY_SECONDS)))} if encoder.codec != "ffv1" else {}
    return _with(options, encoder=encoder, extra={**interval, **_PROMPT.get(encoder.library, {})})


def network_options(
    options: EncoderOptions, *, encoder: Encoder, rate: Fraction | None, pixels: int, bits_per_second: int | None
) -> EncoderOptions:
    """``options`` for an encoder whose output has to fit through a network and suit whoever joins late.

    The rate never exceeds ``bits_per_second`` (otherwise one in proportion to ``pixels`` and ``rate``) for longer than
    half a second, and the headers are repeated with each key frame.
    """
    if bits_per_second is None:
        bits_per_second = round(float(rate or UNKNOWN_RATE) * pixels * _BITS_PER_PIXEL)
        bits_per_second = min(max(bits_per_second, _RATES[0]), _RATES[1])
    extra = {"maxrate": str(bits_per_second), "bufsize": str(bits_per_second // 2)}
    if encoder.params_key in ("x264-params", "x265-params"):
        extra[encoder.params_key] = "repeat-headers=1"
    crf = _NETWORK_CRF.get(encoder.library) if options.crf is None else options.crf
    # More bits or chroma than this few receivers can decode.
    options = replace(options, crf=crf, pix_fmt=options.pix_fmt or "yuv420p")
    return _with(options, encoder=encoder, extra=extra)


def _with(options: EncoderOptions, *, encoder: Encoder, extra: Mapping[str, str]) -> EncoderOptions:
    merged = {**extra, **options.extra}
    key = encoder.params_key
    if key is not None and key in extra and key in options.extra:
        merged[key] = f"{extra[key]}:{options.extra[key]}"
    return replace(options, codec=encoder.name, extra=merged)
