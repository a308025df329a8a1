"""The mock's own API: faults, truth and events by hand."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from aiohttp import web

from .faults import FAULTS
from .ledger import Entry
from .market import BookView, Level


if TYPE_CHECKING:
    from .server import MockPolymarket


class ControlApi:
    """JSON in and out; a wrong request is a 400 that says what is wrong."""

    def __init__(self, venue: MockPolymarket) -> None:
        self._venue = venue

    def routes(self) -> list[web.RouteDef]:
        """Return what is served."""
        return [
            web.get("/faults", self.faults),
            web.post("/faults", self.change_faults),
            web.get("/ledger/books", self.books),
            web.get("/ledger/trades", self.trades),
            web.get("/sessions", self.sessions),
            web.post("/exchange/{action}", self.act),
        ]

    async def faults(self, _request: web.Request) -> web.Response:
        """List the faults, and the ones at work with their parameters."""
        body = {"faults": dict(FAULTS), "active": _plain(self._venue.faults.active)}
        return web.json_response(body)

    async def change_faults(self, request: web.Request) -> web.Response:
        """Start a fault, schedule a spec, or stop a fault."""
        body = await _body(request)
        try:
            if "spec" in body:
                self._venue.faults.schedule(str(body["spec"]))
            elif "stop" in body:
                self._venue.faults.stop(str(body["stop"]))
            else:
                params = dict(body.get("params") or {})
                self._venue.faults.start(str(body["start"]), **params)
        except (ValueError, TypeError, KeyError) as exc:
            return _wrong(exc, "start, spec or stop")
        return web.json_response({"active": _plain(self._venue.faults.active)})

    async def books(self, _request: web.Request) -> web.Response:
        """Return the true book of every asset of an open market."""
        ids = self._venue.asset_ids
        return web.json_response({i: _book(self._venue.ledger.book(i)) for i in ids})

    async def trades(self, request: web.Request) -> web.Response:
        """Return every trade, of one asset with `asset_id`."""
        trades = self._venue.ledger.trades(request.query.get("asset_id"))
        return web.json_response([_entry(trade) for trade in trades])

    async def sessions(self, _request: web.Request) -> web.Response:
        """Return who is connected and to what subscribed."""
        rows = [
            {
                "number": session.number,
                "opened_at_s": session.opened_at_s,
                "asset_ids": sorted(session.asset_ids),
                "frozen": session.frozen,
                "half_open": session.black_hole,
                "received": list(session.received)[-10:],
            }
            for session in self._venue.sessions
        ]
        return web.json_response(rows)

    async def act(self, request: web.Request) -> web.Response:
        """Call a method of the exchange with the body's fields as arguments."""
        exchange = self._venue.exchange
        actions: dict[str, Callable[..., Any]] = {
            "trade": lambda **fields: [_entry(e) for e in exchange.trade(**fields)],
            "set_level": exchange.set_level,
            "change_tick_size": exchange.change_tick_size,
            "resolve": exchange.resolve,
            "create_market": lambda **fields: _market(exchange.create_market(**fields)),
        }
        name = request.match_info["action"]
        if name not in actions:
            error = {"error": f"no action {name!r}; there are: {', '.join(actions)}"}
            return web.json_response(error, status=404)
        body = await _body(request)
        try:
            result = actions[name](**body)
        except (ValueError, TypeError, KeyError) as exc:
            return _wrong(exc, f"the arguments of {name}")
        return web.json_response({"ok": True, "result": result})


async def _body(request: web.Request) -> dict[str, Any]:
    try:
        body = await request.json()
    except ValueError:
        body = None
    if not isinstance(body, dict):
        raise web.HTTPBadRequest(
            text='{"error": "the body is not a JSON object"}',
            content_type="application/json",
        )
    return body


def _wrong(exc: Exception, expected: str) -> web.Response:
    what = f"unknown or missing: {exc}" if isinstance(exc, KeyError) else str(exc)
    error = {"error": f"{what} (expected {expected})"}
    return web.json_response(error, status=400)


def _plain(mapping: Any) -> dict[str, dict[str, Any]]:
    return {name: dict(params) for name, params in mapping.items()}


def _entry(entry: Entry) -> dict[str, Any]:
    return {"seq": entry.seq, "time_ms": entry.time_ms, **entry.payload}


def _market(market: Any) -> dict[str, Any]:
    ids = {"condition_id": market.condition_id, "asset_ids": list(market.asset_ids)}
    return {**ids, "question": market.question}


def _book(view: BookView) -> dict[str, Any]:
    return {
        "market": view.condition_id,
        "timestamp": str(view.timestamp_ms),
        "hash": view.hash,
        "bids": [_level(level) for level in view.bids],
        "asks": [_level(level) for level in view.asks],
        "tick_size": str(view.tick_size),
        "last_trade_price": view.last_trade_price,
    }


def _level(level: Level) -> dict[str, str]:
    return {"price": str(level.price), "size": str(level.size)}
