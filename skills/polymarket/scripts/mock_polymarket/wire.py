"""Frames as the venue writes them: compact, and `event_type` is never first."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from typing import Any, NamedTuple

from .amounts import ONE, to_text
from .book_hash import book_hash
from .market import Market, Side, Token


class LevelChange(NamedTuple):
    """One level's new total, in millionths; 0 removes the level."""

    token: Token
    side: Side
    price: int
    size: int


def compact(value: object) -> str:
    """Return JSON without spaces, as the venue sends it."""
    return json.dumps(value, separators=(",", ":"), ensure_ascii=False)


def opening_book(market: Market, token: Token) -> str:
    """Return the `book` object of a subscription's first frame."""
    return (
        f'{{"market":"{market.condition_id}","asset_id":"{token.asset_id}",'
        f'"timestamp":"{market.changed_ms}","hash":"{market.hash_of(token)}",'
        f'"bids":[{token.bids.json()}],"asks":[{token.asks.json()}],'
        f'"tick_size":"{to_text(market.tick)}","event_type":"book",'
        f'"last_trade_price":"{token.last_trade_price}"}}'
    )


def later_book(market: Market, token: Token) -> str:
    """Return the `book` sent after a trade: other key order, two keys fewer."""
    return (
        f'{{"market":"{market.condition_id}","asset_id":"{token.asset_id}",'
        f'"bids":[{token.bids.json()}],"asks":[{token.asks.json()}],'
        f'"hash":"{market.hash_of(token)}","timestamp":"{market.changed_ms}",'
        f'"event_type":"book"}}'
    )


def rest_book(
    market: Market, token: Token, levels: tuple[str, str] | None = None
) -> str:
    """Return the body of CLOB `GET /book`, with other bids and asks if given."""
    bids, asks = levels or (token.bids.json(), token.asks.json())
    digest = book_hash(market.hash_fields(token), bids, asks)
    return (
        f'{{"market":"{market.condition_id}","asset_id":"{token.asset_id}",'
        f'"timestamp":"{market.changed_ms}","hash":"{digest}",'
        f'"bids":[{bids}],"asks":[{asks}],'
        f'"min_order_size":"{market.min_order_size}",'
        f'"tick_size":"{to_text(market.tick)}",'
        f'"neg_risk":{"true" if market.neg_risk else "false"},'
        f'"last_trade_price":"{token.last_trade_price}"}}'
    )


def price_change(market: Market, changes: Iterable[LevelChange]) -> str:
    """Return one frame for all changes; entries of one token share its final hash."""
    entries = []
    for change in changes:
        best_bid, best_ask = change.token.best_texts()
        entries.append(
            {
                "asset_id": change.token.asset_id,
                "price": to_text(change.price),
                "size": to_text(change.size),
                "side": change.side.value,
                "hash": market.hash_of(change.token),
                "best_bid": best_bid,
                "best_ask": best_ask,
            }
        )
    return compact(
        {
            "market": market.condition_id,
            "price_changes": entries,
            "timestamp": str(market.changed_ms),
            "event_type": "price_change",
        }
    )


def last_trade_price(
    market: Market,
    token: Token,
    *,
    price: int,
    size: int,
    side: Side,
    timestamp_ms: int,
    transaction_hash: str,
) -> str:
    """Return one fill; `side` is the taker's."""
    return compact(
        {
            "market": market.condition_id,
            "asset_id": token.asset_id,
            "price": to_text(price),
            "size": to_text(size),
            "fee_rate_bps": "0",
            "side": side.value,
            "timestamp": str(timestamp_ms),
            "event_type": "last_trade_price",
            "transaction_hash": transaction_hash,
        }
    )


def tick_size_change(market: Market, token: Token, old: int, now_ms: int) -> str:
    """Return the change from tick `old` to the market's present tick."""
    return compact(
        {
            "market": market.condition_id,
            "asset_id": token.asset_id,
            "old_tick_size": to_text(old),
            "new_tick_size": to_text(market.tick),
            "timestamp": str(now_ms),
            "event_type": "tick_size_change",
        }
    )


def best_bid_ask(market: Market, token: Token, now_ms: int) -> str:
    """Return the token's top of book and spread."""
    bid = token.bids.best or 0
    ask = ONE if token.asks.best is None else token.asks.best
    return compact(
        {
            "market": market.condition_id,
            "asset_id": token.asset_id,
            "best_bid": to_text(bid),
            "best_ask": to_text(ask),
            "spread": to_text(ask - bid),
            "timestamp": str(now_ms),
            "event_type": "best_bid_ask",
        }
    )


def new_market(market: Market, now_ms: int) -> str:
    """Return the announcement that goes to every custom-feature connection."""
    outcomes = [token.outcome for token in market.tokens]
    message = f"This market resolves to {outcomes[0]} or {outcomes[1]}."
    return compact(
        {
            "id": market.gamma_id,
            "question": market.question,
            "market": market.condition_id,
            "slug": market.slug,
            "description": message,
            "assets_ids": list(market.asset_ids),
            "outcomes": outcomes,
            "event_message": _event_message(market, message),
            "timestamp": str(now_ms),
            "event_type": "new_market",
            "tags": [],
            "condition_id": market.condition_id,
            "active": True,
            "clob_token_ids": list(market.asset_ids),
            "sports_market_type": "",
            "line": "",
            "game_start_time": "",
            "order_price_min_tick_size": to_text(market.tick),
            "group_item_title": "",
            "taker_base_fee": "0",
            "fees_enabled": False,
        }
    )


def _event_message(market: Market, description: str) -> Mapping[str, Any]:
    return {
        "id": market.gamma_id,
        "ticker": market.slug,
        "slug": market.slug,
        "title": market.question,
        "description": description,
    }


def market_resolved(market: Market, winner: Token, now_ms: int) -> str:
    """Return the announcement of the winning outcome."""
    return compact(
        {
            "id": market.gamma_id,
            "market": market.condition_id,
            "assets_ids": list(market.asset_ids),
            "winning_asset_id": winner.asset_id,
            "winning_outcome": winner.outcome,
            "event_message": None,
            "timestamp": str(now_ms),
            "event_type": "market_resolved",
            "tags": [],
        }
    )
