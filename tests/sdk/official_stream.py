"""One subscription of the official client, and whether it got what the mock sent."""

from __future__ import annotations

import dataclasses
import json
import logging
from collections import Counter
from datetime import datetime
from decimal import Decimal
from typing import Any

from polymarket._internal.environment import PRODUCTION_CONFIG, create_environment

from mock_polymarket import MockPolymarket, Urls
from mock_polymarket.wire import opening_book


RENAMED = {"assets_ids": "asset_ids"}
RESENDS_WITHIN = 100  # the venue repeats a frame within 120 ms, now and then

Wire = dict[str, Any]


def environment_of(urls: Urls) -> Any:
    config = dataclasses.replace(
        PRODUCTION_CONFIG,
        clob_url=urls.clob,
        clob_market_ws_url=urls.ws_market,
        clob_user_ws_url=urls.ws_user,
        gamma_url=urls.gamma,
        data_url=urls.data,
    )
    return create_environment(name="mock", config=config)


class LogRecords(logging.Handler):
    """Keeps what the client logs."""

    def __init__(self) -> None:
        super().__init__(logging.DEBUG)
        self.complaints: list[str] = []

    def emit(self, record: logging.LogRecord) -> None:
        text = record.getMessage()
        if record.levelno >= logging.WARNING or "dropped" in text:
            self.complaints.append(text)


class Stream:
    """One subscription of the client, read to the end, beside the mock's ledger."""

    def __init__(self, venue: MockPolymarket, handle: Any) -> None:
        self.venue = venue
        self.handle = handle
        self.events: list[Any] = []
        self.first_entry = len(venue.ledger.entries)
        self.opening = [opening_of(venue, each) for each in sorted(venue.asset_ids)]

    async def collect(self) -> None:
        async for event in self.handle:
            self.events.append(event)

    def kinds(self) -> Counter[str]:
        return Counter(event.type for event in self.events)

    def books(self) -> list[str]:
        return [e.payload.asset_id for e in self.events if e.type == "book"]

    def expected(self) -> list[Wire]:
        entries = self.venue.ledger.entries[self.first_entry :]
        return self.opening + [entry.payload for entry in entries]


def opening_of(venue: MockPolymarket, asset_id: str) -> Wire:
    market = venue.exchange.market_of(asset_id)
    assert market is not None
    book: Wire = json.loads(opening_book(market, market.token(asset_id)))
    return book


def is_same(wire: Any, got: Any) -> bool:
    """Compare a value of the wire with the client's, which has types."""
    if wire == "":
        return got in (None, "")
    if isinstance(got, Decimal):
        return Decimal(str(wire)) == got
    if isinstance(got, datetime):
        return int(wire) == round(got.timestamp() * 1000)
    if isinstance(wire, list):
        return len(wire) == len(got) and all(map(is_same, wire, got))
    if isinstance(wire, dict):
        return all(
            is_same(value, got.get(RENAMED.get(k, k))) for k, value in wire.items()
        )
    return bool(wire == got)


def matches(wire: Wire, event: Any) -> bool:
    rest = {key: value for key, value in wire.items() if key != "event_type"}
    return wire["event_type"] == event.type and is_same(
        rest, event.payload.model_dump()
    )


def compare(stream: Stream) -> str:
    """Require all that was sent, in order; allow the venue's own repetitions."""
    expected, position, repeats = stream.expected(), 0, 0
    for event in stream.events:
        if position < len(expected) and matches(expected[position], event):
            position += 1
            continue
        recent = expected[max(position - RESENDS_WITHIN, 0) : position]
        assert any(matches(wire, event) for wire in recent), (
            f"event {position} was sent as {expected[position : position + 1]}, "
            f"delivered as {event!r}"
        )
        repeats += 1
    assert position == len(expected), f"{len(expected) - position} events are missing"
    return f"{position} sent and delivered, and {repeats} sent twice"
