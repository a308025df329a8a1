"""Faults are asked for by name, in a small grammar with clear errors."""

from __future__ import annotations

import asyncio

import pytest
from mock_client import OPENING_S, next_text, opening, subscribed, texts_for

from mock_polymarket import MockPolymarket
from mock_polymarket.faults import FAULTS, FaultSpec, parse_spec
from mock_polymarket.switchboard import EFFECTS


def test_every_fault_in_the_table_exists_and_no_other() -> None:
    assert set(EFFECTS) == set(FAULTS)


@pytest.mark.parametrize("name", sorted(FAULTS))
def test_a_faults_line_names_its_parameters(name: str) -> None:
    for parameter in EFFECTS[name].defaults:
        assert f"{parameter}=" in FAULTS[name]


@pytest.mark.parametrize("name", sorted(FAULTS))
async def test_every_fault_starts_and_stops(name: str) -> None:
    async with MockPolymarket(seed=1, events_per_s=20) as mock, subscribed(mock):
        await asyncio.sleep(1)
        mock.faults.start(name)
        await asyncio.sleep(3)
        assert (name in mock.faults.active) is not EFFECTS[name].is_one_shot
        mock.faults.stop(name)
        assert name not in mock.faults.active
        await asyncio.sleep(1)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("quiet", FaultSpec("quiet", {})),
        ("quiet@5", FaultSpec("quiet", {}, 5.0)),
        ("quiet@5s+20s", FaultSpec("quiet", {}, 5.0, 20.0)),
        ("quiet+1.5s", FaultSpec("quiet", {}, 0.0, 1.5)),
        (
            "freeze_asset:assets=1,2,heal=true@3",
            FaultSpec("freeze_asset", {"assets": "1,2", "heal": "true"}, 3.0),
        ),
        (
            "redirect:location=http://127.0.0.1:9/x",
            FaultSpec("redirect", {"location": "http://127.0.0.1:9/x"}),
        ),
    ],
)
def test_specs_are_read(text: str, expected: FaultSpec) -> None:
    assert parse_spec(text) == expected


@pytest.mark.parametrize(
    ("text", "part"),
    [
        ("freeze", "'freeze'"),
        ("", "''"),
        ("quiet@soon", "start 'soon'"),
        ("quiet@5s+long", "duration 'long'"),
        ("quiet@-1", "start '-1'"),
        ("quiet+inf", "duration 'inf'"),
        ("freeze_pong:new", "'new'"),
    ],
)
def test_a_wrong_spec_names_the_wrong_part(text: str, part: str) -> None:
    with pytest.raises(ValueError, match=part):
        parse_spec(text)


def test_an_unknown_name_lists_all_names() -> None:
    with pytest.raises(ValueError, match=r"freeze_pong, freeze_asset, .*rest_slow"):
        parse_spec("nothing")


@pytest.mark.parametrize(
    ("name", "params", "says"),
    [
        ("nothing", {}, "no fault"),
        ("quiet", {"loud": 1}, "quiet has no parameter 'loud'; it has: none"),
        ("freeze_pong", {"new": "maybe"}, "freeze_pong:new expects true or false"),
        ("latency", {"s": "long"}, "latency:s expects a number"),
        ("latency", {"s": -1}, "latency:s expects 0 or more"),
        ("accept_then_close", {"when": "later"}, "before or after"),
        ("http_status", {"on": "mars"}, "ws, rest or all"),
    ],
)
async def test_a_wrong_start_is_refused(
    name: str, params: dict[str, object], says: str
) -> None:
    async with MockPolymarket(events_per_s=0) as mock:
        with pytest.raises(ValueError, match=says):
            mock.faults.start(name, **params)
        assert dict(mock.faults.active) == {}


async def test_a_scheduled_fault_starts_and_ends_on_time() -> None:
    async with MockPolymarket(faults=("quiet@20s+10s",)) as mock:
        await asyncio.sleep(19.9)
        assert dict(mock.faults.active) == {}
        await asyncio.sleep(0.2)
        assert list(mock.faults.active) == ["quiet"]
        await asyncio.sleep(10)
        assert dict(mock.faults.active) == {}


async def test_faults_combine() -> None:
    async with (
        MockPolymarket(events_per_s=0, faults=("latency:s=3",)) as mock,
        subscribed(mock) as socket,
    ):
        await asyncio.sleep(OPENING_S)
        mock.faults.start("text_frames", every_s=100)
        began_s = asyncio.get_running_loop().time()
        await socket.send("PING")
        await next_text(socket)
        assert await next_text(socket) == "PONG"
        took_s = asyncio.get_running_loop().time() - began_s
    assert took_s == pytest.approx(3, abs=0.2)


async def test_stopping_what_is_not_active_does_nothing() -> None:
    async with MockPolymarket(events_per_s=0) as mock, subscribed(mock) as socket:
        mock.faults.stop("half_open")
        await opening(socket)
        assert await texts_for(socket, 1) == []
