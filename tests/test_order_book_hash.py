"""The book's digest is the venue's, so that a silent loss cannot hide."""

from __future__ import annotations

import hashlib
from decimal import Decimal
from typing import Any

import pytest

from order_book import HashFields, OrderBook, compute_hash


D = Decimal
FIELDS = HashFields(min_order_size="100", tick_size="0.01", neg_risk=False)
# The test vectors of Polymarket/py-clob-client, tests/test_utilities.py.
OFFICIAL = "0458ea5755c9f73d64a14636fa5c36ed460ec394"
OFFICIAL_EMPTY = "74c6a7c81c1d572f1c877b7d3e25b80c336d8a6e"
# Made with `generate_orderbook_summary_hash` of py-clob-client 0.34.6. `RIGHT` is the
# first vector with its asks worst first, as the venue sends them.
EMPTY_AT_123 = "6e29b8b994f0e8f4c42788ae3731bde890af836d"
RIGHT = "9909a3e0a1877760d02701d51cecd4eb2688c473"
WITHOUT_TRADE = "b8bb9bc750c3d6e5dd8a358acb340a5b68744d6d"
PADDED_TRADE = "4c87b6bed615aea63e2cd5cf5d02f9fb6b093e28"
AFTER_CHANGE = "13c5c8b67115f8044f70095ad800a1a22511e076"

BIDS = {"0.3": "100", "0.4": "100"}
ASKS = {"0.6": "100", "0.7": "100"}
T = 123_456_789


class BestAskFirst(OrderBook):
    """The first official vector lists its asks best first, which no book is sent."""

    @property
    def asks(self) -> list[tuple[Decimal, Decimal]]:
        return super().asks[::-1]


class NoTime(int):
    """The empty official vector has an empty timestamp; a number has no such text."""

    def __str__(self) -> str:
        return ""


def book_at(
    timestamp_ms: int = T,
    book_hash: str | None = RIGHT,
    *,
    kind: type[OrderBook] = OrderBook,
    is_empty: bool = False,
    last_trade_price: str | None = "0.5",
    fields: HashFields | None = FIELDS,
    **more: Any,
) -> OrderBook:
    book = kind("100")
    book.hash_fields = fields
    book.replace(
        {} if is_empty else BIDS,
        {} if is_empty else ASKS,
        timestamp_ms=timestamp_ms,
        condition_id="0xaabbcc",
        book_hash=book_hash,
        last_trade_price=None if last_trade_price is None else D(last_trade_price),
        **more,
    )
    return book


def test_the_official_vectors_hold() -> None:
    assert compute_hash(book_at(kind=BestAskFirst), FIELDS, "0.5") == OFFICIAL
    empty = book_at(NoTime(0), is_empty=True)
    assert compute_hash(empty, FIELDS, "0.5") == OFFICIAL_EMPTY


@pytest.mark.parametrize(
    "book",
    [
        book_at(),
        book_at(123, EMPTY_AT_123, is_empty=True),
        book_at(
            1790000000000,
            WITHOUT_TRADE,
            last_trade_price=None,
            fields=HashFields("5", "0.01", neg_risk=False),
        ),
        # The wire says 0.5, the hash covers 0.500.
        book_at(
            1790000000000,
            PADDED_TRADE,
            tick_size=D("0.001"),
            fields=HashFields("100", "0.001", neg_risk=True),
        ),
        # ... and the other way round: the wire may say 0.5 where the tick is 0.01.
        book_at(last_trade_price="0.5", tick_size=D("0.01")),
    ],
)
def test_a_right_hash_is_recognised(book: OrderBook) -> None:
    assert book.verify_hash() is True


@pytest.mark.parametrize(
    "changed",
    [
        {"timestamp_ms": T + 1},
        {"is_empty": True},
        {"last_trade_price": "0.51"},
        {"last_trade_price": None},
        {"version": "v2"},
        {"book_hash": OFFICIAL_EMPTY},
        {"fields": HashFields("5", "0.01", neg_risk=False)},
        {"fields": HashFields("100", "0.001", neg_risk=False)},
        {"fields": HashFields("100", "0.01", neg_risk=True)},
    ],
)
def test_everything_the_hash_covers_changes_it(changed: dict[str, Any]) -> None:
    assert book_at(**changed).verify_hash() is False


