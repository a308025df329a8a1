"""What may be missing, asset by asset, in the venue's time.

A gap is rather too long than too short: it begins at the last moment its asset was
known to be complete, and ends when a new book has arrived.

Pure: no I/O; the wall clock is passed in.

Copy with: event_buffer.py.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import replace

from event_buffer import Gap


# Trades were seen announced up to 0.6 s out of order with their book.
GAP_SLACK_MS = 1_000


class GapLedger:
    """Open gaps by asset, and those the consumer has not been told of.

    `wall_clock_ms` gives this machine's time; the venue's is estimated from it and
    from the newest event, so that a wrong local clock cannot hide a gap.
    """

    def __init__(self, wall_clock_ms: Callable[[], int]) -> None:
        self._wall_clock_ms = wall_clock_ms
        self._ahead_ms: int | None = None
        self._complete_ms: dict[str, int] = {}
        self._open: dict[str, Gap] = {}
        self._news: list[Gap] = []

    def begin(self, asset_id: str, from_ms: int, reason: str) -> None:
        """Open a gap, unless the asset has one: then the older one goes on."""
        if asset_id in self._open:
            return
        from_ms = max(from_ms, self._complete_ms.get(asset_id, 0)) - GAP_SLACK_MS
        gap = Gap((asset_id,), from_ms, None, reason)
        self._open[asset_id] = gap
        self._news.append(gap)

    def end(self, asset_id: str, book_ms: int) -> None:
        """Close the asset's gap, if it has one: a book of this time has arrived."""
        if (gap := self._open.pop(asset_id, None)) is not None:
            self._complete_ms[asset_id] = max(self.venue_now_ms(), book_ms)
            to_ms = self._complete_ms[asset_id] + GAP_SLACK_MS
            self._news.append(replace(gap, to_ms=to_ms))

    def forget(self, asset_ids: Iterable[str]) -> None:
        """Drop all that is known of these; nobody follows them any more."""
        for asset_id in asset_ids:
            self._open.pop(asset_id, None)
            self._complete_ms.pop(asset_id, None)

    def confirm_complete(self, asset_id: str) -> None:
        """Note that a second source showed nothing to be missing right now."""
        self._complete_ms[asset_id] = self.venue_now_ms()

    @property
    def has_news(self) -> bool:
        """Whether gaps opened or closed since `take_news`."""
        return bool(self._news)

    def take_news(self) -> list[Gap]:
        """Return gaps opened and closed since the last call; equal ones as one."""
        if not self._news:
            return []
        news, self._news = self._news, []
        merged: dict[tuple[int, int | None, str], list[str]] = {}
        for gap in news:
            key = (gap.from_ms, gap.to_ms, gap.reason)
            merged.setdefault(key, []).extend(gap.asset_ids)
        return [Gap(tuple(asset_ids), *key) for key, asset_ids in merged.items()]

    def observe_clock(self, timestamp_ms: int) -> None:
        """Learn from an event's time how far the venue's clock is ahead of ours."""
        ahead_ms = timestamp_ms - self._wall_clock_ms()
        if self._ahead_ms is None or ahead_ms > self._ahead_ms:
            self._ahead_ms = ahead_ms

    def venue_now_ms(self) -> int:
        """Return the venue's time, as well as it can be known here."""
        return self._wall_clock_ms() + (self._ahead_ms or 0)
