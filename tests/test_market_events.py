"""Every frame of the market channel becomes the right event, exactly."""

from __future__ import annotations

import json
from decimal import Decimal
from typing import Any

import pytest
import wire_frames as wire
from wire_frames import BOOK, MARKET, NO, TIME_MS, YES, Fields, frame

from market_events import (
    CONTROL_TEXTS,
    BestBidAsk,
    Book,
    BookUpdate,
    ControlFrame,
    LastTradePrice,
    Level,
    LevelChange,
    MalformedEvent,
    MarketEvent,
    MarketResolved,
    NewMarket,
    PriceChange,
    PriceUpdate,
    TickSizeChange,
    TradeEvent,
    UnknownEvent,
    parse_market_frame,
    parse_wss_message,
)


D = Decimal
SHARED: dict[str, Any] = {"condition_id": MARKET, "timestamp_ms": TIME_MS}

EXPECTED: dict[str, MarketEvent] = {
    "book": Book(
        **SHARED,
        asset_id=YES,
        bids=(Level(".48", "30"), Level("0.49", "20.5")),
        asks=(Level("0.52", "25"), Level("0.51", "0.01")),
        hash="0f" * 20,
        tick_size=D("0.01"),
        last_trade_price=D("0.140"),
        version="v2",
    ),
    "price_change": PriceChange(
        **SHARED,
        price_changes=(
            LevelChange(
                YES,
                "0.49",
                "BUY",
                "503.32",
                "1e" * 20,
                "0.49",
                "0.51",
            ),
            LevelChange(NO, "0.51", "SELL", "0", "2d" * 20, "0", "1"),
        ),
    ),
    "last_trade_price": LastTradePrice(
        **SHARED,
        asset_id=YES,
        price=D("0.585"),
        side="SELL",
        size=D("2.46"),
        fee_rate_bps=D(0),
        transaction_hash="0x" + "c3" * 32,
    ),
    "tick_size_change": TickSizeChange(
        **SHARED, asset_id=YES, new_tick_size=D("0.0025"), old_tick_size=D("0.01")
    ),
    "best_bid_ask": BestBidAsk(
        **SHARED,
        asset_id=YES,
        best_bid=D("0.73"),
        best_ask=D("0.77"),
        spread=D("0.04"),
    ),
    "new_market": NewMarket(
        **SHARED,
        asset_ids=(YES, NO),
        id="6001",
        question="Will it rain?",
        slug="will-it-rain",
        description="A long text",
        outcomes=("Up", "Down"),
        clob_token_ids=(YES, NO),
        event_message=wire.EVENT_MESSAGE,
        tags=("Weather",),
        active=False,
        sports_market_type="moneyline",
        line="1.5",
        game_start_time="2026-10-04 14:25:00+00",
        order_price_min_tick_size=D("0.01"),
        group_item_title="Rain",
        taker_base_fee=D(1000),
        fees_enabled=True,
        fee_schedule={"exponent": "1", "rate": "0.07", "taker_only": True},
    ),
    "market_resolved": MarketResolved(
        **SHARED,
        asset_ids=(YES, NO),
        winning_asset_id=NO,
        winning_outcome="Down",
        id="6001",
        event_message=None,
        tags=("Weather", "Daily"),
        question="Will it rain?",
        slug="will-it-rain",
    ),
}
# What an event must have besides its type; all other keys may be absent.
REQUIRED: dict[str, set[str]] = {
    "book": {"market", "timestamp", "asset_id", "bids", "asks"},
    "price_change": {"market", "timestamp", "price_changes"},
    "last_trade_price": {"market", "timestamp", "asset_id", "price", "side"},
    "tick_size_change": {"market", "timestamp", "asset_id", "new_tick_size"},
    "best_bid_ask": {"market", "timestamp", "asset_id"},
    "new_market": {"market", "timestamp", "assets_ids"},
    "market_resolved": {"market", "timestamp", "assets_ids"},
}
ATTRIBUTE_OF_KEY = {
    "market": "condition_id",
    "assets_ids": "asset_ids",
    "timestamp": "timestamp_ms",
}
OPTIONAL_KEYS = [
    (event_type, key)
    for event_type, fields in wire.ALL.items()
    for key in fields
    # `condition_id` of a new market repeats `market`, and no attribute holds it.
    if key not in REQUIRED[event_type] | {"event_type", "condition_id"}
]
REQUIRED_KEYS = [
    (event_type, key) for event_type, keys in REQUIRED.items() for key in sorted(keys)
]


