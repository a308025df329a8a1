"""CPU time a message: our feed beside the bare loop and the official client.

Every peer receives the same flood over loopback in a fresh process, one after the
other, several rounds. Ends with 1 if our client lost an event, if a book of it is not
the sender's, or if it costs more than the bars allow.
"""

from __future__ import annotations

import argparse
import json
import platform
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from importlib.metadata import version
from pathlib import Path
from statistics import median
from typing import Any


# Run as a script, so that the folder above is not on the path yet.
sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from benchmarks.flood_stream import MODES, Flood, make_flood


HERE = Path(__file__).resolve().parent
MESSAGES, ROUNDS = 300_000, 3
PEERS = {
    "bare": "websockets, frames unread",
    "json": "websockets + json.loads",
    "ours": "MarketWebSocket",
    "official": "polymarket-client",
}
MAX_OF_BARE = 2.2
MIN_OF_OFFICIAL = 3.0

Rounds = list[dict[str, dict[str, Any]]]


def main() -> int:
    """Run the benchmark; return 0 if every event arrived within the bars."""
    options = parse_arguments()
    with tempfile.TemporaryDirectory(prefix="flood-") as name:
        folder = Path(name)
        started_s = time.monotonic()
        flood = make_flood(folder, options.messages, options.seed)
        describe(flood, time.monotonic() - started_s)
        if options.profile:
            with serving(folder, options.compression[-1]) as port:
                run_peer("ours", port, folder, "--profile")
            return 0
        is_good = True
        for mode in options.compression:
            with serving(folder, mode) as port:
                rounds = [run_round(port, folder) for _ in range(options.rounds)]
            is_good &= report(mode, flood, rounds)
    return 0 if is_good else 1


def parse_arguments() -> argparse.Namespace:
    """Read the command line."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--messages", type=int, default=MESSAGES)
    parser.add_argument("--rounds", type=int, default=ROUNDS)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument(
        "--compression",
        nargs="+",
        choices=tuple(MODES),
        default=list(MODES),
        help="whether the server accepts the permessage-deflate that all peers offer",
    )
    parser.add_argument(
        "--profile", action="store_true", help="print where our client spends its time"
    )
    return parser.parse_args()


def describe(flood: Flood, seconds: float) -> None:
    """Print what is sent, and by what it is received."""
    shares = ", ".join(
        f"{100 * count / flood.messages:.1f} % {kind}"
        for kind, count in sorted(flood.kinds.items(), key=lambda each: -each[1])
    )
    names = ("websockets", "msgspec", "polymarket-client")
    versions = ", ".join(f"{name} {version(name)}" for name in names)
    print(f"Python {platform.python_version()}, {versions}")
    print(f"{flood.messages} messages of {len(flood.asset_ids)} assets: {shares}")
    print(
        f"{flood.plain_bytes / flood.messages:.0f} bytes a message, "
        f"{flood.levels_per_book:.0f} levels a book (made in {seconds:.0f} s)",
        flush=True,
    )


@contextmanager
def serving(folder: Path, mode: str) -> Iterator[int]:
    """Run the flood server; give its port."""
    command = [sys.executable, str(HERE / "flood_server.py"), str(folder), mode]
    with subprocess.Popen(
        command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as server:
        assert server.stdin is not None
        assert server.stdout is not None
        try:
            yield int(server.stdout.readline())
        finally:
            server.stdin.close()


def run_round(port: int, folder: Path) -> dict[str, dict[str, Any]]:
    """Let every peer receive the flood once."""
    return {peer: run_peer(peer, port, folder) for peer in PEERS}


def run_peer(peer: str, port: int, folder: Path, *more: str) -> dict[str, Any]:
    """Run one peer in a fresh process and return its receipt."""
    script = str(HERE / "flood_peers.py")
    command = [sys.executable, script, peer, str(port), str(folder), *more]
    done = subprocess.run(command, stdout=subprocess.PIPE, check=True, text=True)
    receipt: dict[str, Any] = json.loads(done.stdout)
    return receipt


def report(mode: str, flood: Flood, rounds: Rounds) -> bool:
    """Print the table and the verdict of one mode; return whether all is well."""
    print(f"\npermessage-deflate {mode} (every peer offers it)")
    print(
        f"{'peer':<27}{'delivered':>10}{'CPU us/msg':>12}{'msg/s':>9}{'x bare':>8}",
        end="",
    )
    print(f"{'x official':>12}")
    for peer, name in PEERS.items():
        cpu_us = 1e6 * median(cpu_s(each, peer) for each in rounds) / flood.messages
        delivered = median(sum(each[peer]["kinds"].values()) for each in rounds)
        rate = flood.messages / median(each[peer]["wall_s"] for each in rounds)
        print(
            f"{name:<27}{delivered:>10.0f}{cpu_us:>12.2f}{rate:>9.0f}"
            f"{ratio(rounds, peer, 'bare'):>8.2f}{ratio(rounds, peer, 'official'):>12.3f}"
        )
    return all([verdict(rounds), is_complete(flood, rounds)])


def ratio(rounds: Rounds, peer: str, other: str) -> float:
    """Return the median, over the rounds, of one peer's CPU time over another's."""
    return median(cpu_s(each, peer) / cpu_s(each, other) for each in rounds)


def cpu_s(receipts: dict[str, dict[str, Any]], peer: str) -> float:
    """Return what a peer spent in one round."""
    return float(receipts[peer]["cpu_s"])


def verdict(rounds: Rounds) -> bool:
    """Print both bars and whether they are met."""
    of_bare, cheaper = ratio(rounds, "ours", "bare"), ratio(rounds, "official", "ours")
    bars = (
        (of_bare <= MAX_OF_BARE, f"{of_bare:.2f} x bare (bar: at most {MAX_OF_BARE})"),
        (
            cheaper >= MIN_OF_OFFICIAL,
            f"{cheaper:.2f} x cheaper than the official client "
            f"(bar: at least {MIN_OF_OFFICIAL})",
        ),
    )
    for is_met, text in bars:
        print(f"{'met   ' if is_met else 'MISSED'} {text}")
    return all(is_met for is_met, _ in bars)


def is_complete(flood: Flood, rounds: Rounds) -> bool:
    """Require every event and every level of our client; tell what others lost."""
    problems: list[str] = []
    for receipts in rounds:
        ours = receipts["ours"]
        problems += ours["problems"] + differences(ours["kinds"], flood)
    for peer in ("bare", "json", "official"):
        for text in {text for each in rounds for text in each[peer]["problems"]}:
            print(f"note   {PEERS[peer]}: {text}")
    for text in problems[:10]:
        print(f"FAILED {text}")
    if not problems:
        print("ok     every event delivered, every final book and hash the sender's")
    return not problems


def differences(kinds: dict[str, int], flood: Flood) -> Sequence[str]:
    """Say what was not delivered exactly once, and what came that was not sent."""
    names = sorted((kinds.keys() | flood.kinds) - {"connection_change"})
    return [
        f"{name}: {flood.kinds.get(name, 0)} sent, {kinds.get(name, 0)} delivered"
        for name in names
        if flood.kinds.get(name, 0) != kinds.get(name, 0)
    ]


if __name__ == "__main__":
    sys.exit(main())
