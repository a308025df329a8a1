"""What the official client reads over REST, compared with the mock's truth."""

from __future__ import annotations

from collections.abc import Awaitable, Iterator, Sequence
from typing import Any

from polymarket._internal.actions.orders.market_data import fetch_tick_size

from mock_polymarket import MockPolymarket


def rest_checks(
    venue: MockPolymarket, client: Any
) -> Iterator[tuple[str, Awaitable[str]]]:
    asset_id = venue.asset_ids[0]
    market = venue.exchange.markets[venue.condition_ids[0]]
    yield "CLOB /book", read_books(venue, client, [asset_id])
    yield "CLOB /books", read_books(venue, client, venue.asset_ids)
    yield "CLOB /price, /midpoint, /tick-size", read_prices(venue, client, asset_id)
    yield (
        "Gamma market by condition id",
        read_market(
            client.list_markets(condition_ids=[market.condition_id]).first_page(),
            market,
        ),
    )
    yield "Gamma markets page by page", read_pages(venue, client)
    yield (
        "Gamma market by slug",
        read_market(client.get_market(slug=market.slug), market),
    )
    yield (
        "Gamma market by id",
        read_market(client.get_market(id=market.gamma_id), market),
    )


async def read_books(
    venue: MockPolymarket, client: Any, asset_ids: Sequence[str]
) -> str:
    if len(asset_ids) == 1:
        books = [await client.get_order_book(asset_id=asset_ids[0])]
    else:
        books = await client.get_order_books(asset_ids=list(asset_ids))
    for asset_id, book in zip(asset_ids, books, strict=True):
        true = venue.ledger.book(asset_id)
        for levels, own in ((true.bids, book.bids), (true.asks, book.asks)):
            assert list(levels) == [(level.price, level.size) for level in own]
        assert (book.asset_id, book.hash) == (asset_id, true.hash)
        assert book.tick_size == true.tick_size
    return f"{len(books)} equal to the truth"


async def read_prices(venue: MockPolymarket, client: Any, asset_id: str) -> str:
    true = venue.ledger.book(asset_id)
    assert true.best_bid is not None
    assert true.best_ask is not None
    bid, ask = true.best_bid.price, true.best_ask.price
    assert await client.get_price(asset_id=asset_id, side="BUY") == bid
    assert await client.get_price(asset_id=asset_id, side="SELL") == ask
    assert await client.get_midpoint(asset_id=asset_id) == (bid + ask) / 2
    assert await fetch_tick_size(client._ctx, token_id=asset_id) == true.tick_size
    return f"{bid} / {ask} at tick {true.tick_size}"


async def read_market(answer: Awaitable[Any], market: Any) -> str:
    found = await answer
    if hasattr(found, "items"):
        (found,) = found.items
    assert found.condition_id == market.condition_id
    outcomes = (found.outcomes.yes, found.outcomes.no)
    assert [outcome.token_id for outcome in outcomes] == list(market.asset_ids)
    assert found.slug == market.slug
    return str(found.slug)


async def read_pages(venue: MockPolymarket, client: Any) -> str:
    pages = client.list_markets(closed=False, page_size=3)
    found = [market.condition_id async for market in pages.iter_items()]
    assert found == list(venue.condition_ids), f"{found}"
    return f"{len(found)} markets, 3 a page"