def only_event(text: str | bytes) -> MarketEvent:
    events = parse_market_frame(text)
    assert len(events) == 1
    return events[0]


def malformed(text: str | bytes) -> MalformedEvent:
    event = only_event(text)
    assert isinstance(event, MalformedEvent), event
    assert event.reason
    return event


@pytest.mark.parametrize("as_bytes", [False, True])
@pytest.mark.parametrize("event_type", wire.ALL)
def test_every_event_arrives_with_all_its_fields(
    event_type: str, as_bytes: bool
) -> None:
    text = frame(wire.ALL[event_type])
    event = only_event(text.encode() if as_bytes else text)
    assert event == EXPECTED[event_type]
    assert type(event) is type(EXPECTED[event_type])
    assert event.event_type == event_type


@pytest.mark.parametrize("event_type", wire.ALL)
def test_the_order_of_keys_does_not_matter(event_type: str) -> None:
    fields = wire.ALL[event_type]
    turned = dict(reversed(list(fields.items())))
    assert only_event(json.dumps(turned)) == EXPECTED[event_type]


@pytest.mark.parametrize(("event_type", "key"), OPTIONAL_KEYS)
def test_an_optional_field_may_be_absent(event_type: str, key: str) -> None:
    event = only_event(frame(wire.ALL[event_type], **{key: ...}))
    assert type(event) is type(EXPECTED[event_type])
    assert getattr(event, key) == (() if key == "outcomes" else None)
    kept = set(wire.ALL[event_type]) - {key, "event_type", "condition_id"}
    for name in (ATTRIBUTE_OF_KEY.get(each, each) for each in kept):
        assert getattr(event, name) == getattr(EXPECTED[event_type], name), name


@pytest.mark.parametrize(
    ("event_type", "key"),
    [pair for pair in OPTIONAL_KEYS if type(wire.ALL[pair[0]][pair[1]]) is str],
)
def test_an_empty_string_is_none(event_type: str, key: str) -> None:
    event = only_event(frame(wire.ALL[event_type], **{key: ""}))
    assert type(event) is type(EXPECTED[event_type])
    assert getattr(event, key) is None


@pytest.mark.parametrize("key", ["size", "hash", "best_bid", "best_ask"])
@pytest.mark.parametrize("absent", ["", ..., None])
def test_a_level_change_needs_only_asset_price_and_side(key: str, absent: Any) -> None:
    changes = json.loads(json.dumps(wire.PRICE_CHANGE["price_changes"]))
    changes[1][key] = absent
    if absent is ...:
        del changes[1][key]
    event = only_event(frame(wire.PRICE_CHANGE, price_changes=changes))
    assert isinstance(event, PriceChange)
    assert getattr(event.price_changes[1], key) is None
    expected = EXPECTED["price_change"]
    assert isinstance(expected, PriceChange)
    assert event.price_changes[0] == expected.price_changes[0]


@pytest.mark.parametrize(("event_type", "key"), REQUIRED_KEYS)
@pytest.mark.parametrize("absent", ["", ..., None])
def test_an_event_without_a_required_field_is_malformed(
    event_type: str, key: str, absent: Any
) -> None:
    event = malformed(frame(wire.ALL[event_type], **{key: absent}))
    assert event.reason.startswith(f"{event_type}: ")
    assert event.raw["event_type"] == event_type


