"""Everything about a GPU in one call: ``python -m vsr.app.bench_cuda`` prints a line of JSON for each section.

What a section finds is printed as soon as it is known, so that nothing is lost where time or memory runs out; a section
that fails or cannot be run here says why. ``--rehearse`` runs the same code on the CPU with tiny pictures: its figures
mean nothing, but it shows that the code runs.
"""

from __future__ import annotations

import argparse
import json
import logging
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import torch

from vsr.app import cuda_sections as sections
from vsr.app.cuda_bench import Bench, Skipped

Section = Callable[[Bench], Iterator[dict[str, Any]]]

# What matters most comes first; seconds that each may take.
SECTIONS: tuple[tuple[str, Section, float], ...] = (
    ("machine", sections.machine, 10),
    ("correctness", sections.correctness, 60),
    ("copies", sections.copies, 15),
    ("products", sections.products, 15),
    ("network", sections.network, 75),
    ("fused", sections.fused, 30),
    ("overlap", sections.overlap, 45),
    ("trace", sections.trace, 30),
    ("pipeline", sections.pipeline, 110),
    ("overflow", sections.overflow, 10),
    ("out of memory", sections.out_of_memory, 30),
    ("two at once", sections.two_at_once, 20),
    ("colours", sections.colours, 40),
    ("compiled", sections.compiled, 80),
)


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the sections; 0 where all ran or were skipped, 1 where one failed."""
    options = _parser().parse_args(arguments)
    logging.basicConfig(level=logging.WARNING, format="%(levelname)s %(name)s: %(message)s", stream=sys.stderr)
    bench = Bench(rehearse=options.rehearse, out=options.out)
    end = time.monotonic() + options.seconds
    failed = []
    for name, section, seconds in SECTIONS:
        if options.only and name not in options.only:
            continue
        bench.deadline = min(end, time.monotonic() + seconds)
        if not _run(name, section, bench, late=time.monotonic() > end):
            failed.append(name)
    _print("done", {"failed": failed, "goals": bench.goals(), "unused_s": round(end - time.monotonic(), 1)})
    return 1 if failed else 0


def _run(name: str, section: Section, bench: Bench, *, late: bool) -> bool:
    begun = time.monotonic()
    try:
        if late:
            raise Skipped("no time is left")
        if not torch.cuda.is_available() and not bench.rehearse and section is not sections.machine:
            raise Skipped("no CUDA device here")
        for found in section(bench):
            _print(name, found)
    except Skipped as reason:
        _print(name, {"skipped": str(reason)})
    except Exception as error:
        logging.getLogger(__name__).warning("section %s failed", name, exc_info=True)
        _print(name, {"error": f"{type(error).__name__}: {error}"[:500]})
        return False
    finally:
        bench.clean()
        _print(name, {"took_s": round(time.monotonic() - begun, 1)})
    return True


def _print(section: str, found: dict[str, Any]) -> None:
    print(json.dumps({"section": section} | found), flush=True)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m vsr.app.bench_cuda", description="Measure this machine's GPU.")
    parser.add_argument("--seconds", type=float, default=480, help="how long at most, about (480)")
    parser.add_argument("--out", type=Path, default=Path("bench"), help="folder for the trace (bench)")
    parser.add_argument(
        "--only", action="append", choices=[name for name, *_ in SECTIONS], help="a section; repeatable"
    )
    parser.add_argument("--rehearse", action="store_true", help="tiny, on the CPU: shows that it runs")
    return parser


if __name__ == "__main__":
    sys.exit(main())
