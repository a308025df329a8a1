"""Events move the right books, and every way a book goes wrong opens a gap."""

from __future__ import annotations

from collections.abc import Sequence
from decimal import Decimal
from typing import Any

import pytest
import wire_frames as wire
from wire_frames import MARKET, NO, YES, frame

from book_keeper import BookKeeper
from event_buffer import Gap
from gap_ledger import GAP_SLACK_MS, GapLedger
from market_events import MalformedEvent, parse_market_frame
from order_book import NO_BOOK_YET


T = 10_000
D = Decimal


class Clock:
    """This machine's wall clock, wrong by as much as one likes."""

    def __init__(self) -> None:
        self.now_ms = T

    def __call__(self) -> int:
        return self.now_ms


class Desk:
    """A keeper with two followed assets of one market, and its ledger."""

    def __init__(self) -> None:
        self.clock = Clock()
        self.ledger = GapLedger(self.clock)
        self.keeper = BookKeeper(self.ledger)
        self.keeper.follow([YES, NO])
        self.books = self.keeper.books

    def feed(self, fields: wire.Fields, at_ms: int = T, **changed: Any) -> list[bool]:
        text = frame(fields, timestamp=str(at_ms), **changed)
        events = parse_market_frame(text)
        return [self.keeper.apply(event, self.books) for event in events]

    def open_books(self) -> None:
        for asset_id in (YES, NO):
            self.feed(wire.BOOK, asset_id=asset_id)

    def change(
        self, entries: Sequence[tuple[str, str, str, str | None]], at_ms: int = T + 1
    ) -> list[bool]:
        rows = [
            {"asset_id": asset_id, "side": side, "price": price, "size": size}
            for asset_id, side, price, size in entries
        ]
        return self.feed(wire.PRICE_CHANGE, at_ms, price_changes=rows)


@pytest.fixture
def desk() -> Desk:
    desk = Desk()
    desk.open_books()
    return desk


def test_followed_assets_have_a_book_from_the_start() -> None:
    desk = Desk()
    assert set(desk.books) == {YES, NO}
    assert not desk.books[YES].has_book
    first = desk.books[YES]
    desk.keeper.follow([YES])
    assert desk.books[YES] is first


def test_a_snapshot_fills_the_book_with_all_it_says(desk: Desk) -> None:
    book = desk.books[YES]
    assert book.bids == [(D("0.49"), D("20.5")), (D("0.48"), D(30))]
    assert book.asks == [(D("0.51"), D("0.01")), (D("0.52"), D(25))]
    assert (book.condition_id, book.timestamp_ms) == (MARKET, T)
    assert (book.hash, book.tick_size) == ("0f" * 20, D("0.01"))
    assert (book.last_trade_price, book.version) == (D("0.140"), "v2")
    assert book.is_trusted


def test_a_change_reaches_both_assets_of_its_market(desk: Desk) -> None:
    assert desk.change([(YES, "BUY", "0.50", "7"), (NO, "SELL", "0.51", "0")]) == [True]
    assert desk.books[YES].bids[0] == (D("0.50"), D(7))
    assert desk.books[NO].best_ask == D("0.52")
    assert desk.books[YES].timestamp_ms == desk.books[NO].timestamp_ms == T + 1


def test_a_change_is_confirmed_once_by_its_last_entry(desk: Desk) -> None:
    rows = [
        {"asset_id": YES, "side": "BUY", "price": "0.50", "size": "7"}
        | {"best_bid": "0.49", "best_ask": "0.51", "hash": "first"},
        {"asset_id": YES, "side": "SELL", "price": "0.51", "size": "0"}
        | {"best_bid": "0.50", "best_ask": "0.52", "hash": "last"},
    ]
    before = desk.books[YES].update_count
    desk.feed(wire.PRICE_CHANGE, T + 1, price_changes=rows)
    book = desk.books[YES]
    assert book.is_trusted
    assert book.hash == "last"
    assert book.update_count == before + 1
    assert desk.ledger.take_news() == []


def test_a_trade_is_noted_and_moves_no_level(desk: Desk) -> None:
    before = desk.books[YES].bids
    assert desk.feed(wire.LAST_TRADE_PRICE) == [True]
    assert desk.books[YES].last_trade_price == D("0.585")
    assert desk.books[YES].bids == before


def test_a_best_bid_ask_moves_nothing(desk: Desk) -> None:
    before = desk.books[YES].bids, desk.books[YES].update_count
    assert desk.feed(wire.BEST_BID_ASK) == [True]
    assert (desk.books[YES].bids, desk.books[YES].update_count) == before
    assert desk.books[YES].is_trusted


@pytest.mark.parametrize(
    "event_type",
    ["book", "last_trade_price", "tick_size_change", "best_bid_ask", "price_change"],
)
def test_an_event_of_somebody_elses_asset_does_not_concern_us(
    desk: Desk, event_type: str
) -> None:
    fields = wire.ALL[event_type]
    if event_type == "price_change":
        assert desk.change([("other", "BUY", "0.5", "1")]) == [False]
    else:
        assert desk.feed(fields, asset_id="other") == [False]
    assert set(desk.books) == {YES, NO}


