"""What pages say in diagrams and tables is what the code does."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

import pytest
from websockets.datastructures import Headers
from websockets.exceptions import ConnectionClosedError, InvalidStatus
from websockets.frames import Close
from websockets.http11 import Response

import skilldoc
from mock_polymarket import MockPolymarket
from mock_polymarket.faults import FAULTS, parse_spec
from mock_polymarket.switchboard import EFFECTS
from reconnect_policy import retry_window_s
from robust_websocket import TRANSITIONS


ROOT = Path(__file__).resolve().parents[1]
REAL_TIME = "skills/polymarket/real-time/"
PAGES = skilldoc.open_project(str(ROOT)).pages
FAULT_COLUMNS = ("Fault", "Mock fault")

Rows = list[dict[str, str]]


def tables(page: skilldoc.Page) -> Iterator[Rows]:
    """Yield each table as rows of header to cell."""
    for table in skilldoc.tables(page):
        yield [dict(zip(table.header, row, strict=True)) for _, row in table.rows]


def table(name: str, column: str) -> Rows:
    """Return the one table of a page that has this column."""
    found = [rows for rows in tables(PAGES[REAL_TIME + name]) if column in rows[0]]
    assert len(found) == 1, f"{name} has {len(found)} tables with {column!r}"
    return found[0]


def code_spans(cell: str) -> list[str]:
    return re.findall(r"`([^`]+)`", cell)


def test_the_state_diagram_is_the_transition_table() -> None:
    page = PAGES[REAL_TIME + "connection-management.md"]
    diagrams = [f.code for f in page.fences if "stateDiagram-v2" in f.code]
    assert len(diagrams) == 1
    drawn = re.findall(r"^ {4}([A-Z]+) --> ([A-Z]+)\b", diagrams[0], re.MULTILINE)
    assert diagrams[0].count("-->") == len(drawn)
    assert drawn == [
        (state.name, target.name)
        for state, targets in TRANSITIONS.items()
        for target in targets
    ]


def test_the_fault_table_lists_the_faults_of_the_mock_in_their_order() -> None:
    rows = table("offline-testing.md", "Id")
    assert [code_spans(row["Fault"]) for row in rows] == [[name] for name in FAULTS]


@pytest.mark.parametrize("name", FAULTS)
def test_a_fault_has_the_id_and_the_parameters_of_the_code(name: str) -> None:
    [row] = [r for r in table("offline-testing.md", "Id") if r["Fault"] == f"`{name}`"]
    fault_id = re.match(r"F\d\d\b", FAULTS[name])
    assert row["Id"] == (fault_id[0] if fault_id else "-")
    defaults = EFFECTS[name].defaults
    expected = [f"{key}={_as_typed(value)}" for key, value in defaults.items()]
    assert code_spans(row["Parameters and defaults"]) == expected


def _as_typed(value: object) -> str:
    """Return a default in the words of a spec: `true`, `60`, `0.1`."""
    if isinstance(value, float):
        return f"{value:g}"
    return str(value).lower() if isinstance(value, bool) else str(value)


def named_faults() -> list[tuple[str, str]]:
    """Page and spec of every fault that a table names in a column of its own."""
    return [
        (name, spec)
        for name, page in PAGES.items()
        for rows in tables(page)
        for row in rows
        for column in FAULT_COLUMNS
        for spec in code_spans(row.get(column, ""))
    ]


def test_every_fault_that_a_table_names_exists() -> None:
    assert len(named_faults()) > len(FAULTS)
    venue = MockPolymarket(markets=0)
    for page, spec in named_faults():
        fault = parse_spec(spec)
        unknown = fault.params.keys() - EFFECTS[fault.name].defaults.keys()
        assert not unknown, f"{page}: {spec}"
        EFFECTS[fault.name](venue, {**EFFECTS[fault.name].defaults, **fault.params})


def test_every_known_connection_issue_names_its_fault() -> None:
    rows = table("connection-management.md", "Mock fault")
    assert len(rows) >= 20
    assert [row["Failure"] for row in rows if not code_spans(row["Mock fault"])] == []


def losses() -> list[tuple[str, int, float, float]]:
    """Kind, code, shortest and longest wait of every code in the retry table."""
    return [
        (
            row["After"].split()[0],
            int(code),
            float(row["Shortest wait (s)"]),
            float(row["Longest, first time (s)"]),
        )
        for row in table("one-socket.md", "After")
        for code in code_spans(row["After"])
    ]


def loss(kind: str, code: int) -> Exception:
    """Return what a close code or a refused handshake comes as."""
    if kind == "HTTP":
        return InvalidStatus(Response(code, "", Headers(), b""))
    # 1006 stands for an end without a close frame: nothing is received.
    received = None if code == 1006 else Close(code, "")
    return ConnectionClosedError(received, None, None)


def test_the_retry_table_knows_both_kinds_of_loss() -> None:
    assert {kind for kind, *_ in losses()} == {"close", "HTTP"}
    assert len(losses()) >= 30


@pytest.mark.parametrize(("kind", "code", "low_s", "high_s"), losses())
def test_the_retry_table_is_the_policy(
    kind: str, code: int, low_s: float, high_s: float
) -> None:
    assert retry_window_s(loss(kind, code), 0) == (low_s, high_s)
