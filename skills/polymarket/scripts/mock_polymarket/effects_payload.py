"""Faults in what the frames say."""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Mapping
from itertools import count
from typing import TYPE_CHECKING, Any, ClassVar

from .amounts import to_text
from .effect import Effect, Params
from .malformed import BAD_ELEMENTS, bad_frames
from .outgoing import CONTROL, INJECTED, OPENING, Outgoing
from .subscriptions import INVALID_OPERATION, parse_later


if TYPE_CHECKING:
    from .session import Session


STRAY_TEXTS = ("NO NEW ASSETS", INVALID_OPERATION, "PONG")
SWAP_WITHIN_S = 0.1


class InvalidOperation(Effect):
    """F26: the venue refuses what is valid, and complains unasked."""

    defaults: ClassVar[Params] = {"every_s": 5.0}

    def start(self) -> None:
        """Begin to complain."""
        self.every(max(self.number("every_s"), 0.01), self._complain)

    def client_text(self, session: Session, text: str) -> bool:
        """Refuse every later operation."""
        if not session.is_subscribed or parse_later(text) is None:
            return False
        session.send_control(INVALID_OPERATION)
        return True

    def _complain(self) -> None:
        for session in self.venue.sessions:
            session.send_control(INVALID_OPERATION)


class TextFrames(Effect):
    """F31: text that is not JSON, at any time."""

    defaults: ClassVar[Params] = {"every_s": 1.0}

    def start(self) -> None:
        """Begin with the first text."""
        self._numbers = count()
        self.every(max(self.number("every_s"), 0.01), self._interject)

    def _interject(self) -> None:
        text = STRAY_TEXTS[next(self._numbers) % len(STRAY_TEXTS)]
        for session in self.venue.sessions:
            session.send_control(text)


class Array(Effect):
    """F32: several events in one frame."""

    defaults: ClassVar[Params] = {"window_s": 0.1}

    def start(self) -> None:
        """Begin with nothing collected."""
        self._waiting: dict[Session, list[str]] = {}

    def stop(self) -> None:
        """Send what is still waiting."""
        for session in list(self._waiting):
            self._flush(session)

    def outgoing(self, session: Session, out: Outgoing) -> list[Outgoing]:
        """Collect events; anything else goes out behind what is waiting."""
        if out.kind == CONTROL:
            return [out]
        if not out.is_event:
            return [*self._collected(session), out]
        if session not in self._waiting:
            self._waiting[session] = []
            session.later(self.number("window_s"), lambda: self._flush(session))
        self._waiting[session].append(out.text)
        return []

    def _collected(self, session: Session) -> list[Outgoing]:
        events = self._waiting.pop(session, None)
        return [Outgoing(INJECTED, f"[{','.join(events)}]")] if events else []

    def _flush(self, session: Session) -> None:
        for out in self._collected(session):
            if not session.frozen:
                session.enqueue(out)


class Unknown(Effect):
    """F33: tomorrow's protocol."""

    defaults: ClassVar[Params] = {"every": 10}

    def start(self) -> None:
        """Begin to count."""
        self._seen: Counter[int] = Counter()

    def outgoing(self, session: Session, out: Outgoing) -> list[Outgoing]:
        """Add keys to an event, and sometimes an event nobody knows."""
        if not out.is_event:
            return [out]
        payload = out.payload()
        fresh = {"x_revision": 3, "x_venue": {"region": "eu", "lanes": [1, 2]}}
        outs = [out.with_payload({**payload, **fresh})]
        self._seen[session.number] += 1
        if self._seen[session.number] % max(int(self.number("every")), 1) == 0:
            news = {
                "market": payload["market"],
                "timestamp": payload["timestamp"],
                "event_type": "liquidity_report",
                "report": {"depth": "12", "makers": 3},
            }
            outs.append(Outgoing(INJECTED, "{}").with_payload(news))
        return outs


