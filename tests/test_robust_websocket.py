"""One connection that comes back by itself, on the mock venue."""

from __future__ import annotations

import asyncio
import itertools
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from random import Random
from typing import Any

import pytest

from connection_metrics import ConnectionMetrics
from mock_polymarket import MockPolymarket
from reconnect_policy import MAX_CONNECTS_PER_MINUTE
from robust_websocket import (
    TRANSITIONS,
    ConnectionGap,
    ConnectionState,
    HandshakeRejectedError,
    RobustWebSocket,
)


def subscription(mock: MockPolymarket) -> dict[str, Any]:
    return {"type": "market", "assets_ids": list(mock.asset_ids)}


class Reading:
    """What one reader of `frames()` has got so far."""

    def __init__(self, socket: RobustWebSocket) -> None:
        self.socket = socket
        self.frames: list[bytes] = []
        self.gaps: list[ConnectionGap] = []
        self.states: list[ConnectionState] = []
        self.task = asyncio.create_task(self._read())

    async def _read(self) -> None:
        async for item in self.socket.frames():
            self.states.append(self.socket.state)
            if isinstance(item, bytes):
                self.frames.append(item)
            else:
                self.gaps.append(item)


@asynccontextmanager
async def reading(mock: MockPolymarket, **options: Any) -> AsyncIterator[Reading]:
    defaults: dict[str, Any] = {"subscribe_msg": subscription(mock), "rng": Random(1)}
    options = defaults | options
    socket = RobustWebSocket(options.pop("url", mock.urls.ws_market), **options)
    reader = Reading(socket)
    try:
        yield reader
    finally:
        await socket.stop()
        await asyncio.wait([reader.task])
        if not reader.task.cancelled() and (error := reader.task.exception()):
            assert isinstance(error, HandshakeRejectedError), error


def now() -> float:
    return asyncio.get_running_loop().time()


async def test_yields_data_frames_and_swallows_pong() -> None:
    async with MockPolymarket(seed=1) as mock, reading(mock) as reader:
        await asyncio.sleep(60)
        assert len(reader.frames) > 100
        assert all(frame.startswith((b"{", b"[")) for frame in reader.frames)
        assert not reader.gaps


async def test_sends_text_pings_every_ten_seconds_after_the_subscription() -> None:
    async with MockPolymarket(seed=1) as mock, reading(mock):
        await asyncio.sleep(65)
        (session,) = mock.sessions
        first, *rest = session.received
        assert json.loads(first)["type"] == "market"
        assert rest == ["PING"] * 6


async def test_sends_no_ping_before_the_first_subscription() -> None:
    async with (
        MockPolymarket(seed=1) as mock,
        reading(mock, subscribe_msg=None) as reader,
    ):
        await asyncio.sleep(45)
        (session,) = mock.sessions
        assert list(session.received) == []
        assert await reader.socket.send(subscription(mock))
        await asyncio.sleep(11)
        assert list(session.received)[1:] == ["PING"]
        assert reader.socket.state is ConnectionState.SUBSCRIBED


async def test_is_subscribed_only_after_data() -> None:
    async with MockPolymarket(seed=1) as mock:
        mock.faults.start("sub_no_book")
        async with reading(mock) as reader:
            await asyncio.sleep(5)
            assert reader.socket.state is ConnectionState.CONNECTED
            mock.faults.stop("sub_no_book")
            await reader.socket.stop()
        async with reading(mock) as reader:
            await asyncio.sleep(5)
            assert reader.socket.state is ConnectionState.SUBSCRIBED


async def test_replaces_a_socket_that_pongs_but_sends_no_data() -> None:
    async with MockPolymarket(seed=1) as mock, reading(mock, data_timeout=30) as reader:
        await asyncio.sleep(5)
        frozen_at = now()
        mock.faults.start("freeze_pong")
        await asyncio.sleep(40)
        lost, healed = reader.gaps
        assert lost.to_s is None
        assert lost.reason == "no data for 30 s"
        assert healed.to_s is not None
        assert 30 <= healed.to_s - frozen_at <= 33
        assert reader.socket.state is ConnectionState.SUBSCRIBED


async def test_notices_a_dead_network_path_within_25_s() -> None:
    async with MockPolymarket(seed=1) as mock, reading(mock) as reader:
        await asyncio.sleep(5)
        cut_at = now()
        mock.faults.start("half_open")
        while not reader.gaps:
            assert now() - cut_at <= 25
            await asyncio.sleep(0.1)
        assert "not even a PONG" in reader.gaps[0].reason


async def test_a_slow_consumer_is_not_silence_of_the_venue() -> None:
    async with MockPolymarket(seed=1) as mock:
        socket = RobustWebSocket(
            mock.urls.ws_market, subscription(mock), data_timeout=20, rng=Random(1)
        )
        frames = socket.frames()
        async for _ in frames:
            await asyncio.sleep(100)
            break
        assert socket.state is ConnectionState.SUBSCRIBED
        assert len(mock.connection_log) == 1
        await socket.stop()
        await frames.aclose()


