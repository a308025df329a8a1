"""A book has exactly the venue's levels, or says why it may not."""

from __future__ import annotations

from decimal import Decimal
from typing import Any, Literal

import pytest

from order_book import LATE_BY_MS, NO_BOOK_YET, OrderBook


D = Decimal
Side = Literal["BUY", "SELL"]
Rows = dict[str, str]

BIDS: Rows = {"0.48": "30", "0.50": "15", "0.49": "20"}
ASKS: Rows = {"0.54": "10", "0.52": "25", "0.53": "60"}
T = 1_000_000


def levels(rows: Rows) -> dict[str, str]:
    return dict(rows)


def snapshot(
    book: OrderBook,
    bids: Rows | None = None,
    asks: Rows | None = None,
    at_ms: int = T,
    **more: Any,
) -> OrderBook:
    book.replace(
        levels(BIDS if bids is None else bids),
        levels(ASKS if asks is None else asks),
        timestamp_ms=at_ms,
        **more,
    )
    return book


@pytest.fixture
def book() -> OrderBook:
    return snapshot(OrderBook("7"))


def confirm(
    book: OrderBook,
    bid: str | None,
    ask: str | None,
    at_ms: int = T + 1,
    book_hash: str | None = None,
) -> None:
    book.confirm(
        bid,
        ask,
        timestamp_ms=at_ms,
        book_hash=book_hash,
    )


def set_level(
    book: OrderBook, side: Side, price: str, size: str | None, at_ms: int = T + 1
) -> None:
    book.set_level(side, price, size, at_ms)


def test_a_new_book_is_empty_and_not_trusted() -> None:
    book = OrderBook("7")
    assert (book.asset_id, book.bids, book.asks) == ("7", [], [])
    assert book.best_bid is book.best_ask is book.mid is book.spread is None
    assert not book.has_book
    assert not book.is_trusted
    assert book.why_untrusted == NO_BOOK_YET
    assert book.depth("BUY") == book.depth("SELL") == 0


def test_nothing_is_applied_before_the_first_snapshot() -> None:
    book = OrderBook("7")
    set_level(book, "BUY", "0.5", "10")
    set_level(book, "SELL", "0.6", None)
    confirm(book, "0.5", "1", book_hash="h")
    assert (book.bids, book.asks, book.hash, book.timestamp_ms) == ([], [], None, 0)
    assert book.why_untrusted == NO_BOOK_YET
    assert not book.has_book


def test_levels_come_best_first(book: OrderBook) -> None:
    assert book.bids == [(D("0.50"), D(15)), (D("0.49"), D(20)), (D("0.48"), D(30))]
    assert book.asks == [(D("0.52"), D(25)), (D("0.53"), D(60)), (D("0.54"), D(10))]
    assert book.is_trusted
    assert book.has_book
    assert book.why_untrusted is None


def test_best_prices_mid_and_spread_are_exact(book: OrderBook) -> None:
    assert book.best_bid == D("0.50")
    assert book.best_ask == D("0.52")
    assert book.mid == D("0.51")
    assert book.spread == D("0.02")
    set_level(book, "SELL", "0.501", "1")
    assert book.mid == D("0.5005")
    assert book.spread == D("0.001")


@pytest.mark.parametrize("empty_side", ["bids", "asks"])
def test_mid_and_spread_need_both_sides(empty_side: str) -> None:
    book = snapshot(
        OrderBook("7"),
        bids={} if empty_side == "bids" else BIDS,
        asks={} if empty_side == "asks" else ASKS,
    )
    assert book.mid is None
    assert book.spread is None
    assert (book.best_bid is None) == (empty_side == "bids")
    assert (book.best_ask is None) == (empty_side == "asks")


@pytest.mark.parametrize(
    ("side", "within", "shares"),
    [
        ("BUY", None, "65"),
        ("BUY", "0", "15"),
        ("BUY", "0.009", "15"),
        ("BUY", "0.01", "35"),
        ("BUY", "1", "65"),
        ("SELL", None, "95"),
        ("SELL", "0", "25"),
        ("SELL", "0.01", "85"),
        ("SELL", "0.02", "95"),
    ],
)
def test_depth_counts_the_shares_near_the_best_price(
    book: OrderBook, side: Side, within: str | None, shares: str
) -> None:
    assert book.depth(side, None if within is None else D(within)) == D(shares)


