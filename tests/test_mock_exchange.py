"""The simulated exchange keeps its own rules."""

from __future__ import annotations

import asyncio
from collections import Counter
from decimal import Decimal

import pytest
from mock_client import apply, events_for, opening, subscribed, truth

from mock_polymarket import MockPolymarket
from mock_polymarket.exchange import Exchange


ONE = Decimal(1)


async def run_for(
    seconds: float, *, seed: int = 1, rate: float = 20.0
) -> MockPolymarket:
    async with MockPolymarket(seed=seed, markets=3, events_per_s=rate) as mock:
        await asyncio.sleep(seconds)
    return mock


def assert_sound(exchange: Exchange, condition_id: str) -> None:
    """Check one market: mirrored, uncrossed, on the grid, of plausible depth."""
    market = exchange.market(condition_id)
    yes, no = (exchange.book(asset_id) for asset_id in market.asset_ids)
    mirror = [(ONE - level.price, level.size) for level in no.asks]
    assert list(yes.bids) == mirror
    assert list(yes.asks) == [(ONE - level.price, level.size) for level in no.bids]
    assert yes.best_bid
    assert yes.best_ask
    assert yes.best_bid.price < yes.best_ask.price
    for level in (*yes.bids, *yes.asks):
        assert 0 < level.price < 1
        assert level.price % yes.tick_size == 0
        assert level.size > 0
        assert -level.size.as_tuple().exponent <= 6  # type: ignore[operator]
    assert len(yes.bids) <= 41
    assert len(yes.asks) <= 41


@pytest.mark.parametrize("seed", range(3))
async def test_books_stay_mirrored_uncrossed_and_on_the_grid(seed: int) -> None:
    async with MockPolymarket(seed=seed, markets=3, events_per_s=50) as mock:
        for _ in range(30):
            await asyncio.sleep(2)
            for condition_id in mock.condition_ids:
                assert_sound(mock.exchange, condition_id)


async def test_the_same_seed_gives_the_same_ledger() -> None:
    first, second = await run_for(60), await run_for(60)
    other = await run_for(60, seed=2)
    assert first.ledger.digest() == second.ledger.digest()
    assert first.ledger.digest() != other.ledger.digest()
    assert first.asset_ids != other.asset_ids


async def test_the_flow_has_the_documented_shares() -> None:
    mock = await run_for(300)
    counts = Counter(entry.kind for entry in mock.ledger.entries)
    trades = counts["book"] // 2  # a trade sends both books, then one or more fills
    total = counts["price_change"] + trades
    assert total == pytest.approx(3 * 20 * 300, rel=0.05)
    assert counts["price_change"] / total == pytest.approx(0.93, abs=0.02)
    assert trades / total == pytest.approx(0.07, abs=0.02)
    assert counts["last_trade_price"] >= trades


async def test_the_flow_makes_shared_transactions_and_legal_twins() -> None:
    trades = [entry.payload for entry in (await run_for(120)).ledger.trades()]
    hashes = Counter(trade["transaction_hash"] for trade in trades)
    values = Counter(tuple(trade.items()) for trade in trades)
    assert max(hashes.values()) > 1
    assert max(values.values()) > 1
    assert len(values) > len(hashes)


async def test_a_trade_is_announced_up_to_58_ms_after_its_own_time() -> None:
    entries = (await run_for(120)).ledger.trades()
    late = [entry.time_ms - int(entry.payload["timestamp"]) for entry in entries]
    assert min(late) == 0
    assert 0 < max(late) <= 58


async def test_a_client_that_follows_the_stream_ends_with_the_true_books() -> None:
    async with MockPolymarket(seed=9, events_per_s=20) as mock:
        async with subscribed(mock) as socket:
            books: dict[str, dict[str, dict[str, str]]] = {}
            events = await opening(socket) + await events_for(socket, 120)
            for condition_id in mock.condition_ids:
                mock.exchange.set_rate(condition_id, 0)
            events += await events_for(socket, 1)
        last: dict[str, int] = {}
        for event in events:
            # A duplicate is older than what has come since.
            key = event["market"]
            if int(event["timestamp"]) >= last.get(key, 0):
                apply(books, event)
            if event["event_type"] == "price_change":
                last[key] = max(int(event["timestamp"]), last.get(key, 0))
        assert books == {i: truth(mock, i) for i in mock.asset_ids}