@pytest.mark.parametrize("code", [1000, 1001, 1008, 1011, 1012, 1013])
async def test_every_close_is_a_loss_and_is_reported(code: int) -> None:
    async with MockPolymarket(seed=1) as mock, reading(mock) as reader:
        await asyncio.sleep(35)
        mock.faults.start(f"close_{code}")
        await asyncio.sleep(35)
        lost, healed = reader.gaps
        assert lost.close_code == code
        assert (lost.to_s, healed.to_s is None) == (None, False)
        assert healed.from_s == lost.from_s
        assert reader.socket.state is ConnectionState.SUBSCRIBED


async def test_a_single_loss_is_retried_within_a_second() -> None:
    async with MockPolymarket(seed=1) as mock, reading(mock) as reader:
        await asyncio.sleep(60)
        mock.faults.start("close_1006")
        await asyncio.sleep(1.5)
        assert reader.socket.state is ConnectionState.SUBSCRIBED


@pytest.mark.parametrize("when", ["before", "after"])
@pytest.mark.parametrize("code", [1000, 1001, 1006, 1008, 1011, 1012, 1013])
async def test_accept_then_close_is_not_hammered(code: int, when: str) -> None:
    async with MockPolymarket(seed=1, events_per_s=0) as mock:
        mock.faults.start("accept_then_close", code=code, when=when)
        for seed in range(2):
            began_at, before = now(), len(mock.connection_log)
            async with reading(mock, rng=Random(seed)):
                await asyncio.sleep(3600)
            attempts = [at - began_at for at, _ in mock.connection_log[before:]]
            assert sum(at < 60 for at in attempts) <= 12
            assert len(attempts) <= 150


async def test_the_wait_starts_over_only_after_data_and_some_life() -> None:
    async with MockPolymarket(seed=1) as mock, reading(mock) as reader:
        for _ in range(8):
            await asyncio.sleep(10)  # data, but never 30 s of life
            mock.faults.start("close_1006")
        waits = [
            healed.to_s - lost.from_s
            for lost, healed in itertools.pairwise(reader.gaps)
            if lost.to_s is None and healed.to_s is not None
        ]
        assert max(waits) > 3
        await asyncio.sleep(200)
        mock.faults.start("close_1006")
        await asyncio.sleep(1.5)
        assert reader.socket.state is ConnectionState.SUBSCRIBED


async def test_honours_retry_after() -> None:
    async with MockPolymarket(seed=1) as mock:
        mock.faults.start("http_429", retry_after=40)
        async with reading(mock):
            await asyncio.sleep(200)
        times = [at for at, _ in mock.connection_log]
        assert len(times) >= 4
        assert all(40 <= b - a <= 46 for a, b in itertools.pairwise(times))


@pytest.mark.parametrize("status", [408, 425, 429, 500, 502, 503, 504, 520, 526, 530])
async def test_survives_any_passing_http_status(status: int) -> None:
    async with MockPolymarket(seed=1, events_per_s=1) as mock:
        mock.faults.start("http_status", status=status)
        async with reading(mock) as reader:
            await asyncio.sleep(300)
            mock.faults.stop("http_status")
            await asyncio.sleep(62)
            assert reader.socket.state is ConnectionState.SUBSCRIBED


async def test_refusals_from_the_start_end_with_a_clear_error() -> None:
    async with MockPolymarket(seed=1) as mock:
        mock.faults.start("http_403")
        socket = RobustWebSocket(mock.urls.ws_market, rng=Random(1))
        with pytest.raises(HandshakeRejectedError, match=r"HTTP 403.*Check the URL"):
            async for _ in socket.frames():
                pass
        assert socket.state is ConnectionState.FAILED
        assert len(mock.connection_log) == 3


async def test_a_wrong_path_is_reported_not_retried_for_ever() -> None:
    async with (
        MockPolymarket(seed=1) as mock,
        reading(mock, url=mock.urls.ws_market.replace("market", "nowhere")) as reader,
    ):
        await asyncio.sleep(120)
        with pytest.raises(HandshakeRejectedError) as caught:
            reader.task.result()
        assert caught.value.status_code == 404


async def test_refusals_of_a_connection_that_worked_are_outlived() -> None:
    async with MockPolymarket(seed=1) as mock, reading(mock) as reader:
        await asyncio.sleep(35)
        mock.faults.start("http_403")
        mock.faults.start("close_1006")
        await asyncio.sleep(600)
        mock.faults.stop("http_403")
        await asyncio.sleep(62)
        assert reader.socket.state is ConnectionState.SUBSCRIBED


async def test_follows_no_redirect() -> None:
    async with MockPolymarket(seed=1) as mock, MockPolymarket(seed=2) as other:
        mock.faults.start("redirect", location=other.urls.ws_market)
        async with reading(mock) as reader:
            await asyncio.sleep(60)
            assert not reader.frames
        assert other.connection_log == []