def test_a_snapshot_replaces_everything(book: OrderBook) -> None:
    set_level(book, "BUY", "0.47", "9")
    snapshot(book, {"0.10": "1"}, {"0.90": "2"}, T + 5)
    assert book.bids == [(D("0.10"), D(1))]
    assert book.asks == [(D("0.90"), D(2))]
    assert book.timestamp_ms == book.verified_ms == T + 5


def test_a_snapshot_leaves_out_levels_of_size_zero() -> None:
    book = snapshot(OrderBook("7"), {"0.4": "0", "0.3": "1"}, {"0.5": "0.00"})
    assert book.bids == [(D("0.3"), D(1))]
    assert book.best_ask is None


def test_a_snapshot_does_not_keep_the_callers_mapping() -> None:
    bids = levels(BIDS)
    book = OrderBook("7")
    book.replace(bids, {}, timestamp_ms=T)
    set_level(book, "BUY", "0.10", "1")
    assert bids == levels(BIDS)


def test_only_the_first_snapshot_carries_the_market_and_its_numbers() -> None:
    book = snapshot(
        OrderBook("7"),
        condition_id="0x1",
        tick_size=D("0.01"),
        last_trade_price=D("0.5"),
        version="v2",
        book_hash="h1",
    )
    snapshot(book, at_ms=T + 1)
    assert book.condition_id == "0x1"
    assert book.tick_size == D("0.01")
    assert book.last_trade_price == D("0.5")
    assert book.version == "v2"
    assert book.hash is None
    snapshot(book, at_ms=T + 2, condition_id="0x2", tick_size=D("0.001"), version="v3")
    assert (book.condition_id, book.tick_size) == ("0x2", D("0.001"))
    assert book.version == "v3"


@pytest.mark.parametrize(
    ("side", "price", "size", "expected"),
    [
        ("BUY", "0.50", "99", ["0.50", "0.49", "0.48"]),
        ("BUY", "0.51", "1", ["0.51", "0.50", "0.49", "0.48"]),
        ("BUY", "0.485", "1", ["0.50", "0.49", "0.485", "0.48"]),
        ("BUY", "0.01", "1", ["0.50", "0.49", "0.48", "0.01"]),
        ("BUY", "0.50", "0", ["0.49", "0.48"]),
        ("BUY", "0.49", "0.000", ["0.50", "0.48"]),
        ("BUY", "0.47", "0", ["0.50", "0.49", "0.48"]),
        ("BUY", "0.5", "0", ["0.49", "0.48"]),
        ("SELL", "0.51", "1", ["0.51", "0.52", "0.53", "0.54"]),
        ("SELL", "0.54", "0", ["0.52", "0.53"]),
        ("SELL", "0.99", "1", ["0.52", "0.53", "0.54", "0.99"]),
    ],
)
def test_a_change_sets_the_new_total_of_one_level(
    book: OrderBook, side: Side, price: str, size: str, expected: list[str]
) -> None:
    other_before = book.asks if side == "BUY" else book.bids
    set_level(book, side, price, size)
    rows = book.bids if side == "BUY" else book.asks
    assert [row[0] for row in rows] == [D(each) for each in expected]
    if D(size):
        assert (D(price), D(size)) in rows
    assert (book.asks if side == "BUY" else book.bids) == other_before


def test_a_change_twice_is_a_change_once(book: OrderBook) -> None:
    for _ in range(2):
        set_level(book, "BUY", "0.50", "77")
        set_level(book, "SELL", "0.53", "0")
        confirm(book, "0.50", "0.52")
    assert book.bids[0] == (D("0.50"), D(77))
    assert [row[0] for row in book.asks] == [D("0.52"), D("0.54")]
    assert book.is_trusted


def test_a_repeated_older_change_does_not_undo_a_newer_one(book: OrderBook) -> None:
    set_level(book, "BUY", "0.50", "1", T + 10)
    set_level(book, "BUY", "0.50", "0", T + 20)
    confirm(book, "0.49", "0.52", T + 20, "new")
    set_level(book, "BUY", "0.50", "1", T + 10)
    confirm(book, "0.50", "0.52", T + 10, "old")
    assert book.best_bid == D("0.49")
    assert (book.timestamp_ms, book.hash) == (T + 20, "new")
    assert book.is_trusted


