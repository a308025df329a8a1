"""Exact prices and sizes from the wire's texts.

The venue writes every price and size as a decimal string. `PRICE_OF` gives the
`Decimal` of a price, made and checked once for each spelling: there are at most 9,999
prices on the finest grid, and a feed sees the same few hundred all day. Sizes stay
text until somebody asks. Neither ever passes through a float.

Pure: no I/O and no clock.

Copy with: nothing.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from decimal import Decimal


MAX_KNOWN_PRICES = 20_000

# Plain digits: no sign, no exponent, no NaN, and not more digits than any sum can hold.
_NUMBER = r"(?:[0-9]{1,18}+(?:\.[0-9]{0,18}+)?+|\.[0-9]{1,18}+)"
is_number = re.compile(_NUMBER).fullmatch
_are_numbers = re.compile(rf"(?:{_NUMBER}\n)*+").fullmatch


class _Prices(dict[str, Decimal]):
    """Fills itself; forgets everything when hostile spellings have filled it."""

    def __missing__(self, text: str) -> Decimal:
        if is_number(text) is None or (price := Decimal(text)) > 1:
            raise ValueError(f"not a price from 0 to 1: {text!r:.40}")
        if len(self) >= MAX_KNOWN_PRICES:
            self.clear()
        self[text] = price
        return price


PRICE_OF: dict[str, Decimal] = _Prices()


def require_sizes(texts: Iterable[str]) -> None:
    """Refuse texts that are no sizes.

    Raises:
        ValueError: one is negative, not finite, absurdly long, or no number at all.

    """
    if _are_numbers("\n".join([*texts, ""])) is None:
        raise ValueError("a size is no plain number")


def is_zero(size: str) -> bool:
    """Whether a size removes its level: `0`, `0.0` and so on."""
    return not size.strip("0.")
