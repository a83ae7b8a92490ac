"""The camera of the browser that shows the page: Chromium's own, which draws a moving picture."""

from __future__ import annotations

from collections.abc import Callable

from viewer import Viewer

Visit = Callable[..., Viewer]
CAMERA = "This browser's camera"


def test_pictures_go_to_the_server_and_come_back_larger(visit: Visit) -> None:
    viewer = visit(permissions=["camera"])
    viewer.start(CAMERA, model="bicubic")
    viewer.wait_for_change()
    state = viewer.state()
    width, height = state["input_size"]
    assert width >= 1280
    assert state["output_size"] == [2 * width, 2 * height]
    viewer.press("#vsr-stop")
    viewer.wait_for_words("Nothing is running")


def test_a_camera_that_is_not_allowed_is_explained(visit: Visit) -> None:
    viewer = visit()
    viewer.choose("#vsr-source", CAMERA)
    viewer.press("#vsr-start")
    viewer.wait_for_words("The browser did not allow the camera")
    viewer.wait_for_phase("idle")
    viewer.wait_for_words("The browser did not allow the camera")


def test_a_browser_without_camera_is_told(visit: Visit) -> None:
    viewer = visit(permissions=["camera"])
    viewer.page.evaluate(
        "() => { navigator.mediaDevices.getUserMedia = () => Promise.reject(new DOMException('', 'NotFoundError')); }"
    )
    viewer.choose("#vsr-source", CAMERA)
    viewer.press("#vsr-start")
    viewer.wait_for_words("There is no camera on this device")


def test_closing_the_page_ends_the_run(visit: Visit) -> None:
    viewer, other = visit(permissions=["camera"]), visit()
    viewer.start(CAMERA, model="bicubic")
    other.wait_for_phase("running")
    viewer.page.close()
    other.wait_for_phase("idle")
