"""Decide, asset by asset, what is alive, what is quiet and what is frozen.

A socket that answers PONG can deliver nothing, for one asset or for all, and a
market can be silent for hours because nothing happens in it. A timer cannot tell the
two apart; a witness can: the REST book of a silent asset shows whether something was
missed. `inspect` says what to do about whom, `testify` takes what the witness saw.

Pure: no I/O; every method is given the time, in seconds of one monotonic clock.

Copy with: order_book.py.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

from order_book import HashFields, OrderBook


FIRST_BOOK_TIMEOUT_S = 10.0
ASK_AFTER_SILENCE_S = 9.0
ASK_AGAIN_S = 30.0
STARVED_AFTER_S = 45.0
# What the witness has seen may still be on its way over the stream, for 11 s under
# load: until the connection is silent, or has delivered something newer.
CONFIRM_S = 2.0
# The book that follows a trade often heals a doubt by itself.
RESYNC_AFTER_S = 1.0
RECOVERY_BASE_S = 10.0
RECOVERY_CAP_S = 300.0
GONE_AFTER_S = 600.0
HASH_CHECKS_PER_INSPECTION = 50
RIGHT_HASH_COUNTS_FOR_S = 60.0


@dataclass(frozen=True, slots=True)
class Testimony:
    """What REST said of one asset: its newest book."""

    timestamp_ms: int
    book_hash: str | None
    hash_fields: HashFields


@dataclass(slots=True)
class Findings:
    """What should be done now, by asset id."""

    resubscribe: list[str] = field(default_factory=list)
    move: list[str] = field(default_factory=list)
    frozen: list[str] = field(default_factory=list)
    ask: list[str] = field(default_factory=list)
    wrong_hash: list[str] = field(default_factory=list)


@dataclass(slots=True)
class _Watched:
    book: OrderBook
    waiting_since_s: float | None = None
    seen_at_s: float = 0.0
    seen_updates: int = -1
    was_alive: bool = False
    asked_at_s: float | None = None
    is_unknown: bool = False
    bookless_since_s: float | None = None
    suspect_since_s: float | None = None
    suspect_ms: int = 0
    stream_ms: int = 0
    is_stream_silent: bool = False
    strikes: int = 0
    freezes: int = 0
    rest_until_s: float = 0.0
    untrusted_since_s: float | None = None
    hashed_updates: int = -1
    hashed_at_s: float = 0.0
    wrong_hashes: int = 0


class AssetWatch:
    """One record per followed asset, compared with its book at every inspection."""

    def __init__(self) -> None:
        self._watched: dict[str, _Watched] = {}
        self._right_hash_at_s = float("-inf")

    def follow(self, books: Iterable[OrderBook]) -> None:
        """Begin to watch these books."""
        for book in books:
            self._watched.setdefault(book.asset_id, _Watched(book))

    def unfollow(self, asset_ids: Iterable[str]) -> None:
        """Stop watching."""
        for asset_id in asset_ids:
            self._watched.pop(asset_id, None)

    def expect_books(self, asset_ids: Iterable[str], now_s: float) -> None:
        """Start the first-book deadline: a subscription for these was just sent."""
        for watched in self._known(asset_ids):
            watched.waiting_since_s = watched.seen_at_s = now_s
            watched.suspect_since_s = watched.untrusted_since_s = None

    def note_stream(
        self, asset_ids: Iterable[str], newest_ms: int, silence_s: float
    ) -> None:
        """Note how far the connection of these has come: its newest event's time."""
        for watched in self._known(asset_ids):
            watched.stream_ms = newest_ms
            watched.is_stream_silent = silence_s >= ASK_AFTER_SILENCE_S

    def suspend(self, asset_ids: Iterable[str]) -> None:
        """Expect nothing: the connection of these is down, or is not being read."""
        for watched in self._known(asset_ids):
            watched.waiting_since_s = watched.suspect_since_s = None

    def _known(self, asset_ids: Iterable[str]) -> list[_Watched]:
        """Look up those still followed: a caller's list may be older than that."""
        return [self._watched[each] for each in asset_ids if each in self._watched]

    def in_order_of_need(self, asset_ids: Iterable[str], now_s: float) -> list[str]:
        """Order assets to ask about: those left waiting too long, then the most active.

        A freeze shows first where most happens.
        """

        def need(asset_id: str) -> tuple[bool, float]:
            watched = self._watched[asset_id]
            asked_at_s = watched.asked_at_s or 0.0
            if now_s - max(asked_at_s, watched.seen_at_s) > STARVED_AFTER_S:
                return False, asked_at_s
            return True, -watched.seen_at_s

        return sorted(asset_ids, key=need)

    def is_unknown(self, asset_id: str) -> bool:
        """Whether REST knows no book of this asset: closed, settled or mistyped."""
        watched = self._watched.get(asset_id)
        return watched is None or watched.is_unknown

    def is_gone(self, asset_id: str, now_s: float) -> bool:
        """Whether an asset that was alive has had no book anywhere for long."""
        watched = self._watched[asset_id]
        if watched.book.has_book or not watched.is_unknown or not watched.was_alive:
            watched.bookless_since_s = None
        elif watched.bookless_since_s is None:
            watched.bookless_since_s = now_s
        return _lasted(watched.bookless_since_s, GONE_AFTER_S, now_s)

    def is_frozen(self, asset_id: str) -> bool:
        """Whether the witness has seen more of this asset than the stream."""
        watched = self._watched.get(asset_id)
        return watched is not None and watched.suspect_since_s is not None

    def inspect(self, now_s: float) -> Findings:
        """Look at every asset whose connection is up."""
        findings = Findings()
        for asset_id, watched in self._watched.items():
            if watched.waiting_since_s is None:
                continue
            if watched.book.has_book:
                _look_at_life(asset_id, watched, now_s, findings)
            else:
                _look_for_first_book(asset_id, watched, now_s, findings)
        self._check_hashes(now_s, findings)
        return findings

    def testify(
        self,
        asked: Iterable[str],
        testimonies: Mapping[str, Testimony],
        now_s: float,
    ) -> list[str]:
        """Take the witness's answer; return the assets it shows to be complete."""
        complete = []
        for asset_id in asked:
            watched = self._watched.get(asset_id)
            if watched is None:
                continue
            watched.asked_at_s = now_s
            testimony = testimonies.get(asset_id)
            watched.is_unknown = testimony is None
            if testimony is None or not watched.book.has_book:
                continue
            watched.book.hash_fields = testimony.hash_fields
            if testimony.timestamp_ms > watched.book.timestamp_ms:
                watched.suspect_ms = testimony.timestamp_ms
                watched.suspect_since_s = watched.suspect_since_s or now_s
            elif testimony.book_hash == watched.book.hash is not None:
                complete.append(asset_id)
        return complete

    def _check_hashes(self, now_s: float, findings: Findings) -> None:
        """Recompute some hashes of books that moved; two wrong in a row are a finding.

        Only while right hashes are being seen as well: the venue has changed its
        recipe before, and then all are wrong and mean nothing.
        """
        checked = 0
        # Those checked longest ago come first, or busy assets would starve the rest.
        for asset_id, watched in sorted(
            self._watched.items(), key=lambda item: item[1].hashed_at_s
        ):
            if watched.hashed_updates == watched.book.update_count:
                continue
            if checked == HASH_CHECKS_PER_INSPECTION:
                break
            is_right = watched.book.verify_hash()
            if is_right is None:
                continue
            watched.hashed_updates = watched.book.update_count
            checked += 1
            watched.hashed_at_s = now_s
            if is_right:
                self._right_hash_at_s, watched.wrong_hashes = now_s, 0
                continue
            watched.wrong_hashes += 1
            recipe_is_known = now_s - self._right_hash_at_s <= RIGHT_HASH_COUNTS_FOR_S
            if (
                watched.wrong_hashes >= 2
                and recipe_is_known
                and watched.book.is_trusted
            ):
                findings.wrong_hash.append(asset_id)


