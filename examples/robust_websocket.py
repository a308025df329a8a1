"""Keep one WebSocket connection alive, and say when it was not.

`frames()` yields every data frame as UTF-8 bytes, over as many sockets as it takes,
and a `ConnectionGap` wherever frames may be missing. An open socket proves nothing
here, and neither does a PONG: only data does. Nothing is ever replayed after a loss.

Times come from the running event loop's clock, randomness from `rng`.

Copy with: reconnect_policy.py.
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

from websockets.asyncio.client import ClientConnection, connect
from websockets.exceptions import ConnectionClosed, InvalidHandshake, InvalidStatus

from reconnect_policy import MAX_REJECTIONS, Backoff, close_of, describe


# The venue's rule for the market and user channels, and what its client sends.
HEARTBEAT_INTERVAL_S = 10.0
# Under load a PONG was seen 11.4 s late; one interval and that, and a bit.
TRANSPORT_TIMEOUT_S = 23.0
DATA_TIMEOUT_S = 120.0
OPEN_TIMEOUT_S = 10.0
CLOSE_TIMEOUT_S = 1.0
WATCH_EVERY_S = 1.0
# An opening book of over 1 MiB, the library's default limit, would end in a loop.
MAX_FRAME_BYTES = 16 * 1024 * 1024
# Data alone does not prove a connection: it has to live this long as well.
PROVEN_AFTER_S = 30.0

CONTROL_TEXTS = frozenset({b"PING", b"PONG", b"NO NEW ASSETS", b"INVALID OPERATION"})
_LONGEST_CONTROL_FRAME = 24

logger = logging.getLogger(__name__)
# The library writes whole frames, credentials too, to its log at DEBUG level.
_library_logger = logging.getLogger(f"{__name__}.library")
_library_logger.setLevel(logging.INFO)

T = TypeVar("T")
Frame: TypeAlias = dict[str, Any]
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


class DataTimeoutError(ConnectionError):
    """No data came for `silence_s` seconds, whatever else the socket sent."""

    def __init__(self, silence_s: float) -> None:
        super().__init__(f"no data for {silence_s:.0f} s")
        self.silence_s = silence_s


class TransportTimeoutError(ConnectionError):
    """Nothing at all came for `silence_s` seconds: the network path is dead."""

    def __init__(self, silence_s: float) -> None:
        super().__init__(f"nothing received for {silence_s:.0f} s, not even a PONG")
        self.silence_s = silence_s


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
        self.state = ConnectionState.DISCONNECTED
        self._subscribe_msg = subscribe_msg
        self._observer = observer
        self._before_connect = before_connect
        self._max_size = max_size
        self._proxy = proxy
        self._backoff = Backoff(rng or random.Random())  # noqa: S311 - jitter, no secret
        self._session: _Session | None = None
        self._gap: ConnectionGap | None = None
        self._stopping = asyncio.Event()
        self._is_running = False

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
                        frame = await session.receive()
                        if not session.is_proven and (gap := self._prove(session)):
                            yield gap
                        if self._observer is not None:
                            self._observer.on_message()
                        yield frame
                except ConnectionClosed as closed:
                    yield await self._lose(session, session.cause or closed)
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

    async def _next_session(self) -> _Session | None:
        """Return a session on a fresh socket, however long it takes; None if stopped."""
        now = asyncio.get_running_loop().time
        while not self._stopping.is_set():
            await self._unless_stopped(asyncio.sleep(self._backoff.next_delay_s(now())))
            if self._before_connect is not None:
                await self._unless_stopped(self._before_connect())
            if self._stopping.is_set():
                break
            self._enter(ConnectionState.CONNECTING)
            try:
                return await self._unless_stopped(self._open())
            except (OSError, InvalidHandshake, ConnectionClosed) as error:
                self._note_failed_attempt(error)
        return None

    async def _open(self) -> _Session:
        socket = await _Connect(
            self.url,
            open_timeout=OPEN_TIMEOUT_S,
            close_timeout=CLOSE_TIMEOUT_S,
            # The library's pings would queue behind data and kill a busy socket.
            ping_interval=None,
            logger=_library_logger,
            max_size=self._max_size,
            proxy=self._proxy,
        )
        session = _Session(socket, self.heartbeat_interval, self.data_timeout)
        try:
            for frame in _frames_of(self._subscribe_msg):
                await session.send(frame)
        except BaseException:
            await session.close()
            raise
        self._session = session
        self._enter(ConnectionState.CONNECTED)
        if self._observer is not None:
            self._observer.on_connect()
        return session

    def _prove(self, session: _Session) -> ConnectionGap | None:
        """Note the first data on a socket; return the gap that it ends."""
        if not session.data_count:
            return None
        session.is_proven = self._backoff.has_worked = True
        self._enter(ConnectionState.SUBSCRIBED)
        gap, self._gap = self._gap, None
        return gap and replace(gap, to_s=session.now())

    async def _lose(self, session: _Session, error: Exception) -> ConnectionGap:
        """Clean up after a socket and return the gap that begins."""
        self._session = None
        await session.close()
        if session.is_proven and session.age_s >= PROVEN_AFTER_S:
            self._backoff.reset()
        self._backoff.note_failure(error)
        if not self._stopping.is_set():
            self._enter(ConnectionState.RECONNECTING)
            logger.warning("connection lost: %s", describe(error))
        if self._observer is not None:
            self._observer.on_disconnect(describe(error))
        from_s = session.last_data_at if self._gap is None else self._gap.from_s
        code, close_reason = close_of(error)
        self._gap = ConnectionGap(from_s, None, describe(error), code, close_reason)
        return self._gap

    def _note_failed_attempt(self, error: Exception) -> None:
        """Decide what follows a handshake that failed."""
        self._backoff.note_failure(error)
        if self._backoff.is_hopeless and isinstance(error, InvalidStatus):
            self._enter(ConnectionState.FAILED)
            raise HandshakeRejectedError(self.url, error.response.status_code)
        self._enter(ConnectionState.RECONNECTING)
        logger.warning("could not connect: %s", describe(error))

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
            await _cancel(task, stopped)

    async def _end(self) -> None:
        session, self._session = self._session, None
        if session is not None:
            await session.close()
            if self._observer is not None:
                self._observer.on_disconnect("stopped")
        self._gap = None
        self._is_running = False
        if self.state is not ConnectionState.FAILED:
            self._enter(ConnectionState.DISCONNECTED)

    def _enter(self, state: ConnectionState) -> None:
        if state is self.state:
            return
        if state not in TRANSITIONS[self.state]:
            raise RuntimeError(f"a bug here: {self.state} cannot become {state}")
        self.state = state


class _Connect(connect):
    """`connect` without redirects: a subscription may hold credentials."""

    def process_redirect(self, exc: Exception) -> Exception:
        """Let the 3xx answer be the error that it is."""
        return exc


class _Session:
    """One socket, from its handshake to its loss."""

    def __init__(
        self, socket: ClientConnection, heartbeat_s: float, data_timeout_s: float | None
    ) -> None:
        self.now = asyncio.get_running_loop().time
        self.frame_count = 0
        self.data_count = 0
        self.is_proven = False
        self.opened_at = self.last_data_at = self.last_frame_at = self.now()
        self._socket = socket
        self._heartbeat_s = heartbeat_s
        self._data_timeout_s = data_timeout_s
        self._is_receiving = False
        self.cause: Exception | None = None
        self._watcher: asyncio.Task[None] | None = None

    @property
    def age_s(self) -> float:
        """Seconds since the handshake."""
        return self.now() - self.opened_at

    @property
    def silence_s(self) -> float:
        """Seconds without data, those not counted in which nobody read."""
        return self.now() - self.last_data_at

    async def receive(self) -> bytes:
        """Return the next frame that is no control text.

        Raises:
            ConnectionClosed: the socket is gone; `cause` says why if it was us.

        """
        while True:
            self._is_receiving = True
            frame = await self._socket.recv(decode=False)
            self._is_receiving = False
            self.frame_count += 1
            if len(frame) <= _LONGEST_CONTROL_FRAME:
                text = frame.strip()
                if text in CONTROL_TEXTS:
                    self._note_control(text)
                    continue
                if text == b"[]":
                    # Nothing known among the requested assets: no sign of life.
                    return frame
            self.data_count += frame[:1] in (b"{", b"[")
            return frame

    def _note_control(self, text: bytes) -> None:
        if text == b"INVALID OPERATION":
            logger.warning("the venue refused a frame: INVALID OPERATION")

    async def send(self, frame: Frame | str) -> None:
        """Send one frame. The first one starts the heartbeat and the deadlines."""
        text = frame if isinstance(frame, str) else json.dumps(frame)
        await self._socket.send(text)
        if self._watcher is None:
            self.last_data_at = self.last_frame_at = self.now()
            self._watcher = asyncio.create_task(self._watch())

    async def _watch(self) -> None:
        """Send PINGs and look at the deadlines; what goes wrong ends the socket."""
        ping_at = self.now() + self._heartbeat_s
        seen_frames = seen_data = 0
        try:
            while True:
                due_at = self.now() + WATCH_EVERY_S
                await asyncio.sleep(WATCH_EVERY_S)
                now = self.now()
                # While our own program keeps the reader or the loop busy, silence
                # says nothing about the venue.
                is_our_fault = not self._is_receiving or now - due_at > WATCH_EVERY_S
                if is_our_fault or self.frame_count != seen_frames:
                    seen_frames, self.last_frame_at = self.frame_count, now
                if is_our_fault or self.data_count != seen_data:
                    seen_data, self.last_data_at = self.data_count, now
                self._check_deadlines(now)
                if now >= ping_at:
                    ping_at = now + self._heartbeat_s
                    async with asyncio.timeout(TRANSPORT_TIMEOUT_S):
                        await self._socket.send("PING")
        except ConnectionClosed:
            return  # the reader sees it too
        except Exception as error:  # noqa: BLE001 - whatever it is ends the socket
            self.fail(error)

    def _check_deadlines(self, now: float) -> None:
        if now - self.last_frame_at >= TRANSPORT_TIMEOUT_S:
            raise TransportTimeoutError(now - self.last_frame_at)
        timeout_s = self._data_timeout_s
        if timeout_s is not None and now - self.last_data_at >= timeout_s:
            raise DataTimeoutError(now - self.last_data_at)

    def fail(self, cause: Exception) -> None:
        """Tear the socket down at once, for `cause`."""
        if self.cause is None:
            self.cause = cause
        self._socket.transport.abort()

    async def close(self) -> None:
        """Close politely, for a second at most, then without asking."""
        if self._watcher is not None:
            await _cancel(self._watcher)
        with suppress(TimeoutError):
            async with asyncio.timeout(1.5 * CLOSE_TIMEOUT_S):
                await self._socket.close()
                return
        self._socket.transport.abort()


def _frames_of(subscribe_msg: SubscribeMsg) -> Iterable[Frame | str]:
    if subscribe_msg is None:
        return ()
    return subscribe_msg() if callable(subscribe_msg) else (subscribe_msg,)


async def _cancel(*tasks: asyncio.Future[Any]) -> None:
    """Cancel tasks and wait until they are over."""
    for task in tasks:
        task.cancel()
    await asyncio.wait(tasks)
