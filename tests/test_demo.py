"""A run of the demo heals, compares, and fails when it should."""

from __future__ import annotations

import asyncio
import io
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from demo.ending import Ending
from demo.live import run_live
from demo.report_text import GOOD_VERDICT, report_lines
from demo.schedule import Planned, Schedule, make_schedule
from demo.terminal import PlainDisplay


ROOT = Path(__file__).resolve().parent.parent
START_MS = 1_790_000_000_000
FREEZE = Planned("freeze_pong", 2.0, "frozen")


def virtual_wall_clock() -> Callable[[], int]:
    clock = asyncio.get_running_loop().time
    return lambda: START_MS + int(clock() * 1000)


async def test_a_run_of_25_s_notices_and_heals_both_faults_and_matches_the_ledger() -> (
    None
):
    output = io.StringIO()
    report = await run_live(
        make_schedule(25.0),
        PlainDisplay(output),
        Ending(),
        wall_clock_ms=virtual_wall_clock(),
    )
    freeze, cut = report.faults
    assert freeze.noticed_at_s is not None
    assert freeze.noticed_at_s - freeze.at_s <= 15
    assert cut.noticed_at_s is not None
    assert cut.noticed_at_s - cut.at_s <= 1
    assert freeze.healed_at_s is not None
    assert cut.healed_at_s is not None
    assert [book.differences for book in report.books] == [()] * 8
    assert report.trades.unreported == []
    assert report.trades.in_gaps_count > 0
    assert report.connect_count == 3
    assert report_lines(report)[-1] == GOOD_VERDICT
    assert report.is_good
    for word in ("FAULT", "NOTICED", "HEALED", "gap opened, 8 assets", "connection up"):
        assert word in output.getvalue()
    assert "\x1b" not in output.getvalue()


async def test_a_run_ended_at_once_in_a_freeze_is_not_good_and_says_why() -> None:
    ending = Ending()
    asyncio.get_running_loop().call_later(7.0, ending.insist)
    report = await run_live(
        Schedule(None, (FREEZE,)),
        PlainDisplay(io.StringIO()),
        ending,
        wall_clock_ms=virtual_wall_clock(),
    )
    assert not report.is_good
    assert len([book for book in report.books if book.differences]) == 6
    assert report.trades.unreported
    assert "freeze_pong was not noticed" in report_lines(report)[-1]


async def test_a_run_asked_to_end_in_a_freeze_waits_until_it_has_healed() -> None:
    ending = Ending()
    asyncio.get_running_loop().call_later(7.0, ending.ask)
    report = await run_live(
        Schedule(None, (FREEZE,)),
        PlainDisplay(io.StringIO()),
        ending,
        wall_clock_ms=virtual_wall_clock(),
    )
    assert report.is_good
    assert 12 < report.run_s < 20


@pytest.mark.parametrize("run_s", [20.0, 23.5, 30.0, 60.0, 3600.0])
def test_from_20_s_on_both_faults_have_time_to_heal(run_s: float) -> None:
    freeze, cut = make_schedule(run_s).faults
    assert cut.at_s - freeze.at_s >= 15
    assert run_s - cut.at_s >= 3


def test_without_an_end_the_freeze_comes_at_8_s_and_the_cut_at_28_s() -> None:
    assert [fault.at_s for fault in make_schedule(None).faults] == [8.0, 28.0]


def test_a_run_too_short_for_the_freeze_says_so() -> None:
    schedule = make_schedule(10.0)
    assert [fault.fault for fault in schedule.faults] == ["close_1006"]
    assert any("too short" in line for line in schedule.in_words())


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_ends_the_program_with_the_report(number: signal.Signals) -> None:
    with subprocess.Popen(
        [sys.executable, "demo"], cwd=ROOT, stdout=subprocess.PIPE, text=True
    ) as program:
        assert program.stdout is not None
        for line in program.stdout:
            if "connection up" in line:
                break
        program.send_signal(number)
        try:
            output, _ = program.communicate(timeout=10)
        finally:
            program.kill()
    assert program.returncode == 0
    assert output.splitlines()[-1] == GOOD_VERDICT
