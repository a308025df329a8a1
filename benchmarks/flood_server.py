"""Send a prepared flood to every subscriber, from a process of its own.

`python benchmarks/flood_server.py FOLDER off|on`: compression is accepted or not. It
prints its port, serves `/ws/market` and `POST /books`, and ends when its input does.
"""

from __future__ import annotations

import asyncio
import json
import sys
from collections.abc import Iterator
from pathlib import Path

from aiohttp import web


# Run as a script, so that the folder above is not on the path yet.
sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from benchmarks.flood_stream import MODES, text_frame


OPENING_AFTER_S = 0.1
FLOOD_AFTER_S = 0.2  # by then every receiver has read its opening books
AHEAD_BYTES = 8 << 20
PONG = text_frame(b"PONG")


class FloodServer:
    """Answers as the venue does, and then as fast as the receiver can read."""

    def __init__(self, folder: Path, mode: str) -> None:
        self._stream = folder / MODES[mode]
        self._is_deflated = mode == "on"
        self._opening = text_frame((folder / "opening.json").read_bytes())
        self._rest: dict[str, str] = json.loads((folder / "rest.json").read_text())

    async def books(self, request: web.Request) -> web.Response:
        """Answer `POST /books` with the opening books: a witness that lags behind."""
        asked = [row["token_id"] for row in await request.json()]
        text = ",".join(self._rest[asset_id] for asset_id in asked)
        return web.Response(text=f"[{text}]", content_type="application/json")

    async def market(self, request: web.Request) -> web.WebSocketResponse:
        """Serve one subscriber."""
        socket = web.WebSocketResponse(compress=self._is_deflated)
        await socket.prepare(request)
        if self._is_deflated and not socket.compress:
            raise web.HTTPBadRequest(reason="this run is about compressed frames")
        transport = request.transport
        assert isinstance(transport, asyncio.Transport)
        sender: asyncio.Task[None] | None = None
        async for message in socket:
            if message.data == "PING":
                transport.write(PONG)
            elif sender is None:
                sender = asyncio.create_task(self._send(transport))
        if sender is not None:
            sender.cancel()
        return socket

    async def _send(self, transport: asyncio.Transport) -> None:
        await asyncio.sleep(OPENING_AFTER_S)
        transport.write(self._opening)
        await asyncio.sleep(FLOOD_AFTER_S)
        for block in _blocks(self._stream):
            # aiohttp owns the protocol that would be told of a drained buffer.
            while transport.get_write_buffer_size() > AHEAD_BYTES:  # noqa: ASYNC110
                await asyncio.sleep(0.001)
            transport.write(block)


def _blocks(path: Path) -> Iterator[bytes]:
    with path.open("rb") as file:
        while size := file.read(4):
            yield file.read(int.from_bytes(size))


async def serve(folder: Path, mode: str) -> None:
    """Serve on a free port until the standard input is closed."""
    server = FloodServer(folder, mode)
    app = web.Application()
    app.router.add_get("/ws/market", server.market)
    app.router.add_post("/books", server.books)
    runner = web.AppRunner(app, access_log=None, shutdown_timeout=1.0)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    print(runner.addresses[0][1], flush=True)
    await asyncio.to_thread(sys.stdin.read)
    await runner.cleanup()


if __name__ == "__main__":
    asyncio.run(serve(Path(sys.argv[1]), sys.argv[2]))
