"""The demo's report finds whatever differs from the ledger."""

from __future__ import annotations

from collections import Counter
from decimal import Decimal

import pytest

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
from demo.schedule import Planned
from demo.tally import FaultRecord, SeenGap, TradeKey
from mock_polymarket import MockPolymarket
from order_book import OrderBook


START_MS = 1_790_000_000_000
FREEZE = Planned("freeze_pong", 2.0, "frozen")

Level = tuple[Decimal, Decimal]


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
    book.replace(
        {str(price): str(size) for price, size in truth.bids},
        {str(price): str(size) for price, size in truth.asks},
        timestamp_ms=1,
    )
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
