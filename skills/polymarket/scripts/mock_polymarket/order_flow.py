"""The simulated traders: one timer a market, each with the market's own randomness."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

from .amounts import ONE
from .exchange import Exchange
from .ladder import Ladder
from .ledger import Entry
from .market import Market, MarketState, Side, Token
from .market_factory import MAX_DEPTH, MIN_DEPTH, make_hex_id, make_size
from .wire import LevelChange


# Shares of what happens: 90 % one level, 7 % a trade, the rest a requote of the top.
CHANGE_SHARE, TRADE_SHARE = 0.90, 0.07
# Section 4.8 of the measurement: the same frame again within 120 ms, now and then.
DUPLICATE_SHARE, DUPLICATE_WITHIN_S = 0.003, 0.12
# A trade's timestamp may be up to 58 ms older than the book that shows it.
LATE_TRADE_MS = 58


class OrderFlow:
    """Drives every open market at its own rate; `paused` stops all of them."""

    def __init__(self, exchange: Exchange, resend: Callable[[Entry], None]) -> None:
        self._exchange = exchange
        self._resend = resend
        self._timers: dict[str, asyncio.TimerHandle] = {}
        self._resends: set[asyncio.TimerHandle] = set()
        self._running = False
        self.paused = False
        exchange.rate_changed.append(self._arm)

    def start(self) -> None:
        """Begin with the markets there are; later ones join by themselves."""
        self._running = True
        for market in self._exchange.open_markets():
            self._arm(market)

    def stop(self) -> None:
        """Cancel every timer."""
        self._running = False
        for timer in (*self._timers.values(), *self._resends):
            timer.cancel()

    def _arm(self, market: Market) -> None:
        timer = self._timers.pop(market.condition_id, None)
        if timer is not None:
            timer.cancel()
        if self._running and market.events_per_s > 0:
            wait_s = market.rng.expovariate(market.events_per_s)
            loop = asyncio.get_running_loop()
            self._timers[market.condition_id] = loop.call_later(
                wait_s, self._step, market
            )

    def _step(self, market: Market) -> None:
        if market.state is MarketState.OPEN:
            if not self.paused:
                self._act(market)
            self._arm(market)

    def _act(self, market: Market) -> None:
        draw = market.rng.random()
        if draw < TRADE_SHARE and self._trade(market):
            return
        if draw < TRADE_SHARE + CHANGE_SHARE:
            changes = [self._one_change(market)]
        else:
            changes = self._requote(market)
        entry = self._exchange.matching.change_levels(market, changes)
        if market.rng.random() < DUPLICATE_SHARE:
            self._send_again(market, entry)

    def _send_again(self, market: Market, entry: Entry) -> None:
        def resend() -> None:
            self._resends.discard(timer)
            self._resend(entry)

        delay_s = market.rng.uniform(0.01, DUPLICATE_WITHIN_S)
        timer = asyncio.get_running_loop().call_later(delay_s, resend)
        self._resends.add(timer)

    def _one_change(self, market: Market) -> LevelChange:
        rng, token = market.rng, market.tokens[0]
        side = rng.choice((Side.BUY, Side.SELL))
        ladder = token.ladder(side)
        # Not a book that a fault made deep on purpose.
        if MAX_DEPTH < len(ladder) <= 4 * MAX_DEPTH:
            return LevelChange(token, side, ladder.worst(), 0)
        wanted = rng.random()
        if len(ladder) <= MIN_DEPTH or wanted < 0.2:
            fresh = _free_price(market, token, side)
            if fresh is not None:
                return LevelChange(token, side, fresh, make_size(rng))
        if len(ladder) > MIN_DEPTH and wanted > 0.8:
            return LevelChange(token, side, _some_level(market, ladder), 0)
        if not len(ladder):
            price = ONE // 2 // market.tick * market.tick
            return LevelChange(token, side, price, make_size(rng))
        return LevelChange(token, side, _some_level(market, ladder), make_size(rng))

    def _requote(self, market: Market) -> list[LevelChange]:
        """Move the top by a tick: drop one side's best, raise the other towards it."""
        token, tick = market.tokens[0], market.tick
        bid, ask = token.bids.best, token.asks.best
        if bid is None or ask is None:
            return [self._one_change(market)]
        middle = (bid + ask) // 2
        up = market.rng.random() < (0.5 + (ONE / 2 - middle) / ONE * 0.2)
        if up and ask + tick < ONE:
            fading, rising, old, new = Side.SELL, Side.BUY, ask, bid + tick
        elif not up and bid - tick > 0:
            fading, rising, old, new = Side.BUY, Side.SELL, bid, ask - tick
        else:
            return [self._one_change(market)]
        return [
            LevelChange(token, fading, old, 0),
            LevelChange(token, rising, new, make_size(market.rng)),
        ]

    def _trade(self, market: Market) -> bool:
        rng = market.rng
        token = rng.choice(market.tokens)
        taker = rng.choice((Side.BUY, Side.SELL))
        resting = token.ladder(taker.opposite)
        if len(resting) < MIN_DEPTH:
            return False
        transaction = make_hex_id(rng)
        fills = [(*fill, transaction) for fill in _fills(market, resting)]
        late_ms = rng.choice((0, 0, rng.randint(1, LATE_TRADE_MS)))
        self._exchange.matching.execute(
            market, token, taker, fills, announced_late_ms=late_ms
        )
        return True


def _fills(market: Market, resting: Ladder) -> list[tuple[int, int]]:
    """Return (price, size) of what one taker gets, in one transaction."""
    best, kind = resting.best_prices(3), market.rng.random()
    part = _part(market, resting.size_at(best[0]))
    if kind < 0.8:
        return [(best[0], part)]
    if kind < 0.92:
        # It walks the book: whole levels, and a part of the last one.
        *eaten, last = best[: market.rng.randint(2, 3)]
        whole = [(price, resting.size_at(price)) for price in eaten]
        return [*whole, (last, _part(market, resting.size_at(last)))]
    # Legal twins: two fills that nothing tells apart.
    return [(best[0], part // 2 + 1)] * 2


def _some_level(market: Market, ladder: Ladder) -> int:
    """Pick a level, one near the top more often than one far off."""
    prices = ladder.best_prices(MAX_DEPTH)
    return prices[min(int(market.rng.expovariate(0.3)), len(prices) - 1)]


def _free_price(market: Market, token: Token, side: Side) -> int | None:
    """Return a price without a level that crosses nothing, or None."""
    step = -market.tick if side is Side.BUY else market.tick
    opposite = token.ladder(side.opposite).best
    own = token.ladder(side)
    start = opposite if opposite is not None else (own.best or ONE // 2)
    skip = market.rng.randint(1, 6)
    for distance in range(1, 2 * MAX_DEPTH):
        price = (start // market.tick + distance * (step // market.tick)) * market.tick
        if not 0 < price < ONE:
            return None
        if not own.size_at(price) and _on_its_side(side, price, opposite):
            skip -= 1
            if not skip:
                return price
    return None


def _on_its_side(side: Side, price: int, opposite: int | None) -> bool:
    if opposite is None:
        return True
    return price < opposite if side is Side.BUY else price > opposite


def _part(market: Market, available: int) -> int:
    """Return a part of what is there, down to a millionth and never nothing."""
    return max(available * market.rng.randint(1, 100) // 100, 1)
