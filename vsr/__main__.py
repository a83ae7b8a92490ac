"""``python -m vsr`` is the command ``vsr``."""

from __future__ import annotations

import sys

from vsr.app.cli import main

if __name__ == "__main__":
    sys.exit(main())
