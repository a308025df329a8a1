"""Every fault of the venue: books equal the ledger afterwards, no loss unreported."""

from __future__ import annotations

import asyncio

import pytest
from feeds import following

from mock_polymarket import MockPolymarket
from mock_polymarket.faults import FAULTS


# Fault, its parameters, and how long it acts (s). One-shot faults act at once.
Scenario = tuple[str, dict[str, object], float]

SCENARIOS: list[Scenario] = [
    ("freeze_pong", {}, 30),
    ("freeze_pong", {"new": True}, 45),
    ("freeze_asset", {"assets": "1"}, 90),
    ("freeze_asset", {"assets": "3"}, 90),
    ("sub_no_book", {}, 60),
    ("stuck_ts", {}, 60),
    ("rest_stale", {}, 60),
    ("quiet", {}, 120),
    ("half_open", {}, 40),
    ("close_1006", {}, 0),
    ("close_1000", {}, 0),
    ("close_1001", {}, 0),
    ("close_1012", {}, 0),
    ("accept_then_close", {"code": 1000, "when": "after"}, 40),
    ("accept_then_close", {"code": 1006, "when": "before"}, 40),
    ("close_1008", {}, 0),
    ("close_1011", {}, 0),
    ("big_book", {}, 0),
    ("close_1013", {}, 0),
    ("http_429", {"retry_after": 7}, 30),
    ("http_403", {}, 30),
    ("http_status", {"status": 408}, 20),
    ("http_status", {"status": 425}, 20),
    ("http_status", {"status": 503}, 20),
    ("http_status", {"status": 526}, 20),
    ("idle_kill", {"s": 60}, 180),
    ("handshake_hang", {}, 40),
    ("redirect", {}, 30),
    ("invalid_operation", {}, 60),
    ("resub_storm", {"ids": 150}, 30),
    ("text_frames", {}, 30),
    ("array", {}, 30),
    ("unknown", {}, 30),
    ("malformed", {}, 30),
    ("malformed", {"utf8": True}, 30),
    ("dup_reorder", {}, 40),
    ("crossed", {}, 40),
    ("missed_delta", {}, 60),
    ("hash_mismatch", {}, 60),
    ("tick_change", {}, 0),
    ("slow_consumer", {}, 20),
    ("latency", {"s": 2}, 40),
    ("rest_down", {}, 60),
    ("rest_slow", {}, 60),
]
# These keep connections from coming up: they only bite if one is lost meanwhile.
NEEDS_A_LOSS = {
    "sub_no_book",
    "accept_then_close",
    "http_429",
    "http_403",
    "http_status",
    "handshake_hang",
    "redirect",
    "resub_storm",
}


def _name(scenario: Scenario) -> str:
    name, params, _ = scenario
    return "-".join([name, *(f"{key}={value}" for key, value in params.items())])


def test_every_fault_of_the_mock_has_a_scenario() -> None:
    elsewhere = {"cap_500"}  # needs more than 500 assets: test_market_websocket.py
    assert {name for name, *_ in SCENARIOS} == set(FAULTS) - elsewhere


@pytest.mark.parametrize("scenario", SCENARIOS, ids=_name)
async def test_books_equal_the_ledger_and_no_loss_is_unreported(
    scenario: Scenario,
) -> None:
    await survive(scenario, seed=11)


@pytest.mark.soak
@pytest.mark.parametrize("seed", range(20))
@pytest.mark.parametrize("scenario", SCENARIOS, ids=_name)
async def test_many_seeds_survive_every_fault(scenario: Scenario, seed: int) -> None:
    await survive(scenario, seed)


async def survive(scenario: Scenario, seed: int) -> None:
    """Run 15 s in health, then the fault, then wait for the books to be right."""
    name, params, duration_s = scenario
    async with (
        MockPolymarket(seed=seed, markets=2, quiet_markets=1, events_per_s=4) as mock,
        following(mock) as feed,
    ):
        await asyncio.sleep(15)
        mock.faults.start(name, **params)
        if name in NEEDS_A_LOSS:
            mock.faults.start("close_1006")
        await asyncio.sleep(duration_s)
        mock.faults.stop(name)
        await asyncio.sleep(15)
        await feed.quiesce()
        assert feed.unreported_trades() == []


async def test_the_same_seed_gives_the_same_run() -> None:
    assert await _log_of_a_run() == await _log_of_a_run()


async def _log_of_a_run() -> list[tuple[float, str]]:
    """Everything a consumer is told in five minutes of faults, with its time."""
    faults = ["freeze_pong@20", "close_1012@80", "malformed@120+30", "freeze_asset@200"]
    clock = asyncio.get_running_loop().time
    start_s = clock()
    async with (
        MockPolymarket(seed=5, markets=2, events_per_s=4, faults=faults) as mock,
        following(mock) as feed,
    ):
        await asyncio.sleep(300)
        times = (round(time_s - start_s, 6) for time_s in feed.times_s)
        return list(zip(times, map(repr, feed.events), strict=True))
