"""The callback form of a feed, for those who do not want a loop over events.

Copy with: event_buffer.py, market_events.py.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable
from typing import Any, TypeAlias

from event_buffer import ConnectionChange, FeedEvent, Gap
from market_events import (
    Book,
    LastTradePrice,
    MalformedEvent,
    PriceChange,
    TickSizeChange,
)


Callback: TypeAlias = Callable[[Any], Any]


class MarketCallbacks:
    """The callback side of a feed: set what you want before `connect()`.

    Each takes one event (`on_connect` none, `on_disconnect` the reason, `on_error` an
    exception) and may be a coroutine function. They are called in order, one at a
    time. What one raises goes to `on_error`; without that it ends the feed.
    """

    on_price_change: Callback | None = None
    on_book_update: Callback | None = None
    on_trade: Callback | None = None
    on_tick_size_change: Callback | None = None
    on_gap: Callback | None = None
    on_connect: Callable[[], Any] | None = None
    on_disconnect: Callback | None = None
    on_error: Callback | None = None

    def has_callbacks(self) -> bool:
        """Whether any has been set."""
        names = (name for name in vars(MarketCallbacks) if name.startswith("on_"))
        return any(getattr(self, name) is not None for name in names)

    async def call_back(self, event: FeedEvent) -> None:
        """Call whoever waits for this event."""
        match event:
            case PriceChange():
                await self._call(self.on_price_change, event)
            case Book():
                await self._call(self.on_book_update, event)
            case LastTradePrice():
                await self._call(self.on_trade, event)
            case TickSizeChange():
                await self._call(self.on_tick_size_change, event)
            case Gap():
                await self._call(self.on_gap, event)
            case ConnectionChange(is_up=True):
                await self._call(self.on_connect)
            case ConnectionChange():
                await self._call(self.on_disconnect, event.reason)
            case MalformedEvent():
                if self.on_error is not None:
                    await self._call(self.on_error, ValueError(event.reason))

    async def _call(self, callback: Callable[..., Any] | None, *arguments: Any) -> None:
        if callback is None:
            return
        try:
            result = callback(*arguments)
            if inspect.isawaitable(result):
                await result
        except Exception as error:
            if self.on_error is None or callback is self.on_error:
                raise
            await self._call(self.on_error, error)
