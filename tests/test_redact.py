"""No password of an address in a message."""

from __future__ import annotations

import pytest

from streams.redact import redact


@pytest.mark.parametrize(
    ("given", "shown"),
    [
        ("rtsp://admin:hunter2@10.0.0.7:554/live", "rtsp://***@10.0.0.7:554/live"),
        ("rtsp://key@host/live", "rtsp://***@host/live"),
        ("rtsp://a:p%40ss@wo@rd@host/x", "rtsp://***@host/x"),
        ("srt://host:9000?passphrase=hunter2&latency=200", "srt://host:9000?passphrase=***&latency=200"),
        ("https://host/v.m3u8?channel=1&api_key=abc#t", "https://host/v.m3u8?channel=1&api_key=***#t"),
        ("cannot open rtsp://u:p@a/x, nor rtsp://u:p@b/y", "cannot open rtsp://***@a/x, nor rtsp://***@b/y"),
        ("/home/me@work/film.mp4", "/home/me@work/film.mp4"),
        ("http://host/mail@list", "http://host/mail@list"),
    ],
)
def test_secrets_are_hidden_and_the_rest_is_kept(given: str, shown: str) -> None:
    assert redact(given) == shown
