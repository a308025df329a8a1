"""One market: two tokens whose books mirror each other."""

from __future__ import annotations

from dataclasses import dataclass, field
from decimal import Decimal
from enum import StrEnum
from random import Random
from typing import NamedTuple

from .amounts import ONE, to_decimal, to_text
from .book_hash import HashFields, book_hash
from .ladder import Ladder


class Side(StrEnum):
    """BUY changes the bids, SELL the asks; on a trade it is the taker's side."""

    BUY = "BUY"
    SELL = "SELL"

    @property
    def opposite(self) -> Side:
        """The other side."""
        return Side.SELL if self is Side.BUY else Side.BUY


class MarketState(StrEnum):
    """OPEN trades; SETTLING has an empty book; CLOSED is gone from CLOB REST."""

    OPEN = "open"
    SETTLING = "settling"
    CLOSED = "closed"


class Level(NamedTuple):
    """A price and the total size resting there."""

    price: Decimal
    size: Decimal


@dataclass(frozen=True, slots=True)
class BookView:
    """One book at one moment; `bids` and `asks` are worst first, as on the wire."""

    asset_id: str
    condition_id: str
    timestamp_ms: int
    hash: str
    bids: tuple[Level, ...]
    asks: tuple[Level, ...]
    tick_size: Decimal
    last_trade_price: str

    @property
    def best_bid(self) -> Level | None:
        """The highest bid, or None."""
        return self.bids[-1] if self.bids else None

    @property
    def best_ask(self) -> Level | None:
        """The lowest ask, or None."""
        return self.asks[-1] if self.asks else None

    def bids_best_first(self) -> tuple[Level, ...]:
        """Return the bids from the highest price down."""
        return self.bids[::-1]

    def asks_best_first(self) -> tuple[Level, ...]:
        """Return the asks from the lowest price up."""
        return self.asks[::-1]


@dataclass(eq=False, slots=True)
class Token:
    """One outcome and its book."""

    asset_id: str
    outcome: str
    bids: Ladder = field(default_factory=lambda: Ladder(is_bid=True))
    asks: Ladder = field(default_factory=lambda: Ladder(is_bid=False))
    last_trade_price: str = ""
    cached_hash: str | None = None

    def ladder(self, side: Side) -> Ladder:
        """Return the bids for BUY, the asks for SELL."""
        return self.bids if side is Side.BUY else self.asks

    def best_texts(self) -> tuple[str, str]:
        """Return best bid and ask as sent; an empty side shows as ``0`` or ``1``."""
        bid, ask = self.bids.best, self.asks.best
        return to_text(bid or 0), to_text(ONE if ask is None else ask)


@dataclass(eq=False)
class Market:
    """A question with two outcomes. Prices and `tick` are in millionths.

    `asset_ids` are the tokens' ids, in the order of the outcomes.
    """

    condition_id: str
    gamma_id: str
    question: str
    slug: str
    tokens: tuple[Token, Token]
    rng: Random
    tick: int
    changed_ms: int
    min_order_size: str = "5"
    neg_risk: bool = False
    events_per_s: float = 0.0
    state: MarketState = MarketState.OPEN
    winner_index: int | None = None
    closed_ms: int | None = None
    asset_ids: tuple[str, str] = field(init=False)

    def __post_init__(self) -> None:
        self.asset_ids = (self.tokens[0].asset_id, self.tokens[1].asset_id)

    def token(self, asset_id: str) -> Token:
        """Return the token with this id, which must be one of the two."""
        return self.tokens[self.asset_ids.index(asset_id)]

    def complement(self, token: Token) -> Token:
        """Return the market's other token."""
        return self.tokens[1] if token is self.tokens[0] else self.tokens[0]

    def set_level(self, token: Token, side: Side, price: int, size: int) -> None:
        """Set a level and its mirror: BUY at p is SELL at 1 - p on the other token."""
        token.ladder(side).set(price, size)
        self.complement(token).ladder(side.opposite).set(ONE - price, size)
        self.forget_hashes()

    def forget_hashes(self) -> None:
        """Drop the cached digests after anything that enters them has changed."""
        for token in self.tokens:
            token.cached_hash = None

    def hash_of(self, token: Token) -> str:
        """Return the digest of the token's book as it is now."""
        if token.cached_hash is None:
            fields = self.hash_fields(token)
            bids_json, asks_json = token.bids.json(), token.asks.json()
            token.cached_hash = book_hash(fields, bids_json, asks_json)
        return token.cached_hash

    def hash_fields(self, token: Token) -> HashFields:
        """Return what enters the digest besides the levels."""
        return HashFields(
            market=self.condition_id,
            asset_id=token.asset_id,
            timestamp=str(self.changed_ms),
            min_order_size=self.min_order_size,
            tick_size=to_text(self.tick),
            neg_risk=self.neg_risk,
            last_trade_price=token.last_trade_price,
        )

    def view(self, token: Token) -> BookView:
        """Return the token's book with exact decimals."""
        bids, asks = (
            tuple(Level(to_decimal(p), to_decimal(s)) for p, s in ladder.levels())
            for ladder in (token.bids, token.asks)
        )
        return BookView(
            asset_id=token.asset_id,
            condition_id=self.condition_id,
            timestamp_ms=self.changed_ms,
            hash=self.hash_of(token),
            bids=bids,
            asks=asks,
            tick_size=to_decimal(self.tick),
            last_trade_price=token.last_trade_price,
        )
