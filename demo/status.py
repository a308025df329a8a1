"""What the demo knows at one moment, ready to be shown."""

from __future__ import annotations

from dataclasses import dataclass
from decimal import Decimal
from typing import Literal, Protocol


AssetState = Literal["live", "no book", "STALE"]


@dataclass(frozen=True, slots=True)
class AssetRow:
    """One asset. Prices in USD per share, None if there are none.

    `age_s` is the time since anything came for it, None if nothing has.
    """

    asset_id: str
    outcome: str
    best_bid: Decimal | None
    best_ask: Decimal | None
    age_s: float | None
    state: AssetState
    why: str = ""

    @property
    def spread(self) -> Decimal | None:
        """Best ask minus best bid; None unless both are there."""
        if self.best_bid is None or self.best_ask is None:
            return None
        return self.best_ask - self.best_bid


@dataclass(frozen=True, slots=True)
class Socket:
    """One socket of the feed; `silence_s` counts from its last data, None before."""

    is_open: bool
    asset_count: int
    silence_s: float | None


@dataclass(frozen=True, slots=True)
class Status:
    """Everything on the screen. Times in seconds since the start."""

    elapsed_s: float
    run_s: float | None
    rows: tuple[AssetRow, ...]
    feed_state: str
    sockets: tuple[Socket, ...]
    connect_count: int
    message_count: int
    messages_per_s: float
    trade_count: int
    gaps_opened: int
    gaps_open: int
    log: tuple[str, ...]

    def count(self, state: AssetState) -> int:
        """Return how many assets are in this state."""
        return sum(row.state == state for row in self.rows)


class Display(Protocol):
    """Where a run is shown."""

    def say(self, line: str) -> None:
        """Show one line that stays."""

    def show(self, status: Status) -> None:
        """Show the present state; called several times a second."""
