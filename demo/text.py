"""Text for a terminal: safe, short, and in people's units."""

from __future__ import annotations

import unicodedata
from decimal import Decimal


# Controls, formats (the bidi overrides are among them), surrogates, line separators.
_UNSAFE = frozenset({"Cc", "Cf", "Cs", "Co", "Cn", "Zl", "Zp"})


def escaped(text: str) -> str:
    """Return `text` with everything that could move or fool a terminal spelt out."""
    return "".join(
        f"\\u{ord(char):04x}" if unicodedata.category(char) in _UNSAFE else char
        for char in text
    )


def clipped(text: str, width: int) -> str:
    """Return at most `width` characters; the last one says that more was there."""
    if len(text) <= width:
        return text
    return text[: max(width - 1, 0)] + "…" if width > 0 else ""


def short_id(asset_id: str) -> str:
    """Return both ends of a long id."""
    return f"{asset_id[:5]}…{asset_id[-4:]}" if len(asset_id) > 10 else asset_id


def price_text(price: Decimal | None) -> str:
    """Return a price with two decimals or all it has; a dash for none."""
    if price is None:
        return "-"
    exponent = price.as_tuple().exponent
    decimals = max(2, -exponent) if isinstance(exponent, int) else 2
    return f"{price:.{decimals}f}"


def seconds(value_s: float) -> str:
    """Return a time with the digits that matter."""
    return f"{value_s:.1f} s" if abs(value_s) < 100 else f"{value_s:.0f} s"


def counted(number: int, what: str) -> str:
    """Return number and noun, with an s where English wants one."""
    return f"{number:,} {what}" if number == 1 else f"{number:,} {what}s"