def _look_for_first_book(
    asset_id: str, watched: _Watched, now_s: float, findings: Findings
) -> None:
    """Ask for a late first book again, then on another connection.

    An asset that REST does not know either (closed, settled, mistyped) is left to a
    slow retry: no connection will bring it.
    """
    since_s = watched.waiting_since_s
    waited_s = 0.0 if since_s is None else now_s - since_s
    if waited_s >= FIRST_BOOK_TIMEOUT_S / 2 and _may_ask(watched, now_s):
        findings.ask.append(asset_id)
    if waited_s < FIRST_BOOK_TIMEOUT_S or now_s < watched.rest_until_s:
        return
    if watched.is_unknown:
        watched.rest_until_s = now_s + RECOVERY_CAP_S
        findings.resubscribe.append(asset_id)
    else:
        _recover(asset_id, watched, now_s, findings)


def _look_at_life(
    asset_id: str, watched: _Watched, now_s: float, findings: Findings
) -> None:
    """Judge an asset that has a book: moving, quiet, doubted or frozen."""
    _note_changes(watched, now_s)
    if now_s < watched.rest_until_s:
        return
    if _lasted(watched.untrusted_since_s, RESYNC_AFTER_S, now_s):
        _recover(asset_id, watched, now_s, findings)
    elif _lasted(watched.suspect_since_s, CONFIRM_S, now_s) and (
        watched.is_stream_silent or watched.stream_ms >= watched.suspect_ms
    ):
        _rest(watched, watched.freezes, now_s)
        watched.freezes += 1
        findings.frozen.append(asset_id)
    elif watched.suspect_since_s is None and _may_ask(watched, now_s):
        findings.ask.append(asset_id)


