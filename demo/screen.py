"""Draw a `Status` as lines of text that fit a terminal."""

from __future__ import annotations

from collections.abc import Callable

from .status import AssetRow, Socket, Status
from .text import clipped, counted, escaped, price_text, seconds, short_id


MIN_TABLE_ROWS = 2
LOG_LINES = 12
WIDE = 90

_COLOURS = {"live": "32", "no book": "33", "STALE": "31"}
_LOG_COLOURS = {" FAULT ": "31", " NOTICED ": "33", " HEALED ": "32"}
_TITLE, _HEAD = "1", "2"

Paint = Callable[[str, str], str]


def draw(status: Status, width: int, height: int, *, has_colour: bool) -> list[str]:
    """Return at most `height` lines of at most `width` visible characters.

    What does not fit goes in this order: the log, then rows of the table.
    """
    paint = _painted if has_colour else _plain
    head = [
        paint(clipped(_title(status), width), _TITLE),
        *(clipped(line, width) for line in _figures(status)),
        "",
    ]
    table = _table(status, width, max(height - len(head), MIN_TABLE_ROWS), paint)
    log = _log(status, width, height - len(head) - len(table), paint)
    return [*head, *table, *log][:height]


def status_line(status: Status) -> str:
    """Say it all in one line, for output that is no terminal."""
    states = ", ".join(
        f"{number} {state}"
        for state in ("live", "no book", "STALE")
        if (number := status.count(state))
    )
    return (
        f"{states} | {status.messages_per_s:.0f} messages/s | {_sockets(status)} | "
        f"{counted(status.trade_count, 'trade')} | {_gaps(status)}"
    )


def _title(status: Status) -> str:
    end = "(Ctrl-C ends it)" if status.run_s is None else f"of {seconds(status.run_s)}"
    elapsed = seconds(status.elapsed_s)
    return f"Live order books, mock venue    {elapsed}  {end}"


def _figures(status: Status) -> list[str]:
    connects = counted(status.connect_count, "connect")
    return [
        _sockets(status),
        f"{status.messages_per_s:.0f} messages/s, {status.message_count:,} in all, {connects}",
        f"{counted(status.trade_count, 'trade')}, {_gaps(status)}",
    ]


def _sockets(status: Status) -> str:
    each = ", ".join(map(_socket, status.sockets)) or "none"
    return f"{counted(len(status.sockets), 'socket')}: {each} ({status.feed_state})"


def _socket(socket: Socket) -> str:
    if not socket.is_open:
        return "down"
    if socket.silence_s is None:
        return "up"
    return f"up, data {seconds(socket.silence_s)} ago"


def _gaps(status: Status) -> str:
    closed = status.gaps_opened - status.gaps_open
    return f"gaps {status.gaps_open} open, {closed} closed"


def _table(status: Status, width: int, room: int, paint: Paint) -> list[str]:
    names = [f"{escaped(row.outcome)} {short_id(row.asset_id)}" for row in status.rows]
    name_width = min(max(map(len, names), default=5), 16 if width < WIDE else 26)
    head = _cells(name_width, "asset", "bid", "ask", "spread", "age")
    lines = [paint(clipped(f"{head}  state", width), _HEAD)]
    rows = [
        _row(row, name, name_width, width, paint)
        for row, name in zip(status.rows, names, strict=True)
    ]
    if len(rows) + 1 > room:
        left_out = len(rows) - max(room - 2, 0)
        rows = [*rows[: max(room - 2, 0)], clipped(f"… and {left_out} more", width)]
    return lines + rows


def _row(row: AssetRow, name: str, name_width: int, width: int, paint: Paint) -> str:
    age = "-" if row.age_s is None else seconds(row.age_s)
    prices = map(price_text, (row.best_bid, row.best_ask, row.spread))
    cells = clipped(_cells(name_width, _name(name, name_width), *prices, age), width)
    why = f": {escaped(row.why)}" if row.why and row.state == "STALE" else ""
    state = clipped(row.state + why, width - len(cells) - 2)
    return f"{cells}  {paint(state, _COLOURS[row.state])}" if state else cells


def _name(name: str, width: int) -> str:
    """Shorten the outcome, not the id that tells the assets apart."""
    outcome, _, asset_id = name.rpartition(" ")
    return f"{clipped(outcome, width - len(asset_id) - 1)} {asset_id}"


def _cells(name_width: int, name: str, *cells: str) -> str:
    return f"{name:<{name_width}}" + "".join(f" {cell:>6}" for cell in cells)


def _log(status: Status, width: int, room: int, paint: Paint) -> list[str]:
    if room < 2:
        return []
    newest = status.log[-min(room - 1, LOG_LINES) :]
    return ["", *(_log_line(escaped(line), width, paint) for line in newest)]


def _log_line(line: str, width: int, paint: Paint) -> str:
    for word, colour in _LOG_COLOURS.items():
        if word in line:
            return paint(clipped(line, width), colour)
    return clipped(line, width)


def _plain(text: str, _colour: str) -> str:
    return text


def _painted(text: str, colour: str) -> str:
    return f"\x1b[{colour}m{text}\x1b[0m"
