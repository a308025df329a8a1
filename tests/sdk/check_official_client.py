"""Run the official client, unchanged, against the mock venue: `make test-sdk`.

The mock is faithful where the client of Polymarket itself cannot tell it from the
venue. Prints a line a check and ends with 1 if any of them failed.
"""

from __future__ import annotations

import asyncio
import logging
import os
import sys
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from functools import partial
from pathlib import Path
from typing import Any

from polymarket import AsyncPublicClient
from polymarket._internal.streams.clob.heartbeat import ClobWebSocketHeartbeat
from polymarket._internal.streams.clob.market import ClobMarketStreamManager
from polymarket.streams import MarketSpec

from mock_polymarket import MockPolymarket


# The folder above, so that these modules have one name here and for mypy.
sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from sdk.official_rest import rest_checks
from sdk.official_stream import LogRecords, Stream, compare, environment_of


KINDS = (
    "book",
    "price_change",
    "last_trade_price",
    "tick_size_change",
    "best_bid_ask",
    "new_market",
    "market_resolved",
)
FLOW_S = 3.0
SETTLE_S = 0.4  # an opening frame comes after 180 ms at most
HEARTBEAT_S = 10.0
TIME_SCALE = 10  # of the part that would take a minute
FREEZE_S = 60.0


class Checks:
    """Runs checks and says how each went."""

    def __init__(self) -> None:
        self.passed = 0
        self.failed = 0

    async def run(self, name: str, check: Awaitable[str] | Callable[[], str]) -> None:
        """Run one check, which returns a detail to print, or raises."""
        try:
            detail = check() if callable(check) else await check
        except Exception as error:  # noqa: BLE001 - whatever it is, it is a finding
            self.failed += 1
            say(f"FAILED {name}: {type(error).__name__}: {error}")
        else:
            self.passed += 1
            say(f"ok     {name}{detail and f': {detail}'}")


def say(text: str) -> None:
    sys.stdout.write(text + "\n")
    sys.stdout.flush()


@asynccontextmanager
async def following(client: Any, venue: MockPolymarket) -> AsyncIterator[Stream]:
    """Follow all open assets with custom features; the venue must be quiet."""
    spec = MarketSpec(asset_ids=venue.asset_ids, custom_feature_enabled=True)
    handle = await client.subscribe(spec)
    stream = Stream(venue, handle)
    reader = asyncio.create_task(stream.collect())
    try:
        yield stream
    finally:
        await handle.close()
        await reader


async def make_everything_happen(venue: MockPolymarket) -> None:
    """Let the order flow run, then see to the kinds that it does not make."""
    venue.flow.paused = False
    await asyncio.sleep(FLOW_S)
    venue.flow.paused = True
    busy, resolving = venue.condition_ids[0], venue.condition_ids[-1]
    asset_id = venue.exchange.market(busy).asset_ids[0]
    venue.exchange.trade(asset_id, "BUY", fills=3)
    venue.exchange.change_tick_size(busy, "0.001")
    venue.exchange.create_market(question='Will "PONG" & <b>ünïcode</b> win?')
    venue.exchange.resolve(resolving, 1, announce_after_s=0.1)
    await asyncio.sleep(SETTLE_S)


async def check_stream(checks: Checks, venue: MockPolymarket, client: Any) -> None:
    log = LogRecords()
    logging.getLogger("polymarket").addHandler(log)
    logging.getLogger("polymarket").setLevel(logging.DEBUG)
    async with following(client, venue) as stream:
        started_at_s = asyncio.get_running_loop().time()
        await asyncio.sleep(SETTLE_S)
        await checks.run("connects and subscribes", lambda: subscribed(venue))
        await checks.run("gets the opening books", lambda: opened(stream))
        await make_everything_happen(venue)
        for kind in KINDS:
            await checks.run(f"gets {kind}", partial(got, stream, kind))
        await checks.run("gets every event as it was sent", lambda: compare(stream))
        await checks.run("follows further assets", follow_more(client, venue, stream))
        await checks.run("drops nothing", lambda: undropped(client, stream, log))
        left_s = started_at_s + HEARTBEAT_S + 0.5 - asyncio.get_running_loop().time()
        await asyncio.sleep(left_s)
        await checks.run("gets its heartbeat answered", lambda: alive(client, venue))


def subscribed(venue: MockPolymarket) -> str:
    (session,) = venue.sessions
    assert session.asset_ids == set(venue.asset_ids)
    assert session.wants_custom
    return f"{len(session.asset_ids)} assets on one socket"


def opened(stream: Stream) -> str:
    assert sorted(stream.books()) == sorted(stream.venue.asset_ids)
    return f"{len(stream.books())} books"


def got(stream: Stream, kind: str) -> str:
    count = stream.kinds()[kind]
    assert count, f"none; there were {dict(stream.kinds())}"
    return str(count)


