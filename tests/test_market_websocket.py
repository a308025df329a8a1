"""Following assets: subscriptions, many sockets, slow consumers, callbacks, the program."""

from __future__ import annotations

import asyncio
import itertools
import json
import subprocess
import sys
from collections import Counter
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest
from feeds import following

from event_buffer import AssetsEnded, BooksConflated, Gap
from feed_supervisor import _SteadyClock
from market_events import Book, LastTradePrice, PriceChange, UnknownEvent
from market_websocket import MarketWebSocket, _line_of, main
from mock_polymarket import MockPolymarket
from robust_websocket import ConnectionState, HandshakeRejectedError


REPOSITORY = Path(__file__).resolve().parent.parent


def frames_of(mock: MockPolymarket) -> list[dict[str, Any]]:
    """Every JSON frame the living sessions received, oldest first."""
    texts = [text for session in mock.sessions for text in session.received]
    return [json.loads(text) for text in texts if text != "PING"]


def subscribed(mock: MockPolymarket) -> Counter[str]:
    return Counter(asset for session in mock.sessions for asset in session.asset_ids)


async def test_every_event_finds_its_book_already_up_to_date() -> None:
    async with (
        MockPolymarket(seed=1, events_per_s=5) as mock,
        MarketWebSocket(
            mock.asset_ids, url=mock.urls.ws_market, clob_url=mock.urls.clob
        ) as ws,
    ):
        seen = 0
        async for event in ws.events():
            if isinstance(event, PriceChange):
                change = event.price_changes[-1]
                book = ws.get_order_book(change.asset_id)
                assert book is not None
                assert book.timestamp_ms >= event.timestamp_ms
                seen += 1
            if seen == 200:
                break


async def test_sends_the_initial_frame_once_and_differences_afterwards() -> None:
    async with MockPolymarket(seed=2, markets=3, events_per_s=2) as mock:
        first, more = mock.asset_ids[:2], mock.asset_ids[2:]
        async with following(mock, first) as feed:
            await feed.ws.subscribe(more)
            await feed.ws.subscribe(more)
            await feed.until_live()
            await feed.ws.unsubscribe(first)
            await asyncio.sleep(1)
            initial, subscribe, unsubscribe = frames_of(mock)
            assert initial["type"] == "market"
            assert (subscribe["operation"], subscribe["assets_ids"]) == (
                "subscribe",
                list(more),
            )
            assert unsubscribe == {
                "operation": "unsubscribe",
                "assets_ids": list(first),
            }
            assert len(mock.connection_log) == 1
            assert feed.ws.subscribed_tokens == list(more)


async def test_events_of_assets_nobody_asked_for_are_left_out() -> None:
    async with MockPolymarket(seed=3, markets=1, events_per_s=5) as mock:
        wanted, mate = mock.asset_ids
        async with following(mock, [wanted]) as feed:
            await asyncio.sleep(60)
            assert {event.asset_id for event in feed.of_type("book")} == {wanted}
            assert {event.asset_id for event in feed.of_type("last_trade_price")} == {
                wanted
            }
            assert feed.ws.get_order_book(mate) is None
            await feed.quiesce()


async def test_a_thousand_assets_are_live_again_within_30_s_of_one_drop() -> None:
    async with (
        MockPolymarket(seed=4, markets=500, events_per_s=0.01) as mock,
        following(mock) as feed,
    ):
        mock.faults.start("cap_500")
        assert set(subscribed(mock).values()) == {1}
        mock.faults.start("close_1006")
        await asyncio.sleep(0.2)
        assert not feed.ws.is_connected
        took_s = await feed.until_live(30)
        assert took_s <= 30
        assert subscribed(mock) == Counter(mock.asset_ids)
        assert max(len(session.asset_ids) for session in mock.sessions) <= 200
        assert max(len(frame["assets_ids"]) for frame in frames_of(mock)) <= 100
        await feed.quiesce()
        assert feed.unreported_trades() == []


