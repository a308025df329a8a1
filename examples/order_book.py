"""One asset's bids and asks, with exact prices, and whether they may be believed.

Feed it from the market channel: `replace` with each `book`, then for each entry of a
`price_change` `set_level`, and `confirm` after the last entry of the asset in that
frame. A book is worth nothing before its first snapshot, and again after anything
that can make it wrong; `why_untrusted` then says what, until the next snapshot.

Pure: no I/O and no clock. Prices (USD per share) and sizes (shares) go in as the
wire's texts and come out as `Decimal`.

Copy with: wire_numbers.py.
"""

from __future__ import annotations

import hashlib
import json
from bisect import bisect_left
from collections.abc import Mapping
from dataclasses import dataclass, replace
from decimal import Decimal
from operator import lt
from typing import Literal, TypeAlias

from wire_numbers import PRICE_OF, is_zero


Side: TypeAlias = Literal["BUY", "SELL"]
PriceAndSize: TypeAlias = tuple[Decimal, Decimal]

NO_BOOK_YET = "no book yet on this connection"

# The venue repeats a change within 120 ms, and was seen 0.6 s out of order. What is
# older than this is no latecomer: then its clock has moved.
LATE_BY_MS = 2_000

# What `Decimal` computes with by default; the venue writes no longer numbers.
MAX_DIGITS = 28

_NO_BID, _NO_ASK = Decimal(0), Decimal(1)


@dataclass(frozen=True, slots=True)
class HashFields:
    """What the venue's book hash covers beyond the stream; REST `/book` has it.

    The strings stay as REST wrote them: the hash is taken over their characters.
    """

    min_order_size: str
    tick_size: str
    neg_risk: bool


class BookSide:
    """The levels of one side, sorted by price, in lists side by side."""

    __slots__ = ("_changed_ms", "_removed_ms", "_since_ms", "prices", "sizes")

    def __init__(self, levels: Mapping[str, str], since_ms: int = 0) -> None:
        prices, sizes = [PRICE_OF[price] for price in levels], list(levels.values())
        if prices and prices[0] > prices[-1]:
            prices.reverse()  # the venue sends bids upwards and asks downwards
            sizes.reverse()
        # Almost never: a size that may be zero, no order, one price in two spellings.
        if min(sizes, default="1") < "1" or not all(map(lt, prices, prices[1:])):
            rows = dict(zip(prices, sizes, strict=True))
            prices = sorted(price for price, size in rows.items() if not is_zero(size))
            sizes = [rows[price] for price in prices]
        self.prices, self.sizes = prices, sizes
        self._since_ms = since_ms
        self._changed_ms = [since_ms] * len(prices)
        self._removed_ms: dict[Decimal, int] = {}

    def levels(self) -> list[PriceAndSize]:
        """Return the levels, the lowest price first."""
        return list(zip(self.prices, map(Decimal, self.sizes), strict=True))

    def set(self, price_text: str, size: str, timestamp_ms: int) -> None:
        """Make `size` the level's new total, zero removes it; skip a late change."""
        price = PRICE_OF[price_text]
        index = bisect_left(self.prices, price)
        exists = index < len(self.prices) and self.prices[index] == price
        newest_ms = (
            self._changed_ms[index]
            if exists
            else self._removed_ms.get(price, self._since_ms)
        )
        if timestamp_ms < newest_ms <= timestamp_ms + LATE_BY_MS:
            return
        if is_zero(size):
            self._removed_ms[price] = timestamp_ms
            if exists:
                del self.prices[index], self.sizes[index], self._changed_ms[index]
        elif exists:
            self.sizes[index], self._changed_ms[index] = size, timestamp_ms
        else:
            self.prices.insert(index, price)
            self.sizes.insert(index, size)
            self._changed_ms.insert(index, timestamp_ms)


class Levels:
    """Both sides of a book, to read."""

    def __init__(self) -> None:
        self._bids = BookSide({})
        self._asks = BookSide({})

    @property
    def best_bid(self) -> Decimal | None:
        """The highest price somebody pays; None without bids."""
        prices = self._bids.prices
        return prices[-1] if prices else None

    @property
    def best_ask(self) -> Decimal | None:
        """The lowest price somebody sells at; None without asks."""
        prices = self._asks.prices
        return prices[0] if prices else None

    @property
    def mid(self) -> Decimal | None:
        """Half way between the best prices; None unless both sides have one."""
        if self.best_bid is None or self.best_ask is None:
            return None
        return (self.best_bid + self.best_ask) / 2

    @property
    def spread(self) -> Decimal | None:
        """Best ask minus best bid; None unless both sides have one."""
        if self.best_bid is None or self.best_ask is None:
            return None
        return self.best_ask - self.best_bid

    @property
    def bids(self) -> list[PriceAndSize]:
        """Bids as (price, size), best first."""
        return self._bids.levels()[::-1]

    @property
    def asks(self) -> list[PriceAndSize]:
        """Asks as (price, size), best first."""
        return self._asks.levels()

    def depth(self, side: Side, within: Decimal | None = None) -> Decimal:
        """Return the shares resting on a side, at most `within` (USD) off its best."""
        levels = self.bids if side == "BUY" else self.asks
        best = levels[0][0] if levels else _NO_BID
        return sum(
            (
                size
                for price, size in levels
                if within is None or abs(price - best) <= within
            ),
            start=Decimal(0),
        )


