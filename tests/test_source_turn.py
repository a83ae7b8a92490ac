"""Rotation and mirroring: passed on as a tag, or applied to the pixels."""

from __future__ import annotations

import itertools
from fractions import Fraction
from pathlib import Path

import media
import numpy as np
import pytest

from streams.frame import PixelFormat
from streams.sources import FileSource
from streams.sources.rotate import Turn, rotation_of, turn_planes

ONE = 1 << 16
# Where a player shows the picture's right (x) and down (y) directions, and the same by NumPy.
MATRICES = {
    "as it is": ((ONE, 0, 0, ONE), lambda p: p),
    "clockwise": ((0, ONE, -ONE, 0), lambda p: np.rot90(p, -1)),
    "half turn": ((-ONE, 0, 0, -ONE), lambda p: np.rot90(p, 2)),
    "counter-clockwise": ((0, -ONE, ONE, 0), np.rot90),
    "left to right": ((-ONE, 0, 0, ONE), np.fliplr),
    "upside down": ((ONE, 0, 0, -ONE), np.flipud),
    "transposed": ((0, ONE, ONE, 0), np.transpose),
    "transposed, half turn": ((0, -ONE, -ONE, 0), lambda p: np.rot90(p, 2).T),
}


def matrix_of(abcd: tuple[int, int, int, int]) -> tuple[int, ...]:
    a, b, c, d = abcd
    return (a, b, 0, c, d, 0, 0, 0, 1 << 30)


@pytest.mark.parametrize("size", [(64, 48), (37, 22)], ids=str)
@pytest.mark.parametrize("name", MATRICES)
def test_the_matrix_turns_pixels_as_players_do(tmp_path: Path, name: str, size: tuple[int, int]) -> None:
    abcd, expected = MATRICES[name]
    pictures = media.pattern(2, *size, "yuv444p")
    options = {"preset": "ultrafast", "qp": "0"}
    path = media.write_clip(
        tmp_path / "turned.mp4",
        pictures,
        codec="libx264",
        options=options,
        matrix=matrix_of(abcd),
        sample_aspect_ratio=2,
    )
    with FileSource(path, rotate=True) as source:
        frames = list(source)
    info = source.info
    assert (info.rotation, info.display_matrix) == (0, None) or name == "as it is"
    assert {(frame.width, frame.height) for frame in frames} == {(info.width, info.height)}
    assert info.sample_aspect_ratio == (2 if info.width == size[0] else Fraction(1, 2))
    for frame, picture in zip(frames, pictures, strict=True):
        for plane, original in zip(frame.planes, media.planes(picture), strict=True):
            assert np.array_equal(plane, expected(original))


@pytest.mark.parametrize(
    ("name", "degrees"), [("as it is", 0), ("clockwise", 270), ("half turn", 180), ("counter-clockwise", 90)]
)
def test_the_tag_is_passed_on_unless_it_is_applied(tmp_path: Path, name: str, degrees: int) -> None:
    matrix = matrix_of(MATRICES[name][0])
    path = media.write_clip(tmp_path / "tag.mp4", media.pattern(1, 64, 48), codec="libx264", matrix=matrix)
    with FileSource(path) as source:
        assert source.info.rotation == degrees == rotation_of(matrix)
        assert source.info.display_matrix in (matrix, None if degrees == 0 else matrix)
        assert (source.info.width, source.info.height) == (64, 48)


def test_a_mirrored_matrix_is_passed_on_whole(tmp_path: Path) -> None:
    matrix = matrix_of(MATRICES["left to right"][0])
    path = media.write_clip(tmp_path / "mirror.mp4", media.pattern(1, 64, 48), codec="libx264", matrix=matrix)
    with FileSource(path) as source:
        assert source.info.display_matrix == matrix


@pytest.mark.parametrize("matrix", [(0,) * 9, matrix_of((46341, 46341, -46341, 46341))], ids=["empty", "45 degrees"])
def test_other_angles_are_no_turn(matrix: tuple[int, ...]) -> None:
    assert Turn.from_matrix(matrix) is None
    assert rotation_of(matrix) in range(0, 360, 90)


def ramp(form: PixelFormat, width: int, height: int, slope_x: float, slope_y: float) -> tuple[np.ndarray, ...]:
    """Planes whose values are the positions of their samples in the picture, so that a shift can be read off."""
    x0 = 0.0 if form.chroma_location in ("left", "topleft") else 0.5
    y0 = 0.0 if form.chroma_location == "topleft" else 0.5
    made = []
    for index in range(3):
        rows, columns = form.plane_shape(index, width, height)
        step_x, step_y = (1, 1) if index == 0 else (2, 2 if form.subsampling == "420" else 1)
        start_x, start_y = (0, 0) if index == 0 else (x0, y0 if form.subsampling == "420" else 0)
        across = start_x + step_x * np.arange(columns)
        down = start_y + step_y * np.arange(rows)
        made.append(np.rint(1000 + slope_x * across[None, :] + slope_y * down[:, None]).astype(np.uint16))
    return tuple(made)


@pytest.mark.parametrize("location", ["left", "center", "topleft"])
@pytest.mark.parametrize("size", list(itertools.product((20, 21), (16, 17))), ids=str)
@pytest.mark.parametrize("name", list(MATRICES)[1:])
def test_chroma_stays_on_its_luma_when_it_is_turned(name: str, size: tuple[int, int], location: str) -> None:
    turn = Turn.from_matrix(matrix_of(MATRICES[name][0]))
    form = PixelFormat(subsampling="420", bit_depth=16, chroma_location=location)
    turned = turn_planes(ramp(form, *size, 400, 900), form, turn)
    luma, *chroma = turned
    # Chroma of the turned picture is centred: between two by two luma samples lies their mean.
    rows, columns = luma.shape[0] // 2, luma.shape[1] // 2
    blocks = luma[: 2 * rows, : 2 * columns].reshape(rows, 2, columns, 2).mean(axis=(1, 3))
    inside = np.s_[1 : rows - 1, 1 : columns - 1]
    for plane in chroma:
        assert plane.flags.c_contiguous
        assert np.abs(plane[:rows, :columns][inside] - blocks[inside]).max() <= 2


def test_half_resolution_across_becomes_full_to_be_turned_by_a_right_angle(tmp_path: Path) -> None:
    matrix = matrix_of(MATRICES["clockwise"][0])
    pictures = media.pattern(1, 64, 48, "yuv422p")
    path = media.write_clip(tmp_path / "turned.mp4", pictures, codec="libx264", matrix=matrix)
    with FileSource(path, rotate=True) as source:
        (frame,) = source
    assert (frame.width, frame.height, frame.format.name) == (48, 64, "yuv444p")
    assert frame.format == source.info.format
