"""A real client on the mock venue, which freezes it, cuts it, and knows the truth."""

from __future__ import annotations

import asyncio
import random
from collections import deque
from collections.abc import Callable

from market_websocket import MarketData, MarketWebSocket
from mock_polymarket import MockPolymarket

from .ending import Ending
from .report import BookFinding, Report, account_trades, compare_book, ledger_trades
from .schedule import FREEZE_NEEDS_S, Schedule
from .status import AssetRow, Display, Socket, Status
from .tally import Tally
from .text import counted


BUSY_MARKETS = 3
QUIET_MARKETS = 1
EVENTS_PER_S = 8.0
TICK_S = 0.1
RATE_OVER_S = 3.0
# After the last order everything is on its way for an instant, repeats for 120 ms.
SETTLE_AT_LEAST_S = 0.5
SETTLE_AT_MOST_S = 2.0


async def run_live(
    schedule: Schedule,
    display: Display,
    ending: Ending,
    *,
    wall_clock_ms: Callable[[], int],
    seed: int = 1,
) -> Report:
    """Follow a few markets until the schedule or `ending` ends it; return the findings."""
    venue = MockPolymarket(
        seed=seed,
        markets=BUSY_MARKETS,
        quiet_markets=QUIET_MARKETS,
        events_per_s=EVENTS_PER_S,
        start_ms=wall_clock_ms(),
    )
    async with (
        venue,
        MarketWebSocket(
            venue.asset_ids,
            url=venue.urls.ws_market,
            clob_url=venue.urls.clob,
            wall_clock_ms=wall_clock_ms,
            rng=random.Random(seed),  # noqa: S311 - jitter that a seed repeats
        ) as ws,
    ):
        return await LiveRun(venue, ws, schedule, display).run(ending)


