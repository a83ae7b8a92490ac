"""The frame that travels: what it accepts, and what it says of itself."""

from __future__ import annotations

from dataclasses import FrozenInstanceError, replace
from fractions import Fraction

import numpy as np
import pytest

from streams.errors import FrameError
from streams.frame import Frame, PixelFormat, Surface


def make(form: PixelFormat, width: int = 7, height: int = 5) -> Frame:
    planes = tuple(np.zeros(form.plane_shape(i, width, height), form.dtype) for i in range(form.plane_count))
    return Frame(planes=planes, format=form, pts=9, time_base=Fraction(1, 30))


@pytest.mark.parametrize(
    ("subsampling", "chroma"), [("420", (3, 4)), ("422", (5, 4)), ("444", (5, 7))], ids=["420", "422", "444"]
)
def test_odd_sizes_round_chroma_up(subsampling: str, chroma: tuple[int, int]) -> None:
    form = PixelFormat(subsampling=subsampling)
    assert form.plane_shape(0, 7, 5) == (5, 7)
    assert form.plane_shape(1, 7, 5) == form.plane_shape(2, 7, 5) == chroma


@pytest.mark.parametrize(
    ("form", "name"),
    [
        (PixelFormat(), "yuv420p"),
        (PixelFormat(subsampling="422", bit_depth=10), "yuv422p10le"),
        (PixelFormat(subsampling="gray"), "gray"),
        (PixelFormat(subsampling="gray", bit_depth=16), "gray16le"),
    ],
)
def test_format_has_the_name_that_ffmpeg_gives_it(form: PixelFormat, name: str) -> None:
    assert form.name == name


@pytest.mark.parametrize(
    "wrong", [{"subsampling": "411"}, {"bit_depth": 7}, {"bit_depth": 17}, {"range": "tv"}, {"chroma_location": "top"}]
)
def test_format_refuses_what_does_not_exist(wrong: dict[str, object]) -> None:
    with pytest.raises(FrameError, match=r"got .* allowed are"):
        PixelFormat(**wrong)


def test_frame_knows_its_geometry_and_time() -> None:
    frame = make(PixelFormat(bit_depth=10))
    assert (frame.width, frame.height) == (7, 5)
    assert frame.seconds == Fraction(3, 10)
    assert frame.geometry == replace(frame, pts=11).geometry
    assert frame.geometry != make(PixelFormat()).geometry


def test_frame_takes_padded_rows_without_a_copy() -> None:
    padded = np.zeros((5, 16), np.uint8)
    form = PixelFormat(subsampling="gray")
    frame = Frame(planes=(padded[:, :7],), format=form, pts=0, time_base=Fraction(1))
    assert np.shares_memory(frame.planes[0], padded)


def test_frame_refuses_planes_that_do_not_fit() -> None:
    frame = make(PixelFormat())
    luma, blue, red = frame.planes
    for planes, text in [
        ((luma,), "1 planes"),
        ((luma, blue, red[:-1]), "plane 2"),
        ((luma, blue.astype(np.uint16), red), "plane 1"),
    ]:
        with pytest.raises(FrameError, match=text):
            replace(frame, planes=planes)


def test_frame_cannot_be_changed() -> None:
    with pytest.raises(FrozenInstanceError):
        make(PixelFormat()).pts = 3


def test_repr_tells_shapes_and_no_pixels() -> None:
    assert repr(make(PixelFormat())) == "Frame(7×5 yuv420p limited, pts 9 × 1/30 s)"


class Lying(Surface):
    """Planes that are made when somebody asks."""

    def __init__(self) -> None:
        super().__init__(width=8, height=6, device=1)
        self.copies = 0

    def export(self) -> tuple[object, object]:
        raise NotImplementedError

    def download(self) -> tuple[np.ndarray, ...]:
        self.copies += 1
        return make(PixelFormat(), 8, 6).planes


def test_a_surface_is_copied_when_it_is_looked_at_and_once() -> None:
    surface = Lying()
    frame = Frame(planes=surface, format=PixelFormat(), pts=0, time_base=Fraction(1))
    later = replace(frame, pts=1)
    assert (later.width, later.height, len(later.planes)) == (8, 6, 3)
    assert "8×6 yuv420p" in repr(later)
    assert surface.copies == 0
    assert [plane.shape for plane in later.planes] == [(6, 8), (3, 4), (3, 4)]
    assert later.planes[-1].shape == frame.planes[1:][1].shape == (3, 4)
    assert surface.copies == 1


def test_a_surface_of_another_format_is_refused() -> None:
    with pytest.raises(FrameError, match="got 3 planes, gray has 1"):
        Frame(planes=Lying(), format=PixelFormat(subsampling="gray"), pts=0, time_base=Fraction(1))