def test_a_change_older_than_the_snapshot_is_already_in_it(book: OrderBook) -> None:
    set_level(book, "BUY", "0.50", "999", T - 1)
    set_level(book, "BUY", "0.45", "999", T - LATE_BY_MS)
    assert book.bids[0] == (D("0.50"), D(15))
    assert len(book.bids) == 3


def test_a_late_change_of_another_level_still_counts(book: OrderBook) -> None:
    set_level(book, "BUY", "0.49", "5", T + 20)
    confirm(book, "0.50", "0.52", T + 20)
    set_level(book, "BUY", "0.48", "6", T + 10)
    confirm(book, "0.11", "0.99", T + 10)
    assert book.bids[1:] == [(D("0.49"), D(5)), (D("0.48"), D(6))]
    assert book.timestamp_ms == T + 20
    assert book.is_trusted


def test_a_change_of_the_same_moment_counts(book: OrderBook) -> None:
    set_level(book, "BUY", "0.50", "1", T)
    set_level(book, "BUY", "0.50", "2", T)
    confirm(book, "0.50", "0.52", T, "h")
    assert book.bids[0] == (D("0.50"), D(2))
    assert book.hash == "h"


def test_a_much_older_change_means_that_the_venues_clock_moved(book: OrderBook) -> None:
    past = T - LATE_BY_MS - 1
    set_level(book, "BUY", "0.50", "3", past)
    confirm(book, "0.50", "0.52", past, "h")
    assert book.bids[0] == (D("0.50"), D(3))
    assert (book.timestamp_ms, book.hash) == (past, "h")


def test_confirm_notes_time_and_hash_of_the_change(book: OrderBook) -> None:
    confirm(book, "0.50", "0.52", T + 7, "h7")
    assert (book.timestamp_ms, book.hash, book.verified_ms) == (T + 7, "h7", T)
    confirm(book, "0.50", "0.52", T + 8)
    assert (book.timestamp_ms, book.hash) == (T + 8, None)


@pytest.mark.parametrize(
    ("bids", "asks", "said", "is_right"),
    [
        (BIDS, ASKS, ("0.50", "0.52"), True),
        (BIDS, ASKS, ("0.5", "0.520"), True),
        (BIDS, ASKS, (None, None), True),
        (BIDS, ASKS, ("0.50", None), True),
        (BIDS, ASKS, (None, "0.52"), True),
        (BIDS, ASKS, ("0.49", "0.52"), False),
        (BIDS, ASKS, ("0.50", "0.53"), False),
        (BIDS, ASKS, ("0.51", None), False),
        (BIDS, ASKS, (None, "0.51"), False),
        (BIDS, ASKS, ("0", "0.52"), False),
        (BIDS, ASKS, ("0.50", "1"), False),
        (BIDS, ASKS, ("0.50", "0"), False),
        ({}, ASKS, ("0", "0.52"), True),
        ({}, ASKS, (None, "0.52"), True),
        ({}, ASKS, ("0.01", "0.52"), False),
        (BIDS, {}, ("0.50", "1"), True),
        (BIDS, {}, ("0.50", "0"), True),
        (BIDS, {}, ("0.50", "0.99"), False),
        ({}, {}, ("0", "1"), True),
        ({}, {}, ("0", "0"), True),
        ({}, {}, ("1", "1"), False),
    ],
)
def test_tops_are_compared_with_the_venues(
    bids: Rows, asks: Rows, said: tuple[str | None, str | None], is_right: bool
) -> None:
    book = snapshot(OrderBook("7"), bids, asks)
    confirm(book, *said)
    assert book.is_trusted is is_right
    if not is_right:
        assert book.why_untrusted is not None
        assert "diverged" in book.why_untrusted
        for price in said:
            assert str(price) in book.why_untrusted


def test_a_diverged_book_names_both_tops(book: OrderBook) -> None:
    confirm(book, "0.47", "0.55")
    assert book.why_untrusted == "diverged: own top 0.50/0.52, venue 0.47/0.55"
    assert book.has_book


