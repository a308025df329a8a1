"""One client connection of the market channel, from its handshake to its end."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable

from aiohttp import WSMsgType, web

from .outgoing import CONTROL, Outgoing, without_assets


RECEIVED_KEPT = 1_000
SLOW_CONSUMER = (1013, "slow consumer: send buffer full")


class Session:
    """Sends from a bounded buffer; knows what is subscribed and what a fault broke.

    `frozen` lets only control text through, `black_hole` nothing at all and reads
    nothing either. `frozen_assets` stay silent for good, `muted_assets` until their
    next opening book.
    """

    def __init__(
        self,
        socket: web.WebSocketResponse,
        transport: asyncio.Transport,
        *,
        number: int,
        transform: Callable[[Session, Outgoing], list[Outgoing]],
        buffer_limit: Callable[[], int],
        delay_s: Callable[[], float],
    ) -> None:
        loop = asyncio.get_running_loop()
        self.number = number
        self.opened_at_s = loop.time()
        self.received: deque[str] = deque(maxlen=RECEIVED_KEPT)
        self.asset_ids: set[str] = set()
        self.is_subscribed = False
        self.wants_custom = False
        self.wants_books = True
        self.frozen = False
        self.black_hole = False
        self.is_replaying = False
        self.frozen_assets: set[str] = set()
        self.muted_assets: set[str] = set()
        self.last_ping_at_s = self.opened_at_s
        self.last_traffic_at_s = self.opened_at_s
        self.timers: set[asyncio.TimerHandle] = set()
        self.socket = socket
        self._transport = transport
        self._transform = transform
        self._buffer_limit = buffer_limit
        self._delay_s = delay_s
        self._outbox: deque[tuple[float, bytes, WSMsgType]] = deque()
        self._outbox_bytes = 0
        self._wake = asyncio.Event()
        self._writer = loop.create_task(self._write())
        self._closer: asyncio.Task[None] | None = None

    @property
    def is_closing(self) -> bool:
        """Whether this connection has been closed or aborted from here."""
        return self._closer is not None or self._transport.is_closing()

    def send(self, out: Outgoing) -> None:
        """Queue a frame, changed or swallowed by what is broken."""
        if self.black_hole or (self.frozen and out.kind != CONTROL):
            return
        silent = self.frozen_assets | self.muted_assets
        kept = without_assets(out, silent) if silent else out
        if kept is not None:
            for each in self._transform(self, kept):
                self.enqueue(each)

    def send_control(self, text: str) -> None:
        """Queue control text such as ``PONG``."""
        self.send(Outgoing(CONTROL, text))

    def enqueue(self, out: Outgoing) -> None:
        """Queue a frame as it is; a client too far behind is closed with 1013."""
        if self.is_closing or self.black_hole:
            return
        behind = self._outbox_bytes + self._transport.get_write_buffer_size()
        if behind > self._buffer_limit():
            self.close(*SLOW_CONSUMER)
            return
        data = out.data()
        opcode = WSMsgType.BINARY if out.is_binary else WSMsgType.TEXT
        due_s = asyncio.get_running_loop().time() + self._delay_s()
        self._outbox.append((due_s, data, opcode))
        self._outbox_bytes += len(data)
        self._wake.set()

    def later(self, delay_s: float, action: Callable[[], None]) -> None:
        """Run `action` unless the connection ends before."""

        def act() -> None:
            self.timers.discard(timer)
            if not self.is_closing:
                action()

        timer = asyncio.get_running_loop().call_later(delay_s, act)
        self.timers.add(timer)

    def fall_silent(self) -> None:
        """Become a black hole: forget what was queued, write and read no more."""
        self.black_hole = True
        self._outbox.clear()
        self._outbox_bytes = 0

    def close(self, code: int, reason: str) -> None:
        """Send a close frame; what was queued is dropped."""
        if self._closer is None:
            self._writer.cancel()
            self._outbox.clear()
            loop = asyncio.get_running_loop()
            self._closer = loop.create_task(self._close(code, reason))

    def abort(self) -> None:
        """End the TCP connection without a close frame."""
        self._transport.abort()

    async def finish(self) -> None:
        """Wait for the closing handshake, if any, and stop every helper."""
        for timer in self.timers:
            timer.cancel()
        self._writer.cancel()
        helpers = [self._writer] + ([self._closer] if self._closer else [])
        await asyncio.wait(helpers)

    async def _close(self, code: int, reason: str) -> None:
        await self.socket.close(code=code, message=reason.encode(), drain=False)

    async def _write(self) -> None:
        loop = asyncio.get_running_loop()
        while True:
            if not self._outbox:
                self._wake.clear()
                await self._wake.wait()
                continue
            wait_s = self._outbox[0][0] - loop.time()
            if wait_s > 0:
                await asyncio.sleep(wait_s)
                continue
            _, data, opcode = self._outbox.popleft()
            self._outbox_bytes -= len(data)
            self.last_traffic_at_s = loop.time()
            try:
                await self.socket.send_frame(data, opcode)
            except ConnectionError:
                return
