"""What TensorBoard shows of a run, for those who have it."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from vsr.errors import ConfigError

# Where in a run, not how well it does.
_PLACES = frozenset({"epoch", "step"})


def writer_class() -> Any:
    """PyTorch's writer of event files.

    Raises:
        ConfigError: the package that it needs is not installed.
    """
    try:
        from torch.utils.tensorboard import SummaryWriter
    except ImportError as error:
        raise ConfigError(
            "got tensorboard = true and the package is not installed; pip install 'vsr[tensorboard]', or leave it out"
        ) from error
    return SummaryWriter


class Board:
    """Writes scalars and pictures of one run into its folder.

    Args:
        folder: of the run.
        step: that the run goes on from; what an interrupted run wrote beyond it is not shown.

    Raises:
        ConfigError: TensorBoard is not installed.
    """

    def __init__(self, folder: Path, *, step: int) -> None:
        self._writer = writer_class()(str(folder), purge_step=step + 1)

    def add_row(self, row: Mapping[str, float]) -> None:
        """A line of the history, each number but the place as a curve over the steps."""
        for name in row.keys() - _PLACES:
            self._writer.add_scalar(name, row[name], global_step=int(row["step"]))
        self._writer.flush()

    def add_picture(self, picture: Image.Image, *, step: int) -> None:
        """A sample picture, gray or RGB."""
        self._writer.add_image("sample", np.asarray(picture.convert("RGB")), global_step=step, dataformats="HWC")

    def close(self) -> None:
        """Finish the file."""
        self._writer.close()
