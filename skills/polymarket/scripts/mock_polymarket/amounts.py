"""Exact prices and sizes: whole millionths inside, decimal strings outside."""

from __future__ import annotations

from decimal import Decimal, InvalidOperation
from functools import lru_cache


ONE = 1_000_000  # 1 USD of price, or 1 share: the venue's sizes have 6 decimals

Amount = Decimal | str | int


def to_units(value: Amount) -> int:
    """Return `value` in millionths.

    Raises:
        ValueError: not a decimal number, or finer than a millionth.

    """
    try:
        scaled = Decimal(value) * ONE
    except InvalidOperation:
        raise ValueError(f"not a decimal number: {value!r}") from None
    units = int(scaled)
    if units != scaled:
        raise ValueError(f"finer than 0.000001: {value!r}")
    return units


@lru_cache(maxsize=1 << 16)
def to_text(units: int) -> str:
    """Return the wire's spelling: no exponent and no zeros at the end."""
    whole, fraction = divmod(units, ONE)
    if not fraction:
        return str(whole)
    return f"{whole}.{fraction:06d}".rstrip("0")


def to_decimal(units: int) -> Decimal:
    """Return `units` millionths as an exact `Decimal`."""
    return Decimal(to_text(units))


def with_decimals_of(units: int, tick: int) -> str:
    """Spell a price with as many decimals as its tick: ``0.140`` at tick 0.001."""
    decimals = len(to_text(tick).partition(".")[2])
    whole, fraction = divmod(units, ONE)
    spelled = f"{fraction:06d}".rstrip("0").ljust(decimals, "0")
    return f"{whole}.{spelled}" if spelled else str(whole)
