"""The frames lead the server to the wanted set, by the shortest way it accepts."""

from __future__ import annotations

import random
from collections.abc import Iterable
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from subscription_manager import (
    MAX_ASSETS_PER_CONNECTION,
    MAX_IDS_PER_FRAME,
    SubscriptionLimitError,
    SubscriptionManager,
)


def ids(count: int, prefix: str = "a") -> list[str]:
    return [f"{prefix}{n}" for n in range(count)]


def initial(asset_ids: list[str], *, wants_custom: bool = False) -> dict[str, Any]:
    return {
        "assets_ids": asset_ids,
        "type": "market",
        "initial_dump": True,
        "custom_feature_enabled": wants_custom,
    }


def operation(name: str, asset_ids: list[str], **more: Any) -> dict[str, Any]:
    return {"operation": name, "assets_ids": asset_ids, **more}


@pytest.fixture
def manager() -> SubscriptionManager:
    return SubscriptionManager()


def test_the_limits_are_those_that_work_in_practice() -> None:
    assert MAX_ASSETS_PER_CONNECTION == 200
    assert MAX_IDS_PER_FRAME == 100
    assert SubscriptionManager().max_assets == 200


def test_the_first_frame_is_the_initial_one(manager: SubscriptionManager) -> None:
    manager.add_market_subscription(["b", "a"])
    assert manager.frames_for_new_connection() == [initial(["b", "a"])]


def test_later_frames_are_only_the_differences(manager: SubscriptionManager) -> None:
    manager.add_market_subscription(["a", "b"])
    manager.frames_for_new_connection()
    assert manager.frames_for_changes() == []
    manager.add_market_subscription(["b", "c", "d"])
    manager.remove_market_subscription("a")
    assert manager.frames_for_changes() == [
        operation("unsubscribe", ["a"]),
        operation("subscribe", ["c", "d"]),
    ]
    assert manager.frames_for_changes() == []


def test_without_assets_no_frame_is_needed(manager: SubscriptionManager) -> None:
    assert manager.frames_for_new_connection() == []
    assert manager.frames_for_changes() == []
    manager.add_market_subscription("late")
    assert manager.frames_for_changes() == [initial(["late"])]


def test_a_socket_emptied_and_filled_again_gets_no_second_initial_frame(
    manager: SubscriptionManager,
) -> None:
    manager.add_market_subscription("a")
    manager.frames_for_new_connection()
    manager.remove_market_subscription("a")
    assert manager.frames_for_changes() == [operation("unsubscribe", ["a"])]
    manager.add_market_subscription("a")
    assert manager.frames_for_changes() == [operation("subscribe", ["a"])]


def test_an_asset_taken_back_before_it_was_sent_costs_nothing(
    manager: SubscriptionManager,
) -> None:
    manager.add_market_subscription("a")
    manager.frames_for_new_connection()
    manager.add_market_subscription("b")
    manager.remove_market_subscription("b")
    manager.remove_market_subscription("never wanted")
    assert manager.frames_for_changes() == []


@pytest.mark.parametrize(
    ("count", "sizes"),
    [(1, [1]), (99, [99]), (100, [100]), (101, [100, 1]), (200, [100, 100])],
)
def test_no_frame_names_more_than_a_hundred_ids(
    manager: SubscriptionManager, count: int, sizes: list[int]
) -> None:
    manager.add_market_subscription(ids(count))
    frames = manager.frames_for_new_connection()
    assert [len(frame["assets_ids"]) for frame in frames] == sizes
    assert frames[0]["type"] == "market"
    assert all(frame["operation"] == "subscribe" for frame in frames[1:])
    assert [each for frame in frames for each in frame["assets_ids"]] == ids(count)
    manager.remove_market_subscription(ids(count))
    frames = manager.frames_for_changes()
    assert [len(frame["assets_ids"]) for frame in frames] == sizes
    assert all(frame["operation"] == "unsubscribe" for frame in frames)


