"""One side of one book, kept in the order in which the wire lists it."""

from __future__ import annotations

from bisect import bisect_left, insort
from itertools import islice

from .amounts import to_text


class Ladder:
    """Levels from the worst to the best; prices and sizes in millionths.

    The JSON of every level is kept, so a change of one level costs one new
    fragment and one join, however deep the book is.
    """

    def __init__(self, *, is_bid: bool) -> None:
        self._sign = 1 if is_bid else -1
        self._keys: list[int] = []
        self._sizes: dict[int, int] = {}
        self._fragments: dict[int, str] = {}
        self._json: str | None = ""

    def __len__(self) -> int:
        return len(self._keys)

    def set(self, price: int, size: int) -> None:
        """Give the level a new total size; 0 removes it."""
        key = price * self._sign
        known = key in self._sizes
        self._json = None
        if size == 0:
            if known:
                del self._keys[bisect_left(self._keys, key)]
                del self._sizes[key], self._fragments[key]
            return
        if not known:
            insort(self._keys, key)
        self._sizes[key] = size
        self._fragments[key] = (
            f'{{"price":"{to_text(price)}","size":"{to_text(size)}"}}'
        )

    def size_at(self, price: int) -> int:
        """Return the level's size, 0 if there is none."""
        return self._sizes.get(price * self._sign, 0)

    @property
    def best(self) -> int | None:
        """The best price, or None on an empty side."""
        return self._keys[-1] * self._sign if self._keys else None

    def levels(self) -> list[tuple[int, int]]:
        """Return (price, size) pairs, worst first."""
        return [(key * self._sign, self._sizes[key]) for key in self._keys]

    def best_prices(self, count: int) -> list[int]:
        """Return up to `count` prices, best first."""
        return [key * self._sign for key in islice(reversed(self._keys), count)]

    def worst(self) -> int:
        """Return the worst price of a side that is not empty."""
        return self._keys[0] * self._sign

    def json(self) -> str:
        """Return the levels as JSON objects joined by commas, worst first."""
        if self._json is None:
            self._json = ",".join(map(self._fragments.__getitem__, self._keys))
        return self._json
