"""Keep every followed asset alive: notice what is not, and bring it back.

Twice a second it looks at all assets and sockets, asks the witness about the silent
ones, and resubscribes, moves or reconnects what is stuck. Whatever may have been
missed meanwhile comes to the consumer as a `Gap`.

Copy with: asset_watch.py, book_keeper.py, book_witness.py, event_buffer.py, gap_ledger.py, market_events.py, robust_websocket.py, shard.py, socket_pool.py.
"""

from __future__ import annotations

import asyncio
import logging
import random
from collections.abc import Callable, Iterable, Sequence

from asset_watch import FIRST_BOOK_TIMEOUT_S, AssetWatch, Findings
from book_keeper import BookKeeper
from book_witness import MAX_IDS_PER_REQUEST, BookWitness, WitnessError
from event_buffer import AssetsEnded, ConnectionChange, EventBuffer, FeedEvent
from gap_ledger import GapLedger
from market_events import parse_market_frame
from robust_websocket import ConnectionGap
from shard import Shard
from socket_pool import SocketPool


INSPECT_EVERY_S = 0.5
WITNESS_SPACING_S = 0.5
WITNESS_REST_CAP_S = 60.0
SILENT_SOCKET_S = 9.0
REUNITE_EVERY_S = 10.0
MOVE_AT_ONCE = 100
# The venue's words when the last market of a connection has settled.
ALL_RESOLVED = "all subscribed assets resolved"

logger = logging.getLogger(__name__)


