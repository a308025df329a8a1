"""The whole venue: one exchange, five loopback ports, one event loop."""

from __future__ import annotations

import asyncio
import ipaddress
from collections import deque
from collections.abc import Awaitable, Callable, Iterable, Sequence
from dataclasses import dataclass
from email.utils import formatdate
from pathlib import Path
from random import Random
from types import TracebackType
from typing import Self

from aiohttp import web

from .clob_rest import ClobRest
from .clock import VenueClock
from .control_api import ControlApi
from .exchange import Exchange
from .gamma_rest import GammaRest
from .ledger import Ledger
from .market import MarketState, Side
from .market_channel import MarketChannel
from .order_flow import OrderFlow
from .outgoing import INJECTED, Outgoing
from .replay import load_frames
from .session import Session
from .switchboard import FaultSwitchboard


START_MS = 1_790_000_000_000
SEND_BUFFER_BYTES = 4 * 1024 * 1024
GAMMA_LAG_S = 120.0  # measured 51 s to 3 min; the cache allows 300 s
CLOSED_MARKETS = 3  # resolved ones that exist besides the open ones
BACKLOG = 2_048  # a herd on virtual time overflows the usual 100
REQUESTS_KEPT = 100_000

Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]


@dataclass(frozen=True, slots=True)
class Urls:
    """Where the parts of the venue listen."""

    ws_market: str
    ws_user: str
    clob: str
    gamma: str
    data: str
    control: str


