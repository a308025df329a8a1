"""Broken frames, and broken elements for arrays that also hold good ones."""

from __future__ import annotations

from .outgoing import INJECTED, Outgoing


NOWHERE = "0x" + "0" * 64  # the condition id of no market

# Valid JSON, so that only this element of an array is lost.
BAD_ELEMENTS = (
    "null",
    "17",
    '"PONG"',
    "[]",
    "{}",
    '{"event_type":7}',
    '{"event_type":"price_change","price_changes":"none","timestamp":"soon"}',
    '{"event_type":"book","bids":[{"price":"0.5"}],"asks":{}}',
    '{"event_type":"last_trade_price","asset_id":5,"price":"a lot","size":null}',
    '{"event_type":"tick_size_change","old_tick_size":[],"new_tick_size":true}',
)


def bad_frames(asset_id: str, *, utf8: bool) -> list[Outgoing]:
    """Return one frame of every kind; those that name `asset_id` must change nothing.

    With `utf8` the last one is text that is not UTF-8: a compliant client has to
    close the connection on it.
    """
    texts = [*_not_json(asset_id), *_not_events(asset_id)]
    frames = [Outgoing(INJECTED, text) for text in texts]
    frames.append(Outgoing(INJECTED, "", raw=b"\x00\x01\xfe\xff", is_binary=True))
    event = _change(asset_id, "0.5", "NaN").encode()
    frames.append(Outgoing(INJECTED, "", raw=event, is_binary=True))
    if utf8:
        frames.append(Outgoing(INJECTED, "", raw=b'{"market":"\xff\xfe"}'))
    return frames


def _not_json(asset_id: str) -> list[str]:
    whole = _change(asset_id, "0.5", "10")
    return [
        whole[: len(whole) // 2],
        "",
        "\n",
        "[" * 100_000,
        "{" * 10,
        "\ufeff" + whole,
        "undefined",
        "<html><body>502 Bad Gateway</body></html>",
        f'{{"event_type":"book","asset_id":"{asset_id}","bids":[,],"asks":[]}}',
    ]


def _not_events(asset_id: str) -> list[str]:
    huge = "9" * 5_000
    return [
        f'{{"event_type":"price_change","market":"{NOWHERE}","extra":{huge}}}',
        f'{{"event_type":"book","market":"{NOWHERE}","market":"","bids":[],"bids":7}}',
        f'{{"event_type":"book","asset_id":"{asset_id}","bids":NaN,"asks":Infinity}}',
        f'{{"event_type":"book","asset_id":"{asset_id}","market":"\\ud800"}}',
        f'{{"event_type":"best_bid_ask","asset_id":"{asset_id}","best_bid":{{}}}}',
        "[[[]]]",
        "null",
        "-0",
        '"PONG"',
        "true",
        _change(asset_id, "0.5", "NaN"),
        _change(asset_id, "Infinity", "10"),
        _change(asset_id, "1e999999", "10"),
        _change(asset_id, "-0.5", "10"),
        _change(asset_id, "0.5", "-10"),
        _change(asset_id, "\u0660.\u0665 USD", "10"),
        _change(asset_id, "", ""),
    ]


def _change(asset_id: str, price: str, size: str) -> str:
    return (
        f'{{"market":"{NOWHERE}","price_changes":[{{"asset_id":"{asset_id}",'
        f'"price":"{price}","size":"{size}","side":"BUY","hash":""}}],'
        f'"timestamp":"1","event_type":"price_change"}}'
    )