async def test_ignores_proxy_variables(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("http_proxy", "https_proxy", "all_proxy"):
        monkeypatch.setenv(name, "http://127.0.0.1:9")
    async with MockPolymarket(seed=1) as mock, reading(mock) as reader:
        await asyncio.sleep(5)
        assert reader.frames


async def test_a_frame_over_the_limit_is_named_and_backed_off() -> None:
    async with MockPolymarket(seed=1) as mock:
        mock.faults.start("big_book")
        async with reading(mock, max_size=2**20) as reader:
            await asyncio.sleep(60)
        assert "larger than max_size" in reader.gaps[0].reason
        assert len(mock.connection_log) <= MAX_CONNECTS_PER_MINUTE
        async with reading(mock) as reader:
            await asyncio.sleep(10)
            assert len(reader.frames[0]) > 2**20
            assert not reader.gaps


async def test_a_hanging_handshake_is_given_up_after_ten_seconds() -> None:
    async with MockPolymarket(seed=1) as mock:
        mock.faults.start("handshake_hang")
        async with reading(mock) as reader:
            await asyncio.sleep(9)
            assert len(mock.connection_log) == 1
            await asyncio.sleep(3)
            assert len(mock.connection_log) == 2
            mock.faults.stop("handshake_hang")
            await asyncio.sleep(15)
            assert reader.socket.state is ConnectionState.SUBSCRIBED


@pytest.mark.parametrize(
    "fault", [None, "handshake_hang", "half_open", "freeze_pong", "http_status"]
)
async def test_stop_returns_within_two_seconds_from_any_state(
    fault: str | None,
) -> None:
    for wait_s in (0.0, 0.05, 0.2, 3.0, 30.0):
        async with MockPolymarket(seed=1) as mock:
            if fault not in (None, "half_open", "freeze_pong"):
                mock.faults.start(str(fault))
            socket = RobustWebSocket(mock.urls.ws_market, subscription(mock))
            reader = Reading(socket)
            await asyncio.sleep(wait_s)
            if fault in ("half_open", "freeze_pong"):
                mock.faults.start(fault)
            stopping_at = now()
            await socket.stop()
            await asyncio.wait([reader.task])
            assert now() - stopping_at <= 2
            assert socket.state is ConnectionState.DISCONNECTED


async def test_stop_returns_although_nobody_reads_any_more() -> None:
    async with MockPolymarket(seed=1) as mock:
        socket = RobustWebSocket(mock.urls.ws_market, subscription(mock))
        frames = socket.frames()
        await anext(frames)
        stopping_at = now()
        await socket.stop()
        assert now() - stopping_at <= 2
        await frames.aclose()


async def test_can_be_started_again_after_stop() -> None:
    async with MockPolymarket(seed=1) as mock:
        socket = RobustWebSocket(mock.urls.ws_market, subscription(mock))
        for _ in range(2):
            frames = socket.frames()
            assert isinstance(await anext(frames), bytes)
            await socket.stop()
            await frames.aclose()


async def test_refuses_a_second_reader() -> None:
    async with MockPolymarket(seed=1) as mock, reading(mock) as reader:
        await asyncio.sleep(1)
        with pytest.raises(RuntimeError, match="already has a reader"):
            await anext(reader.socket.frames())


async def test_drop_replaces_the_socket_and_says_why() -> None:
    async with MockPolymarket(seed=1) as mock, reading(mock) as reader:
        await asyncio.sleep(5)
        reader.socket.drop("a better idea")
        await asyncio.sleep(5)
        assert reader.gaps[0].reason == "a better idea"
        assert len(mock.connection_log) == 2


async def test_counts_connects_losses_and_data() -> None:
    metrics = ConnectionMetrics(now)
    async with (
        MockPolymarket(seed=1) as mock,
        reading(mock, observer=metrics) as reader,
    ):
        await asyncio.sleep(40)
        mock.faults.start("close_1012")
        await asyncio.sleep(60)
        assert (metrics.connect_count, metrics.disconnect_count) == (2, 1)
        assert metrics.message_count == len(reader.frames)
        assert 0.6 < metrics.get_uptime_ratio() < 1
        assert metrics.last_disconnect_reason is not None
        assert "1012" in metrics.last_disconnect_reason
    assert not metrics.is_connected


async def test_connect_calls_back_with_decoded_frames() -> None:
    async with MockPolymarket(seed=1) as mock:
        mock.faults.start("malformed")
        socket = RobustWebSocket(mock.urls.ws_market, subscription(mock))
        seen: list[Any] = []

        async def take(message: Any) -> None:
            seen.append(message)
            if len(seen) == 50:
                await socket.stop()

        await socket.connect(take)
        assert isinstance(seen[0], list)
        assert seen[0][0]["event_type"] == "book"


async def test_what_a_callback_raises_reaches_the_caller() -> None:
    async with MockPolymarket(seed=1) as mock:
        socket = RobustWebSocket(mock.urls.ws_market, subscription(mock))
        with pytest.raises(ZeroDivisionError):
            await socket.connect(lambda message: 1 / 0)
        await socket.stop()


def test_every_state_can_be_left_and_only_by_the_table() -> None:
    assert set(TRANSITIONS) == set(ConnectionState)
    reachable = {state for targets in TRANSITIONS.values() for state in targets}
    assert reachable == set(ConnectionState)
