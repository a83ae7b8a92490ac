"""Fixtures that several tests share."""

from __future__ import annotations

import logging
import os
import signal
from pathlib import Path

import media
import pytest

_MOST_WORKERS = 16
_BYTES_PER_WORKER = 2 << 30

if "PYTEST_XDIST_WORKER" in os.environ:
    # Before PyTorch is there: threads of several workers that wait for each other in loops would take all the time.
    os.environ.setdefault("OMP_NUM_THREADS", "1")


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_auto_num_workers() -> int:
    """Two for each core, since many tests wait for something, as far as there is memory for them."""
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    return max(1, min(2 * cores, memory // _BYTES_PER_WORKER, _MOST_WORKERS))


def pytest_sessionstart() -> None:
    """Undo what ``nohup`` and shells do to work in the background: programs that ignore Ctrl-C cannot be tested by it.

    Programs that tests start inherit what is ignored, and not what is handled.
    """
    for number, handler in ((signal.SIGINT, signal.default_int_handler), (signal.SIGHUP, lambda *_: None)):
        if signal.getsignal(number) is signal.SIG_IGN:
            signal.signal(number, handler)


def pytest_runtest_setup(item: pytest.Item) -> None:
    """On a machine that is there to test CUDA a missing device is a failure, not a reason to pass."""
    if item.get_closest_marker("cuda") is None:
        return
    import torch  # not for tests of video alone: it takes seconds

    if torch.cuda.is_available():
        return
    if os.environ.get("VSR_REQUIRE_CUDA") == "1":
        pytest.fail("no CUDA device here, and VSR_REQUIRE_CUDA=1 asks for one", pytrace=False)
    pytest.skip("no CUDA device here")


@pytest.fixture(scope="session")
def data_dir() -> Path:
    """The folder of shared test data: ``VSR_DATA``, else ``../shared/data`` beside the checkout."""
    folder = Path(os.environ.get("VSR_DATA") or Path(__file__).parents[2] / "shared" / "data")
    if not folder.is_dir():
        pytest.skip(f"no test data at {folder}; set VSR_DATA to its folder")
    return folder


@pytest.fixture(scope="session")
def clip(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Twelve pictures of 64×48 at 25 a second, lossless, with half a second of sound: a Matroska file to read only."""
    path = tmp_path_factory.mktemp("media") / "clip.mkv"
    return media.write_clip(path, media.pattern(12, 64, 48), sound_seconds=0.48)


@pytest.fixture(autouse=True)
def _plain_loggers() -> None:
    """Undo what the command line does to the loggers when a test, or a fixture of many, calls it in this process."""
    for name in ("vsr", "streams"):
        logger = logging.getLogger(name)
        logger.handlers, logger.propagate, logger.disabled = [], True, False
        logger.setLevel(logging.NOTSET)
