"""When to try again after a lost connection, and what to call the loss.

The longest wait doubles with every failure in a row and is reset only by a
connection that gave data and lived; an open socket resets nothing, or a server that
accepts and closes would be hammered.

Pure: no I/O and no clock. It reads exceptions of the `websockets` library.

Copy with: nothing.
"""

from __future__ import annotations

import random
from collections import deque
from contextlib import suppress
from email.utils import parsedate_to_datetime

from websockets.exceptions import ConnectionClosed, InvalidStatus


BACKOFF_BASE_S = 1.0
BACKOFF_CAP_S = 60.0
MAX_CONNECTS_PER_MINUTE = 10
MAX_REJECTIONS = 3
MAX_RETRY_AFTER_S = 300.0


class Backoff:
    """How long to wait before the next attempt."""

    def __init__(self, rng: random.Random) -> None:
        self.has_worked = False
        self._rng = rng
        self._failures = 0
        self._rejections = 0
        self._window_s = (0.0, 0.0)
        self._starts: deque[float] = deque(maxlen=MAX_CONNECTS_PER_MINUTE)

    @property
    def is_hopeless(self) -> bool:
        """Whether the server refuses us and always has."""
        return not self.has_worked and self._rejections >= MAX_REJECTIONS

    def note_failure(self, error: Exception) -> None:
        """Widen the window; how far depends on the failures in a row."""
        self._window_s = retry_window_s(error, self._failures)
        self._failures += 1
        self._rejections = self._rejections + 1 if is_rejection(error) else 0

    def reset(self) -> None:
        """Forget earlier failures: a connection gave data and lived."""
        self._failures = 0

    def start_over(self) -> None:
        """Forget everything but the recent attempts."""
        self._failures = self._rejections = 0
        self._window_s = (0.0, 0.0)

    def next_delay_s(self, now: float) -> float:
        """Return the seconds to wait, and count the attempt that follows."""
        delay_s = self._rng.uniform(*self._window_s)
        if len(self._starts) == MAX_CONNECTS_PER_MINUTE:
            delay_s = max(delay_s, self._starts[0] + 60 - now)
        self._starts.append(now + delay_s)
        return delay_s


def retry_window_s(error: Exception, failures: int) -> tuple[float, float]:
    """Return the shortest and longest wait after `error`, in seconds.

    This is the whole retry policy. The wait is uniform in the window (full jitter),
    so that clients that lost the venue together do not come back together. A first
    loss of a working connection is retried within a second; a restart or an overload
    announced by the venue leaves it time; `Retry-After` is obeyed. After that the
    longest wait doubles, up to `BACKOFF_CAP_S`.
    """
    code = status_of(error) or close_of(error)[0]
    if (retry_after_s := _retry_after_s(error)) is not None:
        return retry_after_s, retry_after_s + 5.0
    if code in {1012, 1013, 429} or is_rejection(error):
        low_s, high_s = 5.0, 30.0
    elif code in {1000, 1001, 1008, 1009, 1011} or (code or 0) >= 400:
        low_s, high_s = 0.5, 10.0
    else:
        low_s, high_s = 0.0, BACKOFF_BASE_S
    doubled_s = min(BACKOFF_CAP_S, BACKOFF_BASE_S * 2 ** min(failures, 16))
    return low_s, max(high_s, doubled_s)


def is_rejection(error: Exception) -> bool:
    """Whether the server said no to the request itself, rather than to this moment."""
    status = status_of(error)
    return status is not None and (
        300 <= status < 400 or status in {400, 401, 403, 404, 405, 410, 451}
    )


def status_of(error: Exception) -> int | None:
    """Return the HTTP status of a failed handshake."""
    return error.response.status_code if isinstance(error, InvalidStatus) else None


def close_of(error: Exception) -> tuple[int | None, str]:
    """Return close code and reason the venue sent; (None, "") if it just vanished."""
    if isinstance(error, ConnectionClosed) and error.rcvd is not None:
        return error.rcvd.code, error.rcvd.reason
    return None, ""


def describe(error: Exception) -> str:
    """Say in one safe line what happened: no text of the server unescaped or long."""
    status, (code, reason) = status_of(error), close_of(error)
    if status is not None:
        return f"handshake answered with HTTP {status}"
    if code is not None:
        return f"closed by the venue with {code} {reason[:120]!a}"
    if isinstance(error, ConnectionClosed):
        if error.sent is not None and error.sent.code == 1009:
            return "a frame was larger than max_size"
        return "socket ended without a close frame"
    return ascii(str(error) or type(error).__name__)[1:-1][:300]


def _retry_after_s(error: Exception) -> float | None:
    if not isinstance(error, InvalidStatus):
        return None
    headers = error.response.headers
    # Missing, doubled, no date, out of range: a server can send anything.
    with suppress(ValueError, TypeError, LookupError, OverflowError):
        value = headers["Retry-After"]
        if value.isdigit():
            return min(float(value), MAX_RETRY_AFTER_S)
        # A date counts from the server's own Date: no clock of ours is involved.
        wait = parsedate_to_datetime(value) - parsedate_to_datetime(headers["Date"])
        return min(max(wait.total_seconds(), 0.0), MAX_RETRY_AFTER_S)
    return None
