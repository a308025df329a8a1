"""Run the mock venue: ``python scripts/mock_polymarket`` or ``-m mock_polymarket``."""

from __future__ import annotations

import sys
from pathlib import Path


if not __package__:
    # `python <folder>` puts the folder itself first; the package is beside it.
    sys.path[0] = str(Path(__file__).resolve().parent.parent)

from mock_polymarket.cli import main


if __name__ == "__main__":
    sys.exit(main())
