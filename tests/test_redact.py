"""No password of an address in a message."""

from __future__ import annotations

import logging
import traceback

import av
import pytest

from streams.redact import Address, RedactingFilter, redact, scrub


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
        ("http://host:8080/mail@list", "http://host:8080/mail@list"),
        ("rtsp://admin:pass/word#1@host/x", "rtsp://***@host/x"),
        ("Authorization: Basic Y2FtOmh1bnRlcjI=\r\nCSeq: 1", "Authorization: Basic ***\r\nCSeq: 1"),
    ],
)
def test_secrets_are_hidden_and_the_rest_is_kept(given: str, shown: str) -> None:
    assert redact(given) == shown


SECRET = "rtsp://me:hunter2@host/x?token=abc"


def test_an_address_shows_itself_redacted_and_reveals_itself_when_asked() -> None:
    address = Address(SECRET)
    for shown in (str(address), repr(address), f"{address}", repr([address])):
        assert "hunter2" not in shown
        assert "abc" not in shown
        assert "host" in shown
    assert address.reveal() == SECRET


@pytest.mark.parametrize(
    ("given", "meant"), [("Rtsp://Host/Live", "rtsp://Host/Live"), ("A/B", "A/B"), ("A://B://C", "a://B://C")]
)
def test_the_scheme_of_an_address_is_in_small_letters(given: str, meant: str) -> None:
    assert Address(given).reveal() == meant


def test_a_cause_is_scrubbed_with_its_line_of_log() -> None:
    error = av.error.ConnectionRefusedError(111, "Connection refused", SECRET, (16, "tcp", f"no way to {SECRET}"))
    assert scrub(error) is error
    shown = "".join(traceback.format_exception(error)) + repr(error) + repr(error.args)
    assert "hunter2" not in shown
    assert "Connection refused" in shown


def test_a_filter_redacts_what_a_logger_says(caplog: pytest.LogCaptureFixture) -> None:
    logger = logging.getLogger("redacted")
    logger.addFilter(RedactingFilter())
    with caplog.at_level(logging.INFO):
        logger.info("opening %s (%d tries)", SECRET, 3)
        logger.info("100% plain")
    assert [record.getMessage() for record in caplog.records] == [
        "opening rtsp://***@host/x?token=*** (3 tries)",
        "100% plain",
    ]


@pytest.mark.parametrize("slashes", ["", "/"])
def test_an_address_with_too_few_slashes_shows_no_password(slashes: str) -> None:
    assert redact(f"got rtsp:{slashes}me:secret@host/live, no host") == f"got rtsp:{slashes}***@host/live, no host"


def test_what_is_said_behind_an_address_stays_when_redacted_again() -> None:
    said = redact("rtsp://host/x?token=abc: connection refused")
    assert redact(said) == said == "rtsp://host/x?token=***: connection refused"
