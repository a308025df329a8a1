"""Receive one flood with one client, in this process, and say what it cost.

`python benchmarks/flood_peers.py PEER PORT FOLDER [--profile]` prints one JSON
object. Every peer reads the opening books first; the figures begin after them.
"""

from __future__ import annotations

import argparse
import asyncio
import cProfile
import dataclasses
import json
import os
import pstats
import sys
import time
from collections import Counter
from collections.abc import AsyncIterator, Callable, Coroutine, Mapping
from contextlib import asynccontextmanager
from decimal import Decimal
from pathlib import Path
from typing import Any

from websockets.asyncio.client import ClientConnection, connect

from market_websocket import MarketWebSocket


# Run as a script, so that the folder above is not on the path yet.
sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from benchmarks.flood_stream import Flood


PROFILE_LINES = 25


@dataclasses.dataclass(slots=True)
class Receipt:
    """What one peer received and spent; times in seconds of this process."""

    cpu_s: float = 0.0
    wall_s: float = 0.0
    kinds: dict[str, int] = dataclasses.field(default_factory=dict)
    problems: list[str] = dataclasses.field(default_factory=list)


class Meter:
    """Measures from its making until `stop`."""

    def __init__(self) -> None:
        self._wall_s, self._cpu_s = time.perf_counter(), time.process_time()

    def stop(self, kinds: Mapping[str, int]) -> Receipt:
        """Return what has been spent to receive these."""
        cpu_s = time.process_time() - self._cpu_s
        return Receipt(cpu_s, time.perf_counter() - self._wall_s, dict(kinds))


Peer = Callable[[Flood, int], Coroutine[Any, Any, Receipt]]


@asynccontextmanager
async def subscribed(flood: Flood, port: int) -> AsyncIterator[ClientConnection]:
    """Connect with the library's defaults but its pings; read the opening books."""
    async with connect(market_url(port), ping_interval=None) as socket:
        await socket.send(json.dumps({"type": "market", "assets_ids": flood.asset_ids}))
        await socket.recv()
        yield socket


async def receive_bare(flood: Flood, port: int) -> Receipt:
    """Receive every frame with `websockets` and look at none of them."""
    async with subscribed(flood, port) as socket:
        meter = Meter()
        count = 0
        frame: str | bytes = ""
        async for frame in socket:  # noqa: B007 - the last one is looked at
            count += 1
            if count == flood.messages:
                break
        receipt = meter.stop({"frames": flood.messages})
    if flood.end_hash not in str(frame):
        receipt.problems.append("the last frame is not the end")
    return receipt


async def receive_json(flood: Flood, port: int) -> Receipt:
    """Receive every frame and decode it with the standard library."""
    async with subscribed(flood, port) as socket:
        meter, kinds = Meter(), Counter[str]()
        for _ in range(flood.messages):
            event = json.loads(await socket.recv())
            kinds[event["event_type"]] += 1
        return meter.stop(kinds)


async def receive_ours(flood: Flood, port: int) -> Receipt:
    """Receive with `MarketWebSocket`: books, gaps, witness, every event read."""
    async with MarketWebSocket(
        flood.asset_ids, url=market_url(port), clob_url=f"http://127.0.0.1:{port}"
    ) as ws:
        events = ws.events()
        opening = len(flood.asset_ids)
        async for event in events:
            opening -= event.event_type == "book"
            if not opening:
                break
        meter, kinds = Meter(), Counter[str]()
        async for event in events:
            kind = event.event_type
            kinds[kind] += 1
            if kind == "last_trade_price" and is_end(event, flood):
                break
        receipt = meter.stop(kinds)
        receipt.problems += problems_of(ws, flood)
    return receipt


async def receive_official(flood: Flood, port: int) -> Receipt:
    """Receive with the market stream of `polymarket-client`, every event read."""
    # Here, so that the other peers do not carry its hundred modules.
    from polymarket import AsyncPublicClient  # noqa: PLC0415
    from polymarket._internal.environment import (  # noqa: PLC0415
        PRODUCTION_CONFIG,
        create_environment,
    )
    from polymarket.streams import MarketSpec  # noqa: PLC0415

    config = dataclasses.replace(PRODUCTION_CONFIG, clob_market_ws_url=market_url(port))
    environment = create_environment(name="flood", config=config)
    async with AsyncPublicClient(environment) as client:
        events = await client.subscribe(MarketSpec(asset_ids=flood.asset_ids))
        for _ in flood.asset_ids:
            await anext(events)
        meter, kinds = Meter(), Counter[str]()
        async for event in events:
            kind = event.type
            kinds[kind] += 1
            if kind == "last_trade_price" and is_end(event.payload, flood):
                break
        receipt = meter.stop(kinds)
        if events.dropped:
            receipt.problems.append(f"its queue dropped {events.dropped} events unread")
    return receipt


def market_url(port: int) -> str:
    """Return the address of the flood."""
    return f"ws://127.0.0.1:{port}/ws/market"


def is_end(trade: Any, flood: Flood) -> bool:
    """Whether this trade is the last event."""
    return bool(trade.transaction_hash == flood.end_hash)


def problems_of(ws: MarketWebSocket, flood: Flood) -> list[str]:
    """Compare our books, their trust and their hashes with the sender's."""
    problems = []
    for asset_id, (bids, asks) in flood.books.items():
        book = ws.get_order_book(asset_id)
        if book is None or not book.is_trusted:
            problems.append(f"{asset_id}: {book and book.why_untrusted}")
        elif book.bids != exact(bids) or book.asks != exact(asks):
            problems.append(f"{asset_id}: other levels than the sender's")
        elif book.hash != flood.hashes[asset_id]:
            problems.append(f"{asset_id}: another hash than the sender's")
        elif not book.verify_hash():
            problems.append(f"{asset_id}: no hash was checked, or it is wrong")
    figures = ws.to_dict()
    bad = ("conflated_count", "malformed_count", "unknown_count")
    return problems + [f"{name} is {figures[name]}" for name in bad if figures[name]]


def exact(levels: list[tuple[str, str]]) -> list[tuple[Decimal, Decimal]]:
    """Return levels as a book has them."""
    return [(Decimal(price), Decimal(size)) for price, size in levels]


PEERS: dict[str, Peer] = {
    "bare": receive_bare,
    "json": receive_json,
    "ours": receive_ours,
    "official": receive_official,
}


def load_flood(folder: Path) -> Flood:
    """Read what the stream in this folder leads to."""
    return Flood(**json.loads((folder / "flood.json").read_text()))


def main() -> None:
    """Run one peer."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("peer", choices=PEERS)
    parser.add_argument("port", type=int)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--profile", action="store_true")
    options = parser.parse_args()
    os.environ["no_proxy"] = "*"
    flood = load_flood(options.folder)
    profiler = cProfile.Profile()
    if options.profile:
        profiler.enable()
    receipt = asyncio.run(PEERS[options.peer](flood, options.port))
    if options.profile:
        profiler.disable()
        pstats.Stats(profiler, stream=sys.stderr).sort_stats("tottime").print_stats(
            PROFILE_LINES
        )
    print(json.dumps(dataclasses.asdict(receipt)))


if __name__ == "__main__":
    main()
