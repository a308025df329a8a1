"""One socket of a feed, what it carries, and whether it behaves.

Copy with: asset_watch.py, connection_metrics.py, order_book.py, robust_websocket.py, subscription_manager.py.
"""

from __future__ import annotations

import asyncio
from collections.abc import Sequence

from asset_watch import FIRST_BOOK_TIMEOUT_S
from connection_metrics import ConnectionMetrics
from order_book import OrderBook
from robust_websocket import ConnectionState, RobustWebSocket
from subscription_manager import SubscriptionManager


# Without a witness, silence of a socket is measured against its own habit.
MIN_BLIND_SILENCE_S = 12.0
UNKNOWN_HABIT_SILENCE_S = 300.0
HABIT_AFTER_PAUSES = 10
STUCK_AFTER_S = 15.0
STUCK_AFTER_UPDATES = 10
# A single old event after a pause is a duplicate, or a book after a reconnect.
STUCK_PAUSE_S = 5.0
STUCK_REST_S = 300.0


class Shard:
    """One socket, what it is subscribed to, and the books that only it may move."""

    def __init__(
        self,
        socket: RobustWebSocket,
        subscriptions: SubscriptionManager,
        metrics: ConnectionMetrics,
        now_s: float,
    ) -> None:
        self.socket = socket
        self.subscriptions = subscriptions
        self.metrics = metrics
        self.books: dict[str, OrderBook] = {}
        self.created_at = now_s
        self.opened_at = now_s
        self.reader: asyncio.Task[None] | None = None
        self.is_paused = False
        self._sending = asyncio.Lock()
        self._pauses = 0
        self._longest_pause_s = 0.0
        self._last_silence_s = 0.0
        self._updates_seen = 0
        self._newest_ms = 0
        self._stale_updates = 0
        self._stale_since = now_s
        self._stale_at = now_s
        self._stuck_rest_until = now_s

    @property
    def is_open(self) -> bool:
        """Whether a socket is up, with or without data."""
        state = self.socket.state
        return state in (ConnectionState.CONNECTED, ConnectionState.SUBSCRIBED)

    @property
    def has_data(self) -> bool:
        """Whether the socket in use has delivered anything."""
        return self.socket.state is ConnectionState.SUBSCRIBED

    async def sync(self) -> None:
        """Send what the living socket lacks; a socket yet to open gets all anyway."""
        async with self._sending:
            if self.is_open:
                for frame in self.subscriptions.frames_for_changes():
                    await self.socket.send(frame)

    async def resubscribe(self, asset_ids: Sequence[str]) -> None:
        """Unsubscribe these and subscribe them again, which brings new books."""
        async with self._sending:
            if self.is_open:
                for frame in self.subscriptions.forget_sent(asset_ids):
                    await self.socket.send(frame)
        await self.sync()

    def is_late(self, now_s: float) -> bool:
        """Whether the socket in use has had its time and delivered no data at all."""
        return (
            self.is_open
            and not self.has_data
            and now_s - self.opened_at >= FIRST_BOOK_TIMEOUT_S
        )

    def is_silent_against_habit(self) -> bool:
        """Judge the socket's silence without a witness, by its own longest pauses.

        To be asked regularly: it learns between the calls.
        """
        silence_s = self.socket.silence_s or 0.0
        if silence_s < self._last_silence_s:
            self._pauses += 1
            # Old pauses fade, so that one quiet hour does not blunt it for good.
            self._longest_pause_s = max(
                0.99 * self._longest_pause_s, self._last_silence_s
            )
        self._last_silence_s = silence_s
        if self._pauses < HABIT_AFTER_PAUSES:
            return silence_s >= UNKNOWN_HABIT_SILENCE_S
        return silence_s >= max(MIN_BLIND_SILENCE_S, 6 * self._longest_pause_s)

    def newest_event_ms(self, now_s: float) -> int:
        """Return the newest event time of all books, and note whether it moves on."""
        updates = sum(book.update_count for book in self.books.values())
        newest_ms = max((book.timestamp_ms for book in self.books.values()), default=0)
        if newest_ms != self._newest_ms:
            self._newest_ms, self._stale_updates = newest_ms, 0
        elif updates > self._updates_seen:
            if now_s - self._stale_at > STUCK_PAUSE_S:
                self._stale_since, self._stale_updates = now_s, 0
            self._stale_at = now_s
            self._stale_updates += 1
        self._updates_seen = updates
        return newest_ms

    def has_stuck_times(self, now_s: float) -> bool:
        """Whether changes keep coming while their times stand still; seldom True."""
        is_stuck = (
            self._stale_updates >= STUCK_AFTER_UPDATES
            and now_s - self._stale_since >= STUCK_AFTER_S
            and now_s >= self._stuck_rest_until
        )
        if is_stuck:
            self._stuck_rest_until = now_s + STUCK_REST_S
        return is_stuck
