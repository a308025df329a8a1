"""No frame, however broken, makes the parser raise or keep silent."""

from __future__ import annotations

import json
import random
from collections import Counter
from collections.abc import Sequence
from decimal import Decimal
from typing import Any, get_args

import hostile_frames
import pytest
import wire_frames as wire
from hypothesis import given, settings
from hypothesis import strategies as st

from market_events import (
    Book,
    LastTradePrice,
    MalformedEvent,
    MarketEvent,
    PriceChange,
    WireEvent,
    parse_market_frame,
)


ALL_EVENTS = get_args(MarketEvent)
MUTATED_FRAMES = 20_000

# The same examples at every run, and no deadline: the machine may be busy.
fixed = settings(derandomize=True, deadline=None, max_examples=300, database=None)


def parse(frame: str | bytes) -> Sequence[MarketEvent]:
    """Parse and check what holds for the answer to any input."""
    events = parse_market_frame(frame)
    assert isinstance(events, Sequence)
    assert not isinstance(events, str | bytes)
    for event in events:
        assert isinstance(event, ALL_EVENTS)
        if isinstance(event, MalformedEvent):
            assert 0 < len(event.reason) <= 300
        elif isinstance(event, get_args(WireEvent)):
            check_numbers(event)
    return events


def check_numbers(event: MarketEvent) -> None:
    assert type(event.timestamp_ms) is int  # type: ignore[union-attr]
    rows: list[tuple[Decimal, Decimal | None]]
    if isinstance(event, Book):
        rows = [(level.price, level.size) for level in event.bids + event.asks]
    elif isinstance(event, PriceChange):
        rows = [(change.price, change.size) for change in event.price_changes]
    elif isinstance(event, LastTradePrice):
        rows = [(event.price, event.size)]
    else:
        return
    for price, size in rows:
        assert type(price) is Decimal
        assert 0 <= price <= 1
        assert size is None or (size.is_finite() and size >= 0)


def test_the_corpus_is_large_enough() -> None:
    assert len(hostile_frames.REJECTED) + len(hostile_frames.ACCEPTED) >= 60


@pytest.mark.parametrize("name", hostile_frames.REJECTED)
def test_a_hostile_frame_is_rejected_with_its_reason(name: str) -> None:
    frame = hostile_frames.REJECTED[name]
    events = parse(frame)
    assert len(events) == 1
    event = events[0]
    assert isinstance(event, MalformedEvent), event
    assert event.raw == as_given(frame)


def as_given(frame: str | bytes) -> Any:
    """Return the element itself where JSON can be read, else the frame."""
    try:
        text = frame if isinstance(frame, str) else frame.decode()
        value = json.loads(text, parse_constant=lambda _: 1 / 0)
        text.encode()
        json.dumps(value, ensure_ascii=False).encode()
    except (ValueError, RecursionError, ZeroDivisionError):
        # What cannot be read may be the frame, or the one element of its array.
        return AnyOf(frame, frame[1:-1])
    return AnyOf(value[0] if isinstance(value, list) and value else value, frame)


class AnyOf:
    """Equal to each of some values, as bytes or text, with or without a BOM."""

    def __init__(self, *values: Any) -> None:
        self.values = values

    def __eq__(self, other: object) -> bool:
        return any(other == each or _text(other) == _text(each) for each in self.values)

    __hash__ = None  # type: ignore[assignment]

    def __repr__(self) -> str:
        return f"any of {self.values!r:.300}"


def _text(value: object) -> object:
    if isinstance(value, bytes):
        value = value.decode("utf-8", "replace")
    return value.strip().lstrip("\ufeff") if isinstance(value, str) else value


@pytest.mark.parametrize("name", hostile_frames.ACCEPTED)
def test_a_strange_but_right_frame_is_accepted(name: str) -> None:
    frame, count = hostile_frames.ACCEPTED[name]
    events = parse(frame)
    assert len(events) == count
    assert all(isinstance(event, get_args(WireEvent)) for event in events)


def test_the_big_book_is_big_and_whole() -> None:
    frame, _ = hostile_frames.ACCEPTED["1.3 MiB book"]
    assert len(frame) > 1.3 * 2**20
    (book,) = parse(frame)
    assert isinstance(book, Book)
    assert len(book.bids) == 33_000
    assert book.bids[-1].price == Decimal("0.032999")


