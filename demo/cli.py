"""The demo's command line, its signals and its exit codes."""

from __future__ import annotations

import argparse
import asyncio
import logging
import math
import os
import signal
import sys
import time
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path

from .ending import Ending
from .live import run_live
from .recording import RecordingError, read_recording
from .replay import feed_recording, replay_lines
from .report_text import report_lines
from .schedule import make_schedule
from .terminal import open_display
from .text import escaped


GOOD, BAD, USAGE = 0, 1, 2

_EPILOG = """\
Without --replay it starts a mock venue on this machine, follows some markets with
examples/market_websocket.py, freezes the feed once and cuts it once, and compares
every book and every trade with the venue's ledger at the end.

The end, by Ctrl-C too, waits until a fault under way has healed, 15 s at most;
Ctrl-C again or SIGTERM ends at once.

exit codes: 0 all is well, 1 something differs (the report says what), 2 wrong usage
"""


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the program and return its exit code."""
    options = build_parser().parse_args(arguments)
    # What the modules log is in the demo's own lines; it would tear the picture.
    logging.getLogger().addHandler(logging.NullHandler())
    sys.stdout.reconfigure(errors="replace")  # type: ignore[union-attr]
    try:
        if options.replay is not None:
            return asyncio.run(_replay(options.replay))
        return asyncio.run(_live(options.seconds))
    except BrokenPipeError:
        # Whoever read us has gone; without this the interpreter complains once more.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return BAD
    except (RecordingError, OSError) as error:
        sys.stderr.write(f"demo: {escaped(str(error))}\n")
        return USAGE
    except KeyboardInterrupt:
        return 128 + signal.SIGINT


def build_parser() -> argparse.ArgumentParser:
    """Return the parser."""
    parser = argparse.ArgumentParser(
        prog="python demo",
        description="Live order books that survive a frozen and a cut feed.",
        epilog=_EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument(
        "--seconds",
        type=_duration,
        metavar="N",
        help="end after this long; 20 or more see both faults (default: until Ctrl-C)",
    )
    parser.add_argument(
        "--replay",
        type=Path,
        metavar="PATH",
        help="instead, feed recorded market frames through the same pipeline: a .jsonl "
        "file, or a folder with *__market_*.jsonl files",
    )
    return parser


def _duration(text: str) -> float:
    value = float(text)
    if not (value > 0 and math.isfinite(value)):
        raise argparse.ArgumentTypeError(f"{text} is no time to run")
    return value


async def _live(run_s: float | None) -> int:
    ending = Ending()
    loop = asyncio.get_running_loop()
    # Windows cannot; there Ctrl-C ends the program without a report.
    with suppress(NotImplementedError):
        loop.add_signal_handler(signal.SIGINT, ending.ask)
        loop.add_signal_handler(signal.SIGTERM, ending.insist)
    with open_display(sys.stdout, os.environ) as display:
        report = await run_live(
            make_schedule(run_s), display, ending, wall_clock_ms=_wall_clock_ms
        )
    _print(report_lines(report))
    return GOOD if report.is_good else BAD


async def _replay(path: Path) -> int:
    recording = read_recording(path)
    result = await feed_recording(recording)
    _print(replay_lines(recording, result))
    return GOOD if result.is_complete else BAD


def _print(lines: Sequence[str]) -> None:
    sys.stdout.write("\n".join(lines) + "\n")
    sys.stdout.flush()


def _wall_clock_ms() -> int:
    return time.time_ns() // 1_000_000
