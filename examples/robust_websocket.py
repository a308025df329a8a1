"""Keep one WebSocket connection alive, and say when it was not.

`frames()` yields every data frame as UTF-8 bytes, over as many sockets as it takes,
and a `ConnectionGap` wherever frames may be missing. An open socket proves nothing
here, and neither does a PONG: only data does. Nothing is ever replayed after a loss.

Times come from the running event loop's clock, randomness from `rng`.

Copy with: reconnect_policy.py, socket_session.py.
"""

from __future__ import annotations

import asyncio
import inspect
import json
import logging
import random
from collections.abc import AsyncGenerator, Awaitable, Callable, Coroutine, Iterable
from contextlib import suppress
from dataclasses import dataclass, replace
from enum import StrEnum
from typing import Any, Protocol, TypeAlias, TypeVar

from websockets.exceptions import ConnectionClosed, InvalidHandshake, InvalidStatus

from reconnect_policy import MAX_REJECTIONS, Backoff, close_of, describe
from socket_session import (
    MAX_FRAME_BYTES,
    DataTimeoutError,
    Frame,
    SocketSession,
    cancel_and_wait,
    open_socket,
)


__all__ = [
    "TRANSITIONS",
    "ConnectionGap",
    "ConnectionObserver",
    "ConnectionState",
    "DataTimeoutError",
    "HandshakeRejectedError",
    "RobustWebSocket",
]

# The venue's rule for the market and user channels, and what its client sends.
HEARTBEAT_INTERVAL_S = 10.0
DATA_TIMEOUT_S = 120.0
# Data alone does not prove a connection: it has to live this long as well.
PROVEN_AFTER_S = 30.0

logger = logging.getLogger(__name__)

T = TypeVar("T")
SubscribeMsg: TypeAlias = "Frame | str | Callable[[], Iterable[Frame | str]] | None"


class ConnectionState(StrEnum):
    """Where a connection is. SUBSCRIBED means that data has proved it."""

    DISCONNECTED = "disconnected"
    CONNECTING = "connecting"
    CONNECTED = "connected"
    SUBSCRIBED = "subscribed"
    RECONNECTING = "reconnecting"
    FAILED = "failed"


_S = ConnectionState
TRANSITIONS: dict[ConnectionState, tuple[ConnectionState, ...]] = {
    _S.DISCONNECTED: (_S.CONNECTING,),
    _S.CONNECTING: (_S.CONNECTED, _S.RECONNECTING, _S.FAILED, _S.DISCONNECTED),
    _S.CONNECTED: (_S.SUBSCRIBED, _S.RECONNECTING, _S.DISCONNECTED),
    _S.SUBSCRIBED: (_S.RECONNECTING, _S.DISCONNECTED),
    _S.RECONNECTING: (_S.CONNECTING, _S.DISCONNECTED),
    _S.FAILED: (_S.CONNECTING,),
}


class HandshakeRejectedError(ConnectionError):
    """The server refused the connection again and again; retrying will not help."""

    def __init__(self, url: str, status_code: int) -> None:
        super().__init__(
            f"{url} answered HTTP {status_code} to {MAX_REJECTIONS} handshakes. "
            "Check the URL first, then whether this address may use the venue "
            "(401, 403 and 451 come from its gate). Do not retry within a minute."
        )
        self.status_code = status_code


@dataclass(frozen=True, slots=True)
class ConnectionGap:
    """Frames may be missing between `from_s` and `to_s` (readings of the loop clock).

    It comes twice: at the loss with `to_s` None, and before the first data after it.
    """

    from_s: float
    to_s: float | None
    reason: str
    close_code: int | None = None
    close_reason: str = ""


class ConnectionObserver(Protocol):
    """Whoever counts: `ConnectionMetrics` is one."""

    def on_connect(self) -> None:
        """Learn that a socket is open."""

    def on_disconnect(self, reason: str) -> None:
        """Learn that it is gone, and why."""

    def on_message(self) -> None:
        """Learn that a frame of data came."""


