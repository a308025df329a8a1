"""Frames that the venue, its documentation and other projects have published."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from market_events import (
    BestBidAsk,
    Book,
    ControlFrame,
    LastTradePrice,
    MalformedEvent,
    MarketEvent,
    MarketResolved,
    NewMarket,
    PriceChange,
    TickSizeChange,
    UnknownEvent,
    parse_market_frame,
)


REPOSITORY = Path(__file__).resolve().parents[1]
PAYLOADS = REPOSITORY.parent / "shared" / "payloads"
FIXTURES = REPOSITORY / "tests" / "fixtures" / "wire"

CLASS_OF_KIND: dict[str, type[MarketEvent]] = {
    "book": Book,
    "price_change": PriceChange,
    "last_trade_price": LastTradePrice,
    "tick_size_change": TickSizeChange,
    "best_bid_ask": BestBidAsk,
    "new_market": NewMarket,
    "market_resolved": MarketResolved,
    "control": ControlFrame,
    "unknown": UnknownEvent,
    "malformed": MalformedEvent,
}
# These travel from the client to the server: the parser never meets them.
OTHER_WAY = "client_frames"


def as_frame(payload: Any) -> str:
    """Return the frame as sent: a string is a text frame, all else is JSON."""
    return payload if isinstance(payload, str) else json.dumps(payload)


def allowed_classes(kind: str, source: str) -> tuple[type[MarketEvent], ...]:
    """Return what the lines of a file may become.

    Unknown and malformed ones only where file name or source says so.
    """
    expected = [CLASS_OF_KIND[kind]]
    expected += [
        CLASS_OF_KIND[word] for word in ("unknown", "malformed") if word in source
    ]
    return tuple(expected)


def market_files() -> list[Path]:
    files = sorted(PAYLOADS.glob("*__market_*.jsonl"))
    return [path for path in files if not path.stem.endswith(OTHER_WAY)]


@pytest.mark.parametrize("path", market_files(), ids=lambda path: path.stem)
def test_every_published_frame_is_parsed_to_its_type(path: Path) -> None:
    kind = path.stem.split("__market_", 1)[1]
    checked = 0
    for line in path.read_text(encoding="utf-8").splitlines():
        record = json.loads(line)
        if record["channel"] != "market":
            continue
        events = parse_market_frame(as_frame(record["payload"]))
        assert events, record["source"]
        for event in events:
            assert isinstance(event, allowed_classes(kind, record["source"])), event
        checked += 1
    assert checked


def test_the_published_frames_are_there() -> None:
    if not PAYLOADS.is_dir():
        pytest.skip("no ../shared/payloads: the fixtures of the pages are read instead")
    kinds = {path.stem.split("__market_", 1)[1] for path in market_files()}
    assert kinds >= set(CLASS_OF_KIND) - {"unknown", "malformed"}


def kind_of_fixture(path: Path) -> str | None:
    """Return the event type a file is named after: `book.json`, `book_quiet.json`."""
    for kind in CLASS_OF_KIND:
        if path.stem == kind or path.stem.startswith(f"{kind}_"):
            return kind
    return None


def test_the_fixtures_of_the_pages_are_parsed_to_their_types() -> None:
    fixtures = {path: kind_of_fixture(path) for path in sorted(FIXTURES.glob("*.json"))}
    fixtures = {path: kind for path, kind in fixtures.items() if kind is not None}
    if not fixtures:
        if PAYLOADS.is_dir():
            pytest.skip("no tests/fixtures/wire/*.json: the payloads are read instead")
        pytest.skip("neither ../shared/payloads nor tests/fixtures/wire/*.json exists")
    for path, kind in fixtures.items():
        events = parse_market_frame(path.read_bytes())
        assert events, path.name
        for event in events:
            assert isinstance(event, CLASS_OF_KIND[str(kind)]), path.name
