"""The venue's digest of one book.

SHA-1 over compact JSON with the keys in this very order and an empty `hash`. Checked
against the test vectors of Polymarket/py-clob-client and against its
`generate_orderbook_summary_hash`.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class HashFields:
    """What enters the digest besides the levels, spelled as on the wire."""

    market: str
    asset_id: str
    timestamp: str
    min_order_size: str
    tick_size: str
    neg_risk: bool
    last_trade_price: str
    version: str | None = None


def book_hash(fields: HashFields, bids_json: str, asks_json: str) -> str:
    """Return the 40 hex digits for a book.

    `bids_json` and `asks_json` are the levels in wire order (best last) as compact
    JSON objects joined by commas, without the brackets.
    """
    end = f',"version":"{fields.version}"}}' if fields.version else "}"
    text = (
        f'{{"market":"{fields.market}","asset_id":"{fields.asset_id}",'
        f'"timestamp":"{fields.timestamp}","hash":"",'
        f'"bids":[{bids_json}],"asks":[{asks_json}],'
        f'"min_order_size":"{fields.min_order_size}",'
        f'"tick_size":"{fields.tick_size}",'
        f'"neg_risk":{"true" if fields.neg_risk else "false"},'
        f'"last_trade_price":"{fields.last_trade_price}"{end}'
    )
    return hashlib.sha1(text.encode(), usedforsecurity=False).hexdigest()
