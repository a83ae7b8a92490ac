"""Decoded pictures that say they lie on a GPU: NV12 and P010 in the memory of the host, behind the face of NVDEC's."""

from __future__ import annotations

import weakref
from collections.abc import Iterator
from fractions import Fraction
from types import SimpleNamespace
from typing import Any

import av
import numpy as np
from fake_device import FakeDevice

from streams.frame import Frame, PixelFormat
from streams.sources.reader import Reader
from streams.sources.surfaces import DecodedSurface
from vsr import luma, upscaler
from vsr.backends import Choice
from vsr.backends.cuda import CudaBackend

CUDA = 2
"""DLPack's number for such a device."""


class GpuPlane:
    """A plane of NVDEC's: bytes only by DLPack, and without streams."""

    def __init__(self, plane: Any, device: int) -> None:
        self._plane, self._device = plane, device

    def __dlpack_device__(self) -> tuple[int, int]:
        return CUDA, self._device

    def __dlpack__(self, *, stream: int | None = None) -> Any:
        if stream is not None:
            raise NotImplementedError("CUDA stream synchronization is not supported")
        return self._plane.__dlpack__()


class GpuPicture:
    """A picture of NVDEC's.

    Args:
        picture: what it holds.
        device: index of the GPU on which it says it lies.
        facts: what knows everything else about it.

    Attributes:
        downloads: how often it was copied to the host.
    """

    def __init__(self, picture: av.VideoFrame, *, device: int = 0, facts: av.VideoFrame | None = None) -> None:
        self._picture, self._device, self._facts = picture, device, facts or picture
        self.format, self.sw_format = SimpleNamespace(name="cuda"), picture.format
        self.downloads = 0

    # isinstance() asks for it.
    @property
    def __class__(self) -> Any:  # type: ignore[override]
        return av.VideoFrame

    @property
    def planes(self) -> tuple[GpuPlane, ...]:
        return tuple(GpuPlane(plane, self._device) for plane in self._picture.planes)

    def reformat(self, *, format: str) -> av.VideoFrame:  # noqa: A002
        assert format == self.sw_format.name
        self.downloads += 1
        return self._picture.reformat(format=format)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._facts, name)


def decoded_on_gpu(monkeypatch: Any, layout: str, *, device: int = 0) -> list[GpuPicture]:
    """From here on whatever is decoded comes as NVDEC's, in a layout; the list grows with it."""
    pictures: list[GpuPicture] = []
    decode = Reader._decode

    def as_of_gpu(self: Reader, packet: Any) -> Iterator[Any]:
        for picture in decode(self, packet):
            pictures.append(GpuPicture(_packed(picture, layout), device=device, facts=picture))
            yield pictures[-1]

    monkeypatch.setattr(Reader, "_decode", as_of_gpu)
    return pictures


def surface_frame(rows: int, columns: int, *, bit_depth: int = 8, seed: int = 0, gpu: int = 0) -> tuple[Frame, Frame]:
    """The same picture on the pretended GPU and on the host."""
    picture, planes, _ = semi_planar(rows, columns, bit_depth=bit_depth, seed=seed)
    form = PixelFormat(bit_depth=bit_depth)
    facts: Any = {"format": form, "pts": seed, "time_base": Fraction(1, 25)}
    there: Any = GpuPicture(picture, device=gpu)
    return Frame(planes=DecodedSurface(there, form), **facts), Frame(planes=planes, **facts)


def pretend_cuda(monkeypatch: Any) -> FakeDevice:
    """From here on whoever makes an upscaler gets it on a device that is made of numbers."""
    device, chosen = FakeDevice(), Choice(device="cuda", precision="fp32", reason="pretended")

    def make(choice: Choice, **_: Any) -> CudaBackend:
        return CudaBackend(device, precision=choice.precision)

    monkeypatch.setattr(luma, "make_backend", make)
    monkeypatch.setattr(upscaler, "choose", lambda *_, **__: chosen)
    return device


def same(a: Any, b: Any) -> bool:
    """Whether two pictures have the same planes."""
    return len(a) == len(b) and all(np.array_equal(x, y) for x, y in zip(a, b, strict=True))


def _packed(picture: av.VideoFrame, layout: str) -> av.VideoFrame:
    """Planes as a GPU would have them; swscale, asked for P010 of an odd width, forgets the last column of chroma."""
    if picture.format.name == layout:
        return picture
    made = av.VideoFrame(picture.width, picture.height, layout)
    samples, shift = (np.uint8, 0) if layout == "nv12" else (np.uint16, 6)
    luma, *chroma = (
        np.frombuffer(memoryview(plane), samples).reshape(plane.height, -1)[:, : plane.width]
        for plane in picture.planes
    )
    targets = [np.frombuffer(memoryview(plane), samples).reshape(plane.height, -1) for plane in made.planes]
    targets[0][:, : luma.shape[1]] = luma << shift
    for index, plane in enumerate(chroma):
        targets[1][:, index : 2 * plane.shape[1] : 2] = plane << shift
    made.pts = picture.pts
    made.color_range, made.colorspace = picture.color_range, picture.colorspace
    return made


def semi_planar(
    rows: int, columns: int, *, bit_depth: int = 8, seed: int = 0
) -> tuple[av.VideoFrame, tuple[Any, ...], weakref.ref[Any]]:
    """A picture of noise; its planes; and what is dead as soon as nobody has its luma any more."""
    kind, shift, name = (np.uint8, 0, "nv12") if bit_depth == 8 else (np.uint16, 16 - bit_depth, f"p0{bit_depth}le")
    numbers = np.random.default_rng(seed)
    luma = numbers.integers(0, 1 << bit_depth, (rows, columns)).astype(kind) << shift
    chroma = numbers.integers(0, 1 << bit_depth, (rows // 2, columns // 2, 2)).astype(kind) << shift
    planes = luma >> shift, chroma[..., 0] >> shift, chroma[..., 1] >> shift
    picture = av.VideoFrame.from_dlpack((luma.__dlpack__(), chroma.__dlpack__()), format=name)
    return picture, planes, weakref.ref(luma)
