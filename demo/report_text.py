"""The report of a live run in words."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from itertools import groupby

from .report import BookFinding, Report, trade_in_words
from .tally import FaultRecord, SeenGap
from .text import counted, escaped, price_text, seconds, short_id


GOOD_VERDICT = "every book equals the ledger, 0 unreported losses"
MAX_DETAILS = 10


def report_lines(report: Report) -> list[str]:
    """Return the whole report; its last line is the verdict."""
    lines = [
        "",
        f"Report after {seconds(report.run_s)}: the client beside the exchange's ledger",
        "",
        "Books, level by level",
        *_books(report.books),
        "",
        *_trades(report),
        "",
        *_gaps(report),
        "",
        "Faults",
        *(line for fault in report.faults for line in _fault(fault)),
        *([] if report.faults else ["  none happened"]),
        "",
        f"{counted(report.connect_count, 'connect')}, "
        f"{counted(report.message_count, 'message')} of data",
        "",
        verdict(report),
    ]
    return [escaped(line) for line in lines]


def verdict(report: Report) -> str:
    """Return the one line that counts."""
    problems = report.problems()
    return f"NOT as it should be: {'; '.join(problems)}" if problems else GOOD_VERDICT


def _books(books: Sequence[BookFinding]) -> list[str]:
    lines: list[str] = []
    for question, of_market in groupby(books, lambda book: book.question):
        lines.append(f"  {question}")
        lines += [line for book in of_market for line in _book(book)]
    return lines


def _book(book: BookFinding) -> list[str]:
    name = f"{book.outcome} {short_id(book.asset_id)}"
    if not book.differences:
        top = f"{price_text(book.best_bid)} / {price_text(book.best_ask)}"
        levels = counted(book.level_count, "level")
        return [f"    equal    {name:<16} {top:<15} {levels}"]
    return [
        f"    DIFFERS  {name}",
        *_some([f"             {difference}" for difference in book.differences]),
    ]


def _trades(report: Report) -> list[str]:
    account = report.trades
    return [
        f"Trades: {account.ledger_count} in the ledger, "
        f"{account.received_count} received,",
        f"  {account.in_gaps_count} inside reported gaps, "
        f"{len(account.unreported)} lost unreported",
        *_some([f"  LOST     {trade_in_words(t.key)}" for t in account.unreported]),
        *_some([f"  SURPLUS  {trade_in_words(key)}" for key in account.surplus]),
    ]


def _gaps(report: Report) -> list[str]:
    """Gaps of one market that opened together are shown as one."""
    question_of = {book.asset_id: book.question for book in report.books}
    together: defaultdict[tuple[str, str, float], list[SeenGap]] = defaultdict(list)
    for gap in report.gaps:
        question = question_of.get(gap.asset_id, short_id(gap.asset_id))
        together[gap.reason, question, round(gap.opened_at_s, 1)].append(gap)
    lines = [f"Gaps: {len(report.gaps)}, one an asset; seconds since the start"]
    last_reason = None
    for (reason, question, _), gaps in together.items():
        if reason != last_reason:
            lines.append(f"  {reason}")
            last_reason = reason
        # Both assets of a market as a rule; if it was one, say which.
        which = f", {short_id(gaps[0].asset_id)}" if len(gaps) == 1 else ""
        lines.append(f"  {_span(gaps, report.start_ms)}  {question}{which}")
    return lines if report.gaps else ["Gaps: none"]


def _span(gaps: list[SeenGap], start_ms: int) -> str:
    from_s = (min(gap.from_ms for gap in gaps) - start_ms) / 1000
    ends = [gap.to_ms for gap in gaps]
    closed = [end for end in ends if end is not None]
    is_open = len(closed) < len(ends)
    until = "still open" if is_open else f"{(max(closed) - start_ms) / 1000:8.1f} s"
    return f"{from_s:8.1f} s to {until}"


def _fault(fault: FaultRecord) -> list[str]:
    begin = f"  {fault.planned.fault} at {seconds(fault.at_s)}"
    if fault.noticed_at_s is None:
        return [f"{begin}: not noticed"]
    noticed = f"noticed after {seconds(fault.noticed_at_s - fault.at_s)}"
    if fault.healed_at_s is None:
        return [f"{begin}: {noticed}, not healed", f"    {fault.noticed_as}"]
    healed = f"healed after {seconds(fault.healed_at_s - fault.at_s)}"
    return [begin, f"    {noticed}, {healed}"]


def _some(lines: list[str]) -> list[str]:
    left_out = len(lines) - MAX_DETAILS
    more = [f"           and {left_out} more"] if left_out > 0 else []
    return lines[:MAX_DETAILS] + more
