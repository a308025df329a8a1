"""What is about to be sent to one connection, and may still be changed by a fault."""

from __future__ import annotations

import json
from collections.abc import Collection
from dataclasses import dataclass, replace
from typing import Any

from .wire import compact


OPENING, CONTROL, INJECTED = "opening", "control", "injected"


@dataclass(frozen=True, slots=True)
class Outgoing:
    """One frame. `kind` is an `event_type`, or OPENING, CONTROL or INJECTED.

    `raw` replaces the text for frames that no text can express.
    """

    kind: str
    text: str
    raw: bytes | None = None
    is_binary: bool = False

    @property
    def is_event(self) -> bool:
        """Whether this is one bare event of the exchange."""
        return self.kind not in (OPENING, CONTROL, INJECTED)

    def payload(self) -> Any:
        """Return the decoded JSON."""
        return json.loads(self.text)

    def with_payload(self, payload: object) -> Outgoing:
        """Return this frame with other JSON, in the framing of its kind."""
        end = "\n" if self.kind == OPENING else ""
        return replace(self, text=compact(payload) + end)

    def data(self) -> bytes:
        """Return the bytes of the message."""
        return self.text.encode() if self.raw is None else self.raw


def without_assets(out: Outgoing, asset_ids: Collection[str]) -> Outgoing | None:
    """Return the frame without what it says about these assets; None if all of it."""
    if out.kind == OPENING:
        books = out.payload()
        kept = [book for book in books if book["asset_id"] not in asset_ids]
        return out.with_payload(kept) if kept or not books else None
    if not out.is_event:
        return out
    payload = out.payload()
    if payload.get("asset_id") in asset_ids:
        return None
    entries = payload.get("price_changes")
    if entries is None:
        return out
    kept = [entry for entry in entries if entry["asset_id"] not in asset_ids]
    if len(kept) == len(entries):
        return out
    return out.with_payload({**payload, "price_changes": kept}) if kept else None
