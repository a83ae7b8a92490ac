"""Frames as JPEG: the right colours whatever the numbers meant, the right size, the right part."""

from __future__ import annotations

import io
from fractions import Fraction

import numpy as np
import pytest
from page_stubs import pixels, plain
from PIL import Image, JpegImagePlugin

from streams.frame import Frame, PixelFormat
from streams.tone import HLG, PQ, tone_curve
from vsr.app.page.stills import Box, Look, Loupe, Still, StillMaker, loupe_box, shown_size

MATRICES = {1: (0.2126, 0.0722), 5: (0.299, 0.114), 6: (0.299, 0.114), 9: (0.2627, 0.0593)}
"""Kr and Kb of ITU-T H.273."""
COLOURS = [(255, 0, 0), (0, 255, 0), (0, 0, 255), (200, 120, 40), (255, 255, 255), (0, 0, 0), (90, 160, 220)]


def coded(rgb: tuple[int, int, int], form: PixelFormat, *, matrix: int) -> list[int]:
    """Y, Cb and Cr of a colour, by the equations of H.273."""
    red, green, blue = (part / 255 for part in rgb)
    kr, kb = MATRICES[matrix]
    luma = kr * red + (1 - kr - kb) * green + kb * blue
    chroma = (blue - luma) / (2 * (1 - kb)), (red - luma) / (2 * (1 - kr))
    shift, most = form.bit_depth - 8, (1 << form.bit_depth) - 1
    if form.range == "full":
        return [round(luma * most), *(min(most, round(part * most + (most + 1) / 2)) for part in chroma)]
    return [round((219 * luma + 16) * (1 << shift)), *(round((224 * part + 128) * (1 << shift)) for part in chroma)]


def coloured(rgb: tuple[int, int, int], form: PixelFormat, *, width: int = 48, height: int = 32, matrix: int) -> Frame:
    planes = tuple(
        np.full(form.plane_shape(index, width, height), value, form.dtype)
        for index, value in enumerate(coded(rgb, form, matrix=matrix))
    )
    return Frame(planes=planes, format=form, pts=0, time_base=Fraction(1))


def whole(frame: Frame, *, width: int = 4096, look: Look | None = None) -> Still:
    return StillMaker().whole(frame, look or Look(), width=width)


