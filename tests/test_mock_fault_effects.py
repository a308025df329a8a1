"""Every fault does what its line says."""

from __future__ import annotations

import asyncio
import json
import time
from collections import Counter
from decimal import Decimal
from itertools import pairwise
from typing import Any

import aiohttp
import pytest
from mock_client import (
    Event,
    apply,
    close_of,
    events_for,
    frames_for,
    kinds,
    next_text,
    open_socket,
    opening,
    send,
    subscribe,
    subscribed,
    texts_for,
    truth,
)
from websockets.asyncio.client import connect
from websockets.exceptions import ConnectionClosed, InvalidStatus

from mock_polymarket import MockPolymarket


async def still_pongs(socket: Any) -> bool:
    await socket.send("PING")
    async with asyncio.timeout(5):
        while True:
            if await socket.recv() == "PONG":
                return True


# The feed lies while the socket looks healthy


async def test_freeze_pong_leaves_pong_and_nothing_else_for_good() -> None:
    async with MockPolymarket(seed=2) as mock, subscribed(mock) as socket:
        assert await events_for(socket, 5)
        mock.faults.start("freeze_pong")
        assert await events_for(socket, 60) == []
        assert await still_pongs(socket)
        async with subscribed(mock) as fresh:
            assert await events_for(fresh, 10)
        mock.faults.stop("freeze_pong")
        assert await events_for(socket, 60) == []


async def test_freeze_pong_can_mute_new_connections_and_heal() -> None:
    async with MockPolymarket(seed=2) as mock:
        mock.faults.start("freeze_pong", new=True, heal=True)
        async with subscribed(mock) as socket:
            assert await events_for(socket, 30) == []
            assert await still_pongs(socket)
            mock.faults.stop("freeze_pong")
            assert await events_for(socket, 30)


async def test_freeze_asset_silences_one_asset_on_existing_connections() -> None:
    async with MockPolymarket(seed=2) as mock, subscribed(mock) as socket:
        await opening(socket)
        frozen = mock.asset_ids[1]
        mock.faults.start("freeze_asset", assets=frozen)
        events = await events_for(socket, 60)
        assert assets_of(events) == set(mock.asset_ids) - {frozen}
        mock.faults.stop("freeze_asset")
        # Subscribing again on the same connection does not help either.
        for operation in ("unsubscribe", "subscribe"):
            await send(socket, {"operation": operation, "assets_ids": [frozen]})
        assert frozen not in assets_of(await events_for(socket, 30))
        async with subscribed(mock) as fresh:
            assert frozen in assets_of(await events_for(fresh, 30))


async def test_freeze_asset_counts_heals_and_takes_lists() -> None:
    async with MockPolymarket(seed=2) as mock, subscribed(mock) as socket:
        await opening(socket)
        mock.faults.start("freeze_asset", assets=2, heal=True)
        assert assets_of(await events_for(socket, 30)) == set(mock.asset_ids[2:])
        mock.faults.start("freeze_asset", assets=list(mock.asset_ids[1:]), heal=True)
        assert assets_of(await events_for(socket, 30)) == {mock.asset_ids[0]}
        mock.faults.stop("freeze_asset")
        assert assets_of(await events_for(socket, 30)) == set(mock.asset_ids)


async def test_sub_no_book_withholds_books_and_what_follows() -> None:
    async with MockPolymarket(seed=2) as mock:
        missing = mock.asset_ids[0]
        mock.faults.start("sub_no_book", assets=missing)
        async with subscribed(mock) as socket:
            events = await events_for(socket, 60)
            mock.faults.stop("sub_no_book")
            later = await events_for(socket, 30)
            for operation in ("unsubscribe", "subscribe"):
                await send(socket, {"operation": operation, "assets_ids": [missing]})
            again = await events_for(socket, 30)
    assert assets_of(events) == assets_of(later) == set(mock.asset_ids) - {missing}
    assert missing in assets_of(again)


async def test_sub_no_book_for_all_sends_nothing_at_all() -> None:
    async with (
        MockPolymarket(faults=("sub_no_book",)) as mock,
        subscribed(mock) as socket,
    ):
        assert await texts_for(socket, 30) == []
        assert await still_pongs(socket)


