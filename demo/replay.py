"""Feed recorded frames through a real socket into `MarketWebSocket`."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from itertools import islice

from event_buffer import AssetsEnded, BooksConflated, ConnectionChange, Gap
from market_events import (
    ControlFrame,
    MalformedEvent,
    MarketEvent,
    PriceChange,
    UnknownEvent,
    parse_market_frame,
)
from market_websocket import MarketWebSocket
from mock_polymarket import MockPolymarket
from mock_polymarket.outgoing import INJECTED, Outgoing
from mock_polymarket.session import Session

from .recording import RecordedFrame, Recording
from .text import clipped, counted, escaped


# A client mistrusts books that recorded frames leave in doubt, and moves their assets
# after some seconds: so the recording goes over in parts that take less than that.
FRAMES_AT_ONCE = 10_000
ASSETS_AT_ONCE = 5_000
BURST_FRAMES, BURST_EVERY_S = 100, 0.01
PATIENCE_S = 10.0
LINGER_S = 0.3  # for what came out twice
ANY_ASSET = "1"  # a feed must follow something to connect
MAX_DETAILS = 20

Fed = tuple[RecordedFrame, MarketEvent]


@dataclass(slots=True)
class ReplayResult:
    """What was fed and what came out. `lost` went in only, `surplus` came out only."""

    fed: list[Fed] = field(default_factory=list)
    control_texts: Counter[str] = field(default_factory=Counter)
    received: list[MarketEvent] = field(default_factory=list)
    lost: list[Fed] = field(default_factory=list)
    surplus: list[MarketEvent] = field(default_factory=list)
    unsent_count: int = 0
    connection_losses: int = 0

    @property
    def is_complete(self) -> bool:
        """Whether all that went in came out, and nothing else."""
        return not (self.lost or self.surplus or self.unsent_count)


class ReplayVenue(MockPolymarket):
    """A mock that sends each frame once, whoever subscribes, as fast as it can."""

    def __init__(self, texts: Sequence[str]) -> None:
        super().__init__(markets=0, send_buffer_bytes=2**30)
        self.replay = list(texts)
        self.sent_count = 0
        self._left = iter(self.replay)
        self.has_sent_all = asyncio.Event()

    def start_replay(self, session: Session) -> None:
        """Send what is left, some at a time; each subscription frame calls this."""
        for text in islice(self._left, BURST_FRAMES):
            session.send(Outgoing(INJECTED, text))
            self.sent_count += 1
        if self.sent_count == len(self.replay or ()):
            self.has_sent_all.set()
        else:
            session.later(BURST_EVERY_S, lambda: self.start_replay(session))


async def feed_recording(recording: Recording) -> ReplayResult:
    """Send every frame over a socket, and compare what comes out with what went in."""
    result = ReplayResult()
    for frames in _parts(recording.frames):
        await _feed(frames, result)
    _compare(result)
    return result


def assets_of(event: MarketEvent) -> set[str]:
    """Return the assets whose followers get this event; none: everybody does."""
    if isinstance(event, PriceChange):
        return {change.asset_id for change in event.price_changes}
    asset_id = getattr(event, "asset_id", None)
    return set() if asset_id is None else {asset_id}


def _parts(frames: Sequence[RecordedFrame]) -> Iterator[list[RecordedFrame]]:
    part: list[RecordedFrame] = []
    assets: set[str] = set()
    for frame in frames:
        more = {a for e in parse_market_frame(frame.text) for a in assets_of(e)}
        is_full = len(part) == FRAMES_AT_ONCE or len(assets | more) > ASSETS_AT_ONCE
        if part and is_full:
            yield part
            part, assets = [], set()
        part.append(frame)
        assets |= more
    if part:
        yield part


async def _feed(frames: Sequence[RecordedFrame], result: ReplayResult) -> None:
    """Feed one part over one connection."""
    fed: list[Fed] = []
    for frame in frames:
        # As bytes, as the client gets it: a malformed event holds what came.
        for event in parse_market_frame(frame.text.encode()):
            if isinstance(event, ControlFrame):
                result.control_texts[event.text] += 1
            else:
                fed.append((frame, event))
    assets = {a for _, e in fed for a in assets_of(e) if a.isascii() and a.isdigit()}
    async with (
        ReplayVenue([frame.text for frame in frames]) as venue,
        MarketWebSocket(
            sorted(assets) or [ANY_ASSET],
            url=venue.urls.ws_market,
            clob_url=None,
            wants_custom_features=True,
            max_assets_per_socket=max(2, len(assets)),
            max_waiting_events=2 * len(fed) + 1_000,
        ) as ws,
    ):
        received = await _received(ws, venue, len(fed), result)
        result.unsent_count += len(frames) - venue.sent_count
    result.fed += fed
    result.received += received


async def _received(
    ws: MarketWebSocket, venue: ReplayVenue, wanted_count: int, result: ReplayResult
) -> list[MarketEvent]:
    """Read until all has come and a little longer, or until patience ends."""
    received: list[MarketEvent] = []
    has_enough = asyncio.Event()

    async def read() -> None:
        async for event in ws.events():
            if isinstance(event, ConnectionChange):
                result.connection_losses += not event.is_up
            elif not isinstance(event, Gap | BooksConflated | AssetsEnded):
                received.append(event)
                if len(received) == wanted_count:
                    has_enough.set()

    reader = asyncio.create_task(read())
    with suppress(TimeoutError):
        async with asyncio.timeout(PATIENCE_S):
            await venue.has_sent_all.wait()
            if wanted_count:
                await has_enough.wait()
            await asyncio.sleep(LINGER_S)
    reader.cancel()
    await asyncio.wait([reader])
    if not reader.cancelled() and (error := reader.exception()) is not None:
        raise error
    return received


def _compare(result: ReplayResult) -> None:
    """Match by all an event holds; equal events are counted, not looked up."""
    came_out = Counter(map(repr, result.received))
    for frame, event in result.fed:
        if came_out[repr(event)]:
            came_out[repr(event)] -= 1
        else:
            result.lost.append((frame, event))
    for event in result.received:
        if came_out[repr(event)]:
            came_out[repr(event)] -= 1
            result.surplus.append(event)


def replay_lines(recording: Recording, result: ReplayResult) -> list[str]:
    """Return the report; its last line is the verdict."""
    lines = [
        f"Replay of {recording.path}: mock venue, socket, MarketWebSocket",
        "",
        *_per_file(recording, result),
        "",
        f"Fed: {counted(len(recording.frames), 'frame')}, "
        f"{counted(len(result.fed), 'event')}; came out: {len(result.received):,}",
        *_types(result),
        *_control(result),
        *_special("unknown", result),
        *_special("malformed", result),
        *_some([f"  LOST {f.where}: {_words(e)}" for f, e in result.lost]),
        *_some([f"  SURPLUS {_words(event)}" for event in result.surplus]),
        "",
        _verdict(result),
    ]
    return [escaped(line) for line in lines]


def _per_file(recording: Recording, result: ReplayResult) -> list[str]:
    frames = Counter(frame.file for frame in recording.frames)
    events: dict[str, Counter[str]] = {file: Counter() for file in frames}
    for frame, event in result.fed:
        events[frame.file][_kind(event)] += 1
    width = max(map(len, [*frames, *recording.client_counts]))
    lines = [
        f"  {file:<{width}}  {counted(count, 'frame')}: {_counts(events[file])}"
        for file, count in frames.items()
    ]
    return lines + [
        f"  {file:<{width}}  {counted(count, 'frame')} sent by clients, not fed"
        for file, count in recording.client_counts.items()
    ]


def _types(result: ReplayResult) -> list[str]:
    fed = Counter(_kind(event) for _, event in result.fed)
    received = Counter(map(_kind, result.received))
    kinds = [*sorted(fed.keys() | received.keys() - {"unknown", "malformed"})]
    for kind in ("unknown", "malformed"):
        if kind in kinds:
            kinds.remove(kind)
        kinds.append(kind)
    return [
        f"  {kind:<18} {received[kind]:>6,}"
        + ("" if fed[kind] == received[kind] else f" of {fed[kind]:,}")
        for kind in kinds
    ]


def _control(result: ReplayResult) -> list[str]:
    number = result.control_texts.total()
    texts = f" ({_counts(result.control_texts)})" if number else ""
    return [
        f"  {'control texts':<18} {number:>6,} sent, for the connection only{texts}"
    ]


def _special(kind: str, result: ReplayResult) -> list[str]:
    """Name each place with an event that is not a known one."""
    return _some(
        [
            f"  {kind} {frame.where}: {_words(event)}"
            for frame, event in result.fed
            if _kind(event) == kind
        ]
    )


def _kind(event: MarketEvent) -> str:
    return "unknown" if isinstance(event, UnknownEvent) else event.event_type


def _words(event: MarketEvent) -> str:
    if isinstance(event, MalformedEvent):
        return clipped(event.reason, 200)
    ids = sorted(assets_of(event))
    of = f" of {', '.join(clipped(asset_id, 20) for asset_id in ids)}" if ids else ""
    return clipped(f"{event.event_type}{of}", 200)


def _counts(counts: Counter[str]) -> str:
    return ", ".join(f"{n:,} {kind}" for kind, n in counts.items()) or "no event"


def _some(lines: list[str]) -> list[str]:
    more = len(lines) - MAX_DETAILS
    return lines[:MAX_DETAILS] + ([f"  and {more} more"] if more > 0 else [])


def _verdict(result: ReplayResult) -> str:
    if result.is_complete:
        return "everything that was fed came out on the other side"
    lost = counted(len(result.lost), "event")
    return (
        f"NOT as it should be: {lost} lost, {len(result.surplus)} surplus, "
        f"{counted(result.unsent_count, 'frame')} not sent, "
        f"{counted(result.connection_losses, 'connection')} lost"
    )
