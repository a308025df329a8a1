"""Keep every followed asset alive: notice what is not, and bring it back.

Twice a second it looks at all assets and sockets, asks the witness about the silent
ones, and resubscribes, moves or reconnects what is stuck. Whatever may have been
missed meanwhile comes to the consumer as a `Gap`.

Copy with: asset_watch.py, book_keeper.py, book_witness.py, event_buffer.py, market_events.py, robust_websocket.py, socket_pool.py.
"""

from __future__ import annotations

import asyncio
import logging
import random
from collections.abc import Callable, Iterable, Sequence

from book_keeper import BookKeeper

from asset_watch import FIRST_BOOK_TIMEOUT_S, AssetWatch, Findings
from book_witness import MAX_IDS_PER_REQUEST, BookWitness, WitnessError
from event_buffer import AssetsEnded, ConnectionChange, EventBuffer, FeedEvent
from market_events import MalformedEvent, UnknownEvent, parse_market_frame
from robust_websocket import ConnectionGap
from socket_pool import Shard, SocketPool


INSPECT_EVERY_S = 0.5
WITNESS_SPACING_S = 0.5
WITNESS_REST_CAP_S = 60.0
SILENT_SOCKET_S = 9.0
STUCK_REST_S = 300.0
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
        self.keeper = BookKeeper(wall_clock_ms)
        self.watch = AssetWatch()
        self.pool = SocketPool(
            url,
            self,
            max_assets=max_assets,
            wants_custom_features=wants_custom_features,
            proxy=proxy,
            rng=rng,
        )
        self.malformed_count = 0
        self.unknown_count = 0
        self._buffer = buffer
        self._witness = witness
        self._witness_failures = 0
        self._to_ask: list[str] = []
        self._has_questions = asyncio.Event()
        self._stuck_rest_until_s = 0.0
        self._reunite_at_s = 0.0

    async def follow(self, asset_ids: Iterable[str]) -> None:
        """Want these assets as well."""
        wanted = list(dict.fromkeys(asset_ids))
        self.keeper.follow(wanted)
        books = [self.keeper.books[asset_id] for asset_id in wanted]
        self.watch.follow(books)
        await self.pool.add(books)
        self._expect_books(wanted)

    async def unfollow(self, asset_ids: Iterable[str]) -> None:
        """Want these no more."""
        gone = [each for each in asset_ids if each in self.keeper.books]
        await self.pool.remove(gone)
        self.watch.unfollow(gone)
        self.keeper.unfollow(gone)

    async def run(self) -> None:
        """Inspect and inquire for ever; an error in either ends both."""
        async with asyncio.TaskGroup() as group:
            group.create_task(self._inspect_for_ever())
            if self._witness is not None:
                group.create_task(self._inquire_for_ever(self._witness))

    async def close(self) -> None:
        """Close all sockets and the witness."""
        await self.pool.close()
        if self._witness is not None:
            await self._witness.close()

    def on_frame(self, shard: Shard, frame: bytes) -> None:
        """Apply one frame to the books, then hand its events on."""
        keeper, books = self.keeper, shard.books
        events: list[FeedEvent] = []
        for event in parse_market_frame(frame):
            if keeper.apply(event, books):
                events.append(event)
                if isinstance(event, MalformedEvent):
                    self.malformed_count += 1
                elif isinstance(event, UnknownEvent):
                    self.unknown_count += 1
        if keeper.has_news:
            self._buffer.put(keeper.take_news())
        self._buffer.put(events)

    @property
    def is_full(self) -> bool:
        """Whether the consumer is so far behind that reading must pause."""
        return self._buffer.is_full

    async def wait_for_room(self, shard: Shard) -> None:
        """Let the consumer catch up; silence meanwhile is nobody's fault."""
        self.watch.suspend(shard.books)
        await self._buffer.wait_for_room()
        self._expect_books(shard.books)

    async def on_lost(self, shard: Shard, gap: ConnectionGap) -> None:
        """Doubt everything the socket carried, or end it if all has settled."""
        self.watch.suspend(shard.books)
        if gap.close_code == 1000 and ALL_RESOLVED in gap.close_reason:
            await self._end(shard)
        else:
            self.keeper.lose(shard.books, gap.reason)
        self._tell_connection(is_up=False, reason=gap.reason)

    def on_failed(self, error: BaseException) -> None:
        """Hand an error that ends the feed to the consumer."""
        self._buffer.close(error)

    async def _end(self, shard: Shard) -> None:
        """Let go of settled assets; what had no book yet gets another socket."""
        ended = tuple(each for each, book in shard.books.items() if book.has_book)
        waiting = [book for book in shard.books.values() if not book.has_book]
        await self.pool.close_shard(shard)
        self.watch.unfollow(ended)
        self.keeper.unfollow(ended)
        await self.pool.add(waiting)
        self._buffer.put([AssetsEnded(ended, ALL_RESOLVED)])

    async def _inspect_for_ever(self) -> None:
        clock = asyncio.get_running_loop().time
        while True:
            await asyncio.sleep(INSPECT_EVERY_S)
            await self._inspect(clock())

    async def _inspect(self, now_s: float) -> None:
        for shard in list(self.pool.shards):
            if shard.is_newly_open(now_s):
                self.watch.expect_books(shard.books, now_s)
                self._tell_connection(is_up=True, reason="")
        await self.pool.sync()
        findings = self.watch.inspect(now_s)
        for asset_id in findings.wrong_hash:
            self.keeper.doubt(asset_id, "diverged: its hash is not the venue's")
        dropped = self._drop_bad_sockets(findings, now_s)
        await self._recover(findings, dropped)
        if now_s >= self._reunite_at_s:
            self._reunite_at_s = now_s + REUNITE_EVERY_S
            await self._move(self.pool.split_pairs(), "joins its market's other asset")
        self._to_ask = findings.ask
        if findings.ask:
            self._has_questions.set()
        self._buffer.put(self.keeper.take_news())

    def _drop_bad_sockets(self, findings: Findings, now_s: float) -> set[Shard]:
        """Give up sockets that are stuck as a whole; return them."""
        frozen = set(findings.frozen)
        dropped = set()
        for shard in self.pool.shards:
            self.keeper.observe_clock(shard.newest_event_ms(now_s))
            if shard.is_open and (why := self._why_bad(shard, frozen, now_s)):
                shard.socket.drop(why)
                dropped.add(shard)
        return dropped

    def _why_bad(self, shard: Shard, frozen: set[str], now_s: float) -> str | None:
        silence_s = shard.socket.silence_s or 0.0
        is_unlike_it = shard.is_silent_against_habit()
        here = frozen & shard.books.keys()
        if here and (silence_s >= SILENT_SOCKET_S or 2 * len(here) > len(shard.books)):
            return f"frozen: REST has newer books, the stream sent none for {silence_s:.0f} s"
        if is_unlike_it and (self._witness is None or self._witness_failures):
            return f"silent for {silence_s:.0f} s, which is not its habit"
        is_late = now_s - shard.opened_at >= FIRST_BOOK_TIMEOUT_S
        if is_late and not shard.has_data and not self._all_unknown(shard):
            return f"no book within {FIRST_BOOK_TIMEOUT_S:.0f} s"
        if shard.has_stuck_times(now_s) and now_s >= self._stuck_rest_until_s:
            self._stuck_rest_until_s = now_s + STUCK_REST_S
            return "event times stand still"
        return None

    def _all_unknown(self, shard: Shard) -> bool:
        return all(self.watch.is_unknown(asset_id) for asset_id in shard.books)

    async def _recover(self, findings: Findings, dropped: set[Shard]) -> None:
        """Resubscribe and move what is stuck on sockets that are otherwise well."""

        def here(asset_ids: Sequence[str]) -> list[str]:
            return [a for a in asset_ids if self.pool.home_of(a) not in dropped]

        await self._move(here(findings.move), "no book that can be trusted")
        await self._move(here(findings.frozen), "frozen: REST has newer events")
        again = self.pool.with_mates(here(findings.resubscribe))
        self.keeper.lose(again, "asked for a new book")
        for shard in list(self.pool.shards):
            if asset_ids := [each for each in again if each in shard.books]:
                logger.info("asking again for %d books", len(asset_ids))
                await shard.resubscribe(asset_ids)
        self._expect_books(again)

    async def _move(self, asset_ids: Sequence[str], reason: str) -> None:
        together = self.pool.with_mates(asset_ids)
        for start in range(0, len(together), MOVE_AT_ONCE):
            part = together[start : start + MOVE_AT_ONCE]
            logger.info("moving %d assets to a fresh socket: %s", len(part), reason)
            self.keeper.lose(part, reason)
            self.watch.suspend(part)
            await self.pool.move(part)
            self._expect_books(part)

    def _expect_books(self, asset_ids: Iterable[str]) -> None:
        """Start the deadlines of assets whose socket is up already."""
        homes = {asset_id: self.pool.home_of(asset_id) for asset_id in asset_ids}
        up = [asset_id for asset_id, home in homes.items() if home and home.is_open]
        self.watch.expect_books(up, asyncio.get_running_loop().time())

    async def _inquire_for_ever(self, witness: BookWitness) -> None:
        """Put the open questions to the witness, one polite request at a time."""
        while True:
            await self._has_questions.wait()
            self._has_questions.clear()
            batch = self.watch.most_active_first(
                each for each in self._to_ask if each in self.keeper.books
            )
            try:
                await self._inquire(witness, batch[:MAX_IDS_PER_REQUEST])
                self._witness_failures = 0
                pause_s = WITNESS_SPACING_S
            except WitnessError as error:
                self._witness_failures += 1
                pause_s = min(WITNESS_REST_CAP_S, 2.0 ** min(self._witness_failures, 6))
                logger.warning("no witness for %.0f s: %s", pause_s, error)
            await asyncio.sleep(pause_s)

    async def _inquire(self, witness: BookWitness, asset_ids: Sequence[str]) -> None:
        testimonies = await witness.look(asset_ids)
        now_s = asyncio.get_running_loop().time()
        for asset_id in self.watch.testify(asset_ids, testimonies, now_s):
            self.keeper.confirm_complete(asset_id)

    def _tell_connection(self, *, is_up: bool, reason: str) -> None:
        open_count = sum(shard.is_open for shard in self.pool.shards)
        change = ConnectionChange(is_up, open_count, reason)
        self._buffer.put([change, *self.keeper.take_news()])
