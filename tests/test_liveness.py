"""Frozen, quiet or slow: the feed tells them apart, asset by asset."""

from __future__ import annotations

import asyncio
import itertools

from feeds import following

from event_buffer import ConnectionChange, FeedEvent
from market_websocket import MarketWebSocket
from mock_polymarket import MockPolymarket


def now() -> float:
    return asyncio.get_running_loop().time()


def is_loss(event: FeedEvent) -> bool:
    return isinstance(event, ConnectionChange) and not event.is_up


def connects(mock: MockPolymarket) -> int:
    return len(mock.connection_log)


async def test_a_frozen_hot_feed_is_noticed_within_15_s_and_healed() -> None:
    for seed in range(6):
        async with (
            MockPolymarket(seed=seed, markets=2, events_per_s=4) as mock,
            following(mock) as feed,
        ):
            await asyncio.sleep(20 + seed / 7)
            frozen_at = now()
            mock.faults.start("freeze_pong")
            await asyncio.sleep(25)
            assert feed.first_time_s(is_loss, frozen_at) - frozen_at <= 15
            await feed.quiesce()
            assert feed.unreported_trades() == []
            assert feed.unreported_changes() == 0


async def test_a_frozen_hot_feed_is_noticed_without_a_witness() -> None:
    async with (
        MockPolymarket(seed=3, markets=2, events_per_s=4) as mock,
        following(mock, clob_url=None) as feed,
    ):
        await asyncio.sleep(60)
        frozen_at = now()
        mock.faults.start("freeze_pong")
        await asyncio.sleep(25)
        assert feed.first_time_s(is_loss, frozen_at) - frozen_at <= 15


async def test_a_frozen_hot_feed_is_noticed_while_rest_is_down() -> None:
    async with (
        MockPolymarket(seed=4, markets=2, events_per_s=4) as mock,
        following(mock) as feed,
    ):
        await asyncio.sleep(60)
        mock.faults.start("rest_down")
        frozen_at = now()
        mock.faults.start("freeze_pong")
        await asyncio.sleep(30)
        assert feed.first_time_s(is_loss, frozen_at) - frozen_at <= 20


async def test_one_frozen_asset_of_many_is_moved_within_60_s() -> None:
    async with (
        MockPolymarket(seed=5, markets=6, events_per_s=1) as mock,
        following(mock) as feed,
    ):
        await asyncio.sleep(20)
        frozen = set(mock.asset_ids[:2])
        frozen_at = now()
        mock.faults.start("freeze_asset", assets=",".join(frozen))
        await asyncio.sleep(5)
        await feed.until(lambda: _are_on_another_socket(mock, frozen), 55)
        assert not feed.of_type("connection_change")[-1].reason
        assert now() - frozen_at <= 60
        await feed.quiesce()
        assert feed.unreported_trades() == []
        moved = {asset for gap in feed.gaps for asset in gap.asset_ids}
        assert moved == frozen


def _are_on_another_socket(mock: MockPolymarket, assets: set[str]) -> bool:
    homes = [session for session in mock.sessions if assets & set(session.asset_ids)]
    return len(homes) == 1 and set(homes[0].asset_ids) == assets


async def test_a_quiet_market_costs_at_most_one_reconnect_a_day() -> None:
    async with (
        MockPolymarket(seed=6, markets=0, quiet_markets=1) as mock,
        following(mock) as feed,
    ):
        await asyncio.sleep(24 * 3600)
        assert connects(mock) <= 2
        assert feed.gaps == []
        asks = len(mock.rest_log)
        assert asks <= 24 * 3600 / 25, "one witness request in 30 s is enough"


async def test_quiet_assets_among_busy_ones_are_left_alone() -> None:
    async with (
        MockPolymarket(seed=7, markets=1, quiet_markets=3, events_per_s=2) as mock,
        following(mock) as feed,
    ):
        await asyncio.sleep(3600)
        assert connects(mock) == 1
        assert feed.gaps == []


async def test_a_missed_event_of_a_quiet_asset_is_found_within_60_s() -> None:
    async with (
        MockPolymarket(seed=8, markets=1, quiet_markets=2, events_per_s=2) as mock,
        following(mock) as feed,
    ):
        await asyncio.sleep(100)
        quiet = mock.asset_ids[-1]
        mock.faults.start("freeze_asset", assets=",".join(mock.asset_ids[-2:]))
        await asyncio.sleep(200)
        assert feed.gaps == [], "nothing was missed yet"
        mock.exchange.trade(quiet, "BUY")
        missed_ms = mock.now_ms()
        await feed.until(lambda: feed.covers(quiet, missed_ms), 60)
        await feed.quiesce()
        assert feed.unreported_trades() == []


async def test_an_asset_without_a_first_book_is_asked_again_then_moved() -> None:
    async with MockPolymarket(seed=9, markets=3, events_per_s=1) as mock:
        late = mock.asset_ids[0]
        mock.faults.start("sub_no_book", assets=late)
        asyncio.get_running_loop().call_later(40, mock.faults.stop, "sub_no_book")
        async with following(mock, mock.asset_ids) as feed:
            first_session_frames = [f for f in mock.sessions[0].received if late in f]
            assert any('"unsubscribe"' in frame for frame in first_session_frames)
            assert sum('"subscribe"' in frame for frame in first_session_frames) >= 1
            assert connects(mock) >= 2, "the second failure moves it"
            await feed.quiesce()


