"""Recorded frames, played back instead of the simulated venue."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator
from pathlib import Path


def load_frames(paths: Iterable[Path]) -> list[str]:
    """Read market-channel frames from files, or from the .jsonl files of folders.

    A line is a frame as it is, or ``{"payload": frame}`` where a string stands for
    text. Lines of other channels, and files of what clients sent, are left out.

    Raises:
        ValueError: no frame was found.
        OSError: a file cannot be read.

    """
    asked = list(paths)
    frames = [frame for path in asked for file in _files(path) for frame in _read(file)]
    if not frames:
        raise ValueError(f"no market frames in {', '.join(map(str, asked))}")
    return frames


def _files(path: Path) -> list[Path]:
    if not path.is_dir():
        return [path]
    return [
        file
        for file in sorted(path.glob("*.jsonl"))
        if not file.stem.endswith("client_frames")
    ]


def _read(file: Path) -> Iterator[str]:
    # Only at line feeds: str.splitlines would split inside JSON, at U+2028.
    for line in file.read_text(encoding="utf-8").split("\n"):
        if line.strip():
            frame = _frame(line)
            if frame is not None:
                yield frame


def _frame(line: str) -> str | None:
    try:
        decoded = json.loads(line)
    except ValueError:
        return line
    if not isinstance(decoded, dict) or "payload" not in decoded:
        return line
    if decoded.get("channel", "market") != "market":
        return None
    payload = decoded["payload"]
    if isinstance(payload, str):
        return payload
    # Escapes keep a lone surrogate, which UTF-8 could not carry, as it was.
    return json.dumps(payload, separators=(",", ":"))