def test_a_new_connection_needs_everything_again(manager: SubscriptionManager) -> None:
    manager.add_market_subscription(ids(3))
    first = manager.frames_for_new_connection()
    manager.add_market_subscription("z")
    assert manager.frames_for_new_connection() == [initial([*ids(3), "z"])]
    assert first == [initial(ids(3))]
    manager.remove_market_subscription("a1")
    assert manager.frames_for_new_connection() == [initial(["a0", "a2", "z"])]


def test_the_order_of_wanting_is_kept(manager: SubscriptionManager) -> None:
    shuffled = ids(150)
    random.Random(1).shuffle(shuffled)
    manager.add_market_subscription(shuffled)
    manager.add_market_subscription(shuffled[::-1])
    assert manager.subscribed_tokens == shuffled


def test_one_id_is_not_its_characters(manager: SubscriptionManager) -> None:
    manager.add_market_subscription("123")
    assert manager.subscribed_tokens == ["123"]
    manager.remove_market_subscription("123")
    assert manager.subscribed_tokens == []


def test_any_iterable_of_ids_will_do(manager: SubscriptionManager) -> None:
    manager.add_market_subscription(each for each in ids(2))
    manager.remove_market_subscription(each for each in ids(1))
    assert manager.subscribed_tokens == ["a1"]


def test_too_many_assets_are_refused_as_a_whole() -> None:
    manager = SubscriptionManager(max_assets=3)
    manager.add_market_subscription(["a", "b"])
    assert manager.room == 1
    with pytest.raises(SubscriptionLimitError, match=r"2 \+ 2 assets.* carries 3"):
        manager.add_market_subscription(["b", "c", "d"])
    assert manager.subscribed_tokens == ["a", "b"]
    manager.add_market_subscription(["a", "b", "c"])
    assert (manager.subscribed_tokens, manager.room) == (["a", "b", "c"], 0)
    with pytest.raises(SubscriptionLimitError):
        manager.add_market_subscription("d")
    manager.remove_market_subscription("a")
    manager.add_market_subscription("d")
    assert manager.subscribed_tokens == ["b", "c", "d"]


def test_an_id_named_twice_takes_one_place() -> None:
    manager = SubscriptionManager(max_assets=1)
    manager.add_market_subscription(["a", "a"])
    assert manager.frames_for_new_connection() == [initial(["a"])]


def test_forgotten_assets_are_asked_for_anew(manager: SubscriptionManager) -> None:
    manager.add_market_subscription(["a", "b", "c"])
    manager.frames_for_new_connection()
    assert manager.forget_sent(["c", "a", "unknown"]) == [
        operation("unsubscribe", ["c", "a"])
    ]
    assert manager.subscribed_tokens == ["a", "b", "c"]
    assert manager.frames_for_changes() == [operation("subscribe", ["a", "c"])]
    assert manager.frames_for_changes() == []


def test_only_what_was_sent_can_be_forgotten(manager: SubscriptionManager) -> None:
    manager.add_market_subscription("a")
    assert manager.forget_sent(["a"]) == []
    manager.frames_for_new_connection()
    assert manager.forget_sent(["a", "a"]) == [operation("unsubscribe", ["a"])]
    assert manager.forget_sent(["a"]) == []


def test_many_forgotten_assets_are_named_a_hundred_at_a_time(
    manager: SubscriptionManager,
) -> None:
    manager.add_market_subscription(ids(150))
    manager.frames_for_new_connection()
    sizes = [len(frame["assets_ids"]) for frame in manager.forget_sent(ids(150))]
    assert sizes == [100, 50]


def test_custom_features_are_asked_for_in_every_subscription() -> None:
    manager = SubscriptionManager(wants_custom_features=True)
    manager.add_market_subscription("a")
    assert manager.frames_for_new_connection() == [initial(["a"], wants_custom=True)]
    manager.add_market_subscription("b")
    manager.remove_market_subscription("a")
    assert manager.frames_for_changes() == [
        operation("unsubscribe", ["a"]),
        operation("subscribe", ["b"], custom_feature_enabled=True),
    ]