@pytest.mark.parametrize("event_type", wire.ALL)
def test_unknown_keys_are_no_obstacle(event_type: str) -> None:
    text = frame(wire.ALL[event_type], brand_new={"a": [1, None]}, another="x")
    assert only_event(text) == EXPECTED[event_type]


def test_an_array_gives_its_events_in_wire_order() -> None:
    events = parse_market_frame(frame(*wire.ALL.values()))
    assert list(events) == list(EXPECTED.values())


def test_the_opening_frame_may_end_in_a_newline() -> None:
    assert list(parse_market_frame(f"[{frame(BOOK)}]\n")) == [EXPECTED["book"]]


def test_a_bad_element_costs_none_of_its_neighbours() -> None:
    bad: list[Any] = [5, None, "PONG", [], {"event_type": "book"}, {}]
    text = json.dumps([wire.BOOK, *bad, wire.LAST_TRADE_PRICE])
    first, *rejected, last = parse_market_frame(text)
    assert first == EXPECTED["book"]
    assert last == EXPECTED["last_trade_price"]
    for event, element in zip(rejected, bad, strict=True):
        assert isinstance(event, MalformedEvent)
        assert event.reason
        assert event.raw == element


def test_a_number_too_long_for_python_costs_only_its_element() -> None:
    text = f'[{frame(BOOK)},{{"event_type":"book","n":{"9" * 5_000}}}]'
    good, bad = parse_market_frame(text)
    assert good == EXPECTED["book"]
    assert isinstance(bad, MalformedEvent)


def test_the_empty_array_gives_nothing() -> None:
    assert list(parse_market_frame("[]")) == []
    assert list(parse_market_frame(b"[]\n")) == []


@pytest.mark.parametrize("end", ["", "\n", "\r\n", " "])
@pytest.mark.parametrize("text", ["PING", "PONG", "NO NEW ASSETS", "INVALID OPERATION"])
def test_plain_text_frames_are_control_frames(text: str, end: str) -> None:
    for written in (text + end, (text + end).encode()):
        event = only_event(written)
        assert event == ControlFrame(text)
        assert event.event_type == "control"
    assert text in CONTROL_TEXTS


@pytest.mark.parametrize("text", ["pong", "PONG PONG", "NO NEW", '"PONG"', "HELLO"])
def test_other_text_is_no_control_frame(text: str) -> None:
    assert malformed(text).event_type == "malformed"


def test_an_unknown_type_is_kept_as_it_came() -> None:
    fields = {"event_type": "future_event", "market": MARKET, "n": [1.5, ""]}
    event = only_event(json.dumps(fields))
    assert event == UnknownEvent("future_event", fields)
    assert event.event_type == "future_event"


def test_an_unknown_type_among_known_ones_stays_in_its_place() -> None:
    unknown = {"event_type": "future_event"}
    events = parse_market_frame(json.dumps([BOOK, unknown, wire.BEST_BID_ASK]))
    assert [event.event_type for event in events] == [
        "book",
        "future_event",
        "best_bid_ask",
    ]


@pytest.mark.parametrize("event_type", [None, 5, [], {}, True])
def test_a_type_that_is_no_text_is_malformed(event_type: Any) -> None:
    event = malformed(frame(BOOK, event_type=event_type))
    assert event.raw["event_type"] == event_type


@pytest.mark.parametrize(
    "event_type", ["book", "price_change", "tick_size_change", "last_trade_price"]
)
def test_an_event_whose_type_was_cut_off_is_known_by_its_shape(event_type: str) -> None:
    text = frame(wire.ALL[event_type], event_type=...)
    assert only_event(text) == EXPECTED[event_type]


def test_an_event_of_no_known_shape_without_a_type_is_malformed() -> None:
    fields = {"asset_id": YES, "market": MARKET}
    event = malformed(json.dumps(fields))
    assert event.reason == "no event_type"
    assert event.raw == fields


OLD: Fields = {"event_type": "price_change", "market": MARKET, "timestamp": wire.TIME}


