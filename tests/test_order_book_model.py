"""After any sequence of events a book equals a naive model of it."""

from __future__ import annotations

import hashlib
import json
from decimal import Decimal
from typing import Any, Literal

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from order_book import HashFields, OrderBook


# Few prices, so that levels meet; some not on any grid of ten.
PRICES = st.sampled_from([Decimal(n) / 400 for n in range(0, 401, 25)])
SIZES = st.sampled_from([Decimal(text) for text in ("0", "0.00", "1", "2.5", "1000")])
ROWS = st.dictionaries(PRICES, SIZES, max_size=8)
SIDES: st.SearchStrategy[Literal["BUY", "SELL"]] = st.sampled_from(["BUY", "SELL"])
FIELDS = HashFields("5", "0.0025", neg_risk=True)


class NaiveBook:
    """Two dicts, sorted whenever somebody asks."""

    def __init__(self) -> None:
        self.levels: dict[str, dict[Decimal, Decimal]] = {"BUY": {}, "SELL": {}}
        self.has_book = False
        self.is_doubtful = False

    def rows(self, side: str) -> list[tuple[Decimal, Decimal]]:
        live = [(p, s) for p, s in self.levels[side].items() if s != 0]
        return sorted(live, reverse=side == "BUY")

    def top(self, side: str) -> Decimal | None:
        rows = self.rows(side)
        return rows[0][0] if rows else None

    @property
    def is_crossed(self) -> bool:
        bid, ask = self.top("BUY"), self.top("SELL")
        return bid is not None and ask is not None and bid >= ask

    def digest(self, timestamp_ms: int) -> str:
        def wire(side: str) -> list[dict[str, str]]:
            rows = reversed(self.rows(side))
            return [{"price": f"{p:f}", "size": f"{s:f}"} for p, s in rows]

        content: dict[str, Any] = {
            "market": "0xc",
            "asset_id": "7",
            "timestamp": str(timestamp_ms),
            "hash": "",
            "bids": wire("BUY"),
            "asks": wire("SELL"),
            "min_order_size": "5",
            "tick_size": "0.0025",
            "neg_risk": True,
            "last_trade_price": "",
        }
        text = json.dumps(content).replace(": ", ":").replace(", ", ",")
        return hashlib.sha1(text.encode(), usedforsecurity=False).hexdigest()


def text(number: Decimal) -> str:
    return f"{number:f}"


class BookAgainstModel(RuleBasedStateMachine):
    """Snapshots, changes, doubts and losses in any order, time moving forward."""

    def __init__(self) -> None:
        super().__init__()
        self.book = OrderBook("7")
        self.book.hash_fields = FIELDS
        self.model = NaiveBook()
        self.now_ms = 1_000

    def tick(self, step_ms: int) -> int:
        self.now_ms += step_ms
        return self.now_ms

    @rule(bids=ROWS, asks=ROWS, step_ms=st.integers(0, 5_000))
    def snapshot(
        self, bids: dict[Decimal, Decimal], asks: dict[Decimal, Decimal], step_ms: int
    ) -> None:
        self.model.levels = {"BUY": dict(bids), "SELL": dict(asks)}
        self.model.has_book = True
        self.model.is_doubtful = self.model.is_crossed
        self.book.replace(
            {text(price): text(size) for price, size in bids.items()},
            {text(price): text(size) for price, size in asks.items()},
            timestamp_ms=self.tick(step_ms),
            condition_id="0xc",
            book_hash=self.model.digest(self.now_ms),
        )

    @rule(
        entries=st.lists(st.tuples(SIDES, PRICES, SIZES), min_size=1, max_size=4),
        step_ms=st.integers(0, 50),
        lie=st.sampled_from([None, None, None, None, "bid", "ask"]),
        says_tops=st.booleans(),
    )
    def change(
        self,
        entries: list[tuple[Literal["BUY", "SELL"], Decimal, Decimal]],
        step_ms: int,
        lie: str | None,
        says_tops: bool,
    ) -> None:
        now_ms = self.tick(step_ms)
        for side, price, size in entries:
            self.book.set_level(side, text(price), text(size), now_ms)
            if self.model.has_book:
                self.model.levels[side][price] = size
        bid = self.model.top("BUY") or Decimal(0)
        ask = self.model.top("SELL")
        ask = Decimal(1) if ask is None else ask
        if lie == "bid":
            bid = Decimal("0.0003") if bid != Decimal("0.0003") else Decimal("0.0005")
        elif lie == "ask":
            ask = Decimal("0.0003") if ask != Decimal("0.0003") else Decimal("0.0005")
        self.book.confirm(
            text(bid) if says_tops else None,
            text(ask) if says_tops else None,
            timestamp_ms=now_ms,
            book_hash=self.model.digest(now_ms),
        )
        if self.model.is_crossed or (lie is not None and says_tops):
            self.model.is_doubtful = True

    @precondition(lambda self: self.model.has_book)
    @rule(side=SIDES, price=PRICES, size=SIZES, late_ms=st.integers(1, 900))
    def repeat_something_late(
        self, side: Literal["BUY", "SELL"], price: Decimal, size: Decimal, late_ms: int
    ) -> None:
        """Send a change, a newer one of the same level, and the first again."""
        old_ms = self.tick(1)
        self.book.set_level(side, text(price), text(size + 1), old_ms)
        new_ms = self.tick(late_ms)
        self.book.set_level(side, text(price), text(size), new_ms)
        self.book.set_level(side, text(price), text(size + 1), old_ms)
        self.model.levels[side][price] = size
        digest = self.model.digest(new_ms)
        self.book.confirm(None, None, timestamp_ms=new_ms, book_hash=digest)
        self.book.confirm("0.77", "0.78", timestamp_ms=old_ms, book_hash="late")
        self.model.is_doubtful |= self.model.is_crossed

    @rule()
    def lose_the_connection(self) -> None:
        self.book.invalidate()
        self.model = NaiveBook()

    @rule(why=st.sampled_from(["tick", "no size", "other"]))
    def doubt(self, why: str) -> None:
        if why == "tick":
            self.book.change_tick_size(Decimal("0.0025"))
        elif why == "no size":
            self.book.set_level("BUY", "0.5", None, self.now_ms)
        else:
            self.book.distrust(why)
        self.model.is_doubtful = True

    @invariant()
    def the_levels_are_equal(self) -> None:
        assert self.book.bids == self.model.rows("BUY")
        assert self.book.asks == self.model.rows("SELL")

    @invariant()
    def the_figures_follow_from_the_levels(self) -> None:
        bid, ask = self.model.top("BUY"), self.model.top("SELL")
        assert (self.book.best_bid, self.book.best_ask) == (bid, ask)
        if bid is None or ask is None:
            assert self.book.mid is self.book.spread is None
        else:
            assert (self.book.mid, self.book.spread) == ((bid + ask) / 2, ask - bid)
        for side in ("BUY", "SELL"):
            total = sum((size for _, size in self.model.rows(side)), Decimal(0))
            assert self.book.depth(side) == total

    @invariant()
    def trust_is_what_it_should_be(self) -> None:
        assert self.book.has_book is self.model.has_book
        trusted = self.model.has_book and not self.model.is_doubtful
        assert self.book.is_trusted is trusted
        if self.book.is_trusted:
            assert not self.model.is_crossed

    @invariant()
    def the_hash_is_right(self) -> None:
        if self.model.has_book:
            assert self.book.verify_hash() is True


TestBookAgainstModel = BookAgainstModel.TestCase
TestBookAgainstModel.settings = settings(
    max_examples=100,
    stateful_step_count=30,
    derandomize=True,
    deadline=None,
    database=None,
)