async def test_sub_no_book_heals_after_some_times_and_may_let_changes_through() -> None:
    async with MockPolymarket(
        seed=2, faults=("sub_no_book:times=2,deltas=true",)
    ) as mock:
        got = []
        for _ in range(3):
            async with subscribed(mock, *mock.asset_ids[:2]) as socket:
                first = (await events_for(socket, 3))[0]
                got.append("tick_size" in first)
    assert got == [False, False, True]


async def test_stuck_ts_stops_the_timestamps_but_not_the_data() -> None:
    async with MockPolymarket(seed=2) as mock, subscribed(mock) as socket:
        await opening(socket)
        stuck = str(mock.now_ms())
        mock.faults.start("stuck_ts")
        await asyncio.sleep(5)
        events = await events_for(socket, 20)
    assert len(events) > 50
    assert {event["timestamp"] for event in events[-50:]} == {stuck}


async def test_rest_stale_shows_a_ghost_book_while_price_is_right() -> None:
    async with MockPolymarket(events_per_s=0, faults=("rest_stale",)) as mock:
        yes, clob = mock.asset_ids[0], mock.urls.clob
        book = await get_json(f"{clob}/book?token_id={yes}")
        price = await get_json(f"{clob}/price?token_id={yes}&side=BUY")
        view = mock.exchange.book(yes)
        assert book["bids"] == [{"price": "0.01", "size": "1000"}]
        assert book["asks"] == [{"price": "0.99", "size": "1000"}]
        assert view.best_bid
        assert price == {"price": str(view.best_bid.price)}
        mock.faults.stop("rest_stale")
        assert (await get_json(f"{clob}/book?token_id={yes}"))["hash"] == view.hash


async def test_quiet_stops_the_order_flow() -> None:
    async with MockPolymarket(seed=2) as mock, subscribed(mock) as socket:
        await opening(socket)
        mock.faults.start("quiet")
        before = len(mock.ledger.entries)
        await events_for(socket, 1)
        assert await events_for(socket, 100) == []
        assert len(mock.ledger.entries) == before
        mock.faults.stop("quiet")
        assert await events_for(socket, 10)


async def test_cap_500_gives_no_books_beyond_the_cap() -> None:
    async with (
        MockPolymarket(markets=4, events_per_s=0, faults=("cap_500:cap=5",)) as mock,
        subscribed(mock, *mock.asset_ids[:4]) as socket,
    ):
        assert len(await opening(socket)) == 4
        rest = {"operation": "subscribe", "assets_ids": mock.asset_ids[4:]}
        await send(socket, rest)
        assert len(await opening(socket)) == 1


async def test_missed_delta_drops_every_nth_change() -> None:
    async with (
        MockPolymarket(seed=2, faults=("missed_delta:every=4",)) as mock,
        subscribed(mock) as socket,
    ):
        await opening(socket)
        since_ms = mock.now_ms()
        got = Counter(kinds(await events_for(socket, 100)))
        sent = Counter(entry.kind for entry in mock.ledger.events(None, since_ms))
    assert got["price_change"] == pytest.approx(sent["price_change"] * 0.75, rel=0.05)
    assert got["book"] == pytest.approx(sent["book"], abs=2)


async def test_latency_delays_data_and_pong() -> None:
    async with (
        MockPolymarket(events_per_s=0, faults=("latency:s=2",)) as mock,
        subscribed(mock) as socket,
    ):
        began_s = asyncio.get_running_loop().time()
        await next_text(socket)
        await socket.send("PING")
        assert await next_text(socket) == "PONG"
        took_s = asyncio.get_running_loop().time() - began_s
    assert took_s == pytest.approx(4.165, abs=0.1)


async def test_big_book_is_real_and_larger_than_1_mib() -> None:
    async with MockPolymarket(events_per_s=0, markets=1) as mock:
        mock.faults.start("big_book")
        async with subscribed(mock) as socket:
            text = await next_text(socket)
        books = {book["asset_id"]: book for book in json.loads(text)}
        assert len(text) > 1024 * 1024
        yes = mock.asset_ids[0]
        assert len(books[yes]["bids"]) == len(mock.exchange.book(yes).bids) > 1_000
        async with connect(
            mock.urls.ws_market, proxy=None, ping_interval=None
        ) as usual:
            await subscribe(usual, *mock.asset_ids)
            with pytest.raises(ConnectionClosed) as closed:
                await frames_for(usual, 30)
    assert closed.value.sent
    assert closed.value.sent.code == 1009