def test_the_flat_price_change_of_2024_is_read() -> None:
    text = frame(OLD, asset_id=YES, price="0.514", side="SELL", size="7", hash="h")
    assert only_event(text) == PriceChange(
        **SHARED, price_changes=(LevelChange(YES, "0.514", "SELL", "7", "h"),)
    )


def test_the_price_change_with_changes_of_2025_is_read() -> None:
    changes = [
        {"price": "0.5", "side": "BUY", "size": "1"},
        {"price": "0.6", "side": "SELL", "size": "0"},
    ]
    text = frame(OLD, asset_id=YES, changes=changes, hash="h")
    assert only_event(text) == PriceChange(
        **SHARED,
        price_changes=(
            LevelChange(YES, "0.5", "BUY", "1", "h"),
            LevelChange(YES, "0.6", "SELL", "0", "h"),
        ),
    )


@pytest.mark.parametrize("changes", [None, 5, {}, "x", [5], [{}]])
def test_an_old_price_change_without_usable_changes_is_malformed(changes: Any) -> None:
    malformed(frame(OLD, asset_id=YES, changes=changes))


@pytest.mark.parametrize("event_type", wire.ALL)
def test_events_cannot_be_changed(event_type: str) -> None:
    event = only_event(frame(wire.ALL[event_type]))
    for name in ("timestamp_ms", "condition_id", "event_type"):
        with pytest.raises(AttributeError):
            setattr(event, name, None)


def test_parts_and_failures_cannot_be_changed_either() -> None:
    level = Level("0.5", "1")
    change = LevelChange(YES, "0.5", "BUY")
    with pytest.raises(AttributeError):
        level.size_text = "2"  # type: ignore[misc]
    with pytest.raises(AttributeError):
        change.size_text = "2"  # type: ignore[misc]
    for text in ("PONG", "nothing", '{"event_type":"future"}'):
        with pytest.raises(AttributeError):
            setattr(only_event(text), "event_type", "x")  # noqa: B010


@pytest.mark.parametrize(
    "price", ["0.1", "0.10", ".1", "0.123456789012345678901234567890", "1e-7", "0", "1"]
)
def test_prices_keep_every_digit(price: str) -> None:
    trade = only_event(frame(wire.LAST_TRADE_PRICE, price=price, size=price))
    assert isinstance(trade, LastTradePrice)
    assert trade.size is not None
    assert trade.price.as_tuple() == D(price).as_tuple()
    assert trade.size.as_tuple() == D(price).as_tuple()


def test_a_json_number_is_read_by_its_digits_not_as_a_float() -> None:
    text = frame(wire.LAST_TRADE_PRICE).replace('"0.585"', "0.10000000000000000001")
    trade = only_event(text)
    assert isinstance(trade, LastTradePrice)
    assert str(trade.price) == "0.10000000000000000001"


def test_asset_ids_stay_text() -> None:
    malformed(frame(BOOK, asset_id=12345))
    event = only_event(frame(BOOK, asset_id="007"))
    assert isinstance(event, Book)
    assert event.asset_id == "007"


@pytest.mark.parametrize(
    ("written", "read"), [("5", 5), (5, 5), (5.0, 5), ("-5", -5), (10**15, 10**15)]
)
def test_a_timestamp_is_a_whole_number(written: Any, read: int) -> None:
    event = only_event(frame(BOOK, timestamp=written))
    assert isinstance(event, Book)
    assert event.timestamp_ms == read
    assert type(event.timestamp_ms) is int


@pytest.mark.parametrize(
    "written", ["5.5", 5.5, True, [], "0x5", " 5", "five", "9" * 5_000, 1e308]
)
def test_anything_else_is_no_timestamp(written: Any) -> None:
    malformed(frame(BOOK, timestamp=written))


