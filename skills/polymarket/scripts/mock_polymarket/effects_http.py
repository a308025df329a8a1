"""Faults of handshakes and REST answers."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from typing import ClassVar

from aiohttp import web

from . import wire
from .effect import Effect, Params
from .gone import until_gone
from .market import Market, Token


REST_HOSTS = frozenset({"clob", "gamma", "data"})
BLOCK_PAGE = (
    "<!DOCTYPE html><html><head><title>Attention Required! | Cloudflare</title>"
    "</head><body><h1>Sorry, you have been blocked</h1></body></html>"
)

GHOST_BID = '{"price":"0.01","size":"1000"}'
GHOST_ASK = '{"price":"0.99","size":"1000"}'


class Refusal(Effect):
    """Refuses handshakes (on=ws), REST requests (on=rest) or both (on=all)."""

    defaults: ClassVar[Params] = {"on": "ws"}

    def check(self) -> None:
        """Refuse an `on` that is not ws, rest or all."""
        if self.text("on") not in ("ws", "rest", "all"):
            raise ValueError("on is ws, rest or all")

    async def refuse(self, host: str, request: web.Request) -> web.Response | None:
        """Refuse if the host is meant."""
        on = self.text("on")
        is_meant = on == "all" or (on == "ws") == (host == "ws")
        return self.answer() if is_meant else None

    def answer(self) -> web.Response:
        """Return the refusal."""
        raise NotImplementedError


class Http429(Refusal):
    """F16: too many requests."""

    defaults: ClassVar[Params] = {"on": "ws", "retry_after": 10}

    def answer(self) -> web.Response:
        """Return 429 with Retry-After."""
        headers = {"Retry-After": self.text("retry_after")}
        return web.Response(status=429, text="error code: 1015", headers=headers)


class Http403(Refusal):
    """F17: a page of HTML that nobody should parse."""

    def answer(self) -> web.Response:
        """Return 403 and the page."""
        return web.Response(status=403, text=BLOCK_PAGE, content_type="text/html")


class HttpStatus(Refusal):
    """F18: any status."""

    defaults: ClassVar[Params] = {"on": "ws", "status": 503}

    def answer(self) -> web.Response:
        """Return the status."""
        status = int(self.number("status"))
        return web.Response(status=status, text=f"error code: {status}")


class Redirect(Effect):
    """F24: the handshake is sent somewhere else."""

    defaults: ClassVar[Params] = {"location": ""}

    async def refuse(self, host: str, request: web.Request) -> web.Response | None:
        """Answer 302; without a location, to a path of the Data host."""
        if host != "ws":
            return None
        location = self.text("location") or f"{self.venue.urls.data}/elsewhere"
        return web.Response(status=302, headers={"Location": location})


class HandshakeHang(Effect):
    """F23: nobody answers."""

    def start(self) -> None:
        """Keep what wakes the hanging handshakes at the end."""
        self._over = asyncio.Event()

    def stop(self) -> None:
        """Let them go."""
        self._over.set()

    async def refuse(self, host: str, request: web.Request) -> web.Response | None:
        """Wait until the fault ends or the client has gone."""
        if host != "ws":
            return None
        await until_gone(request, self._over)
        return web.Response(status=503) if request.transport is None else None


class RestDown(Effect):
    """No REST host works."""

    defaults: ClassVar[Params] = {"mode": "503"}

    async def refuse(self, host: str, request: web.Request) -> web.Response | None:
        """Answer 503, or hang up."""
        if host not in REST_HOSTS:
            return None
        if self.text("mode") == "refuse" and request.transport is not None:
            request.transport.abort()
        return web.json_response({"error": "service unavailable"}, status=503)


class RestSlow(Effect):
    """REST takes its time."""

    defaults: ClassVar[Params] = {"s": 5.0}

    async def refuse(self, host: str, request: web.Request) -> web.Response | None:
        """Wait, then let the request pass."""
        if host in REST_HOSTS:
            await asyncio.sleep(self.number("s"))
        return None


class RestStale(Effect):
    """F08: the witness lies."""

    def rest_book(self, market: Market, token: Token) -> str:
        """Return the ghost book, with the right hash for what it shows."""
        return wire.rest_book(market, token, levels=(GHOST_BID, GHOST_ASK))


HTTP_EFFECTS: Mapping[str, type[Effect]] = {
    "http_429": Http429,
    "http_403": Http403,
    "http_status": HttpStatus,
    "redirect": Redirect,
    "handshake_hang": HandshakeHang,
    "rest_down": RestDown,
    "rest_slow": RestSlow,
    "rest_stale": RestStale,
}
