"""Follow any number of assets on the market channel, with a live book for each.

    async with MarketWebSocket([asset_id, …]) as ws:
        async for event in ws.events():
            book = ws.get_order_book(asset_id)   # already up to date

Besides the wire's events there come, in order, a `Gap` whenever something may have
been missed, `BooksConflated` when the consumer is too slow, `AssetsEnded` and
`ConnectionChange`. Run as a program it prints what happens.

Copy with: book_witness.py, event_buffer.py, feed_supervisor.py, market_callbacks.py, market_events.py, order_book.py, robust_websocket.py, subscription_manager.py.
"""

from __future__ import annotations

import argparse
import asyncio
import logging
import os
import random
import sys
import time
from collections.abc import AsyncGenerator, Callable, Coroutine, Iterable
from dataclasses import dataclass
from decimal import Decimal
from typing import Any, Self, TypeAlias

from book_witness import CLOB_URL, BookWitness
from event_buffer import (
    MAX_WAITING_EVENTS,
    ConnectionChange,
    EventBuffer,
    FeedEvent,
    Gap,
)
from feed_supervisor import FeedSupervisor
from market_callbacks import MarketCallbacks
from market_events import (
    MARKET_URL,
    Book,
    LastTradePrice,
    PriceChange,
)
from order_book import OrderBook
from robust_websocket import ConnectionState
from subscription_manager import MAX_ASSETS_PER_CONNECTION


AssetIds: TypeAlias = str | Iterable[str]
Callback: TypeAlias = Callable[[Any], Any]

OVER = "this feed was disconnected: make a new MarketWebSocket"

logger = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class MarketData:
    """What is known of one asset now. Prices in USD per share, None if there is none.

    `is_stale` means: do not act on these prices, for the reason in `why_stale`.
    """

    asset_id: str
    best_bid: Decimal | None
    best_ask: Decimal | None
    mid: Decimal | None
    spread: Decimal | None
    last_trade_price: Decimal | None
    timestamp_ms: int
    is_stale: bool
    why_stale: str | None


