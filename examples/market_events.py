"""Typed events of the market channel, and the parser that makes them.

`parse_market_frame` takes one frame and never raises: a frame may hold one event or
an array, each element stands on its own, unknown types are kept and unusable ones
say why. Prices and sizes are `Decimal` straight from the wire's strings, times are
integer milliseconds, and `""` on the wire is `None` here.

Pure: no I/O and no clock.

Copy with: wire_numbers.py.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from decimal import Decimal, InvalidOperation
from typing import Annotated, Any, ClassVar, Literal, NamedTuple, TypeAlias

import msgspec

from wire_numbers import PRICE_OF, is_number, require_sizes


MARKET_URL = "wss://ws-subscriptions-clob.polymarket.com/ws/market"
CONTROL_TEXTS = frozenset({"PING", "PONG", "NO NEW ASSETS", "INVALID OPERATION"})

Side: TypeAlias = Literal["BUY", "SELL"]
# Never empty: `""` fails here, and the slow way then reads it as absent.
Text: TypeAlias = Annotated[str, msgspec.Meta(min_length=1)]

_ZERO, _ONE = Decimal(0), Decimal(1)
# Far more than exist; sums of larger numbers would overflow.
_MOST_SHARES = Decimal(10) ** 18
_RENAMED = {
    "condition_id": "market",
    "asset_ids": "assets_ids",
    "timestamp_ms": "timestamp",
}


class Level(
    msgspec.Struct,
    frozen=True,
    gc=False,
    rename={"price_text": "price", "size_text": "size"}.get,
):
    """All that rests at one price, in the wire's own texts and as exact numbers.

    Numbers that cannot be, such as a negative size or a price over 1, are refused in
    this module with `ValueError`, so that none ever reaches a book.
    """

    price_text: str
    size_text: str

    @property
    def price(self) -> Decimal:
        """USD per share, 0 to 1."""
        return PRICE_OF[self.price_text]

    @property
    def size(self) -> Decimal:
        """Shares."""
        return Decimal(self.size_text)


class LevelChange(
    msgspec.Struct,
    frozen=True,
    gc=False,
    rename={
        "price_text": "price",
        "size_text": "size",
        "best_bid_text": "best_bid",
        "best_ask_text": "best_ask",
    }.get,
):
    """One entry of a `price_change`: the level's new total, not a difference.

    `side` BUY is the bid side. `size` zero removes the level. `best_bid` and
    `best_ask` are the top of the book after the change (an empty side is 0 or 1),
    `hash` is the digest of the whole book after it.
    """

    asset_id: Text
    price_text: str
    side: Side
    size_text: str | None = None
    hash: Text | None = None
    best_bid_text: str | None = None
    best_ask_text: str | None = None

    def __post_init__(self) -> None:
        """Refuse impossible numbers."""
        _ = PRICE_OF[self.price_text]
        if self.best_bid_text is not None:
            _ = PRICE_OF[self.best_bid_text]
        if self.best_ask_text is not None:
            _ = PRICE_OF[self.best_ask_text]
        if self.size_text is not None and not is_number(self.size_text):
            raise ValueError(f"not a size: {self.size_text!r:.40}")

    @property
    def price(self) -> Decimal:
        """The level that changed, in USD per share."""
        return PRICE_OF[self.price_text]

    @property
    def size(self) -> Decimal | None:
        """What rests there now, in shares; None if the venue did not say."""
        return None if self.size_text is None else Decimal(self.size_text)

    @property
    def best_bid(self) -> Decimal | None:
        """The highest bid after the change; None if the venue did not say."""
        return None if self.best_bid_text is None else PRICE_OF[self.best_bid_text]

    @property
    def best_ask(self) -> Decimal | None:
        """The lowest ask after the change; None if the venue did not say."""
        return None if self.best_ask_text is None else PRICE_OF[self.best_ask_text]


class _Wire(
    msgspec.Struct,
    frozen=True,
    rename=_RENAMED.get,
    tag_field="event_type",
    kw_only=True,
):
    """What all seven events share. `timestamp_ms` is the venue's clock."""

    event_type: ClassVar[str] = ""
    condition_id: Text
    timestamp_ms: int