async def test_a_change_of_a_big_book_is_cheap_enough() -> None:
    async with MockPolymarket(events_per_s=0, markets=1) as mock:
        mock.faults.start("big_book")
        yes = mock.asset_ids[0]
        began = time.perf_counter()
        for size in range(1, 21):
            mock.exchange.set_level(yes, "BUY", "0.0001", size)
        assert (time.perf_counter() - began) / 20 < 0.05


# Connections end


async def test_half_open_neither_reads_nor_writes_nor_closes() -> None:
    async with MockPolymarket(seed=2) as mock, open_socket(mock) as socket:
        await subscribe(socket, *mock.asset_ids)
        await opening(socket)
        mock.faults.start("half_open")
        await events_for(socket, 1)
        await socket.send("PING")
        assert await texts_for(socket, 300) == []
        assert socket.close_code is None
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(20):
                await (await socket.ping())
        async with subscribed(mock) as fresh:
            assert await opening(fresh)
        mock.faults.stop("half_open")
        assert await texts_for(socket, 60) == []
        began_s = asyncio.get_running_loop().time()
        await socket.close()
        # Its close frame is not answered: the client has to cut the connection.
        assert asyncio.get_running_loop().time() - began_s >= 1
        await asyncio.sleep(3)
        assert mock.sessions == []


@pytest.mark.parametrize(
    ("name", "code"),
    [
        ("close_1000", 1000),
        ("close_1001", 1001),
        ("close_1006", 1006),
        ("close_1008", 1008),
        ("close_1011", 1011),
        ("close_1012", 1012),
        ("close_1013", 1013),
    ],
)
async def test_close_faults_end_all_connections_once(name: str, code: int) -> None:
    async with MockPolymarket(seed=2) as mock:
        async with subscribed(mock) as one, subscribed(mock) as two:
            await opening(one)
            await opening(two)
            mock.faults.start(name)
            assert (await close_of(one, 5))[0] == code
            assert (await close_of(two, 5))[0] == code
        async with subscribed(mock) as fresh:
            assert await events_for(fresh, 10)


@pytest.mark.parametrize("when", ["before", "after"])
@pytest.mark.parametrize("code", [1000, 1006, 1013])
async def test_accept_then_close_ends_every_new_connection(
    when: str, code: int
) -> None:
    async with MockPolymarket(seed=2) as mock:
        mock.faults.start("accept_then_close", code=code, when=when)
        for _ in range(2):
            async with open_socket(mock) as socket:
                if when == "after":
                    await asyncio.sleep(5)
                    assert len(mock.sessions) == 1
                    await subscribe(socket, *mock.asset_ids)
                assert (await close_of(socket, 5))[0] == code
        assert [what for _, what in mock.connection_log] == ["accepted"] * 2
        mock.faults.stop("accept_then_close")
        async with subscribed(mock) as socket:
            assert await opening(socket)


async def test_idle_kill_counts_text_pings_only() -> None:
    async with (
        MockPolymarket(seed=2, faults=("idle_kill:s=60",)) as mock,
        subscribed(mock) as pinging,
        subscribed(mock) as silent,
    ):
        began_s = asyncio.get_running_loop().time()
        closing = asyncio.create_task(close_of(silent))
        for _ in range(10):
            await pinging.send("PING")
            await events_for(pinging, 20)
            if not closing.done():
                await silent.ping()
        assert (await closing)[0] == 1006
        assert asyncio.get_running_loop().time() - began_s > 180
        assert len(mock.sessions) == 1


async def test_resub_storm_drops_a_frame_with_too_many_tokens() -> None:
    async with MockPolymarket(events_per_s=0, faults=("resub_storm",)) as mock:
        async with subscribed(mock, *mock.asset_ids, *map(str, range(996))) as socket:
            assert await opening(socket)
        async with subscribed(mock, *mock.asset_ids, *map(str, range(997))) as socket:
            began_s = asyncio.get_running_loop().time()
            assert (await close_of(socket))[0] == 1006
            took_s = asyncio.get_running_loop().time() - began_s
    assert took_s == pytest.approx(0.15, abs=0.02)