class MarketWebSocket(MarketCallbacks):
    """A feed of many assets over as many sockets as they need.

    Args:
        asset_ids: what to follow from the start; with custom features it may be empty,
            which brings the `new_market` of the whole venue.
        clob_url: host of the REST witness that tells quiet from frozen; None: none.
        wants_custom_features: also get `best_bid_ask`, `new_market`, `market_resolved`.
        max_waiting_events: how far a consumer may fall behind before books conflate.
        proxy: address of a proxy; None ignores the environment's proxy variables.
        wall_clock_ms: this machine's time in Unix milliseconds.

    """

    def __init__(
        self,
        asset_ids: AssetIds = (),
        *,
        url: str = MARKET_URL,
        clob_url: str | None = CLOB_URL,
        wants_custom_features: bool = False,
        max_assets_per_socket: int = MAX_ASSETS_PER_CONNECTION,
        max_waiting_events: int = MAX_WAITING_EVENTS,
        proxy: str | None = None,
        wall_clock_ms: Callable[[], int] = lambda: time.time_ns() // 1_000_000,
        rng: random.Random | None = None,
    ) -> None:
        if max_assets_per_socket < 2:
            raise ValueError("a socket must carry at least the two assets of a market")
        self._first_assets = _as_list(asset_ids)
        self._wants_custom_features = wants_custom_features
        self._buffer = EventBuffer(max_waiting_events)
        self._feed = FeedSupervisor(
            url,
            self._buffer,
            witness=None if clob_url is None else BookWitness(clob_url),
            wall_clock_ms=wall_clock_ms,
            wants_custom_features=wants_custom_features,
            max_assets=max_assets_per_socket,
            proxy=proxy,
            rng=rng,
        )
        self._tasks: list[asyncio.Task[None]] = []
        self._is_over = False

    async def connect(self) -> None:
        """Start to follow, in the background; returns at once.

        Raises:
            RuntimeError: after `disconnect()`. Make a new `MarketWebSocket` then.

        """
        if self._is_over:
            raise RuntimeError(OVER)
        if self._tasks:
            return
        self._tasks = [asyncio.create_task(self._guard(self._feed.run()))]
        if self.has_callbacks():
            self._tasks.append(asyncio.create_task(self._guard(self._dispatch())))
        await self._feed.follow(self._first_assets)
        if self._wants_custom_features and not self._first_assets:
            self._feed.pool.discover()

    async def disconnect(self) -> None:
        """Close every socket, within 2 s, and end `events()`."""
        self._is_over = True
        tasks, self._tasks = self._tasks, []
        # A callback may call this: it runs in a task that has to end by itself.
        others = [task for task in tasks if task is not asyncio.current_task()]
        for task in others:
            task.cancel()
        if others:
            await asyncio.wait(others)
        await self._feed.close()
        self._buffer.close()

    def events(self) -> AsyncGenerator[FeedEvent, None]:
        """Yield every event, with the books already up to date. One consumer.

        Connects if need be. Raises what ended the feed: `HandshakeRejectedError` if
        the venue refuses every connection.
        """
        return self._buffer.read(begin=self._begin)

    async def _begin(self) -> None:
        """Connect; say what a consumer missed that comes back to the loop."""
        await self.connect()
        if self._buffer.left_at_s is not None:
            away_s = asyncio.get_running_loop().time() - self._buffer.left_at_s
            gap = self._feed.gaps.of_all(self.subscribed_tokens, away_s)
            self._buffer.put([gap])

    async def wait_closed(self) -> None:
        """Wait until the feed ends, and raise what ended it."""
        await self._buffer.is_over.wait()
        self._buffer.raise_error()

    async def subscribe(self, asset_ids: AssetIds) -> None:
        """Follow these as well, over living connections where there is room."""
        if self._is_over:
            raise RuntimeError(OVER)
        if self._tasks:
            await self._feed.follow(_as_list(asset_ids))
        else:
            self._first_assets += _as_list(asset_ids)

    async def unsubscribe(self, asset_ids: AssetIds) -> None:
        """Stop following these."""
        gone = _as_list(asset_ids)
        self._first_assets = [each for each in self._first_assets if each not in gone]
        await self._feed.unfollow(gone)

    subscribe_assets = subscribe
    unsubscribe_assets = unsubscribe
    listen = events

    @property
    def subscribed_tokens(self) -> list[str]:
        """The asset ids now followed."""
        return list(self._feed.keeper.books)

    @property
    def state(self) -> ConnectionState:
        """The state of the socket that is worst off."""
        states = [shard.socket.state for shard in self._feed.pool.shards]
        return min(states, key=_BEST_LAST.index, default=ConnectionState.DISCONNECTED)

    @property
    def is_connected(self) -> bool:
        """Whether every socket is up and has delivered data."""
        return self.state is ConnectionState.SUBSCRIBED

    def get_order_book(self, asset_id: str) -> OrderBook | None:
        """Return the live book, which goes on changing; None if not followed."""
        return self._feed.keeper.books.get(asset_id)

    def get_market_data(self, asset_id: str) -> MarketData | None:
        """Return the prices of this moment and whether to believe them."""
        book = self.get_order_book(asset_id)
        if book is None:
            return None
        return _market_data(book, self._feed.why_stale(asset_id))

    def to_dict(self) -> dict[str, Any]:
        """Return the figures of the feed, and of each socket, ready for JSON."""
        return {
            "state": str(self.state),
            "assets": len(self.subscribed_tokens),
            "untrusted": sum(
                not b.is_trusted for b in self._feed.keeper.books.values()
            ),
            "waiting_events": len(self._buffer),
            "conflated_count": self._buffer.conflated_count,
            "malformed_count": self._feed.keeper.malformed_count,
            "unknown_count": self._feed.keeper.unknown_count,
            "sockets": [
                shard.metrics.to_dict() | {"assets": len(shard.books)}
                for shard in self._feed.pool.shards
            ],
        }

    async def _dispatch(self) -> None:
        async for event in self._buffer.read():
            await self.call_back(event)

    async def _guard(self, work: Coroutine[Any, Any, None]) -> None:
        """Hand what goes wrong in the background to the consumer."""
        try:
            await work
        except Exception as error:  # noqa: BLE001 - it is raised by events()
            self._buffer.close(error)

    async def __aenter__(self) -> Self:
        """Return the feed; it connects with `connect()` or `events()`."""
        return self

    async def __aexit__(self, *_exception: object) -> None:
        """Disconnect."""
        await self.disconnect()


_BEST_LAST = (
    ConnectionState.FAILED,
    ConnectionState.DISCONNECTED,
    ConnectionState.RECONNECTING,
    ConnectionState.CONNECTING,
    ConnectionState.CONNECTED,
    ConnectionState.SUBSCRIBED,
)