class Book(_Wire, frozen=True, tag="book"):
    """A full snapshot of one asset. Levels come worst first: the best is the last.

    `tick_size` and `last_trade_price` come only with the first book after a
    subscription; `version` only with Protocol V2 markets.
    """

    event_type: ClassVar[str] = "book"
    asset_id: Text
    bids: tuple[Level, ...]
    asks: tuple[Level, ...]
    hash: Text | None = None
    tick_size: Decimal | None = None
    last_trade_price: Decimal | None = None
    version: Text | None = None

    def __post_init__(self) -> None:
        """Refuse impossible numbers."""
        _require_prices(self.tick_size, self.last_trade_price)
        for side in (self.bids, self.asks):
            _ = [PRICE_OF[level.price_text] for level in side]
            require_sizes([level.size_text for level in side])


class PriceChange(_Wire, frozen=True, tag="price_change"):
    """New totals of some levels, usually of both assets of the market."""

    event_type: ClassVar[str] = "price_change"
    price_changes: tuple[LevelChange, ...]


class LastTradePrice(_Wire, frozen=True, tag="last_trade_price"):
    """One trade; `side` is the taker's. There is no trade id.

    One `transaction_hash` can settle several of these, even equal in every value.
    """

    event_type: ClassVar[str] = "last_trade_price"
    asset_id: Text
    price: Decimal
    side: Side
    size: Decimal | None = None
    fee_rate_bps: Decimal | None = None
    transaction_hash: Text | None = None

    def __post_init__(self) -> None:
        """Refuse impossible numbers."""
        _require_prices(self.price)
        _require_size(self.size)
        _require_finite(self.fee_rate_bps)


class TickSizeChange(_Wire, frozen=True, tag="tick_size_change"):
    """The smallest price step changed; levels on the old grid can remain."""

    event_type: ClassVar[str] = "tick_size_change"
    asset_id: Text
    new_tick_size: Decimal
    old_tick_size: Decimal | None = None

    def __post_init__(self) -> None:
        """Refuse impossible numbers."""
        _require_prices(self.new_tick_size, self.old_tick_size)


class BestBidAsk(_Wire, frozen=True, tag="best_bid_ask"):
    """The top of a book, as a cross-check only: it may come late or not at all."""

    event_type: ClassVar[str] = "best_bid_ask"
    asset_id: Text
    best_bid: Decimal | None = None
    best_ask: Decimal | None = None
    spread: Decimal | None = None

    def __post_init__(self) -> None:
        """Refuse impossible numbers."""
        _require_prices(self.best_bid, self.best_ask)
        _require_finite(self.spread)


class NewMarket(_Wire, frozen=True, tag="new_market"):
    """A market was announced, to every connection that asked for custom features.

    All text in it is written by strangers: show it escaped, never act on it.
    """

    event_type: ClassVar[str] = "new_market"
    asset_ids: tuple[str, ...]
    id: Text | None = None
    question: Text | None = None
    slug: Text | None = None
    description: Text | None = None
    outcomes: tuple[str, ...] = ()
    clob_token_ids: tuple[str, ...] | None = None
    event_message: dict[str, Any] | None = None
    tags: tuple[str, ...] | None = None
    active: bool | None = None
    sports_market_type: Text | None = None
    line: Text | float | None = None
    game_start_time: Text | None = None
    order_price_min_tick_size: Decimal | None = None
    group_item_title: Text | None = None
    taker_base_fee: Decimal | None = None
    fees_enabled: bool | None = None
    fee_schedule: dict[str, Any] | None = None