def test_the_message_of_the_first_design_is_the_initial_frame(
    manager: SubscriptionManager,
) -> None:
    assert manager.get_market_subscribe_msg() == initial([])
    manager.add_market_subscription(ids(150))
    assert manager.get_market_subscribe_msg() == initial(ids(100))


def test_the_user_channel_leaves_markets_out_for_all_of_them(
    manager: SubscriptionManager,
) -> None:
    auth = {"apiKey": "k", "secret": "s", "passphrase": "p"}
    assert manager.get_user_subscribe_msg(auth) == {"auth": auth, "type": "user"}
    manager.add_user_subscription("0x1")
    manager.add_user_subscription(["0x2", "0x1"])
    assert manager.subscribed_markets == ["0x1", "0x2"]
    message = manager.get_user_subscribe_msg(auth)
    assert message == {"auth": auth, "type": "user", "markets": ["0x1", "0x2"]}
    assert message["auth"] is not auth


class Server:
    """The venue's side of one socket; anything it would refuse is an error."""

    def __init__(self) -> None:
        self.is_open = False
        self.assets: set[str] = set()

    def take(self, frames: Iterable[dict[str, Any]]) -> None:
        for frame in frames:
            named = frame["assets_ids"]
            assert 0 < len(named) <= 100
            assert len(set(named)) == len(named), "named twice"
            if "type" in frame:
                assert not self.is_open, "a second initial frame"
                assert "operation" not in frame
                self.is_open = True
                self.assets |= set(named)
                continue
            assert self.is_open, "an operation before the initial frame"
            if frame["operation"] == "subscribe":
                assert not self.assets & set(named), "subscribed twice"
                self.assets |= set(named)
            else:
                assert frame["operation"] == "unsubscribe"
                assert self.assets >= set(named), "unsubscribed what is not there"
                self.assets -= set(named)


ASSETS = st.integers(0, 30).map(str)
MANY = st.lists(ASSETS, max_size=25)
STEPS = st.lists(
    st.tuples(st.sampled_from(["add", "remove", "forget", "send", "reconnect"]), MANY),
    max_size=40,
)


@settings(derandomize=True, deadline=None, database=None, max_examples=200)
@given(STEPS)
def test_the_server_always_ends_with_exactly_the_wanted_set(
    steps: list[tuple[str, list[str]]],
) -> None:
    manager, server, wanted = SubscriptionManager(max_assets=20), Server(), set[str]()
    for step, assets in [*steps, ("send", [])]:
        match step:
            case "add":
                if len(wanted | set(assets)) > 20:
                    with pytest.raises(SubscriptionLimitError):
                        manager.add_market_subscription(assets)
                else:
                    manager.add_market_subscription(assets)
                    wanted |= set(assets)
            case "remove":
                manager.remove_market_subscription(assets)
                wanted -= set(assets)
            case "forget":
                frames = manager.forget_sent(assets)
                server.take(frames)
                assert not server.assets & set(assets)
            case "send":
                server.take(manager.frames_for_changes())
                assert server.assets == wanted
            case "reconnect":
                server = Server()
                server.take(manager.frames_for_new_connection())
                assert server.assets == wanted
        assert set(manager.subscribed_tokens) == wanted
        assert manager.room == 20 - len(wanted)


def test_thousands_of_changes_end_with_the_wanted_set() -> None:
    rng = random.Random(2_500)
    manager, server = SubscriptionManager(), Server()
    pool = ids(400)
    for _ in range(300):
        chosen = rng.sample(pool, rng.randint(1, 150))
        if rng.random() < 0.5:
            manager.add_market_subscription(chosen[: manager.room])
        else:
            manager.remove_market_subscription(chosen)
        if rng.random() < 0.1:
            server = Server()
            server.take(manager.frames_for_new_connection())
        else:
            server.take(manager.frames_for_changes())
        assert server.assets == set(manager.subscribed_tokens)
