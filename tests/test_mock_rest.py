"""CLOB, Gamma and Data REST, and the mock's control API."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from decimal import Decimal
from typing import Any

import aiohttp
import pytest
from mock_client import opening, subscribed

from mock_polymarket import MockPolymarket


NO_BOOK = {"error": "No orderbook exists for the requested token id"}


class Rest:
    """Short calls that return (status, decoded body)."""

    def __init__(self, http: aiohttp.ClientSession) -> None:
        self._http = http

    async def get(self, url: str, **query: str | list[str]) -> tuple[int, Any]:
        async with self._http.get(url, params=query) as answer:
            return answer.status, await answer.json()

    async def post(self, url: str, body: Any) -> tuple[int, Any]:
        async with self._http.post(url, json=body) as answer:
            return answer.status, await answer.json()


@asynccontextmanager
async def running(**options: Any) -> AsyncIterator[tuple[MockPolymarket, Rest]]:
    options.setdefault("events_per_s", 0)
    async with MockPolymarket(**options) as mock, aiohttp.ClientSession() as http:
        yield mock, Rest(http)


async def test_book_is_the_truth_with_the_fields_of_rest() -> None:
    async with running() as (mock, rest):
        yes = mock.asset_ids[0]
        status, book = await rest.get(f"{mock.urls.clob}/book", token_id=yes)
        view = mock.exchange.book(yes)
    assert status == 200
    assert list(book) == [
        "market",
        "asset_id",
        "timestamp",
        "hash",
        "bids",
        "asks",
        "min_order_size",
        "tick_size",
        "neg_risk",
        "last_trade_price",
    ]
    assert book["bids"][-1]["price"] == str(view.best_bid and view.best_bid.price)
    assert book["hash"] == view.hash
    assert book["neg_risk"] is False


async def test_book_and_stream_have_the_same_hash_and_timestamp() -> None:
    async with running() as (mock, rest), subscribed(mock) as socket:
        await opening(socket)
        yes, clob = mock.asset_ids[0], mock.urls.clob
        mock.exchange.set_level(yes, "BUY", "0.01", "3")
        change = mock.ledger.entries[-1].payload
        _, book = await rest.get(f"{clob}/book?token_id={yes}")
    assert book["hash"] == change["price_changes"][0]["hash"]
    assert book["timestamp"] == change["timestamp"]


async def test_unknown_tokens_are_404_with_the_venues_words() -> None:
    async with running() as (mock, rest):
        for path in ("book", "price", "midpoint", "tick-size"):
            url = f"{mock.urls.clob}/{path}"
            assert await rest.get(f"{url}?token_id=123&side=BUY") == (404, NO_BOOK)
            assert (await rest.get(url))[0] == 400


async def test_books_leave_unknown_tokens_out() -> None:
    async with running() as (mock, rest):
        ids = ["123", *mock.asset_ids]
        body = [{"token_id": asset_id} for asset_id in ids]
        status, books = await rest.post(f"{mock.urls.clob}/books", body)
    assert status == 200
    assert [book["asset_id"] for book in books] == list(mock.asset_ids)


async def test_more_than_500_books_or_nonsense_is_400() -> None:
    async with running() as (mock, rest):
        url = f"{mock.urls.clob}/books"
        assert (await rest.post(url, [{"token_id": "1"}] * 500)) == (200, [])
        assert (await rest.post(url, [{"token_id": "1"}] * 501))[0] == 400
        assert (await rest.post(url, ["1"]))[0] == 400


async def test_price_midpoint_and_tick_size_agree_with_the_book() -> None:
    async with running() as (mock, rest):
        yes, clob = mock.asset_ids[0], mock.urls.clob
        view = mock.exchange.book(yes)
        assert view.best_bid
        assert view.best_ask
        bid, ask = view.best_bid.price, view.best_ask.price
        buy = await rest.get(f"{clob}/price", token_id=yes, side="BUY")
        sell = await rest.get(f"{clob}/price", token_id=yes, side="sell")
        mid = await rest.get(f"{clob}/midpoint", token_id=yes)
        tick = await rest.get(f"{clob}/tick-size", token_id=yes)
        wrong = await rest.get(f"{clob}/price", token_id=yes, side="up")
    assert (buy, sell) == ((200, {"price": str(bid)}), (200, {"price": str(ask)}))
    assert Decimal(mid[1]["mid"]) == (bid + ask) / 2
    assert tick == (200, {"minimum_tick_size": 0.01})
    assert wrong[0] == 400


async def test_a_clob_market_names_its_winner_when_it_is_closed() -> None:
    async with running() as (mock, rest):
        url = f"{mock.urls.clob}/markets/{mock.condition_ids[0]}"
        _, before = await rest.get(url)
        mock.exchange.resolve(mock.condition_ids[0], 1)
        await asyncio.sleep(3)
        _, after = await rest.get(url)
        missing = await rest.get(f"{mock.urls.clob}/markets/0x00")
    assert (before["closed"], before["accepting_orders"]) == (False, True)
    assert [token["winner"] for token in before["tokens"]] == [False, False]
    assert [token["token_id"] for token in before["tokens"]] == before_ids(mock)
    assert (after["closed"], after["accepting_orders"]) == (True, False)
    assert [token["winner"] for token in after["tokens"]] == [False, True]
    assert [token["price"] for token in after["tokens"]] == [0, 1]
    assert missing[0] == 404


def before_ids(mock: MockPolymarket) -> list[str]:
    first = next(iter(mock.exchange.markets.values()))
    return list(first.asset_ids)


async def test_gamma_fields_are_strings_of_json() -> None:
    async with running() as (mock, rest):
        _, rows = await rest.get(f"{mock.urls.gamma}/markets")
    assert [row["conditionId"] for row in rows] == list(mock.condition_ids)
    row = rows[1]
    assert json.loads(row["outcomes"]) == ["Up", "Down"]
    assert json.loads(row["clobTokenIds"]) == list(mock.asset_ids[2:])
    assert sum(map(Decimal, json.loads(row["outcomePrices"]))) == 1
    assert row["umaResolutionStatuses"] == "[]"
    assert row["closed"] is False
    assert row["active"] is True


async def test_gamma_filters_and_pages() -> None:
    async with running(markets=5) as (mock, rest):
        url = f"{mock.urls.gamma}/markets"
        first, second = mock.condition_ids[:2]
        by_condition = await rest.get(url, condition_ids=[first, second])
        by_token = await rest.get(url, clob_token_ids=mock.asset_ids[2])
        page = await rest.get(url, limit="2", offset="1")
        wrong = await rest.get(url, limit="many")
    assert [row["conditionId"] for row in by_condition[1]] == [first, second]
    assert [row["conditionId"] for row in by_token[1]] == [second]
    assert [row["conditionId"] for row in page[1]] == list(mock.condition_ids[1:3])
    assert wrong[0] == 422


async def test_closed_markets_exist_and_need_closed_true() -> None:
    async with running() as (mock, rest):
        url = f"{mock.urls.gamma}/markets"
        _, closed = await rest.get(url, closed="true")
        condition_id = closed[0]["conditionId"]
        hidden = await rest.get(url, condition_ids=condition_id)
        token = json.loads(closed[0]["clobTokenIds"])[0]
        book = await rest.get(f"{mock.urls.clob}/book", token_id=token)
    assert len(closed) >= 2
    assert sorted(json.loads(closed[0]["outcomePrices"])) == ["0", "1"]
    assert condition_id not in mock.condition_ids
    assert hidden == (200, [])
    assert book == (404, NO_BOOK)


async def test_gamma_shows_a_closing_only_after_its_cache_lag() -> None:
    async with running(gamma_lag_s=90) as (mock, rest):
        condition_id = mock.condition_ids[0]
        query = {"condition_ids": condition_id, "closed": "true"}
        mock.exchange.resolve(condition_id, 0, announce_after_s=1)
        await asyncio.sleep(85)
        early = await rest.get(f"{mock.urls.gamma}/markets", **query)
        await asyncio.sleep(10)
        _, (row,) = await rest.get(f"{mock.urls.gamma}/markets", **query)
    assert early == (200, [])
    assert json.loads(row["outcomePrices"]) == ["1", "0"]
    assert row["umaResolutionStatus"] == "resolved"


async def test_the_data_host_says_that_it_is_not_there_yet() -> None:
    async with running() as (mock, rest):
        status, body = await rest.get(f"{mock.urls.data}/v2/trades", condition="0x1")
    assert status == 501
    assert "not simulated yet" in body["error"]


async def test_rest_requests_are_logged() -> None:
    async with running() as (mock, rest):
        began_s = asyncio.get_running_loop().time()
        await rest.get(f"{mock.urls.clob}/book?token_id={mock.asset_ids[0]}")
        await rest.get(f"{mock.urls.gamma}/markets")
        await rest.get(f"{mock.urls.control}/sessions")
        logged = list(mock.rest_log)
    assert [row[1:] for row in logged] == [
        ("clob", "GET", "/book"),
        ("gamma", "GET", "/markets"),
    ]
    assert logged[0][0] == pytest.approx(began_s, abs=0.01)


async def test_the_date_header_is_the_venues_clock() -> None:
    async with running(start_ms=1_790_000_000_000) as (mock, _):
        await asyncio.sleep(3_600)
        async with aiohttp.request("GET", f"{mock.urls.gamma}/markets") as answer:
            date = answer.headers["Date"]
    assert date == "Mon, 21 Sep 2026 15:13:20 GMT"


async def test_control_starts_lists_and_stops_faults() -> None:
    async with running() as (mock, rest):
        url = f"{mock.urls.control}/faults"
        begun = await rest.post(url, {"start": "freeze_pong", "params": {"new": True}})
        _, listed = await rest.get(url)
        ended = await rest.post(url, {"stop": "freeze_pong"})
        later = await rest.post(url, {"spec": "quiet@5s+20s"})
        await asyncio.sleep(6)
        assert "quiet" in mock.faults.active
        await asyncio.sleep(20)
        assert dict(mock.faults.active) == {}
    assert begun == (200, {"active": {"freeze_pong": {"new": True, "heal": False}}})
    assert listed["active"] == begun[1]["active"]
    assert listed["faults"]["half_open"].startswith("F10")
    assert ended == later == (200, {"active": {}})


@pytest.mark.parametrize(
    ("body", "says"),
    [
        ({"start": "nothing"}, "no fault 'nothing'"),
        ({"start": "freeze_pong", "params": {"x": 1}}, "no parameter 'x'"),
        ({"spec": "quiet@soon"}, "is not seconds"),
        ({"stop": "nothing"}, "no fault 'nothing'"),
        ({}, "start, spec or stop"),
        ([], "not a JSON object"),
    ],
)
async def test_control_says_what_is_wrong(body: Any, says: str) -> None:
    async with running() as (mock, rest):
        status, answer = await rest.post(f"{mock.urls.control}/faults", body)
    assert status == 400
    assert says in answer["error"]


async def test_control_shows_truth_and_sessions() -> None:
    async with running() as (mock, rest), subscribed(mock) as socket:
        await opening(socket)
        mock.exchange.trade(mock.asset_ids[0], "BUY", size=2)
        control, yes = mock.urls.control, mock.asset_ids[0]
        _, books = await rest.get(f"{control}/ledger/books")
        _, trades = await rest.get(f"{control}/ledger/trades", asset_id=yes)
        _, none = await rest.get(f"{control}/ledger/trades", asset_id="1")
        _, sessions = await rest.get(f"{control}/sessions")
        digest = mock.exchange.book(yes).hash
    assert list(books) == list(mock.asset_ids)
    assert books[yes]["hash"] == digest
    assert [trade["size"] for trade in trades] == ["2"]
    assert none == []
    assert sessions[0]["asset_ids"] == sorted(mock.asset_ids)


async def test_control_acts_on_the_exchange() -> None:
    async with running() as (mock, rest):
        yes, url = mock.asset_ids[0], f"{mock.urls.control}/exchange"
        condition_id = mock.condition_ids[0]
        level = {"asset_id": yes, "side": "BUY", "price": "0.01", "size": "5"}
        tick = {"condition_id": condition_id, "new": "0.001"}
        made = await rest.post(f"{url}/create_market", {"question": "Will it rain?"})
        actions = [
            await rest.post(f"{url}/set_level", level),
            await rest.post(f"{url}/trade", {"asset_id": yes, "side": "BUY"}),
            await rest.post(f"{url}/change_tick_size", tick),
            await rest.post(
                f"{url}/resolve", {"condition_id": condition_id, "winner_index": 0}
            ),
        ]
        wrong = await rest.post(f"{url}/trade", {"asset_id": "1", "side": "BUY"})
        unknown = await rest.post(f"{url}/explode", {})
        kinds = [entry.kind for entry in mock.ledger.entries]
    assert [status for status, _ in actions] == [200] * 4
    assert made[1]["result"]["question"] == "Will it rain?"
    assert {"new_market", "price_change", "last_trade_price"} <= set(kinds)
    assert "tick_size_change" in kinds
    assert (wrong[0], unknown[0]) == (400, 404)


@pytest.mark.parametrize("host", ["0.0.0.0", "192.168.1.5", "::", "example.com", ""])  # noqa: S104
def test_other_hosts_than_loopback_are_refused(host: str) -> None:
    with pytest.raises(ValueError, match="loopback only"):
        MockPolymarket(host=host)


@pytest.mark.parametrize("host", ["127.0.0.1", "::1", "localhost", "127.8.8.8"])
async def test_loopback_hosts_work(host: str) -> None:
    async with (
        MockPolymarket(host=host, events_per_s=0) as mock,
        subscribed(mock) as socket,
    ):
        assert await opening(socket)


async def test_a_wrong_fault_fails_before_anything_is_served() -> None:
    mock = MockPolymarket(faults=("freeze_pong", "quiet@later"))
    with pytest.raises(ValueError, match="later"):
        async with mock:
            pass


async def test_fixed_ports_follow_each_other() -> None:
    async with MockPolymarket(events_per_s=0) as first:
        port = int(first.urls.clob.rsplit(":", 1)[1])
    async with MockPolymarket(events_per_s=0, port=port) as mock:
        ports = [
            int(url.rsplit(":", 1)[1])
            for url in (
                mock.urls.clob,
                mock.urls.gamma,
                mock.urls.data,
                mock.urls.control,
            )
        ]
    assert ports == [port + 1, port + 2, port + 3, port + 4]
