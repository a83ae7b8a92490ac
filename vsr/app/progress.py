"""A progress bar on a terminal, and nothing anywhere else."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from vsr.app.report import Progress


@contextmanager
def progress_bar(name: str, *, quiet: bool) -> Iterator[Callable[[Progress], None] | None]:
    """What to give to ``on_progress``: frames, speed and the time left on stderr; None where nobody watches."""
    if quiet or not sys.stderr.isatty():
        yield None
        return
    from tqdm import tqdm

    with tqdm(desc=name, unit=" frames", dynamic_ncols=True, file=sys.stderr, leave=False) as bar:

        def show(progress: Progress) -> None:
            total = progress.total_frames
            # Containers promise wrong numbers; a bar without end is better than one beyond its end.
            bar.total = total if total is not None and progress.frames <= total else None
            bar.update(progress.frames - bar.n)

        yield show
