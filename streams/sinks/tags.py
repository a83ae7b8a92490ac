"""Which words about a file and its streams travel into the new file, and which were about the old one."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

# Written by the muxer for its own file.
_OF_THE_CONTAINER = frozenset({"major_brand", "minor_version", "compatible_brands", "encoder", "duration"})
# Matroska's statistics of the old coded stream, with or without a language at the end.
_STATISTICS = ("bps", "duration", "number_of_frames", "number_of_bytes", "_statistics_")
_OF_THE_CODING = frozenset({"encoder", "rotate", "vendor_id", "encoder-eng"})

# The tags for which MP4 and MOV have boxes; any other needs their key-value list, which replaces those boxes.
# fmt: off
_MP4_TAGS = frozenset({
    "title", "artist", "author", "album", "album_artist", "composer", "date", "comment",
    "genre", "copyright", "grouping", "lyrics", "description", "synopsis", "show", "episode_id",
    "network", "keywords", "season_number", "episode_sort", "media_type", "hd_video", "gapless_playback", "compilation",
    "track", "disc", "creation_time", "location", "timecode", "language",
})

# Many languages have two codes in ISO 639-2; QuickTime's table has numbers for languages, and FFmpeg finds them under
# one code only.
_QUICKTIME = {
    "bod": "tib", "cze": "ces", "cym": "wel", "deu": "ger", "ell": "gre", "eus": "baq", "fas": "per",
    "fre": "fra", "hye": "arm", "isl": "ice", "kat": "geo", "mkd": "mac", "msa": "may", "mya": "bur",
    "nld": "dut", "rum": "ron", "slo": "slk", "sqi": "alb", "swe": "sve", "zho": "chi",
}
# fmt: on


def container_tags(tags: Mapping[str, str]) -> dict[str, str]:
    """The tags of a file that are about its content."""
    return {
        key: value
        for key, value in tags.items()
        if key.lower() not in _OF_THE_CONTAINER and not _repeats_in_a_language(key, tags)
    }


def stream_tags(tags: Mapping[str, str], *, title: str | None = None, language: str | None = None) -> dict[str, str]:
    """The tags of a stream that are about its content; MP4's ``name`` becomes everybody's ``title``."""
    kept = {
        key: value
        for key, value in tags.items()
        if key.lower() not in _OF_THE_CODING and not key.lower().startswith(_STATISTICS)
    }
    lower = {key.lower(): key for key in kept}
    name = kept.pop(lower["name"]) if "name" in lower else None
    if "title" not in lower and (title or name):
        kept["title"] = title or name or ""
    if "language" not in lower and language:
        kept["language"] = language
    return kept


def quicktime_language(code: str) -> str:
    """The code under which FFmpeg knows QuickTime's number of a language; MOV cannot name those that have none."""
    return _QUICKTIME.get(code, code)


def need_key_value_list(tags: Iterable[str]) -> bool:
    """Whether MP4 and MOV have no box for one of the tags."""
    return any(key.lower() not in _MP4_TAGS for key in tags)


def _repeats_in_a_language(key: str, tags: Mapping[str, str]) -> bool:
    base, dash, language = key.rpartition("-")
    return bool(dash) and len(language) == 3 and base in tags
