"""The live tab, as somebody at a browser meets it."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

import av
import numpy as np
import pytest
from rtsp_server import RtspServer
from viewer import Pixels, Viewer

from vsr.app.page.server import open_player
from vsr.app.page.stage import Stage
from vsr.app.page.studio import Studio

if TYPE_CHECKING:
    from playwright.sync_api import Browser

Visit = Callable[..., Viewer]
TEXTURE, MOVING = "texture.mkv", "moving.mp4"


def difference(one: Pixels, other: Pixels) -> float:
    return float(np.abs(one.astype(int) - other).mean())


def test_the_page_opens_with_everything_in_it_and_nothing_running(visit: Visit, address: str) -> None:
    viewer = visit()
    viewer.wait_for_words("Nothing is running. ")
    assert viewer.page.title() == "vsr preview"
    assert viewer.page.locator("#vsr-stop").is_disabled()
    assert viewer.page.locator("#vsr-record").is_disabled()
    assert not viewer.page.locator("#vsr-address").is_visible()
    assert viewer.page.locator("footer a").count() == 0
    assert viewer.page.locator("#vsr-source input").input_value() == TEXTURE


def test_the_sample_moves(visit: Visit) -> None:
    viewer = visit()
    viewer.start("Sample clip")
    viewer.wait_for_change()
    viewer.wait_for_words("Sample clip")
    assert viewer.page.locator("[data-figure=network]").inner_text() == "ecbsr"
    viewer.page.wait_for_function("parseFloat(document.querySelector('[data-figure=screen]').textContent) > 0")
    viewer.press("#vsr-stop")
    viewer.wait_for_phase("idle")
    viewer.wait_for_words("Nothing is running")


def test_left_of_the_divider_is_bicubic_and_right_of_it_the_network(visit: Visit) -> None:
    viewer = visit()
    viewer.start(TEXTURE)
    viewer.page.wait_for_selector(".vsr-top:not(.vsr-absent)")
    before, after = viewer.canvas(".vsr-picture > .vsr-top"), viewer.canvas()
    assert before.shape == after.shape
    assert difference(before, after) > 1
    assert viewer.page.locator(".vsr-picture .vsr-tag-before").inner_text() == "bicubic"
    assert viewer.page.locator(".vsr-picture .vsr-tag-after").inner_text() == "ecbsr"


def test_the_divider_follows_keys_mouse_and_the_button(visit: Visit) -> None:
    viewer = visit()
    viewer.start(TEXTURE)
    divider = viewer.page.locator(".vsr-divider")
    middle = viewer.seen()
    divider.focus()
    viewer.page.keyboard.press("End")
    assert divider.get_attribute("aria-valuenow") == "100"
    all_before = viewer.seen()
    viewer.page.keyboard.press("Home")
    all_after = viewer.seen()
    assert difference(all_before[40:], all_after[40:]) > 1
    width = middle.shape[1]
    left, right = np.s_[40:, : width // 2 - 40], np.s_[40:, width // 2 + 40 :]
    assert difference(middle[left], all_before[left]) < difference(middle[left], all_after[left])
    assert difference(middle[right], all_after[right]) < difference(middle[right], all_before[right])

    box = viewer.page.locator(".vsr-picture").bounding_box()
    assert box is not None
    viewer.page.mouse.move(box["x"] + 5, box["y"] + 60)
    viewer.page.mouse.down()
    viewer.page.mouse.move(box["x"] + box["width"] * 0.75, box["y"] + 60, steps=3)
    viewer.page.mouse.up()
    assert divider.get_attribute("aria-valuenow") == "75"
    viewer.tool("compare")
    assert not divider.is_visible()
    assert not viewer.page.locator(".vsr-picture > .vsr-top").is_visible()


def test_a_hidden_part_comes_as_soon_as_the_divider_moves(visit: Visit) -> None:
    viewer = visit()
    viewer.start(TEXTURE)
    viewer.page.evaluate(
        """() => {
          const player = window.vsr.players()[0], draw = player.draw.bind(player);
          player.draw = (header, list) => {
            window.sent = header.parts.map((part) => [part.kind, part.left, part.size[0], header.canvas[0]]);
            draw(header, list);
          };
        }"""
    )
    after, before = ["after", 140, 180, 320], ["before", 0, 180, 320]
    seen = "wanted => JSON.stringify(window.sent) === JSON.stringify(wanted)"
    viewer.page.wait_for_function(seen, arg=[after, before])
    # What is seen at rest is what is seen of the whole.
    viewer.page.keyboard.press("Tab")
    resting = viewer.seen()
    viewer.page.locator(".vsr-divider").hover()
    viewer.page.wait_for_function(seen, arg=[["after", 0, 320, 320], ["before", 0, 320, 320]])
    assert difference(resting[60:-60], viewer.seen()[60:-60]) < 2
    viewer.page.wait_for_function(seen, arg=[after, before])
    viewer.page.locator(".vsr-divider").press("End")
    viewer.page.wait_for_function(seen, arg=[["after", 300, 20, 320], ["before", 0, 320, 320]])


def test_what_is_over_is_dimmed_as_it_was_seen(visit: Visit) -> None:
    viewer = visit()
    viewer.start(TEXTURE)
    viewer.page.wait_for_selector(".vsr-top:not(.vsr-absent)")
    running = viewer.seen()
    viewer.press("#vsr-stop")
    viewer.wait_for_phase("idle")
    stopped = viewer.seen()
    height, width = running.shape[:2]
    # Clear of the words, the names of the two, and the divider: what the two hide of each other must not shine through.
    below, left, right = slice(3 * height // 4, None), slice(0, width * 2 // 5), slice(width * 3 // 5, None)
    shares = [stopped[below, side].mean() / running[below, side].mean() for side in (left, right)]
    assert shares[0] == pytest.approx(shares[1], rel=0.05)
    assert shares[1] < 0.5


def test_a_plot_at_rest_takes_the_colours_of_the_page(visit: Visit) -> None:
    viewer = visit(color_scheme="light")
    light = viewer.page.locator(".vsr-plot").evaluate("plot => plot.toDataURL()")
    viewer.page.emulate_media(color_scheme="dark")
    viewer.page.wait_for_function("light => document.querySelector('.vsr-plot').toDataURL() !== light", arg=light)


def test_few_pictures_are_explained(visit: Visit, monkeypatch: pytest.MonkeyPatch) -> None:
    viewer = visit()
    viewer.start(TEXTURE, model="bicubic")
    monkeypatch.setattr(Stage, "limited_fps", 8.25)
    viewer.page.wait_for_function("document.querySelector('.vsr-note').textContent.includes('8.3 fps, all that')")
    visit()
    viewer.page.wait_for_function("document.querySelector('.vsr-note').textContent.includes('for each of 2 viewers')")
    loupe, bar = (viewer.page.locator(name) for name in (".vsr-loupe", ".vsr-bar"))
    viewer.tool("loupe")
    boxes = loupe.bounding_box(), bar.bounding_box()
    assert boxes[0] is not None
    assert boxes[1] is not None
    assert boxes[0]["y"] + boxes[0]["height"] <= boxes[1]["y"]


@pytest.mark.parametrize("density", [1, 2])
def test_the_loupe_shows_each_sample_as_one_pixel(visit: Visit, density: int) -> None:
    viewer = visit(device_scale_factor=density)
    viewer.start(TEXTURE)
    viewer.tool("loupe")
    pane = viewer.page.locator(".vsr-pane canvas").nth(1)
    viewer.page.wait_for_function("document.querySelectorAll('.vsr-pane canvas')[1].width > 1")
    seen = pane.evaluate("canvas => [canvas.width, canvas.height, canvas.clientWidth, canvas.clientHeight]")
    assert seen[0] == pytest.approx(density * seen[2], abs=1)
    assert seen[1] == pytest.approx(density * seen[3], abs=1)

    # The picture is smaller than the window, so both show it sample by sample.
    loupe, whole = viewer.canvas(".vsr-pane:nth-child(2) canvas"), viewer.canvas()
    assert whole.shape == (192, 320, 3)
    top, left = ((whole.shape[axis] - loupe.shape[axis]) // 2 for axis in (0, 1))
    part = whole[top : top + loupe.shape[0], left : left + loupe.shape[1]]
    assert difference(loupe, part) < 4
    assert difference(loupe, viewer.canvas(".vsr-pane:nth-child(1) canvas")) > 1


def test_the_loupe_follows_pointer_keys_and_enlarges(visit: Visit) -> None:
    viewer = visit()
    viewer.start(TEXTURE)
    viewer.tool("loupe")
    target = viewer.page.locator(".vsr-target")
    viewer.page.locator(".vsr-zoom").click()
    viewer.page.locator(".vsr-zoom").click()
    assert viewer.page.locator(".vsr-zoom").inner_text() == "4:1"
    box = viewer.page.locator(".vsr-picture").bounding_box()
    assert box is not None
    viewer.page.mouse.move(box["x"] + 3, box["y"] + 3)
    viewer.page.wait_for_function("document.querySelector('.vsr-target').style.left === '0%'")
    target.focus()
    for _ in range(20):
        viewer.page.keyboard.press("ArrowRight")
    place = float(target.evaluate("element => parseFloat(element.style.left)"))
    assert place > 10
    viewer.page.wait_for_function("document.querySelectorAll('.vsr-pane canvas')[1].width < 150")


def test_a_recording_is_listed_downloads_and_plays(visit: Visit, tmp_path: Path) -> None:
    viewer = visit()
    viewer.start(MOVING, model="bicubic")
    viewer.press("#vsr-record")
    viewer.page.wait_for_selector(".vsr-recordings .vsr-now")
    viewer.page.wait_for_timeout(1500)
    viewer.page.get_by_role("button", name="Stop recording").click()
    link = viewer.page.locator(".vsr-recordings a").first
    with viewer.page.expect_download() as download:
        link.click()
    path = tmp_path / download.value.suggested_filename
    download.value.save_as(path)
    assert path.name == link.inner_text()
    with av.open(path) as container:
        frames = list(container.decode(video=0))
    assert len(frames) > 3
    assert (frames[0].width, frames[0].height) == (320, 192)


def test_two_pages_show_one_run_and_agree(visit: Visit) -> None:
    first, second = visit(), visit()
    first.start(MOVING, model="bicubic")
    second.wait_for_phase("running")
    second.wait_for_picture()
    second.page.wait_for_function("document.querySelector('#vsr-source input')?.value === 'moving.mp4'")
    first.wait_for_viewers(2)
    first.page.reload()
    first.page.wait_for_selector(".vsr-player[data-phase=running]")
    first.wait_for_picture()
    first.page.wait_for_function("document.querySelector('#vsr-source input')?.value === 'moving.mp4'")
    first.page.wait_for_function("document.querySelector('#vsr-stop')?.disabled === false")
    first.page.close()
    second.wait_for_change()
    assert second.state()["phase"] == "running"
    second.press("#vsr-stop")
    second.wait_for_phase("idle")


def test_a_camera_of_the_network_dies_and_comes_back(visit: Visit, camera: RtspServer) -> None:
    viewer = visit()
    host = camera.url.split("/")[2]
    viewer.start(f"rtsp://{host}/…", model="bicubic")
    camera.stop()
    viewer.wait_for_words("The source is away")
    camera.start()
    viewer.wait_for_words(f"rtsp://{host}/…")
    viewer.wait_for_change()
    assert viewer.page.locator("[data-figure=reconnects]").inner_text() != "0"


def test_a_text_in_place_of_a_clip_is_refused_in_plain_words(visit: Visit, tmp_path: Path) -> None:
    viewer = visit()
    letter = tmp_path / "letter.mp4"
    letter.write_text("Dear Sir or Madam")
    viewer.page.set_input_files("#vsr-controls input[type=file]", letter)
    toast = viewer.page.locator(".toast-body")
    toast.wait_for()
    assert "not a video file" in toast.inner_text()
    assert "/" not in toast.inner_text()
    assert viewer.page.locator("#vsr-source input").input_value() == TEXTURE


def test_an_uploaded_clip_plays(visit: Visit, photographs: Path) -> None:
    viewer = visit()
    viewer.page.set_input_files("#vsr-controls input[type=file]", photographs)
    viewer.page.wait_for_function("document.querySelector('#vsr-source input')?.value.startsWith('holiday')")
    viewer.press("#vsr-start")
    viewer.wait_for_phase("running")
    viewer.wait_for_change()
    viewer.page.reload()
    viewer.page.wait_for_function("document.querySelector('#vsr-source input')?.value.startsWith('holiday')")


def test_a_lost_connection_is_said_and_comes_back(visit: Visit) -> None:
    viewer = visit()
    viewer.start(MOVING, model="bicubic")
    viewer.page.evaluate("window.vsr.players()[0].connection.socket.close()")
    viewer.page.wait_for_selector(".vsr-player[data-link=closed]")
    viewer.page.wait_for_selector(".vsr-player[data-link=open]")
    viewer.wait_for_change()


def test_without_websocket_plain_pictures_come(visit: Visit) -> None:
    viewer = visit()
    viewer.start(MOVING, model="bicubic")
    viewer.page.route_web_socket("**/live/ws", lambda socket: socket.close())
    viewer.page.reload()
    viewer.page.wait_for_selector(".vsr-player[data-link=still]")
    viewer.page.wait_for_function("document.querySelector('.vsr-picture > img').naturalWidth > 0")
    viewer.wait_for_words(MOVING)


@pytest.mark.parametrize(("scheme", "most"), [("light", 80), ("dark", 60)])
def test_on_a_phone_nothing_is_cut_off(visit: Visit, scheme: str, most: int, address: str) -> None:
    viewer = visit(viewport={"width": 360, "height": 740}, has_touch=True, is_mobile=True, color_scheme=scheme)
    assert viewer.page.evaluate("document.documentElement.scrollWidth") <= 360
    for button in viewer.page.locator("button:visible").all():
        box = button.bounding_box()
        assert box is not None
        assert box["x"] >= 0
        assert box["x"] + box["width"] <= 360, button.inner_text()
    ground = viewer.page.evaluate("getComputedStyle(document.querySelector('.gradio-container')).backgroundColor")
    shade = np.mean([int(part) for part in ground[ground.index("(") + 1 : -1].split(",")[:3]])
    assert (shade > 200) if scheme == "light" else (shade < most)


def test_the_stage_keeps_its_place_when_the_picture_comes(visit: Visit) -> None:
    viewer = visit()
    stage = viewer.page.locator(".vsr-stage")
    before = stage.bounding_box()
    viewer.start(TEXTURE)
    assert stage.bounding_box() == before


def test_the_player_alone_shows_the_same_without_controls(browser: Browser, moving: Path, tmp_path: Path) -> None:
    studio = Studio([str(moving)], recordings=tmp_path)
    with open_player(studio, host="127.0.0.1", port=0) as server:
        viewer = Viewer(browser.new_context(color_scheme="dark"), server.url)
        studio.start("named:0", model="bicubic", scale=2)
        viewer.wait_for_phase("running")
        viewer.wait_for_change()
        assert viewer.page.locator("#vsr-start").count() == 0
        assert viewer.page.evaluate("getComputedStyle(document.body).backgroundColor") == "rgb(15, 20, 26)"
        viewer.leave()
        studio.close()
    assert viewer.complaints == []
    assert viewer.foreign == []
