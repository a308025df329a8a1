"""Ask REST for the newest books, as a witness against a silent stream.

One `POST /books` carries many assets; `look` is called seldom and politely, and says
only what it saw. It never overwrites a live book: REST has been wrong as well.

Copy with: asset_watch.py, order_book.py.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from contextlib import suppress
from typing import Self

import aiohttp
import msgspec

from asset_watch import Testimony
from order_book import HashFields


CLOB_URL = "https://clob.polymarket.com"
# The venue takes about 500 ids; a full answer for 100 is already some 500 kB.
MAX_IDS_PER_REQUEST = 100
REQUEST_TIMEOUT_S = 4.0
MAX_ANSWER_BYTES = 32 * 1024 * 1024


class WitnessError(ConnectionError):
    """REST gave no usable answer; the message says what it did instead."""


class _RestBook(msgspec.Struct):
    asset_id: str
    timestamp: int
    tick_size: str
    min_order_size: str
    neg_risk: bool
    hash: str | None = None


_decode_rows = msgspec.json.Decoder(list[msgspec.Raw]).decode
_decode_book = msgspec.json.Decoder(_RestBook, strict=False).decode


class BookWitness:
    """A small client of one CLOB REST host. Use it as a context or call `close`."""

    def __init__(self, clob_url: str = CLOB_URL) -> None:
        self.clob_url = clob_url.rstrip("/")
        self._http: aiohttp.ClientSession | None = None

    async def look(self, asset_ids: Sequence[str]) -> dict[str, Testimony]:
        """Return what REST knows of these; assets without a book are left out.

        Raises:
            WitnessError: no answer in time, or none that could be read.

        """
        body = [{"token_id": asset_id} for asset_id in asset_ids]
        try:
            async with self._client().post(
                f"{self.clob_url}/books", json=body, allow_redirects=False
            ) as answer:
                if answer.status != 200:
                    raise WitnessError(f"POST /books answered HTTP {answer.status}")
                rows = _decode_rows(await _read_bounded(answer))
        except (
            aiohttp.ClientError,
            TimeoutError,
            msgspec.MsgspecError,
            RecursionError,
        ) as error:
            raise WitnessError(f"POST /books: {type(error).__name__}") from error
        return dict(_testimonies(rows))

    def _client(self) -> aiohttp.ClientSession:
        """Open the connection pool on first use: it belongs to the running loop."""
        if self._http is None:
            timeout = aiohttp.ClientTimeout(total=REQUEST_TIMEOUT_S)
            self._http = aiohttp.ClientSession(timeout=timeout, trust_env=False)
        return self._http

    async def close(self) -> None:
        """Close the connections."""
        http, self._http = self._http, None
        if http is not None:
            await http.close()

    async def __aenter__(self) -> Self:
        """Return the witness itself."""
        return self

    async def __aexit__(self, *_exception: object) -> None:
        """Close it."""
        await self.close()


def _testimonies(rows: Iterable[msgspec.Raw]) -> Iterator[tuple[str, Testimony]]:
    """Read each row on its own: an odd one says nothing of the others."""
    for row in rows:
        with suppress(msgspec.MsgspecError, RecursionError):
            book = _decode_book(row)
            fields = HashFields(book.min_order_size, book.tick_size, book.neg_risk)
            yield book.asset_id, Testimony(book.timestamp, book.hash, fields)


async def _read_bounded(answer: aiohttp.ClientResponse) -> bytes:
    content = bytearray()
    async for chunk in answer.content.iter_chunked(2**16):
        content += chunk
        if len(content) > MAX_ANSWER_BYTES:
            raise WitnessError(f"POST /books: more than {MAX_ANSWER_BYTES} bytes")
    return bytes(content)
