"""Faults that end connections."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from typing import TYPE_CHECKING, ClassVar

from .effect import Effect, Params
from .subscriptions import parse_first, parse_later


if TYPE_CHECKING:
    from .session import Session


NO_CLOSE_FRAME = 1006
DROP_AFTER_S = 0.15  # the report: closed 100 to 200 ms after the frame
REASONS: Mapping[int, str] = {
    1000: "",
    1001: "going away",
    1008: "invalid subscription payload",
    1011: "keepalive ping timeout",
    1012: "service restart",
    1013: "try again later",
}


def end(session: Session, code: int) -> None:
    """Close with a code; 1006 is an end without any close frame."""
    if code == NO_CLOSE_FRAME:
        session.abort()
    else:
        session.close(code, REASONS.get(code, ""))


class Close(Effect):
    """Every connection there is ends now."""

    is_one_shot = True
    code: ClassVar[int]

    def start(self) -> None:
        """End them; a black hole can only be cut."""
        for session in list(self.venue.sessions):
            end(session, NO_CLOSE_FRAME if session.black_hole else self.code)


def close_effect(close_code: int) -> type[Effect]:
    """Return the effect for one close code."""
    return type(f"Close{close_code}", (Close,), {"code": close_code})


class AcceptThenClose(Effect):
    """New connections are accepted, then closed."""

    defaults: ClassVar[Params] = {"code": 1000, "when": "after"}

    def check(self) -> None:
        """Refuse a `when` that is neither before nor after."""
        if self.text("when") not in ("before", "after"):
            raise ValueError("accept_then_close:when is before or after")

    def start(self) -> None:
        """Begin with no connection to end."""
        self._new: set[int] = set()

    def accepted(self, session: Session) -> None:
        """Close before the client has said anything, or remember to do it after."""
        if self.text("when") == "before":
            end(session, int(self.number("code")))
        else:
            self._new.add(session.number)

    def client_text(self, session: Session, text: str) -> bool:
        """Close as soon as the first frame is there."""
        if session.number not in self._new:
            return False
        self._new.discard(session.number)
        end(session, int(self.number("code")))
        return True


class IdleKill(Effect):
    """F22: only the text PING counts as a sign of life."""

    defaults: ClassVar[Params] = {"s": 60.0}

    def start(self) -> None:
        """Look at every connection once a second."""
        self.every(1.0, self._cut)

    def _cut(self) -> None:
        now_s = asyncio.get_running_loop().time()
        for session in list(self.venue.sessions):
            if now_s - session.last_ping_at_s >= self.number("s"):
                session.abort()


class ResubStorm(Effect):
    """F27: too many tokens in one frame."""

    defaults: ClassVar[Params] = {"ids": 1_000}

    def client_text(self, session: Session, text: str) -> bool:
        """Drop the connection shortly after a frame that is too large."""
        operation = parse_later(text) or parse_first(text)
        if operation is not None and len(operation.asset_ids) > self.number("ids"):
            session.later(DROP_AFTER_S, session.abort)
            return True
        return False


class SlowConsumer(Effect):
    """F47: less patience with clients that do not read."""

    defaults: ClassVar[Params] = {"bytes": 65_536}

    def start(self) -> None:
        """Lower the bound."""
        self._usual = self.venue.send_buffer_bytes
        self.venue.send_buffer_bytes = int(self.number("bytes"))

    def stop(self) -> None:
        """Put the bound back."""
        self.venue.send_buffer_bytes = self._usual


CLOSE_EFFECTS: Mapping[str, type[Effect]] = {
    "close_1006": close_effect(1006),
    "close_1000": close_effect(1000),
    "close_1001": close_effect(1001),
    "close_1012": close_effect(1012),
    "close_1008": close_effect(1008),
    "close_1011": close_effect(1011),
    "close_1013": close_effect(1013),
    "accept_then_close": AcceptThenClose,
    "idle_kill": IdleKill,
    "resub_storm": ResubStorm,
    "slow_consumer": SlowConsumer,
}