async def follow_more(client: Any, venue: MockPolymarket, stream: Stream) -> str:
    """Subscribe to one asset of a market made meanwhile, then unsubscribe again."""
    (session,) = venue.sessions
    asset_id, other_id = venue.exchange.market(venue.condition_ids[-1]).asset_ids
    handle = await client.subscribe(MarketSpec(asset_ids=[asset_id]))
    more = Stream(venue, handle)
    reader = asyncio.create_task(more.collect())
    await asyncio.sleep(SETTLE_S)
    assert session.asset_ids >= {asset_id, *stream.books()} - gone(venue)
    assert more.books() == [asset_id], f"its opening book: {more.books()}"
    venue.exchange.trade(asset_id, "SELL")
    await asyncio.sleep(0.1)
    assert more.books() == [asset_id] * 2, "the book after a trade"
    await handle.close()
    await reader
    await asyncio.sleep(0.1)
    assert asset_id not in session.asset_ids
    seen = len(stream.events) + len(more.events)
    venue.exchange.trade(other_id, "BUY")
    await asyncio.sleep(0.1)
    assert len(stream.events) + len(more.events) == seen, "events after unsubscribing"
    assert [session] == venue.sessions, "the socket changed"
    return "its book, its changes, and nothing after the end, on the same socket"


def gone(venue: MockPolymarket) -> set[str]:
    """Return the assets that are no longer open."""
    every = {i for m in venue.exchange.markets.values() for i in m.asset_ids}
    return every - set(venue.asset_ids)


def undropped(client: Any, stream: Stream, log: LogRecords) -> str:
    malformed = client._get_market_manager().dropped_events
    assert malformed == 0, f"{malformed} events failed its validation"
    assert stream.handle.dropped == 0, f"{stream.handle.dropped} fell off its queue"
    assert not log.complaints, f"it logged {log.complaints[:3]}"
    return "no event failed its validation or fell off its queue, no warning"


def alive(client: Any, venue: MockPolymarket) -> str:
    (session,) = venue.sessions
    pings = sum(text == "PING" for text in session.received)
    assert pings == 1, f"{pings} PINGs in {HEARTBEAT_S} s"
    heartbeat = client._get_market_manager()._heartbeat
    age_s = heartbeat._clock() - heartbeat._last_pong
    assert age_s < 1, f"the last PONG is {age_s:.1f} s old"
    assert len(venue.connection_log) == 1, "it has reconnected"
    return f"PONG {age_s:.1f} s ago, one connection since the start"


async def observe_freeze() -> str:
    """Freeze the stream behind its PONGs, with the client's own times scaled down."""
    heartbeat = ClobWebSocketHeartbeat(
        interval_s=10 / TIME_SCALE, stale_s=30 / TIME_SCALE
    )
    log, logger = LogRecords(), logging.Logger("frozen")
    logger.addHandler(log)
    async with MockPolymarket(seed=5, markets=1, events_per_s=50) as venue:
        manager = ClobMarketStreamManager(
            url=venue.urls.ws_market, heartbeat=heartbeat, logger=logger
        )
        manager._connection._watchdog_interval_s = 5 / TIME_SCALE
        handle = await manager.subscribe(token_ids=venue.asset_ids)
        stream = Stream(venue, handle)
        reader = asyncio.create_task(stream.collect())
        await asyncio.sleep(1)
        venue.faults.start("freeze_pong")
        await asyncio.sleep(0.1)
        before, missed_from = len(stream.events), len(venue.ledger.entries)
        await asyncio.sleep(FREEZE_S / TIME_SCALE)
        missed = len(venue.ledger.entries) - missed_from
        is_same_socket = len(venue.connection_log) == 1 and manager.is_open
        await manager.close()
        await reader
    noticed = not is_same_socket or bool(log.complaints)
    return (
        f"the client {'noticed' if noticed else 'did not notice'} {FREEZE_S:.0f} s of "
        f"freeze_pong (in 1/{TIME_SCALE} of the time, its own times scaled as well): "
        f"{before} events before, {len(stream.events) - before} after, {missed} "
        f"missed, {'the same' if is_same_socket else 'another'} socket, "
        f"{len(log.complaints)} warnings"
    )


async def run() -> int:
    checks = Checks()
    freeze = asyncio.create_task(observe_freeze())
    async with MockPolymarket(
        seed=3, markets=3, events_per_s=60, quiet_markets=1
    ) as venue:
        venue.flow.paused = True
        async with AsyncPublicClient(environment_of(venue.urls)) as client:
            for name, check in rest_checks(venue, client):
                await checks.run(f"reads {name}", check)
            await check_stream(checks, venue, client)
    say(f"observed: {await freeze}")
    say(f"{checks.passed} passed, {checks.failed} failed")
    return int(checks.failed > 0)


if __name__ == "__main__":
    os.environ["no_proxy"] = "*"
    sys.exit(asyncio.run(run()))