class OrderBook(Levels):
    """All levels of one asset, and `why_untrusted` when they may be wrong.

    `timestamp_ms` is the venue's time of the newest event applied, `hash` the venue's
    digest of the book after it, `verified_ms` the last moment the book was known to
    be complete: its newest snapshot, or the newest change whose hash came out right.
    """

    def __init__(self, asset_id: str) -> None:
        super().__init__()
        self.asset_id = asset_id
        self.condition_id = ""
        self.timestamp_ms = 0
        self.verified_ms = 0
        self.update_count = 0
        self.hash: str | None = None
        self.tick_size: Decimal | None = None
        self.last_trade_price: Decimal | None = None
        self.version: str | None = None
        self.hash_fields: HashFields | None = None
        self.why_untrusted: str | None = NO_BOOK_YET
        self._seen_hashes: set[str] = set()

    @property
    def has_book(self) -> bool:
        """Whether a snapshot has come since the start or the last `invalidate`."""
        return self.why_untrusted is not NO_BOOK_YET

    @property
    def is_trusted(self) -> bool:
        """Whether nothing speaks against these levels."""
        return self.why_untrusted is None

    def replace(
        self,
        bids: Mapping[str, str],
        asks: Mapping[str, str],
        *,
        timestamp_ms: int,
        condition_id: str = "",
        book_hash: str | None = None,
        tick_size: Decimal | None = None,
        last_trade_price: Decimal | None = None,
        version: str | None = None,
    ) -> None:
        """Take a snapshot: price to size. Nothing of the old levels stays.

        Raises:
            ValueError: a price or size is no plain number; nothing has changed then.

        """
        self._bids = BookSide(bids, timestamp_ms)
        self._asks = BookSide(asks, timestamp_ms)
        self.timestamp_ms = self.verified_ms = timestamp_ms
        self._seen_hashes.clear()
        self.hash = book_hash
        # Only the first book after a subscription carries the next four.
        self.condition_id = condition_id or self.condition_id
        if tick_size is not None:
            self._take_tick_size(tick_size)
        self.last_trade_price = last_trade_price or self.last_trade_price
        self.version = version or self.version
        self.update_count += 1
        self.why_untrusted = None
        self._distrust_if_crossed()

    def set_level(
        self, side: Side, price: str, size: str | None, timestamp_ms: int
    ) -> None:
        """Set one level to its new total. Ignored before the first snapshot."""
        if self.why_untrusted is NO_BOOK_YET:
            return
        if size is None:
            self.distrust("a change came without a size")
        elif side == "BUY":
            self._bids.set(price, size, timestamp_ms)
        else:
            self._asks.set(price, size, timestamp_ms)

    def confirm(
        self,
        best_bid: str | None,
        best_ask: str | None,
        timestamp_ms: int,
        book_hash: str | None = None,
    ) -> None:
        """Close a change: note its time and hash, compare tops with the venue's.

        `best_bid` 0 and `best_ask` 1 (or 0) are the wire's words for an empty side;
        None means the venue did not say.
        """
        self.update_count += 1
        if self.why_untrusted is NO_BOOK_YET:
            return
        if timestamp_ms < self.timestamp_ms <= timestamp_ms + LATE_BY_MS:
            return  # its top and its hash are those of an older book
        if timestamp_ms != self.timestamp_ms:
            self._seen_hashes.clear()
            self.timestamp_ms = timestamp_ms
        self.hash = book_hash
        if book_hash is not None:
            self._seen_hashes.add(book_hash)
        bids, asks = self._bids.prices, self._asks.prices
        own_bid = bids[-1] if bids else _NO_BID
        own_ask = asks[0] if asks else _NO_ASK
        venue_bid = own_bid if best_bid is None else PRICE_OF[best_bid]
        if best_ask is None:
            venue_ask = own_ask
        else:
            # 0 for an empty side comes, too, from one source.
            venue_ask = PRICE_OF[best_ask] or (_NO_BID if asks else _NO_ASK)
        if own_bid != venue_bid or own_ask != venue_ask:
            self.distrust(
                f"diverged: own top {own_bid}/{own_ask}, venue {best_bid}/{best_ask}"
            )
        if own_bid >= own_ask:
            self._distrust_if_crossed()

    def has_seen(self, book_hash: str | None, timestamp_ms: int) -> bool:
        """Whether this state was reached before in the newest millisecond.

        Then it is a repeat, and a change of the same millisecond may have followed.
        """
        return timestamp_ms == self.timestamp_ms and book_hash in self._seen_hashes

    def note_trade(self, price: Decimal) -> None:
        """Remember the price of the newest trade; the book's hash covers it."""
        self.update_count += 1
        self.last_trade_price = price

    def change_tick_size(self, tick_size: Decimal) -> None:
        """Take a new tick size. Levels on the old grid may stay: distrust them."""
        self.update_count += 1
        self._take_tick_size(tick_size)
        self.distrust(f"tick size became {tick_size}: levels may be on the old grid")

    def _take_tick_size(self, tick_size: Decimal) -> None:
        if self.hash_fields is not None and tick_size != self.tick_size:
            self.hash_fields = replace(self.hash_fields, tick_size=_plain(tick_size))
        self.tick_size = tick_size

    def distrust(self, why: str) -> None:
        """Mark the levels as possibly wrong; the first reason stays."""
        if self.why_untrusted is None:
            self.why_untrusted = why

    def invalidate(self) -> None:
        """Forget the levels: the connection they came over is gone."""
        self._bids, self._asks = BookSide({}), BookSide({})
        self.why_untrusted = NO_BOOK_YET

    def _distrust_if_crossed(self) -> None:
        bids, asks = self._bids.prices, self._asks.prices
        if bids and asks and bids[-1] >= asks[0]:
            self.distrust(f"crossed: bid {bids[-1]} meets ask {asks[0]}")

    def verify_hash(self) -> bool | None:
        """Compare the book's own hash with the venue's; None if it cannot be known.

        A right hash moves `verified_ms` up. A wrong one proves nothing at once: a
        trade enters the hash before it is announced.
        """
        if self.hash is None or self.hash_fields is None or not self.has_book:
            return None
        is_right = any(
            compute_hash(self, self.hash_fields, spelling) == self.hash
            for spelling in self._spellings_of_last_trade()
        )
        if is_right:
            self.verified_ms = self.timestamp_ms
        return is_right

    def _spellings_of_last_trade(self) -> list[str]:
        """Return how the venue may have spelt the price that the hash covers.

        Books were seen to pad it to the tick size (`0.140`), trades not to (`0.14`).
        """
        price = self.last_trade_price
        if price is None:
            return [""]
        spellings = [_plain(price)]
        if self.tick_size is not None and len(spellings[0]) < MAX_DIGITS:
            exponent = min(
                self.tick_size.as_tuple().exponent, price.as_tuple().exponent
            )
            spellings.append(_plain(price.quantize(Decimal((0, (1,), int(exponent))))))
        return list(dict.fromkeys(spellings))


