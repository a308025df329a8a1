"""CLOB REST: books, prices and market rows."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

from aiohttp import web

from . import wire
from .amounts import ONE, to_decimal, to_text
from .market import Market, MarketState, Token


if TYPE_CHECKING:
    from .server import MockPolymarket


NO_BOOK = {"error": "No orderbook exists for the requested token id"}
MAX_BOOKS = 500


class ClobRest:
    """Answers the read-only CLOB calls from the exchange's truth."""

    def __init__(self, venue: MockPolymarket) -> None:
        self._venue = venue

    def routes(self) -> list[web.RouteDef]:
        """Return what is served."""
        return [
            web.get("/book", self.book),
            web.post("/books", self.books),
            web.get("/price", self.price),
            web.get("/midpoint", self.midpoint),
            web.get("/tick-size", self.tick_size),
            web.get("/markets/{condition_id}", self.market),
        ]

    async def book(self, request: web.Request) -> web.Response:
        """Answer `GET /book?token_id=`."""
        market, token = self._asked(request)
        text = self._book_text(market, token)
        return web.Response(text=text, content_type="application/json")

    async def books(self, request: web.Request) -> web.Response:
        """Answer `POST /books`; unknown tokens are left out."""
        ids = await _token_ids(request)
        if ids is None:
            return web.json_response({"error": "Invalid payload"}, status=400)
        if len(ids) > MAX_BOOKS:
            error = {"error": "Payload exceeds the limit"}
            return web.json_response(error, status=400)
        found = [(self._venue.exchange.open_market_of(i), i) for i in ids]
        books = [self._book_text(m, m.token(i)) for m, i in found if m is not None]
        text = f"[{','.join(books)}]"
        return web.Response(text=text, content_type="application/json")

    async def price(self, request: web.Request) -> web.Response:
        """Answer `GET /price?token_id=&side=`: BUY is the best bid."""
        _, token = self._asked(request)
        side = request.query.get("side", "").upper()
        if side not in ("BUY", "SELL"):
            return web.json_response({"error": "Invalid side"}, status=400)
        return web.json_response({"price": token.best_texts()[side == "SELL"]})

    async def midpoint(self, request: web.Request) -> web.Response:
        """Answer `GET /midpoint?token_id=`."""
        _, token = self._asked(request)
        return web.json_response({"mid": to_text(_mid(token))})

    async def tick_size(self, request: web.Request) -> web.Response:
        """Answer `GET /tick-size?token_id=`."""
        market, _ = self._asked(request)
        return web.json_response({"minimum_tick_size": float(to_decimal(market.tick))})

    async def market(self, request: web.Request) -> web.Response:
        """Answer `GET /markets/{condition_id}`."""
        condition_id = request.match_info["condition_id"]
        market = self._venue.exchange.markets.get(condition_id)
        if market is None:
            return web.json_response({"error": "market not found"}, status=404)
        return web.json_response(market_row(market))

    def _asked(self, request: web.Request) -> tuple[Market, Token]:
        """Return the market and token of a query, or raise the venue's 400 or 404."""
        asset_id = request.query.get("token_id")
        if not asset_id:
            raise json_error(web.HTTPBadRequest, {"error": "Invalid token id"})
        market = self._venue.exchange.open_market_of(asset_id)
        if market is None:
            raise json_error(web.HTTPNotFound, NO_BOOK)
        return market, market.token(asset_id)

    def _book_text(self, market: Market, token: Token) -> str:
        for effect in self._venue.faults.effects:
            other = effect.rest_book(market, token)
            if other is not None:
                return other
        return wire.rest_book(market, token)


def json_error(kind: type[web.HTTPError], body: object) -> web.HTTPError:
    """Return an error to raise, with a JSON body."""
    return kind(text=json.dumps(body), content_type="application/json")


async def _token_ids(request: web.Request) -> list[str] | None:
    try:
        rows = await request.json()
        return [str(row["token_id"]) for row in rows]
    except (ValueError, TypeError, KeyError):
        return None


def _mid(token: Token) -> int:
    ask = ONE if token.asks.best is None else token.asks.best
    return ((token.bids.best or 0) + ask) // 2


def market_row(market: Market) -> dict[str, Any]:
    """Return the CLOB's row of a market; it closes before Gamma says so."""
    is_closed = market.state is MarketState.CLOSED
    return {
        "enable_order_book": not is_closed,
        "active": True,
        "closed": is_closed,
        "archived": False,
        "accepting_orders": market.state is MarketState.OPEN,
        "accepting_order_timestamp": None,
        "minimum_order_size": int(market.min_order_size),
        "minimum_tick_size": float(to_decimal(market.tick)),
        "condition_id": market.condition_id,
        "question_id": f"0x{int(market.gamma_id):064x}",
        "question": market.question,
        "description": market.question,
        "market_slug": market.slug,
        "end_date_iso": None,
        "game_start_time": None,
        "seconds_delay": 0,
        "fpmm": "",
        "maker_base_fee": 0,
        "taker_base_fee": 0,
        "notifications_enabled": False,
        "neg_risk": market.neg_risk,
        "neg_risk_market_id": "",
        "neg_risk_request_id": "",
        "icon": "",
        "image": "",
        "rewards": {"rates": None, "min_size": 0, "max_spread": 0},
        "is_50_50_outcome": False,
        "tokens": [_token_row(market, index) for index in (0, 1)],
        "tags": [],
    }


def _token_row(market: Market, index: int) -> dict[str, Any]:
    token = market.tokens[index]
    is_winner = market.state is MarketState.CLOSED and market.winner_index == index
    if market.state is MarketState.CLOSED and market.winner_index is not None:
        price = float(is_winner)
    else:
        price = float(to_decimal(_mid(token)))
    return {
        "token_id": token.asset_id,
        "outcome": token.outcome,
        "price": price,
        "winner": is_winner,
    }