async def test_slow_consumer_lowers_the_bound() -> None:
    async with MockPolymarket(events_per_s=0) as mock:
        usual = mock.send_buffer_bytes
        mock.faults.start("slow_consumer", bytes=10)
        assert mock.send_buffer_bytes == 10
        async with subscribed(mock) as socket:
            await opening(socket)
            for _ in range(3):
                mock.exchange.trade(mock.asset_ids[0], "BUY")
            code = await close_of(socket)
        mock.faults.stop("slow_consumer")
        assert mock.send_buffer_bytes == usual
    assert code == (1013, "slow consumer: send buffer full")


# Handshakes and REST


async def refused(mock: MockPolymarket) -> InvalidStatus:
    with pytest.raises(InvalidStatus) as caught:
        async with open_socket(mock):
            pass
    return caught.value


async def test_http_429_has_retry_after() -> None:
    async with MockPolymarket(faults=("http_429:retry_after=7+60",)) as mock:
        response = (await refused(mock)).response
        assert (response.status_code, response.headers["Retry-After"]) == (429, "7")
        assert [what for _, what in mock.connection_log] == ["refused 429"]
        await get_json(f"{mock.urls.gamma}/markets")
        await asyncio.sleep(60)
        async with subscribed(mock) as socket:
            assert await opening(socket)


async def test_http_403_is_a_page_of_html() -> None:
    async with MockPolymarket(faults=("http_403:on=all",)) as mock:
        response = (await refused(mock)).response
        assert response.status_code == 403
        assert response.headers["Content-Type"].startswith("text/html")
        assert b"<html>" in bytes(response.body or b"")
        assert await status_of(f"{mock.urls.clob}/book") == 403


@pytest.mark.parametrize("status", [408, 425, *range(500, 505), *range(520, 531)])
async def test_http_status_refuses_with_any_status(status: int) -> None:
    async with MockPolymarket(faults=(f"http_status:status={status}",)) as mock:
        assert (await refused(mock)).response.status_code == status


async def test_redirect_points_to_a_location() -> None:
    location = "http://127.0.0.1:9/elsewhere"
    async with MockPolymarket(faults=(f"redirect:location={location}",)) as mock:
        url = mock.urls.ws_market.replace("ws://", "http://")
        async with (
            aiohttp.ClientSession() as http,
            http.get(url, allow_redirects=False) as answer,
        ):
            assert (answer.status, answer.headers["Location"]) == (302, location)


async def test_handshake_hang_never_answers_until_it_ends() -> None:
    async with MockPolymarket(faults=("handshake_hang+100",)) as mock:
        with pytest.raises(TimeoutError):
            async with connect(mock.urls.ws_market, proxy=None, open_timeout=20):
                pass
        assert [what for _, what in mock.connection_log] == ["pending"]
        await asyncio.sleep(5)
        assert mock.connection_log[0][1] == "refused 503"
        async with connect(mock.urls.ws_market, proxy=None, open_timeout=200):
            assert asyncio.get_running_loop().time() >= 1_100


async def test_leaving_the_block_ends_a_hanging_handshake() -> None:
    async with MockPolymarket(faults=("handshake_hang",)) as mock:
        hanging = asyncio.create_task(refused(mock))
        await asyncio.sleep(1)
        hanging.cancel()
    with pytest.raises(asyncio.CancelledError):
        await hanging


async def test_rest_down_answers_503_or_hangs_up() -> None:
    async with MockPolymarket(events_per_s=0, faults=("rest_down",)) as mock:
        for host in (mock.urls.clob, mock.urls.gamma, mock.urls.data):
            assert await status_of(f"{host}/markets") == 503
        mock.faults.start("rest_down", mode="refuse")
        with pytest.raises(aiohttp.ServerDisconnectedError):
            await status_of(f"{mock.urls.clob}/book")
        async with subscribed(mock) as socket:
            assert await opening(socket)
        mock.faults.stop("rest_down")
        assert await status_of(f"{mock.urls.gamma}/markets") == 200


async def test_rest_slow_takes_its_time() -> None:
    async with MockPolymarket(events_per_s=0, faults=("rest_slow:s=8",)) as mock:
        began_s = asyncio.get_running_loop().time()
        assert await status_of(f"{mock.urls.gamma}/markets") == 200
        assert asyncio.get_running_loop().time() - began_s == pytest.approx(8, abs=0.1)


# What the frames say


