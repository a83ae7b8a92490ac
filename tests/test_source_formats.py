"""Pixel formats as they come out of files: planes without a copy where that can be, one conversion where not."""

from __future__ import annotations

import logging
from fractions import Fraction
from pathlib import Path

import av
import media
import numpy as np
import pytest

from streams.errors import SourceError
from streams.hdr import ContentLight, MasteringDisplay, parse_content_light, parse_mastering_display
from streams.sources import FileSource
from streams.sources.formats import Planar, layout_of, pixel_format, planes_of, usual_chroma_location

NATIVE = [
    "gray",
    "gray10le",
    "gray16le",
    "yuv420p",
    "yuv420p10le",
    "yuv422p",
    "yuv422p12le",
    "yuv444p",
    "yuv444p16le",
]
LOSSLESS = {
    "nv12": "yuv420p",
    "nv21": "yuv420p",
    "nv16": "yuv422p",
    "nv24": "yuv444p",
    "p010le": "yuv420p10le",
    "p012le": "yuv420p12le",
    "p016le": "yuv420p16le",
    "p210le": "yuv422p10le",
    "p416le": "yuv444p16le",
    "yuyv422": "yuv422p",
    "uyvy422": "yuv422p",
    "y210le": "yuv422p10le",
    "xv36le": "yuv444p12le",
    "yuva420p": "yuv420p",
    "yuva444p10le": "yuv444p10le",
    "yuv420p10be": "yuv420p10le",
    "gray16be": "gray16le",
    "ya8": "gray",
}


@pytest.mark.parametrize("size", [(64, 48), (37, 23), (1, 1)], ids=str)
@pytest.mark.parametrize("name", NATIVE)
def test_planar_formats_pass_as_they_are(tmp_path: Path, name: str, size: tuple[int, int]) -> None:
    pictures = media.pattern(2, *size, name)
    with FileSource(media.write_clip(tmp_path / "clip.mkv", pictures)) as source:
        frames = list(source)
    assert source.info.format.name == name
    for frame, picture in zip(frames, pictures, strict=True):
        assert all(map(np.array_equal, frame.planes, media.planes(picture)))


@pytest.mark.parametrize("name", LOSSLESS)
def test_rearranged_formats_are_converted_without_loss(name: str) -> None:
    planar = LOSSLESS[name]
    (original,) = media.pattern(1, 46, 34, planar)
    converted = Planar().to_planar(original.reformat(format=name, src_color_range=1, dst_color_range=1))
    assert converted.format.name == planar
    assert all(map(np.array_equal, media.planes(converted), media.planes(original)))


def test_a_semi_planar_file_passes_through_the_source(tmp_path: Path) -> None:
    (picture,) = media.pattern(1, 46, 34, "nv12")
    path = media.write_clip(tmp_path / "semi.nut", [picture], codec="rawvideo")
    with FileSource(path) as source:
        (frame,) = source
    assert source.info.format.name == "yuv420p"
    assert all(map(np.array_equal, frame.planes, media.planes(picture.reformat(format="yuv420p"))))


@pytest.mark.parametrize(
    ("name", "planar"),
    [("yuv411p", "yuv422p"), ("yuv410p", "yuv420p"), ("yuv440p", "yuv444p"), ("pal8", "yuv444p"), ("monob", "gray")],
)
def test_the_nearest_layout_keeps_the_chroma_that_there_is(name: str, planar: str) -> None:
    assert layout_of(name).name == planar