async def test_sockets_are_opened_one_after_the_other() -> None:
    async with (
        MockPolymarket(seed=5, markets=300, events_per_s=0) as mock,
        following(mock),
    ):
        times = [at for at, _ in mock.connection_log]
        assert len(times) == 3
        assert min(b - a for a, b in itertools.pairwise(times)) >= 0.099


async def test_both_assets_of_a_market_come_to_live_on_one_socket() -> None:
    async with MockPolymarket(seed=6, markets=6, events_per_s=1) as mock:
        yes, no = mock.asset_ids[0::2], mock.asset_ids[1::2]
        async with following(mock, [*yes, *no], max_assets_per_socket=6) as feed:
            await asyncio.sleep(30)
            await feed.until_live()
            homes = [set(session.asset_ids) for session in mock.sessions]
            for pair in zip(yes, no, strict=True):
                assert sum(set(pair) <= home for home in homes) == 1
            assert set(subscribed(mock).values()) == {1}
            await feed.quiesce()
            assert feed.unreported_trades() == []


async def test_assets_beyond_what_a_socket_delivers_get_another_one() -> None:
    async with MockPolymarket(seed=7, markets=30, events_per_s=0.2) as mock:
        mock.faults.start("cap_500", cap=40)
        async with following(mock) as feed:
            assert len(mock.sessions) >= 2
            assert subscribed(mock) == Counter(mock.asset_ids)
            await feed.quiesce()


async def test_a_slow_consumer_gets_every_trade_and_is_told_what_it_skipped() -> None:
    async with (
        MockPolymarket(seed=8, markets=2, events_per_s=100) as mock,
        MarketWebSocket(
            mock.asset_ids,
            url=mock.urls.ws_market,
            clob_url=mock.urls.clob,
            max_waiting_events=4_000,
        ) as ws,
    ):
        events = ws.events()
        await anext(events)
        await asyncio.sleep(10)
        began_ms = mock.now_ms()
        await asyncio.sleep(60)
        ended_ms = mock.now_ms()
        for condition_id in mock.condition_ids:
            mock.exchange.set_rate(condition_id, 0)
        await asyncio.sleep(2)
        await ws.disconnect()
        got = [event async for event in events]
        assert len(got) <= 4_001
        told = [event for event in got if isinstance(event, BooksConflated)]
        assert len(told) == 1
        assert told[0].asset_ids <= set(mock.asset_ids)
        assert told[0].event_count > 1_000
        trades = [event for event in got if isinstance(event, LastTradePrice)]
        planted = [
            entry
            for entry in mock.ledger.trades()
            if began_ms <= entry.time_ms < ended_ms
        ]
        hashes = Counter(trade.transaction_hash for trade in trades)
        for entry in planted:
            assert hashes[entry.payload["transaction_hash"]] > 0
        assert len(mock.connection_log) == 1
        assert not any(isinstance(event, Gap) for event in got)


async def test_a_consumer_stuck_for_minutes_stops_the_reading_and_loses_nothing() -> (
    None
):
    async with (
        MockPolymarket(seed=9, markets=1, events_per_s=0) as mock,
        MarketWebSocket(
            mock.asset_ids,
            url=mock.urls.ws_market,
            clob_url=mock.urls.clob,
            max_waiting_events=100,
        ) as ws,
    ):
        events = ws.events()
        await anext(events)
        await asyncio.sleep(1)
        for _ in range(200):
            mock.exchange.trade(mock.asset_ids[0], "BUY", size="1")
            await asyncio.sleep(0.1)
        waiting = ws.to_dict()["waiting_events"]
        assert waiting <= 101
        await asyncio.sleep(60)
        assert len(mock.connection_log) == 1, "a pause of ours is no silence"
        got = []
        async for event in events:
            got += [event] if isinstance(event, LastTradePrice) else []
            if len(got) == 200:
                break
        assert len(got) == len(mock.ledger.trades())


