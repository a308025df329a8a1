"""The market channel's frames look like the venue's."""

from __future__ import annotations

import asyncio
import json
from decimal import Decimal

from mock_client import (
    events_for,
    kinds,
    next_text,
    open_socket,
    opening,
    subscribe,
    subscribed,
)

from mock_polymarket import MockPolymarket


async def test_the_opening_frame_is_one_array_of_books_about_165_ms_later() -> None:
    async with MockPolymarket(events_per_s=0) as mock, open_socket(mock) as socket:
        await asyncio.sleep(0.5)
        began_s = asyncio.get_running_loop().time()
        await subscribe(socket, *mock.asset_ids)
        text = await next_text(socket)
        took_s = asyncio.get_running_loop().time() - began_s
    assert text.startswith("[{")
    assert text.endswith("}]\n")
    assert 0.14 <= took_s <= 0.19
    assert [book["asset_id"] for book in json.loads(text)] == list(mock.asset_ids)


async def test_nothing_is_sent_before_the_client_speaks() -> None:
    async with MockPolymarket() as mock, open_socket(mock) as socket:
        assert await events_for(socket, 20) == []


async def test_a_single_token_opens_with_an_array_too() -> None:
    async with (
        MockPolymarket(events_per_s=0) as mock,
        subscribed(mock, mock.asset_ids[0]) as socket,
    ):
        assert len(await opening(socket)) == 1


async def test_opening_books_have_the_documented_keys_in_order() -> None:
    async with MockPolymarket(events_per_s=0) as mock, subscribed(mock) as socket:
        book = (await opening(socket))[0]
    assert list(book) == [
        "market",
        "asset_id",
        "timestamp",
        "hash",
        "bids",
        "asks",
        "tick_size",
        "event_type",
        "last_trade_price",
    ]
    assert book["event_type"] == "book"
    assert book["last_trade_price"] == ""
    assert int(book["timestamp"]) < mock.now_ms()


async def test_levels_are_worst_first() -> None:
    async with MockPolymarket(events_per_s=0) as mock, subscribed(mock) as socket:
        for book in await opening(socket):
            bids = [Decimal(level["price"]) for level in book["bids"]]
            asks = [Decimal(level["price"]) for level in book["asks"]]
            assert bids == sorted(bids)
            assert asks == sorted(asks, reverse=True)
            assert 10 <= len(bids) <= 40
            assert 10 <= len(asks) <= 40
            assert bids[-1] < asks[-1]


async def test_unknown_and_closed_tokens_are_silently_missing() -> None:
    async with MockPolymarket(events_per_s=0) as mock:
        closed = [
            m for m in mock.exchange.markets.values() if m.winner_index is not None
        ]
        assert closed
        wanted = ("123", closed[0].asset_ids[0], mock.asset_ids[1])
        async with subscribed(mock, *wanted) as socket:
            books = await opening(socket)
    assert [book["asset_id"] for book in books] == [mock.asset_ids[1]]


async def test_an_empty_array_comes_if_no_token_is_known() -> None:
    async with (
        MockPolymarket(events_per_s=0) as mock,
        subscribed(mock, "123", "456") as socket,
    ):
        assert await next_text(socket) == "[]"


async def test_initial_dump_false_suppresses_the_books_but_not_the_changes() -> None:
    async with (
        MockPolymarket(seed=3) as mock,
        subscribed(mock, initial_dump=False) as socket,
    ):
        seen = await events_for(socket, 5)
    assert seen
    assert "tick_size" not in seen[0]
    assert kinds(seen)[0] == "price_change"


async def test_a_price_change_carries_both_tokens_mirrored() -> None:
    async with MockPolymarket(events_per_s=0) as mock, subscribed(mock) as socket:
        yes, no = mock.asset_ids[:2]
        await opening(socket)
        best = mock.exchange.book(yes).best_bid
        assert best is not None
        mock.exchange.set_level(yes, "BUY", best.price, "12.5")
        event = json.loads(await next_text(socket))
    assert list(event) == ["market", "price_changes", "timestamp", "event_type"]
    first, second = event["price_changes"]
    assert list(first) == [
        "asset_id",
        "price",
        "size",
        "side",
        "hash",
        "best_bid",
        "best_ask",
    ]
    assert (first["asset_id"], second["asset_id"]) == (yes, no)
    assert (first["side"], second["side"]) == ("BUY", "SELL")
    assert Decimal(first["price"]) + Decimal(second["price"]) == 1
    assert first["size"] == second["size"] == "12.5"
    assert Decimal(first["best_bid"]) + Decimal(second["best_ask"]) == 1


async def test_a_change_carries_the_time_at_which_it_happened() -> None:
    async with MockPolymarket(events_per_s=0) as mock, subscribed(mock) as socket:
        await opening(socket)
        await asyncio.sleep(12.5)
        mock.exchange.set_level(mock.asset_ids[0], "BUY", "0.01", 5)
        mock.exchange.trade(mock.asset_ids[0], "BUY")
        events = await events_for(socket, 1)
        assert {e["timestamp"] for e in events} == {str(mock.now_ms() - 1_000)}


async def test_size_is_the_new_total_and_zero_removes_the_level() -> None:
    async with MockPolymarket(events_per_s=0) as mock, subscribed(mock) as socket:
        yes = mock.asset_ids[0]
        await opening(socket)
        worst = mock.exchange.book(yes).bids[0]
        for size in ("7", "0"):
            mock.exchange.set_level(yes, "BUY", worst.price, size)
            event = json.loads(await next_text(socket))
            assert event["price_changes"][0]["size"] == size
    assert worst.price not in [level.price for level in mock.exchange.book(yes).bids]