class Malformed(Effect):
    """F34: frames that no parser should die of."""

    defaults: ClassVar[Params] = {"every_s": 1.0, "every": 7, "utf8": False}

    def start(self) -> None:
        """Begin with the first of the broken frames."""
        self._numbers = count()
        self._seen: Counter[int] = Counter()
        self.every(max(self.number("every_s"), 0.01), self._inject)

    def outgoing(self, session: Session, out: Outgoing) -> list[Outgoing]:
        """Put every n-th event between broken elements of an array."""
        if not out.is_event:
            return [out]
        self._seen[session.number] += 1
        number, every = self._seen[session.number], max(int(self.number("every")), 1)
        if number % every:
            return [out]
        first = BAD_ELEMENTS[number // every % len(BAD_ELEMENTS)]
        second = BAD_ELEMENTS[(number // every + 1) % len(BAD_ELEMENTS)]
        return [Outgoing(INJECTED, f"[{first},{out.text},{second}]")]

    def _inject(self) -> None:
        number = next(self._numbers)
        for session in self.venue.sessions:
            if session.asset_ids:
                frames = bad_frames(min(session.asset_ids), utf8=self.flag("utf8"))
                session.send(frames[number % len(frames)])


class DupReorder(Effect):
    """F35: twice, and in the wrong order."""

    defaults: ClassVar[Params] = {"every": 5}

    def start(self) -> None:
        """Begin with nothing held back."""
        self._seen: Counter[int] = Counter()
        self._held: dict[Session, Outgoing] = {}

    def stop(self) -> None:
        """Send what is held back."""
        for session in list(self._held):
            self._release(session)

    def outgoing(self, session: Session, out: Outgoing) -> list[Outgoing]:
        """Double an event, hold the next one back until its successor has gone."""
        held = self._held.pop(session, None)
        if not out.is_event:
            return [out] if held is None else [held, out]
        if held is not None:
            return [out, held]
        self._seen[session.number] += 1
        every = max(int(self.number("every")), 2)
        if self._seen[session.number] % every == 0:
            return [out, out]
        if self._seen[session.number] % every == 1:
            self._held[session] = out
            session.later(SWAP_WITHIN_S, lambda: self._release(session))
            return []
        return [out]

    def _release(self, session: Session) -> None:
        held = self._held.pop(session, None)
        if held is not None and not session.frozen:
            session.enqueue(held)


class Crossed(Effect):
    """F36: a level that is not there."""

    defaults: ClassVar[Params] = {"every": 50}

    def start(self) -> None:
        """Begin to count."""
        self._seen: Counter[tuple[int, str]] = Counter()

    def outgoing(self, session: Session, out: Outgoing) -> list[Outgoing]:
        """Add a bid at the best ask; best_bid and best_ask stay true."""
        if out.kind != "price_change":
            return [out]
        payload = out.payload()
        entries: list[dict[str, Any]] = []
        for entry in payload["price_changes"]:
            entries.append(entry)
            key = (session.number, entry["asset_id"])
            self._seen[key] += 1
            is_due = self._seen[key] % max(int(self.number("every")), 1) == 0
            if is_due and entry["best_ask"] != "1":
                ghost = {"price": entry["best_ask"], "size": "13", "side": "BUY"}
                entries.append({**entry, **ghost})
        if len(entries) == len(payload["price_changes"]):
            return [out]
        return [out.with_payload({**payload, "price_changes": entries})]


class HashMismatch(Effect):
    """F38: the recipe has changed once more."""

    def outgoing(self, session: Session, out: Outgoing) -> list[Outgoing]:
        """Replace every hash."""
        if out.kind not in (OPENING, "book", "price_change"):
            return [out]
        payload = out.payload()
        books = payload if isinstance(payload, list) else [payload]
        for book in books:
            for holder in book.get("price_changes", [book]):
                recipe = f"next:{holder['hash']}".encode()
                digest = hashlib.sha1(recipe, usedforsecurity=False)
                holder["hash"] = digest.hexdigest()
        return [out.with_payload(payload)]


class TickChange(Effect):
    """F39: a finer grid everywhere."""

    is_one_shot = True

    def start(self) -> None:
        """Divide every market's tick by ten, down to the venue's 0.0001."""
        for market in self.venue.exchange.open_markets():
            finer = max(market.tick // 10, 100)
            self.venue.exchange.change_tick_size(market.condition_id, to_text(finer))


PAYLOAD_EFFECTS: Mapping[str, type[Effect]] = {
    "invalid_operation": InvalidOperation,
    "text_frames": TextFrames,
    "array": Array,
    "unknown": Unknown,
    "malformed": Malformed,
    "dup_reorder": DupReorder,
    "crossed": Crossed,
    "hash_mismatch": HashMismatch,
    "tick_change": TickChange,
}