class MockPolymarket:
    """A venue that runs while its `async with` block does.

    `port` 0 takes free ports, else five ports from `port` on are taken.
    `events_per_s` is per market; `quiet_markets` are further ones without any flow.
    With `replay` the files' frames are sent, `replay_rate` a second, and nothing else.
    Set `answers_invalid_operation` to False for a venue that ignores wrong operations.

    Raises:
        ValueError: `host` is not loopback, or a fault's spec is wrong.

    """

    def __init__(
        self,
        *,
        seed: int = 1,
        markets: int = 2,
        events_per_s: float = 5.0,
        quiet_markets: int = 0,
        start_ms: int = START_MS,
        host: str = "127.0.0.1",
        port: int = 0,
        faults: Iterable[str] = (),
        replay: Sequence[str | Path] = (),
        replay_rate: float = 10.0,
        gamma_lag_s: float = GAMMA_LAG_S,
        send_buffer_bytes: int = SEND_BUFFER_BYTES,
    ) -> None:
        self._host = loopback(host)
        self._port = port
        self._specs = tuple(faults)
        self._clock = VenueClock(start_ms)
        self._runners: list[web.AppRunner] = []
        self._urls: Urls | None = None
        self.rng = Random(f"{seed}:venue")  # noqa: S311
        self.replay = load_frames(map(Path, replay)) if replay else None
        self.replay_rate = replay_rate
        self.gamma_lag_s = gamma_lag_s
        self.send_buffer_bytes = send_buffer_bytes
        self.answers_invalid_operation = True
        self.delay_s = 0.0
        self.rest_log: deque[tuple[float, str, str, str]] = deque(maxlen=REQUESTS_KEPT)
        self.exchange = Exchange(self._clock, seed)
        self.faults = FaultSwitchboard(self)
        self.channel = MarketChannel(self)
        self.flow = OrderFlow(self.exchange, self.channel.publish)
        self._make_markets(markets, quiet_markets, events_per_s)

    @property
    def urls(self) -> Urls:
        """The addresses; RuntimeError before the block is entered."""
        if self._urls is None:
            raise RuntimeError("the venue has no addresses before `async with`")
        return self._urls

    @property
    def ledger(self) -> Ledger:
        """All that was ever decided."""
        return self.exchange.ledger

    @property
    def asset_ids(self) -> tuple[str, ...]:
        """The tokens of the open markets, both of a market side by side."""
        open_markets = self.exchange.open_markets()
        return tuple(i for market in open_markets for i in market.asset_ids)

    @property
    def condition_ids(self) -> tuple[str, ...]:
        """The open markets."""
        return tuple(m.condition_id for m in self.exchange.open_markets())

    @property
    def sessions(self) -> list[Session]:
        """The live connections of the market channel."""
        return self.channel.sessions

    @property
    def connection_log(self) -> list[tuple[float, str]]:
        """(loop time in s, what became of it) for every WebSocket handshake."""
        return [(attempt.at_s, attempt.what) for attempt in self.channel.attempts]

    def now_ms(self) -> int:
        """Return the venue's wall clock."""
        return self._clock.now_ms()

    def start_replay(self, session: Session) -> None:
        """Play the recorded frames to one subscriber, once a connection."""
        if session.is_replaying:
            return
        session.is_replaying = True
        frames = iter(self.replay or ())

        def play() -> None:
            frame = next(frames, None)
            if frame is not None:
                session.send(Outgoing(INJECTED, frame))
                session.later(1 / self.replay_rate, play)

        play()

    async def __aenter__(self) -> Self:
        self._clock.start()
        try:
            self._urls = await self._serve()
            if self.replay is None:
                self.flow.start()
            for spec in self._specs:
                self.faults.schedule(spec)
        except BaseException:
            await self._stop()
            raise
        return self

    async def __aexit__(
        self,
        exc_type: type[BaseException] | None,
        exc: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        await self._stop()

    def _make_markets(self, busy: int, quiet: int, events_per_s: float) -> None:
        for number in range(busy + quiet + CLOSED_MARKETS):
            market = self.exchange.create_market(
                tick_size="0.001" if number % 4 == 2 else "0.01",
                neg_risk=number % 4 == 3,
                events_per_s=events_per_s if number < busy else 0.0,
                announce=False,
            )
            if number >= busy + quiet:
                self._close_long_ago(market.condition_id, number)

    def _close_long_ago(self, condition_id: str, number: int) -> None:
        market = self.exchange.market(condition_id)
        yes = market.tokens[0]
        for side in Side:
            for price, _ in yes.ladder(side).levels():
                market.set_level(yes, side, price, 0)
        market.state = MarketState.CLOSED
        market.winner_index = number % 2
        market.closed_ms = self._clock.now_ms() - 86_400_000

    async def _serve(self) -> Urls:
        ws = [
            web.get("/ws/market", self.channel.handle),
            web.get("/ws/user", self._not_simulated),
            web.route("*", "/{path:.*}", self._no_such_channel),
        ]
        data = [web.route("*", "/{path:.*}", self._not_simulated)]
        routes: dict[str, Sequence[web.RouteDef]] = {
            "ws": ws,
            "clob": ClobRest(self).routes(),
            "gamma": GammaRest(self).routes(),
            "data": data,
            "control": ControlApi(self).routes(),
        }
        at: dict[str, str] = {}
        for number, (name, handlers) in enumerate(routes.items()):
            at[name] = await self._listen(name, handlers, number)
        return Urls(
            ws_market=f"ws://{at['ws']}/ws/market",
            ws_user=f"ws://{at['ws']}/ws/user",
            clob=f"http://{at['clob']}",
            gamma=f"http://{at['gamma']}",
            data=f"http://{at['data']}",
            control=f"http://{at['control']}",
        )

    async def _listen(
        self, name: str, handlers: Sequence[web.RouteDef], number: int
    ) -> str:
        is_rest = name in ("clob", "gamma", "data")
        app = web.Application(
            middlewares=[self._rest_middleware(name)] if is_rest else [],
            client_max_size=16 * 1024 * 1024,
        )
        app.add_routes(handlers)
        app.on_response_prepare.append(self._set_date)
        runner = web.AppRunner(app, access_log=None, shutdown_timeout=1.0)
        self._runners.append(runner)
        await runner.setup()
        port = self._port + number if self._port else 0
        await web.TCPSite(runner, self._host, port, backlog=BACKLOG).start()
        address = runner.addresses[0]
        host = f"[{address[0]}]" if ":" in address[0] else address[0]
        return f"{host}:{address[1]}"

    def _rest_middleware(
        self, name: str
    ) -> Callable[..., Awaitable[web.StreamResponse]]:
        @web.middleware
        async def log_and_refuse(
            request: web.Request, handler: Handler
        ) -> web.StreamResponse:
            now_s = asyncio.get_running_loop().time()
            self.rest_log.append((now_s, name, request.method, request.path))
            refusal = await self.faults.refuse(name, request)
            return await handler(request) if refusal is None else refusal

        return log_and_refuse

    async def _set_date(
        self, _request: web.Request, response: web.StreamResponse
    ) -> None:
        response.headers["Date"] = formatdate(self.now_ms() / 1000, usegmt=True)

    async def _not_simulated(self, request: web.Request) -> web.Response:
        error = f"{request.path}: trades, resolutions and the user channel are not simulated yet"
        return web.json_response({"error": error}, status=501)

    async def _no_such_channel(self, request: web.Request) -> web.Response:
        self.channel.note_attempt(f"refused 404 {request.path}")
        return web.Response(status=404, text="404 page not found")

    async def _stop(self) -> None:
        self.flow.stop()
        self.faults.close()
        self.exchange.stop()
        self.channel.abort_all()
        for runner in self._runners:
            await runner.cleanup()


def loopback(host: str) -> str:
    """Return `host` if it is this machine and nothing else can reach it.

    Raises:
        ValueError: anything but a loopback address or ``localhost``.

    """
    try:
        is_loopback = ipaddress.ip_address(host).is_loopback
    except ValueError:
        is_loopback = host == "localhost"
    if not is_loopback:
        raise ValueError(
            f"the mock venue listens on loopback only, not on {host!r}: "
            "use 127.0.0.1, ::1 or localhost"
        )
    return host