class RobustWebSocket:
    """One connection that comes back by itself.

    Args:
        url: `wss://…`; a redirect is refused, wherever it points.
        subscribe_msg: what to send first on every socket: one frame, or a callable
            that returns all of them. PINGs start after it: a PING before any
            subscription makes the venue close with 1008.
        data_timeout: seconds without data until the socket is replaced. None: never,
            for a caller that knows better and calls `drop`.
        heartbeat_interval: seconds between text PINGs.
        observer: told about every connect, loss and frame of data.
        before_connect: awaited before each attempt; a place to pace many sockets.
        proxy: address of a proxy. None ignores the proxy variables of the environment.
        rng: source of the jitter.

    """

    def __init__(
        self,
        url: str,
        subscribe_msg: SubscribeMsg = None,
        *,
        data_timeout: float | None = DATA_TIMEOUT_S,
        heartbeat_interval: float = HEARTBEAT_INTERVAL_S,
        max_size: int = MAX_FRAME_BYTES,
        observer: ConnectionObserver | None = None,
        before_connect: Callable[[], Awaitable[None]] | None = None,
        proxy: str | None = None,
        rng: random.Random | None = None,
    ) -> None:
        self.url = url
        self.data_timeout = data_timeout
        self.heartbeat_interval = heartbeat_interval
        self._subscribe_msg = subscribe_msg
        self._before_connect = before_connect
        self._max_size = max_size
        self._proxy = proxy
        self._backoff = Backoff(rng or random.Random())  # noqa: S311 - jitter, no secret
        self._history = _History(self._backoff, observer)
        self._session: SocketSession | None = None
        self._stopping = asyncio.Event()
        self._is_running = False

    @property
    def state(self) -> ConnectionState:
        """Where the connection is now."""
        return self._history.state

    async def frames(self) -> AsyncGenerator[bytes | ConnectionGap, None]:
        """Yield data frames and gaps until `stop()`. One reader at a time.

        Raises:
            HandshakeRejectedError: no connection ever worked, and the server refuses.

        """
        if self._is_running:
            raise RuntimeError("this connection already has a reader of its frames")
        self._is_running = True
        self._stopping.clear()
        try:
            while session := await self._next_session():
                try:
                    while True:
                        session.is_receiving = True
                        frame = await session.recv(decode=False)
                        session.is_receiving = False
                        if session.is_for_the_reader(frame):
                            if gap := self._history.note_frame(session):
                                yield gap
                            yield frame
                except ConnectionClosed as closed:
                    if self._stopping.is_set():
                        break
                    self._session = None
                    await session.close()
                    yield self._history.lost(session, session.cause or closed)
        finally:
            await self._end()

    async def connect(self, callback: Callable[[Any], Any]) -> None:
        """Call `callback` with each frame, decoded, until `stop()`.

        It may be a coroutine function. What it raises ends the stream and reaches the
        caller; a frame that is no JSON is logged and passed over.
        """
        async for item in self.frames():
            if isinstance(item, ConnectionGap):
                continue
            try:
                message = json.loads(item)
            except (ValueError, RecursionError):
                logger.warning("passed over a frame of %d bytes: no JSON", len(item))
                continue
            result = callback(message)
            if inspect.isawaitable(result):
                await result

    async def send(self, frame: Frame | str) -> bool:
        """Send one frame on the living socket; False if there is none.

        Nothing is lost then: the next socket starts with `subscribe_msg` anew.
        """
        if self._session is None:
            return False
        with suppress(ConnectionClosed):
            await self._session.send(frame)
            return True
        return False

    @property
    def silence_s(self) -> float | None:
        """Seconds without data on the socket in use; None without a socket."""
        return None if self._session is None else self._session.silence_s

    def drop(self, reason: str) -> None:
        """Give up the socket in use, if any; a fresh one follows."""
        if self._session is not None:
            self._session.fail(ConnectionError(reason))

    async def stop(self) -> None:
        """End `frames()` and close the socket, within 2 s whatever the state."""
        self._stopping.set()
        if self._session is not None:
            await self._session.close()

    async def _next_session(self) -> SocketSession | None:
        """Return a session on a fresh socket, however long it takes; None if stopped."""
        now = asyncio.get_running_loop().time
        while not self._stopping.is_set():
            await self._unless_stopped(asyncio.sleep(self._backoff.next_delay_s(now())))
            if self._before_connect is not None:
                await self._unless_stopped(self._before_connect())
            if self._stopping.is_set():
                break
            self._history.enter(ConnectionState.CONNECTING)
            try:
                await self._unless_stopped(self._open())
            except (OSError, InvalidHandshake, ConnectionClosed) as error:
                self._history.attempt_failed(self.url, error)
            else:
                break
        return None if self._stopping.is_set() else self._session

    async def _open(self) -> None:
        socket = await open_socket(self.url, max_size=self._max_size, proxy=self._proxy)
        session = SocketSession(socket, self.heartbeat_interval, self.data_timeout)
        try:
            for frame in _frames_of(self._subscribe_msg):
                await session.send(frame)
        except BaseException:
            await session.close()
            raise
        self._session = session
        self._history.opened()

    async def _unless_stopped(
        self, work: Coroutine[Any, Any, T] | Awaitable[T]
    ) -> T | None:
        """Wait for `work`; once `stop()` is called, cancel it and return None."""
        task = asyncio.ensure_future(work)
        stopped = asyncio.ensure_future(self._stopping.wait())
        try:
            await asyncio.wait({task, stopped}, return_when=asyncio.FIRST_COMPLETED)
            return task.result() if task.done() else None
        finally:
            await cancel_and_wait(task, stopped)

    async def _end(self) -> None:
        session, self._session = self._session, None
        if session is not None:
            await session.close()
        self._is_running = False
        self._history.ended(was_open=session is not None)