@pytest.mark.parametrize(("bid", "ask"), [("0.52", "0.52"), ("0.53", "0.52")])
def test_a_crossed_snapshot_is_never_served_as_valid(bid: str, ask: str) -> None:
    book = snapshot(OrderBook("7"), {bid: "1"}, {ask: "1"})
    assert book.why_untrusted == f"crossed: bid {bid} meets ask {ask}"
    assert book.has_book


@pytest.mark.parametrize("price", ["0.52", "0.60"])
def test_a_change_that_crosses_the_book_is_noticed(book: OrderBook, price: str) -> None:
    set_level(book, "BUY", price, "1")
    confirm(book, price, "0.52")
    assert book.why_untrusted == f"crossed: bid {price} meets ask 0.52"


def test_a_book_may_cross_between_the_entries_of_one_frame(book: OrderBook) -> None:
    set_level(book, "BUY", "0.52", "1")
    set_level(book, "SELL", "0.52", "0")
    confirm(book, "0.52", "0.53")
    assert book.is_trusted


def test_a_change_without_a_size_makes_the_book_doubtful(book: OrderBook) -> None:
    before = book.bids
    set_level(book, "BUY", "0.50", None)
    assert book.bids == before
    assert book.why_untrusted == "a change came without a size"


def test_levels_may_stay_on_the_old_grid_after_a_tick_change(book: OrderBook) -> None:
    book.change_tick_size(D("0.001"))
    assert book.tick_size == D("0.001")
    assert book.why_untrusted is not None
    assert "tick size became 0.001" in book.why_untrusted
    confirm(book, "0.50", "0.52")
    assert not book.is_trusted


def test_the_first_reason_stays(book: OrderBook) -> None:
    book.distrust("the first")
    book.distrust("another")
    confirm(book, "0.1", "0.2")
    book.change_tick_size(D("0.001"))
    set_level(book, "BUY", "0.50", None)
    assert book.why_untrusted == "the first"


def test_a_doubtful_book_still_takes_changes(book: OrderBook) -> None:
    book.distrust("a doubt")
    set_level(book, "BUY", "0.51", "1")
    confirm(book, "0.51", "0.52", T + 3)
    assert book.best_bid == D("0.51")
    assert book.timestamp_ms == T + 3


@pytest.mark.parametrize("how", ["diverged", "crossed", "tick", "no size", "other"])
def test_the_next_snapshot_brings_trust_back(book: OrderBook, how: str) -> None:
    match how:
        case "diverged":
            confirm(book, "0.1", "0.2")
        case "crossed":
            set_level(book, "BUY", "0.99", "1")
            confirm(book, "0.99", None)
        case "tick":
            book.change_tick_size(D("0.001"))
        case "no size":
            set_level(book, "BUY", "0.5", None)
        case _:
            book.distrust("other")
    assert not book.is_trusted
    snapshot(book, at_ms=T + 2)
    assert book.is_trusted


def test_a_lost_connection_leaves_nothing(book: OrderBook) -> None:
    book.distrust("an older reason")
    book.invalidate()
    assert (book.bids, book.asks, book.best_bid) == ([], [], None)
    assert not book.has_book
    assert book.why_untrusted == NO_BOOK_YET
    set_level(book, "BUY", "0.5", "1")
    assert book.bids == []
    snapshot(book, at_ms=T + 1)
    assert book.is_trusted


def test_every_event_counts_as_an_update() -> None:
    book = OrderBook("7")
    confirm(book, "0.1", "0.2")
    snapshot(book)
    confirm(book, "0.50", "0.52")
    book.note_trade(D("0.5"))
    book.change_tick_size(D("0.01"))
    assert book.update_count == 5


def test_a_trade_is_remembered_and_moves_no_level(book: OrderBook) -> None:
    before = book.bids, book.asks
    book.note_trade(D("0.333"))
    assert book.last_trade_price == D("0.333")
    assert (book.bids, book.asks) == before
    assert book.is_trusted


def test_a_settled_book_is_empty_and_trusted(book: OrderBook) -> None:
    for price in BIDS:
        set_level(book, "BUY", price, "0")
    for price in ASKS:
        set_level(book, "SELL", price, "0")
    confirm(book, "0", "1")
    assert (book.bids, book.asks) == ([], [])
    assert book.is_trusted