async def test_invalid_operation_comes_for_valid_operations_and_unasked() -> None:
    async with MockPolymarket(events_per_s=0) as mock:
        yes, _, other, _ = mock.asset_ids
        async with subscribed(mock, yes) as socket:
            await opening(socket)
            mock.faults.start("invalid_operation", every_s=10)
            await send(socket, {"operation": "subscribe", "assets_ids": [other]})
            assert await texts_for(socket, 1) == ["INVALID OPERATION"]
            assert mock.sessions[0].asset_ids == {yes}
            assert await texts_for(socket, 20) == ["INVALID OPERATION"] * 2


async def test_text_frames_are_interjected() -> None:
    async with MockPolymarket(events_per_s=0) as mock, subscribed(mock) as socket:
        await opening(socket)
        mock.faults.start("text_frames", every_s=1)
        said = await texts_for(socket, 6.5)
    assert said == ["NO NEW ASSETS", "INVALID OPERATION", "PONG"] * 2


async def test_array_batches_events_and_loses_none() -> None:
    async with (
        MockPolymarket(seed=2, events_per_s=20) as mock,
        subscribed(mock) as socket,
    ):
        await opening(socket)
        mock.faults.start("array")
        texts = await texts_for(socket, 20)
        frames = [json.loads(text) for text in texts]
        counted = sum(len(f) if isinstance(f, list) else 1 for f in frames)
        decided = [e for e in mock.ledger.entries if e.kind != "best_bid_ask"]
    assert max(len(frame) for frame in frames if isinstance(frame, list)) > 2
    assert counted == pytest.approx(len(decided), abs=30)


async def test_array_sends_what_waits_before_a_new_book() -> None:
    async with MockPolymarket(events_per_s=0, faults=("array:window_s=5",)) as mock:
        yes, _, other, _ = mock.asset_ids
        async with subscribed(mock, yes) as socket:
            await opening(socket)
            mock.exchange.set_level(yes, "BUY", "0.01", 3)
            await send(socket, {"operation": "subscribe", "assets_ids": [other]})
            events = await events_for(socket, 1)
    assert kinds(events) == ["price_change", "book"]


async def test_unknown_adds_keys_and_event_types() -> None:
    async with (
        MockPolymarket(seed=2, faults=("unknown",)) as mock,
        subscribed(mock) as socket,
    ):
        await opening(socket)
        events = await events_for(socket, 30)
    known = [event for event in events if event["event_type"] != "liquidity_report"]
    assert len(known) < len(events) < len(known) * 1.2
    assert all("x_venue" in event for event in known)


async def test_malformed_frames_come_in_between_and_around_good_ones() -> None:
    async with MockPolymarket(seed=2, faults=("malformed:every_s=0.5",)) as mock:
        books: dict[str, Any] = {}
        whole: list[Event] = []
        broken: list[str | bytes] = []
        mixed = 0
        async with subscribed(mock) as socket:
            for event in await opening(socket):
                apply(books, event)
            for frame in await frames_for(socket, 60):
                good, bad = sift(frame)
                whole += good
                mixed += bool(good and bad)
                broken += [frame] if bad and not good else []
            quiet_from_here(mock)
            for frame in await frames_for(socket, 1):
                whole += sift(frame)[0]
        for event in newest_only(whole):
            apply(books, event)
        assert books == {i: truth(mock, i) for i in mock.asset_ids}
    assert mixed > 20
    assert len(broken) > 50
    assert any(isinstance(frame, bytes) for frame in broken)
    texts = [frame for frame in broken if isinstance(frame, str)]
    assert max(map(len, texts)) >= 100_000
    for part in ("9" * 5_000, "NaN", "\\ud800", "\ufeff", '"market":"","bids"'):
        assert any(part in text for text in texts)


async def test_malformed_sends_bad_utf8_only_when_asked() -> None:
    async with MockPolymarket(events_per_s=0) as mock, subscribed(mock) as socket:
        await opening(socket)
        mock.faults.start("malformed", every_s=0.1, utf8=True)
        with pytest.raises(ConnectionClosed) as closed:
            await frames_for(socket, 60)
    assert closed.value.sent
    assert closed.value.sent.code == 1007


