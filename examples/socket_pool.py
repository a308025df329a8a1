"""Spread any number of assets over sockets, each asset on exactly one.

The two assets of a market belong on the same socket, because the venue fans out per
market: they are kept together as soon as it is known that they are a pair. Sockets
are opened one after the other, since many at once are answered with HTTP 429.

Copy with: connection_metrics.py, order_book.py, robust_websocket.py, subscription_manager.py.
"""

from __future__ import annotations

import asyncio
import random
from collections.abc import Iterable, Sequence
from contextlib import aclosing
from typing import Protocol

from connection_metrics import ConnectionMetrics
from order_book import OrderBook
from robust_websocket import ConnectionGap, ConnectionState, RobustWebSocket
from subscription_manager import MAX_ASSETS_PER_CONNECTION, SubscriptionManager


OPEN_SPACING_S = 0.1
# A socket this young is still fresh enough for assets that have to move.
FRESH_FOR_S = 30.0
# Without a witness, silence of a socket is measured against its own habit.
MIN_BLIND_SILENCE_S = 12.0
UNKNOWN_HABIT_SILENCE_S = 300.0
HABIT_AFTER_PAUSES = 10
STUCK_AFTER_S = 15.0
STUCK_AFTER_UPDATES = 10
# Moving assets may use this many sockets more than they need.
SPARE_SOCKETS = 4


class PoolOwner(Protocol):
    """Who gets what the sockets bring."""

    def on_frame(self, shard: Shard, frame: bytes) -> None:
        """Take one frame of data."""

    @property
    def is_full(self) -> bool:
        """Whether reading must pause."""

    async def wait_for_room(self, shard: Shard) -> None:
        """Return when the next frame may be read."""

    async def on_lost(self, shard: Shard, gap: ConnectionGap) -> None:
        """Learn that a socket was lost; it comes back unless the shard is closed."""

    def on_failed(self, error: BaseException) -> None:
        """Learn that a socket will not come back."""


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
        self._connects_seen = 0
        self._sending = asyncio.Lock()
        self._pauses = 0
        self._longest_pause_s = 0.0
        self._last_silence_s = 0.0
        self._updates_seen = 0
        self._newest_ms = 0
        self._newest_at = now_s
        self._stale_updates = 0

    @property
    def is_open(self) -> bool:
        """Whether a socket is up, with or without data."""
        state = self.socket.state
        return state in (ConnectionState.CONNECTED, ConnectionState.SUBSCRIBED)

    @property
    def has_data(self) -> bool:
        """Whether the socket in use has delivered anything."""
        return self.socket.state is ConnectionState.SUBSCRIBED

    def is_newly_open(self, now_s: float) -> bool:
        """Return True once for every socket that opened."""
        if not self.is_open or self._connects_seen == self.metrics.connect_count:
            return False
        self._connects_seen = self.metrics.connect_count
        self.opened_at = now_s
        return True

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
        if newest_ms > self._newest_ms:
            self._newest_ms, self._newest_at = newest_ms, now_s
            self._stale_updates = 0
        elif updates > self._updates_seen:
            self._stale_updates += 1
        self._updates_seen = updates
        return newest_ms

    def has_stuck_times(self, now_s: float) -> bool:
        """Whether changes keep coming while their times stand still."""
        return (
            self._stale_updates >= STUCK_AFTER_UPDATES
            and now_s - self._newest_at >= STUCK_AFTER_S
        )


