"""``python -m vsr`` is the command ``vsr``."""

from __future__ import annotations

from vsr.app.cli import program

if __name__ == "__main__":
    program()