@pytest.mark.parametrize("event_type", ["new_market", "market_resolved"])
def test_events_without_an_asset_concern_everybody(desk: Desk, event_type: str) -> None:
    assert desk.feed(wire.ALL[event_type]) == [True]


def test_only_the_books_of_the_connection_are_touched(desk: Desk) -> None:
    (event,) = parse_market_frame(frame(wire.BOOK, timestamp=str(T + 9), bids=[]))
    assert not desk.keeper.apply(event, {NO: desk.books[NO]})
    assert desk.books[YES].timestamp_ms == T


def test_a_change_that_diverges_opens_a_gap_since_the_last_sure_moment(
    desk: Desk,
) -> None:
    desk.feed(wire.PRICE_CHANGE, T + 700)
    (gap,) = desk.ledger.take_news()
    assert gap.asset_ids == (NO,)
    assert (gap.from_ms, gap.to_ms) == (T - GAP_SLACK_MS, None)
    assert gap.reason == desk.books[NO].why_untrusted
    assert "diverged" in gap.reason


def test_the_next_snapshot_closes_the_gap(desk: Desk) -> None:
    desk.keeper.doubt(YES, "a doubt")
    desk.clock.now_ms = T + 5_000
    desk.feed(wire.BOOK, T + 4_000, asset_id=YES)
    opened, ended = desk.ledger.take_news()
    assert opened == Gap((YES,), T - GAP_SLACK_MS, None, "a doubt")
    assert ended == Gap((YES,), T - GAP_SLACK_MS, T + 5_000 + GAP_SLACK_MS, "a doubt")
    assert desk.books[YES].is_trusted


@pytest.mark.parametrize("how", ["tick", "no size", "crossed", "crossed snapshot"])
def test_every_doubt_about_a_book_is_a_gap(desk: Desk, how: str) -> None:
    match how:
        case "tick":
            desk.feed(wire.TICK_SIZE_CHANGE)
        case "no size":
            desk.change([(YES, "BUY", "0.4", None)])
        case "crossed":
            desk.change([(YES, "BUY", "0.9", "1")])
        case _:
            desk.feed(wire.BOOK, bids=[{"price": "0.9", "size": "1"}])
    (gap,) = desk.ledger.take_news()
    assert (gap.asset_ids, gap.to_ms) == ((YES,), None)
    assert gap.reason == desk.books[YES].why_untrusted


def test_a_second_doubt_is_the_same_gap(desk: Desk) -> None:
    desk.keeper.doubt(YES, "first")
    desk.change([(YES, "BUY", "0.9", "1")])
    desk.keeper.lose([YES], "gone")
    assert [gap.reason for gap in desk.ledger.take_news()] == ["first"]


def test_a_lost_connection_is_a_gap_from_the_last_event_on(desk: Desk) -> None:
    desk.change([(YES, "BUY", "0.50", "7")], T + 300)
    desk.keeper.lose([YES, NO, "unknown"], "closed")
    assert desk.ledger.take_news() == [
        Gap((YES,), T + 300 - GAP_SLACK_MS, None, "closed"),
        Gap((NO,), T - GAP_SLACK_MS, None, "closed"),
    ]
    assert desk.books[YES].why_untrusted == NO_BOOK_YET
    assert desk.books[NO].bids == []


def test_losing_what_never_had_a_book_is_no_gap() -> None:
    desk = Desk()
    desk.keeper.lose([YES], "closed")
    desk.change([(YES, "BUY", "0.5", None)])
    desk.feed(wire.TICK_SIZE_CHANGE)
    desk.keeper.doubt(YES, "why")
    assert desk.ledger.take_news() == []


@pytest.mark.parametrize(
    ("key", "doubted"), [("market", {YES, NO}), ("asset_id", {YES}), ("none", set())]
)
def test_an_unusable_event_makes_the_books_it_names_doubtful(
    desk: Desk, key: str, doubted: set[str]
) -> None:
    raw = {"market": {"market": MARKET}, "asset_id": {"asset_id": YES}}.get(key, {})
    assert desk.keeper.apply(MalformedEvent("torn", raw), desk.books)
    assert {each for each, book in desk.books.items() if not book.is_trusted} == doubted
    gaps = desk.ledger.take_news()
    assert {each for gap in gaps for each in gap.asset_ids} == doubted
    for gap in gaps:
        assert "torn" in gap.reason


@pytest.mark.parametrize("raw", ["text", b"bytes", None, 5, []])
def test_an_unusable_event_that_is_no_object_is_survived(desk: Desk, raw: Any) -> None:
    assert desk.keeper.apply(MalformedEvent("torn", raw), desk.books)
    assert desk.books[YES].is_trusted