async def test_without_a_consumer_only_books_are_kept() -> None:
    async with (
        MockPolymarket(seed=10, markets=1, events_per_s=50) as mock,
        MarketWebSocket(
            mock.asset_ids, url=mock.urls.ws_market, clob_url=mock.urls.clob
        ) as ws,
    ):
        await ws.connect()
        await asyncio.sleep(600)
        assert ws.to_dict()["waiting_events"] == 0
        data = ws.get_market_data(mock.asset_ids[0])
        assert data is not None
        assert not data.is_stale
        assert data.mid == (data.best_bid + data.best_ask) / 2  # type: ignore[operator]


async def test_settled_assets_end_and_the_others_go_on() -> None:
    async with MockPolymarket(seed=11, markets=2, events_per_s=2) as mock:
        settled, alive = mock.asset_ids[:2], mock.asset_ids[2:]
        async with following(mock, max_assets_per_socket=2) as feed:
            mock.exchange.resolve(mock.condition_ids[0], 0)
            await feed.until(lambda: bool(feed.of_type("assets_ended")), 60)
            (ended,) = feed.of_type("assets_ended")
            assert isinstance(ended, AssetsEnded)
            assert set(ended.asset_ids) == set(settled)
            assert feed.ws.subscribed_tokens == list(alive)
            await asyncio.sleep(60)
            assert len(mock.connection_log) == 2
            await feed.quiesce()


async def test_custom_features_bring_the_three_optional_types() -> None:
    async with (
        MockPolymarket(seed=12, markets=2, events_per_s=5) as mock,
        following(mock, mock.asset_ids[:2], wants_custom_features=True) as feed,
    ):
        mock.exchange.create_market()
        await asyncio.sleep(30)
        mock.exchange.resolve(mock.condition_ids[0], 1)
        await asyncio.sleep(10)
        kinds = Counter(event.event_type for event in feed.events)
        assert kinds["best_bid_ask"]
        assert kinds["new_market"] == 1
        assert kinds["market_resolved"] == 1


async def test_callbacks_get_what_events_would_yield() -> None:
    async with MockPolymarket(seed=13, markets=1, events_per_s=5) as mock:
        seen: Counter[str] = Counter()
        ws = MarketWebSocket(
            mock.asset_ids, url=mock.urls.ws_market, clob_url=mock.urls.clob
        )

        async def on_trade(event: LastTradePrice) -> None:
            assert isinstance(event.price, Decimal)
            seen["trade"] += 1

        ws.on_price_change = lambda event: seen.update(["change"])
        ws.on_book_update = lambda event: seen.update([type(event).__name__])
        ws.on_trade = on_trade
        ws.on_connect = lambda: seen.update(["up"])
        ws.on_disconnect = lambda reason: seen.update(["down"])
        ws.on_gap = lambda gap: seen.update(["gap"])
        await ws.connect()
        await asyncio.sleep(40)
        mock.faults.start("close_1012")
        await asyncio.sleep(60)
        await ws.disconnect()
        assert seen["change"] > 100
        assert seen[Book.__name__] > 10
        assert seen["trade"] > 5
        assert (seen["up"], seen["down"], seen["gap"] >= 2) == (2, 1, True)


async def test_what_a_callback_raises_goes_to_on_error() -> None:
    async with MockPolymarket(seed=14, markets=1, events_per_s=5) as mock:
        errors: list[Exception] = []
        async with MarketWebSocket(
            mock.asset_ids, url=mock.urls.ws_market, clob_url=mock.urls.clob
        ) as ws:
            ws.on_price_change = lambda event: 1 / 0
            ws.on_error = errors.append
            await ws.connect()
            await asyncio.sleep(10)
            assert errors
            assert {type(error) for error in errors} == {ZeroDivisionError}
            assert ws.is_connected


async def test_without_on_error_a_raising_callback_ends_the_feed_loudly() -> None:
    async with (
        MockPolymarket(seed=15, markets=1, events_per_s=5) as mock,
        MarketWebSocket(
            mock.asset_ids, url=mock.urls.ws_market, clob_url=mock.urls.clob
        ) as ws,
    ):
        ws.on_price_change = lambda event: 1 / 0
        await ws.connect()
        with pytest.raises(ZeroDivisionError):
            await ws.wait_closed()


