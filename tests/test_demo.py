"""The demo tells the truth: it heals, it compares, and it fails when it should."""

from __future__ import annotations

import asyncio
import io
import json
import signal
import subprocess
import sys
from collections import Counter
from collections.abc import Callable
from decimal import Decimal
from pathlib import Path

import pytest

from demo.cli import main
from demo.ending import Ending
from demo.live import run_live
from demo.recording import RecordingError, read_recording
from demo.replay import ReplayResult, feed_recording, replay_lines
from demo.report import (
    BookFinding,
    LedgerTrade,
    Report,
    TradeAccount,
    account_trades,
    compare_book,
    compare_levels,
)
from demo.report_text import GOOD_VERDICT, report_lines
from demo.schedule import Planned, Schedule, make_schedule
from demo.screen import draw
from demo.status import AssetRow, Socket, Status
from demo.tally import FaultRecord, SeenGap, TradeKey
from demo.terminal import PlainDisplay, ScreenDisplay, open_display
from mock_polymarket import MockPolymarket
from order_book import OrderBook


ROOT = Path(__file__).resolve().parent.parent
START_MS = 1_790_000_000_000
FREEZE = Planned("freeze_pong", 2.0, "frozen")

Level = tuple[Decimal, Decimal]


def virtual_wall_clock() -> Callable[[], int]:
    clock = asyncio.get_running_loop().time
    return lambda: START_MS + int(clock() * 1000)


# --- a whole run


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


# --- the report


def levels(*pairs: tuple[str, str]) -> list[Level]:
    return [(Decimal(price), Decimal(size)) for price, size in pairs]


@pytest.mark.parametrize(
    ("own", "found"),
    [
        ([("0.5", "10"), ("0.4", "7")], "bid 0.4: the client has 7, the ledger 8"),
        ([("0.5", "10")], "bid 0.4: the client has no such level, the ledger 8"),
        (
            [("0.5", "10"), ("0.4", "8"), ("0.3", "1")],
            "bid 0.3: the client has 1, the ledger no such level",
        ),
        ([("0.4", "8"), ("0.5", "10")], "bids: the same levels, but not best first"),
    ],
)
def test_a_level_that_differs_is_named(own: list[tuple[str, str]], found: str) -> None:
    truth = levels(("0.5", "10"), ("0.4", "8"))
    assert compare_levels("bid", levels(*own), truth) == [found]
    assert compare_levels("bid", truth, truth) == []


def test_a_book_that_is_right_but_not_trusted_or_not_there_differs() -> None:
    asset_id = MockPolymarket().asset_ids[0]
    truth = MockPolymarket().ledger.book(asset_id)
    book = OrderBook(asset_id)
    assert compare_book(None, truth) == ["the client has no book"]
    assert compare_book(book, truth) == ["the client has no book"]
    book.replace(dict(truth.bids), dict(truth.asks), timestamp_ms=1)
    assert compare_book(book, truth) == []
    book.distrust("a doubt")
    assert compare_book(book, truth) == ["the client does not trust it: a doubt"]


def trade(time_ms: int = 5_000, asset_id: str = "7", price: str = "0.5") -> LedgerTrade:
    key: TradeKey = (asset_id, Decimal(price), Decimal(2), "BUY", time_ms, "0xab")
    return LedgerTrade(key, time_ms)


def accounted(
    ledger: list[LedgerTrade], received: list[LedgerTrade], *gaps: SeenGap
) -> TradeAccount:
    keys = Counter(each.key for each in received)
    return account_trades(ledger, keys, gaps, {"7": 1_000, "8": 1_000})


def gap(from_ms: int, to_ms: int | None, asset_id: str = "7") -> SeenGap:
    return SeenGap(asset_id, from_ms, to_ms, "lost", 1.0)


def test_a_trade_that_is_missing_is_lost_unless_a_gap_of_its_asset_covers_it() -> None:
    missing = [trade()]
    assert accounted(missing, []).unreported == missing
    assert accounted(missing, [], gap(5_001, 9_000)).unreported == missing
    assert accounted(missing, [], gap(1_000, 4_999)).unreported == missing
    assert accounted(missing, [], gap(4_000, 6_000, "8")).unreported == missing
    excused = accounted(missing, [], gap(4_000, 6_000))
    assert (excused.unreported, excused.in_gaps_count) == ([], 1)
    assert accounted(missing, [], gap(4_000, None)).unreported == []
    assert accounted(missing, missing).unreported == []


