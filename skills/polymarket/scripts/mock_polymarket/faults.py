"""The faults by name, and the grammar in which they are asked for."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass


FAULTS: Mapping[str, str] = {
    "freeze_pong": "F01 existing connections get no data any more, but PONG, for good; new=true mutes new ones too, heal=true ends with the fault",
    "freeze_asset": "F03 some assets (assets=ids or a count, default 1) are never sent again on existing connections; heal=true ends with the fault",
    "sub_no_book": "F04 subscribing yields no book for assets=ids or a count, default all; times=n heals after n, deltas=true lets changes through",
    "stuck_ts": "F05 data flows on, but its timestamps stand still",
    "rest_stale": "F08 CLOB /book and /books show a ghost book 0.01 / 0.99; /price and /midpoint stay true",
    "quiet": "F09 no trader does anything: no data because there is none",
    "half_open": "F10 existing connections neither read nor write any more, without a FIN; new ones are fine; heal=true ends with the fault",
    "close_1006": "F11 every connection ends without a close frame",
    "close_1000": "F12 every connection is closed with 1000",
    "close_1001": "F12 every connection is closed with 1001 going away",
    "close_1012": "F12 every connection is closed with 1012 service restart",
    "accept_then_close": "F12 new connections are closed at once (code=1000, when=before or after the first frame)",
    "close_1008": "F13 every connection is closed with 1008 invalid subscription payload",
    "close_1011": "F14 every connection is closed with 1011 keepalive ping timeout",
    "big_book": "F15 every market's book is so deep that its opening frame is larger than 1 MiB",
    "close_1013": "F16 every connection is closed with 1013 try again later",
    "http_429": "F16 handshakes are refused with 429 and Retry-After (retry_after=10 seconds); on=rest or on=all is about REST",
    "http_403": "F17 handshakes are refused with 403 and a page of HTML; on=rest or on=all is about REST",
    "http_status": "F18 handshakes are refused with any status (status=503); on=rest or on=all is about REST",
    "idle_kill": "F22 connections without a text PING for s=60 seconds are dropped",
    "handshake_hang": "F23 TCP is accepted and the handshake never answered",
    "redirect": "F24 handshakes are answered with 302 to location=URL (default: a path of the Data host)",
    "invalid_operation": "F26 INVALID OPERATION for valid operations, and unasked, one in every_s=5 seconds",
    "resub_storm": "F27 a client frame with more than ids=1000 tokens drops the connection 150 ms later",
    "cap_500": "F28 tokens beyond the first cap=500 of a connection get no books",
    "text_frames": "F31 NO NEW ASSETS, INVALID OPERATION and PONG unasked, one in every_s=1 second",
    "array": "F32 events arrive in arrays, collected over window_s=0.1 seconds",
    "unknown": "F33 known events carry new keys, and after every n-th (every=10) comes an event of a new type",
    "malformed": "F34 broken frames, one in every_s=1 second, and good events amid broken elements of an array, every n-th (every=7); utf8=true adds bad UTF-8",
    "dup_reorder": "F35 every n-th event (every=5) arrives twice, and the next one after its successor",
    "crossed": "F36 every n-th change of an asset (every=50) brings a ghost level that crosses the book",
    "missed_delta": "F37 every n-th price_change (every=20) is not sent",
    "hash_mismatch": "F38 hashes are made by another recipe",
    "tick_change": "F39 every open market changes its tick size once; old levels stay",
    "slow_consumer": "F47 a connection may be only bytes=65536 behind before it is closed with 1013",
    "latency": "data and PONG arrive s=2 seconds late",
    "rest_down": "REST answers 503, or with mode=refuse hangs up without an answer",
    "rest_slow": "REST answers take s=5 seconds longer",
}  # fmt: skip


@dataclass(frozen=True, slots=True)
class FaultSpec:
    """One scheduled fault; times in seconds, `duration_s` None for ever."""

    name: str
    params: Mapping[str, str]
    start_s: float = 0.0
    duration_s: float | None = None


def parse_spec(text: str) -> FaultSpec:
    """Read ``name[:key=value[,key=value]][@START[s]][+DURATION[s]]``.

    A piece without ``=`` continues the value before it: ``assets=1,2`` is one value.

    Raises:
        ValueError: names the part that is wrong, and for a name lists all names.

    """
    rest, plus, duration = text.partition("+")
    rest, at, start = rest.partition("@")
    name, _, params = rest.strip().partition(":")
    if name not in FAULTS:
        raise ValueError(
            f"no fault {name!r} in {text!r}; there are: {', '.join(FAULTS)}"
        )
    return FaultSpec(
        name,
        _params(params, text),
        _seconds(start, "start", text) if at else 0.0,
        _seconds(duration, "duration", text) if plus else None,
    )


def _params(text: str, spec: str) -> dict[str, str]:
    params: dict[str, str] = {}
    key = ""
    for piece in filter(None, text.split(",")):
        first, equals, value = piece.partition("=")
        if equals:
            key = first.strip()
            params[key] = value.strip()
        elif key:
            params[key] += f",{piece.strip()}"
        else:
            raise ValueError(f"expected key=value instead of {piece!r} in {spec!r}")
    return params


def _seconds(text: str, what: str, spec: str) -> float:
    try:
        seconds = float(text.strip().removesuffix("s"))
    except ValueError:
        raise ValueError(f"{what} {text!r} is not seconds in {spec!r}") from None
    if not 0 <= seconds < float("inf"):
        raise ValueError(f"{what} {text!r} is not 0 or more in {spec!r}")
    return seconds
