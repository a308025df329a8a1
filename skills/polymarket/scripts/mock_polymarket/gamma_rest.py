"""Gamma REST: `GET /markets`, with its strings of JSON and its late cache."""

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
        return [web.get("/markets", self.markets)]

    async def markets(self, request: web.Request) -> web.Response:
        """Answer by condition_ids, clob_token_ids, closed, limit and offset."""
        query = request.query
        conditions = _many(query.getall("condition_ids", []))
        asset_ids = _many(query.getall("clob_token_ids", []))
        # Since April 2026 a closed market is found with closed=true only.
        wants_closed = query.get("closed", "false").lower() == "true"
        try:
            limit = min(int(query.get("limit", DEFAULT_LIMIT)), MAX_LIMIT)
            offset = int(query.get("offset", 0))
        except ValueError:
            error = {"type": "validation error", "error": "invalid limit or offset"}
            return web.json_response(error, status=422)
        found = [
            market
            for market in self._venue.exchange.markets.values()
            if (not conditions or market.condition_id in conditions)
            and (not asset_ids or not asset_ids.isdisjoint(market.asset_ids))
            and self._looks_closed(market) == wants_closed
        ]
        page = found[max(offset, 0) :][: max(limit, 0)]
        return web.json_response([self._row(market) for market in page])

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