class MarketResolved(_Wire, frozen=True, tag="market_resolved"):
    """A hint that a market settled. It is not always sent: check it over REST."""

    event_type: ClassVar[str] = "market_resolved"
    asset_ids: tuple[str, ...]
    winning_asset_id: Text | None = None
    winning_outcome: Text | None = None
    id: Text | None = None
    event_message: dict[str, Any] | None = None
    tags: tuple[str, ...] | None = None
    question: Text | None = None
    slug: Text | None = None


class UnknownEvent(msgspec.Struct, frozen=True):
    """An event of a type this module does not know, as it came."""

    event_type: str
    raw: Mapping[str, Any]


class MalformedEvent(msgspec.Struct, frozen=True):
    """A frame, or one element of it, that is no event. `raw` is what came."""

    event_type: ClassVar[str] = "malformed"
    reason: str
    raw: Any


class ControlFrame(msgspec.Struct, frozen=True):
    """A plain text frame such as `PONG`; `text` is one of `CONTROL_TEXTS`."""

    event_type: ClassVar[str] = "control"
    text: str


WireEvent: TypeAlias = (
    Book
    | PriceChange
    | LastTradePrice
    | TickSizeChange
    | BestBidAsk
    | NewMarket
    | MarketResolved
)
MarketEvent: TypeAlias = WireEvent | UnknownEvent | MalformedEvent | ControlFrame

# strict=False lets msgspec read the wire's "1766789469958" into an int.
_decode_frame = msgspec.json.Decoder(list[WireEvent] | WireEvent, strict=False).decode
# Strings, brackets and commas: enough to split an array without reading its elements.
_SPLITTER = re.compile(r'"(?:[^"\\]|\\.)*"|[\[\]{},]', re.DOTALL)
_decode_anything = msgspec.json.Decoder().decode

# All a hostile frame can raise: syntax and types, text that is no UTF-8, nesting
# deeper than the stack, numbers no Decimal holds.
_UNUSABLE = (msgspec.MsgspecError, ValueError, RecursionError, InvalidOperation)


def parse_market_frame(frame: str | bytes) -> Sequence[MarketEvent]:
    """Return the events of one frame, in wire order. Never raises.

    The empty array (nothing known among the requested assets) gives no events.
    """
    try:
        events = _decode_frame(frame)
    except _UNUSABLE:
        return _parse_slowly(frame)
    return events if type(events) is list else (events,)


def _parse_slowly(frame: str | bytes) -> Sequence[MarketEvent]:
    """Take apart a frame that is not wholly made of well-formed, known events."""
    try:
        text = (frame if isinstance(frame, str) else frame.decode()).strip()
        if text in CONTROL_TEXTS:
            return (ControlFrame(text),)
        # A byte order mark is legal at the start of a text, and some tools add it.
        elements = _split(text.removeprefix("\ufeff"))
    except _UNUSABLE as error:
        return (MalformedEvent(f"not JSON: {_brief(error)}", frame),)
    return [_parse_element(element) for element in elements]


def _split(text: str) -> list[str]:
    """Split an array into the texts of its elements, whatever they hold."""
    if not text.startswith("["):
        return [text]
    depth, start, elements = 0, 1, []
    for match in _SPLITTER.finditer(text):
        mark = match[0]
        depth += (mark in "[{") - (mark in "]}")
        if (mark == "," and depth == 1) or depth == 0:
            elements.append(text[start : match.start()].strip())
            start = match.end()
        if depth == 0:
            break
    if depth or start != len(text) or (not all(elements) and elements != [""]):
        raise ValueError("not one whole array")
    return [element for element in elements if element]


def _parse_element(text: str) -> MarketEvent:
    """Parse one element on its own, so that a bad one costs none of its neighbours."""
    try:
        element = _decode_anything(text)
    except _UNUSABLE as error:
        return MalformedEvent(f"not JSON: {_brief(error)}", text)
    if not isinstance(element, dict):
        return MalformedEvent("not an object", element)
    event_type = element.get("event_type", _type_by_shape(element))
    if not isinstance(event_type, str):
        return MalformedEvent("no event_type", element)
    if event_type not in _EVENT_CLASSES:
        return UnknownEvent(event_type, element)
    fields = _today(_without_blanks(element) | {"event_type": event_type})
    try:
        return msgspec.convert(fields, _EVENT_CLASSES[event_type], strict=False)
    except _UNUSABLE as error:
        return MalformedEvent(f"{event_type}: {_brief(error)}", element)


