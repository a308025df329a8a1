"""What may be missing, asset by asset, in the venue's time.

A gap is rather too long than too short: it begins at the last moment its asset was
known to be complete, and ends when a new book has arrived.

Pure: no I/O; the clock is passed in.

Copy with: event_buffer.py.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import replace

from event_buffer import Gap


# Trades were seen announced up to 0.6 s out of order with their book.
GAP_SLACK_MS = 1_000
# An event dated further ahead than any before it by this is wrong, not the clock.
MAX_CLOCK_STEP_MS = 60_000


class GapLedger:
    """Open gaps by asset, and those the consumer has not been told of.

    `has_news` says that there are some of the latter, for `take_news`.
    `clock_ms` gives this machine's time and must never be set: Unix time at the start
    and monotonic from there. The venue's time is estimated from it and from the newest
    event, so that a wrong local clock cannot hide a gap.
    """

    def __init__(self, clock_ms: Callable[[], int]) -> None:
        self._clock_ms = clock_ms
        self._ahead_ms: int | None = None
        self._complete_ms: dict[str, int] = {}
        self._open: dict[str, Gap] = {}
        self._news: list[Gap] = []
        self.has_news = False

    def begin(self, asset_id: str, from_ms: int, reason: str) -> None:
        """Open a gap, unless the asset has one: then the older one goes on."""
        if asset_id in self._open:
            return
        from_ms = max(from_ms, self._complete_ms.get(asset_id, 0)) - GAP_SLACK_MS
        gap = Gap((asset_id,), from_ms, None, reason)
        self._open[asset_id] = gap
        self._tell(gap)

    def end(self, asset_id: str, book_ms: int) -> None:
        """Close the asset's gap, if it has one: a book of this time has arrived."""
        if (gap := self._open.pop(asset_id, None)) is not None:
            self._complete_ms[asset_id] = max(self.venue_now_ms(), book_ms)
            to_ms = self._complete_ms[asset_id] + GAP_SLACK_MS
            self._tell(replace(gap, to_ms=to_ms))

    def of_all(self, asset_ids: Iterable[str], last_s: float) -> Gap:
        """Return a gap of these that began `last_s` seconds ago and ends now."""
        now_ms = self.venue_now_ms()
        from_ms = now_ms - int(last_s * 1000) - GAP_SLACK_MS
        return Gap(tuple(asset_ids), from_ms, now_ms, "nobody read the events")

    def forget(self, asset_ids: Iterable[str]) -> None:
        """End what is known of these, and their gaps; nobody follows them any more."""
        for asset_id in asset_ids:
            self.end(asset_id, 0)
            self._complete_ms.pop(asset_id, None)

    def confirm_complete(self, asset_id: str, at_ms: int) -> None:
        """Note that a second source showed nothing to be missing at that moment."""
        self._complete_ms[asset_id] = at_ms

    def _tell(self, gap: Gap) -> None:
        self._news.append(gap)
        self.has_news = True

    def take_news(self) -> list[Gap]:
        """Return gaps opened and closed since the last call; equal ones as one."""
        news, self._news = self._news, []
        self.has_news = False
        merged: dict[tuple[int, int | None, str], list[str]] = {}
        for gap in news:
            key = (gap.from_ms, gap.to_ms, gap.reason)
            merged.setdefault(key, []).extend(gap.asset_ids)
        return [Gap(tuple(asset_ids), *key) for key, asset_ids in merged.items()]

    def observe_clock(self, timestamp_ms: int) -> None:
        """Learn from an event's time how far the venue's clock is ahead of ours."""
        ahead_ms = timestamp_ms - self._clock_ms()
        if self._ahead_ms is None or 0 < ahead_ms - self._ahead_ms <= MAX_CLOCK_STEP_MS:
            self._ahead_ms = ahead_ms

    def venue_now_ms(self) -> int:
        """Return the venue's time, as well as it can be known here."""
        return self._clock_ms() + (self._ahead_ms or 0)