def test_the_levels_and_ids_are_covered_too() -> None:
    book = book_at()
    book.set_level("BUY", "0.3", "100.1", T)
    assert book.verify_hash() is False
    for name in ("condition_id", "asset_id"):
        other = book_at()
        setattr(other, name, "x")
        assert other.verify_hash() is False


def test_a_v2_market_puts_its_version_at_the_end() -> None:
    text = (
        '{"market":"0xaabbcc","asset_id":"100","timestamp":"123456789","hash":"",'
        '"bids":[],"asks":[],"min_order_size":"100","tick_size":"0.01",'
        '"neg_risk":false,"last_trade_price":"","version":"v2"}'
    )
    digest = hashlib.sha1(text.encode(), usedforsecurity=False).hexdigest()
    book = book_at(book_hash=digest, is_empty=True, last_trade_price=None, version="v2")
    assert book.verify_hash() is True


def test_the_hash_of_a_change_is_that_of_the_book_after_it() -> None:
    book = book_at()
    later = 123_456_999
    book.set_level("BUY", "0.45", "7.5", later)
    book.confirm("0.45", "0.6", timestamp_ms=later, book_hash=AFTER_CHANGE)
    assert book.verify_hash() is True
    assert book.verified_ms == later


def test_a_wrong_hash_verifies_nothing_and_accuses_nobody() -> None:
    book = book_at()
    book.confirm("0.4", "0.6", timestamp_ms=T + 5, book_hash="0" * 40)
    assert book.verify_hash() is False
    assert book.verified_ms == T
    assert book.is_trusted


def test_a_trade_enters_the_hash() -> None:
    book = book_at(last_trade_price="0.41")
    assert book.verify_hash() is False
    book.note_trade(D("0.5"))
    assert book.verify_hash() is True


def test_a_hash_cannot_always_be_known() -> None:
    assert book_at(book_hash=None).verify_hash() is None
    assert book_at(fields=None).verify_hash() is None
    lost = book_at()
    lost.invalidate()
    assert lost.verify_hash() is None


def test_sizes_enter_the_hash_as_they_were_written() -> None:
    fields = HashFields("5", "0.01", neg_risk=False)
    book, other = OrderBook("100"), OrderBook("100")
    book.replace({"0.5": "10.0"}, {}, timestamp_ms=1)
    other.replace({"0.5": "10"}, {}, timestamp_ms=1)
    assert book.bids == other.bids
    assert compute_hash(book, fields, "") != compute_hash(other, fields, "")


def test_a_tick_change_enters_the_hash_of_later_books() -> None:
    book = book_at(1790000000000, PADDED_TRADE, fields=HashFields("100", "0.01", True))
    assert book.verify_hash() is False
    book.change_tick_size(D("0.001"))
    assert book.verify_hash() is True


def test_a_tick_that_changed_while_we_were_away_enters_it_too() -> None:
    book = book_at(fields=HashFields("100", "0.01", True), tick_size=D("0.01"))
    book.invalidate()
    book.replace(
        BIDS,
        ASKS,
        timestamp_ms=1790000000000,
        book_hash=PADDED_TRADE,
        tick_size=D("0.001"),
        last_trade_price=D("0.500"),
    )
    assert book.verify_hash() is True


@pytest.mark.parametrize("last", ["0.12345678901234567890123456789012", "1E-200"])
def test_an_absurd_last_trade_only_makes_the_hash_wrong(last: str) -> None:
    book = OrderBook("100")
    book.hash_fields = FIELDS
    book.replace(
        {"0.5": "1"},
        {},
        timestamp_ms=T,
        book_hash=RIGHT,
        tick_size=D("0.01"),
        last_trade_price=D(last),
    )
    assert book.verify_hash() is False


@pytest.mark.parametrize("price", ["1E-999999999999999", "2", "-0.1", "NaN", "", "x"])
def test_a_price_that_is_none_never_enters_a_book(price: str) -> None:
    book = OrderBook("100")
    with pytest.raises(ValueError, match="not a price"):
        book.replace({price: "1"}, {}, timestamp_ms=T)
    assert not book.has_book