def _without_blanks(element: Mapping[str, Any]) -> dict[str, Any]:
    """Leave out what the venue sends as `""`, in the event and in its level changes."""
    kept = {key: value for key, value in element.items() if value != ""}
    changes = kept.get("price_changes")
    if isinstance(changes, list):
        kept["price_changes"] = [
            _without_blanks(change) if isinstance(change, dict) else change
            for change in changes
        ]
    return kept


def _today(fields: dict[str, Any]) -> dict[str, Any]:
    """Bring `price_change` of old recordings into today's shape.

    Until 2025-09-15 it was flat, or had one asset and a list `changes`.
    """
    if fields["event_type"] != "price_change" or "price_changes" in fields:
        return fields
    shared = {key: fields[key] for key in ("asset_id", "hash") if key in fields}
    changes = fields.get("changes", [fields])
    if isinstance(changes, list):
        fields["price_changes"] = [
            shared | _without_blanks(change) if isinstance(change, dict) else change
            for change in changes
        ]
    return fields


def _type_by_shape(element: Mapping[str, Any]) -> str | None:
    """Name the type of a recorded event whose `event_type` was cut off."""
    for event_type, keys in _SHAPES.items():
        if keys <= element.keys():
            return event_type
    return None


def _require_prices(*prices: Decimal | None) -> None:
    for price in prices:
        if price is not None and not (
            _ZERO <= price <= _ONE and len(f"{price}") <= 40 and price.adjusted() >= -18
        ):
            raise ValueError("a price lies outside 0..1, or has absurdly many digits")


def _require_finite(number: Decimal | None) -> None:
    if number is not None and not number.is_finite():
        raise ValueError("not a number")


def _require_size(size: Decimal | None) -> None:
    if size is not None and not _ZERO <= size <= _MOST_SHARES:
        raise ValueError("a size is negative or no number")


def _brief(error: BaseException) -> str:
    return (str(error) or type(error).__name__)[:200]


_EVENT_CLASSES: dict[str, type[WireEvent]] = {
    kind.event_type: kind
    for kind in (
        Book,
        PriceChange,
        LastTradePrice,
        TickSizeChange,
        BestBidAsk,
        NewMarket,
        MarketResolved,
    )
}
_SHAPES: dict[str, set[str]] = {
    "book": {"asset_id", "bids", "asks"},
    "price_change": {"market", "price_changes"},
    "tick_size_change": {"asset_id", "new_tick_size"},
    "last_trade_price": {"asset_id", "price", "side", "size", "fee_rate_bps"},
}


class PriceUpdate(NamedTuple):
    """The top of one asset's book after a change (a name of the first design)."""

    asset_id: str
    best_bid: Decimal | None
    best_ask: Decimal | None
    timestamp_ms: int


BookUpdate = Book
TradeEvent = LastTradePrice


def parse_wss_message(
    message: str | bytes,
) -> list[PriceUpdate | BookUpdate | TradeEvent]:
    """Return prices, books and trades of one frame; leave everything else out."""
    views: list[PriceUpdate | BookUpdate | TradeEvent] = []
    for event in parse_market_frame(message):
        if isinstance(event, PriceChange):
            tops = {change.asset_id: change for change in event.price_changes}
            views += [
                PriceUpdate(
                    change.asset_id,
                    change.best_bid,
                    change.best_ask,
                    event.timestamp_ms,
                )
                for change in tops.values()
            ]
        elif isinstance(event, BookUpdate | TradeEvent):
            views.append(event)
    return views
