"""The one truth behind all channels: the markets, and what anybody may do to them."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from random import Random

from . import wire
from .amounts import ONE, Amount, to_text, to_units
from .clock import VenueClock
from .ledger import Entry, Ledger
from .market import BookView, Market, MarketState, Side, Token
from .market_factory import OUTCOMES, fill_book, make_hex_id, make_market, make_size
from .matching import Matching
from .wire import LevelChange


ANNOUNCE_AFTER_S = 2.0  # the real venue takes 120 to 148 s after a market's end


class Exchange:
    """Decides everything; `matching` applies it, `ledger` keeps it.

    `matching.listeners` get every ledger entry as it is made. `settled` get a market
    when its resolution is announced, `rate_changed` when its order flow changes.
    """

    def __init__(self, clock: VenueClock, seed: int) -> None:
        self._clock = clock
        self._seed = seed
        self._market_of: dict[str, Market] = {}
        self._timers: set[asyncio.TimerHandle] = set()
        self.markets: dict[str, Market] = {}
        self.ledger = Ledger(self.book)
        self.matching = Matching(clock, self.ledger)
        self.settled: list[Callable[[Market], None]] = []
        self.rate_changed: list[Callable[[Market], None]] = []

    def market(self, condition_id: str) -> Market:
        """Return a market; KeyError if there is none."""
        return self.markets[condition_id]

    def market_of(self, asset_id: str) -> Market | None:
        """Return the market of a token, or None if the token is unknown."""
        return self._market_of.get(asset_id)

    def open_market_of(self, asset_id: str) -> Market | None:
        """Return the market of a token that still has a book, else None."""
        market = self._market_of.get(asset_id)
        if market is None or market.state is MarketState.CLOSED:
            return None
        return market

    def open_markets(self) -> list[Market]:
        """Return the markets that trade, in the order of their making."""
        return [m for m in self.markets.values() if m.state is MarketState.OPEN]

    def book(self, asset_id: str) -> BookView:
        """Return the true book of a token, empty if closed; KeyError if unknown."""
        market = self._market_of[asset_id]
        return market.view(market.token(asset_id))

    def create_market(
        self,
        *,
        question: str | None = None,
        outcomes: Sequence[str] | None = None,
        tick_size: Amount = "0.01",
        mid: Amount | None = None,
        neg_risk: bool = False,
        events_per_s: float = 0.0,
        announce: bool = True,
    ) -> Market:
        """Open a market with a filled book and send `new_market`.

        Raises:
            ValueError: a number that is none, or not two outcomes.

        """
        number = len(self.markets)
        # A generator of its own: what one market does never changes another's run.
        rng = Random(f"{self._seed}:market:{number}")  # noqa: S311
        market = make_market(
            rng,
            number,
            outcomes=outcomes or OUTCOMES[number % 3 == 1],
            tick=to_units(tick_size),
            changed_ms=self._clock.now_ms() - rng.randrange(60_000, 7_200_000),
            question=question,
            neg_risk=neg_risk,
            events_per_s=events_per_s,
        )
        drawn = rng.randrange(350_000, 650_000)
        fill_book(market, drawn if mid is None else to_units(mid))
        self._add(market, announce=announce)
        return market

    def set_level(self, asset_id: str, side: str, price: Amount, size: Amount) -> None:
        """Give one level a new total size (0 removes it), mirrored on the complement.

        Raises:
            KeyError: unknown asset.
            ValueError: closed market, price off the grid, or a crossed book.

        """
        market, token = self._tradable(asset_id)
        change = LevelChange(token, Side(side), to_units(price), to_units(size))
        _check(market, change)
        self.matching.change_levels(market, [change])

    def trade(
        self,
        asset_id: str,
        side: str,
        price: Amount | None = None,
        size: Amount | None = None,
        fills: int = 1,
        same_transaction: bool = True,
    ) -> list[Entry]:
        """Let a taker trade `fills` times `size` and return the trades' entries.

        Without `price` the best opposite level is hit, without `size` a drawn size
        is used. The fills are equal in every value but, with `same_transaction` off,
        the transaction hash.

        Raises:
            KeyError: unknown asset.
            ValueError: closed market, no fill, or a price or size out of range.

        """
        market, token = self._tradable(asset_id)
        taker = Side(side)
        best = token.ladder(taker.opposite).best
        at = to_units(price) if price is not None else best or ONE // 2
        each = to_units(size) if size is not None else make_size(market.rng)
        if not 0 < at < ONE or each <= 0 or fills < 1:
            raise ValueError(f"no trade: {fills} x {to_text(each)} at {to_text(at)}")
        hashes = [make_hex_id(market.rng)]
        while len(hashes) < fills:
            hashes.append(hashes[0] if same_transaction else make_hex_id(market.rng))
        executions = [(at, each, transaction) for transaction in hashes]
        return self.matching.execute(market, token, taker, executions)

    def change_tick_size(self, condition_id: str, new: Amount) -> None:
        """Change a market's tick; levels on the old grid stay where they are.

        Raises:
            KeyError: unknown market.
            ValueError: not a tick size.

        """
        tick = to_units(new)
        if not 0 < tick < ONE:
            raise ValueError(f"a tick size is between 0 and 1, not {to_text(tick)}")
        self.matching.change_tick(self.market(condition_id), tick)

    def set_rate(self, condition_id: str, events_per_s: float) -> None:
        """Change how much a market's simulated order flow does; 0 stops it."""
        market = self.market(condition_id)
        market.events_per_s = events_per_s
        for callback in self.rate_changed:
            callback(market)

    def resolve(
        self,
        condition_id: str,
        winner_index: int,
        *,
        announce: bool = True,
        announce_after_s: float = ANNOUNCE_AFTER_S,
    ) -> None:
        """Empty the book now; announce the winner and close the market a while later.

        With `announce` off `market_resolved` is lost, as it happens at the venue.

        Raises:
            KeyError: unknown market.
            ValueError: no such outcome, or the market is no longer open.

        """
        if winner_index not in (0, 1):
            raise ValueError(f"winner_index is 0 or 1, not {winner_index!r}")
        market = self._end_trading(condition_id)
        market.state = MarketState.SETTLING
        market.winner_index = winner_index
        self._later(announce_after_s, lambda: self._settle(market, announce=announce))

    def close(self, condition_id: str) -> None:
        """Close a market at once and without a winner.

        Raises:
            KeyError: unknown market.
            ValueError: the market is no longer open.

        """
        market = self._end_trading(condition_id)
        market.state = MarketState.CLOSED
        market.closed_ms = self._clock.now_ms()

    def stop(self) -> None:
        """Forget what was still to be announced."""
        for timer in self._timers:
            timer.cancel()

    def _add(self, market: Market, *, announce: bool) -> None:
        self.markets[market.condition_id] = market
        for token in market.tokens:
            self._market_of[token.asset_id] = market
        self.matching.open(market)
        if announce:
            text = wire.new_market(market, self._clock.now_ms())
            self.matching.publish("new_market", market, market.asset_ids, text)
        for callback in self.rate_changed:
            callback(market)

    def _tradable(self, asset_id: str) -> tuple[Market, Token]:
        market = self._market_of[asset_id]
        if market.state is not MarketState.OPEN:
            raise ValueError(f"market {market.condition_id} is {market.state.value}")
        return market, market.token(asset_id)

    def _end_trading(self, condition_id: str) -> Market:
        market = self.market(condition_id)
        if market.state is not MarketState.OPEN:
            raise ValueError(f"market {condition_id} is {market.state.value}")
        yes = market.tokens[0]
        removals = [
            LevelChange(yes, side, price, 0)
            for side in Side
            for price, _ in yes.ladder(side).levels()
        ]
        if removals:
            self.matching.change_levels(market, removals)
        self.set_rate(condition_id, 0.0)
        return market

    def _settle(self, market: Market, *, announce: bool) -> None:
        now_ms = self._clock.now_ms()
        market.state, market.closed_ms = MarketState.CLOSED, now_ms
        if announce:
            winner = market.tokens[market.winner_index or 0]
            text = wire.market_resolved(market, winner, now_ms)
            self.matching.publish("market_resolved", market, market.asset_ids, text)
        for callback in self.settled:
            callback(market)

    def _later(self, delay_s: float, action: Callable[[], None]) -> None:
        def act() -> None:
            self._timers.discard(timer)
            action()

        timer = asyncio.get_running_loop().call_later(delay_s, act)
        self._timers.add(timer)


def _check(market: Market, change: LevelChange) -> None:
    token, side, price, size = change
    if not 0 < price < ONE or price % market.tick or size < 0:
        raise ValueError(
            f"no level: {to_text(size)} at {to_text(price)} on a grid of "
            f"{to_text(market.tick)}"
        )
    opposite = token.ladder(side.opposite).best
    if size and opposite is not None:
        crosses = price >= opposite if side is Side.BUY else price <= opposite
        if crosses:
            raise ValueError(f"{side.value} at {to_text(price)} crosses the book")