async def test_dup_reorder_doubles_and_swaps_events() -> None:
    async with (
        MockPolymarket(seed=2, faults=("dup_reorder:every=5",)) as mock,
        subscribed(mock, *mock.asset_ids[:2]) as socket,
    ):
        await opening(socket)
        texts = await texts_for(socket, 60)
    # A trade's own time may lie behind its book's without any fault.
    books = [event for event in map(json.loads, texts) if "price" not in event]
    stamps = [int(event["timestamp"]) for event in books]
    doubled = sum(a == b for a, b in pairwise(texts))
    backwards = sum(a > b for a, b in pairwise(stamps))
    assert doubled > len(texts) / 10
    assert backwards > 5
    assert len(set(texts)) < len(texts)


async def test_crossed_adds_a_ghost_while_the_best_prices_are_true() -> None:
    async with (
        MockPolymarket(seed=2, faults=("crossed:every=10",)) as mock,
        subscribed(mock) as socket,
    ):
        books: dict[str, Any] = {}
        crossed = 0
        for event in await opening(socket) + await events_for(socket, 60):
            apply(books, event)
            for entry in event.get("price_changes", ()):
                best_bid, best_ask = entry["best_bid"], entry["best_ask"]
                assert Decimal(best_bid) < Decimal(best_ask)
                crossed += entry["side"] == "BUY" and entry["price"] == best_ask
    assert crossed > 10


async def test_hash_mismatch_changes_every_hash_and_nothing_else() -> None:
    async with MockPolymarket(events_per_s=0, faults=("hash_mismatch",)) as mock:
        yes = mock.asset_ids[0]
        async with subscribed(mock, yes) as socket:
            (first,) = await opening(socket)
            honest = mock.exchange.book(yes).hash
            mock.exchange.set_level(yes, "BUY", "0.01", 3)
            change = json.loads(await next_text(socket))
    assert first["hash"] != honest
    assert len(first["hash"]) == 40
    sent, kept = change["price_changes"], mock.ledger.entries[0].payload
    for entry, true_entry in zip(sent, kept["price_changes"], strict=True):
        assert entry["hash"] != true_entry["hash"]
        assert {**entry, "hash": ""} == {**true_entry, "hash": ""}


async def test_tick_change_comes_once_for_every_market() -> None:
    async with MockPolymarket(events_per_s=0) as mock, subscribed(mock) as socket:
        await opening(socket)
        mock.faults.start("tick_change")
        events = await events_for(socket, 10)
        assert kinds(events) == ["tick_size_change"] * 4
        for asset_id in mock.asset_ids:
            view = mock.exchange.book(asset_id)
            assert view.tick_size == Decimal("0.001")
            assert all(level.price % Decimal("0.01") == 0 for level in view.bids)


# Helpers


def assets_of(events: list[Event]) -> set[str]:
    """Return which assets events tell of."""
    named = {event["asset_id"] for event in events if "asset_id" in event}
    for event in events:
        named |= {entry["asset_id"] for entry in event.get("price_changes", ())}
    return named


def sift(frame: str | bytes) -> tuple[list[Event], list[Any]]:
    """Part a frame's good events from its bad elements, as a careful client does."""
    try:
        decoded = json.loads(frame)
    except (ValueError, RecursionError):
        return [], [frame]
    elements = decoded if isinstance(decoded, list) else [decoded]
    good = [element for element in elements if is_good(element)]
    return good, [element for element in elements if element not in good]


def is_good(element: Any) -> bool:
    return (
        isinstance(element, dict)
        and isinstance(element.get("market"), str)
        and len(element["market"].strip("0x")) > 10
    )


def newest_only(events: list[Event]) -> list[Event]:
    """Leave out duplicates that are older than what came since."""
    newest: dict[str, int] = {}
    kept = []
    for event in events:
        stamp = int(event["timestamp"])
        if stamp >= newest.get(event["market"], 0):
            kept.append(event)
        if event["event_type"] == "price_change":
            newest[event["market"]] = max(stamp, newest.get(event["market"], 0))
    return kept


def quiet_from_here(mock: MockPolymarket) -> None:
    for condition_id in mock.condition_ids:
        mock.exchange.set_rate(condition_id, 0)


async def get_json(url: str) -> Any:
    async with aiohttp.request("GET", url) as answer:
        return await answer.json()


async def status_of(url: str) -> int:
    async with aiohttp.request("GET", url) as answer:
        return answer.status
