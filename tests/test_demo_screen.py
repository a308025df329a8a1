"""What the demo draws fits the terminal and cannot fool it."""

from __future__ import annotations

import asyncio
import io
from decimal import Decimal

import pytest

from demo.screen import draw
from demo.status import AssetRow, Socket, Status
from demo.terminal import PlainDisplay, ScreenDisplay, open_display


LIVE_CELLS = ["0.40", "0.412", "0.012", "0.2", "s", "live"]


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
    assert any(line.split()[2:] == LIVE_CELLS for line in text.splitlines())
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


async def test_a_terminal_is_drawn_in_place_at_most_four_times_a_second() -> None:
    terminal = Terminal()
    with open_display(terminal, {"TERM": "xterm"}) as display:
        for _ in range(10):
            display.show(status_with())
            await asyncio.sleep(0.1)
    text = terminal.getvalue()
    assert isinstance(display, ScreenDisplay)
    assert text.count("\x1b[H") == 4
    assert "\x1b[31m" in text


def test_the_cursor_comes_back_whatever_happens() -> None:
    terminal = Terminal()
    with (
        pytest.raises(RuntimeError),
        open_display(terminal, {"TERM": "xterm"}),
    ):
        raise RuntimeError
    assert "\x1b[?25l" in terminal.getvalue()
    assert terminal.getvalue().endswith("\x1b[?25h")


async def test_no_color_is_respected_and_a_dumb_terminal_gets_plain_lines() -> None:
    terminal = Terminal()
    with open_display(terminal, {"TERM": "xterm", "NO_COLOR": "1"}) as display:
        display.show(status_with())
    assert "m" not in {code[-1:] for code in terminal.getvalue().split("\x1b[")}
    assert "\x1b[31m" not in terminal.getvalue()
    with open_display(Terminal(), {"TERM": "dumb"}) as display:
        assert isinstance(display, PlainDisplay)
