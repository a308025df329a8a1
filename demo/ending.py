"""How a run is asked to end."""

from __future__ import annotations

import asyncio
from contextlib import suppress


class Ending:
    """Ends a run: when it suits, or at once.

    A feed that was broken a moment ago cannot be right yet, so a run asked to end waits
    for what is still to heal, unless asked again.
    """

    def __init__(self) -> None:
        self._asked = asyncio.Event()
        self._insisted = asyncio.Event()

    @property
    def is_asked(self) -> bool:
        """Whether the run should end."""
        return self._asked.is_set()

    @property
    def is_insisted(self) -> bool:
        """Whether it should end without waiting for anything."""
        return self._insisted.is_set()

    def ask(self) -> None:
        """End when it suits; for the second time, at once."""
        if self.is_asked:
            self._insisted.set()
        self._asked.set()

    def insist(self) -> None:
        """End at once."""
        self._asked.set()
        self._insisted.set()

    async def sleep(self, duration_s: float) -> None:
        """Wait this long, or until somebody asks for something new."""
        event = self._insisted if self.is_asked else self._asked
        with suppress(TimeoutError):
            async with asyncio.timeout(duration_s):
                await event.wait()