async def test_price_changes_come_twice_now_and_then_within_120_ms() -> None:
    async with (
        MockPolymarket(seed=4, events_per_s=30) as mock,
        subscribed(mock) as socket,
    ):
        loop, seen = asyncio.get_running_loop(), dict[str, float]()
        gaps: list[float] = []
        async with asyncio.timeout(60):
            while len(gaps) < 5:
                frame = str(await socket.recv())
                if frame in seen and '"price_change"' in frame:
                    gaps.append(loop.time() - seen[frame])
                seen[frame] = loop.time()
    assert max(gaps) <= 0.13
    assert len(gaps) < len(seen) / 50


async def test_the_rate_of_one_market_can_be_changed() -> None:
    async with MockPolymarket(events_per_s=0, quiet_markets=1) as mock:
        busy, *quiet = mock.condition_ids
        assert len(mock.condition_ids) == 3
        mock.exchange.set_rate(busy, 10)
        await asyncio.sleep(10)
        assert len({entry.condition_id for entry in mock.ledger.entries}) == 1
        mock.exchange.set_rate(busy, 0)
        before = len(mock.ledger.entries)
        await asyncio.sleep(10)
    assert len(mock.ledger.entries) == before
    assert not any(entry.condition_id in quiet for entry in mock.ledger.entries)


async def test_quiet_markets_have_books_and_no_events() -> None:
    async with MockPolymarket(markets=1, quiet_markets=2) as mock:
        await asyncio.sleep(30)
        assert len(mock.asset_ids) == 6
        assert {entry.condition_id for entry in mock.ledger.entries} == {
            mock.condition_ids[0]
        }
        assert mock.exchange.book(mock.asset_ids[4]).bids


async def test_the_ledger_finds_events_by_asset_and_time() -> None:
    async with MockPolymarket(events_per_s=0) as mock:
        yes, _, other, _ = mock.asset_ids
        mock.exchange.trade(yes, "BUY", price="0.5", size=3)
        await asyncio.sleep(1)
        middle_ms = mock.now_ms()
        mock.exchange.set_level(other, "BUY", "0.01", 4)
        everything = mock.ledger.events()
        assert [entry.seq for entry in everything] == list(range(len(everything)))
        assert mock.ledger.events(until_ms=middle_ms) == [
            e for e in everything if e.time_ms < middle_ms
        ]
        (change,) = mock.ledger.events(other, since_ms=middle_ms)
        assert change.kind == "price_change"
        assert change.asset_ids == mock.asset_ids[2:]
        (trade,) = mock.ledger.trades(yes)
        assert mock.ledger.trades(other) == []
        wanted = {"price": "0.5", "size": "3", "side": "BUY"}
        assert wanted.items() <= trade.payload.items()
        assert trade.payload["timestamp"] == str(trade.time_ms)
        assert mock.ledger.book(yes) == mock.exchange.book(yes)


async def test_the_ledger_keeps_many_texts_whole() -> None:
    async with MockPolymarket(seed=6, events_per_s=100) as mock:
        async with subscribed(mock, custom_feature_enabled=True) as socket:
            await opening(socket)
            begin = len(mock.ledger.entries)
            frames = [str(await socket.recv()) for _ in range(2_000)]
        kept = [entry.text for entry in mock.ledger.entries[begin : begin + 1_900]]
    assert set(kept) <= set(frames)


@pytest.mark.parametrize(
    ("price", "size", "why"),
    [
        ("0.995", "1", "on a grid"),
        ("0", "1", "on a grid"),
        ("1", "1", "on a grid"),
        ("0.5", "-1", "on a grid"),
        ("0.99", "1", "crosses"),
        ("0.5", "0.0000001", "finer than"),
        ("half", "1", "not a decimal"),
    ],
)
async def test_an_impossible_level_is_refused(price: str, size: str, why: str) -> None:
    async with MockPolymarket(events_per_s=0) as mock:
        with pytest.raises(ValueError, match=why):
            mock.exchange.set_level(mock.asset_ids[0], "BUY", price, size)
        assert mock.ledger.entries == []


async def test_views_give_exact_levels_best_first_too() -> None:
    async with MockPolymarket(events_per_s=0) as mock:
        view = mock.exchange.book(mock.asset_ids[0])
    assert view.bids_best_first()[0] == view.best_bid == view.bids[-1]
    assert view.asks_best_first()[0] == view.best_ask == view.asks[-1]
    assert isinstance(view.bids[0].price, Decimal)