class _History:
    """What a connection has been through: its state, its open gap, its failures."""

    def __init__(self, backoff: Backoff, observer: ConnectionObserver | None) -> None:
        self.state = ConnectionState.DISCONNECTED
        self.backoff = backoff
        self._observer = observer
        self._gap: ConnectionGap | None = None

    def enter(self, state: ConnectionState) -> None:
        """Change the state as `TRANSITIONS` allows."""
        if state is not self.state and state not in TRANSITIONS[self.state]:
            raise RuntimeError(f"a bug here: {self.state} cannot become {state}")
        self.state = state

    def opened(self) -> None:
        """Note that a socket is up and its subscription sent."""
        self.enter(ConnectionState.CONNECTED)
        if self._observer is not None:
            self._observer.on_connect()

    def note_frame(self, session: SocketSession) -> ConnectionGap | None:
        """Count a frame; if it is the first data of its socket, return what it ends."""
        if self._observer is not None:
            self._observer.on_message()
        if session.is_proven or not session.data_count:
            return None
        session.is_proven = self.backoff.has_worked = True
        self.enter(ConnectionState.SUBSCRIBED)
        gap, self._gap = self._gap, None
        if gap is None:
            return None
        logger.info("data again after %.1f s", session.now() - gap.from_s)
        return replace(gap, to_s=session.now())

    def lost(self, session: SocketSession, error: Exception) -> ConnectionGap:
        """Note the end of a socket; return the gap that begins, or goes on."""
        if session.is_proven and session.age_s >= PROVEN_AFTER_S:
            self.backoff.reset()
        self.backoff.note_failure(error)
        self.enter(ConnectionState.RECONNECTING)
        reason = describe(error)
        logger.warning("connection lost: %s", reason)
        if self._observer is not None:
            self._observer.on_disconnect(reason)
        from_s = session.last_data_at if self._gap is None else self._gap.from_s
        self._gap = ConnectionGap(from_s, None, reason, *close_of(error))
        return self._gap

    def attempt_failed(self, url: str, error: Exception) -> None:
        """Note a handshake that failed; raise if no further one can succeed."""
        self.backoff.note_failure(error)
        if self.backoff.is_hopeless and isinstance(error, InvalidStatus):
            self.enter(ConnectionState.FAILED)
            raise HandshakeRejectedError(url, error.response.status_code)
        self.enter(ConnectionState.RECONNECTING)
        logger.warning("could not connect: %s", describe(error))

    def ended(self, *, was_open: bool) -> None:
        """Note that nobody reads any more; the next reader starts afresh."""
        self._gap = None
        self.backoff.start_over()
        if was_open and self._observer is not None:
            self._observer.on_disconnect("stopped")
        if self.state is not ConnectionState.FAILED:
            self.enter(ConnectionState.DISCONNECTED)


def _frames_of(subscribe_msg: SubscribeMsg) -> Iterable[Frame | str]:
    if subscribe_msg is None:
        return ()
    return subscribe_msg() if callable(subscribe_msg) else (subscribe_msg,)
