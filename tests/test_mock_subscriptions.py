"""What clients may say to the market channel, and what comes of it."""

from __future__ import annotations

import asyncio
import json

import pytest
from mock_client import (
    Event,
    close_of,
    events_for,
    kinds,
    next_text,
    open_socket,
    opening,
    send,
    subscribe,
    subscribed,
    texts_for,
)
from websockets.asyncio.client import connect
from websockets.exceptions import InvalidStatus

from mock_polymarket import MockPolymarket


async def test_ping_is_answered_with_pong_after_subscribing() -> None:
    async with MockPolymarket(events_per_s=0) as mock, subscribed(mock) as socket:
        await opening(socket)
        await socket.send("PING")
        assert (await next_text(socket)).strip() == "PONG"
        await socket.send("PING\n")
        assert (await next_text(socket)).strip() == "PONG"


@pytest.mark.parametrize(
    "first",
    [
        "PING",
        "{}",
        "hello",
        '{"operation":"subscribe","assets_ids":["1"]}',
        '{"type":"user","assets_ids":["1"]}',
        '{"type":"market","assets_ids":[1]}',
        '{"type":"market"}',
    ],
)
async def test_a_first_frame_that_subscribes_nothing_closes_with_1008(
    first: str,
) -> None:
    async with MockPolymarket() as mock, open_socket(mock) as socket:
        await socket.send(first)
        assert await close_of(socket) == (1008, "invalid subscription payload")


@pytest.mark.parametrize("answers", [True, False])
async def test_a_second_initial_frame_is_an_invalid_operation(answers: bool) -> None:
    async with MockPolymarket(events_per_s=0) as mock, subscribed(mock) as socket:
        mock.answers_invalid_operation = answers
        await opening(socket)
        await subscribe(socket, *mock.asset_ids)
        said = await texts_for(socket, 5)
    assert said == (["INVALID OPERATION"] if answers else [])


async def test_a_duplicate_token_is_refused_but_its_flag_is_applied() -> None:
    async with MockPolymarket(events_per_s=0) as mock:
        yes, _, other, _ = mock.asset_ids
        async with subscribed(mock, yes) as socket:
            await opening(socket)
            again = {"operation": "subscribe", "assets_ids": [yes, other]}
            await send(socket, {**again, "custom_feature_enabled": True})
            assert await texts_for(socket, 1) == ["INVALID OPERATION"]
            assert mock.sessions[0].asset_ids == {yes}
            mock.exchange.create_market()
            assert kinds(await events_for(socket, 1)) == ["new_market"]


@pytest.mark.parametrize(
    "frame",
    [
        '{"operation":"subscribe","assets_ids":[],"type":"market"}',
        '{"operation":"subscribe"}',
        '{"operation":"pause","assets_ids":[]}',
        "{",
        "[]",
    ],
)
async def test_a_malformed_operation_is_answered_in_text(frame: str) -> None:
    async with MockPolymarket(events_per_s=0) as mock, subscribed(mock) as socket:
        await opening(socket)
        await socket.send(frame)
        assert await next_text(socket) == "INVALID OPERATION"


async def test_a_later_subscribe_yields_an_array_of_books() -> None:
    async with MockPolymarket(events_per_s=0) as mock:
        yes, no, *others = mock.asset_ids
        async with subscribed(mock, yes, no) as socket:
            await opening(socket)
            await send(socket, {"operation": "subscribe", "assets_ids": others})
            text = await next_text(socket)
        books: list[Event] = json.loads(text)
    assert text.endswith("]\n")
    assert [book["asset_id"] for book in books] == others
    assert "tick_size" in books[0]


async def test_one_token_brings_the_changes_of_both() -> None:
    async with MockPolymarket(events_per_s=0) as mock:
        yes, no = mock.asset_ids[:2]
        async with subscribed(mock, no) as socket:
            await opening(socket)
            mock.exchange.trade(yes, "BUY")
            mock.exchange.set_level(yes, "BUY", "0.01", 5)
            events = await events_for(socket, 1)
    assert kinds(events) == ["book", "book", "last_trade_price", "price_change"]
    entries = events[3]["price_changes"]
    assert [entry["asset_id"] for entry in entries] == [yes, no]


