"""Apply market events to books.

Every way a book can become wrong opens a gap for its asset, the next snapshot closes
it.

Pure: no I/O and no clock.

Copy with: gap_ledger.py, market_events.py, order_book.py.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from gap_ledger import GapLedger
from market_events import (
    BestBidAsk,
    Book,
    LastTradePrice,
    MalformedEvent,
    MarketEvent,
    MarketResolved,
    NewMarket,
    PriceChange,
    TickSizeChange,
    UnknownEvent,
)
from order_book import OrderBook


ANNOUNCEMENTS_KEPT = 1_000
# Whatever is wrong with one of these, no level depends on it.
_NO_BOOK_EVENTS = ("best_bid_ask", "last_trade_price", "new_market", "market_resolved")


class BookKeeper:
    """A book for every followed asset."""

    def __init__(self, gaps: GapLedger) -> None:
        self.books: dict[str, OrderBook] = {}
        self.malformed_count = 0
        self.unknown_count = 0
        self.resolved: set[str] = set()
        self._announced: dict[tuple[str, int], None] = {}
        self._gaps = gaps

    def follow(self, asset_ids: Iterable[str]) -> None:
        """Start a book for each of these."""
        for asset_id in asset_ids:
            self.books.setdefault(asset_id, OrderBook(asset_id))

    def unfollow(self, asset_ids: Iterable[str]) -> None:
        """Forget these."""
        asset_ids = list(asset_ids)
        for asset_id in asset_ids:
            self.books.pop(asset_id, None)
            self.resolved.discard(asset_id)
        self._gaps.forget(asset_ids)

    def apply(self, event: MarketEvent, books: Mapping[str, OrderBook]) -> bool:
        """Bring `books` up to date; return whether the event concerns any of them.

        `books` are those the connection owns: an asset that has moved to another
        connection gets nothing more from its old one.
        """
        if type(event) is PriceChange:  # nine in ten are
            return self._apply_change(event, books)
        match event:
            case Book() | LastTradePrice() | TickSizeChange() | BestBidAsk():
                book = books.get(event.asset_id)
                if book is not None:
                    self._apply_to(book, event)
                return book is not None
            case MalformedEvent():
                self.malformed_count += 1
                self._doubt_named_assets(event, books)
            case UnknownEvent():
                self.unknown_count += 1
            case MarketResolved():
                self.resolved.update(self.books.keys() & set(event.asset_ids))
            case NewMarket():
                return self._is_news(event)
        return True

    def _is_news(self, event: NewMarket) -> bool:
        """Whether this is the first copy: every socket is sent one."""
        key = event.condition_id, event.timestamp_ms
        if key in self._announced:
            return False
        if len(self._announced) >= ANNOUNCEMENTS_KEPT:
            del self._announced[next(iter(self._announced))]
        self._announced[key] = None
        return True

    def _apply_to(
        self,
        book: OrderBook,
        event: Book | LastTradePrice | TickSizeChange | BestBidAsk,
    ) -> None:
        match event:
            case Book():
                self._apply_book(event, book)
            case LastTradePrice():
                book.note_trade(event.price)
            case TickSizeChange():
                book.change_tick_size(event.new_tick_size)
                self._doubt(book)

    def _apply_change(self, event: PriceChange, books: Mapping[str, OrderBook]) -> bool:
        timestamp_ms = event.timestamp_ms
        last_of_asset = {}
        for change in event.price_changes:
            book = books.get(change.asset_id)
            if book is not None and not book.has_seen(change.hash, timestamp_ms):
                book.set_level(
                    change.side, change.price_text, change.size_text, timestamp_ms
                )
                last_of_asset[book] = change
        for book, change in last_of_asset.items():
            book.confirm(
                change.best_bid_text,
                change.best_ask_text,
                timestamp_ms,
                change.hash,
            )
            if book.why_untrusted is not None:
                self._doubt(book)
        return bool(last_of_asset)

    def _apply_book(self, event: Book, book: OrderBook) -> None:
        book.replace(
            {level.price_text: level.size_text for level in event.bids},
            {level.price_text: level.size_text for level in event.asks},
            timestamp_ms=event.timestamp_ms,
            condition_id=event.condition_id,
            book_hash=event.hash,
            tick_size=event.tick_size,
            last_trade_price=event.last_trade_price,
            version=event.version,
        )
        self._gaps.end(event.asset_id, event.timestamp_ms)
        if book.why_untrusted is not None:
            self._doubt(book)

    def _doubt_named_assets(
        self, event: MalformedEvent, books: Mapping[str, OrderBook]
    ) -> None:
        """Distrust the books an unusable event was about: it may have changed them."""
        if not isinstance(event.raw, Mapping):
            return
        if event.raw.get("event_type") in _NO_BOOK_EVENTS:
            return
        market = event.raw.get("market")
        for book in books.values():
            if book.condition_id == market or book.asset_id == event.raw.get(
                "asset_id"
            ):
                book.distrust(f"unusable event: {event.reason}")
                self._doubt(book)

    def _doubt(self, book: OrderBook) -> None:
        """Open a gap from the last moment the book was known to be complete."""
        if book.why_untrusted is not None and book.has_book:
            self._gaps.begin(book.asset_id, book.verified_ms, book.why_untrusted)

    def doubt(self, asset_id: str, why: str) -> None:
        """Distrust a book for a reason found outside the stream."""
        book = self.books[asset_id]
        book.distrust(why)
        self._doubt(book)

    def lose(self, asset_ids: Iterable[str], reason: str) -> None:
        """Throw away the books of a lost connection; from their last event on, gap."""
        for asset_id in asset_ids:
            book = self.books.get(asset_id)
            if book is None:
                continue
            if book.has_book:
                self._gaps.begin(asset_id, book.timestamp_ms, reason)
            book.invalidate()
