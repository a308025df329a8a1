"""A feed on the mock venue, and the checks that hold it against the ledger.

The checks know nothing of the client's own bookkeeping: they compare what the
consumer was given with what the exchange decided.
"""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import AsyncIterator, Callable, Iterable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from random import Random
from typing import Any

from event_buffer import FeedEvent, Gap
from market_events import LastTradePrice, PriceChange
from market_websocket import MarketWebSocket
from mock_polymarket import MockPolymarket


TradeKey = tuple[object, ...]


@dataclass
class Feed:
    """A running client, everything it told its consumer, and the venue behind it."""

    ws: MarketWebSocket
    mock: MockPolymarket
    since_ms: int
    events: list[FeedEvent] = field(default_factory=list)
    times_s: list[float] = field(default_factory=list)
    collecting: asyncio.Task[None] | None = None

    def of_type(self, event_type: str) -> list[Any]:
        return [event for event in self.events if event.event_type == event_type]

    def first_time_s(
        self, matches: Callable[[FeedEvent], bool], after_s: float
    ) -> float:
        """Return when the first matching event came after a moment of the loop."""
        for event, time_s in zip(self.events, self.times_s, strict=True):
            if time_s >= after_s and matches(event):
                return time_s
        raise AssertionError("no such event came")

    @property
    def gaps(self) -> list[Gap]:
        return self.of_type("gap")

    def wrong_books(self) -> list[str]:
        """Say for each followed asset how its book differs from the truth."""
        return [
            f"{asset_id[:6]}: {why}"
            for asset_id in self.ws.subscribed_tokens
            if (why := self._why_wrong(asset_id))
        ]

    def _why_wrong(self, asset_id: str) -> str | None:
        book = self.ws.get_order_book(asset_id)
        assert book is not None
        if book.why_untrusted is not None:
            return book.why_untrusted
        truth = self.mock.exchange.book(asset_id)
        bids = [(level.price, level.size) for level in reversed(truth.bids)]
        asks = [(level.price, level.size) for level in reversed(truth.asks)]
        return None if (book.bids, book.asks) == (bids, asks) else "levels differ"

    def unreported_trades(self) -> list[TradeKey]:
        """Return the ledger's trades that never came and that no gap covers."""
        received = Counter(
            _key(event.asset_id, event.transaction_hash, event.price, event.size)
            for event in self.events
            if isinstance(event, LastTradePrice)
        )
        missing = []
        for entry in self.mock.ledger.trades():
            trade = entry.payload
            key = _key(
                trade["asset_id"],
                trade["transaction_hash"],
                trade["price"],
                trade["size"],
            )
            if entry.time_ms < self.since_ms or not self._follows(trade["asset_id"]):
                continue
            if received[key] > 0:
                received[key] -= 1
            elif not self.covers(trade["asset_id"], int(trade["timestamp"])):
                missing.append(key)
        return missing

    def unreported_changes(self) -> int:
        """Count the ledger's level changes that never came and no gap covers."""
        received = {
            _key(change.asset_id, event.timestamp_ms, change.price, change.size)
            for event in self.events
            if isinstance(event, PriceChange)
            for change in event.price_changes
        }
        return sum(
            entry.time_ms >= self.since_ms
            and self._follows(change["asset_id"])
            and _key(change["asset_id"], entry.time_ms, change["price"], change["size"])
            not in received
            and not self.covers(change["asset_id"], entry.time_ms)
            for entry in self.mock.ledger.entries
            if entry.kind == "price_change"
            for change in entry.payload["price_changes"]
        )

    def covers(self, asset_id: str, time_ms: int) -> bool:
        """Whether a reported gap of this asset holds this moment."""
        return any(
            asset_id in gap.asset_ids
            and gap.from_ms <= time_ms
            and (gap.to_ms is None or time_ms <= gap.to_ms)
            for gap in self.gaps
            if gap.to_ms is not None or self._is_still_open(gap, asset_id)
        )

    def _is_still_open(self, gap: Gap, asset_id: str) -> bool:
        return not any(
            later.to_ms is not None
            and asset_id in later.asset_ids
            and later.from_ms == gap.from_ms
            for later in self.gaps
        )

    def _follows(self, asset_id: str) -> bool:
        return asset_id in self.ws.subscribed_tokens

    async def until(self, condition: Callable[[], bool], within_s: float) -> float:
        """Wait for a condition, looking ten times a second; return how long it took."""
        clock = asyncio.get_running_loop().time
        start_s = clock()
        while not condition():
            if self.collecting is not None and self.collecting.done():
                self.collecting.result()
                raise AssertionError("the feed has ended")
            assert clock() - start_s <= within_s, f"not within {within_s} s"
            await asyncio.sleep(0.1)
        return clock() - start_s

    async def until_live(self, within_s: float = 60.0) -> float:
        """Wait until every followed asset has a book that is trusted."""
        ws = self.ws

        def all_live() -> bool:
            data = [ws.get_market_data(asset_id) for asset_id in ws.subscribed_tokens]
            return bool(data) and all(d is not None and not d.is_stale for d in data)

        return await self.until(all_live, within_s)

    async def quiesce(self, within_s: float = 180.0) -> None:
        """Stop the order flow and wait until every book equals the ledger's."""
        for condition_id in self.mock.condition_ids:
            self.mock.exchange.set_rate(condition_id, 0.0)
        await self.until(lambda: not self.wrong_books(), within_s)
        await asyncio.sleep(1.0)


def _key(*parts: object) -> TradeKey:
    return tuple(str(part) for part in parts)


@asynccontextmanager
async def following(
    mock: MockPolymarket, asset_ids: Iterable[str] | None = None, **options: Any
) -> AsyncIterator[Feed]:
    """Follow assets, all open ones by default, and keep every event."""
    defaults: dict[str, Any] = {"clob_url": mock.urls.clob, "rng": Random(1)}
    options = defaults | options
    assets = mock.asset_ids if asset_ids is None else list(asset_ids)
    async with MarketWebSocket(
        assets, url=mock.urls.ws_market, wall_clock_ms=mock.now_ms, **options
    ) as ws:
        feed = Feed(ws, mock, mock.now_ms())
        collecting = feed.collecting = asyncio.create_task(_collect(feed))
        try:
            await feed.until_live()
            feed.since_ms = mock.now_ms()
            yield feed
            if collecting.done():
                collecting.result()
        finally:
            await ws.disconnect()
            await asyncio.wait([collecting])


async def _collect(feed: Feed) -> None:
    clock = asyncio.get_running_loop().time
    async for event in feed.ws.events():
        feed.events.append(event)
        feed.times_s.append(clock())