async def test_empty_sides_show_as_zero_and_one() -> None:
    async with MockPolymarket(events_per_s=0) as mock, subscribed(mock) as socket:
        yes = mock.asset_ids[0]
        await opening(socket)
        view = mock.exchange.book(yes)
        for level in view.bids:
            mock.exchange.set_level(yes, "BUY", level.price, 0)
        for level in view.asks:
            mock.exchange.set_level(yes, "SELL", level.price, 0)
        last = (await events_for(socket, 1))[-1]
    for entry in last["price_changes"]:
        assert (entry["best_bid"], entry["best_ask"]) == ("0", "1")


async def test_a_trade_shows_in_the_books_before_it_is_announced() -> None:
    async with MockPolymarket(events_per_s=0) as mock, subscribed(mock) as socket:
        yes, no = mock.asset_ids[:2]
        await opening(socket)
        ask = mock.exchange.book(yes).best_ask
        assert ask is not None
        mock.exchange.trade(yes, "BUY", size="1.25")
        events = await events_for(socket, 1)
    assert kinds(events) == ["book", "book", "last_trade_price"]
    book, other, trade = events
    assert list(book) == [
        "market",
        "asset_id",
        "bids",
        "asks",
        "hash",
        "timestamp",
        "event_type",
    ]
    assert {book["asset_id"], other["asset_id"]} == {yes, no}
    left = {level["price"]: level["size"] for level in book["asks"]}
    assert Decimal(left[str(ask.price)]) == ask.size - Decimal("1.25")
    assert list(trade) == [
        "market",
        "asset_id",
        "price",
        "size",
        "fee_rate_bps",
        "side",
        "timestamp",
        "event_type",
        "transaction_hash",
    ]
    assert (trade["price"], trade["size"]) == (str(ask.price), "1.25")
    assert (trade["side"], trade["fee_rate_bps"]) == ("BUY", "0")
    assert len(trade["transaction_hash"]) == 66


async def test_fills_of_one_transaction_may_be_equal_in_every_value() -> None:
    async with MockPolymarket(events_per_s=0) as mock, subscribed(mock) as socket:
        await opening(socket)
        mock.exchange.trade(mock.asset_ids[0], "SELL", size=2, fills=3)
        twins = [e for e in await events_for(socket, 1) if "transaction_hash" in e]
        mock.exchange.trade(
            mock.asset_ids[0], "SELL", size=2, fills=2, same_transaction=False
        )
        others = [e for e in await events_for(socket, 1) if "transaction_hash" in e]
    assert len(twins) == 3
    assert twins[0] == twins[1] == twins[2]
    assert others[0]["transaction_hash"] != others[1]["transaction_hash"]


async def test_crossing_096_makes_the_tick_finer_and_keeps_the_old_levels() -> None:
    async with MockPolymarket(events_per_s=0) as mock:
        market = mock.exchange.create_market(tick_size="0.01", mid="0.95")
        yes, no = market.asset_ids
        async with subscribed(mock, yes) as socket:
            await opening(socket)
            for price in ("0.95", "0.96", "0.97", "0.98"):
                mock.exchange.set_level(yes, "SELL", price, 0)
            mock.exchange.set_level(yes, "BUY", "0.97", 5)
            events = await events_for(socket, 1)
        bids = mock.exchange.book(yes).bids
    ticks = [event for event in events if event["event_type"] == "tick_size_change"]
    assert [tick["asset_id"] for tick in ticks] == [yes, no]
    assert list(ticks[0]) == [
        "market",
        "asset_id",
        "old_tick_size",
        "new_tick_size",
        "timestamp",
        "event_type",
    ]
    assert (ticks[0]["old_tick_size"], ticks[0]["new_tick_size"]) == ("0.01", "0.001")
    assert len(bids) >= 10


async def test_event_type_is_never_the_first_key() -> None:
    async with (
        MockPolymarket(seed=5) as mock,
        subscribed(mock, custom_feature_enabled=True) as socket,
    ):
        events = await events_for(socket, 60)
    assert {"book", "price_change", "last_trade_price", "best_bid_ask"} <= set(
        kinds(events)
    )
    assert all(next(iter(event)) != "event_type" for event in events)
    assert all(event["timestamp"].isdigit() for event in events)


async def test_ids_have_the_venues_shapes() -> None:
    mock = MockPolymarket(markets=30)
    assert all(i.isdigit() and len(i) in (77, 78) for i in mock.asset_ids)
    assert all(c.startswith("0x") and len(c) == 66 for c in mock.condition_ids)
    assert len(set(mock.asset_ids)) == 60


async def test_some_markets_are_up_or_down() -> None:
    outcomes = {
        tuple(token.outcome for token in market.tokens)
        for market in MockPolymarket(markets=4).exchange.open_markets()
    }
    assert outcomes == {("Yes", "No"), ("Up", "Down")}


async def test_permessage_deflate_is_used_when_offered() -> None:
    async with MockPolymarket(events_per_s=0) as mock, subscribed(mock) as socket:
        assert [extension.name for extension in socket.protocol.extensions] == [
            "permessage-deflate"
        ]
        assert await opening(socket)
