"""The market channel: who is connected, who is subscribed, and who gets what."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Iterator
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING

from aiohttp import WSMessage, WSMsgType, web

from . import wire
from .gone import until_gone
from .ledger import Entry
from .market import Market, MarketState
from .outgoing import OPENING, Outgoing
from .session import Session
from .subscriptions import INVALID_OPERATION, Operation, parse_first, parse_later


if TYPE_CHECKING:
    from .server import MockPolymarket


OPENING_AFTER_S = (0.150, 0.180)  # measured: about 165 ms after the initial frame
IDLE_CUT_S = 125.0  # measured: no traffic in either direction, then no close frame
RESOLVED_CLOSE_AFTER_S = 0.5
INVALID_PAYLOAD = (1008, "invalid subscription payload")
ALL_RESOLVED = (1000, "all subscribed assets resolved")
CONNECTIONS_KEPT = 100_000
MAX_CLIENT_FRAME = 16 * 1024 * 1024

CUSTOM_KINDS = frozenset({"best_bid_ask", "new_market", "market_resolved"})


@dataclass(slots=True)
class Attempt:
    """One handshake: loop time in s; pending, accepted, or refused and the status."""

    at_s: float
    what: str


class MarketChannel:
    """Serves `/ws/market`. Events fan out per market, not per token."""

    def __init__(self, venue: MockPolymarket) -> None:
        self._venue = venue
        self._of_market: dict[str, dict[Session, None]] = {}
        self._count = 0
        self.sessions: list[Session] = []
        self.attempts: deque[Attempt] = deque(maxlen=CONNECTIONS_KEPT)
        venue.exchange.matching.listeners.append(self.publish)
        venue.exchange.settled.append(self._close_resolved)

    def publish(self, entry: Entry) -> None:
        """Send an event to everybody who is to have it."""
        if self._venue.replay is not None:
            return
        if entry.kind == "new_market":
            receivers = list(self.sessions)
        else:
            receivers = list(self._of_market.get(entry.condition_id, ()))
        out = Outgoing(entry.kind, entry.text)
        for session in receivers:
            if session.wants_custom or entry.kind not in CUSTOM_KINDS:
                session.send(out)

    async def handle(self, request: web.Request) -> web.StreamResponse:
        """Answer one handshake and serve the connection until it ends."""
        attempt = self.note_attempt("pending")
        refusal = await self._venue.faults.refuse("ws", request)
        if refusal is not None:
            attempt.what = f"refused {refusal.status}"
            return refusal
        socket = web.WebSocketResponse(
            autoclose=False, autoping=False, max_msg_size=MAX_CLIENT_FRAME
        )
        await socket.prepare(request)
        attempt.what = "accepted"
        session = self._new_session(socket, request)
        try:
            for effect in self._venue.faults.effects:
                effect.accepted(session)
            await self._read(session, request)
        finally:
            self.sessions.remove(session)
            for subscribers in self._of_market.values():
                subscribers.pop(session, None)
            await session.finish()
        return socket

    def abort_all(self) -> None:
        """End every connection at once, without a close frame."""
        for session in self.sessions:
            session.abort()

    def note_attempt(self, what: str) -> Attempt:
        """Record a handshake and what became of it."""
        attempt = Attempt(asyncio.get_running_loop().time(), what)
        self.attempts.append(attempt)
        return attempt

    def _new_session(
        self, socket: web.WebSocketResponse, request: web.Request
    ) -> Session:
        transport = request.transport
        if transport is None:
            raise web.HTTPBadRequest(reason="the client has gone")
        self._count += 1
        session = Session(
            socket,
            transport,
            number=self._count,
            transform=self._venue.faults.transform,
            buffer_limit=lambda: self._venue.send_buffer_bytes,
            delay_s=lambda: self._venue.delay_s,
        )
        self.sessions.append(session)
        self._watch_idle(session)
        return session

    def _watch_idle(self, session: Session) -> None:
        loop = asyncio.get_running_loop()
        left_s = session.last_traffic_at_s + IDLE_CUT_S - loop.time()
        if left_s <= 0 and not session.black_hole:
            session.abort()
        else:
            wait_s = left_s if left_s > 0 else IDLE_CUT_S
            session.later(wait_s, lambda: self._watch_idle(session))

    # What the client says

    async def _read(self, session: Session, request: web.Request) -> None:
        loop = asyncio.get_running_loop()
        while True:
            message = await session.socket.receive()
            if message.type in (WSMsgType.CLOSED, WSMsgType.CLOSING, WSMsgType.ERROR):
                return
            if session.black_hole:
                if message.type is WSMsgType.CLOSE:
                    await until_gone(request)
                    return
                continue
            session.last_traffic_at_s = loop.time()
            if message.type is WSMsgType.CLOSE:
                session.close(message.data or 1000, "")
                return
            if message.type is WSMsgType.PING:
                await session.socket.pong(message.data)
            elif message.type in (WSMsgType.TEXT, WSMsgType.BINARY):
                self._on_text(session, _text_of(message))

    def _on_text(self, session: Session, text: str) -> None:
        session.received.append(text)
        if any(e.client_text(session, text) for e in self._venue.faults.effects):
            return
        if text.strip() == "PING":
            self._on_ping(session)
        elif session.is_subscribed:
            self._on_operation(session, parse_later(text))
        else:
            self._on_first(session, parse_first(text))

    def _on_ping(self, session: Session) -> None:
        if not session.is_subscribed:
            session.close(*INVALID_PAYLOAD)
            return
        session.last_ping_at_s = asyncio.get_running_loop().time()
        session.send_control("PONG")

    def _on_first(self, session: Session, operation: Operation | None) -> None:
        if operation is None:
            session.close(*INVALID_PAYLOAD)
            return
        session.is_subscribed = True
        session.wants_custom = bool(operation.custom)
        session.wants_books = operation.initial_dump
        self._subscribe(session, operation.asset_ids)

    def _on_operation(self, session: Session, operation: Operation | None) -> None:
        if operation is None:
            self._reject(session)
            return
        if operation.is_unsubscribe:
            self._unsubscribe(session, operation.asset_ids)
            return
        # The flag takes effect even when the tokens are refused.
        if operation.custom is not None:
            session.wants_custom = operation.custom
        ids = operation.asset_ids
        if len(set(ids)) < len(ids) or session.asset_ids.intersection(ids):
            self._reject(session)
        else:
            self._subscribe(session, ids)

    def _reject(self, session: Session) -> None:
        if self._venue.answers_invalid_operation:
            session.send_control(INVALID_OPERATION)

    # What becomes of it

    def _subscribe(self, session: Session, asset_ids: tuple[str, ...]) -> None:
        known = [
            asset_id
            for asset_id in dict.fromkeys(asset_ids)
            if self._venue.exchange.open_market_of(asset_id)
        ]
        session.asset_ids.update(known)
        delay_s = self._venue.rng.uniform(*OPENING_AFTER_S)
        if self._venue.replay is not None:
            session.later(delay_s, lambda: self._venue.start_replay(session))
            return
        session.later(delay_s, lambda: self._open(session, known))

    def _open(self, session: Session, asset_ids: list[str]) -> None:
        """Begin to deliver, with the books as they are at this moment."""
        wanted: list[str] = []
        for asset_id in asset_ids:
            market = self._venue.exchange.open_market_of(asset_id)
            if market is not None and asset_id in session.asset_ids:
                self._of_market.setdefault(market.condition_id, {})[session] = None
                wanted.append(asset_id)
        if not session.wants_books:
            return
        if not wanted:
            session.send(Outgoing(OPENING, "[]"))
            return
        for effect in self._venue.faults.effects:
            wanted = effect.books_for(session, wanted)
        session.muted_assets.difference_update(wanted)
        if wanted:
            books = ",".join(self._opening_books(wanted))
            session.send(Outgoing(OPENING, f"[{books}]\n"))

    def _opening_books(self, asset_ids: list[str]) -> Iterator[str]:
        for asset_id in asset_ids:
            market = self._venue.exchange.open_market_of(asset_id)
            if market is not None:
                yield wire.opening_book(market, market.token(asset_id))

    def _unsubscribe(self, session: Session, asset_ids: tuple[str, ...]) -> None:
        session.asset_ids.difference_update(asset_ids)
        for asset_id in asset_ids:
            market = self._venue.exchange.market_of(asset_id)
            # A market goes on until none of its tokens is left.
            if market and session.asset_ids.isdisjoint(market.asset_ids):
                self._of_market.get(market.condition_id, {}).pop(session, None)

    def _close_resolved(self, market: Market) -> None:
        for session in list(self._of_market.get(market.condition_id, ())):
            if all(self._is_over(asset_id) for asset_id in session.asset_ids):
                closing = partial(session.close, *ALL_RESOLVED)
                session.later(RESOLVED_CLOSE_AFTER_S, closing)

    def _is_over(self, asset_id: str) -> bool:
        market = self._venue.exchange.market_of(asset_id)
        return market is None or market.state is MarketState.CLOSED


def _text_of(message: WSMessage) -> str:
    if isinstance(message.data, bytes):
        return message.data.decode(errors="replace")
    return str(message.data)