def test_one_of_two_equal_trades_is_lost_although_the_other_came() -> None:
    twins = [trade(), trade()]
    assert len(accounted(twins, twins[:1]).unreported) == 1
    assert accounted(twins, twins).unreported == []


def test_trades_before_the_first_book_do_not_count_as_lost() -> None:
    account = accounted([trade(time_ms=999), trade(asset_id="9")], [])
    assert (account.ledger_count, account.unreported) == (0, [])


def test_a_trade_that_the_ledger_does_not_have_is_a_surplus() -> None:
    assert len(accounted([trade()], [trade(), trade()]).surplus) == 1
    assert len(accounted([], [trade()]).surplus) == 1


def report_with(
    differences: tuple[str, ...] = (),
    account: TradeAccount | None = None,
    faults: tuple[FaultRecord, ...] = (),
    error: str = "",
) -> Report:
    book = BookFinding("7", "Yes", "Will it?", None, None, 3, differences)
    trades = account or TradeAccount()
    return Report(20.0, START_MS, [book], trades, [], faults, 1, 9, error)


@pytest.mark.parametrize(
    ("report", "said"),
    [
        (report_with(("bid 0.4: …",)), "1 of 1 book differ"),
        (report_with(account=accounted([trade()], [])), "1 trade lost outside every"),
        (report_with(account=accounted([], [trade()])), "1 trade received that"),
        (
            report_with(faults=(FaultRecord(FREEZE, 2.0),)),
            "freeze_pong was not noticed",
        ),
        (report_with(error="OSError: gone"), "the feed ended: OSError: gone"),
    ],
)
def test_the_verdict_names_what_is_wrong(report: Report, said: str) -> None:
    assert not report.is_good
    assert said in report_lines(report)[-1]
    assert report_lines(report_with())[-1] == GOOD_VERDICT


# --- replay


def write_frames(file: Path, *payloads: object, channel: str = "market") -> None:
    lines = [json.dumps({"channel": channel, "payload": each}) for each in payloads]
    file.write_text("\n".join(lines) + "\n", encoding="utf-8")


def book_event(asset_id: str = "71") -> dict[str, object]:
    return {
        "event_type": "book",
        "market": "0xaa",
        "asset_id": asset_id,
        "bids": [{"price": "0.4", "size": "5"}],
        "asks": [{"price": "0.6", "size": "5"}],
        "timestamp": "1790000000000",
    }


async def replayed(path: Path) -> tuple[ReplayResult, str]:
    recording = read_recording(path)
    result = await feed_recording(recording)
    return result, "\n".join(replay_lines(recording, result))


async def test_all_recorded_frames_come_out_and_are_counted(tmp_path: Path) -> None:
    write_frames(
        tmp_path / "a__market_books.jsonl",
        book_event(),
        [book_event("72"), {"event_type": "brand_new", "x": 1}],
        "PONG",
    )
    write_frames(tmp_path / "b__market_bad.jsonl", book_event(), "{broken")
    write_frames(tmp_path / "b__market_client_frames.jsonl", {"type": "market"})
    write_frames(tmp_path / "c__market_x.jsonl", book_event(), channel="user")
    result, text = await replayed(tmp_path)
    assert result.is_complete
    assert [event.event_type for event in result.received] == [
        *("book", "book", "brand_new", "book", "malformed"),
    ]
    assert result.control_texts == Counter({"PONG": 1})
    assert "unknown a__market_books.jsonl:2: brand_new" in text
    assert "malformed b__market_bad.jsonl:2: not JSON" in text
    assert "1 frame sent by clients, not fed" in text
    assert text.endswith("everything that was fed came out on the other side")


async def test_an_event_that_does_not_come_out_is_named(tmp_path: Path) -> None:
    file = tmp_path / "x.jsonl"
    write_frames(file, book_event(), book_event("no decimal id"))
    result, text = await replayed(file)
    assert not result.is_complete
    assert "LOST x.jsonl:2: book of no decimal id" in text
    assert "NOT as it should be: 1 event lost" in text


async def test_a_recording_of_many_assets_and_frames_comes_out_once(
    tmp_path: Path,
) -> None:
    events = [book_event(str(number % 250 + 1)) for number in range(3_000)]
    write_frames(tmp_path / "x.jsonl", *events, "PING")
    result, _ = await replayed(tmp_path / "x.jsonl")
    assert result.is_complete
    assert len(result.received) == 3_000


