"""Everything the exchange ever decided, delivered or not."""

from __future__ import annotations

import hashlib
import json
from collections import defaultdict
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from typing import Any

from .market import BookView
from .text_block import TextBlock


@dataclass(frozen=True, slots=True)
class Entry:
    """One decision of the exchange.

    `time_ms` is when the exchange decided; a trade's own `timestamp` may be a few
    milliseconds older.
    """

    seq: int
    time_ms: int
    kind: str
    condition_id: str
    asset_ids: tuple[str, ...]
    _block: TextBlock = field(repr=False)
    _number: int = field(repr=False)

    @property
    def text(self) -> str:
        """The JSON object that the wire carries for it."""
        return self._block.text(self._number)

    @property
    def payload(self) -> dict[str, Any]:
        """The decoded `text`."""
        decoded: dict[str, Any] = json.loads(self.text)
        return decoded


class Ledger:
    """The append-only record that a client's findings are compared with."""

    def __init__(self, book_of: Callable[[str], BookView]) -> None:
        self.entries: list[Entry] = []
        self._of_asset: defaultdict[str, list[Entry]] = defaultdict(list)
        self._book_of = book_of
        self._block = TextBlock()

    def append(
        self,
        kind: str,
        *,
        time_ms: int,
        condition_id: str,
        asset_ids: tuple[str, ...],
        text: str,
    ) -> Entry:
        """Record one decision and return its entry."""
        if self._block.is_full:
            self._block = TextBlock()
        number = self._block.add(text)
        seq = len(self.entries)
        entry = Entry(seq, time_ms, kind, condition_id, asset_ids, self._block, number)
        self.entries.append(entry)
        for asset_id in asset_ids:
            self._of_asset[asset_id].append(entry)
        return entry

    def trades(self, asset_id: str | None = None) -> list[Entry]:
        """Return every `last_trade_price`, of one asset or of all, oldest first."""
        return [e for e in self._of(asset_id) if e.kind == "last_trade_price"]

    def events(
        self,
        asset_id: str | None = None,
        since_ms: int | None = None,
        until_ms: int | None = None,
    ) -> list[Entry]:
        """Return what was decided in [since_ms, until_ms); None leaves an end open."""
        return [
            entry
            for entry in self._of(asset_id)
            if (since_ms is None or entry.time_ms >= since_ms)
            and (until_ms is None or entry.time_ms < until_ms)
        ]

    def book(self, asset_id: str) -> BookView:
        """Return the true book as it is now.

        Raises:
            KeyError: no such asset.

        """
        return self._book_of(asset_id)

    def digest(self) -> str:
        """Return a SHA-256 over all entries: equal runs have equal digests."""
        whole = hashlib.sha256()
        for entry in self.entries:
            whole.update(f"{entry.time_ms} {entry.kind} {entry.text}\n".encode())
        return whole.hexdigest()

    def _of(self, asset_id: str | None) -> Iterable[Entry]:
        return self.entries if asset_id is None else self._of_asset.get(asset_id, ())
