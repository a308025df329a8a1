"""Frames that have broken parsers, and a way to break good ones at random."""

from __future__ import annotations

import json
import random
from typing import Any

import wire_frames as wire
from wire_frames import frame


BOOK = frame(wire.BOOK)
TRADE = frame(wire.LAST_TRADE_PRICE)
CHANGE = frame(wire.PRICE_CHANGE)


def _big_book(levels: int) -> str:
    rows = [{"price": f"0.{n:06d}", "size": "1234567.89"} for n in range(levels)]
    return frame(wire.BOOK, bids=rows, asks=[])


def _trade(key: str, json_text: str) -> str:
    """Return a trade in which `key` holds this text, valid JSON or not."""
    marked = frame(wire.LAST_TRADE_PRICE, **{key: "@@"})
    return marked.replace('"@@"', json_text)


# Each holds exactly one element, and that one is unusable.
REJECTED: dict[str, str | bytes] = {
    "empty": "",
    "empty bytes": b"",
    "only blanks": " \n\t",
    "a NUL": "\x00",
    "binary": bytes(range(256)),
    "bad UTF-8": BOOK.encode().replace(b"v2", b"\xff"),
    "bad UTF-8 outside of strings": BOOK.encode() + b"\xff",
    "cut UTF-8": '{"event_type":"book","market":"é'.encode()[:-1],
    "overlong UTF-8": b'"\xc0\xaf"',
    "UTF-16": BOOK.encode("utf-16"),
    "only a BOM": "\ufeff",
    "two BOMs": "\ufeff\ufeff" + BOOK,
    "lone surrogate": "\ud800",
    "lone surrogate in a field": BOOK[:-1] + ',"x":"\ud800"}',
    "lone surrogate escaped": BOOK[:-1] + ',"x":"\\ud800"}',
    "5,000 digits": "9" * 5_000,
    "5,000 digits in a field": _trade("size", "9" * 5_000 + "x"),
    "5,000-digit timestamp": _trade("timestamp", "9" * 5_000),
    "5,000-digit timestamp as text": _trade("timestamp", '"' + "9" * 5_000 + '"'),
    "200k arrays": "[" * 200_000 + "]" * 200_000,
    "200k arrays, not closed": "[" * 200_000,
    "200k objects": '{"event_type":' * 200_000 + "1" + "}" * 200_000,
    "200k deep in a field": _trade("x", "[" * 200_000 + "]" * 200_000),
    "200k deep in a known field": _trade("price", "[" * 200_000 + "]" * 200_000),
    "NaN": _trade("price", "NaN"),
    "minus Infinity": _trade("price", "-Infinity"),
    "NaN as text": _trade("price", '"NaN"'),
    "sNaN as text": _trade("price", '"sNaN"'),
    "NaN with a payload": _trade("size", '"NaN123"'),
    "Infinity as text": _trade("size", '"Infinity"'),
    "huge exponent": _trade("price", '"1e999999999"'),
    "exponent beyond Decimal": _trade("price", '"1e99999999999999999999"'),
    "float out of range": _trade("price", "1e400"),
    "price 2": _trade("price", '"2"'),
    "price -0.1": _trade("price", '"-0.1"'),
    "price true": _trade("price", "true"),
    "price in words": _trade("price", '"half"'),
    "price in hex": _trade("price", '"0x1"'),
    "price a list": _trade("price", '["0.5"]'),
    "size a huge exponent": _trade("size", '"1e999999999"'),
    "negative size": _trade("size", '"-1"'),
    "size an object": _trade("size", "{}"),
    "timestamp a float": _trade("timestamp", "1.5"),
    "timestamp a huge float": _trade("timestamp", "1e308"),
    "timestamp null": _trade("timestamp", "null"),
    "timestamp a date": _trade("timestamp", '"2026-11-21T00:00:00Z"'),
    "asset id a number": _trade("asset_id", "77777777777777777777777"),
    "asset id a float": _trade("asset_id", "7.7e76"),
    "asset id null": _trade("asset_id", "null"),
    "market a list": _trade("market", "[]"),
    "no known side": _trade("side", '"\\u001b[31mBUY"'),
    "event_type null": '{"event_type":null}',
    "event_type a number": '{"event_type":1}',
    "event_type an object": '{"event_type":{}}',
    "no event_type": '{"market":"0x1"}',
    "known type, nothing else": '{"event_type":"book"}',
    "duplicate type, last is known": '{"event_type":"future","event_type":"book"}',
    "duplicate price, last is bad": TRADE[:-1] + ',"price":"7"}',
    "bids an object": frame(wire.BOOK, bids={"0.5": "1"}),
    "bids null": frame(wire.BOOK, bids=None),
    "bids of pairs": frame(wire.BOOK, bids=[["0.5", "1"]]),
    "a level without size": frame(wire.BOOK, bids=[{"price": "0.5"}]),
    "price_changes an object": frame(wire.PRICE_CHANGE, price_changes={}),
    "price_changes of null": frame(wire.PRICE_CHANGE, price_changes=[None]),
    "array of an array": f"[[{BOOK}]]",
    "array of an empty array": "[[]]",
    "null": "null",
    "true": "true",
    "a number": "5",
    "a string": '"book"',
    "a control text in quotes": '"PONG"',
    "lower-case control text": "pong",
    "cut off": BOOK[:-1],
    "cut off in the middle": BOOK[: len(BOOK) // 2],
    "a second object behind": BOOK + TRADE,
    "garbage behind": BOOK + "garbage",
    "trailing comma": f"[{BOOK},]",
    "single quotes": BOOK.replace('"', "'"),
    "a comment": "/* hi */" + BOOK,
    "HTML": "<html><script>alert(1)</script></html>",
    "HTTP": "HTTP/1.1 403 Forbidden\r\n\r\n",
}
# Strange to look at, but nothing is wrong with them: how many events each holds.
ACCEPTED: dict[str, tuple[str | bytes, int]] = {
    "1.3 MiB book": (_big_book(33_000), 1),
    "BOM": ("\ufeff" + BOOK, 1),
    "BOM as bytes": (b"\xef\xbb\xbf" + BOOK.encode(), 1),
    "BOM before an array": (f"\ufeff[{BOOK},{TRADE}]", 2),
    "blanks around": (f" \r\n\t{BOOK}\n ", 1),
    "duplicate price, last is good": ('{"price":"7",' + TRADE[1:], 1),
    "escaped keys": (BOOK.replace("event_type", "event\\u005ftype"), 1),
    "an emoji": (BOOK[:-1] + ',"x":"\\ud83d\\ude00 😀"}', 1),
    "negative timestamp": (_trade("timestamp", '"-1"'), 1),
    "timestamp a number": (_trade("timestamp", "1790000000123"), 1),
    "empty book": (frame(wire.BOOK, bids=[], asks=[]), 1),
    "no changes": (frame(wire.PRICE_CHANGE, price_changes=[]), 1),
    "a thousand events": ("[" + ",".join([TRADE] * 1_000) + "]", 1_000),
    "empty array": ("[]", 0),
    "empty array with blanks": (" [ ] \n", 0),
}

_ALPHABET = b'{}[]",:0123456789.eE+-\\ \n\x00\xff\xc3tfnu'


def mutated(rng: random.Random) -> bytes | str:
    """Return a good frame, or several, with a few random wounds."""
    chosen = rng.sample(list(wire.ALL.values()), rng.randint(1, 3))
    data = bytearray(
        frame(*[_with_odd_value(each, rng) for each in chosen]).encode(
            "utf-8", "surrogatepass"
        )
    )
    for _ in range(rng.randint(0, 4)):
        _wound(data, rng)
    if rng.random() < 0.5:
        return bytes(data)
    return bytes(data).decode("utf-8", "surrogateescape")


def _wound(data: bytearray, rng: random.Random) -> None:
    start = rng.randrange(len(data) + 1)
    end = min(len(data), start + rng.choice([0, 1, 1, 2, 8, 60]))
    match rng.randrange(5):
        case 0:
            del data[start:end]
        case 1:
            data[start:start] = bytes(rng.choices(_ALPHABET, k=rng.randint(1, 6)))
        case 2:
            data[start:end] = bytes(rng.choices(_ALPHABET, k=end - start))
        case 3:
            data[start:start] = data[start:end]
        case _:
            data[start:end] = rng.choice(_ODD_TEXTS)


_ODD_TEXTS = [b"null", b"NaN", b'""', b"[[", b"1e999", b'"\\ud800"', b"\xef\xbb\xbf"]
_ODD_VALUES: list[Any] = [
    None,
    "",
    True,
    -1,
    1.5,
    10**30,
    [],
    {},
    "NaN",
    "-1",
    "1e400",
    "2",
    [None],
    [{}],
    "\ud800",
    "0.5",
    "x" * 300,
]


def _with_odd_value(fields: wire.Fields, rng: random.Random) -> wire.Fields:
    if rng.random() < 0.5:
        return fields
    copy = json.loads(json.dumps(fields))
    copy[rng.choice(list(copy))] = rng.choice(_ODD_VALUES)
    result: wire.Fields = copy
    return result
