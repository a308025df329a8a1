"""What came out of the feed: trades, gaps, connections, and how faults were met."""

from __future__ import annotations

from collections import Counter, deque
from collections.abc import Callable
from dataclasses import dataclass, replace
from decimal import Decimal
from typing import TypeAlias

from event_buffer import (
    AssetsEnded,
    BooksConflated,
    ConnectionChange,
    FeedEvent,
    Gap,
)
from market_events import Book, LastTradePrice, MalformedEvent, PriceChange

from .schedule import Planned
from .text import counted, escaped, seconds


LOG_KEPT = 50

# All that tells one trade from another; two trades may still be equal in all of it.
TradeKey: TypeAlias = tuple[str, Decimal, Decimal, str, int, str]


@dataclass(frozen=True, slots=True)
class SeenGap:
    """One asset's gap in the venue's ms; `to_ms` None while it is open.

    `opened_at_s` is when the feed told of it, in seconds since the start.
    """

    asset_id: str
    from_ms: int
    to_ms: int | None
    reason: str
    opened_at_s: float

    def covers(self, time_ms: int) -> bool:
        """Whether a moment of the venue lies in this gap."""
        return self.from_ms <= time_ms and (self.to_ms is None or time_ms <= self.to_ms)


@dataclass(slots=True)
class FaultRecord:
    """One fault that happened; times in seconds since the start, None if not yet."""

    planned: Planned
    at_s: float
    noticed_at_s: float | None = None
    noticed_as: str = ""
    healed_at_s: float | None = None


class Tally:
    """Takes every event of the feed; `say` gets one line for what a person wants to know.

    `now_s` gives the seconds since the start, `venue_now_ms` the venue's clock.
    """

    def __init__(
        self,
        *,
        now_s: Callable[[], float],
        venue_now_ms: Callable[[], int],
        say: Callable[[str], None],
    ) -> None:
        self.trades: Counter[TradeKey] = Counter()
        self.gaps: list[SeenGap] = []
        self.open_gaps: dict[str, SeenGap] = {}
        self.faults: list[FaultRecord] = []
        self.log: deque[str] = deque(maxlen=LOG_KEPT)
        self.last_at_s: dict[str, float] = {}
        self.followed_since_ms: dict[str, int] = {}
        self._now_s = now_s
        self._venue_now_ms = venue_now_ms
        self._say = say
        self._gap_news: Counter[tuple[str, str]] = Counter()

    def note(self, line: str) -> None:
        """Log one line with the time before it."""
        self.flush()
        self._log(line)

    def flush(self) -> None:
        """Log the gaps since the last call, those with one reason as one."""
        news, self._gap_news = self._gap_news, Counter()
        for (what, reason), count in news.items():
            self._log(f"gap {what}, {counted(count, 'asset')}: {reason}")

    def _log(self, line: str) -> None:
        stamped = f"{self._now_s():6.1f} s  {escaped(line)}"
        self.log.append(stamped)
        self._say(stamped)

    def take(self, event: FeedEvent) -> None:
        """Count one event and say what is remarkable about it."""
        match event:
            case PriceChange():
                for change in event.price_changes:
                    self.last_at_s[change.asset_id] = self._now_s()
            case Book():
                self._take_book(event.asset_id)
            case LastTradePrice():
                self.last_at_s[event.asset_id] = self._now_s()
                self.trades[key_of(event)] += 1
            case Gap():
                self._take_gap(event)
            case ConnectionChange():
                self._take_connection(event)
            case BooksConflated():
                self.note(f"too slow: {event.event_count} events were conflated")
            case AssetsEnded():
                ended = counted(len(event.asset_ids), "asset")
                self.note(f"{ended} ended: {event.reason}")
            case MalformedEvent():
                self.note(f"malformed: {event.reason}")

    def begin_fault(self, planned: Planned) -> None:
        """Note that a fault happens now."""
        self.faults.append(FaultRecord(planned, self._now_s()))
        self.note(f"FAULT {planned.fault}: {planned.meaning}")

    def check_healed(self, *, is_all_live: bool) -> None:
        """Note the healing of what was noticed, once nothing is in doubt any more."""
        if self.open_gaps or not is_all_live:
            return
        for fault in self.faults:
            if fault.noticed_at_s is not None and fault.healed_at_s is None:
                fault.healed_at_s = self._now_s()
                after_s = fault.healed_at_s - fault.at_s
                self.note(f"HEALED {fault.planned.fault} after {seconds(after_s)}")

    def _take_book(self, asset_id: str) -> None:
        self.last_at_s[asset_id] = self._now_s()
        if asset_id not in self.followed_since_ms:
            self.followed_since_ms[asset_id] = self._venue_now_ms()

    def _take_gap(self, event: Gap) -> None:
        if event.to_ms is None:
            self._notice(event.reason)
        for asset_id in event.asset_ids:
            if event.to_ms is None:
                self.open_gaps[asset_id] = self._seen(asset_id, event)
            else:
                gap = self.open_gaps.pop(asset_id, self._seen(asset_id, event))
                self.gaps.append(replace(gap, from_ms=event.from_ms, to_ms=event.to_ms))
        what = "opened" if event.to_ms is None else "closed"
        self._gap_news[what, event.reason] += len(event.asset_ids)

    def _seen(self, asset_id: str, event: Gap) -> SeenGap:
        return SeenGap(
            asset_id, event.from_ms, event.to_ms, event.reason, self._now_s()
        )

    def _take_connection(self, event: ConnectionChange) -> None:
        if event.is_up:
            self.note(f"connection up, {event.open_count} open")
            return
        self._notice(event.reason)
        self.note(f"connection lost: {event.reason}")

    def _notice(self, reason: str) -> None:
        for fault in self.faults:
            if fault.noticed_at_s is None:
                fault.noticed_at_s, fault.noticed_as = self._now_s(), reason
                after_s = fault.noticed_at_s - fault.at_s
                self.note(f"NOTICED {fault.planned.fault} after {seconds(after_s)}")


def key_of(trade: LastTradePrice) -> TradeKey:
    """Return everything that identifies a trade."""
    return (
        trade.asset_id,
        trade.price,
        trade.size or Decimal(0),
        trade.side,
        trade.timestamp_ms,
        trade.transaction_hash or "",
    )
