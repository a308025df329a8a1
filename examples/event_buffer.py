"""Between the sockets and a consumer that may be slow.

Events wait here in order. When too many wait, those that only moved a book are
dropped, because the book itself is up to date, and the consumer is told with a
`BooksConflated`. Trades and everything else are kept; if even they fill the buffer,
`wait_for_room` makes the reader wait, and the loss that may follow is a `Gap`.

Copy with: market_events.py.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import AsyncGenerator, Awaitable, Callable, Iterable
from dataclasses import dataclass
from typing import ClassVar, TypeAlias

from market_events import BestBidAsk, Book, MarketEvent, PriceChange


MAX_WAITING_EVENTS = 10_000
TWO_CONSUMERS = (
    "two consumers read this feed: use either callbacks or one loop over events()"
)


@dataclass(frozen=True, slots=True)
class Gap:
    """Events of these assets may be missing between two moments of the venue's clock.

    It comes with `to_ms` None when the gap is noticed: until then-on the books are not
    to be trusted. It comes again, with `to_ms`, when new books have arrived.
    """

    event_type: ClassVar[str] = "gap"
    asset_ids: tuple[str, ...]
    from_ms: int
    to_ms: int | None
    reason: str


@dataclass(frozen=True, slots=True)
class BooksConflated:
    """`event_count` events that moved these books were dropped unread: you are slow.

    The books are right: read them again. No trade was dropped.
    """

    event_type: ClassVar[str] = "books_conflated"
    asset_ids: frozenset[str]
    event_count: int


@dataclass(frozen=True, slots=True)
class AssetsEnded:
    """Nothing more will come for these assets, and they are no longer followed."""

    event_type: ClassVar[str] = "assets_ended"
    asset_ids: tuple[str, ...]
    reason: str


@dataclass(frozen=True, slots=True)
class ConnectionChange:
    """A socket was opened (`is_up`) or lost, `open_count` of them are open now."""

    event_type: ClassVar[str] = "connection_change"
    is_up: bool
    open_count: int
    reason: str


FeedEvent: TypeAlias = (
    MarketEvent | Gap | BooksConflated | AssetsEnded | ConnectionChange
)

_CONFLATED = (Book, PriceChange, BestBidAsk)


class EventBuffer:
    """A bounded queue with one consumer.

    `is_used` is False while nobody reads: then nothing is kept, since whoever only asks
    for books needs no events, and `left_at_s` (loop clock) says since when. `is_full`
    says that so much waits which must not be dropped that reading should pause.
    """

    def __init__(self, capacity: int = MAX_WAITING_EVENTS) -> None:
        self.capacity = capacity
        self.conflated_count = 0
        self.is_used = False
        self.is_full = False
        self._waiting: deque[FeedEvent] = deque()
        self._arrival = asyncio.Event()
        self._is_awaited = False
        self._readers = 0
        self.left_at_s: float | None = None
        self.is_over = asyncio.Event()
        self._room = asyncio.Event()
        self._is_closed = False
        self._error: BaseException | None = None

    def __len__(self) -> int:
        return len(self._waiting)

    def put(self, events: Iterable[FeedEvent]) -> None:
        """Add events, dropping what only moved books if too many wait."""
        if not self.is_used:
            return
        self._waiting.extend(events)
        if self._is_awaited:
            self._arrival.set()
        if len(self._waiting) > self.capacity:
            self._conflate()

    async def wait_for_room(self) -> None:
        """Wait until the consumer has caught up."""
        while self.is_full:
            await self._room.wait()

    def close(self, error: BaseException | None = None) -> None:
        """End `read()` after what waits; with an error, raise it there."""
        self._is_closed = True
        self.is_over.set()
        self._error = self._error or error
        self._arrival.set()
        self._make_room()

    def raise_error(self) -> None:
        """Raise what ended the feed, if something did."""
        if self._error is not None:
            raise self._error

    async def read(
        self, begin: Callable[[], Awaitable[None]] | None = None
    ) -> AsyncGenerator[FeedEvent, None]:
        """Yield events as they come, until `close()`; `begin` is awaited first.

        Raises:
            RuntimeError: another consumer has begun to read; each event goes to one.

        """
        self.is_used = True
        self._readers += 1
        this_reader = self._readers
        waiting = self._waiting
        try:
            if begin is not None:
                await begin()
            while await self._has_more(this_reader):
                while waiting:
                    event = waiting.popleft()
                    if self.is_full and len(waiting) <= self.capacity // 4:
                        self._make_room()
                    yield event
                    if this_reader != self._readers:
                        raise RuntimeError(TWO_CONSUMERS)
        finally:
            if this_reader == self._readers:
                self._leave()

    async def _has_more(self, reader: int) -> bool:
        """Wait for events; False at the end, when all have been read."""
        if not self._waiting and not self._is_closed:
            self._is_awaited = True
            self._arrival.clear()
            await self._arrival.wait()
            self._is_awaited = False
        if reader != self._readers:
            raise RuntimeError(TWO_CONSUMERS)
        if not self._waiting and self._is_closed:
            self.raise_error()
            return False
        return True

    def _leave(self) -> None:
        """Keep nothing while nobody reads: a full buffer would stop the sockets."""
        self.is_used = False
        self._waiting.clear()
        self._make_room()
        self.left_at_s = asyncio.get_running_loop().time()

    def _conflate(self) -> None:
        kept: list[FeedEvent] = []
        moved: set[str] = set()
        dropped = 0
        for event in self._waiting:
            if isinstance(event, BooksConflated):
                moved |= event.asset_ids
                dropped += event.event_count
            elif isinstance(event, _CONFLATED):
                moved.update(_assets_of(event))
                dropped += 1
                self.conflated_count += 1
            else:
                kept.append(event)
        self._waiting.clear()
        self._waiting.extend(kept)
        if dropped:
            self._waiting.append(BooksConflated(frozenset(moved), dropped))
        if len(kept) >= self.capacity // 2:
            self.is_full = True
            self._room.clear()

    def _make_room(self) -> None:
        self.is_full = False
        self._room.set()


def _assets_of(event: Book | PriceChange | BestBidAsk) -> Iterable[str]:
    if isinstance(event, PriceChange):
        return (change.asset_id for change in event.price_changes)
    return (event.asset_id,)
