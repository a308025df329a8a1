"""Spread any number of assets over sockets, each asset on exactly one.

The two assets of a market belong on the same socket, because the venue fans out per
market: they are kept together as soon as it is known that they are a pair. Sockets
are opened one after the other, since many at once are answered with HTTP 429.

Copy with: connection_metrics.py, order_book.py, robust_websocket.py, shard.py, subscription_manager.py.
"""

from __future__ import annotations

import asyncio
import logging
import random
from collections.abc import Callable, Iterable, Sequence
from contextlib import aclosing
from typing import Protocol

from connection_metrics import ConnectionMetrics
from order_book import OrderBook
from robust_websocket import ConnectionGap, HandshakeRejectedError, RobustWebSocket
from shard import Shard
from subscription_manager import MAX_ASSETS_PER_CONNECTION, SubscriptionManager


OPEN_SPACING_S = 0.1
# A socket this young is still fresh enough for assets that have to move.
FRESH_FOR_S = 30.0
# Moving assets may use this many sockets more than they need.
SPARE_SOCKETS = 4
REFUSED_REST_S = 60.0

logger = logging.getLogger(__name__)


class PoolOwner(Protocol):
    """Who gets what the sockets bring."""

    def on_opened(self, shard: Shard) -> None:
        """Learn that a socket is up and its subscription sent."""

    def on_frame(self, shard: Shard, frame: bytes) -> bool:
        """Take one frame of data; return whether the next may come at once."""

    async def wait_for_room(self, shard: Shard) -> None:
        """Return when the next frame may be read."""

    async def on_lost(self, shard: Shard, gap: ConnectionGap) -> None:
        """Learn that a socket was lost; it comes back unless the shard is closed."""

    def on_closed(self, shard: Shard) -> None:
        """Learn that an open socket was closed, since nobody needs it any more."""

    def on_failed(self, error: BaseException) -> None:
        """Learn that a socket will not come back."""


