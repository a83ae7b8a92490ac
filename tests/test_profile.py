"""What every thread did when: sums, a trace that viewers take, and a picture."""

from __future__ import annotations

import json
import threading
from pathlib import Path
from xml.etree import ElementTree

import numpy as np
import pytest
from stubs import StubSource, frame

from streams.errors import SinkError, SinkExistsError
from streams.pipeline import Pipeline
from streams.sinks import NullSink
from vsr import Upscaler
from vsr.app import profile as module
from vsr.app.enhancer import UpscalerEnhancer
from vsr.app.profile import Profile, check_profile
from vsr.errors import ConfigError
from vsr.spans import span


def collected() -> Profile:
    profile = Profile()
    profile("decode", 1.0, 1.25)
    profile("network", 1.1, 1.2, "OpenVINO")
    thread = threading.Thread(target=profile, args=("encode", 1.25, 1.5), name="writer")
    thread.start()
    thread.join()
    profile("decode", 1.5, 1.75)
    return profile


def test_sums() -> None:
    assert collected().seconds == pytest.approx({"decode": 0.5, "network": 0.1, "encode": 0.25})


def test_the_trace_has_a_lane_for_each_thread() -> None:
    events = collected().trace()["traceEvents"]
    lanes = {event["args"]["name"]: event["tid"] for event in events if event["ph"] == "M"}
    assert set(lanes) == {"MainThread", "OpenVINO", "writer"}
    work = [(event["name"], event["tid"], event["dur"]) for event in events if event["ph"] == "X"]
    assert ("encode", lanes["writer"], pytest.approx(250_000)) in work
    assert ("network", lanes["OpenVINO"], pytest.approx(100_000)) in work
    assert len(work) == 4


@pytest.mark.parametrize("ending", ["json", "svg"])
def test_of_a_long_run_the_beginning_and_the_end_are_kept(
    ending: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(module, "_KEPT", 3)
    monkeypatch.setattr(module, "perf_counter", lambda: 100.0)
    profile, path = Profile(), tmp_path / f"trace.{ending}"
    for second in range(6):
        profile(f"work {second}", 100.0 + second, 100.5 + second)
    profile.write(path)
    assert (profile.dropped_spans, caplog.messages) == (0, [])
    for second in range(6, 50):
        profile(f"work {second}", 100.0 + second, 100.5 + second)
    profile.write(path)
    assert profile.dropped_spans == 44
    assert caplog.messages == [
        f"{path} holds the first 2 and the last 2 seconds of the run; 44 pieces of work between are left out"
    ]
    kept = [event["name"] for event in profile.trace()["traceEvents"] if event["ph"] == "X"]
    assert kept == [f"work {second}" for second in (0, 1, 2, 47, 48, 49)]
    assert len(profile.seconds) == 50
    # Half way between the two there is nothing to draw.
    assert ending == "json" or "work 1" in path.read_text()


@pytest.mark.parametrize("device", ["auto", "openvino"])
def test_a_run_tells_of_every_stage_and_of_the_network(device: str) -> None:
    profile = Profile()
    upscaler = Upscaler("bicubic", scale=2, device=device)
    source = StubSource([frame(pts) for pts in range(5)])
    with profile.collecting():
        Pipeline(source, UpscalerEnhancer(upscaler), NullSink(), observer=profile).run()
    assert {"decode", "enhance", "encode", "interpolation"} <= set(profile.seconds)
    before = profile.seconds
    Upscaler("bicubic", scale=2).luma(np.zeros((8, 8), np.uint8))
    with span("network"):
        pass
    assert profile.seconds == before


def test_a_picture_of_nothing_is_a_picture(tmp_path: Path) -> None:
    Profile().write(tmp_path / "trace.svg")
    assert ElementTree.fromstring((tmp_path / "trace.svg").read_text()).tag.endswith("svg")


def test_files(tmp_path: Path) -> None:
    profile = collected()
    profile.write(tmp_path / "trace.json")
    assert json.loads((tmp_path / "trace.json").read_text()) == profile.trace()
    profile.write(tmp_path / "trace.svg")
    drawing = ElementTree.fromstring((tmp_path / "trace.svg").read_text())
    titles = [each.text for each in drawing.iter("{http://www.w3.org/2000/svg}title")]
    assert set(titles) == {"decode", "network", "encode"}
    with pytest.raises(SinkError, match="no folder"):
        check_profile(tmp_path / "none" / "trace.json", overwrite=True)
    with pytest.raises(ConfigError, match=r"allowed are \.json .* and \.svg"):
        check_profile(tmp_path / "trace.txt", overwrite=True)
    with pytest.raises(SinkExistsError, match="--overwrite"):
        check_profile(tmp_path / "trace.svg", overwrite=False)
    check_profile(tmp_path / "trace.svg", overwrite=True)