async def test_a_refused_connection_comes_out_of_events() -> None:
    async with MockPolymarket(seed=16, markets=1) as mock:
        mock.faults.start("http_403")
        async with MarketWebSocket(
            mock.asset_ids, url=mock.urls.ws_market, clob_url=None
        ) as ws:
            with pytest.raises(HandshakeRejectedError, match="403"):
                async for _ in ws.events():
                    pass
            assert ws.state is ConnectionState.FAILED


@pytest.mark.parametrize(
    "fault", ["none", "handshake_hang", "half_open", "http_status", "rest_slow"]
)
async def test_disconnect_returns_within_two_seconds(fault: str) -> None:
    async with MockPolymarket(seed=17, markets=150, events_per_s=0.1) as mock:
        if fault in ("handshake_hang", "http_status", "rest_slow"):
            mock.faults.start(fault)
        ws = MarketWebSocket(
            mock.asset_ids, url=mock.urls.ws_market, clob_url=mock.urls.clob
        )
        await ws.connect()
        await asyncio.sleep(13)
        if fault == "half_open":
            mock.faults.start(fault)
        clock = asyncio.get_running_loop().time
        stopping_at = clock()
        await ws.disconnect()
        assert clock() - stopping_at <= 2


async def test_hostile_frames_cost_no_connection_and_are_counted() -> None:
    async with (
        MockPolymarket(seed=18, markets=1, events_per_s=5) as mock,
        following(mock) as feed,
    ):
        mock.faults.start("malformed")
        mock.faults.start("unknown")
        await asyncio.sleep(120)
        figures = feed.ws.to_dict()
        assert figures["malformed_count"] > 50
        assert figures["unknown_count"] > 10
        assert len(mock.connection_log) == 1


def test_refuses_what_is_no_asset_id_with_the_next_step() -> None:
    for wrong in ("0xabc", "", "12a", 5):
        with pytest.raises(ValueError, match="clobTokenIds"):
            MarketWebSocket([wrong])  # type: ignore[list-item]


def test_the_design_names_are_kept() -> None:
    assert MarketWebSocket.subscribe_assets is MarketWebSocket.subscribe
    assert MarketWebSocket.unsubscribe_assets is MarketWebSocket.unsubscribe
    assert MarketWebSocket.listen is MarketWebSocket.events


