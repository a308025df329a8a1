"""Recorded frames can be played instead of the simulated flow."""

from __future__ import annotations

import asyncio
import json
from pathlib import Path

import pytest
from mock_client import next_text, open_socket, subscribe, subscribed, texts_for

from mock_polymarket import MockPolymarket


PAYLOAD = {"event_type": "book", "asset_id": "1"}


def recorded(folder: Path) -> Path:
    file = folder / "frames.jsonl"
    lines = [
        json.dumps({"source": "x", "channel": "market", "payload": [PAYLOAD]}),
        json.dumps({"payload": "NO NEW ASSETS"}),
        json.dumps({"channel": "rest", "payload": {"not": "this"}}),
        '{"event_type": "bare",  "spaces": "kept"}',
        "",
        "INVALID OPERATION",
    ]
    file.write_text("\n".join(lines), encoding="utf-8")
    return file


EXPECTED = [
    '[{"event_type":"book","asset_id":"1"}]',
    "NO NEW ASSETS",
    '{"event_type": "bare",  "spaces": "kept"}',
    "INVALID OPERATION",
]


async def test_frames_are_played_to_every_subscriber_at_the_rate(
    tmp_path: Path,
) -> None:
    async with MockPolymarket(replay=[recorded(tmp_path)], replay_rate=2) as mock:
        for _ in range(2):
            async with subscribed(mock, "1") as socket:
                began_s = asyncio.get_running_loop().time()
                played = [await next_text(socket) for _ in EXPECTED]
                took_s = asyncio.get_running_loop().time() - began_s
                assert await texts_for(socket, 30) == []
                await socket.send("PING")
                assert await next_text(socket) == "PONG"
            assert played == EXPECTED
            assert took_s == pytest.approx(0.165 + 3 * 0.5, abs=0.05)


async def test_nothing_is_played_before_the_first_frame(tmp_path: Path) -> None:
    async with (
        MockPolymarket(replay=[recorded(tmp_path)]) as mock,
        open_socket(mock) as socket,
    ):
        assert await texts_for(socket, 10) == []
        await subscribe(socket)
        assert await next_text(socket) == EXPECTED[0]
        assert mock.ledger.entries == []


async def test_a_folder_is_read_without_what_clients_sent(tmp_path: Path) -> None:
    recorded(tmp_path)
    sent = tmp_path / "docs__market_client_frames.jsonl"
    sent.write_text('{"channel": "market", "payload": "PING"}\n', encoding="utf-8")
    async with (
        MockPolymarket(replay=[tmp_path], replay_rate=100) as mock,
        subscribed(mock, "1") as socket,
    ):
        assert await texts_for(socket, 10) == EXPECTED


def test_files_without_a_market_frame_are_refused(tmp_path: Path) -> None:
    empty = tmp_path / "empty.jsonl"
    empty.write_text("\n", encoding="utf-8")
    with pytest.raises(ValueError, match="no market frames"):
        MockPolymarket(replay=[empty])
    with pytest.raises(OSError, match=r"missing\.jsonl"):
        MockPolymarket(replay=[tmp_path / "missing.jsonl"])


async def test_a_later_subscription_does_not_start_the_replay_again(
    tmp_path: Path,
) -> None:
    file = recorded(tmp_path)
    async with (
        MockPolymarket(replay=[file], replay_rate=100) as mock,
        open_socket(mock) as socket,
    ):
        await subscribe(socket, "1")
        await socket.send('{"operation":"subscribe","assets_ids":["2"]}')
        got = [await next_text(socket) for _ in EXPECTED]
        assert got == EXPECTED
        with pytest.raises(TimeoutError):
            await next_text(socket, within_s=5)


async def test_a_line_separator_inside_a_text_does_not_cut_the_frame(
    tmp_path: Path,
) -> None:
    file = tmp_path / "frames.jsonl"
    frame = json.dumps({"question": "one\u2028line"}, ensure_ascii=False)
    file.write_text(frame, encoding="utf-8")
    async with (
        MockPolymarket(replay=[file]) as mock,
        subscribed(mock, "1") as socket,
    ):
        assert await next_text(socket) == frame
