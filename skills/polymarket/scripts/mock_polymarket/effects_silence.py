"""Faults in which the feed lies or falls silent while the socket looks healthy."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from random import Random
from typing import TYPE_CHECKING, ClassVar

from .effect import Effect, Params
from .outgoing import Outgoing


if TYPE_CHECKING:
    from .session import Session


def chosen_assets(effect: Effect, default_count: int | None) -> set[str]:
    """Read `assets`: ids, or how many of the open ones; None is all of them."""
    asked, known = effect.text("assets"), effect.venue.asset_ids
    if not asked:
        return set(known[:default_count])
    # An id has 77 digits; anything short is a count.
    if asked.isdigit() and len(asked) < 10:
        return set(known[: int(asked)])
    return set(asked.split(","))


class FreezePong(Effect):
    """F01: PONG is answered, and nothing else comes."""

    defaults: ClassVar[Params] = {"new": False, "heal": False}

    def start(self) -> None:
        """Freeze every connection there is."""
        for session in self.venue.sessions:
            session.frozen = True

    def stop(self) -> None:
        """Leave the frozen ones frozen, unless heal=true."""
        if self.flag("heal"):
            for session in self.venue.sessions:
                session.frozen = False

    def accepted(self, session: Session) -> None:
        """Freeze new connections too with new=true."""
        session.frozen = self.flag("new")


class FreezeAsset(Effect):
    """F03: some assets stop for good on the connections there are."""

    defaults: ClassVar[Params] = {"assets": "", "heal": False}

    def start(self) -> None:
        """Silence the assets on every connection there is."""
        self._assets = chosen_assets(self, 1)
        for session in self.venue.sessions:
            session.frozen_assets |= self._assets

    def stop(self) -> None:
        """Leave them silent, unless heal=true."""
        if self.flag("heal"):
            for session in self.venue.sessions:
                session.frozen_assets -= self._assets


class SubNoBook(Effect):
    """F04: a subscription is accepted and its book never comes."""

    defaults: ClassVar[Params] = {"assets": "", "times": 0, "deltas": False}

    def start(self) -> None:
        """Note which assets are meant; None stands for every one there will be."""
        self._assets = chosen_assets(self, None) if self.text("assets") else None
        self._withheld: Counter[str] = Counter()

    def books_for(self, session: Session, asset_ids: list[str]) -> list[str]:
        """Withhold the book, and without deltas=true all that follows it."""
        withheld = [asset_id for asset_id in asset_ids if self._withholds(asset_id)]
        self._withheld.update(withheld)
        if not self.flag("deltas"):
            session.muted_assets.update(withheld)
        return [asset_id for asset_id in asset_ids if asset_id not in withheld]

    def _withholds(self, asset_id: str) -> bool:
        if self._assets is not None and asset_id not in self._assets:
            return False
        times = int(self.number("times"))
        return not times or self._withheld[asset_id] < times


class StuckTs(Effect):
    """F05: events flow, their timestamps do not."""

    def start(self) -> None:
        """Take the time at which all timestamps will stand."""
        self._stuck = str(self.venue.now_ms())

    def outgoing(self, session: Session, out: Outgoing) -> list[Outgoing]:
        """Put the old time into every event."""
        if not out.is_event:
            return [out]
        return [out.with_payload({**out.payload(), "timestamp": self._stuck})]


class Quiet(Effect):
    """F09: the market is silent because nobody does anything."""

    def start(self) -> None:
        """Pause the order flow."""
        self.venue.flow.paused = True

    def stop(self) -> None:
        """Resume it."""
        self.venue.flow.paused = False


class HalfOpen(Effect):
    """F10: existing connections are black holes; no FIN tells anybody."""

    defaults: ClassVar[Params] = {"heal": False}

    def start(self) -> None:
        """Stop reading from and writing to every connection there is."""
        for session in self.venue.sessions:
            session.fall_silent()

    def stop(self) -> None:
        """Leave them as they are, unless heal=true."""
        if self.flag("heal"):
            for session in self.venue.sessions:
                session.black_hole = False


class Cap500(Effect):
    """F28: only the first tokens of a connection get books."""

    defaults: ClassVar[Params] = {"cap": 500}

    def start(self) -> None:
        """Count from the connections there are."""
        self._served: dict[int, int] = {}

    def books_for(self, session: Session, asset_ids: list[str]) -> list[str]:
        """Give books until the connection has had its share."""
        served = self._served.get(session.number, 0)
        room = max(int(self.number("cap")) - served, 0)
        self._served[session.number] = served + len(asset_ids)
        return asset_ids[:room]


class MissedDelta(Effect):
    """F37: now and then a change is never sent."""

    defaults: ClassVar[Params] = {"every": 20}

    def start(self) -> None:
        """Begin to count."""
        self._seen: Counter[int] = Counter()

    def outgoing(self, session: Session, out: Outgoing) -> list[Outgoing]:
        """Drop every n-th price_change of a connection."""
        if out.kind != "price_change":
            return [out]
        self._seen[session.number] += 1
        is_lost = self._seen[session.number] % max(int(self.number("every")), 1) == 0
        return [] if is_lost else [out]


class Latency(Effect):
    """Everything arrives late, PONG included."""

    defaults: ClassVar[Params] = {"s": 2.0}

    def start(self) -> None:
        """Delay what is sent from now on."""
        self.venue.delay_s = self.number("s")

    def stop(self) -> None:
        """Send at once again; what is on its way still comes in order."""
        self.venue.delay_s = 0.0


class BigBook(Effect):
    """F15: real depth that a client's 1 MiB limit does not fit."""

    is_one_shot = True

    def start(self) -> None:
        """Fill every price below the best ask, and with long sizes.

        The finest tick of the venue, 0.0001, gives at most 9,999 levels; only long
        sizes make two books of them larger than 1 MiB.
        """
        for market in self.venue.exchange.open_markets():
            self.venue.exchange.change_tick_size(market.condition_id, "0.0001")
            yes = market.tokens[0]
            top = yes.asks.best or 1_000_000
            bids = [(p, _long_size(market.rng)) for p in range(100, top, 100)]
            asks = [(p, _long_size(market.rng)) for p in range(top, 10**6, 100)]
            self.venue.exchange.matching.deepen(market, bids, asks)


def _long_size(rng: Random) -> int:
    """Return a size of 25 characters, too long for a double to hold."""
    return 10**23 + rng.randrange(10**8) * 10 + rng.randint(1, 9)


SILENCE_EFFECTS: Mapping[str, type[Effect]] = {
    "freeze_pong": FreezePong,
    "freeze_asset": FreezeAsset,
    "sub_no_book": SubNoBook,
    "stuck_ts": StuckTs,
    "quiet": Quiet,
    "half_open": HalfOpen,
    "cap_500": Cap500,
    "missed_delta": MissedDelta,
    "latency": Latency,
    "big_book": BigBook,
}