def test_unfollowed_assets_leave_nothing_behind(desk: Desk) -> None:
    desk.keeper.lose([YES], "closed")
    desk.keeper.unfollow(each for each in [YES, "unknown"])
    assert set(desk.books) == {NO}
    desk.ledger.take_news()
    desk.keeper.follow([YES])
    desk.feed(wire.BOOK)
    assert desk.ledger.take_news() == []


def test_news_is_told_once_and_equal_gaps_as_one() -> None:
    desk = Desk()
    assert not desk.ledger.has_news
    desk.ledger.begin("a", T, "closed")
    desk.ledger.begin("b", T, "closed")
    desk.ledger.begin("c", T + 1, "closed")
    desk.ledger.begin("d", T, "other")
    assert desk.ledger.has_news
    start = T - GAP_SLACK_MS
    assert desk.ledger.take_news() == [
        Gap(("a", "b"), start, None, "closed"),
        Gap(("c",), start + 1, None, "closed"),
        Gap(("d",), start, None, "other"),
    ]
    assert desk.ledger.take_news() == []
    assert not desk.ledger.has_news


def test_only_an_open_gap_can_end() -> None:
    desk = Desk()
    desk.ledger.end("a", T)
    assert desk.ledger.take_news() == []
    desk.ledger.begin("a", T, "why")
    desk.ledger.end("a", T)
    desk.ledger.end("a", T)
    assert len(desk.ledger.take_news()) == 2


def test_a_gap_does_not_begin_before_a_second_source_saw_all() -> None:
    desk = Desk()
    desk.ledger.confirm_complete("a", T + 60_000)
    desk.clock.now_ms = T + 90_000
    desk.ledger.begin("a", T, "closed")
    desk.ledger.begin("b", T, "closed")
    a, b = desk.ledger.take_news()
    assert a.from_ms == T + 60_000 - GAP_SLACK_MS
    assert b.from_ms == T - GAP_SLACK_MS


@pytest.mark.parametrize("wrong_by_ms", [-86_400_000, -1, 0, 1, 86_400_000])
def test_a_wrong_local_clock_hides_no_gap(wrong_by_ms: int) -> None:
    desk = Desk()
    desk.clock.now_ms += wrong_by_ms
    desk.ledger.observe_clock(T - 200)
    desk.ledger.observe_clock(T)
    desk.ledger.observe_clock(T - 100)
    assert desk.ledger.venue_now_ms() == T
    desk.ledger.begin("a", T, "closed")
    desk.clock.now_ms += 7_000
    desk.ledger.end("a", T + 2_000)
    assert desk.ledger.take_news()[-1].to_ms == T + 7_000 + GAP_SLACK_MS


def test_without_any_event_our_own_clock_must_do() -> None:
    desk = Desk()
    assert desk.ledger.venue_now_ms() == T


def test_a_gap_lasts_until_the_book_if_that_is_later() -> None:
    desk = Desk()
    desk.ledger.begin("a", T, "closed")
    desk.ledger.end("a", T + 9_000)
    assert desk.ledger.take_news()[-1].to_ms == T + 9_000 + GAP_SLACK_MS


def test_a_book_proves_nothing_after_its_own_time() -> None:
    """It may have come late, and what follows it may be lost."""
    desk = Desk()
    desk.clock.now_ms = T + 5_000
    desk.ledger.end("a", T)
    desk.ledger.begin("a", T, "closed")
    assert desk.ledger.take_news()[0].from_ms == T - GAP_SLACK_MS


def test_gaps_in_a_row_do_not_overlap_by_more_than_the_slack() -> None:
    desk = Desk()
    desk.ledger.begin("a", T, "first")
    desk.clock.now_ms = T + 5_000
    desk.ledger.end("a", T + 4_000)
    desk.ledger.begin("a", T + 4_000, "second")
    _, first, second = desk.ledger.take_news()
    assert first.to_ms == T + 5_000 + GAP_SLACK_MS
    assert second.from_ms == T + 5_000 - GAP_SLACK_MS


def test_forgetting_an_asset_ends_its_gap() -> None:
    desk = Desk()
    desk.ledger.begin("a", T, "closed")
    desk.ledger.confirm_complete("a", T)
    desk.ledger.take_news()
    desk.ledger.forget(["a", "unknown"])
    (ended,) = desk.ledger.take_news()
    assert (ended.asset_ids, ended.to_ms is not None) == (("a",), True)
    desk.ledger.begin("a", 5_000, "closed")
    assert desk.ledger.take_news() == [
        Gap(("a",), 5_000 - GAP_SLACK_MS, None, "closed")
    ]


def test_an_event_from_the_far_future_moves_no_clock() -> None:
    desk = Desk()
    desk.ledger.observe_clock(desk.clock.now_ms)
    desk.ledger.observe_clock(desk.clock.now_ms + 3_600_000)
    assert desk.ledger.venue_now_ms() == desk.clock.now_ms