def _market_data(book: OrderBook, why_stale: str | None) -> MarketData:
    return MarketData(
        book.asset_id,
        book.best_bid,
        book.best_ask,
        book.mid,
        book.spread,
        book.last_trade_price,
        book.timestamp_ms,
        why_stale is not None,
        why_stale,
    )


def _as_list(asset_ids: AssetIds) -> list[str]:
    """Take one id or many, refusing early what can be no asset id.

    Raises:
        ValueError: an id is not a decimal string.

    """
    ids = [asset_ids] if isinstance(asset_ids, str) else list(asset_ids)
    for asset_id in ids:
        if not (
            isinstance(asset_id, str) and asset_id.isascii() and asset_id.isdigit()
        ):
            raise ValueError(
                f"{asset_id!r:.90} is no asset id. An asset id is a decimal string of up "
                "to 78 digits, one per outcome: Gamma calls them clobTokenIds. A 0x… id "
                "names a market; its assets are in CLOB /markets/{condition_id}."
            )
    return ids


def _line_of(event: FeedEvent, ws: MarketWebSocket) -> str | None:
    """Say one event in one line; None for what needs no line."""
    match event:
        case PriceChange():
            ids = {change.asset_id for change in event.price_changes}
        case Book():
            ids = {event.asset_id}
        case LastTradePrice():
            size = "?" if event.size is None else event.size
            return (
                f"{_short(event.asset_id)}  trade {event.side} {size} @ {event.price}"
            )
        case Gap():
            until = "now on" if event.to_ms is None else f"{event.to_ms} ms"
            names = ", ".join(map(_short, event.asset_ids[:4]))
            why = _safe(event.reason)
            return f"{names}  gap from {event.from_ms} ms to {until}: {why}"
        case ConnectionChange():
            what = "up" if event.is_up else f"down: {_safe(event.reason)}"
            return f"connection {what}, {event.open_count} open"
        case _:
            return _safe(event.event_type)
    tops = (ws.get_market_data(asset_id) for asset_id in sorted(ids))
    return "\n".join(
        f"{_short(top.asset_id)}  {top.best_bid} / {top.best_ask}"
        + (f"  STALE: {_safe(str(top.why_stale))}" if top.is_stale else "")
        for top in tops
        if top is not None
    )


def _safe(text: str) -> str:
    """Make a stranger's text fit for a terminal."""
    return ascii(text)[1:-1][:200]


def _short(asset_id: str) -> str:
    return f"{asset_id[:6]}…{asset_id[-4:]}"


def _parse_arguments(arguments: list[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description="Follow assets on Polymarket's market channel and print what happens.",
        epilog="An asset id is a long decimal number, one per outcome of a market.",
    )
    parser.add_argument("asset_ids", nargs="+", metavar="ASSET_ID")
    parser.add_argument("--url", default=MARKET_URL, help="default: %(default)s")
    parser.add_argument(
        "--clob-url", default=CLOB_URL, help="REST witness; default: %(default)s"
    )
    parser.add_argument("--seconds", type=float, help="end after this long")
    return parser.parse_args(arguments)


async def _follow(arguments: argparse.Namespace) -> None:
    async with (
        asyncio.timeout(arguments.seconds),
        MarketWebSocket(
            arguments.asset_ids, url=arguments.url, clob_url=arguments.clob_url
        ) as ws,
    ):
        async for event in ws.events():
            if line := _line_of(event, ws):
                sys.stdout.write(line + "\n")
                sys.stdout.flush()


def main(arguments: list[str] | None = None) -> int:
    """Run the program. Exit codes: 0 done, 1 refused by the venue, 2 usage, 130 Ctrl-C."""
    logging.basicConfig(level=logging.WARNING, format="%(levelname)s %(message)s")
    try:
        asyncio.run(_follow(_parse_arguments(arguments)))
    except TimeoutError:
        return 0
    except ValueError as error:
        sys.stderr.write(f"{error}\n")
        return 2
    except BrokenPipeError:
        # Whoever read the lines has seen enough; say nothing more, at exit neither.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
    except ConnectionError as error:
        sys.stderr.write(f"{error}\n")
        return 1
    except KeyboardInterrupt:
        return 130
    return 0


if __name__ == "__main__":
    sys.exit(main())