@pytest.mark.parametrize("bad", ['"\\ud800"', "[" * 2_000 + "]" * 2_000])
def test_what_no_decoder_reads_costs_none_of_its_neighbours(bad: str) -> None:
    events = parse(f"[{hostile_frames.BOOK},{bad},{hostile_frames.TRADE}]")
    assert [event.event_type for event in events] == [
        "book",
        "malformed",
        "last_trade_price",
    ]


def test_20_000_mutated_frames_raise_nothing() -> None:
    rng = random.Random(20_261_121)
    seen = Counter[str]()
    for _ in range(MUTATED_FRAMES):
        frame = hostile_frames.mutated(rng)
        for event in parse(frame):
            kind = event.event_type
            seen[kind if kind in wire.ALL else type(event).__name__] += 1
    # Not all were broken, and not all survived: the wounds are of the right size.
    assert seen["MalformedEvent"] > MUTATED_FRAMES / 4
    assert seen["UnknownEvent"] > 20
    assert all(seen[event_type] > 200 for event_type in wire.ALL), seen


@fixed
@given(st.text())
def test_any_text_is_parsed(frame: str) -> None:
    parse(frame)


@fixed
@given(st.text(st.characters(codec=None)))
def test_text_that_cannot_be_encoded_is_parsed(frame: str) -> None:
    parse(frame)


@fixed
@given(st.binary())
def test_any_bytes_are_parsed(frame: bytes) -> None:
    parse(frame)


JSON_VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=8),
    lambda inner: (
        st.lists(inner, max_size=4)
        | st.dictionaries(
            st.sampled_from(["event_type", "market", "price_changes", "x"])
            | st.text(max_size=5),
            inner,
            max_size=4,
        )
    ),
    max_leaves=12,
)


@fixed
@given(JSON_VALUES)
def test_any_json_is_parsed(value: Any) -> None:
    events = parse(json.dumps(value))
    if isinstance(value, list) and not _has_odd_text(value):
        assert len(events) == len(value)


def _has_odd_text(value: Any) -> bool:
    """Whether the JSON cannot be split: NaN, Infinity, lone surrogates."""
    try:
        json.dumps(value, allow_nan=False, ensure_ascii=False).encode()
    except ValueError:
        return True
    return False


ODD_FIELDS = (
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(st.characters(codec="utf-8"), max_size=6)
    | st.decimals().map(str)
    | st.sampled_from(["", "0", "1", ".48", "0.5", "BUY", "NaN", "1e-400", "-0"])
    | st.lists(st.dictionaries(st.sampled_from(["price", "size", "side"]), st.text()))
)


@st.composite
def near_valid_events(draw: st.DrawFn) -> wire.Fields:
    """Draw an event of a known type with some fields replaced, dropped or added."""
    fields = dict(draw(st.sampled_from(list(wire.ALL.values()))))
    for key in draw(st.lists(st.sampled_from(sorted(fields)), max_size=3)):
        if draw(st.booleans()):
            fields[key] = draw(ODD_FIELDS)
        else:
            fields.pop(key, None)
    return fields


@fixed
@given(st.lists(near_valid_events(), min_size=1, max_size=4))
def test_near_valid_events_are_judged_one_by_one(elements: list[wire.Fields]) -> None:
    together = list(parse(json.dumps(elements)))
    assert len(together) == len(elements)
    alone = [parse(json.dumps(element))[0] for element in elements]
    for one, other, element in zip(together, alone, elements, strict=True):
        assert type(one) is type(other)
        if isinstance(one, MalformedEvent):
            assert one.raw == element
        else:
            assert one == other
            assert one.event_type == element.get("event_type", one.event_type)


PRICES = st.decimals(0, 1, places=4).map(lambda price: f"{price:f}")
SIZES = st.decimals(0, 10**9, places=6).map(lambda size: f"{size:f}")


@fixed
@given(st.lists(st.tuples(PRICES, SIZES), max_size=20))
def test_every_written_level_is_read_to_the_digit(rows: list[tuple[str, str]]) -> None:
    bids = [{"price": price, "size": size} for price, size in rows]
    (book,) = parse(wire.frame(wire.BOOK, bids=bids))
    assert isinstance(book, Book)
    assert [(str(level.price), str(level.size)) for level in book.bids] == [
        (str(Decimal(price)), str(Decimal(size))) for price, size in rows
    ]
