"""Many short texts in little memory: a simulated day is a million of them."""

from __future__ import annotations

import zlib
from functools import lru_cache


TEXTS_IN_A_BLOCK = 512


class TextBlock:
    """Up to 512 lines; compressed as soon as it is full."""

    __slots__ = ("_packed", "_texts")

    def __init__(self) -> None:
        self._texts: list[str] | None = []
        self._packed = b""

    @property
    def is_full(self) -> bool:
        """Whether no further text fits."""
        return self._texts is None

    def add(self, text: str) -> int:
        """Keep a text without line ends and return its number in this block."""
        if self._texts is None:
            raise ValueError("this block is full")
        self._texts.append(text)
        number = len(self._texts) - 1
        if len(self._texts) == TEXTS_IN_A_BLOCK:
            self._packed = zlib.compress("\n".join(self._texts).encode(), 1)
            self._texts = None
        return number

    def text(self, number: int) -> str:
        """Return a text by its number."""
        texts = _unpacked(self._packed) if self._texts is None else self._texts
        return texts[number]


@lru_cache(maxsize=4)
def _unpacked(packed: bytes) -> list[str]:
    return zlib.decompress(packed).decode().split("\n")
