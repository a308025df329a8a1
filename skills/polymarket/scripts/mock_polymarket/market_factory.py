"""Markets made from a seed: ids, questions and plausible opening books."""

from __future__ import annotations

from collections.abc import Sequence
from random import Random

from .amounts import ONE
from .market import Market, Side, Token


MIN_DEPTH, MAX_DEPTH = 10, 40  # levels a side that an opening book has
SMALLEST_TOKEN_ID = 10**76  # token ids on the wire have 77 or 78 digits

OUTCOMES = (("Yes", "No"), ("Up", "Down"))
SUBJECTS = ("BTC", "ETH", "the visitors", "the incumbent", "the bill", "SOL")


def make_asset_id(rng: Random) -> str:
    """Return a 77 or 78 digit token id."""
    return str(rng.randrange(SMALLEST_TOKEN_ID, 2**256))


def make_hex_id(rng: Random) -> str:
    """Return ``0x`` and 64 hex digits: a condition id or a transaction hash."""
    return f"0x{rng.getrandbits(256):064x}"


def make_size(rng: Random) -> int:
    """Return a size in millionths of a share, with 0, 2 or 6 decimals."""
    grain = rng.choice((ONE, ONE, ONE // 100, ONE // 100, 1))
    return rng.randrange(5 * ONE // grain, 2_000 * ONE // grain) * grain


def make_question(number: int, outcomes: Sequence[str]) -> str:
    """Return a question that fits the outcomes."""
    subject = SUBJECTS[number % len(SUBJECTS)]
    if "Up" in outcomes:
        return f"{subject} Up or Down - window {number}"
    return f"Will {subject} win round {number}?"


def fill_book(market: Market, mid: int) -> None:
    """Put 10 to 40 levels on each side of `mid`, an ask and a bid one tick off it."""
    rng, yes, tick = market.rng, market.tokens[0], market.tick
    best_bid = (mid // tick) * tick - tick
    best_ask = best_bid + tick * rng.randint(1, 3)
    for side, start, step in (
        (Side.BUY, best_bid, -tick),
        (Side.SELL, best_ask, tick),
    ):
        price, depth = start, rng.randint(MIN_DEPTH, MAX_DEPTH)
        while depth and 0 < price < ONE:
            market.set_level(yes, side, price, make_size(rng))
            price += step * rng.choice((1, 1, 1, 1, 2))
            depth -= 1


def make_market(
    rng: Random,
    number: int,
    *,
    outcomes: Sequence[str],
    tick: int,
    changed_ms: int,
    question: str | None = None,
    neg_risk: bool = False,
    events_per_s: float = 0.0,
) -> Market:
    """Return an empty market with ids drawn from `rng`, which becomes its own.

    Raises:
        ValueError: not exactly two outcomes.

    """
    if len(outcomes) != 2:
        raise ValueError(f"a market has two outcomes, not {len(outcomes)}")
    first, second = (Token(make_asset_id(rng), outcome) for outcome in outcomes)
    text = question or make_question(number, outcomes)
    return Market(
        condition_id=make_hex_id(rng),
        gamma_id=str(5_200_000 + number),
        question=text,
        slug="-".join("".join(c if c.isalnum() else " " for c in text.lower()).split()),
        tokens=(first, second),
        rng=rng,
        tick=tick,
        changed_ms=changed_ms,
        neg_risk=neg_risk,
        events_per_s=events_per_s,
    )
