"""Starts, stops and schedules faults, and asks the active ones at every turn."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from functools import partial
from typing import TYPE_CHECKING

from aiohttp import web

from .effect import Effect, Value, typed
from .effects_close import CLOSE_EFFECTS
from .effects_http import HTTP_EFFECTS
from .effects_payload import PAYLOAD_EFFECTS
from .effects_silence import SILENCE_EFFECTS
from .faults import FAULTS, parse_spec
from .outgoing import Outgoing


if TYPE_CHECKING:
    from .server import MockPolymarket
    from .session import Session


EFFECTS: Mapping[str, type[Effect]] = {
    **SILENCE_EFFECTS,
    **CLOSE_EFFECTS,
    **HTTP_EFFECTS,
    **PAYLOAD_EFFECTS,
}


class FaultSwitchboard:
    """Faults by name. Lasting ones stay in `active` until they are stopped."""

    def __init__(self, venue: MockPolymarket) -> None:
        self._venue = venue
        self._active: dict[str, Effect] = {}
        self._timers: set[asyncio.TimerHandle] = set()

    @property
    def active(self) -> Mapping[str, Mapping[str, Value]]:
        """The lasting faults at work, with their parameters."""
        return {name: effect.params for name, effect in self._active.items()}

    @property
    def effects(self) -> tuple[Effect, ...]:
        """The same, in the order in which they were started."""
        return tuple(self._active.values())

    def start(self, name: str, **params: object) -> None:
        """Start a fault now; one that is active already begins anew.

        Raises:
            ValueError: unknown fault or parameter, or a value of the wrong type.

        """
        effect = self._make(name, params)
        if not effect.is_one_shot:
            self.stop(name)
            self._active[name] = effect
        effect.start()

    def stop(self, name: str) -> None:
        """End a lasting fault; nothing happens if it is not active.

        Raises:
            ValueError: unknown fault.

        """
        if name not in FAULTS:
            raise ValueError(f"no fault {name!r}; there are: {', '.join(FAULTS)}")
        effect = self._active.pop(name, None)
        if effect is not None:
            effect.cancel_timers()
            effect.stop()

    def schedule(self, spec: str) -> None:
        """Start, and perhaps stop, a fault later: ``freeze_pong@5s+20s``.

        Raises:
            ValueError: as `parse_spec` and `start`.

        """
        fault = parse_spec(spec)
        self._make(fault.name, fault.params)
        begin = partial(self.start, fault.name, **fault.params)
        if fault.start_s:
            self._later(fault.start_s, begin)
        else:
            begin()
        if fault.duration_s is not None:
            end_s = fault.start_s + fault.duration_s
            self._later(end_s, partial(self.stop, fault.name))

    def close(self) -> None:
        """Cancel whatever is still to happen."""
        for timer in self._timers:
            timer.cancel()
        for name in list(self._active):
            self.stop(name)

    async def refuse(self, host: str, request: web.Request) -> web.Response | None:
        """Return the first answer that a fault gives in the venue's place."""
        for effect in self.effects:
            answer = await effect.refuse(host, request)
            if answer is not None:
                return answer
        return None

    def transform(self, session: Session, out: Outgoing) -> list[Outgoing]:
        """Return what the active faults make of a frame."""
        outs = [out]
        for effect in self.effects:
            outs = [new for each in outs for new in effect.outgoing(session, each)]
        return outs

    def _make(self, name: str, params: Mapping[str, object]) -> Effect:
        if name not in FAULTS:
            raise ValueError(f"no fault {name!r}; there are: {', '.join(FAULTS)}")
        kind = EFFECTS[name]
        values = dict(kind.defaults)
        for key, value in params.items():
            if key not in values:
                known = ", ".join(values) or "none"
                raise ValueError(f"{name} has no parameter {key!r}; it has: {known}")
            values[key] = typed(f"{name}:{key}", value, values[key])
        effect = kind(self._venue, values)
        effect.check()
        return effect

    def _later(self, delay_s: float, action: partial[None]) -> None:
        loop = asyncio.get_running_loop()
        self._timers.add(loop.call_later(delay_s, action))