def assert_colour(still: Still, rgb: tuple[int, int, int]) -> None:
    middle = pixels(still.jpeg)[still.height // 2, still.width // 2]
    assert np.abs(middle - rgb).max() <= 4, f"got {middle}, expected {rgb}"


@pytest.mark.parametrize("matrix", MATRICES)
@pytest.mark.parametrize("value_range", ["limited", "full"])
@pytest.mark.parametrize("bit_depth", [8, 10])
def test_colours_by_matrix_range_and_depth(matrix: int, value_range: str, bit_depth: int) -> None:
    form = PixelFormat(bit_depth=bit_depth, range=value_range, matrix=matrix)  # type: ignore[arg-type]
    maker, box = StillMaker(), Box(left=0, top=0, width=32, height=16)
    for rgb in COLOURS:
        frame = coloured(rgb, form, matrix=matrix)
        assert_colour(maker.whole(frame, Look(), width=4096), rgb)
        assert_colour(maker.whole(frame, Look(), width=30), rgb)
        assert_colour(maker.crop(frame, Look(), box), rgb)


@pytest.mark.parametrize("subsampling", ["420", "422", "444"])
@pytest.mark.parametrize("bit_depth", [8, 12])
def test_colours_of_every_layout(subsampling: str, bit_depth: int) -> None:
    form = PixelFormat(subsampling=subsampling, bit_depth=bit_depth, matrix=1)  # type: ignore[arg-type]
    for size in ((48, 32), (47, 33)):
        frame = coloured((200, 120, 40), form, width=size[0], height=size[1], matrix=1)
        still = whole(frame)
        assert (still.width, still.height) == size
        assert_colour(still, (200, 120, 40))


@pytest.mark.parametrize(("height", "matrix"), [(576, 6), (720, 1)])
def test_an_unstated_matrix_is_what_players_assume(height: int, matrix: int) -> None:
    frame = coloured((200, 120, 40), PixelFormat(), width=64, height=height, matrix=matrix)
    assert_colour(whole(frame), (200, 120, 40))
    assert_colour(StillMaker().crop(frame, Look(), Box(left=0, top=0, width=32, height=32)), (200, 120, 40))


@pytest.mark.parametrize(
    ("value_range", "bit_depth", "value", "shown"),
    [
        ("full", 8, 16, 16),
        ("limited", 8, 16, 0),
        ("limited", 8, 235, 255),
        ("limited", 10, 940, 255),
        ("full", 10, 512, 128),
    ],
)
def test_gray_keeps_its_range(value_range: str, bit_depth: int, value: int, shown: int) -> None:
    form = PixelFormat(subsampling="gray", bit_depth=bit_depth, range=value_range)  # type: ignore[arg-type]
    frame = Frame(planes=(np.full((32, 48), value, form.dtype),), format=form, pts=0, time_base=Fraction(1))
    assert_colour(whole(frame), (shown,) * 3)
    assert_colour(whole(frame, width=30), (shown,) * 3)


@pytest.mark.parametrize(
    ("size", "aspect", "rotation", "width", "expected"),
    [
        ((640, 360), Fraction(1), 0, 4096, (640, 360)),
        ((640, 360), Fraction(1), 0, 320, (320, 180)),
        ((640, 360), Fraction(4, 3), 0, 4096, (640, 270)),
        ((640, 360), Fraction(1, 2), 0, 4096, (320, 360)),
        ((640, 360), Fraction(1, 2), 0, 160, (160, 180)),
        ((640, 360), Fraction(1), 90, 4096, (360, 640)),
        ((640, 360), Fraction(1), 270, 180, (180, 320)),
        ((640, 360), Fraction(4, 3), 90, 4096, (270, 640)),
        ((5, 4000), Fraction(1), 90, 160, (160, 1)),
    ],
)
def test_the_size_that_is_shown(
    size: tuple[int, int], aspect: Fraction, rotation: int, width: int, expected: tuple[int, int]
) -> None:
    frame, look = plain(90, width=size[0], height=size[1]), Look(sample_aspect_ratio=aspect, rotation=rotation)
    assert shown_size(frame, look, width=width) == expected
    still = whole(frame, width=width, look=look)
    assert (still.width, still.height) == expected == pixels(still.jpeg).shape[1::-1]


def corners(width: int = 64, height: int = 48) -> Frame:
    """Bright where it begins, at the top left, and dark elsewhere."""
    frame = plain(20, width=width, height=height)
    frame.planes[0][: height // 2, : width // 2] = 230
    return frame


@pytest.mark.parametrize(("rotation", "corner"), [(0, (0, 0)), (90, (1, 0)), (180, (1, 1)), (270, (0, 1))])
def test_it_turns_counter_clockwise(rotation: int, corner: tuple[int, int]) -> None:
    look = Look(rotation=rotation)
    picture = pixels(whole(corners(), look=look).jpeg)
    bright = {
        (row, column)
        for row in (0, 1)
        for column in (0, 1)
        if picture[row * (picture.shape[0] - 4) + 2, column * (picture.shape[1] - 4) + 2, 0] > 128
    }
    assert bright == {corner}


def numbered(width: int = 200, height: int = 120) -> Frame:
    """Every sample is one more than its left neighbour, and three more than the one above; smooth enough for JPEG."""
    rows, columns = np.mgrid[:height, :width]
    return Frame(
        planes=((columns // 2 + rows).astype(np.uint8),),
        format=PixelFormat(subsampling="gray", range="full"),
        pts=0,
        time_base=Fraction(1),
    )


@pytest.mark.parametrize("rotation", [0, 90, 180, 270])
@pytest.mark.parametrize(("x", "y"), [(0.5, 0.5), (0.0, 0.0), (1.0, 1.0), (0.31, 0.77)])
def test_a_loupe_shows_the_samples_around_its_centre(rotation: int, x: float, y: float) -> None:
    frame, look = numbered(), Look(rotation=rotation)
    box = loupe_box(frame, look, Loupe(x=x, y=y, width=40, height=24))
    part = pixels(StillMaker().crop(frame, look, box).jpeg)[..., 0]
    everything = np.rot90(frame.planes[0].astype(np.int32), rotation // 90)
    rows, columns = everything.shape
    assert part.shape == (24, 40)
    top = min(max(0, round(y * rows - 12)), rows - 24)
    left = min(max(0, round(x * columns - 20)), columns - 40)
    # Its beginning may be one sample off, so that it begins at a whole chroma sample.
    expected = [
        everything[top + down : top + down + 24, left + right : left + right + 40]
        for down in (-1, 0, 1)
        for right in (-1, 0, 1)
    ]
    assert min(np.abs(part - each).max() for each in expected if each.shape == part.shape) <= 2


def test_a_loupe_larger_than_the_picture_is_the_picture() -> None:
    frame = numbered(33, 21)
    box = loupe_box(frame, Look(), Loupe(x=0.9, y=0.1, width=400, height=300))
    assert box == Box(left=0, top=0, width=33, height=21)
    assert np.abs(pixels(StillMaker().crop(frame, Look(), box).jpeg)[..., 0] - frame.planes[0]).max() <= 3


def test_a_part_of_subsampled_colour_keeps_its_place() -> None:
    frame = coloured((40, 40, 40), PixelFormat(matrix=1), width=65, height=49, matrix=1)
    for plane, value in zip(frame.planes, coded((200, 40, 40), frame.format, matrix=1), strict=True):
        scale = 1 if plane is frame.planes[0] else 2
        plane[20 // scale :, 32 // scale :] = value
    part = StillMaker().crop(frame, Look(), Box(left=24, top=12, width=16, height=16))
    red = pixels(part.jpeg)[..., 0] > 120
    assert red[8:, 8:].all()
    assert not red[:7].any()
    assert not red[:, :7].any()


def test_only_the_loupe_keeps_the_colour_of_every_sample() -> None:
    frame = coloured((200, 120, 40), PixelFormat(matrix=1), matrix=1)
    part = StillMaker().crop(frame, Look(), Box(left=0, top=0, width=32, height=16))
    samplings = [JpegImagePlugin.get_sampling(Image.open(io.BytesIO(x.jpeg))) for x in (whole(frame), part)]
    assert samplings == [2, 0]


def test_planes_may_be_parts_of_larger_arrays() -> None:
    frame = corners()
    wide = np.full((48, 100), 255, np.uint8)
    wide[:, :64] = frame.planes[0]
    view = Frame(planes=(wide[:, :64],), format=frame.format, pts=0, time_base=Fraction(1))
    assert whole(view).jpeg == whole(frame).jpeg


@pytest.mark.parametrize("rotation", [0, 90])
@pytest.mark.parametrize("width", [4096, 48])
def test_some_columns_are_those_of_the_whole(rotation: int, width: int) -> None:
    look = Look(rotation=rotation)
    everything = StillMaker().whole(corners(96, 64), look, width=width)
    part = StillMaker().whole(corners(96, 64), look, width=width, span=(0.25, 0.75))
    assert (part.left, part.width, part.height) == (everything.width // 4, everything.width // 2, everything.height)
    expected = pixels(everything.jpeg)[:, part.left : part.left + part.width]
    assert np.abs(pixels(part.jpeg) - expected).mean() < 3


def ramp(transfer: int, *, width: int = 256) -> Frame:
    """From black to the brightest, in ten bits."""
    form = PixelFormat(bit_depth=10, matrix=9, primaries=9, transfer=transfer)
    luma = np.tile(np.linspace(64, 940, width).round().astype(np.uint16), (32, 1))
    chroma = np.full((16, width // 2), 512, np.uint16)
    return Frame(planes=(luma, chroma, chroma.copy()), format=form, pts=0, time_base=Fraction(1))


def test_hdr_is_shown_as_a_screen_without_it_can() -> None:
    shown = {kind: pixels(whole(ramp(kind)).jpeg)[16] for kind in (1, PQ, HLG)}
    assert all(np.ptp(row, axis=1).max() <= 3 for row in shown.values())
    for transfer in (PQ, HLG):
        expected = np.frombuffer(tone_curve(transfer), np.uint8).astype(int)
        assert np.abs(shown[transfer][:, 0] - expected).max() <= 5
    # A room of 26 cd/m² is darker than its number is when taken for SDR, and a lamp of 1000 is white.
    assert shown[PQ][95, 0] < shown[1][95, 0] + 20
    assert shown[PQ][192, 0] > 250 > shown[1][192, 0]


def test_the_loupe_shows_hdr_as_the_picture_does() -> None:
    maker, frame, look = StillMaker(), ramp(PQ), Look(peak_nits=400.0)
    everything = pixels(maker.whole(frame, look, width=4096).jpeg)
    part = pixels(maker.crop(frame, look, Box(left=64, top=0, width=96, height=32)).jpeg)
    assert np.abs(part - everything[:, 64:160]).max() <= 6
    assert everything[16, 165].min() > 250


def test_one_maker_serves_frames_of_all_kinds() -> None:
    maker = StillMaker()
    for round_ in range(30):
        rgb = COLOURS[round_ % len(COLOURS)]
        form = PixelFormat(matrix=1, bit_depth=(8, 10)[round_ % 2])
        frame = coloured(rgb, form, width=48 + 2 * (round_ % 17), matrix=1)
        assert_colour(maker.whole(frame, Look(), width=40), rgb)


@pytest.mark.parametrize("width", [*range(990, 1000), 1026, 1019, 17, 3])
def test_every_column_is_drawn(width: int) -> None:
    planes = (np.full((36, width), 200, np.uint8), *(np.full((18, (width + 1) // 2), 128, np.uint8) for _ in "uv"))
    frame = Frame(planes=planes, format=PixelFormat(subsampling="420"), pts=0, time_base=Fraction(1, 25))
    still = StillMaker().whole(frame, Look(), width=width)
    assert np.ptp(np.asarray(Image.open(io.BytesIO(still.jpeg)).convert("L")).astype(int)) <= 1
