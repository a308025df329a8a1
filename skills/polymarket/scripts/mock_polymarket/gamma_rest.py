"""Gamma REST: markets by filter, id and slug, as strings of JSON from a late cache."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from aiohttp import web

from .amounts import ONE, to_decimal, to_text
from .market import Market, MarketState


if TYPE_CHECKING:
    from .server import MockPolymarket


DEFAULT_LIMIT, MAX_LIMIT = 20, 500


class GammaRest:
    """Answers market queries; a closed market looks open until the cache is over."""

    def __init__(self, venue: MockPolymarket) -> None:
        self._venue = venue

    def routes(self) -> list[web.RouteDef]:
        """Return what is served."""
        return [
            web.get("/markets", self.markets),
            web.get("/markets/keyset", self.keyset),
            web.get("/markets/slug/{slug}", self.one_market),
            web.get("/markets/{id}", self.one_market),
        ]

    async def markets(self, request: web.Request) -> web.Response:
        """Answer by condition_ids, clob_token_ids, slug, closed, limit and offset."""
        try:
            offset = int(request.query.get("offset", 0))
            page = self._page(request, offset)
        except ValueError:
            return _invalid("limit or offset")
        return web.json_response([self._row(market) for market in page])

    async def keyset(self, request: web.Request) -> web.Response:
        """Answer the same filters page by page: `next_cursor` is there until the end."""
        try:
            offset = int(request.query.get("after_cursor", 0))
            page = self._page(request, offset)
        except ValueError:
            return _invalid("limit or after_cursor")
        body: dict[str, Any] = {"markets": [self._row(market) for market in page]}
        if self._page(request, offset + len(page)):
            body["next_cursor"] = str(offset + len(page))
        return web.json_response(body)

    async def one_market(self, request: web.Request) -> web.Response:
        """Answer with the market of this id or slug, open or closed."""
        name, value = next(iter(request.match_info.items()))
        for market in self._venue.exchange.markets.values():
            if value == (market.slug if name == "slug" else market.gamma_id):
                return web.json_response(self._row(market))
        error = {"type": "not found error", "error": f"{name} not found"}
        return web.json_response(error, status=404)

    def _page(self, request: web.Request, offset: int) -> list[Market]:
        """Return what a query asks for; ValueError if a number in it is none."""
        query = request.query
        conditions = _many(query.getall("condition_ids", []))
        asset_ids = _many(query.getall("clob_token_ids", []))
        # Since April 2026 a closed market is found with closed=true only.
        wants_closed = query.get("closed", "false").lower() == "true"
        slugs = _many(query.getall("slug", []))
        limit = min(int(query.get("limit", DEFAULT_LIMIT)), MAX_LIMIT)
        found = [
            market
            for market in self._venue.exchange.markets.values()
            if (not conditions or market.condition_id in conditions)
            and (not slugs or market.slug in slugs)
            and (not asset_ids or not asset_ids.isdisjoint(market.asset_ids))
            and self._looks_closed(market) == wants_closed
        ]
        return found[max(offset, 0) :][: max(limit, 0)]

    def _looks_closed(self, market: Market) -> bool:
        if market.closed_ms is None:
            return False
        visible_ms = market.closed_ms + int(self._venue.gamma_lag_s * 1000)
        return self._venue.now_ms() >= visible_ms

    def _row(self, market: Market) -> dict[str, Any]:
        is_closed = self._looks_closed(market)
        row = {
            "id": market.gamma_id,
            "question": market.question,
            "conditionId": market.condition_id,
            "slug": market.slug,
            "resolutionSource": "",
            "description": market.question,
            "outcomes": json.dumps([token.outcome for token in market.tokens]),
            "outcomePrices": json.dumps(_prices(market, is_closed=is_closed)),
            "active": True,
            "closed": is_closed,
            "archived": False,
            "restricted": True,
            "questionID": f"0x{int(market.gamma_id):064x}",
            "enableOrderBook": True,
            "orderPriceMinTickSize": float(to_decimal(market.tick)),
            "orderMinSize": int(market.min_order_size),
            "clobTokenIds": json.dumps(list(market.asset_ids)),
            "acceptingOrders": not is_closed,
            "negRisk": market.neg_risk,
            "umaResolutionStatuses": json.dumps(["proposed"] if is_closed else []),
            "feesEnabled": False,
        }
        if is_closed and market.closed_ms is not None:
            closed_at = datetime.fromtimestamp(market.closed_ms / 1000, UTC)
            row["closedTime"] = f"{closed_at:%Y-%m-%d %H:%M:%S}+00"
            if market.winner_index is not None:
                row["umaResolutionStatus"] = "resolved"
        return row


def _invalid(what: str) -> web.Response:
    error = {"type": "validation error", "error": f"invalid {what}"}
    return web.json_response(error, status=422)


def _many(values: list[str]) -> set[str]:
    """Return a parameter that may be repeated and may hold commas."""
    return {piece for value in values for piece in value.split(",") if piece}


def _prices(market: Market, *, is_closed: bool) -> list[str]:
    if is_closed and market.winner_index is not None:
        return ["1" if index == market.winner_index else "0" for index in (0, 1)]
    first = market.tokens[0]
    ask = ONE if first.asks.best is None else first.asks.best
    mid = ((first.bids.best or 0) + ask) // 2
    if market.state is not MarketState.OPEN:
        mid = ONE // 2
    return [to_text(mid), to_text(ONE - mid)]
