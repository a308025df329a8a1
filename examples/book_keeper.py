"""Apply market events to books, and keep account of what may be missing.

Every way a book can become wrong opens a gap for its asset, the next snapshot closes
it. Gaps are in the venue's milliseconds, and rather too long than too short.

Pure: no I/O; the wall clock is passed in.

Copy with: event_buffer.py, market_events.py, order_book.py.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import replace

from event_buffer import Gap
from market_events import (
    BestBidAsk,
    Book,
    LastTradePrice,
    MalformedEvent,
    MarketEvent,
    PriceChange,
    TickSizeChange,
)
from order_book import OrderBook


# Trades were seen announced up to 0.6 s out of order with their book.
GAP_SLACK_MS = 1_000


class BookKeeper:
    """A book for every followed asset.

    `wall_clock_ms` gives this machine's time; the venue's is estimated from it and
    from the newest event, so that a wrong local clock cannot hide a gap.
    """

    def __init__(self, wall_clock_ms: Callable[[], int]) -> None:
        self.books: dict[str, OrderBook] = {}
        self._wall_clock_ms = wall_clock_ms
        self._ahead_ms: int | None = None
        self._known_good_ms: dict[str, int] = {}
        self._gaps: dict[str, Gap] = {}
        self._news: list[Gap] = []

    def follow(self, asset_ids: Iterable[str]) -> None:
        """Start a book for each of these."""
        for asset_id in asset_ids:
            self.books.setdefault(asset_id, OrderBook(asset_id))

    def unfollow(self, asset_ids: Iterable[str]) -> None:
        """Forget these and their gaps."""
        for asset_id in asset_ids:
            self.books.pop(asset_id, None)
            self._gaps.pop(asset_id, None)
            self._known_good_ms.pop(asset_id, None)

    def apply(self, event: MarketEvent, books: Mapping[str, OrderBook]) -> bool:
        """Bring `books` up to date; return whether the event concerns any of them.

        `books` are those the connection owns: an asset that has moved to another
        connection gets nothing more from its old one.
        """
        match event:
            case PriceChange():
                return self._apply_change(event, books)
            case Book() | LastTradePrice() | TickSizeChange() | BestBidAsk():
                book = books.get(event.asset_id)
                if book is not None:
                    self._apply_to(book, event)
                return book is not None
            case MalformedEvent():
                self._doubt_named_assets(event, books)
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
        last_of_asset = {}
        for change in event.price_changes:
            book = books.get(change.asset_id)
            if book is not None:
                book.set_level(
                    change.side, change.price, change.size, event.timestamp_ms
                )
                last_of_asset[change.asset_id] = book, change
        for book, change in last_of_asset.values():
            book.confirm(
                change.best_bid,
                change.best_ask,
                timestamp_ms=event.timestamp_ms,
                book_hash=change.hash,
            )
            if book.why_untrusted is not None:
                self._doubt(book)
        return bool(last_of_asset)

    def _apply_book(self, event: Book, book: OrderBook) -> None:
        book.replace(
            {level.price: level.size for level in event.bids},
            {level.price: level.size for level in event.asks},
            timestamp_ms=event.timestamp_ms,
            condition_id=event.condition_id,
            book_hash=event.hash,
            tick_size=event.tick_size,
            last_trade_price=event.last_trade_price,
            version=event.version,
        )
        if (gap := self._gaps.pop(event.asset_id, None)) is not None:
            to_ms = max(self.venue_now_ms(), event.timestamp_ms) + GAP_SLACK_MS
            self._news.append(replace(gap, to_ms=to_ms))
        if book.why_untrusted is not None:
            self._doubt(book)

    def _doubt_named_assets(
        self, event: MalformedEvent, books: Mapping[str, OrderBook]
    ) -> None:
        """Distrust the books an unusable event was about: it may have changed them."""
        if not isinstance(event.raw, Mapping):
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
            self._open_gap(book, book.verified_ms, book.why_untrusted)

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
                self._open_gap(book, book.timestamp_ms, reason)
            book.invalidate()

    def _open_gap(self, book: OrderBook, from_ms: int, reason: str) -> None:
        if book.asset_id in self._gaps:
            return
        from_ms = max(from_ms, self._known_good_ms.get(book.asset_id, 0)) - GAP_SLACK_MS
        gap = Gap((book.asset_id,), from_ms, None, reason)
        self._gaps[book.asset_id] = gap
        self._news.append(gap)

    @property
    def has_news(self) -> bool:
        """Whether gaps opened or closed since `take_news`."""
        return bool(self._news)

    def take_news(self) -> list[Gap]:
        """Return gaps opened and closed since the last call; equal ones as one."""
        if not self._news:
            return []
        news, self._news = self._news, []
        merged: dict[tuple[int, int | None, str], list[str]] = {}
        for gap in news:
            key = (gap.from_ms, gap.to_ms, gap.reason)
            merged.setdefault(key, []).extend(gap.asset_ids)
        return [Gap(tuple(asset_ids), *key) for key, asset_ids in merged.items()]

    def confirm_complete(self, asset_id: str) -> None:
        """Note that a second source showed this book to be complete right now."""
        self._known_good_ms[asset_id] = self.venue_now_ms()

    def observe_clock(self, timestamp_ms: int) -> None:
        """Learn from an event's time how far the venue's clock is ahead of ours."""
        ahead_ms = timestamp_ms - self._wall_clock_ms()
        self._ahead_ms = max(ahead_ms, self._ahead_ms or ahead_ms)

    def venue_now_ms(self) -> int:
        """Return the venue's time, as well as it can be known here."""
        return self._wall_clock_ms() + (self._ahead_ms or 0)