class FeedSupervisor:
    """The engine behind `MarketWebSocket`.

    `follow` and `unfollow` change what is wanted, `run` works until cancelled.
    `witness` None leaves only the blind deadlines: a silent socket is then judged by
    its own habit, and one silent asset among lively ones is not noticed.
    """

    def __init__(
        self,
        url: str,
        buffer: EventBuffer,
        *,
        witness: BookWitness | None,
        wall_clock_ms: Callable[[], int],
        wants_custom_features: bool,
        max_assets: int,
        proxy: str | None = None,
        rng: random.Random | None = None,
    ) -> None:
        self.gaps = GapLedger(_SteadyClock(wall_clock_ms))
        self.keeper = BookKeeper(self.gaps)
        self.watch = AssetWatch()
        self.pool = SocketPool(
            url,
            self,
            max_assets=max_assets,
            wants_custom_features=wants_custom_features,
            proxy=proxy,
            rng=rng,
        )
        self._buffer = buffer
        self._recovery = _Recovery(self.watch, self.keeper, self.pool)
        self._inquiry = (
            None if witness is None else _Inquiry(witness, self.watch, self.gaps)
        )
        self._reunite_at_s = 0.0

    async def follow(self, asset_ids: Iterable[str]) -> None:
        """Want these assets as well."""
        wanted = [each for each in dict.fromkeys(asset_ids) if not self.follows(each)]
        self.keeper.follow(wanted)
        books = [self.keeper.books[asset_id] for asset_id in wanted]
        self.watch.follow(books)
        await self.pool.add(books)
        self._recovery.expect_books(wanted)

    def follows(self, asset_id: str) -> bool:
        """Whether this asset is wanted."""
        return asset_id in self.keeper.books

    async def unfollow(self, asset_ids: Iterable[str]) -> None:
        """Want these no more."""
        gone = [each for each in asset_ids if self.follows(each)]
        self.watch.unfollow(gone)
        self.keeper.unfollow(gone)
        self._buffer.put(self.gaps.take_news())
        await self.pool.remove(gone)

    def why_stale(self, asset_id: str) -> str | None:
        """Say why this asset's prices should not be acted on; None if nothing does."""
        if why := self.keeper.books[asset_id].why_untrusted:
            return why
        home = self.pool.homes.of(asset_id)
        if home is None or home.is_paused:
            return "reading is paused until the consumer catches up"
        if self.watch.is_frozen(asset_id):
            return "REST has seen a newer book than the stream"
        return None

    async def run(self) -> None:
        """Inspect and inquire for ever; an error in either ends both."""
        async with asyncio.TaskGroup() as group:
            group.create_task(self._inspect_for_ever())
            if self._inquiry is not None:
                group.create_task(self._inquiry.run())

    async def close(self) -> None:
        """Close all sockets and the witness; no book may be believed any more."""
        self.keeper.lose(list(self.keeper.books), "disconnected")
        self.gaps.take_news()  # it was asked for: no news
        await self.pool.close()
        if self._inquiry is not None:
            await self._inquiry.close()

    def on_opened(self, shard: Shard) -> None:
        """Expect a book for everything the new socket carries."""
        self.watch.expect_books(shard.books, asyncio.get_running_loop().time())
        self._tell_connection(is_up=True, reason="")

    def on_frame(self, shard: Shard, frame: bytes) -> bool:
        """Apply one frame to the books, then hand its events on."""
        apply, books, buffer = self.keeper.apply, shard.books, self._buffer
        events: list[FeedEvent] = [
            event for event in parse_market_frame(frame) if apply(event, books)
        ]
        if self.gaps.has_news:
            buffer.put(self.gaps.take_news())
        buffer.put(events)
        return not buffer.is_full

    async def wait_for_room(self, shard: Shard) -> None:
        """Let the consumer catch up; silence meanwhile is nobody's fault."""
        self.watch.suspend(shard.books)
        shard.is_paused = True
        await self._buffer.wait_for_room()
        shard.is_paused = False
        self._recovery.expect_books(shard.books)

    async def on_lost(self, shard: Shard, gap: ConnectionGap) -> None:
        """Doubt everything the socket carried, or end it if all has settled."""
        self.watch.suspend(shard.books)
        if gap.close_code == 1000 and ALL_RESOLVED in gap.close_reason:
            await self._end(shard)
        else:
            self.keeper.lose(shard.books, gap.reason)
            assets = list(shard.books)
            await self.pool.merge_away(shard)
            self._recovery.expect_books(assets)
        self._tell_connection(is_up=False, reason=gap.reason)

    def on_closed(self, shard: Shard) -> None:
        """Say that a socket nobody needs any more was closed."""
        self._tell_connection(is_up=False, reason="not needed any more")

    def on_failed(self, error: BaseException) -> None:
        """Hand an error that ends the feed to the consumer."""
        self._buffer.close(error)

    async def _end(self, shard: Shard) -> None:
        """Let go of settled assets; what had no book yet stays, and so does its wait."""
        await self._let_go(
            [
                asset_id
                for asset_id, book in shard.books.items()
                if book.has_book or self.watch.is_unknown(asset_id)
            ],
            ALL_RESOLVED,
        )

    async def _let_go(self, asset_ids: Sequence[str], reason: str) -> None:
        if asset_ids:
            await self.unfollow(asset_ids)
            self._buffer.put([AssetsEnded(tuple(asset_ids), reason)])

    async def _inspect_for_ever(self) -> None:
        clock = asyncio.get_running_loop().time
        while True:
            await asyncio.sleep(INSPECT_EVERY_S)
            await self._inspect(clock())

    async def _inspect(self, now_s: float) -> None:
        await self.pool.sync()
        for shard in self.pool.shards:
            newest_ms = shard.newest_event_ms(now_s)
            self.gaps.observe_clock(newest_ms)
            self.watch.note_stream(shard.books, newest_ms, shard.socket.silence_s or 0)
        findings = self.watch.inspect(now_s)
        for asset_id in findings.wrong_hash:
            self.keeper.doubt(asset_id, "diverged: its hash is not the venue's")
        dropped = self._drop_bad_sockets(findings, now_s)
        await self._recovery.recover(findings, dropped)
        if now_s >= self._reunite_at_s:
            self._reunite_at_s = now_s + REUNITE_EVERY_S
            await self._recovery.move(
                self.pool.homes.split_pairs(), "joins its market's other asset"
            )
        await self._let_go(
            [
                asset_id
                for asset_id in self.keeper.books
                if self.watch.is_gone(asset_id, now_s)
                or (
                    asset_id in self.keeper.resolved and self.watch.is_unknown(asset_id)
                )
            ],
            "REST has no order book of it any more",
        )
        if self._inquiry is not None:
            self._inquiry.ask(findings.ask)
        self._buffer.put(self.gaps.take_news())

    def _drop_bad_sockets(self, findings: Findings, now_s: float) -> set[Shard]:
        """Give up sockets that are stuck as a whole; return them."""
        frozen = set(findings.frozen)
        dropped = set()
        for shard in self.pool.shards:
            why = self._why_bad(shard, frozen & shard.books.keys(), now_s)
            if why is not None and shard.is_open:
                shard.socket.drop(why)
                dropped.add(shard)
        return dropped

    def _why_bad(self, shard: Shard, frozen: set[str], now_s: float) -> str | None:
        """Say why a socket should be given up; None if it is well."""
        silence_s = shard.socket.silence_s or 0.0
        is_unlike_it = shard.is_silent_against_habit()
        if frozen and (
            silence_s >= SILENT_SOCKET_S or 2 * len(frozen) > len(shard.books)
        ):
            return f"frozen: REST has newer books, silent for {silence_s:.0f} s"
        if is_unlike_it and (self._inquiry is None or self._inquiry.is_failing):
            return f"silent for {silence_s:.0f} s, which is not its habit"
        if shard.is_late(now_s) and not all(map(self.watch.is_unknown, shard.books)):
            return f"no book within {FIRST_BOOK_TIMEOUT_S:.0f} s"
        if shard.has_stuck_times(now_s):
            return "event times stand still"
        return None

    def _tell_connection(self, *, is_up: bool, reason: str) -> None:
        open_count = sum(shard.is_open for shard in self.pool.shards)
        change = ConnectionChange(is_up, open_count, reason)
        self._buffer.put([change, *self.gaps.take_news()])


