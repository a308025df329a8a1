"""What one connection should be subscribed to, and the frames that make it so.

The wanted set outlives the socket. A new socket gets `frames_for_new_connection()`,
a living one only the differences, `frames_for_changes()`: the venue answers a second
initial frame, or an asset named twice, with `INVALID OPERATION`.

Pure: no I/O and no clock.

Copy with: nothing.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any, TypeAlias


Frame: TypeAlias = dict[str, Any]

# Not documented by the venue. Above about 250 assets a socket, reports of missing
# snapshots and silent assets begin; the largest known collectors run 200.
MAX_ASSETS_PER_CONNECTION = 200
# A frame with a few thousand ids made the server close the socket.
MAX_IDS_PER_FRAME = 100


class SubscriptionLimitError(ValueError):
    """More assets than one connection carries; open another connection."""


class SubscriptionManager:
    """The wanted set of one market connection, or of one user connection.

    `wants_custom_features` turns on `best_bid_ask`, `new_market` and
    `market_resolved`.
    """

    def __init__(
        self,
        *,
        max_assets: int = MAX_ASSETS_PER_CONNECTION,
        wants_custom_features: bool = False,
    ) -> None:
        self.max_assets = max_assets
        self.wants_custom_features = wants_custom_features
        # Dicts, because they keep the order: pairs of one market stay side by side.
        self._wanted: dict[str, None] = {}
        self._sent: dict[str, None] = {}
        self._is_open = False
        self._markets: dict[str, None] = {}

    @property
    def subscribed_tokens(self) -> list[str]:
        """The wanted asset ids, in the order they were added."""
        return list(self._wanted)

    @property
    def subscribed_markets(self) -> list[str]:
        """The wanted condition ids of the user channel."""
        return list(self._markets)

    @property
    def room(self) -> int:
        """How many more assets this connection carries."""
        return self.max_assets - len(self._wanted)

    def add_market_subscription(self, asset_ids: str | Iterable[str]) -> None:
        """Want these assets; those already wanted change nothing.

        Raises:
            SubscriptionLimitError: the connection would carry too many; none is added.

        """
        asked = dict.fromkeys(_as_list(asset_ids))
        new = [each for each in asked if each not in self._wanted]
        if len(new) > self.room:
            raise SubscriptionLimitError(
                f"{len(self._wanted)} + {len(new)} assets, but one connection carries "
                f"{self.max_assets}: spread them over more connections"
            )
        self._wanted |= dict.fromkeys(new)

    def remove_market_subscription(self, asset_ids: str | Iterable[str]) -> None:
        """Stop wanting these assets."""
        for asset_id in _as_list(asset_ids):
            self._wanted.pop(asset_id, None)

    def forget_sent(self, asset_ids: Iterable[str]) -> list[Frame]:
        """Return frames that unsubscribe these, so that they are asked for anew.

        The next `frames_for_changes()` subscribes them again and brings a new book.
        """
        known = [each for each in dict.fromkeys(asset_ids) if each in self._sent]
        for asset_id in known:
            del self._sent[asset_id]
        return [_operation("unsubscribe", ids) for ids in _chunks(known)]

    def frames_for_new_connection(self) -> list[Frame]:
        """Return all frames a fresh socket needs, the initial frame first."""
        self._sent.clear()
        self._is_open = False
        return self.frames_for_changes()

    def frames_for_changes(self) -> list[Frame]:
        """Return what leads from the sent set to the wanted one; maybe nothing."""
        gone = [asset_id for asset_id in self._sent if asset_id not in self._wanted]
        new = [asset_id for asset_id in self._wanted if asset_id not in self._sent]
        frames = [_operation("unsubscribe", ids) for ids in _chunks(gone)]
        if not self._wanted and not self._is_open and self.wants_custom_features:
            # Without assets it is a subscription to the news of the whole venue.
            frames.append(self._initial(()))
            self._is_open = True
        for ids in _chunks(new):
            frames.append(self._subscribe(ids) if self._is_open else self._initial(ids))
            self._is_open = True
        self._sent = dict(self._wanted)
        return frames

    def get_market_subscribe_msg(self) -> Frame:
        """Return the initial frame alone, with at most 100 of the wanted assets."""
        return self._initial(self.subscribed_tokens[:MAX_IDS_PER_FRAME])

    def _initial(self, asset_ids: Sequence[str]) -> Frame:
        return {
            "assets_ids": list(asset_ids),
            "type": "market",
            # The documented default, but assets without a first book were reported
            # where it was left out.
            "initial_dump": True,
            "custom_feature_enabled": self.wants_custom_features,
        }

    def _subscribe(self, asset_ids: Sequence[str]) -> Frame:
        frame = _operation("subscribe", asset_ids)
        if self.wants_custom_features:
            frame["custom_feature_enabled"] = True
        return frame

    def add_user_subscription(self, condition_ids: str | Iterable[str]) -> None:
        """Want the orders and trades of these markets on a user connection."""
        self._markets |= dict.fromkeys(_as_list(condition_ids))

    def get_user_subscribe_msg(self, auth: Mapping[str, str]) -> Frame:
        """Return the first frame of a user connection.

        `auth` holds `apiKey`, `secret` and `passphrase`. Without markets the key is
        left out, which means all of them.
        """
        frame: Frame = {"auth": dict(auth), "type": "user"}
        if self._markets:
            frame["markets"] = self.subscribed_markets
        return frame


def _operation(operation: str, asset_ids: Sequence[str]) -> Frame:
    return {"operation": operation, "assets_ids": list(asset_ids)}


def _chunks(asset_ids: Sequence[str]) -> Iterator[Sequence[str]]:
    for start in range(0, len(asset_ids), MAX_IDS_PER_FRAME):
        yield asset_ids[start : start + MAX_IDS_PER_FRAME]


def _as_list(ids: str | Iterable[str]) -> list[str]:
    """Take one id or many; a bare string is one id, not its characters."""
    return [ids] if isinstance(ids, str) else list(ids)
