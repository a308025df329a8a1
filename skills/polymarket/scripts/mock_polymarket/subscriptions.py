"""What a client may say on the market channel, besides PING."""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import Any


INVALID_OPERATION = "INVALID OPERATION"


@dataclass(frozen=True, slots=True)
class Operation:
    """A valid frame of the client; `custom` is None where the frame does not say."""

    asset_ids: tuple[str, ...]
    custom: bool | None = None
    initial_dump: bool = True
    is_unsubscribe: bool = False


def parse_first(text: str) -> Operation | None:
    """Read the initial frame, ``{"type": "market", "assets_ids": […]}``, or None."""
    frame = _object(text)
    if frame is None or frame.get("type") != "market":
        return None
    ids = _ids(frame)
    if ids is None:
        return None
    return Operation(
        ids,
        custom=frame.get("custom_feature_enabled") is True,
        initial_dump=frame.get("initial_dump") is not False,
    )


def parse_later(text: str) -> Operation | None:
    """Read a later frame, ``{"operation": …}`` without a `type`, or None."""
    frame = _object(text)
    if frame is None or "type" in frame:
        return None
    ids, operation = _ids(frame), frame.get("operation")
    if ids is None or operation not in ("subscribe", "unsubscribe"):
        return None
    custom = frame.get("custom_feature_enabled")
    return Operation(
        ids,
        custom=custom if isinstance(custom, bool) else None,
        is_unsubscribe=operation == "unsubscribe",
    )


def _object(text: str) -> dict[str, Any] | None:
    try:
        frame = json.loads(text)
    except (ValueError, RecursionError):
        return None
    return frame if isinstance(frame, dict) else None


def _ids(frame: dict[str, Any]) -> tuple[str, ...] | None:
    ids = frame.get("assets_ids")
    if not isinstance(ids, list) or not all(isinstance(i, str) for i in ids):
        return None
    return tuple(ids)
