"""One well-formed frame of every market event, complete, with made-up values."""

from __future__ import annotations

import json
from typing import Any


Fields = dict[str, Any]

MARKET = "0x" + "a1" * 32
YES = "7" * 77
NO = "3" * 76
TIME = "1790000000123"
TIME_MS = 1790000000123

BOOK: Fields = {
    "market": MARKET,
    "asset_id": YES,
    "timestamp": TIME,
    "hash": "0f" * 20,
    "bids": [{"price": ".48", "size": "30"}, {"price": "0.49", "size": "20.5"}],
    "asks": [{"price": "0.52", "size": "25"}, {"price": "0.51", "size": "0.01"}],
    "tick_size": "0.01",
    "event_type": "book",
    "last_trade_price": "0.140",
    "version": "v2",
}
PRICE_CHANGE: Fields = {
    "market": MARKET,
    "price_changes": [
        {
            "asset_id": YES,
            "price": "0.49",
            "size": "503.32",
            "side": "BUY",
            "hash": "1e" * 20,
            "best_bid": "0.49",
            "best_ask": "0.51",
        },
        {
            "asset_id": NO,
            "price": "0.51",
            "size": "0",
            "side": "SELL",
            "hash": "2d" * 20,
            "best_bid": "0",
            "best_ask": "1",
        },
    ],
    "timestamp": TIME,
    "event_type": "price_change",
}
LAST_TRADE_PRICE: Fields = {
    "market": MARKET,
    "asset_id": YES,
    "price": "0.585",
    "size": "2.46",
    "fee_rate_bps": "0",
    "side": "SELL",
    "timestamp": TIME,
    "event_type": "last_trade_price",
    "transaction_hash": "0x" + "c3" * 32,
}
TICK_SIZE_CHANGE: Fields = {
    "market": MARKET,
    "asset_id": YES,
    "old_tick_size": "0.01",
    "new_tick_size": "0.0025",
    "timestamp": TIME,
    "event_type": "tick_size_change",
}
BEST_BID_ASK: Fields = {
    "market": MARKET,
    "asset_id": YES,
    "best_bid": "0.73",
    "best_ask": "0.77",
    "spread": "0.04",
    "timestamp": TIME,
    "event_type": "best_bid_ask",
}
EVENT_MESSAGE: Fields = {
    "id": "55",
    "ticker": "rain",
    "slug": "rain",
    "title": "Rain",
    "description": "A long text",
}
NEW_MARKET: Fields = {
    "id": "6001",
    "question": "Will it rain?",
    "market": MARKET,
    "condition_id": MARKET,
    "slug": "will-it-rain",
    "description": "A long text",
    "assets_ids": [YES, NO],
    "clob_token_ids": [YES, NO],
    "outcomes": ["Up", "Down"],
    "event_message": EVENT_MESSAGE,
    "timestamp": TIME,
    "event_type": "new_market",
    "tags": ["Weather"],
    "active": False,
    "sports_market_type": "moneyline",
    "line": "1.5",
    "game_start_time": "2026-10-04 14:25:00+00",
    "order_price_min_tick_size": "0.01",
    "group_item_title": "Rain",
    "taker_base_fee": "1000",
    "fees_enabled": True,
    "fee_schedule": {"exponent": "1", "rate": "0.07", "taker_only": True},
}
MARKET_RESOLVED: Fields = {
    "id": "6001",
    "market": MARKET,
    "assets_ids": [YES, NO],
    "winning_asset_id": NO,
    "winning_outcome": "Down",
    "event_message": None,
    "timestamp": TIME,
    "event_type": "market_resolved",
    "tags": ["Weather", "Daily"],
    "question": "Will it rain?",
    "slug": "will-it-rain",
}

ALL: dict[str, Fields] = {
    fields["event_type"]: fields
    for fields in (
        BOOK,
        PRICE_CHANGE,
        LAST_TRADE_PRICE,
        TICK_SIZE_CHANGE,
        BEST_BID_ASK,
        NEW_MARKET,
        MARKET_RESOLVED,
    )
}


def frame(*elements: Any, **changed: Any) -> str:
    """Write one element as an object or several as an array, with keys changed.

    A value of `...` leaves the key out.
    """
    made = [
        {key: value for key, value in (each | changed).items() if value is not ...}
        for each in elements
    ]
    return json.dumps(made[0] if len(made) == 1 else made)
