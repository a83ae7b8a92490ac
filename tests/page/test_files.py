"""The tab for files."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import av
import media
from viewer import Viewer

Visit = Callable[..., Viewer]


def bring(viewer: Viewer, clip: Path) -> None:
    viewer.page.get_by_role("tab", name="Files").click()
    viewer.page.set_input_files("#vsr-file input[type=file]", clip)
    viewer.page.wait_for_selector("#vsr-file .file-preview, #vsr-file .file-name")
    viewer.press("#vsr-enlarge")


def wait_for_words(viewer: Viewer, words: str) -> None:
    viewer.page.locator("#vsr-file-job", has_text=words).wait_for()


def test_a_clip_is_enlarged_compared_and_downloaded(visit: Visit, photographs: Path, tmp_path: Path) -> None:
    viewer = visit()
    bring(viewer, photographs)
    wait_for_words(viewer, "is enlarged")
    wait_for_words(viewer, "160×96 → 320×192")
    viewer.page.wait_for_selector(".vsr-still .vsr-divider")
    widths = viewer.page.locator(".vsr-still img").evaluate_all("images => images.map(image => image.naturalWidth)")
    assert widths == [320, 320]
    with viewer.page.expect_download() as download:
        viewer.press("#vsr-download")
    path = tmp_path / "result.mp4"
    download.value.save_as(path)
    with av.open(path) as container:
        assert len(container.streams.audio) == 1
        assert [frame.width for frame in container.decode(video=0)] == [320] * 12


def test_what_is_no_video_is_explained(visit: Visit, tmp_path: Path) -> None:
    viewer = visit()
    letter = tmp_path / "letter.txt"
    letter.write_text("Dear Sir or Madam")
    bring(viewer, letter)
    wait_for_words(viewer, "letter.txt could not be enlarged")
    assert "/" not in viewer.page.locator("#vsr-file-job [role=alert] + p").inner_text()
    assert viewer.page.locator("#vsr-enlarge").is_enabled()


def test_a_long_clip_is_cancelled_and_the_next_waits_its_turn(visit: Visit, photographs: Path, tmp_path: Path) -> None:
    long = media.write_clip(tmp_path / "long.mkv", media.pattern(600, 320, 240), codec="mpeg4")
    first, second = visit(), visit()
    bring(first, long)
    wait_for_words(first, "of 600 frames")
    bring(second, photographs)
    wait_for_words(second, "Waiting for its turn")
    first.press("#vsr-cancel")
    wait_for_words(first, "Cancelled")
    wait_for_words(second, "is enlarged")


def test_closing_the_page_ends_its_work(visit: Visit, photographs: Path, tmp_path: Path) -> None:
    long = media.write_clip(tmp_path / "long.mkv", media.pattern(600, 320, 240), codec="mpeg4")
    first, second = visit(), visit()
    bring(first, long)
    wait_for_words(first, "of 600 frames")
    first.page.close()
    bring(second, photographs)
    wait_for_words(second, "is enlarged")


def test_nothing_chosen_is_said(visit: Visit) -> None:
    viewer = visit()
    viewer.page.get_by_role("tab", name="Files").click()
    viewer.press("#vsr-enlarge")
    wait_for_words(viewer, "There is no video yet")