def _note_changes(watched: _Watched, now_s: float) -> None:
    book = watched.book
    if book.update_count != watched.seen_updates:
        watched.seen_updates, watched.seen_at_s = book.update_count, now_s
        watched.was_alive = True
        if watched.suspect_ms <= book.timestamp_ms:
            watched.suspect_since_s = None
        if book.is_trusted:
            watched.strikes = 0
            # A book after a move proves no freeze: only what comes later does.
            if now_s >= watched.rest_until_s:
                watched.freezes = 0
    if book.is_trusted:
        watched.untrusted_since_s = None
    elif watched.untrusted_since_s is None:
        watched.untrusted_since_s = now_s


def _lasted(since_s: float | None, how_long_s: float, now_s: float) -> bool:
    return since_s is not None and now_s - since_s >= how_long_s


def _may_ask(watched: _Watched, now_s: float) -> bool:
    """Once when silence begins or hash fields are missing, then every `ASK_AGAIN_S`."""
    is_silent = now_s - watched.seen_at_s >= ASK_AFTER_SILENCE_S
    if not is_silent and watched.book.hash_fields is not None:
        return False
    asked_at_s = watched.asked_at_s
    return (
        asked_at_s is None
        or now_s - asked_at_s >= ASK_AGAIN_S
        or (is_silent and asked_at_s < watched.seen_at_s)
    )


def _recover(
    asset_id: str, watched: _Watched, now_s: float, findings: Findings
) -> None:
    """First subscribe anew where the asset is, from the second time on elsewhere."""
    (findings.move if watched.strikes else findings.resubscribe).append(asset_id)
    _rest(watched, watched.strikes, now_s)
    watched.strikes += 1


def _rest(watched: _Watched, failures: int, now_s: float) -> None:
    """Leave the asset alone for longer after every recovery that did not help."""
    pause_s = min(RECOVERY_CAP_S, RECOVERY_BASE_S * 2.0 ** min(failures, 16))
    watched.rest_until_s = now_s + pause_s
