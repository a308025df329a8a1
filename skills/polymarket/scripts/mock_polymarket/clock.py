"""The venue's wall clock: an agreed start plus the event loop's elapsed time."""

from __future__ import annotations

import asyncio


class VenueClock:
    """Wall time in ms that follows `loop.time()`, so virtual time moves it too."""

    def __init__(self, start_ms: int) -> None:
        self._start_ms = start_ms
        self._origin_s: float | None = None

    def start(self) -> None:
        """Let the time run from now on; before, it stands at the start."""
        self._origin_s = asyncio.get_running_loop().time()

    def now_ms(self) -> int:
        """Return Unix milliseconds."""
        if self._origin_s is None:
            return self._start_ms
        elapsed_s = asyncio.get_running_loop().time() - self._origin_s
        # The small term keeps 0.165 s from becoming 164 ms.
        return self._start_ms + int(elapsed_s * 1000 + 1e-6)
