"""What networks do to compressed video is measured by figures that tell blocks from pictures."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from pictures import photo

from streams.errors import SinkError
from vsr.app.clip import Clip, write_clip
from vsr.app.compress import coded_luma
from vsr.app.compressed import blocking, main, measure
from vsr.metrics import psnr


def moving(count: int = 5) -> list[np.ndarray]:
    picture = photo(160, 200)
    return [picture[:128, 2 * shift : 2 * shift + 128] for shift in range(count)]


def test_blocks_show_in_the_figure_and_nothing_else_does() -> None:
    picture = photo(128, 128)
    tiles = picture.reshape(16, 8, 16, 8).mean(axis=(1, 3), keepdims=True)
    blocky = np.broadcast_to(tiles, (16, 8, 16, 8)).reshape(128, 128)
    mixed = (0.7 * picture + 0.3 * blocky).astype(np.uint8)
    assert blocking(picture, pitch=8) == pytest.approx(1, abs=0.05)
    assert blocking(mixed, pitch=8) > 1.15
    assert blocking(mixed, pitch=7) == pytest.approx(1, abs=0.05)


def test_the_coder_keeps_order_and_count_and_loses_with_crf() -> None:
    pictures = moving()
    fine, coarse = (coded_luma(pictures, crf=crf) for crf in (10, 35))
    assert len(fine) == len(coarse) == len(pictures)
    for before, close, far in zip(pictures, fine, coarse, strict=True):
        assert psnr(close, before) > 40 > psnr(far, before)
    assert blocking(coarse[0], pitch=8) > blocking(fine[0], pitch=8)


def test_a_clip_is_measured(tmp_path: Path) -> None:
    write_clip(tmp_path / "clip.mkv", Clip(width=128, height=96, frames=6), crf=4, sound=False)
    results = list(measure(tmp_path / "clip.mkv", models=["bicubic", "nearest"], crfs=[20, 40], scale=2, frames=4))
    assert [(result.crf, result.model) for result in results] == [
        (20, "bicubic"), (20, "nearest"), (40, "bicubic"), (40, "nearest")
    ]  # fmt: skip
    by = {(result.crf, result.model): result.psnr for result in results}
    assert by[20, "bicubic"] > by[20, "nearest"]
    assert by[20, "bicubic"] > by[40, "bicubic"]


def test_the_table_has_a_row_for_each_and_the_means(tmp_path: Path) -> None:
    (tmp_path / "clips").mkdir()
    write_clip(tmp_path / "clips/clip.mkv", Clip(width=128, height=96, frames=6), crf=4, sound=False)
    table = tmp_path / "table.md"
    main([str(tmp_path / "clips"), "--models", "bicubic", "--crf", "20,30", "--frames", "2", "--markdown", str(table)])
    rows = [line for line in table.read_text().splitlines() if line.startswith("| ")]
    assert [row.split("|")[1:3] for row in rows[1:]] == [[" clip ", " 20 "], [" clip ", " 30 "], [" **mean** ", " "]]


def test_a_table_that_is_there_stays_until_the_new_one_is_whole(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "clips").mkdir()
    table = tmp_path / "table.md"
    table.write_text("of yesterday")
    with monkeypatch.context() as patch:
        patch.setattr("vsr.app.compressed.markdown", lambda results, **_: "a table, and it is long")
        patch.setattr(Path, "write_text", lambda path, text, **_: path.write_bytes(text[:10].encode()) and _full())
        with pytest.raises(SinkError, match=r"table\.md: No space"):
            main([str(tmp_path / "clips"), "--markdown", str(table)])
    assert table.read_text() == "of yesterday"
    assert {path.name for path in tmp_path.iterdir()} == {"clips", "table.md"}


def test_a_folder_that_is_not_there_is_told_before_anything_is_measured(tmp_path: Path) -> None:
    with pytest.raises(SinkError, match="no folder"):
        main([str(tmp_path / "no clips either"), "--markdown", str(tmp_path / "none" / "table.md")])


def _full() -> None:
    raise OSError(28, "No space left on device")