NO_PRICES = ["-0.01", "1.01", "2", "NaN", "sNaN", "Infinity", "-Infinity", "x", "1e999"]
# The last number is one that sums of sizes would overflow on.
NO_SIZES = ["-1", "-1e-9", "NaN", "sNaN", "Infinity", "x", True, [], {}, "1e999999"]
PRICE_PLACES = [
    ("last_trade_price", ("price",)),
    ("book", ("tick_size",)),
    ("book", ("last_trade_price",)),
    ("book", ("bids", 0, "price")),
    ("book", ("asks", 1, "price")),
    ("price_change", ("price_changes", 1, "price")),
    ("price_change", ("price_changes", 0, "best_bid")),
    ("price_change", ("price_changes", 0, "best_ask")),
    ("tick_size_change", ("new_tick_size",)),
    ("tick_size_change", ("old_tick_size",)),
    ("best_bid_ask", ("best_bid",)),
    ("best_bid_ask", ("best_ask",)),
]
SIZE_PLACES = [
    ("last_trade_price", ("size",)),
    ("book", ("bids", 1, "size")),
    ("book", ("asks", 0, "size")),
    ("price_change", ("price_changes", 1, "size")),
]


def with_value(event_type: str, place: tuple[str | int, ...], value: Any) -> str:
    fields = json.loads(json.dumps(wire.ALL[event_type]))
    inner = fields
    for step in place[:-1]:
        inner = inner[step]
    inner[place[-1]] = value
    return json.dumps(fields)


@pytest.mark.parametrize("value", NO_PRICES)
@pytest.mark.parametrize(("event_type", "place"), PRICE_PLACES)
def test_an_impossible_price_makes_an_event_malformed(
    event_type: str, place: tuple[str | int, ...], value: Any
) -> None:
    event = malformed(with_value(event_type, place, value))
    assert event.reason.startswith(f"{event_type}: ")


@pytest.mark.parametrize("value", NO_SIZES)
@pytest.mark.parametrize(("event_type", "place"), SIZE_PLACES)
def test_an_impossible_size_makes_an_event_malformed(
    event_type: str, place: tuple[str | int, ...], value: Any
) -> None:
    malformed(with_value(event_type, place, value))


@pytest.mark.parametrize(
    ("event_type", "key"),
    [("best_bid_ask", "spread"), ("last_trade_price", "fee_rate_bps")],
)
def test_no_field_holds_something_that_is_no_number(event_type: str, key: str) -> None:
    malformed(with_value(event_type, (key,), "NaN"))


@pytest.mark.parametrize("edge", ["0", "1", "0.0001", "0.9999"])
@pytest.mark.parametrize(("event_type", "place"), PRICE_PLACES)
def test_the_edges_of_the_price_range_are_prices(
    event_type: str, place: tuple[str | int, ...], edge: str
) -> None:
    event = only_event(with_value(event_type, place, edge))
    assert type(event) is type(EXPECTED[event_type])


@pytest.mark.parametrize("side", ["buy", "HOLD", 1, "\x1b[2J<b>"])
def test_a_side_is_buy_or_sell(side: Any) -> None:
    event = malformed(frame(wire.LAST_TRADE_PRICE, side=side))
    assert len(event.reason) <= 300


def test_the_views_of_the_first_design_carry_prices_books_and_trades() -> None:
    views = parse_wss_message(frame(*wire.ALL.values()))
    assert views == [
        EXPECTED["book"],
        PriceUpdate(YES, D("0.49"), D("0.51"), TIME_MS),
        PriceUpdate(NO, D(0), D(1), TIME_MS),
        EXPECTED["last_trade_price"],
    ]
    assert BookUpdate is Book
    assert TradeEvent is LastTradePrice


def test_a_price_view_has_the_top_after_the_last_entry_of_its_asset() -> None:
    entry = wire.PRICE_CHANGE["price_changes"][0]
    later = entry | {"best_bid": "0.45", "best_ask": ""}
    text = frame(wire.PRICE_CHANGE, price_changes=[entry, later])
    assert parse_wss_message(text) == [PriceUpdate(YES, D("0.45"), None, TIME_MS)]


def test_the_views_leave_out_what_is_no_event() -> None:
    for text in ("PONG", "garbage", "[]", '{"event_type":"future"}'):
        assert parse_wss_message(text) == []
