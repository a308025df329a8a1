"""How connections and markets end."""

from __future__ import annotations

import asyncio
import json
import socket as sockets
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import aiohttp
import pytest
from mock_client import (
    close_of,
    events_for,
    kinds,
    next_text,
    open_socket,
    opening,
    send,
    subscribed,
)
from websockets.asyncio.client import connect

from mock_polymarket import MockPolymarket


async def test_a_connection_without_any_traffic_is_dropped_after_125_s() -> None:
    async with MockPolymarket(events_per_s=0) as mock, subscribed(mock) as socket:
        await opening(socket)
        began_s = asyncio.get_running_loop().time()
        code, _ = await close_of(socket)
        lasted_s = asyncio.get_running_loop().time() - began_s
    assert code == 1006
    assert 124 < lasted_s < 126


async def test_a_text_ping_or_data_keeps_a_connection_alive() -> None:
    async with MockPolymarket(events_per_s=0) as mock, subscribed(mock) as socket:
        await opening(socket)
        for _ in range(5):
            await asyncio.sleep(100)
            await socket.send("PING")
            assert await next_text(socket) == "PONG"
        for _ in range(5):
            await asyncio.sleep(100)
            mock.exchange.trade(mock.asset_ids[0], "BUY")
        assert len(await events_for(socket, 1)) == 15


async def test_a_client_that_does_not_read_is_closed_with_1013() -> None:
    async with (
        MockPolymarket(events_per_s=0, send_buffer_bytes=200_000) as mock,
        _deaf_client(mock) as deaf,
    ):
        await asyncio.sleep(1)
        assert len(mock.sessions) == 1
        for _ in range(20_000):
            mock.exchange.trade(mock.asset_ids[0], "BUY")
            if mock.sessions[0].is_closing:
                break
            await asyncio.sleep(0)
        assert mock.sessions[0].is_closing
        deaf.transport.resume_reading()
        await asyncio.sleep(30)
        assert mock.sessions == []
        # A close frame: FIN and opcode 8, the length, the code, the reason.
        reason = b"slow consumer: send buffer full"
        assert deaf.received.endswith(
            bytes([0x88, len(reason) + 2]) + (1013).to_bytes(2, "big") + reason
        )


class _Deaf(asyncio.Protocol):
    """Shakes hands and subscribes, then reads nothing until told to."""

    def __init__(self, asset_ids: tuple[str, ...]) -> None:
        self._asset_ids = asset_ids
        self.received = b""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        self.transport = transport
        transport.write(
            b"GET /ws/market HTTP/1.1\r\nHost: localhost\r\nUpgrade: websocket\r\n"
            b"Connection: Upgrade\r\nSec-WebSocket-Version: 13\r\n"
            b"Sec-WebSocket-Key: MDEyMzQ1Njc4OWFiY2RlZg==\r\n\r\n"
        )

    def data_received(self, data: bytes) -> None:
        first = not self.received
        self.received += data
        if first:
            frame = {"type": "market", "assets_ids": self._asset_ids}
            body = json.dumps(frame).encode()
            head = bytes([0x81, 0xFE]) + len(body).to_bytes(2, "big")
            self.transport.write(head + bytes(4) + body)
            self.transport.pause_reading()


@asynccontextmanager
async def _deaf_client(mock: MockPolymarket) -> AsyncIterator[_Deaf]:
    port = int(mock.urls.ws_market.split(":")[2].split("/")[0])
    raw = sockets.socket()
    raw.setsockopt(sockets.SOL_SOCKET, sockets.SO_RCVBUF, 8_192)
    raw.setblocking(False)
    loop = asyncio.get_running_loop()
    await loop.sock_connect(raw, ("127.0.0.1", port))
    transport, deaf = await loop.create_connection(
        lambda: _Deaf(mock.asset_ids[:2]), sock=raw
    )
    try:
        yield deaf
    finally:
        transport.abort()


