"""One socket, from its handshake to its loss.

It sends the venue's text `PING` once a subscription went out, swallows control text,
and tears the socket down when a deadline passes, so that a reader never hangs.

Copy with: nothing.
"""

from __future__ import annotations

import asyncio
import json
import logging
from contextlib import suppress
from typing import Any, TypeAlias

from websockets.asyncio.client import ClientConnection, connect
from websockets.exceptions import ConnectionClosed


# Under load a PONG was seen 11.4 s late; one interval and that, and a bit.
TRANSPORT_TIMEOUT_S = 23.0
OPEN_TIMEOUT_S = 10.0
CLOSE_TIMEOUT_S = 1.0
WATCH_EVERY_S = 1.0
# An opening book of over 1 MiB, the library's default limit, would end in a loop.
MAX_FRAME_BYTES = 16 * 1024 * 1024

CONTROL_TEXTS = frozenset({b"PING", b"PONG", b"NO NEW ASSETS", b"INVALID OPERATION"})
_LONGEST_CONTROL_FRAME = 24
_JSON_STARTS = b"{["

logger = logging.getLogger(__name__)
# The library writes whole frames, credentials too, to its log at DEBUG level.
_library_logger = logging.getLogger(f"{__name__}.library")
_library_logger.setLevel(logging.INFO)

Frame: TypeAlias = dict[str, Any]


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


async def open_socket(
    url: str, *, max_size: int, proxy: str | None
) -> ClientConnection:
    """Shake hands, within `OPEN_TIMEOUT_S`.

    Raises:
        OSError, TimeoutError, InvalidHandshake: as the `websockets` library does.

    """
    return await _Connect(
        url,
        open_timeout=OPEN_TIMEOUT_S,
        close_timeout=CLOSE_TIMEOUT_S,
        # The library's own pings would queue behind data and kill a busy socket.
        ping_interval=None,
        logger=_library_logger,
        max_size=max_size,
        proxy=proxy,
    )


class _Connect(connect):
    """`connect` without redirects: a subscription may hold credentials."""

    def process_redirect(self, exc: Exception) -> Exception:
        """Let the 3xx answer be the error that it is."""
        return exc


class SocketSession:
    """One socket, from its handshake to its loss.

    The reader calls `recv(decode=False)` with `is_receiving` set meanwhile, then
    `is_for_the_reader`: written out there, since it happens for every frame.
    """

    def __init__(
        self, socket: ClientConnection, heartbeat_s: float, data_timeout_s: float | None
    ) -> None:
        self.now = asyncio.get_running_loop().time
        self.frame_count = 0
        self.data_count = 0
        self.is_proven = False
        self.opened_at = self.last_data_at = self.last_frame_at = self.now()
        self.recv = socket.recv
        self._socket = socket
        self._heartbeat_s = heartbeat_s
        self._data_timeout_s = data_timeout_s
        self.is_receiving = False
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

    def is_for_the_reader(self, frame: bytes) -> bool:
        """Count a frame just received; False for control text, which ends here."""
        self.frame_count += 1
        if len(frame) > _LONGEST_CONTROL_FRAME:
            self.data_count += frame[0] in _JSON_STARTS
            return True
        text = frame.strip()
        if text in CONTROL_TEXTS:
            self._note_control(text)
            return False
        # `[]`, nothing known among the requested assets, is no sign of life.
        self.data_count += text != b"[]" and text[:1] in (b"{", b"[")
        return True

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
                is_our_fault = not self.is_receiving or now - due_at > WATCH_EVERY_S
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
            await cancel_and_wait(self._watcher)
        with suppress(TimeoutError):
            async with asyncio.timeout(1.5 * CLOSE_TIMEOUT_S):
                await self._socket.close()
                return
        self._socket.transport.abort()


async def cancel_and_wait(*tasks: asyncio.Future[Any]) -> None:
    """Cancel tasks and wait until they are over."""
    for task in tasks:
        task.cancel()
    await asyncio.wait(tasks)
