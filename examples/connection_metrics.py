"""Count what a connection does and how long it was up.

Give one to `RobustWebSocket` as its `observer`, or call the three `on_…` methods
yourself. All times are readings of `clock`, in seconds; only differences mean
anything.

Pure: no I/O, and the clock is passed in.

Copy with: nothing.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass, field


@dataclass
class ConnectionMetrics:
    """Counters for one connection, from its first attempt on.

    The default clock is monotonic: wall-clock time can jump, and an uptime computed
    from it would jump too.
    """

    clock: Callable[[], float] = field(default=time.monotonic, repr=False)
    connect_count: int = 0
    disconnect_count: int = 0
    message_count: int = 0
    last_message_at: float | None = None
    last_disconnect_reason: str | None = None
    _created_at: float = field(init=False, repr=False)
    _connected_at: float | None = field(default=None, repr=False)
    _uptime_before_s: float = field(default=0.0, repr=False)

    def __post_init__(self) -> None:
        """Start the time that `get_uptime_ratio` divides by."""
        self._created_at = self.clock()

    def on_connect(self) -> None:
        """Record that a socket is open."""
        self.connect_count += 1
        self._connected_at = self.clock()

    def on_disconnect(self, reason: str = "") -> None:
        """Record that the socket is gone, and in one line why."""
        self.disconnect_count += 1
        self.last_disconnect_reason = reason
        self._uptime_before_s = self.uptime_s
        self._connected_at = None

    def on_message(self) -> None:
        """Record one frame of data. Heartbeat replies are not data."""
        self.message_count += 1
        self.last_message_at = self.clock()

    @property
    def is_connected(self) -> bool:
        """Whether a socket is open. It says nothing about data: see `silence_s`."""
        return self._connected_at is not None

    @property
    def uptime_s(self) -> float:
        """Seconds spent connected, including the connection open now."""
        if self._connected_at is None:
            return self._uptime_before_s
        return self._uptime_before_s + self.clock() - self._connected_at

    @property
    def silence_s(self) -> float | None:
        """Seconds since the last frame of data; None before the first one."""
        if self.last_message_at is None:
            return None
        return self.clock() - self.last_message_at

    def get_uptime_ratio(self) -> float:
        """Return the share of time, 0 to 1, that a socket was open."""
        elapsed_s = self.clock() - self._created_at
        return self.uptime_s / elapsed_s if elapsed_s > 0 else 0.0

    def to_dict(self) -> dict[str, int | float | bool | str | None]:
        """Return all figures under the names above, ready for JSON."""
        return {
            "is_connected": self.is_connected,
            "connect_count": self.connect_count,
            "disconnect_count": self.disconnect_count,
            "message_count": self.message_count,
            "uptime_s": round(self.uptime_s, 3),
            "uptime_ratio": round(self.get_uptime_ratio(), 6),
            "silence_s": None if self.silence_s is None else round(self.silence_s, 3),
            "last_disconnect_reason": self.last_disconnect_reason,
        }
