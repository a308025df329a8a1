"""What a fault may do: every hook does nothing until a fault overrides it."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, ClassVar

from aiohttp import web

from .outgoing import Outgoing


if TYPE_CHECKING:
    from .market import Market, Token
    from .server import MockPolymarket
    from .session import Session


Value = bool | int | float | str
Params = Mapping[str, Value]


class Effect:
    """One active fault. `defaults` names its parameters and, by value, their types.

    A fault with `is_one_shot` acts in `start` and is over.
    """

    defaults: ClassVar[Params] = {}
    is_one_shot: ClassVar[bool] = False

    def __init__(self, venue: MockPolymarket, params: Params) -> None:
        self.venue = venue
        self.params = params
        self._timers: set[asyncio.TimerHandle] = set()

    # Hooks

    def check(self) -> None:
        """Refuse wrong parameters with a ValueError, before anything is started."""

    def start(self) -> None:
        """Begin; existing connections are to be broken here."""

    def stop(self) -> None:
        """End; what is broken stays broken unless a parameter says otherwise."""

    async def refuse(self, host: str, request: web.Request) -> web.Response | None:
        """Answer a request of `host` in the venue's place; None lets it pass."""

    def accepted(self, session: Session) -> None:
        """Do something to a new connection, right after its handshake."""

    def client_text(self, session: Session, text: str) -> bool:
        """Look at a client's frame first; True keeps it from the venue."""
        return False

    def books_for(self, session: Session, asset_ids: list[str]) -> list[str]:
        """Return the assets that get their opening book."""
        return asset_ids

    def outgoing(self, session: Session, out: Outgoing) -> list[Outgoing]:
        """Return what is sent in place of a frame."""
        return [out]

    def rest_book(self, market: Market, token: Token) -> str | None:
        """Return the body of CLOB `/book` in place of the true one."""
        return None

    # Helpers

    def flag(self, name: str) -> bool:
        """Return a parameter that is true or false."""
        return bool(self.params[name])

    def number(self, name: str) -> float:
        """Return a parameter that is a number."""
        return float(self.params[name])

    def text(self, name: str) -> str:
        """Return a parameter as text."""
        return str(self.params[name])

    def later(self, delay_s: float, action: Callable[[], None]) -> None:
        """Run `action` unless the fault ends before."""

        def act() -> None:
            self._timers.discard(timer)
            action()

        timer = asyncio.get_running_loop().call_later(delay_s, act)
        self._timers.add(timer)

    def every(self, period_s: float, action: Callable[[], None]) -> None:
        """Run `action` again and again, first after one period."""

        def act() -> None:
            action()
            self.later(period_s, act)

        self.later(period_s, act)

    def cancel_timers(self) -> None:
        """Stop what `later` and `every` began."""
        for timer in self._timers:
            timer.cancel()
        self._timers.clear()


def typed(name: str, text: object, default: Value) -> Value:
    """Return a parameter's value in the type of its default.

    Raises:
        ValueError: names the parameter and what it expects.

    """
    if isinstance(default, bool):
        return _flag(name, text)
    if isinstance(default, str):
        return ",".join(text) if isinstance(text, (list, tuple)) else str(text)
    try:
        number = float(str(text))
    except ValueError:
        raise ValueError(f"{name} expects a number, not {text!r}") from None
    if not 0 <= number < float("inf"):
        raise ValueError(f"{name} expects 0 or more, not {text!r}")
    return number if isinstance(default, float) else int(number)


def _flag(name: str, text: object) -> bool:
    known = {"true": True, "1": True, "false": False, "0": False}
    try:
        return known[str(text).lower()]
    except KeyError:
        raise ValueError(f"{name} expects true or false, not {text!r}") from None
