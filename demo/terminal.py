"""Two ways to show a run: redrawn in place on a terminal, plain lines elsewhere."""

from __future__ import annotations

import asyncio
import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import TextIO

from .screen import draw, status_line
from .status import Display, Status
from .text import escaped


STATUS_EVERY_S = 2.0
FRAME_EVERY_S = 0.25
FALLBACK_SIZE = (80, 24)

_HIDE_CURSOR, _SHOW_CURSOR = "\x1b[?25l", "\x1b[?25h"
_HOME, _CLEAR_LINE, _CLEAR_REST = "\x1b[H", "\x1b[K", "\x1b[J"


class PlainDisplay:
    """Lines only: a status every `STATUS_EVERY_S`, everything else as it happens."""

    def __init__(self, stream: TextIO) -> None:
        self._stream = stream
        self._next_at_s = 0.0

    def say(self, line: str) -> None:
        """Write one line."""
        self._stream.write(escaped(line) + "\n")
        self._stream.flush()

    def show(self, status: Status) -> None:
        """Write a status line when it is time for one."""
        if status.elapsed_s >= self._next_at_s:
            self._next_at_s = status.elapsed_s + STATUS_EVERY_S
            self.say(f"{status.elapsed_s:6.1f} s  {status_line(status)}")


class ScreenDisplay:
    """A picture redrawn in place; what is said is found in the status' log."""

    def __init__(self, stream: TextIO, *, has_colour: bool) -> None:
        self._stream = stream
        self._has_colour = has_colour
        self._next_at_s = float("-inf")

    def say(self, line: str) -> None:
        """Leave it to the log of the next picture."""

    def show(self, status: Status) -> None:
        """Draw, at most once in `FRAME_EVERY_S`."""
        now_s = asyncio.get_running_loop().time()
        if now_s < self._next_at_s:
            return
        self._next_at_s = now_s + FRAME_EVERY_S
        width, height = size_of(self._stream)
        # The last line stays free: the cursor waits there, and the report begins.
        lines = draw(status, width, height - 1, has_colour=self._has_colour)
        text = "".join(f"{line}{_CLEAR_LINE}\r\n" for line in lines)
        self._stream.write(f"{_HOME}{text}{_CLEAR_REST}")
        self._stream.flush()

    @contextmanager
    def full_screen(self) -> Iterator[None]:
        """Hide the cursor meanwhile; what was on the screen scrolls up, unharmed."""
        self._stream.write("\n" * size_of(self._stream)[1] + _HIDE_CURSOR)
        try:
            yield
        finally:
            self._stream.write(_SHOW_CURSOR)
            self._stream.flush()


@contextmanager
def open_display(stream: TextIO, environment: Mapping[str, str]) -> Iterator[Display]:
    """Choose by what `stream` is; NO_COLOR and a dumb terminal are respected."""
    if not stream.isatty() or environment.get("TERM", "dumb") == "dumb":
        yield PlainDisplay(stream)
        return
    display = ScreenDisplay(stream, has_colour=not environment.get("NO_COLOR"))
    with display.full_screen():
        yield display


def size_of(stream: TextIO) -> tuple[int, int]:
    """Return columns and lines of a terminal, asked anew: windows get resized."""
    try:
        size = os.get_terminal_size(stream.fileno())
    except (OSError, ValueError):
        return FALLBACK_SIZE
    return size.columns or FALLBACK_SIZE[0], size.lines or FALLBACK_SIZE[1]