def test_a_line_separator_inside_a_text_does_not_split_the_line(tmp_path: Path) -> None:
    line = '{"event_type":"brand_new","text":"one\u2028line"}'
    (tmp_path / "x.jsonl").write_text(line, encoding="utf-8")
    assert [each.text for each in read_recording(tmp_path / "x.jsonl").frames] == [line]


def test_a_path_with_nothing_to_feed_is_refused(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["--replay", str(tmp_path / "absent")]) == 2
    assert main(["--replay", str(tmp_path)]) == 2
    write_frames(tmp_path / "a__market_client_frames.jsonl", {"type": "market"})
    assert main(["--replay", str(tmp_path)]) == 2
    words = capsys.readouterr().err.splitlines()
    assert "no such file or folder" in words[0]
    assert "no file named" in words[1]
    assert "no frame of the market channel in it (1 sent by clients" in words[2]
    with pytest.raises(RecordingError):
        read_recording(tmp_path)


# --- the screen


def status_with(outcome: str = "Yes", why: str = "", log_lines: int = 30) -> Status:
    row = AssetRow("1" * 77, outcome, Decimal("0.5"), None, 1.0, "STALE", why)
    live = AssetRow("2" * 77, "No", Decimal("0.4"), Decimal("0.412"), 0.2, "live")
    empty = AssetRow("3" * 77, "Up", None, None, None, "no book")
    log = tuple(f"{n:6.1f} s  FAULT {'long ' * 40}" for n in range(log_lines))
    sockets = (Socket(True, 3, 0.2), Socket(False, 0, None))
    rows = (row, live, empty, live, live, live, live, live)
    figures = (3, 12_345, 17.2, 99, 16, 8)
    return Status(12.3, 20.0, rows, "reconnecting", sockets, *figures, log)


@pytest.mark.parametrize("width", [20, 60, 100, 200])
@pytest.mark.parametrize("height", [3, 8, 14, 34])
def test_a_picture_fits_its_terminal(width: int, height: int) -> None:
    status = status_with(why="REST has seen a newer book than the stream")
    lines = draw(status, width, height, has_colour=False)
    assert len(lines) <= height
    assert max(map(len, lines)) <= width
    assert "\x1b" not in "".join(lines)


def test_a_picture_shows_top_spread_state_and_reason() -> None:
    text = "\n".join(draw(status_with(why="a reason"), 60, 40, has_colour=False))
    assert "0.40  0.412  0.012   0.2 s  live" in text
    assert "STALE: a reason" in text
    assert "no book" in text
    assert "gaps 8 open, 8 closed" in text


def test_text_from_events_cannot_move_or_fool_the_terminal() -> None:
    status = status_with(outcome="\x1b[2J", why="\u202eesrever\x07\n")
    text = "".join(draw(status, 120, 40, has_colour=False))
    assert not {"\x1b", "\u202e", "\x07", "\n"} & set(text)
    assert r"\u202eesrever\u0007\u000a" in text


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


async def test_a_terminal_is_drawn_in_place_and_gets_its_cursor_back() -> None:
    terminal = Terminal()
    with (
        pytest.raises(RuntimeError),
        open_display(terminal, {"TERM": "xterm"}) as display,
    ):
        display.show(status_with())
        display.show(status_with())
        raise RuntimeError
    text = terminal.getvalue()
    assert isinstance(display, ScreenDisplay)
    assert text.count("\x1b[H") == 1, "at most four pictures a second"
    assert "\x1b[31m" in text
    assert text.endswith("\x1b[?25h")


async def test_no_color_is_respected_and_a_dumb_terminal_gets_plain_lines() -> None:
    terminal = Terminal()
    with open_display(terminal, {"TERM": "xterm", "NO_COLOR": "1"}) as display:
        display.show(status_with())
    assert "m" not in {code[-1:] for code in terminal.getvalue().split("\x1b[")}
    assert "\x1b[31m" not in terminal.getvalue()
    with open_display(Terminal(), {"TERM": "dumb"}) as display:
        assert isinstance(display, PlainDisplay)


# --- the program


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
        output = program.stdout.read()
        assert program.wait(timeout=10) == 0
    assert output.splitlines()[-1] == GOOD_VERDICT
