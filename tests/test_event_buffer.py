"""A slow consumer loses no trade, and is told what else it did not see."""

from __future__ import annotations

import asyncio
import dataclasses
from collections.abc import Sequence
from contextlib import aclosing
from decimal import Decimal

import pytest

from event_buffer import (
    MAX_WAITING_EVENTS,
    AssetsEnded,
    BooksConflated,
    ConnectionChange,
    EventBuffer,
    FeedEvent,
    Gap,
)
from market_events import (
    BestBidAsk,
    Book,
    ControlFrame,
    LastTradePrice,
    LevelChange,
    MalformedEvent,
    MarketResolved,
    NewMarket,
    PriceChange,
    TickSizeChange,
    UnknownEvent,
)


HALF = Decimal("0.5")


def trade(number: int, asset_id: str = "a") -> LastTradePrice:
    return LastTradePrice(
        condition_id="0x1",
        timestamp_ms=number,
        asset_id=asset_id,
        price=HALF,
        side="BUY",
    )


def book(asset_id: str, number: int = 0) -> Book:
    return Book(
        condition_id="0x1", timestamp_ms=number, asset_id=asset_id, bids=(), asks=()
    )


def change(*asset_ids: str) -> PriceChange:
    entries = tuple(LevelChange(each, "0.5", "BUY") for each in asset_ids)
    return PriceChange(condition_id="0x1", timestamp_ms=0, price_changes=entries)


def top(asset_id: str) -> BestBidAsk:
    return BestBidAsk(condition_id="0x1", timestamp_ms=0, asset_id=asset_id)


KEPT: list[FeedEvent] = [
    trade(1),
    Gap(("a",), 1, None, "lost"),
    AssetsEnded(("a",), "resolved"),
    ConnectionChange(is_up=True, open_count=1, reason=""),
    TickSizeChange(
        condition_id="0x1", timestamp_ms=0, asset_id="a", new_tick_size=HALF
    ),
    NewMarket(condition_id="0x1", timestamp_ms=0, asset_ids=("a",)),
    MarketResolved(condition_id="0x1", timestamp_ms=0, asset_ids=("a",)),
    UnknownEvent("future", {}),
    MalformedEvent("why", "raw"),
    ControlFrame("PONG"),
]


async def start_reading(
    buffer: EventBuffer, into: list[FeedEvent]
) -> asyncio.Task[None]:
    async def read() -> None:
        async for event in buffer.read():
            into.append(event)

    task = asyncio.create_task(read())
    await asyncio.sleep(0)
    return task


async def rest_of(buffer: EventBuffer) -> list[FeedEvent]:
    buffer.close()
    return [event async for event in buffer.read()]


def used_buffer(capacity: int) -> EventBuffer:
    """Return a buffer whose consumer has begun, and is busy elsewhere."""
    buffer = EventBuffer(capacity)
    buffer.is_used = True
    return buffer


def test_the_default_capacity_is_published() -> None:
    assert EventBuffer().capacity == MAX_WAITING_EVENTS == 10_000


async def test_nothing_is_kept_for_nobody() -> None:
    buffer = EventBuffer()
    buffer.put([trade(1)])
    assert (len(buffer), buffer.is_used) == (0, False)
    got: list[FeedEvent] = []
    task = await start_reading(buffer, got)
    assert buffer.is_used
    buffer.put([trade(2)])
    buffer.close()
    await task
    assert got == [trade(2)]


async def test_events_come_out_in_the_order_they_went_in() -> None:
    buffer = EventBuffer()
    got: list[FeedEvent] = []
    task = await start_reading(buffer, got)
    events: list[FeedEvent] = [book("a"), trade(1), change("a"), *KEPT, top("a")]
    buffer.put(events[:2])
    await asyncio.sleep(1)
    assert got == events[:2]
    buffer.put([])
    buffer.put(events[2:5])
    buffer.put(iter(events[5:]))
    await asyncio.sleep(1)
    assert got == events
    assert not task.done()
    buffer.close()
    await task
    assert got == events


async def test_a_full_buffer_drops_only_what_moved_books_and_says_so() -> None:
    buffer = used_buffer(100)
    movers: list[FeedEvent] = [book("a"), change("b", "c"), top("d"), change("b")]
    for mover, kept in zip(movers * 25, KEPT * 10, strict=True):
        pair: list[FeedEvent] = [mover, kept]
        buffer.put(pair if len(buffer) % 2 else pair[::-1])
    got = await rest_of(buffer)
    told = [event for event in got if isinstance(event, BooksConflated)]
    moved = [e for e in got if isinstance(e, Book | PriceChange | BestBidAsk)]
    assert [e for e in got if e not in told and e not in moved] == KEPT * 10
    assert sum(event.event_count for event in told) == 100 - len(moved)
    assert buffer.conflated_count == 100 - len(moved) > 0


async def test_the_consumer_is_told_which_books_moved_and_how_often() -> None:
    buffer = used_buffer(4)
    buffer.put([book("a"), trade(1), change("b", "c"), top("d")])
    assert len(buffer) == 4
    buffer.put([change("b")])
    assert await rest_of(buffer) == [
        trade(1),
        BooksConflated(frozenset("abcd"), 4),
    ]
    assert buffer.conflated_count == 4