class _SteadyClock:
    """Unix milliseconds at the first call, and the loop's own clock from there.

    A wall clock that is set meanwhile would move the ends of every gap.
    """

    def __init__(self, wall_clock_ms: Callable[[], int]) -> None:
        self._wall_clock_ms = wall_clock_ms
        self._start_ms: int | None = None

    def __call__(self) -> int:
        loop_ms = int(asyncio.get_running_loop().time() * 1000)
        if self._start_ms is None:
            self._start_ms = self._wall_clock_ms() - loop_ms
        return self._start_ms + loop_ms


class _Recovery:
    """Ways to bring stuck assets back; each leaves a gap until the new book."""

    def __init__(self, watch: AssetWatch, keeper: BookKeeper, pool: SocketPool) -> None:
        self._watch = watch
        self._keeper = keeper
        self._pool = pool

    async def recover(self, findings: Findings, dropped: set[Shard]) -> None:
        """Resubscribe and move what is stuck on sockets that are otherwise well."""

        def here(asset_ids: Sequence[str]) -> list[str]:
            homes = {asset_id: self._pool.homes.of(asset_id) for asset_id in asset_ids}
            return [asset_id for asset_id, home in homes.items() if home not in dropped]

        await self.move(here(findings.move), "no book that can be trusted")
        await self.move(here(findings.frozen), "frozen: REST has newer events")
        again = self._pool.homes.with_mates(here(findings.resubscribe))
        self._keeper.lose(again, "asked for a new book")
        for shard in list(self._pool.shards):
            if asset_ids := [each for each in again if each in shard.books]:
                logger.info("asking again for %d books", len(asset_ids))
                await shard.resubscribe(asset_ids)
        self.expect_books(again)

    async def move(self, asset_ids: Sequence[str], reason: str) -> None:
        """Carry these and their mates on a fresh socket, with new books."""
        together = self._pool.homes.with_mates(asset_ids)
        # An even number, so that no pair is cut in two.
        at_once = max(1, min(MOVE_AT_ONCE, self._pool.max_assets) // 2 * 2)
        for start in range(0, len(together), at_once):
            part = together[start : start + at_once]
            logger.info("moving %d assets to a fresh socket: %s", len(part), reason)
            self._keeper.lose(part, reason)
            self._watch.suspend(part)
            await self._pool.move(part)
            self.expect_books(part)

    def expect_books(self, asset_ids: Iterable[str]) -> None:
        """Start the deadlines of assets whose socket is up already."""
        homes = {asset_id: self._pool.homes.of(asset_id) for asset_id in asset_ids}
        up = [asset_id for asset_id, home in homes.items() if home and home.is_open]
        self._watch.expect_books(up, asyncio.get_running_loop().time())


class _Inquiry:
    """Open questions to the witness, one polite request at a time."""

    def __init__(
        self, witness: BookWitness, watch: AssetWatch, gaps: GapLedger
    ) -> None:
        self.is_failing = False
        self._witness = witness
        self._watch = watch
        self._gaps = gaps
        self._questions: list[str] = []
        self._has_questions = asyncio.Event()

    def ask(self, asset_ids: Sequence[str]) -> None:
        """Replace the open questions by these."""
        now_s = asyncio.get_running_loop().time()
        self._questions = self._watch.in_order_of_need(asset_ids, now_s)
        if asset_ids:
            self._has_questions.set()

    async def run(self) -> None:
        """Ask and testify for ever; rest ever longer while there is no answer."""
        failures = 0
        while True:
            await self._has_questions.wait()
            self._has_questions.clear()
            batch, self._questions = self._questions[:MAX_IDS_PER_REQUEST], []
            asked_ms = self._gaps.venue_now_ms()
            try:
                testimonies = await self._witness.look(batch)
            except WitnessError as error:
                failures += 1
                pause_s = min(WITNESS_REST_CAP_S, 2.0 ** min(failures, 6))
                logger.warning("no witness for %.0f s: %s", pause_s, error)
            else:
                failures, pause_s = 0, WITNESS_SPACING_S
                now_s = asyncio.get_running_loop().time()
                for asset_id in self._watch.testify(batch, testimonies, now_s):
                    self._gaps.confirm_complete(asset_id, asked_ms)
            self.is_failing = failures > 0
            await asyncio.sleep(pause_s)

    async def close(self) -> None:
        """Close the witness's connections."""
        await self._witness.close()
