"""Make a long, valid stream of the market channel, ready to be written to a socket.

The mock's own order flow decides what happens, so the mix, the depth of the books
and every hash are those of the mock venue. The frames are encoded beforehand, plain
and compressed: whoever sends them does nothing but copy bytes.
"""

from __future__ import annotations

import asyncio
import json
import zlib
from collections import Counter
from dataclasses import asdict, dataclass
from pathlib import Path
from random import Random
from typing import BinaryIO

from mock_polymarket.clock import VenueClock
from mock_polymarket.exchange import Exchange
from mock_polymarket.ledger import Entry
from mock_polymarket.market_channel import CUSTOM_KINDS
from mock_polymarket.order_flow import OrderFlow
from mock_polymarket.server import START_MS
from mock_polymarket.wire import opening_book, rest_book


MARKETS = 25  # two assets each
# Every frame is written on its own, as a venue writes it.
BLOCK_BYTES = 1
MS_BETWEEN = (0, 1, 1, 2, 5)  # several hundred events a second, as on a busy socket
MODES = {"off": "plain.bin", "on": "deflated.bin"}

Levels = list[tuple[str, str]]


@dataclass(slots=True)
class Flood:
    """What a receiver must end up with; levels are (price, size), best first."""

    asset_ids: list[str]
    messages: int
    kinds: dict[str, int]
    plain_bytes: int
    levels_per_book: float
    end_hash: str
    books: dict[str, tuple[Levels, Levels]]
    hashes: dict[str, str]


class SteppedClock(VenueClock):
    """The venue's clock, moved by hand."""

    def __init__(self) -> None:
        super().__init__(START_MS)
        self.ms = START_MS

    def now_ms(self) -> int:
        """Return Unix milliseconds."""
        return self.ms


class FrameWriter:
    """Writes WebSocket text frames in blocks that end where a frame ends.

    Each block is preceded by its length in 4 bytes. Nothing else may cut a frame: a
    PONG has to fit between two blocks.
    """

    def __init__(self, file: BinaryIO, *, is_deflated: bool) -> None:
        self.byte_count = 0
        self._file = file
        self._block = bytearray()
        self._deflate = zlib.compressobj(wbits=-15) if is_deflated else None

    def add(self, text: str) -> None:
        """Append one message."""
        data = text.encode()
        if self._deflate is None:
            self._block += text_frame(data)
        else:
            packed = self._deflate.compress(data)
            packed += self._deflate.flush(zlib.Z_SYNC_FLUSH)
            self._block += text_frame(packed[:-4], first_byte=0xC1)
        if len(self._block) >= BLOCK_BYTES:
            self.flush()

    def flush(self) -> None:
        """Write the block begun."""
        self._file.write(len(self._block).to_bytes(4) + self._block)
        self.byte_count += len(self._block)
        self._block.clear()


def text_frame(payload: bytes, first_byte: int = 0x81) -> bytes:
    """Return an unmasked, final text frame; 0xC1 marks a compressed payload."""
    size = len(payload)
    if size < 126:
        return bytes((first_byte, size)) + payload
    if size < 1 << 16:
        return bytes((first_byte, 126)) + size.to_bytes(2) + payload
    return bytes((first_byte, 127)) + size.to_bytes(8) + payload


def make_flood(folder: Path, messages: int, seed: int) -> Flood:
    """Write the stream and what belongs to it into `folder`."""
    # The order flow plans its resends on a loop that here never gets to run them.
    return asyncio.run(_make_flood(folder, messages, seed))


async def _make_flood(folder: Path, messages: int, seed: int) -> Flood:
    clock = SteppedClock()
    exchange = Exchange(clock, seed)
    for number in range(MARKETS):
        tick_size = "0.001" if number % 3 == 0 else "0.01"
        exchange.create_market(tick_size=tick_size, mid="0.5", announce=False)
    _write_opening(folder, exchange)
    kinds: Counter[str] = Counter()
    plain, deflated = ((folder / name).open("wb") for name in MODES.values())
    with plain, deflated:
        writers = [
            FrameWriter(plain, is_deflated=False),
            FrameWriter(deflated, is_deflated=True),
        ]

        def write(entry: Entry) -> None:
            if entry.kind not in CUSTOM_KINDS:
                kinds[entry.kind] += 1
                for writer in writers:
                    writer.add(entry.text)

        exchange.matching.listeners.append(write)
        _trade_until(exchange, clock, kinds, messages, Random(seed))
        end = exchange.trade(exchange.open_markets()[0].asset_ids[0], "BUY")[-1]
        for writer in writers:
            writer.flush()
    flood = _describe(exchange, kinds, writers[0].byte_count)
    flood.end_hash = str(end.payload["transaction_hash"])
    (folder / "flood.json").write_text(json.dumps(asdict(flood)))
    return flood


def _trade_until(
    exchange: Exchange,
    clock: SteppedClock,
    kinds: Counter[str],
    messages: int,
    rng: Random,
) -> None:
    """Let the order flow act in one market after another."""
    flow = OrderFlow(exchange, lambda _entry: None)
    markets = exchange.open_markets()
    while kinds.total() < messages - 3:  # the last trade and its two books follow
        clock.ms += rng.choice(MS_BETWEEN)
        flow._act(rng.choice(markets))
    flow.stop()
    if kinds["tick_size_change"]:
        raise RuntimeError("this seed changes a tick size, and books end in doubt")


def _write_opening(folder: Path, exchange: Exchange) -> None:
    tokens = [
        (market, token) for market in exchange.open_markets() for token in market.tokens
    ]
    books = ",".join(opening_book(*each) for each in tokens)
    (folder / "opening.json").write_text(f"[{books}]\n")
    rest = {token.asset_id: rest_book(market, token) for market, token in tokens}
    (folder / "rest.json").write_text(json.dumps(rest))


def _describe(exchange: Exchange, kinds: Counter[str], plain_bytes: int) -> Flood:
    ids = [each for market in exchange.open_markets() for each in market.asset_ids]
    views = {asset_id: exchange.book(asset_id) for asset_id in ids}
    levels = sum(len(view.bids) + len(view.asks) for view in views.values())
    return Flood(
        asset_ids=ids,
        messages=kinds.total(),
        kinds=dict(kinds),
        plain_bytes=plain_bytes,
        levels_per_book=levels / len(ids),
        end_hash="",
        books={
            asset_id: (
                [(str(p), str(s)) for p, s in view.bids_best_first()],
                [(str(p), str(s)) for p, s in view.asks_best_first()],
            )
            for asset_id, view in views.items()
        },
        hashes={asset_id: view.hash for asset_id, view in views.items()},
    )