def compute_hash(book: OrderBook, fields: HashFields, last_trade_price: str) -> str:
    """Return the venue's digest of a book: SHA-1 of a fixed JSON text.

    Key order, compact form and worst-first levels as the venue writes them.
    """
    content: dict[str, object] = {
        "market": book.condition_id,
        "asset_id": book.asset_id,
        "timestamp": str(book.timestamp_ms),
        "hash": "",
        "bids": [_as_wire(level) for level in reversed(book.bids)],
        "asks": [_as_wire(level) for level in reversed(book.asks)],
        "min_order_size": fields.min_order_size,
        "tick_size": fields.tick_size,
        "neg_risk": fields.neg_risk,
        "last_trade_price": last_trade_price,
    }
    if book.version is not None:
        content["version"] = book.version
    text = json.dumps(content, separators=(",", ":"), ensure_ascii=False)
    return hashlib.sha1(text.encode(), usedforsecurity=False).hexdigest()


def _as_wire(level: PriceAndSize) -> dict[str, str]:
    price, size = level
    return {"price": _plain(price), "size": _plain(size)}


def _plain(number: Decimal | None) -> str:
    """Write a number as the wire does: never with an exponent, `""` for none."""
    if number is None:
        return ""
    # A hostile exponent would fill the memory with zeros.
    is_sane = abs(int(number.as_tuple().exponent)) < MAX_DIGITS
    return f"{number:f}" if is_sane else str(number)
