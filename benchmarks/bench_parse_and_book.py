"""Microseconds to parse and to apply one message, by kind, without any network.

Beside `parse_market_frame` and `BookKeeper` stands what one would write by hand:
`json.loads`, and a `Decimal` for every price and size.
"""

from __future__ import annotations

import argparse
import json
import platform
import sys
import tempfile
import time
from collections import defaultdict
from collections.abc import Callable, Iterator
from decimal import Decimal
from pathlib import Path
from statistics import median
from typing import Any

from book_keeper import BookKeeper
from gap_ledger import GapLedger
from market_events import Book, parse_market_frame
from order_book import OrderBook


# Run as a script, so that the folder above is not on the path yet.
sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from benchmarks.flood_stream import MODES, make_flood


MESSAGES, ROUNDS = 20_000, 5
DECIMALS = ("price", "size", "best_bid", "best_ask", "tick_size", "last_trade_price")

Frames = dict[str, list[bytes]]


def main() -> int:
    """Print one line a kind."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--messages", type=int, default=MESSAGES)
    parser.add_argument("--rounds", type=int, default=ROUNDS)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="flood-") as name:
        make_flood(Path(name), options.messages, seed=1)
        opening = (Path(name) / "opening.json").read_bytes()
        frames = list(read_frames(Path(name) / MODES["off"]))
    print(f"\nPython {platform.python_version()}; CPU us a message, best of rounds")
    print(f"{'kind':<18}{'bytes':>7}{'json.loads':>12}{'+ Decimal':>11}", end="")
    print(f"{'parse_market_frame':>20}{'BookKeeper':>12}")
    rounds = [measure(opening, frames) for _ in range(options.rounds)]
    for kind in rounds[0]:
        columns = [min(each[kind][n] for each in rounds) for n in range(4)]
        size = median(len(frame) for frame in frames if kind_of(frame) == kind)
        widths = (12, 11, 20, 12)
        cells = (f"{us:>{w}.2f}" for us, w in zip(columns, widths, strict=True))
        print(f"{kind:<18}{size:>7.0f}{''.join(cells)}")
    return 0


def read_frames(path: Path) -> Iterator[bytes]:
    """Yield the payloads of a prepared stream without compression."""
    with path.open("rb") as file:
        while size := file.read(4):
            block = file.read(int.from_bytes(size))
            start = 0
            while start < len(block):
                start, payload = _payload(block, start)
                yield payload


def _payload(block: bytes, start: int) -> tuple[int, bytes]:
    size, head = block[start + 1], start + 2
    extra = {126: 2, 127: 8}.get(size, 0)
    if extra:
        size = int.from_bytes(block[head : head + extra])
    end = head + extra + size
    return end, block[head + extra : end]


def kind_of(frame: bytes) -> str:
    """Return the frame's `event_type`."""
    return str(json.loads(frame)["event_type"])


def measure(opening: bytes, frames: list[bytes]) -> dict[str, list[float]]:
    """Return for each kind the four costs in microseconds a message."""
    by_kind: Frames = defaultdict(list)
    for frame in frames:
        by_kind[kind_of(frame)].append(frame)
    applied = time_books(opening, frames)
    return {
        kind: [
            time_each(json.loads, of_kind),
            time_each(loads_with_decimals, of_kind),
            time_each(parse_market_frame, of_kind),
            applied[kind],
        ]
        for kind, of_kind in sorted(by_kind.items(), key=lambda each: -len(each[1]))
    }


def time_each(work: Callable[[bytes], Any], frames: list[bytes]) -> float:
    """Return what one call costs in microseconds."""
    started_s = time.process_time()
    for frame in frames:
        work(frame)
    return 1e6 * (time.process_time() - started_s) / len(frames)


def time_books(opening: bytes, frames: list[bytes]) -> dict[str, float]:
    """Apply the stream in its order; return microseconds a message by kind."""
    keeper = BookKeeper(GapLedger(lambda: 0))
    first = parse_market_frame(opening)
    keeper.follow(event.asset_id for event in first if isinstance(event, Book))
    books: dict[str, OrderBook] = keeper.books
    for event in first:
        keeper.apply(event, books)
    spent_s: defaultdict[str, float] = defaultdict(float)
    counts: defaultdict[str, int] = defaultdict(int)
    clock, apply = time.perf_counter, keeper.apply
    for (event,) in map(parse_market_frame, frames):
        started_s = clock()
        apply(event, books)
        spent_s[event.event_type] += clock() - started_s
        counts[event.event_type] += 1
    if untrusted := [each for each in books.values() if not each.is_trusted]:
        raise RuntimeError(f"a book is in doubt: {untrusted[0].why_untrusted}")
    return {kind: 1e6 * spent_s[kind] / counts[kind] for kind in counts}


def loads_with_decimals(frame: bytes) -> Any:
    """Decode one event and make its numbers exact, as a short program would."""
    event = json.loads(frame)
    for row in (
        event,
        *event.get("price_changes", ()),
        *event.get("bids", ()),
        *event.get("asks", ()),
    ):
        for key in DECIMALS:
            if key in row:
                row[key] = Decimal(row[key])
    return event


if __name__ == "__main__":
    sys.exit(main())
