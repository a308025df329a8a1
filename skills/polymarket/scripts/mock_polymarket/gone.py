"""Waiting for a client that says nothing to cut its connection."""

from __future__ import annotations

import asyncio

from aiohttp import web


LOOK_EVERY_S = 1.0


async def until_gone(request: web.Request, over: asyncio.Event | None = None) -> None:
    """Return when the client's TCP connection has ended, or `over` is set."""
    never = over or asyncio.Event()
    while request.transport is not None and not request.transport.is_closing():
        try:
            # aiohttp tells a handler of the end only when it reads or writes.
            async with asyncio.timeout(LOOK_EVERY_S):
                await never.wait()
                return
        except TimeoutError:
            continue
