"""Hold the client's books and trades against the exchange's ledger."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from decimal import Decimal
from typing import TYPE_CHECKING

from order_book import OrderBook, PriceAndSize

from .tally import FaultRecord, SeenGap, TradeKey
from .text import counted, seconds, short_id


if TYPE_CHECKING:
    from mock_polymarket.ledger import Ledger
    from mock_polymarket.market import BookView


@dataclass(frozen=True, slots=True)
class LedgerTrade:
    """A trade as the exchange decided it, at `time_ms` of the venue's clock."""

    key: TradeKey
    time_ms: int

    @property
    def asset_id(self) -> str:
        """The asset that traded."""
        return self.key[0]


@dataclass(frozen=True, slots=True)
class BookFinding:
    """One asset's book beside the truth; no `differences`: they are equal."""

    asset_id: str
    outcome: str
    question: str
    best_bid: Decimal | None
    best_ask: Decimal | None
    level_count: int
    differences: tuple[str, ...]


@dataclass(slots=True)
class TradeAccount:
    """Every trade of the ledger in the followed time, and what became of it.

    `surplus` are trades received more often than the ledger has them.
    """

    ledger_count: int = 0
    received_count: int = 0
    in_gaps_count: int = 0
    unreported: list[LedgerTrade] = field(default_factory=list)
    surplus: list[TradeKey] = field(default_factory=list)


@dataclass(frozen=True, slots=True)
class Report:
    """The result of a run that lasted `run_s`; `start_ms` is the venue's time at its start.

    `error` is what ended the feed before its time, empty if nothing did.
    """

    run_s: float
    start_ms: int
    books: Sequence[BookFinding]
    trades: TradeAccount
    gaps: Sequence[SeenGap]
    faults: Sequence[FaultRecord]
    connect_count: int
    message_count: int
    error: str = ""

    @property
    def is_good(self) -> bool:
        """Whether the promise held: right books, no loss that nobody was told of."""
        return not self.problems()

    def problems(self) -> list[str]:
        """Say everything that is not as it should be."""
        found = [f"the feed ended: {self.error}"] if self.error else []
        wrong = [book for book in self.books if book.differences]
        if not self.books:
            found.append("no asset was followed")
        if wrong:
            found.append(f"{len(wrong)} of {counted(len(self.books), 'book')} differ")
        if self.trades.unreported:
            lost = counted(len(self.trades.unreported), "trade")
            found.append(f"{lost} lost outside every gap")
        if self.trades.surplus:
            more = counted(len(self.trades.surplus), "trade")
            found.append(f"{more} received that the ledger does not have")
        return found + [p for fault in self.faults if (p := self._unhealed(fault))]

    def _unhealed(self, fault: FaultRecord) -> str:
        if fault.healed_at_s is not None:
            return ""
        what = "not noticed" if fault.noticed_at_s is None else "noticed, not healed"
        return (
            f"{fault.planned.fault} was {what} when the run ended, "
            f"{seconds(self.run_s - fault.at_s)} after it began"
        )


def compare_book(book: OrderBook | None, truth: BookView) -> list[str]:
    """Return what is wrong with a client's book, level by level, best level first."""
    if book is None or not book.has_book:
        return ["the client has no book"]
    found = (
        []
        if book.is_trusted
        else [f"the client does not trust it: {book.why_untrusted}"]
    )
    bids = compare_levels("bid", book.bids, truth.bids_best_first())
    asks = compare_levels("ask", book.asks, truth.asks_best_first())
    return found + bids + asks


def compare_levels(
    side: str, own: Sequence[PriceAndSize], truth: Sequence[PriceAndSize]
) -> list[str]:
    """Return one line for each level that is missing, wrong, too many or misplaced."""
    own_sizes, true_sizes = dict(own), dict(truth)
    prices = dict.fromkeys([price for price, _ in truth] + [price for price, _ in own])
    found = [
        f"{side} {price}: the client has {_size(own_sizes, price)}, "
        f"the ledger {_size(true_sizes, price)}"
        for price in prices
        if own_sizes.get(price) != true_sizes.get(price)
    ]
    if not found and list(own) != list(truth):
        found.append(f"{side}s: the same levels, but not best first")
    return found


def _size(sizes: Mapping[Decimal, Decimal], price: Decimal) -> str:
    return f"{sizes[price]}" if price in sizes else "no such level"


def ledger_trades(ledger: Ledger, asset_ids: Iterable[str]) -> list[LedgerTrade]:
    """Return every trade of these assets that the exchange decided."""
    found = []
    for asset_id in asset_ids:
        for entry in ledger.trades(asset_id):
            payload = entry.payload
            key = (
                asset_id,
                Decimal(payload["price"]),
                Decimal(payload["size"]),
                str(payload["side"]),
                int(payload["timestamp"]),
                str(payload["transaction_hash"]),
            )
            found.append(LedgerTrade(key, entry.time_ms))
    return found


def account_trades(
    ledger: Iterable[LedgerTrade],
    received: Counter[TradeKey],
    gaps: Iterable[SeenGap],
    followed_since_ms: Mapping[str, int],
) -> TradeAccount:
    """Look for every trade of the ledger among those received, else in a gap.

    Trades can be equal in all their values, so they are counted, not looked up.
    """
    gaps_of: defaultdict[str, list[SeenGap]] = defaultdict(list)
    for gap in gaps:
        gaps_of[gap.asset_id].append(gap)
    decided: defaultdict[TradeKey, list[LedgerTrade]] = defaultdict(list)
    for trade in ledger:
        decided[trade.key].append(trade)
    account = TradeAccount(received_count=received.total())
    for key, equals in decided.items():
        since_ms = followed_since_ms.get(key[0])
        followed = [t for t in equals if since_ms is not None and t.time_ms >= since_ms]
        account.ledger_count += len(followed)
        _account_missing(account, followed, received[key], gaps_of[key[0]])
    for key, count in received.items():
        account.surplus += [key] * max(count - len(decided.get(key, ())), 0)
    return account


def _account_missing(
    account: TradeAccount,
    equals: Sequence[LedgerTrade],
    received_count: int,
    gaps: Sequence[SeenGap],
) -> None:
    """Excuse missing ones among equal trades by the gaps that cover some of them."""
    missing_count = max(len(equals) - received_count, 0)
    outside = [t for t in equals if not any(gap.covers(t.time_ms) for gap in gaps)]
    excused_count = min(missing_count, len(equals) - len(outside))
    account.in_gaps_count += excused_count
    account.unreported += outside[: missing_count - excused_count]


def trade_in_words(key: TradeKey) -> str:
    """Say which trade it is."""
    asset_id, price, size, side, timestamp_ms, transaction = key
    return (
        f"{short_id(asset_id)} {side} {size} @ {price} at {timestamp_ms} ms, "
        f"{transaction[:10]}"
    )
