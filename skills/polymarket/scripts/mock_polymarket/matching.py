"""What changes books: level changes, trades, tick sizes; recorded and announced."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence

from . import wire
from .amounts import ONE, with_decimals_of
from .clock import VenueClock
from .ledger import Entry, Ledger
from .market import Market, Side, Token
from .wire import LevelChange


# D-mkt: the tick becomes finer when the price is above 0.96 or below 0.04.
FINE_ABOVE, FINE_BELOW = 960_000, 40_000
COARSE_TICK, FINE_TICK = 10_000, 1_000

Fill = tuple[int, int, str]  # price and size in millionths, transaction hash


class Matching:
    """Applies what was decided, writes it to the ledger, and tells the listeners."""

    def __init__(self, clock: VenueClock, ledger: Ledger) -> None:
        self._clock = clock
        self._ledger = ledger
        self._announced: dict[str, tuple[str, str]] = {}
        self.listeners: list[Callable[[Entry], None]] = []

    def open(self, market: Market) -> None:
        """Take note of a market's top, so that only its changes are announced."""
        for token in market.tokens:
            self._announced[token.asset_id] = token.best_texts()

    def publish(
        self, kind: str, market: Market, asset_ids: tuple[str, ...], text: str
    ) -> Entry:
        """Record an event and tell the listeners of it."""
        entry = self._ledger.append(
            kind,
            time_ms=self._clock.now_ms(),
            condition_id=market.condition_id,
            asset_ids=asset_ids,
            text=text,
        )
        for listener in self.listeners:
            listener(entry)
        return entry

    def change_levels(self, market: Market, changes: Sequence[LevelChange]) -> Entry:
        """Apply changes and send them with their mirrors in one `price_change`."""
        both: list[LevelChange] = []
        for change in changes:
            token, side, price, size = change
            market.set_level(token, side, price, size)
            other = market.complement(token)
            both += (change, LevelChange(other, side.opposite, ONE - price, size))
        self._touch(market)
        text = wire.price_change(market, both)
        entry = self.publish("price_change", market, market.asset_ids, text)
        self._after_change(market)
        return entry

    def execute(
        self,
        market: Market,
        token: Token,
        taker: Side,
        fills: Sequence[Fill],
        *,
        announced_late_ms: int = 0,
    ) -> list[Entry]:
        """Let a taker have the fills: both books first, then one trade a fill.

        What a level does not hold is taken from nobody: a maker is thought to have
        stepped in at that instant.
        """
        resting = token.ladder(taker.opposite)
        for price, size, _ in fills:
            left = max(resting.size_at(price) - size, 0)
            market.set_level(token, taker.opposite, price, left)
        # The book's hash knows the trade before anybody is told of it.
        token.last_trade_price = with_decimals_of(fills[-1][0], market.tick)
        self._touch(market)
        self._send_books(market)
        at_ms = market.changed_ms - announced_late_ms
        trades = [self._announce(market, token, taker, fill, at_ms) for fill in fills]
        self._after_change(market)
        return trades

    def deepen(
        self,
        market: Market,
        bids: Iterable[tuple[int, int]],
        asks: Iterable[tuple[int, int]],
    ) -> None:
        """Set many (price, size) levels of the first token; send both books whole."""
        for side, levels in ((Side.BUY, bids), (Side.SELL, asks)):
            for price, size in levels:
                market.set_level(market.tokens[0], side, price, size)
        self._touch(market)
        self._send_books(market)
        self._after_change(market)

    def change_tick(self, market: Market, tick: int) -> None:
        """Change the grid; levels on the old one stay where they are."""
        old, market.tick = market.tick, tick
        market.forget_hashes()
        for token in market.tokens:
            text = wire.tick_size_change(market, token, old, self._clock.now_ms())
            self.publish("tick_size_change", market, (token.asset_id,), text)

    def _announce(
        self, market: Market, token: Token, taker: Side, fill: Fill, at_ms: int
    ) -> Entry:
        price, size, transaction = fill
        text = wire.last_trade_price(
            market,
            token,
            price=price,
            size=size,
            side=taker,
            timestamp_ms=at_ms,
            transaction_hash=transaction,
        )
        return self.publish("last_trade_price", market, (token.asset_id,), text)

    def _touch(self, market: Market) -> None:
        market.changed_ms = self._clock.now_ms()
        market.forget_hashes()

    def _send_books(self, market: Market) -> None:
        for token in market.tokens:
            text = wire.later_book(market, token)
            self.publish("book", market, (token.asset_id,), text)

    def _after_change(self, market: Market) -> None:
        for token in market.tokens:
            best = token.best_texts()
            if self._announced[token.asset_id] != best:
                self._announced[token.asset_id] = best
                text = wire.best_bid_ask(market, token, self._clock.now_ms())
                self.publish("best_bid_ask", market, (token.asset_id,), text)
        bid, ask = market.tokens[0].bids.best, market.tokens[0].asks.best
        if market.tick == COARSE_TICK and bid is not None and ask is not None:
            middle = (bid + ask) // 2
            if middle > FINE_ABOVE or middle < FINE_BELOW:
                self.change_tick(market, FINE_TICK)
