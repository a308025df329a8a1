"""The mock's book hashes are the venue's."""

from __future__ import annotations

import hashlib
import json
from decimal import Decimal
from typing import Any

import aiohttp
import pytest
from mock_client import Event, apply, events_for, opening, subscribed

from mock_polymarket import MockPolymarket
from mock_polymarket.book_hash import HashFields, book_hash


BIDS = '{"price":"0.3","size":"100"},{"price":"0.4","size":"100"}'
ASKS = '{"price":"0.6","size":"100"},{"price":"0.7","size":"100"}'


# The first two are the vectors of Polymarket/py-clob-client's own tests; the third
# was computed with `generate_orderbook_summary_hash` of py-clob-client 0.34.6.
@pytest.mark.parametrize(
    ("timestamp", "neg_risk", "last", "levels", "expected"),
    [
        (
            "123456789",
            False,
            "0.5",
            (BIDS, ASKS),
            "0458ea5755c9f73d64a14636fa5c36ed460ec394",
        ),
        ("", False, "0.5", ("", ""), "74c6a7c81c1d572f1c877b7d3e25b80c336d8a6e"),
        (
            "1790000000000",
            True,
            "",
            (ASKS, BIDS),
            "4a11dacaa82b17e4dfef07fc636eaab534ef4e2b",
        ),
    ],
)
def test_the_official_vectors_hold(
    timestamp: str, neg_risk: bool, last: str, levels: tuple[str, str], expected: str
) -> None:
    fields = HashFields(
        market="0xaabbcc",
        asset_id="100",
        timestamp=timestamp,
        min_order_size="100",
        tick_size="0.01",
        neg_risk=neg_risk,
        last_trade_price=last,
    )
    assert book_hash(fields, *levels) == expected


def test_a_version_enters_at_the_end() -> None:
    fields = HashFields("0x1", "1", "2", "5", "0.01", False, "0.5", version="v2")
    text = (
        '{"market":"0x1","asset_id":"1","timestamp":"2","hash":"","bids":[],"asks":[],'
        '"min_order_size":"5","tick_size":"0.01","neg_risk":false,'
        '"last_trade_price":"0.5","version":"v2"}'
    )
    expected = hashlib.sha1(text.encode(), usedforsecurity=False).hexdigest()
    assert book_hash(fields, "", "") == expected


class HashingClient:
    """Keeps books from the stream and recomputes every hash the long way."""

    def __init__(self, rest_books: dict[str, dict[str, Any]]) -> None:
        self._rest = rest_books
        self._books: dict[str, dict[str, dict[str, str]]] = {}
        self._last: dict[str, str] = {}
        self._tick = {i: book["tick_size"] for i, book in rest_books.items()}
        self.checked = 0

    def take(self, event: Event, last: dict[str, str]) -> None:
        """Apply an event; `last` are trades told of after it that it already shows."""
        self._last.update(last)
        if "last_trade_price" in event:
            self._last[event["asset_id"]] = event["last_trade_price"]
        apply(self._books, event)
        if event["event_type"] == "tick_size_change":
            self._tick[event["asset_id"]] = event["new_tick_size"]
        if event["event_type"] == "book":
            self._check(event["asset_id"], event["timestamp"], event["hash"])
        for entry in event.get("price_changes", ()):
            self._check(entry["asset_id"], event["timestamp"], entry["hash"])

    def _check(self, asset_id: str, timestamp: str, digest: str) -> None:
        book, rest = self._books[asset_id], self._rest[asset_id]
        payload = {
            "market": rest["market"],
            "asset_id": asset_id,
            "timestamp": timestamp,
            "hash": "",
            "bids": _levels(book["BUY"], is_bid=True),
            "asks": _levels(book["SELL"], is_bid=False),
            "min_order_size": rest["min_order_size"],
            "tick_size": self._tick[asset_id],
            "neg_risk": rest["neg_risk"],
            "last_trade_price": self._last[asset_id],
        }
        text = json.dumps(payload, separators=(",", ":"))
        computed = hashlib.sha1(text.encode(), usedforsecurity=False).hexdigest()
        assert computed == digest
        self.checked += 1


def _levels(side: dict[str, str], *, is_bid: bool) -> list[dict[str, str]]:
    ordered = sorted(side.items(), key=lambda level: Decimal(level[0]))
    rows = [{"price": price, "size": size} for price, size in ordered]
    return rows if is_bid else rows[::-1]


def _known_early(events: list[Event], number: int, tick: str) -> dict[str, str]:
    """Return what the trades announced right after this book do to `last_trade_price`."""
    early: dict[str, str] = {}
    if events[number]["event_type"] != "book":
        return early
    for event in events[number + 1 :]:
        if event["event_type"] == "last_trade_price":
            decimals = len(tick) - 2
            whole, _, fraction = event["price"].partition(".")
            early[event["asset_id"]] = f"{whole}.{fraction.ljust(decimals, '0')}"
        elif early or event["event_type"] != "book":
            break
    return early


@pytest.mark.parametrize("seed", range(4))
async def test_every_hash_on_the_stream_recomputes(seed: int) -> None:
    async with (
        MockPolymarket(seed=seed, markets=4, events_per_s=4) as mock,
        subscribed(mock) as socket,
        aiohttp.ClientSession() as http,
    ):
        query = [{"token_id": asset_id} for asset_id in mock.asset_ids]
        async with http.post(f"{mock.urls.clob}/books", json=query) as answer:
            rest = {book["asset_id"]: book for book in await answer.json()}
        events = await opening(socket) + await events_for(socket, 60)
    client = HashingClient(rest)
    seen: set[str] = set()
    for number, event in enumerate(events):
        # A duplicate shows an older book than the one it would be checked against.
        text = json.dumps(event)
        if event["event_type"] == "price_change" and text in seen:
            continue
        seen.add(text)
        asset_id = event.get("asset_id") or event["price_changes"][0]["asset_id"]
        tick = rest[asset_id]["tick_size"]
        client.take(event, _known_early(events, number, tick))
    assert client.checked > 1_000


async def test_entries_of_one_token_in_one_frame_share_the_final_hash() -> None:
    async with (
        MockPolymarket(seed=2, events_per_s=10) as mock,
        subscribed(mock) as socket,
    ):
        events = await events_for(socket, 60)
    frames = [e["price_changes"] for e in events if len(e.get("price_changes", "")) > 2]
    assert frames
    for entries in frames:
        hashes = {entry["asset_id"]: set[str]() for entry in entries}
        for entry in entries:
            hashes[entry["asset_id"]].add(entry["hash"])
        assert all(len(of_token) == 1 for of_token in hashes.values())


async def test_a_trade_changes_the_hash_before_it_is_announced() -> None:
    async with MockPolymarket(events_per_s=0) as mock, subscribed(mock) as socket:
        yes = mock.asset_ids[0]
        await opening(socket)
        mock.exchange.trade(yes, "BUY", price="0.42", size=1)
        book, _, trade = await events_for(socket, 1)
    assert (book["asset_id"], trade["event_type"]) == (yes, "last_trade_price")
    assert book["hash"] == mock.exchange.book(yes).hash
    assert mock.exchange.book(yes).last_trade_price == "0.42"
