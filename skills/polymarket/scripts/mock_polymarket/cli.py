"""The command line: start the venue, say where it is, run until told to stop."""

from __future__ import annotations

import argparse
import asyncio
import json
import signal
import sys
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path

from .faults import FAULTS, parse_spec
from .server import MockPolymarket


USAGE_ERROR = 2
PROGRAM = "python scripts/mock_polymarket"


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the program and return its exit code: 0, or 2 for wrong arguments."""
    options = build_parser().parse_args(arguments)
    try:
        for spec in options.fault:
            parse_spec(spec)
        venue = MockPolymarket(
            seed=options.seed,
            markets=options.markets,
            events_per_s=options.events_per_s,
            quiet_markets=options.quiet_markets,
            host=options.host,
            port=options.port,
            faults=options.fault,
            replay=options.replay,
            replay_rate=options.rate,
        )
        asyncio.run(_serve(venue, as_json=options.json, seconds=options.seconds))
    except (ValueError, OSError) as exc:
        sys.stderr.write(f"mock_polymarket: {exc}\n")
        return USAGE_ERROR
    return 0


def build_parser() -> argparse.ArgumentParser:
    """Return the parser; its help lists every fault."""
    width = max(map(len, FAULTS))
    faults = "\n".join(f"  {name:<{width}}  {doc}" for name, doc in FAULTS.items())
    parser = argparse.ArgumentParser(
        prog=PROGRAM,
        description="A stand-in for Polymarket on this machine: market channel, CLOB, "
        "Gamma and Data REST from one simulated exchange, and faults on request.",
        epilog=f"faults (name[:key=value[,key=value]][@START[s]][+DURATION[s]]):\n"
        f"{faults}\n\n"
        f"example: {PROGRAM} --seed 7 --fault freeze_pong@20s "
        f"--fault http_status:status=503@60s+30s",
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    _add_venue(parser)
    _add_running(parser)
    return parser


def _add_venue(parser: argparse.ArgumentParser) -> None:
    venue = parser.add_argument_group("the venue")
    add = venue.add_argument
    add("--seed", type=int, default=1, help="one seed, one run (default 1)")
    add("--markets", type=_count, default=2, help="markets that trade (default 2)")
    add(
        "--events-per-s",
        type=_rate,
        default=5.0,
        help="what happens in each of them, per second (default 5)",
    )
    add(
        "--quiet-markets",
        type=_count,
        default=0,
        help="further open markets in which nothing happens (default 0)",
    )
    add(
        "--fault",
        action="append",
        default=[],
        metavar="SPEC",
        help="a fault, see below; may be repeated",
    )
    add(
        "--replay",
        action="append",
        default=[],
        type=Path,
        metavar="FILE",
        help="send the frames of a .jsonl file or a folder of them instead of the "
        "simulated ones; may be repeated",
    )
    add(
        "--rate",
        type=_pace,
        default=10.0,
        help="replayed frames a second (default 10)",
    )


def _add_running(parser: argparse.ArgumentParser) -> None:
    running = parser.add_argument_group("running it")
    add = running.add_argument
    add("--host", default="127.0.0.1", help="a loopback address (default 127.0.0.1)")
    add(
        "--port",
        type=_count,
        default=0,
        help="first of five ports: websocket, clob, gamma, data, control "
        "(default 0: free ones)",
    )
    add(
        "--json",
        action="store_true",
        help="print one JSON object with urls and ids as the first line",
    )
    add("--seconds", type=_rate, default=None, help="stop by itself after this long")


def _count(text: str) -> int:
    number = int(text)
    if number < 0:
        raise argparse.ArgumentTypeError(f"{text} is negative")
    return number


def _rate(text: str) -> float:
    number = float(text)
    if not 0 <= number < float("inf"):
        raise argparse.ArgumentTypeError(f"{text} is not 0 or more")
    return number


def _pace(text: str) -> float:
    number = _rate(text)
    if not number:
        raise argparse.ArgumentTypeError("0 would never play a frame")
    return number


async def _serve(
    venue: MockPolymarket, *, as_json: bool, seconds: float | None
) -> None:
    stop = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGINT, signal.SIGTERM):
        loop.add_signal_handler(number, stop.set)
    async with venue:
        sys.stdout.write(_machine_text(venue) if as_json else _human_text(venue))
        sys.stdout.flush()
        try:
            async with asyncio.timeout(seconds):
                await stop.wait()
        except TimeoutError:
            return


def _machine_text(venue: MockPolymarket) -> str:
    ids = {"asset_ids": venue.asset_ids, "condition_ids": venue.condition_ids}
    return json.dumps({**asdict(venue.urls), **ids}) + "\n"


def _human_text(venue: MockPolymarket) -> str:
    rows = "\n".join(f"  {name:<10} {url}" for name, url in asdict(venue.urls).items())
    assets = "\n".join(f"  {asset_id}" for asset_id in venue.asset_ids[:4])
    more = len(venue.asset_ids) - 4
    tail = f"\n  and {more} more" if more > 0 else ""
    return (
        f"A mock Polymarket is running (Ctrl-C ends it):\n{rows}\n\n"
        f"asset ids, both of a market together:\n{assets}{tail}\n\n"
        "Next, in another terminal, freeze the stream while it goes on answering "
        "PONG:\n"
        f"  curl -s {venue.urls.control}/faults "
        """-H 'content-type: application/json' -d '{"start": "freeze_pong"}'\n"""
    )