class AssetHomes:
    """Which socket carries which asset."""

    def __init__(self) -> None:
        self._homes: dict[str, Shard] = {}

    def __len__(self) -> int:
        return len(self._homes)

    def of(self, asset_id: str) -> Shard | None:
        """Return the socket that carries this asset."""
        return self._homes.get(asset_id)

    def place(self, book: OrderBook, shard: Shard) -> None:
        """Let `shard` carry this asset, which has no home."""
        shard.subscriptions.add_market_subscription(book.asset_id)
        shard.books[book.asset_id] = book
        self._homes[book.asset_id] = shard

    def take_out(self, asset_id: str) -> tuple[OrderBook, Shard] | None:
        """Leave this asset without a home; None if it had none."""
        shard = self._homes.pop(asset_id, None)
        if shard is None:
            return None
        shard.subscriptions.remove_market_subscription(asset_id)
        return shard.books.pop(asset_id), shard

    def beside_mate(self, book: OrderBook) -> Shard | None:
        """Return the socket with room that carries the market's other asset."""
        if not book.condition_id:
            return None
        for asset_id, shard in self._homes.items():
            is_mate = self._market_of(asset_id) == book.condition_id
            if is_mate and shard.subscriptions.room > 0:
                return shard
        return None

    def with_mates(self, asset_ids: Iterable[str]) -> list[str]:
        """Return these and the other assets of their markets, side by side.

        Wherever those live; ids without a home are left out.
        """
        known = [asset_id for asset_id in asset_ids if asset_id in self._homes]
        markets: dict[str, list[str]] = {self._market_of(each): [] for each in known}
        if any(markets):
            for asset_id in self._homes:
                if (mates := markets.get(self._market_of(asset_id))) is not None:
                    mates.append(asset_id)
        together: dict[str, None] = {}
        for asset_id in known:
            market = self._market_of(asset_id)
            together |= dict.fromkeys(markets[market] if market else [asset_id])
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
        return self.with_mates(split)

    def _market_of(self, asset_id: str) -> str:
        return self._homes[asset_id].books[asset_id].condition_id


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
        self.max_assets = max_assets
        self._wants_custom_features = wants_custom_features
        self._proxy = proxy
        self._rng = rng or random.Random()  # noqa: S311 - jitter, no secret
        self.homes = AssetHomes()
        self._next_open_at = 0.0

    async def add(self, books: Iterable[OrderBook]) -> None:
        """Carry these assets, each beside its market's other asset if that is known."""
        changed: dict[Shard, None] = {}
        for book in books:
            if self.homes.of(book.asset_id) is None:
                shard = self.homes.beside_mate(book) or self._shard_with_room()
                self.homes.place(book, shard)
                changed[shard] = None
        for shard in changed:
            await shard.sync()

    async def remove(self, asset_ids: Iterable[str]) -> None:
        """Stop carrying these assets."""
        _, left = self._take_out(asset_ids)
        await self._settle(left)

    def _take_out(
        self, asset_ids: Iterable[str]
    ) -> tuple[list[OrderBook], list[Shard]]:
        """Leave these without a home; return their books and where they lived."""
        taken = [out for each in asset_ids if (out := self.homes.take_out(each))]
        return [book for book, _ in taken], list(dict.fromkeys(s for _, s in taken))

    async def _settle(self, left: Iterable[Shard]) -> None:
        """Tell the sockets that were left; close those that carry nothing now."""
        for shard in left:
            await (shard.sync() if shard.books else self.close_shard(shard))

    async def move(self, asset_ids: Sequence[str]) -> None:
        """Carry these, at most one socket full, on a fresh socket."""
        books, left = self._take_out(asset_ids)
        if books:
            fresh = self._fresh_shard(left, len(books))
            await self._rehouse(books, left, fresh)

    async def _rehouse(
        self, books: Iterable[OrderBook], left: Iterable[Shard], home: Shard
    ) -> None:
        """Let `home` carry these.

        All is noted before the first wait, and the old sockets are told first: an asset
        is never on two, and never on none.
        """
        for book in books:
            self.homes.place(book, home)
        await self._settle(left)
        await home.sync()

    async def merge_away(self, shard: Shard) -> None:
        """Let another socket carry what a lost spare one did: a gap is there anyway.

        Not one that is as old as the spare: assets may have been moved off it because
        it gave them nothing.
        """
        for other in self.shards:
            if (
                len(self.shards) > self._sockets_needed(0)
                and other.opened_at > shard.created_at
                and other.subscriptions.room >= len(shard.books)
                and other is not shard
            ):
                books, left = self._take_out(list(shard.books))
                await self._rehouse(books, left, other)
                return

    def _sockets_needed(self, more_assets: int) -> int:
        return -(-(len(self.homes) + more_assets) // self.max_assets)

    async def sync(self) -> None:
        """Send every living socket what it lacks."""
        for shard in list(self.shards):
            await shard.sync()

    async def close_shard(self, shard: Shard) -> None:
        """Close one socket; its assets, if any are left, have no home then."""
        if shard in self.shards:
            self.shards.remove(shard)
        for asset_id in list(shard.books):
            self.homes.take_out(asset_id)
        was_open = shard.is_open
        await shard.socket.stop()
        if was_open:
            self._owner.on_closed(shard)
        if shard.reader is not None and shard.reader is not asyncio.current_task():
            shard.reader.cancel()
            await asyncio.wait([shard.reader])

    async def close(self) -> None:
        """Close all sockets at the same time."""
        shards = list(self.shards)
        await asyncio.gather(*(self.close_shard(shard) for shard in shards))

    def discover(self) -> None:
        """Open a socket that carries no asset, for news of the whole venue."""
        self._open_shard(max_assets=0)

    def _shard_with_room(self) -> Shard:
        for shard in self.shards:
            if shard.subscriptions.room > 0:
                return shard
        return self._open_shard()

    def _fresh_shard(self, avoid: Sequence[Shard], room: int) -> Shard:
        """Return a young socket, a new one, or the youngest if there are too many."""
        now_s = asyncio.get_running_loop().time()
        roomy = [
            shard
            for shard in self.shards
            if shard not in avoid and shard.subscriptions.room >= room
        ]
        youngest = max(roomy, key=lambda shard: shard.created_at, default=None)
        if youngest is not None and (
            now_s - youngest.created_at <= FRESH_FOR_S
            or len(self.shards) >= self._sockets_needed(room) + SPARE_SOCKETS
        ):
            return youngest
        return self._open_shard()

    def _open_shard(self, max_assets: int | None = None) -> Shard:
        subscriptions = SubscriptionManager(
            max_assets=self.max_assets if max_assets is None else max_assets,
            wants_custom_features=self._wants_custom_features,
        )
        clock = asyncio.get_running_loop().time
        metrics = ConnectionMetrics(clock)
        socket = RobustWebSocket(
            self._url,
            subscriptions.frames_for_new_connection,
            data_timeout=None,
            observer=_Observer(metrics, lambda: self._announce(shard)),
            before_connect=self._pace,
            proxy=self._proxy,
            rng=self._rng,
        )
        shard = Shard(socket, subscriptions, metrics, clock())
        shard.reader = asyncio.create_task(self._read(shard))
        self.shards.append(shard)
        return shard

    def _announce(self, shard: Shard) -> None:
        shard.opened_at = asyncio.get_running_loop().time()
        self._owner.on_opened(shard)

    async def _pace(self) -> None:
        """Let sockets open `OPEN_SPACING_S` apart, whoever asks."""
        now_s = asyncio.get_running_loop().time()
        open_at = max(now_s, self._next_open_at)
        self._next_open_at = open_at + OPEN_SPACING_S
        await asyncio.sleep(open_at - now_s)

    async def _read(self, shard: Shard) -> None:
        is_refused = True
        try:
            while is_refused:
                is_refused = await self._read_until_refused(shard)
                if is_refused:
                    await asyncio.sleep(REFUSED_REST_S)
        except Exception as error:  # noqa: BLE001 - the owner hands it to the consumer
            self._owner.on_failed(error)

    async def _read_until_refused(self, shard: Shard) -> bool:
        """Read a socket; return whether it was refused while others work.

        Then it is this moment that is refused, not we: it may be tried again.
        """
        try:
            await self._read_frames(shard)
        except HandshakeRejectedError as error:
            if not any(each.metrics.message_count for each in self.shards):
                raise
            logger.warning("%s The other sockets go on.", error)
            return True
        return False

    async def _read_frames(self, shard: Shard) -> None:
        owner = self._owner
        async with aclosing(shard.socket.frames()) as items:
            async for item in items:
                if isinstance(item, bytes):
                    if not owner.on_frame(shard, item):
                        await owner.wait_for_room(shard)
                elif item.to_s is None:
                    await owner.on_lost(shard, item)


class _Observer:
    """Counts what a socket does, and announces it when it opens."""

    def __init__(
        self, metrics: ConnectionMetrics, announce: Callable[[], None]
    ) -> None:
        self._metrics = metrics
        self._announce = announce
        self.on_message = metrics.on_message
        self.on_disconnect = metrics.on_disconnect

    def on_connect(self) -> None:
        self._metrics.on_connect()
        self._announce()
