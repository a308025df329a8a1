"""Read recorded market-channel frames from .jsonl files."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

import msgspec


MARKET_FILES = "*__market_*.jsonl"
CLIENT_FILES = "client_frames"


class RecordingError(ValueError):
    """There is nothing to feed; the message says why and what would be."""


@dataclass(frozen=True, slots=True)
class RecordedFrame:
    """One frame as it was on the wire, and where it was found (lines from 1)."""

    file: str
    line: int
    text: str

    @property
    def where(self) -> str:
        """File and line as editors take them."""
        return f"{self.file}:{self.line}"


@dataclass(slots=True)
class Recording:
    """What a folder or file holds. `client_counts` are frames by file, not fed."""

    path: Path
    frames: list[RecordedFrame] = field(default_factory=list)
    client_counts: dict[str, int] = field(default_factory=dict)
    other_channel_count: int = 0


class _Line(msgspec.Struct):
    """A line with the frame in an envelope; Raw keeps every character of it."""

    payload: msgspec.Raw
    channel: str = "market"


_decode_line = msgspec.json.Decoder(_Line).decode
_decode_text = msgspec.json.Decoder(str).decode


def read_recording(path: Path) -> Recording:
    """Read a .jsonl file, or all files of a folder that `MARKET_FILES` matches.

    A line is a frame as it is, or ``{"channel": …, "payload": frame}``, where a string
    stands for text. Other channels' lines and what clients sent are only counted.

    Raises:
        RecordingError: no such path, or no market frame in it.
        OSError: a file cannot be read.

    """
    recording = Recording(path)
    for file in _files(path):
        for number, text in _market_texts(file, recording):
            if CLIENT_FILES in file.stem:
                seen = recording.client_counts.get(file.name, 0)
                recording.client_counts[file.name] = seen + 1
            else:
                recording.frames.append(RecordedFrame(file.name, number, text))
    if not recording.frames:
        raise RecordingError(
            f"{path}: no frame of the market channel in it "
            f"({sum(recording.client_counts.values())} sent by clients, "
            f"{recording.other_channel_count} of other channels)"
        )
    return recording


def _files(path: Path) -> list[Path]:
    if not path.exists():
        raise RecordingError(f"{path}: no such file or folder")
    if not path.is_dir():
        return [path]
    files = sorted(path.glob(MARKET_FILES))
    if not files:
        raise RecordingError(
            f"{path}: no file named {MARKET_FILES} in this folder; "
            "name a single .jsonl file to feed it, whatever it is called"
        )
    return files


def _market_texts(file: Path, recording: Recording) -> Iterator[tuple[int, str]]:
    try:
        content = file.read_text(encoding="utf-8-sig")
    except UnicodeDecodeError as error:
        raise RecordingError(f"{file}: not UTF-8 ({error.reason})") from None
    # Only at line feeds: str.splitlines would split inside JSON, at U+2028.
    for number, line in enumerate(content.split("\n"), start=1):
        if text := line.strip():
            frame = _frame_in(text)
            if frame is None:
                recording.other_channel_count += 1
            else:
                yield number, frame


def _frame_in(line: str) -> str | None:
    """Take a frame out of its line; None if it is another channel's."""
    try:
        envelope = _decode_line(line)
    except (msgspec.MsgspecError, RecursionError):
        return line
    if envelope.channel != "market":
        return None
    try:
        return _decode_text(envelope.payload)
    except msgspec.MsgspecError:
        return bytes(envelope.payload).decode()