def test_the_program_says_what_it_needs(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as done:
        main(["--help"])
    assert done.value.code == 0
    assert "ASSET_ID" in capsys.readouterr().out
    assert main(["0xabc"]) == 2
    assert "clobTokenIds" in capsys.readouterr().err


def test_the_program_follows_assets_on_the_mock() -> None:
    venue = [
        sys.executable,
        str(REPOSITORY / "skills/polymarket/scripts/mock_polymarket"),
        "--json",
        "--events-per-s=20",
    ]
    with subprocess.Popen(venue, stdout=subprocess.PIPE, text=True) as mock:
        assert mock.stdout is not None
        urls = json.loads(mock.stdout.readline())
        try:
            done = subprocess.run(
                [
                    sys.executable,
                    str(REPOSITORY / "examples/market_websocket.py"),
                    *urls["asset_ids"],
                    f"--url={urls['ws_market']}",
                    f"--clob-url={urls['clob']}",
                    "--seconds=2",
                ],
                capture_output=True,
                text=True,
                timeout=20,
                check=False,
            )
        finally:
            mock.terminate()
    assert done.returncode == 0, done.stderr
    assert "connection up, 1 open" in done.stdout
    assert " / " in done.stdout


async def test_a_second_consumer_is_told_that_there_are_two() -> None:
    async with (
        MockPolymarket(seed=20, markets=1, events_per_s=5) as mock,
        MarketWebSocket(
            mock.asset_ids, url=mock.urls.ws_market, clob_url=mock.urls.clob
        ) as ws,
    ):
        ws.on_book_update = lambda event: None
        await ws.connect()
        await asyncio.sleep(1)
        with pytest.raises(RuntimeError, match="two consumers"):
            async for _ in ws.events():
                pass


async def test_breaking_out_and_iterating_again_goes_on() -> None:
    async with MockPolymarket(seed=21, markets=1, events_per_s=5) as mock:
        async with MarketWebSocket(
            mock.asset_ids, url=mock.urls.ws_market, clob_url=mock.urls.clob
        ) as ws:
            for _ in range(3):
                async for _event in ws.events():
                    break
        with pytest.raises(RuntimeError, match="make a new"):
            await ws.connect()


async def test_subscribing_before_connecting_only_remembers() -> None:
    async with (
        MockPolymarket(seed=22, markets=2, events_per_s=1) as mock,
        MarketWebSocket(url=mock.urls.ws_market, clob_url=mock.urls.clob) as ws,
    ):
        await ws.subscribe(mock.asset_ids)
        await ws.unsubscribe(mock.asset_ids[:2])
        assert mock.connection_log == []
        await ws.connect()
        await asyncio.sleep(3)
        assert ws.is_connected
        assert ws.subscribed_tokens == list(mock.asset_ids[2:])


async def test_prices_are_stale_while_reading_is_paused() -> None:
    async with (
        MockPolymarket(seed=23, markets=1, events_per_s=0) as mock,
        MarketWebSocket(
            mock.asset_ids,
            url=mock.urls.ws_market,
            clob_url=mock.urls.clob,
            max_waiting_events=20,
        ) as ws,
    ):
        events = ws.events()
        await anext(events)
        for _ in range(60):
            await asyncio.sleep(0.1)
            mock.exchange.trade(mock.asset_ids[0], "BUY", size="1")
        data = ws.get_market_data(mock.asset_ids[0])
        assert data is not None
        assert "paused" in str(data.why_stale)
        await events.aclose()


async def test_all_resolved_before_any_book_is_not_a_storm() -> None:
    async with MockPolymarket(seed=24, markets=1, events_per_s=0) as mock:
        mock.faults.start("accept_then_close", code=1000, when="after")
        async with MarketWebSocket(
            mock.asset_ids, url=mock.urls.ws_market, clob_url=mock.urls.clob
        ) as ws:
            await ws.connect()
            await asyncio.sleep(60)
            assert len(mock.connection_log) <= 12


async def test_a_refused_spare_socket_does_not_end_a_healthy_feed() -> None:
    async with (
        MockPolymarket(seed=25, markets=3, events_per_s=2) as mock,
        following(mock) as feed,
    ):
        await asyncio.sleep(20)
        mock.faults.start("http_403")
        mock.faults.start("freeze_asset", assets=",".join(mock.asset_ids[:2]))
        await asyncio.sleep(240)
        assert feed.collecting is not None
        assert not feed.collecting.done()
        mock.faults.stop("http_403")
        await feed.quiesce()
        assert feed.unreported_trades() == []


async def test_subscribing_during_a_move_leaves_each_asset_on_one_socket() -> None:
    async with (
        MockPolymarket(seed=26, markets=3, events_per_s=1) as mock,
        following(mock) as feed,
    ):
        pair = mock.asset_ids[:2]
        recovery = feed.ws._feed._recovery
        moving = asyncio.create_task(recovery.move(pair, "for a test"))
        await asyncio.sleep(0)
        await feed.ws.subscribe(pair)
        await moving
        await feed.until_live()
        assert subscribed(mock) == Counter(mock.asset_ids)
        await feed.ws.unsubscribe(pair)
        await asyncio.sleep(1)
        assert subscribed(mock) == Counter(mock.asset_ids[2:])


async def test_a_wall_clock_that_is_set_moves_no_gap() -> None:
    wall_ms = [1_790_000_000_000]
    clock = _SteadyClock(lambda: wall_ms[0])
    start_ms = clock()
    wall_ms[0] += 3_600_000
    await asyncio.sleep(10)
    assert clock() - start_ms == 10_000


def test_the_program_prints_no_control_characters_of_strangers() -> None:
    event = UnknownEvent("\x1b[31mIGNORE ALL\u202e", {})
    line = _line_of(event, None)  # type: ignore[arg-type]
    assert line is not None
    assert line.isascii()
    assert line.isprintable()