async def test_unsubscribing_counts_when_no_token_of_the_market_is_left() -> None:
    async with MockPolymarket(events_per_s=0) as mock:
        yes, no = mock.asset_ids[:2]
        async with subscribed(mock, yes, no) as socket:
            await opening(socket)
            await send(socket, {"operation": "unsubscribe", "assets_ids": [yes]})
            await asyncio.sleep(0.1)
            mock.exchange.set_level(yes, "BUY", "0.01", 5)
            assert len(await events_for(socket, 1)) == 1
            assert mock.sessions[0].asset_ids == {no}
            await send(socket, {"operation": "unsubscribe", "assets_ids": [no]})
            await asyncio.sleep(0.1)
            mock.exchange.set_level(yes, "BUY", "0.01", 6)
            assert await events_for(socket, 1) == []


async def test_other_markets_events_do_not_arrive() -> None:
    async with (
        MockPolymarket(events_per_s=0) as mock,
        subscribed(mock, mock.asset_ids[0]) as socket,
    ):
        await opening(socket)
        mock.exchange.trade(mock.asset_ids[2], "BUY")
        assert await events_for(socket, 1) == []


async def test_custom_events_need_the_flag() -> None:
    async with (
        MockPolymarket(events_per_s=0) as mock,
        subscribed(mock) as plain,
        subscribed(mock, custom_feature_enabled=True) as custom,
    ):
        await opening(plain)
        await opening(custom)
        yes = mock.asset_ids[0]
        best = mock.exchange.book(yes).best_bid
        assert best is not None
        mock.exchange.set_level(yes, "BUY", best.price, 0)
        mock.exchange.create_market()
        without, with_flag = (
            await events_for(plain, 1),
            await events_for(custom, 1),
        )
    assert kinds(without) == ["price_change"]
    assert kinds(with_flag) == [
        "price_change",
        "best_bid_ask",
        "best_bid_ask",
        "new_market",
    ]
    assert set(with_flag[1]) >= {"best_bid", "best_ask", "spread", "asset_id"}


async def test_new_market_reaches_connections_without_any_token() -> None:
    async with MockPolymarket(events_per_s=0) as mock, open_socket(mock) as socket:
        await subscribe(socket, custom_feature_enabled=True)
        assert await next_text(socket) == "[]"
        made = mock.exchange.create_market(outcomes=("Up", "Down"))
        event = json.loads(await next_text(socket))
    assert event["event_type"] == "new_market"
    assert event["assets_ids"] == event["clob_token_ids"] == list(made.asset_ids)
    assert event["market"] == event["condition_id"] == made.condition_id
    assert event["outcomes"] == ["Up", "Down"]
    assert event["order_price_min_tick_size"] == "0.01"


async def test_nothing_missed_is_replayed() -> None:
    async with MockPolymarket(events_per_s=0) as mock:
        async with subscribed(mock) as socket:
            await opening(socket)
        mock.exchange.trade(mock.asset_ids[0], "BUY")
        async with subscribed(mock) as socket:
            assert kinds(await events_for(socket, 5)) == ["book"] * 4
    assert len(mock.ledger.trades()) == 1


@pytest.mark.parametrize("path", ["/ws/", "/ws", "/ws/market/", "/"])
async def test_a_wrong_path_is_404(path: str) -> None:
    async with MockPolymarket() as mock:
        url = mock.urls.ws_market.replace("/ws/market", path)
        with pytest.raises(InvalidStatus) as refused:
            async with connect(url, proxy=None):
                pass
        assert refused.value.response.status_code == 404
        assert mock.connection_log[0][1].startswith("refused 404")


async def test_the_user_channel_says_that_it_is_not_there_yet() -> None:
    async with MockPolymarket() as mock:
        with pytest.raises(InvalidStatus) as refused:
            async with connect(mock.urls.ws_user, proxy=None):
                pass
    assert refused.value.response.status_code == 501
    assert b"not simulated yet" in bytes(refused.value.response.body or b"")


async def test_sessions_show_what_clients_said_and_hold() -> None:
    async with MockPolymarket(events_per_s=0) as mock, subscribed(mock) as socket:
        opened_s = asyncio.get_running_loop().time()
        await opening(socket)
        await socket.send("PING")
        await next_text(socket)
        (session,) = mock.sessions
        assert session.asset_ids == set(mock.asset_ids)
        assert session.opened_at_s == pytest.approx(opened_s, abs=0.1)
        assert list(session.received)[1] == "PING"
        await socket.close()
        await asyncio.sleep(1)
        assert mock.sessions == []
        assert [what for _, what in mock.connection_log] == ["accepted"]
