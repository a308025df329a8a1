"""A plain client of the mock's market channel, for its own tests."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from typing import Any

from websockets.asyncio.client import ClientConnection, connect
from websockets.exceptions import ConnectionClosed

from mock_polymarket import MockPolymarket


OPENING_S = 0.5  # the opening frame comes after about 165 ms

Event = dict[str, Any]


@asynccontextmanager
async def open_socket(mock: MockPolymarket) -> AsyncIterator[ClientConnection]:
    """Connect without any heartbeat of the library, and say nothing."""
    async with connect(
        mock.urls.ws_market,
        proxy=None,
        max_size=None,
        ping_interval=None,
        close_timeout=1,
    ) as socket:
        yield socket


@asynccontextmanager
async def subscribed(
    mock: MockPolymarket, *asset_ids: str, **fields: Any
) -> AsyncIterator[ClientConnection]:
    """Connect and send the initial frame, for all open assets by default."""
    async with open_socket(mock) as socket:
        await subscribe(socket, *(asset_ids or mock.asset_ids), **fields)
        yield socket


async def subscribe(socket: ClientConnection, *asset_ids: str, **fields: Any) -> None:
    await send(socket, {"type": "market", "assets_ids": list(asset_ids), **fields})


async def send(socket: ClientConnection, frame: Any) -> None:
    await socket.send(json.dumps(frame))


async def next_text(socket: ClientConnection, within_s: float = 30.0) -> str:
    async with asyncio.timeout(within_s):
        frame = await socket.recv()
    assert isinstance(frame, str)
    return frame


async def opening(socket: ClientConnection) -> list[Event]:
    """Return the books of the opening frame, which must be the next frame."""
    books: list[Event] = json.loads(await next_text(socket, OPENING_S))
    return books


async def frames_for(socket: ClientConnection, seconds: float) -> list[str | bytes]:
    """Return all that arrives in this time; the connection must stay open."""
    frames: list[str | bytes] = []
    try:
        async with asyncio.timeout(seconds):
            while True:
                frames.append(await socket.recv())
    except TimeoutError:
        return frames


async def texts_for(socket: ClientConnection, seconds: float) -> list[str]:
    return [f for f in await frames_for(socket, seconds) if isinstance(f, str)]


async def events_for(socket: ClientConnection, seconds: float) -> list[Event]:
    """Return the events that arrive in this time, arrays taken apart."""
    events: list[Event] = []
    for text in await texts_for(socket, seconds):
        if text.startswith(("{", "[")):
            decoded = json.loads(text)
            events += decoded if isinstance(decoded, list) else [decoded]
    return events


async def close_of(
    socket: ClientConnection, within_s: float = 300.0
) -> tuple[int, str]:
    """Read until the server ends the connection; 1006 is an end without a frame."""
    async with asyncio.timeout(within_s):
        with suppress(ConnectionClosed):
            while True:
                await socket.recv()
        await socket.wait_closed()
    return socket.close_code or 0, socket.close_reason or ""


def kinds(events: list[Event]) -> list[str]:
    return [event["event_type"] for event in events]


def apply(books: dict[str, dict[str, dict[str, str]]], event: Event) -> None:
    """Keep price-to-size tables by asset and side, as a client would."""
    if event["event_type"] == "book":
        books[event["asset_id"]] = {
            "BUY": {level["price"]: level["size"] for level in event["bids"]},
            "SELL": {level["price"]: level["size"] for level in event["asks"]},
        }
    for entry in event.get("price_changes", ()):
        side = books[entry["asset_id"]][entry["side"]]
        if entry["size"] == "0":
            side.pop(entry["price"], None)
        else:
            side[entry["price"]] = entry["size"]


def truth(mock: MockPolymarket, asset_id: str) -> dict[str, dict[str, str]]:
    """Return the exchange's book in the form that `apply` keeps."""
    view = mock.exchange.book(asset_id)
    return {
        "BUY": {str(level.price): str(level.size) for level in view.bids},
        "SELL": {str(level.price): str(level.size) for level in view.asks},
    }
