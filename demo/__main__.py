"""Run the demo: ``make demo [SECONDS=n] [REPLAY=path]`` or ``python demo``."""

from __future__ import annotations

import sys
from pathlib import Path


if not __package__:
    # `python <folder>` puts the folder itself first; its parent has the packages.
    _ROOT = Path(__file__).resolve().parent.parent
    _SCRIPTS = _ROOT / "skills" / "polymarket" / "scripts"
    sys.path[:1] = [str(_ROOT), str(_ROOT / "examples"), str(_SCRIPTS)]

from demo.cli import main


if __name__ == "__main__":
    sys.exit(main())