class LiveRun:
    """One run, from the first connection to the report."""

    def __init__(
        self,
        venue: MockPolymarket,
        ws: MarketWebSocket,
        schedule: Schedule,
        display: Display,
    ) -> None:
        clock = asyncio.get_running_loop().time
        started_at = clock()
        self._now_s: Callable[[], float] = lambda: clock() - started_at
        self._venue = venue
        self._ws = ws
        self._schedule = schedule
        self._display = display
        self._asset_ids = venue.asset_ids
        self._due = deque(schedule.faults)
        self._start_ms = venue.now_ms()
        self._is_waiting = False
        self._counts: deque[tuple[float, int]] = deque()
        self.tally = Tally(
            now_s=self._now_s, venue_now_ms=venue.now_ms, say=display.say
        )

    async def run(self, ending: Ending) -> Report:
        """Follow, break, settle, compare."""
        self._announce()
        consumer = asyncio.create_task(self._consume())
        try:
            await self._watch(consumer, ending)
            await self._settle(consumer)
            return self._report(_error_of(consumer))
        finally:
            consumer.cancel()
            await asyncio.wait([consumer])

    def _announce(self) -> None:
        for line in (
            f"a mock venue runs at {self._venue.urls.ws_market}",
            f"the client follows {counted(len(self._asset_ids), 'asset')} of "
            f"{counted(BUSY_MARKETS + QUIET_MARKETS, 'market')}, "
            f"{QUIET_MARKETS} of them quiet",
            *self._schedule.in_words(),
        ):
            self.tally.note(line)

    async def _consume(self) -> None:
        async for event in self._ws.events():
            self.tally.take(event)
            self.tally.check_healed(is_all_live=self._is_all_live())

    async def _watch(self, consumer: asyncio.Task[None], ending: Ending) -> None:
        """Show what happens and start each fault at its time, until the end."""
        run_s = self._schedule.seconds
        while not consumer.done() and not self._may_end(ending):
            now_s = self._now_s()
            if run_s is not None and now_s >= run_s and not ending.is_asked:
                ending.ask()
            elif not ending.is_asked and self._due and now_s >= self._due[0].at_s:
                planned = self._due.popleft()
                self.tally.begin_fault(planned)
                self._venue.faults.start(planned.fault)
            self.tally.flush()
            self._display.show(self.status())
            await ending.sleep(TICK_S)

    def _may_end(self, ending: Ending) -> bool:
        """Whether the end is wanted and no fault is so young that it cannot be healed."""
        if not ending.is_asked or ending.is_insisted:
            return ending.is_insisted
        latest_s = self._now_s() - FREEZE_NEEDS_S
        waiting = [
            fault.planned.fault
            for fault in self.tally.faults
            if fault.healed_at_s is None and fault.at_s > latest_s
        ]
        if waiting and not self._is_waiting:
            self._is_waiting = True
            self.tally.note(
                f"the end comes when {waiting[0]} has healed "
                f"({FREEZE_NEEDS_S:.0f} s at most; Ctrl-C: now)"
            )
        return not waiting

    async def _settle(self, consumer: asyncio.Task[None]) -> None:
        """Stop the order flow and let what is under way arrive."""
        self.tally.note("the order flow stops, what is on its way may arrive")
        self._venue.flow.paused = True
        stopped_at_s = self._now_s()
        while (waited_s := self._now_s() - stopped_at_s) < SETTLE_AT_MOST_S:
            if waited_s >= SETTLE_AT_LEAST_S and self._is_all_live():
                break
            if consumer.done():
                break
            self._display.show(self.status())
            await asyncio.sleep(TICK_S)
        self._display.show(self.status())

    def _is_all_live(self) -> bool:
        return all(
            data is not None and not data.is_stale
            for data in map(self._ws.get_market_data, self._asset_ids)
        )

    def status(self) -> Status:
        """Return the present state."""
        figures = self._ws.to_dict()["sockets"]
        message_count = sum(each["message_count"] for each in figures)
        return Status(
            elapsed_s=self._now_s(),
            run_s=self._schedule.seconds,
            rows=tuple(map(self._row, self._asset_ids)),
            feed_state=str(self._ws.state),
            sockets=tuple(
                Socket(each["is_connected"], each["assets"], each["silence_s"])
                for each in figures
            ),
            connect_count=sum(each["connect_count"] for each in figures),
            message_count=message_count,
            messages_per_s=self._rate(message_count),
            trade_count=self.tally.trades.total(),
            gaps_opened=len(self.tally.gaps) + len(self.tally.open_gaps),
            gaps_open=len(self.tally.open_gaps),
            log=tuple(self.tally.log),
        )

    def _rate(self, count: int) -> float:
        """Return messages a second over the last `RATE_OVER_S`."""
        now_s = self._now_s()
        self._counts.append((now_s, count))
        while self._counts[0][0] < now_s - RATE_OVER_S:
            self._counts.popleft()
        since_s, before = self._counts[0]
        return max(count - before, 0) / (now_s - since_s) if now_s > since_s else 0.0

    def _row(self, asset_id: str) -> AssetRow:
        last_at_s = self.tally.last_at_s.get(asset_id)
        age_s = None if last_at_s is None else self._now_s() - last_at_s
        outcome = self._outcome(asset_id)
        data = self._ws.get_market_data(asset_id)
        if data is None or not self._has_book(asset_id):
            return AssetRow(asset_id, outcome, None, None, age_s, "no book")
        return _row_of(data, outcome, age_s)

    def _has_book(self, asset_id: str) -> bool:
        book = self._ws.get_order_book(asset_id)
        return book is not None and book.has_book

    def _outcome(self, asset_id: str) -> str:
        market = self._venue.exchange.market_of(asset_id)
        return "?" if market is None else market.token(asset_id).outcome

    def _report(self, error: str) -> Report:
        gaps = [*self.tally.gaps, *self.tally.open_gaps.values()]
        trades = ledger_trades(self._venue.ledger, self._asset_ids)
        status = self.status()
        return Report(
            run_s=self._now_s(),
            start_ms=self._start_ms,
            books=[self._finding(asset_id) for asset_id in self._asset_ids],
            trades=account_trades(
                trades, self.tally.trades, gaps, self.tally.followed_since_ms
            ),
            gaps=gaps,
            faults=self.tally.faults,
            connect_count=status.connect_count,
            message_count=status.message_count,
            error=error,
        )

    def _finding(self, asset_id: str) -> BookFinding:
        truth = self._venue.ledger.book(asset_id)
        market = self._venue.exchange.market_of(asset_id)
        return BookFinding(
            asset_id,
            self._outcome(asset_id),
            "" if market is None else market.question,
            truth.best_bid.price if truth.best_bid else None,
            truth.best_ask.price if truth.best_ask else None,
            len(truth.bids) + len(truth.asks),
            tuple(compare_book(self._ws.get_order_book(asset_id), truth)),
        )


def _row_of(data: MarketData, outcome: str, age_s: float | None) -> AssetRow:
    return AssetRow(
        data.asset_id,
        outcome,
        data.best_bid,
        data.best_ask,
        age_s,
        "STALE" if data.is_stale else "live",
        data.why_stale or "",
    )


def _error_of(consumer: asyncio.Task[None]) -> str:
    if not consumer.done() or consumer.cancelled():
        return ""
    error = consumer.exception()
    return "without a word" if error is None else f"{type(error).__name__}: {error}"
