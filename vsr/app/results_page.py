"""What was measured, as a page in Markdown beside what papers report."""

from __future__ import annotations

import datetime
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

from vsr.app.published import Published, published
from vsr.app.results import Quality, Results, Row
from vsr.models import build_network, model_spec
from vsr.models.base import macs_per_input_sample, parameter_count

_PROTOCOL = """\
**PSNR and SSIM**: each picture is cut to a multiple of the scale, shrunk by antialiased bicubic (MATLAB's) in RGB and
rounded to 8 bit; the luma (BT.601, limited range) of the enlarged picture is compared with that of the truth, 8 bit
both, a border of as many samples as the scale left out; a figure is the mean over the pictures, whose number stands in
the head of its column. Networks on luma get the luma of the small picture, networks on RGB its colours. No network was
trained on these pictures.

**Networks that paint texture** (`srgan`, `esrgan`) are made to lose PSNR: plausible detail is not the true one. The
second table of each scale judges what PSNR cannot. **NIQE** (Mittal et al. 2013) asks how far a picture is from good
photographs, without the truth; less is better. What it takes for a good photograph was fitted anew, to pictures that
these networks were trained on, among them those of BSDS500: compare its figures within this page only. On sets of small
pictures, such as Set5, it has few patches to judge by. **GMSD** (Xue et al. 2014) compares gradients at half the size
with those of the truth; 0 is equal, less is better.

**Speed** is the time for one frame of 1920×1080 out of a frame of that size over the scale, through `vsr.Upscaler` in
the precision that `auto` chooses for these weights: luma alone, or RGB for networks on RGB; without decoding and
encoding. ≈ marks what was timed on a sixteenth of a frame, because a whole one takes long.

**Published** figures, in italics, were obtained by others with other training pictures, mostly many more; they stand
where a whole test set was measured here. † marks those that were not checked in a source.
"""

_SMALLER = """\
**Smaller than published**: networks with blocks and width beside their names are not those of their papers, which were
out of reach for the processors that these were trained on. The rows of the papers state what the full ones have.
"""

_STREAM = """\
**Trained on compressed video**: `ecbsr-stream` is judged here on clean pictures, which it was not made for.
"""


def results_page(results: Results, *, command: str, machine: Mapping[str, Any]) -> str:
    """The page.

    Args:
        results: what was measured.
        command: that measured it, as one would type it.
        machine: as :func:`vsr.app.doctor.examine` describes it.
    """
    scales = sorted({row.scale for row in results.rows})
    parts = [_head(command, machine), _PROTOCOL]
    if any(row.options for row in results.rows):
        parts.append(_SMALLER)
    if any(row.model == "ecbsr-stream" for row in results.rows):
        parts.append(_STREAM)
    parts += ["\n".join(_scale(results, scale)) for scale in scales]
    return "\n".join(parts)


def _head(command: str, machine: Mapping[str, Any]) -> str:
    packages = ", ".join(f"{name} {machine['packages'][name]}" for name in ("torch", "openvino"))
    cpu = machine["cpu"]
    graphics = f"; {', '.join(machine['cuda'])}" if machine["cuda"] else ""
    return f"""\
# Results

Written by a command, on {datetime.date.today().isoformat()}, not by hand:

```console
$ {command}
```

vsr {machine["vsr"]}, {packages}; {cpu["name"]}, {cpu["cores"]} cores{graphics}, which other work may have shared.

## How it is measured
"""


def _scale(results: Results, scale: int) -> Iterator[str]:
    rows = [row for row in results.rows if row.scale == scale]
    sets = list(results.pictures)
    known = published([row.model for row in rows], scale=scale, pictures=results.pictures)
    titles = [f"{name} ({count})" for name, count in results.pictures.items()]
    yield f"## ×{scale}\n\nPSNR in dB / SSIM; more is better.\n"
    yield _line(["network", *titles, "parameters", "MACs per input pixel", "ms per 1080p frame"])
    yield _rule(1 + len(sets) + 3)
    for row in rows:
        yield _line([_name(row), *_cells(row, sets, _fidelity), _count(row.parameters), _count(row.macs), _speed(row)])
        yield from (_published_line(each, row, sets) for each in known.pop(row.model, []))
    yield f"\n### ×{scale} without PSNR\n\nNIQE / GMSD; less is better.\n"
    yield _line(["network", *titles])
    yield _rule(1 + len(sets))
    truth = results.truth[scale]
    yield _line(["*the truth itself*", *(f"{_number(truth[name], 2)} / 0" for name in sets)])
    for row in rows:
        yield _line([_name(row), *_cells(row, sets, _naturalness)])
    yield ""


def _line(cells: Sequence[str]) -> str:
    return f"| {' | '.join(cells)} |"


def _rule(columns: int) -> str:
    return f"|{'---|' * columns}"


def _name(row: Row) -> str:
    shape = ", ".join(f"{value} {name}" if name == "blocks" else f"{name} {value}" for name, value in _shape(row))
    return " ".join(part for part in (f"`{row.model}`", row.precision, f"({shape})" if shape else "") if part)


def _shape(row: Row) -> list[tuple[str, int]]:
    return [(name, value) for name, value in row.options.items() if not isinstance(value, bool)]


def _cells(row: Row, sets: Sequence[str], text: Callable[[Quality], str]) -> list[str]:
    return [text(row.quality[name]) for name in sets]


def _fidelity(quality: Quality) -> str:
    return f"{quality.psnr:.2f} / {quality.ssim:.4f}"


def _naturalness(quality: Quality) -> str:
    return f"{_number(quality.niqe, 2)} / {quality.gmsd:.4f}"


def _number(value: float | None, digits: int) -> str:
    return "–" if value is None else f"{value:.{digits}f}"


def _published_line(each: Published, row: Row, sets: Sequence[str]) -> str:
    """A row of a paper; the size of its network is that of the one of this project, built as in the paper."""
    size = [_count(row.parameters), _count(row.macs)]
    published = each.models[0]
    if model_spec(published).trained:
        full = build_network(published, scale=row.scale).folded().eval()
        size = [_count(parameter_count(full)), _count(macs_per_input_sample(full))]
    return _line([f"*{each.who}*{'' if each.checked else ' †'}", *(_reported(each, name) for name in sets), *size, "–"])


def _reported(each: Published, name: str) -> str:
    if name not in each.psnr:
        return "–"
    return f"*{each.psnr[name]:.2f}*" + (f" / *{each.ssim[name]:.4f}*" if name in each.ssim else "")


def _count(number: int) -> str:
    """Three digits of it, in thousands or millions: 10.0 k, 1.54 M; a dash for none."""
    for unit, size in ((" M", 1_000_000), (" k", 1_000)):
        if number >= size:
            value = number / size
            return f"{value:.{max(0, 3 - len(str(int(value))))}f}{unit}"
    return str(number) if number else "–"


def _speed(row: Row) -> str:
    about = "≈ " if row.speed.part_only else ""
    ms = row.speed.milliseconds
    text = f"{ms:.0f}" if ms >= 10 else f"{ms:.1f}"
    return f"{about}{text} ({row.speed.device} {row.speed.precision})"