@pytest.mark.parametrize("height", [64, 720])
@pytest.mark.parametrize(("name", "bits"), [("gbrp", 8), ("gbrp10le", 10), ("gbrp12le", 12)])
def test_rgb_gets_the_matrix_of_its_size_in_limited_range(name: str, bits: int, height: int) -> None:
    picture = av.VideoFrame(64, height, name)
    dtype = np.uint8 if bits == 8 else np.uint16
    rng = np.random.default_rng(7)
    channels = []
    for plane in picture.planes:
        values = rng.integers(0, 1 << bits, plane.buffer_size // np.dtype(dtype).itemsize).astype(dtype)
        plane.update(values.tobytes())
        channels.append(values.reshape(height, -1)[:, :64] / ((1 << bits) - 1))
    green, blue, red = channels
    share_r, share_b = (0.299, 0.114) if height < 720 else (0.2126, 0.0722)
    luma = share_r * red + (1 - share_r - share_b) * green + share_b * blue
    steps = [16 + 219 * luma, 128 + 112 * (blue - luma) / (1 - share_b), 128 + 112 * (red - luma) / (1 - share_r)]
    form = pixel_format(picture, "ffv1")
    assert (form.bit_depth, form.range, form.matrix) == (bits, "limited", 6 if height < 720 else 1)
    for plane, expected in zip(planes_of(Planar().to_planar(picture), form), steps, strict=True):
        # In steps of 8 bit: above that depth FFmpeg's scaler keeps to less than one of them.
        assert np.abs(plane / (1 << (bits - 8)) - expected).max() < 0.9


def test_an_rgb_file_is_converted_and_it_is_said_once(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO)
    path = media.write_clip(tmp_path / "rgb.mkv", media.pattern(3, 64, 48, "gbrp10le"))
    with FileSource(path) as source:
        assert [frame.format.name for frame in source] == ["yuv444p10le"] * 3
    assert caplog.text.count("converting gbrp10le to yuv444p10le") == 1


def test_a_lost_alpha_channel_is_a_warning(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    path = media.write_clip(tmp_path / "alpha.mkv", media.pattern(2, 64, 48, "yuva420p"))
    with FileSource(path) as source:
        assert len(list(source)) == 2
    assert [record.levelno for record in caplog.records if "alpha" in record.message] == [logging.WARNING]


def test_jpeg_is_full_range_with_centred_chroma(tmp_path: Path) -> None:
    pictures = media.pattern(2, 64, 48, "yuvj420p")
    path = media.write_clip(tmp_path / "clip.avi", pictures, codec="mjpeg", color_range=2)
    with FileSource(path) as source:
        form = source.info.format
    assert (form.name, form.range, form.chroma_location) == ("yuv420p", "full", "center")


def test_a_picture_stored_bottom_up_is_read_top_down() -> None:
    (picture,) = media.pattern(1, 16, 8, "gray")
    upside_down = av.VideoFrame.from_ndarray(np.ascontiguousarray(media.planes(picture)[0][::-1]), "gray")
    form = pixel_format(picture, "x")
    flipped = _negative_stride(upside_down)
    assert np.array_equal(planes_of(flipped, form)[0], media.planes(picture)[0])


def _negative_stride(picture: av.VideoFrame) -> av.VideoFrame:
    graph = av.filter.Graph()
    source = graph.add_buffer(
        width=picture.width, height=picture.height, format=picture.format, time_base=Fraction(1, 25)
    )
    graph.link_nodes(source, graph.add("vflip"), graph.add("buffersink"))
    graph.configure()
    graph.vpush(picture)
    flipped = graph.vpull()
    assert flipped.planes[0].line_size < 0
    return flipped


def test_a_format_that_ffmpeg_cannot_convert_is_an_error_and_no_crash() -> None:
    for name in ("yaf32le", "gray32le"):
        with pytest.raises(SourceError, match=f"{name}, which FFmpeg cannot convert"):
            Planar().to_planar(av.VideoFrame(16, 16, name))


@pytest.mark.parametrize(
    ("codec", "primaries", "transfer", "location"),
    [
        ("h264", 2, 2, "left"),
        ("mpeg2video", 2, 2, "left"),
        ("mpeg1video", 2, 2, "center"),
        ("theora", 2, 2, "center"),
        ("hevc", 9, 16, "topleft"),
        ("av1", 9, 18, "topleft"),
        ("hevc", 9, 14, "left"),
        ("vp9", 9, 16, "left"),
    ],
)
def test_chroma_lies_where_the_codec_has_it(codec: str, primaries: int, transfer: int, location: str) -> None:
    assert usual_chroma_location(codec, primaries, transfer) == location


def test_the_callers_chroma_location_wins(clip: Path) -> None:
    with FileSource(clip, chroma_location="topleft") as source:
        assert source.info.format.chroma_location == "topleft"
        assert next(iter(source)).format.chroma_location == "topleft"


def test_hdr_side_data_of_a_real_file(data_dir: Path) -> None:
    with FileSource(data_dir / "odd_videos" / "sample_with_colr_mdcv_and_clli.mp4") as source:
        hdr = source.info.hdr
    display, light = hdr["mastering_display"], hdr["content_light"]
    assert isinstance(display, MasteringDisplay)
    assert isinstance(light, ContentLight)
    assert display.white == pytest.approx((0.3127, 0.3290), abs=1e-3)
    assert display.max_luminance >= 100


def test_hdr_side_data_that_says_nothing_is_none() -> None:
    assert parse_mastering_display(bytes(88)) is None
    assert parse_mastering_display(b"short") is None
    assert parse_content_light(bytes(8)) is None


def flat(name: str, value: int, *, value_range: int = 0, matrix: int = 2) -> av.VideoFrame:
    """A picture of 16×16 whose planes hold one value each: ``value``, and a bit more in chroma."""
    picture = av.VideoFrame(16, 16, name)
    for index, plane in enumerate(picture.planes):
        plane.update(bytes([value + 30 * index]) * plane.buffer_size)
    picture.color_range, picture.colorspace = value_range, matrix
    return picture


@pytest.mark.parametrize("name", ["yuvj420p", "yuv420p", "gray", "yuv444p"])
def test_a_range_that_changes_on_the_way_is_brought_to_the_first(name: str) -> None:
    form = pixel_format(flat(name.replace("yuvj", "yuv"), 16, value_range=1), "ffv1")
    full = flat(name, 102, value_range=2)
    result = Planar().to_geometry(full, 16, 16, form)
    assert result.format.name == form.name
    for index, plane in enumerate(media.planes(result)):
        scale, zero, centre = (219, 16, 0) if index == 0 else (224, 128, 128)
        assert np.abs(plane - (zero + (102 + 30 * index - centre) * scale / 255)).max() < 1
    back = Planar().to_geometry(result, 16, 16, pixel_format(full, "ffv1"))
    assert np.abs(media.planes(back)[0].astype(int) - 102).max() <= 1
    limited = flat(form.name, 50, value_range=1)
    assert Planar().to_geometry(limited, 16, 16, form) is limited


@pytest.mark.parametrize(("name", "first"), [("gray", "yuv420p"), ("yuv420p", "gray"), ("gray", "gray10le")])
def test_gray_and_colour_on_the_way_keep_their_brightness(name: str, first: str) -> None:
    form = pixel_format(flat(first, 16, value_range=1), "ffv1")
    luma = media.planes(Planar().to_geometry(flat(name, 102, value_range=1), 18, 14, form))[0]
    assert luma.shape == (14, 18)
    assert np.abs((luma.astype(int) >> (form.bit_depth - 8)) - 102).max() == 0


def test_a_matrix_that_changes_on_the_way_is_brought_to_the_first() -> None:
    first = flat("yuv444p", 100, value_range=1, matrix=1)
    form = pixel_format(first, "ffv1")
    luma, blue, red = (plane[0, 0] for plane in media.planes(flat("yuv444p", 100)))
    result = Planar().to_geometry(flat("yuv444p", 100, value_range=1, matrix=6), 16, 16, form)

    def linear(values: tuple[int, ...], share_r: float, share_b: float) -> np.ndarray:
        y, cb, cr = (values[0] - 16) / 219, (values[1] - 128) / 224, (values[2] - 128) / 224
        r, b = y + 2 * (1 - share_r) * cr, y + 2 * (1 - share_b) * cb
        return np.array([r, (y - share_r * r - share_b * b) / (1 - share_r - share_b), b])

    converted = tuple(int(plane[8, 8]) for plane in media.planes(result))
    assert converted != (luma, blue, red)
    expected = linear((int(luma), int(blue), int(red)), 0.299, 0.114)
    assert np.abs(linear(converted, 0.2126, 0.0722) - expected).max() < 0.02


@pytest.mark.parametrize(("first", "later"), [(5, 6), (2, 1), (1, 2)])
def test_matrices_that_mean_the_same_or_nothing_change_nothing(first: int, later: int) -> None:
    form = pixel_format(flat("yuv444p", 100, value_range=1, matrix=first), "ffv1")
    picture = flat("yuv444p", 100, value_range=1, matrix=later)
    assert Planar().to_geometry(picture, 16, 16, form) is picture