async def test_an_asset_nobody_knows_does_not_cost_reconnects() -> None:
    async with MockPolymarket(seed=10, markets=1, events_per_s=1) as mock:
        unknown = "123456789"
        async with following(mock) as feed:
            await feed.ws.subscribe(unknown)
            await asyncio.sleep(1800)
            assert connects(mock) == 1
            data = feed.ws.get_market_data(unknown)
            assert data is not None
            assert data.is_stale


async def test_a_socket_on_which_everything_is_unknown_is_kept() -> None:
    async with (
        MockPolymarket(seed=10, markets=1) as mock,
        MarketWebSocket(
            "123456789", url=mock.urls.ws_market, clob_url=mock.urls.clob
        ) as ws,
    ):
        await ws.connect()
        await asyncio.sleep(1800)
        assert connects(mock) <= 2


async def test_new_sockets_that_stay_mute_are_not_stormed() -> None:
    async with (
        MockPolymarket(seed=11, markets=1, events_per_s=4) as mock,
        following(mock) as feed,
    ):
        await asyncio.sleep(60)
        mock.faults.start("freeze_pong", new=True)
        await asyncio.sleep(600)
        assert connects(mock) <= 40
        assert not feed.ws.is_connected
        mock.faults.stop("freeze_pong")
        await feed.quiesce()
        assert feed.unreported_trades() == []


async def test_a_lying_witness_costs_little() -> None:
    async with (
        MockPolymarket(seed=12, markets=1, quiet_markets=1, events_per_s=2) as mock,
        following(mock) as feed,
    ):
        await asyncio.sleep(30)
        mock.faults.start("rest_stale")
        await asyncio.sleep(3600)
        assert connects(mock) <= 16
        await feed.quiesce()


async def test_the_witness_is_asked_at_most_twice_a_second() -> None:
    async with (
        MockPolymarket(seed=13, markets=120, events_per_s=0.05) as mock,
        following(mock),
    ):
        await asyncio.sleep(120)
        times = [entry[0] for entry in mock.rest_log]
        assert times
        assert all(b - a >= 0.49 for a, b in itertools.pairwise(times))


async def test_times_that_stand_still_are_noticed() -> None:
    async with (
        MockPolymarket(seed=14, markets=2, events_per_s=4) as mock,
        following(mock) as feed,
    ):
        await asyncio.sleep(20)
        began_at = now()
        mock.faults.start("stuck_ts")
        await asyncio.sleep(40)
        lost_at = feed.first_time_s(is_loss, began_at)
        assert lost_at - began_at <= 30


async def test_a_lost_change_deep_in_the_book_is_found_by_its_hash() -> None:
    async with (
        MockPolymarket(seed=15, markets=1, events_per_s=0) as mock,
        following(mock) as feed,
    ):
        await asyncio.sleep(20)
        asset_id = mock.asset_ids[0]
        deepest = mock.exchange.book(asset_id).bids[0].price
        mock.faults.start("missed_delta", every=1)
        mock.exchange.set_level(asset_id, "BUY", deepest, "77")
        mock.faults.stop("missed_delta")
        for size in ("5", "6", "7", "8"):
            await asyncio.sleep(0.7)
            best = mock.exchange.book(asset_id).bids[-1].price
            mock.exchange.set_level(asset_id, "BUY", best, size)
        await feed.until(lambda: any("hash" in gap.reason for gap in feed.gaps), 5)
        await feed.quiesce()
        assert feed.unreported_changes() == 0


async def test_hashes_of_another_recipe_cause_no_storm() -> None:
    async with (
        MockPolymarket(seed=16, markets=2, events_per_s=2) as mock,
        following(mock) as feed,
    ):
        await asyncio.sleep(20)
        mock.faults.start("hash_mismatch")
        await asyncio.sleep(120)
        doubts = len(feed.gaps)
        await asyncio.sleep(1800)
        assert len(feed.gaps) == doubts
        assert connects(mock) <= 4


async def test_a_day_of_faults_leaves_every_book_right_and_no_loss_unreported() -> None:
    names = ["close_1006", "close_1012", "freeze_pong", "freeze_asset", "half_open"]
    async with (
        MockPolymarket(seed=17, markets=1, quiet_markets=1, events_per_s=0.2) as mock,
        following(mock) as feed,
    ):
        for number in range(144):
            await asyncio.sleep(600)
            mock.faults.start(names[number % len(names)])
        await asyncio.sleep(120)
        await feed.quiesce()
        assert feed.unreported_trades() == []
        assert connects(mock) <= 200


async def test_a_feed_that_is_merely_late_is_not_taken_for_frozen() -> None:
    async with (
        MockPolymarket(seed=18, markets=2, events_per_s=4) as mock,
        following(mock) as feed,
    ):
        await asyncio.sleep(20)
        mock.faults.start("latency", s=8)
        await asyncio.sleep(300)
        assert connects(mock) == 1
        mock.faults.start("close_1006")
        await asyncio.sleep(30)
        mock.faults.stop("latency")
        await feed.quiesce()
        assert feed.unreported_trades() == []
