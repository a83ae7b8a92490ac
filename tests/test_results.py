"""``vsr evaluate --all``: what is measured, and how the page tells it."""

from __future__ import annotations

import shutil
from dataclasses import replace
from functools import partial
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from skimage import data

from vsr import Upscaler
from vsr.app.cli import main
from vsr.app.published import PUBLISHED, SET_SIZES, published
from vsr.app.results import Quality, Results, Row, Speed, frame_speed, measure_all, test_sets
from vsr.app.results_page import results_page
from vsr.errors import DataError, UnknownModelError, WeightsError
from vsr.evaluate import evaluate_folder, mean
from vsr.models import MODELS
from vsr.niqe import niqe
from vsr.pairs import make_pair
from vsr.weights import find, index

# Of this project; pytest would take it for a test by its name.
test_sets.__test__ = False  # type: ignore[attr-defined]

MACHINE = {
    "vsr": "1.0",
    "packages": {"torch": "2.9", "openvino": "2026.1"},
    "cpu": {"name": "A processor", "cores": 2},
    "cuda": [],
}
SPEED = Speed(milliseconds=1234.5, device="openvino", precision="fp32", part_only=False)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two sets, one of them of pictures that are too small for NIQE."""
    root = tmp_path_factory.mktemp("tests")
    for name, picture in (
        ("Set14/cat", data.chelsea()[:200, :220]),
        ("Set14/rocket", data.rocket()[:200, :220]),
        ("Another/coffee", data.coffee()[200:260, 300:364]),
    ):
        (root / name).parent.mkdir(exist_ok=True)
        Image.fromarray(picture).save(root / f"{name}.png")
    (root / "notes").mkdir()
    (root / "numbers.csv").write_text("1,2\n")
    return root


@pytest.fixture(scope="module")
def results(folder: Path) -> Results:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("vsr.app.results.frame_speed", lambda _: SPEED)
        # Compiling for OpenVINO takes longer than these few pictures are worth.
        patch.setattr("vsr.app.results.Upscaler", partial(Upscaler, device="torch"))
        return measure_all(test_sets(folder), models=["bicubic", "ecbsr"])


def test_sets_are_the_folders_with_pictures_the_known_first(folder: Path) -> None:
    found = test_sets(folder)
    assert list(found) == ["Set14", "Another"]
    assert [path.name for path in found["Set14"]] == ["cat.png", "rocket.png"]
    assert [path.name for path in test_sets(folder, limit=1)["Set14"]] == ["cat.png"]
    assert list(test_sets(folder / "Set14")) == ["Set14"]
    with pytest.raises(DataError, match="nowhere"):
        test_sets(folder / "nowhere")


def test_there_is_a_row_for_each_file_of_weights_and_each_scale(results: Results) -> None:
    rows = [(row.model, row.scale, row.precision) for row in results.rows]
    shipped = [("ecbsr", info.scale, info.precision) for info in index() if info.model == "ecbsr"]
    assert sorted(rows) == sorted([("bicubic", scale, "") for scale in (2, 3, 4)] + shipped)
    assert [row.scale for row in results.rows] == sorted(row.scale for row in results.rows)


def test_rows_hold_what_the_evaluation_says(folder: Path, results: Results) -> None:
    row = next(row for row in results.rows if (row.model, row.scale, row.precision) == ("ecbsr", 4, "fp32"))
    expected = mean(
        evaluate_folder(Upscaler("ecbsr", scale=4, precision="fp32", device="torch"), folder / "Set14", scale=4)
    )
    quality = row.quality["Set14"]
    assert quality.psnr == pytest.approx(expected.psnr, abs=1e-6)
    assert quality.ssim == pytest.approx(expected.ssim, abs=1e-6)
    assert row.parameters == find("ecbsr", scale=4).parameters
    bicubic = next(row for row in results.rows if (row.model, row.scale) == ("bicubic", 4)).quality["Set14"]
    assert quality.gmsd < bicubic.gmsd
    assert quality.psnr > bicubic.psnr


def test_the_truth_is_judged_too_and_small_pictures_are_passed_over(folder: Path, results: Results) -> None:
    truths = [niqe(make_pair(np.asarray(Image.open(path)), 3).high, border=3) for path in test_sets(folder)["Set14"]]
    assert results.truth[3]["Set14"] == pytest.approx(np.mean(truths))
    assert results.truth[3]["Another"] is None
    assert all(row.quality["Another"].niqe is None for row in results.rows)


def test_speed_is_of_a_whole_frame(monkeypatch: pytest.MonkeyPatch) -> None:
    up = Upscaler("nearest", scale=4, device="torch")
    seen = []
    monkeypatch.setattr(up, "luma", lambda picture: seen.append(picture.shape))
    speed = frame_speed(up)
    assert seen[-1] == (270, 480)
    assert not speed.part_only
    assert (speed.device, speed.precision) == ("cpu", "fp32")


def test_a_slow_network_is_timed_on_a_part(monkeypatch: pytest.MonkeyPatch) -> None:
    up = Upscaler("nearest", scale=2, device="torch")
    seen = []
    monkeypatch.setattr(up, "luma", lambda picture: seen.append(picture.shape))
    monkeypatch.setattr("vsr.app.results._LONGEST_FRAME_MS", 0)
    assert frame_speed(up).part_only
    assert set(seen) == {(135, 240)}


def test_names_are_checked_before_anything_is_measured(folder: Path) -> None:
    with pytest.raises(UnknownModelError, match="espn"):
        measure_all(test_sets(folder), models=["espn"])
    untrained = next((name for name, spec in MODELS.items() if spec.trained and not _ships(name)), None)
    if untrained:
        with pytest.raises(WeightsError, match=untrained):
            measure_all(test_sets(folder), models=[untrained])


def test_broken_pictures_are_named_before_anything_is_measured(
    folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """A table that lacks some of the pictures would be taken for that of the whole set, and it takes hours."""
    shutil.copytree(folder, tmp_path / "sets")
    for name in ("Set14/cut.png", "Another/none.jpg"):
        (tmp_path / "sets" / name).write_bytes(b"\x89PNG\r\n\x1a\n")
    page = tmp_path / "page.md"
    assert main(["evaluate", "--all", "--data", str(tmp_path / "sets"), "--models", "nearest", "--out", str(page)]) == 3
    told = capsys.readouterr().err
    assert "2 of 5 pictures" in told
    assert "cut.png" in told
    assert "none.jpg" in told
    assert not page.exists()


def _ships(name: str) -> bool:
    return any(info.model == name for info in index())


def _row(model: str, *, options: dict[str, int | bool] | None = None, part_only: bool = False) -> Row:
    quality = Quality(psnr=31.234, ssim=0.87654, niqe=5.678, gmsd=0.0456)
    return Row(
        model=model,
        scale=4,
        precision="fp32",
        options=options or {},
        parameters=12_345,
        macs=1_234_567,
        quality=dict.fromkeys(SET_SIZES, quality),
        speed=replace(SPEED, part_only=part_only),
    )


def _page(*rows: Row, pictures: dict[str, int] | None = None) -> str:
    results = Results(pictures=pictures or dict(SET_SIZES), truth={4: dict.fromkeys(SET_SIZES, 3.21)}, rows=list(rows))
    return results_page(results, command="vsr evaluate --all --data here", machine=MACHINE)


def test_the_page_says_how_it_was_made_and_what_came_out() -> None:
    page = _page(_row("ecbsr"))
    assert "$ vsr evaluate --all --data here" in page
    assert "A processor, 2 cores" in page
    assert "31.23 / 0.8765" in page
    assert "5.68 / 0.0456" in page
    assert "| 12.3 k | 1.23 M | 1234 (openvino fp32) |" in page
    assert "BSD100 (100)" in page
    assert "3.21 / 0" in page
    tables = [line for line in page.splitlines() if line.startswith("|")]
    assert {line.count("|") for line in tables} == {1 + 7, 1 + 4}


def test_smaller_networks_and_estimates_are_named_as_such() -> None:
    page = _page(_row("srresnet", options={"blocks": 4, "width": 32, "batch_norm": False}, part_only=True))
    assert "`srresnet` fp32 (4 blocks, width 32)" in page
    assert "≈ 1234" in page
    assert "Smaller than published" in page
    paper = next(line for line in page.splitlines() if "Ledig" in line)
    # The paper's network in the paper's row: 16 blocks of 64.
    assert "1.5" in paper.split("|")[5]
    assert " M" in paper.split("|")[5]
    assert "Smaller than published" not in _page(_row("ecbsr"))


def test_published_figures_stand_beside_whole_test_sets_only() -> None:
    assert "*30.90*" in _page(_row("espcn"))
    partly = _page(_row("espcn"), pictures={"Set5": 2, "Set14": 14, "BSD100": 100})
    assert "*30.90*" not in partly
    assert "*27.73*" in partly
    assert "Shi et al." not in _page(_row("espcn"), pictures=dict.fromkeys(SET_SIZES, 2))


def test_unchecked_figures_are_marked() -> None:
    lines = _page(_row("espcn"), _row("srgan")).splitlines()
    names = [line.split("|")[1].strip() for line in lines if line.startswith("| *")]
    assert any(name.startswith("*ESPCN") and name.endswith("†") for name in names)
    assert any(name.startswith("*SRGAN") and not name.endswith("†") for name in names)


def test_published_figures_belong_to_networks_that_there_are() -> None:
    assert {name for each in PUBLISHED for name in each.models} <= MODELS.keys()
    assert published(["srcnn"], scale=2, pictures=SET_SIZES)["srcnn"][0].psnr["Set5"] == 36.66
    both = published(["srcnn", "srcnn-955"], scale=2, pictures=SET_SIZES)
    assert list(both) == ["srcnn-955"]


def test_the_command_writes_the_page(
    folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("vsr.app.results.frame_speed", lambda _: SPEED)
    monkeypatch.setattr("vsr.app.results.Upscaler", partial(Upscaler, device="torch"))
    page = tmp_path / "results.md"
    arguments = ["evaluate", "--all", "--data", str(folder), "--models", "nearest", "--limit", "1", "--out", str(page)]
    assert main(arguments) == 0
    said = capsys.readouterr()
    assert said.out == f"{page}\n"
    assert said.err.count("nearest ×") == 3
    text = page.read_text(encoding="utf-8")
    assert f"$ vsr evaluate --all --data {folder.name} --models nearest --limit 1 --out results.md" in text
    assert str(folder.parent) not in text
    assert main([*arguments[:-2], "--out", str(tmp_path / "no" / "results.md")]) == 4
    assert "nearest ×" not in capsys.readouterr().err