async def test_settlement_empties_the_book_then_announces_then_closes_with_1000() -> (
    None
):
    async with MockPolymarket(events_per_s=0, markets=1) as mock:
        yes, no = mock.asset_ids
        (condition_id,) = mock.condition_ids
        async with subscribed(mock, yes, no, custom_feature_enabled=True) as socket:
            await opening(socket)
            mock.exchange.resolve(condition_id, 1, announce_after_s=100)
            first = json.loads(await next_text(socket))
            assert {entry["size"] for entry in first["price_changes"]} == {"0"}
            last = {e["asset_id"]: e for e in first["price_changes"]}
            assert (last[yes]["best_bid"], last[yes]["best_ask"]) == ("0", "1")
            events = await events_for(socket, 95)
            assert set(kinds(events)) == {"best_bid_ask"}
            resolved = json.loads(await next_text(socket))
            code = await close_of(socket, 5)
    assert resolved["event_type"] == "market_resolved"
    assert resolved["winning_asset_id"] == no
    assert resolved["assets_ids"] == [yes, no]
    assert resolved["event_message"] is None
    assert code == (1000, "all subscribed assets resolved")


async def test_a_connection_with_an_unresolved_market_stays_open() -> None:
    async with MockPolymarket(events_per_s=0) as mock, subscribed(mock) as socket:
        await opening(socket)
        mock.exchange.resolve(mock.condition_ids[0], 0)
        events = await events_for(socket, 60)
    assert kinds(events) == ["price_change"]


async def test_market_resolved_can_be_lost() -> None:
    async with (
        MockPolymarket(events_per_s=0) as mock,
        subscribed(mock, custom_feature_enabled=True) as socket,
    ):
        await opening(socket)
        mock.exchange.resolve(mock.condition_ids[0], 0, announce=False)
        events = await events_for(socket, 60)
    assert "market_resolved" not in kinds(events)


async def test_settled_and_closed_markets_have_no_book_any_more() -> None:
    async with MockPolymarket(events_per_s=0) as mock, aiohttp.ClientSession() as http:
        settled, closed = mock.condition_ids
        asset_ids = mock.asset_ids
        mock.exchange.resolve(settled, 0)
        mock.exchange.close(closed)
        await asyncio.sleep(5)
        for asset_id in asset_ids:
            url = f"{mock.urls.clob}/book?token_id={asset_id}"
            async with http.get(url) as answer:
                assert answer.status == 404
        assert mock.asset_ids == ()
        async with subscribed(mock, *asset_ids) as socket:
            assert await next_text(socket) == "[]"


async def test_a_market_resolves_once() -> None:
    async with MockPolymarket(events_per_s=0) as mock:
        condition_id = mock.condition_ids[0]
        mock.exchange.resolve(condition_id, 0)
        with pytest.raises(ValueError, match="settling"):
            mock.exchange.close(condition_id)
        with pytest.raises(ValueError, match="settling"):
            mock.exchange.resolve(condition_id, 1)


async def test_leaving_the_block_ends_every_connection() -> None:
    async with MockPolymarket() as mock:
        sockets_ = [await connect(mock.urls.ws_market, proxy=None) for _ in range(3)]
        for socket in sockets_:
            await send(socket, {"type": "market", "assets_ids": list(mock.asset_ids)})
        await asyncio.sleep(1)
        began_s = asyncio.get_running_loop().time()
    assert asyncio.get_running_loop().time() - began_s < 2
    for socket in sockets_:
        await socket.wait_closed()
        assert socket.close_code == 1006


async def test_a_herd_of_200_clients_connects_at_once() -> None:
    async with MockPolymarket(events_per_s=0) as mock:

        async def one() -> None:
            async with open_socket(mock) as socket:
                await send(
                    socket, {"type": "market", "assets_ids": [mock.asset_ids[0]]}
                )
                assert await opening(socket)

        await asyncio.gather(*(one() for _ in range(200)))
        assert len(mock.connection_log) == 200
