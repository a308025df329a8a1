"""Recorded frames come out of the pipeline, and what does not is named."""

from __future__ import annotations

import json
from collections import Counter
from pathlib import Path

import pytest

from demo.cli import main
from demo.recording import RecordingError, read_recording
from demo.replay import ReplayResult, feed_recording, replay_lines


def write_frames(file: Path, *payloads: object, channel: str = "market") -> None:
    lines = [json.dumps({"channel": channel, "payload": each}) for each in payloads]
    file.write_text("\n".join(lines) + "\n", encoding="utf-8")


def book_event(asset_id: str = "71") -> dict[str, object]:
    return {
        "event_type": "book",
        "market": "0xaa",
        "asset_id": asset_id,
        "bids": [{"price": "0.4", "size": "5"}],
        "asks": [{"price": "0.6", "size": "5"}],
        "timestamp": "1790000000000",
    }


async def replayed(path: Path) -> tuple[ReplayResult, str]:
    recording = read_recording(path)
    result = await feed_recording(recording)
    return result, "\n".join(replay_lines(recording, result))


async def test_all_recorded_frames_come_out_and_are_counted(tmp_path: Path) -> None:
    write_frames(
        tmp_path / "a__market_books.jsonl",
        book_event(),
        [book_event("72"), {"event_type": "brand_new", "x": 1}],
        "PONG",
    )
    write_frames(tmp_path / "b__market_bad.jsonl", book_event(), "{broken")
    write_frames(tmp_path / "b__market_client_frames.jsonl", {"type": "market"})
    write_frames(tmp_path / "c__market_x.jsonl", book_event(), channel="user")
    result, text = await replayed(tmp_path)
    assert result.is_complete
    assert [event.event_type for event in result.received] == [
        *("book", "book", "brand_new", "book", "malformed"),
    ]
    assert result.control_texts == Counter({"PONG": 1})
    assert "unknown a__market_books.jsonl:2: brand_new" in text
    assert "malformed b__market_bad.jsonl:2: not JSON" in text
    assert "1 frame sent by clients, not fed" in text
    assert text.endswith("everything that was fed came out on the other side")


async def test_an_event_that_does_not_come_out_is_named(tmp_path: Path) -> None:
    file = tmp_path / "x.jsonl"
    write_frames(file, book_event(), book_event("no decimal id"))
    result, text = await replayed(file)
    assert not result.is_complete
    assert "LOST x.jsonl:2: book of no decimal id" in text
    assert "NOT as it should be: 1 event lost" in text


async def test_a_recording_of_many_assets_and_frames_comes_out_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("demo.replay.FRAMES_AT_ONCE", 1_000)
    monkeypatch.setattr("demo.replay.ASSETS_AT_ONCE", 200)
    events = [book_event(str(number % 250 + 1)) for number in range(3_000)]
    write_frames(tmp_path / "x.jsonl", *events, "PING")
    result, _ = await replayed(tmp_path / "x.jsonl")
    assert result.is_complete
    assert len(result.received) == 3_000


def test_a_line_separator_inside_a_text_does_not_split_the_line(tmp_path: Path) -> None:
    line = '{"event_type":"brand_new","text":"one\u2028line"}'
    (tmp_path / "x.jsonl").write_text(line, encoding="utf-8")
    assert [each.text for each in read_recording(tmp_path / "x.jsonl").frames] == [line]


def test_a_path_with_nothing_to_feed_is_refused(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["--replay", str(tmp_path / "absent")]) == 2
    assert main(["--replay", str(tmp_path)]) == 2
    write_frames(tmp_path / "a__market_client_frames.jsonl", {"type": "market"})
    assert main(["--replay", str(tmp_path)]) == 2
    words = capsys.readouterr().err.splitlines()
    assert "no such file or folder" in words[0]
    assert "no file named" in words[1]
    assert "no frame of the market channel in it (1 sent by clients" in words[2]
    with pytest.raises(RecordingError):
        read_recording(tmp_path)