class SocketPool:
    """All sockets of one feed.

    `shards` may be read by the owner, but only the methods here change them.
    """

    def __init__(
        self,
        url: str,
        owner: PoolOwner,
        *,
        max_assets: int = MAX_ASSETS_PER_CONNECTION,
        wants_custom_features: bool = False,
        proxy: str | None = None,
        rng: random.Random | None = None,
    ) -> None:
        self.shards: list[Shard] = []
        self._url = url
        self._owner = owner
        self._max_assets = max_assets
        self._wants_custom_features = wants_custom_features
        self._proxy = proxy
        self._rng = rng or random.Random()  # noqa: S311 - jitter, no secret
        self._homes: dict[str, Shard] = {}
        self._next_open_at = 0.0

    def home_of(self, asset_id: str) -> Shard | None:
        """Return the socket that carries this asset."""
        return self._homes.get(asset_id)

    async def add(self, books: Iterable[OrderBook]) -> None:
        """Carry these assets, each beside its market's other asset if that is known."""
        changed = {}
        for book in books:
            if book.asset_id not in self._homes:
                shard = self._home_beside_mate(book) or self._home_with_room()
                self._place(book, shard)
                changed[id(shard)] = shard
        for shard in changed.values():
            await shard.sync()

    async def remove(self, asset_ids: Iterable[str]) -> None:
        """Stop carrying these assets."""
        changed = {}
        for asset_id in asset_ids:
            shard = self._homes.pop(asset_id, None)
            if shard is not None:
                del shard.books[asset_id]
                shard.subscriptions.remove_market_subscription(asset_id)
                changed[id(shard)] = shard
        for shard in changed.values():
            await (shard.sync() if shard.books else self.close_shard(shard))

    async def move(self, asset_ids: Sequence[str]) -> None:
        """Carry these, at most one socket full, on a fresh socket."""
        old = {self._homes[asset_id] for asset_id in asset_ids}
        books = [self._homes[asset_id].books[asset_id] for asset_id in asset_ids]
        fresh = self._fresh_shard(old, len(books))
        # First off the old socket: an asset is never on two.
        await self.remove(asset_ids)
        for book in books:
            self._place(book, fresh)
        await fresh.sync()

    def with_mates(self, asset_ids: Iterable[str]) -> list[str]:
        """Return these and the other assets of their markets, wherever those live."""
        together = dict.fromkeys(each for each in asset_ids if each in self._homes)
        markets = {self._market_of(asset_id) for asset_id in together} - {""}
        for asset_id in self._homes:
            if self._market_of(asset_id) in markets:
                together[asset_id] = None
        return list(together)

    def split_pairs(self) -> list[str]:
        """Return the assets of markets that turn out to live on two sockets."""
        first_home: dict[str, Shard] = {}
        split = [
            asset_id
            for asset_id, shard in self._homes.items()
            if (market := self._market_of(asset_id))
            and first_home.setdefault(market, shard) is not shard
        ]
        return self.with_mates(split) if split else []

    def _market_of(self, asset_id: str) -> str:
        return self._homes[asset_id].books[asset_id].condition_id

    async def sync(self) -> None:
        """Send every living socket what it lacks."""
        for shard in list(self.shards):
            await shard.sync()

    async def close_shard(self, shard: Shard) -> None:
        """Close one socket; its assets, if any are left, have no home then."""
        if shard in self.shards:
            self.shards.remove(shard)
        for asset_id in shard.books:
            self._homes.pop(asset_id, None)
        await shard.socket.stop()
        if shard.reader is not None and shard.reader is not asyncio.current_task():
            shard.reader.cancel()
            await asyncio.wait([shard.reader])

    async def close(self) -> None:
        """Close all sockets at the same time."""
        shards = list(self.shards)
        await asyncio.gather(*(self.close_shard(shard) for shard in shards))

    def _home_with_room(self) -> Shard:
        for shard in self.shards:
            if shard.subscriptions.room > 0:
                return shard
        return self._open_shard()

    def _home_beside_mate(self, book: OrderBook) -> Shard | None:
        if not book.condition_id:
            return None
        for shard in self.shards:
            if shard.subscriptions.room > 0 and any(
                other.condition_id == book.condition_id
                for other in shard.books.values()
            ):
                return shard
        return None

    def _fresh_shard(self, avoid: set[Shard], room: int) -> Shard:
        """Return a young socket with room, a new one, or the youngest if there are many."""
        now_s = asyncio.get_running_loop().time()
        roomy = [
            shard
            for shard in self.shards
            if shard not in avoid and shard.subscriptions.room >= room
        ]
        youngest = max(roomy, key=lambda shard: shard.created_at, default=None)
        needed = -(-len(self._homes) // self._max_assets)
        if youngest is not None and (
            now_s - youngest.created_at <= FRESH_FOR_S
            or len(self.shards) >= needed + SPARE_SOCKETS
        ):
            return youngest
        return self._open_shard()

    def _place(self, book: OrderBook, shard: Shard) -> None:
        shard.subscriptions.add_market_subscription(book.asset_id)
        shard.books[book.asset_id] = book
        self._homes[book.asset_id] = shard

    def _open_shard(self) -> Shard:
        subscriptions = SubscriptionManager(
            max_assets=self._max_assets,
            wants_custom_features=self._wants_custom_features,
        )
        clock = asyncio.get_running_loop().time
        metrics = ConnectionMetrics(clock)
        socket = RobustWebSocket(
            self._url,
            subscriptions.frames_for_new_connection,
            data_timeout=None,
            observer=metrics,
            before_connect=self._pace,
            proxy=self._proxy,
            rng=self._rng,
        )
        shard = Shard(socket, subscriptions, metrics, clock())
        shard.reader = asyncio.create_task(self._read(shard))
        self.shards.append(shard)
        return shard

    async def _pace(self) -> None:
        """Let sockets open `OPEN_SPACING_S` apart, whoever asks."""
        now_s = asyncio.get_running_loop().time()
        open_at = max(now_s, self._next_open_at)
        self._next_open_at = open_at + OPEN_SPACING_S
        await asyncio.sleep(open_at - now_s)

    async def _read(self, shard: Shard) -> None:
        owner = self._owner
        try:
            async with aclosing(shard.socket.frames()) as items:
                async for item in items:
                    if isinstance(item, bytes):
                        owner.on_frame(shard, item)
                        if owner.is_full:
                            await owner.wait_for_room(shard)
                    elif item.to_s is None:
                        await owner.on_lost(shard, item)
        except Exception as error:  # noqa: BLE001 - the owner hands it to the consumer
            owner.on_failed(error)