async def test_a_second_conflation_adds_to_the_first() -> None:
    buffer = used_buffer(3)
    buffer.put([book("a"), book("a"), book("b"), book("b")])
    buffer.put([trade(1), book("c"), change("d")])
    assert await rest_of(buffer) == [
        trade(1),
        BooksConflated(frozenset("abcd"), 6),
    ]
    assert buffer.conflated_count == 6


async def test_exactly_the_capacity_is_not_too_much() -> None:
    buffer = used_buffer(3)
    events: list[FeedEvent] = [book("a"), book("b"), change("c")]
    buffer.put(events)
    assert await rest_of(buffer) == events
    assert buffer.conflated_count == 0


async def test_nothing_is_said_when_nothing_was_dropped() -> None:
    buffer = used_buffer(3)
    trades = [trade(number) for number in range(9)]
    buffer.put(trades)
    assert await rest_of(buffer) == trades


async def test_the_reader_waits_when_even_trades_fill_the_buffer() -> None:
    buffer = used_buffer(8)
    buffer.put([trade(number) for number in range(8)])
    assert not buffer.is_full
    await asyncio.wait_for(buffer.wait_for_room(), 1)
    buffer.put([trade(8)])
    assert buffer.is_full
    with pytest.raises(TimeoutError):
        await asyncio.wait_for(buffer.wait_for_room(), 5)


async def test_dropping_books_makes_room_enough() -> None:
    buffer = used_buffer(8)
    buffer.put([trade(number) for number in range(3)])
    buffer.put([book("a")] * 6)
    assert not buffer.is_full
    assert len(buffer) == 4


@pytest.mark.parametrize("capacity", [1, 2, 3, 8, 100])
async def test_the_reader_goes_on_when_the_consumer_has_caught_up(
    capacity: int,
) -> None:
    buffer = used_buffer(capacity)
    count = capacity + 1
    buffer.put([trade(number) for number in range(count)])
    assert buffer.is_full
    left_when_room = -1
    async with aclosing(buffer.read()) as events:
        for _ in range(count):
            await anext(events)
            if not buffer.is_full:
                left_when_room = len(buffer)
                break
    assert 0 <= left_when_room <= max(capacity // 4, 0)
    assert left_when_room >= capacity // 4 - 1
    await asyncio.wait_for(buffer.wait_for_room(), 1)


async def test_a_producer_that_waits_for_room_loses_nothing() -> None:
    buffer, got = EventBuffer(10), list[FeedEvent]()
    sent = [trade(number) for number in range(500)]

    async def produce(events: Sequence[FeedEvent]) -> None:
        for event in events:
            await buffer.wait_for_room()
            buffer.put([event, book("a")])
            assert len(buffer) <= 14
        buffer.close()

    async def consume() -> None:
        async for event in buffer.read():
            got.append(event)
            await asyncio.sleep(0.01)

    consumer = asyncio.create_task(consume())
    await asyncio.sleep(0)
    await produce(sent)
    await consumer
    assert [event for event in got if isinstance(event, LastTradePrice)] == sent
    told = [event for event in got if isinstance(event, BooksConflated)]
    books = [event for event in got if isinstance(event, Book)]
    assert sum(event.event_count for event in told) + len(books) == 500
    assert told


async def test_closing_ends_the_reading_after_what_waits() -> None:
    buffer = used_buffer(10)
    buffer.put([trade(1), trade(2)])
    buffer.close()
    assert [event async for event in buffer.read()] == [trade(1), trade(2)]
    buffer.raise_error()


async def test_closing_wakes_everybody() -> None:
    buffer = EventBuffer(2)
    got: list[FeedEvent] = []
    task = await start_reading(buffer, got)
    buffer.close()
    await asyncio.wait_for(task, 1)
    full = used_buffer(2)
    full.put([trade(number) for number in range(5)])
    waiting = asyncio.create_task(full.wait_for_room())
    await asyncio.sleep(0)
    full.close()
    await asyncio.wait_for(waiting, 1)


async def test_an_error_is_raised_after_what_waits() -> None:
    buffer = used_buffer(10)
    buffer.put([trade(1)])
    buffer.close(OSError("the first"))
    buffer.close(OSError("another"))
    buffer.close()
    events = buffer.read()
    assert await anext(events) == trade(1)
    with pytest.raises(OSError, match="the first"):
        await anext(events)
    with pytest.raises(OSError, match="the first"):
        buffer.raise_error()


@pytest.mark.parametrize(
    ("event", "event_type"),
    [
        (KEPT[1], "gap"),
        (KEPT[2], "assets_ended"),
        (KEPT[3], "connection_change"),
        (BooksConflated(frozenset(), 0), "books_conflated"),
    ],
)
def test_the_feeds_own_events_have_a_type_and_cannot_be_changed(
    event: FeedEvent, event_type: str
) -> None:
    assert event.event_type == event_type
    for field in dataclasses.fields(event):
        with pytest.raises(dataclasses.FrozenInstanceError):
            setattr(event, field.name, None)
