"""Each asset is judged by what its book and the witness say, not by a timer alone."""

from __future__ import annotations

from itertools import pairwise

import pytest

from asset_watch import (
    ASK_AFTER_SILENCE_S,
    ASK_AGAIN_S,
    CONFIRM_S,
    FIRST_BOOK_TIMEOUT_S,
    GONE_AFTER_S,
    HASH_CHECKS_PER_INSPECTION,
    RECOVERY_BASE_S,
    RECOVERY_CAP_S,
    RESYNC_AFTER_S,
    RIGHT_HASH_COUNTS_FOR_S,
    AssetWatch,
    Findings,
)

# pytest would take a class named Test... for tests.
from asset_watch import Testimony as Answer
from order_book import HashFields, OrderBook, compute_hash


NOTHING = Findings()
FIELDS = HashFields("5", "0.01", neg_risk=False)
BIDS = {"0.4": "10"}
START_S = 1_000.0


class Scene:
    """A watch, its books, and a clock that moves when told."""

    def __init__(self, *asset_ids: str, start_s: float = START_S) -> None:
        self.now_s = start_s
        self.stream_ms, self.silence_s = 10**12, 0.0
        self.watch = AssetWatch()
        self.books = {each: OrderBook(each) for each in asset_ids}
        self.watch.follow(self.books.values())
        self.watch.expect_books(asset_ids, self.now_s)

    def after(self, seconds: float) -> Findings:
        self.now_s += seconds
        self.watch.note_stream(self.books, self.stream_ms, self.silence_s)
        return self.watch.inspect(self.now_s)

    def snapshot(self, asset_id: str = "a", at_ms: int = 5_000) -> None:
        book = self.books[asset_id]
        book.replace(BIDS, {}, timestamp_ms=at_ms, book_hash="stream")
        book.hash = self.digest(asset_id)

    def change(
        self, asset_id: str = "a", at_ms: int = 5_000, *, is_right: bool = True
    ) -> None:
        book = self.books[asset_id]
        book.confirm(None, None, timestamp_ms=at_ms, book_hash="wrong")
        if is_right:
            book.hash = self.digest(asset_id)

    def digest(self, asset_id: str) -> str:
        return compute_hash(self.books[asset_id], FIELDS, "")

    def testify(
        self, asset_id: str = "a", at_ms: int = 5_000, book_hash: str | None = None
    ) -> list[str]:
        seen = Answer(at_ms, book_hash or self.digest(asset_id), FIELDS)
        return self.watch.testify([asset_id], {asset_id: seen}, self.now_s)

    def quiet(self) -> None:
        """Have a book, and a witness that agrees."""
        for asset_id in self.books:
            self.snapshot(asset_id)
            self.testify(asset_id)


@pytest.fixture
def scene() -> Scene:
    return Scene("a")


def test_the_times_are_the_published_ones() -> None:
    assert (FIRST_BOOK_TIMEOUT_S, ASK_AFTER_SILENCE_S, ASK_AGAIN_S) == (10, 9, 30)
    assert (CONFIRM_S, RESYNC_AFTER_S) == (2, 1)
    assert (RECOVERY_BASE_S, RECOVERY_CAP_S) == (10, 300)
    assert (HASH_CHECKS_PER_INSPECTION, RIGHT_HASH_COUNTS_FOR_S) == (50, 60)


def test_a_late_first_book_is_asked_about_and_then_asked_for_again(
    scene: Scene,
) -> None:
    assert scene.after(0) == NOTHING
    assert scene.after(4.9) == NOTHING
    assert scene.after(0.1) == Findings(ask=["a"])
    assert scene.after(4.9).resubscribe == []
    assert scene.after(0.1).resubscribe == ["a"]


def test_a_first_book_on_a_clock_that_starts_at_zero_is_missed_too() -> None:
    scene = Scene("a", start_s=0.0)
    assert scene.after(10).resubscribe == ["a"]


def test_a_first_book_that_stays_away_moves_the_asset() -> None:
    scene = Scene("a")
    assert scene.after(10).resubscribe == ["a"]
    scene.watch.expect_books(["a"], scene.now_s)
    found = scene.after(9.9)
    assert (found.resubscribe, found.move) == ([], [])
    assert scene.after(0.1).move == ["a"]
    scene.watch.expect_books(["a"], scene.now_s)
    found = scene.after(19.9)
    assert (found.resubscribe, found.move) == ([], [])
    assert scene.after(0.1).move == ["a"]


def test_the_pause_between_recoveries_grows_up_to_the_cap(scene: Scene) -> None:
    times = []
    for _ in range(40 * 60):
        found = scene.after(1)
        if found.move or found.resubscribe:
            times.append(scene.now_s)
    pauses = [late - early for early, late in pairwise(times)]
    assert pauses[:6] == [10, 20, 40, 80, 160, 300]
    assert set(pauses[6:]) == {300}


def test_a_book_in_time_leaves_nothing_to_do(scene: Scene) -> None:
    scene.after(3)
    scene.quiet()
    assert scene.after(1) == NOTHING
    assert scene.after(7) == NOTHING


def test_an_asset_that_rest_does_not_know_is_retried_slowly(scene: Scene) -> None:
    scene.after(5)
    assert scene.watch.testify(["a"], {}, scene.now_s) == []
    assert scene.watch.is_unknown("a")
    times = []
    for _ in range(1_000):
        found = scene.after(1)
        assert found.move == []
        if found.resubscribe:
            times.append(scene.now_s - START_S)
    assert times == [10, 310, 610, 910]


def test_an_unknown_asset_that_appears_is_known(scene: Scene) -> None:
    scene.watch.testify(["a"], {}, scene.now_s)
    scene.testify()
    assert not scene.watch.is_unknown("a")


def test_the_hash_fields_are_asked_for_once_there_is_a_book(scene: Scene) -> None:
    scene.snapshot()
    assert scene.after(0) == Findings(ask=["a"])
    scene.testify()
    assert scene.books["a"].hash_fields == FIELDS
    assert scene.after(1) == NOTHING


def test_a_witness_that_does_not_answer_is_asked_again_later(scene: Scene) -> None:
    scene.snapshot()
    assert scene.after(0).ask == ["a"]
    scene.watch.testify(["a"], {}, scene.now_s)
    asked = []
    for second in range(1, 80):
        if scene.after(1).ask:
            asked.append(second)
            scene.watch.testify(["a"], {}, scene.now_s)
    # Nothing has moved since the first question, so silence brings none of its own.
    assert asked == [30, 60]


def test_a_silent_asset_is_asked_about_once_then_seldom(scene: Scene) -> None:
    scene.quiet()
    scene.after(1)
    asked = []
    for second in range(1, 100):
        if scene.after(1).ask:
            asked.append(second)
            assert scene.testify() == ["a"]
    assert asked == [9, 39, 69, 99]


def test_an_asset_that_moves_is_left_alone(scene: Scene) -> None:
    scene.quiet()
    for second in range(100):
        scene.change(at_ms=6_000 + second)
        assert scene.after(1) == NOTHING


def test_a_quiet_asset_is_never_called_frozen(scene: Scene) -> None:
    scene.quiet()
    for _ in range(2_000):
        found = scene.after(1)
        assert (found.frozen, found.move, found.resubscribe) == ([], [], [])
        if found.ask:
            assert scene.testify() == ["a"]
        assert not scene.watch.is_frozen("a")


def test_an_asset_of_which_the_witness_saw_more_is_frozen(scene: Scene) -> None:
    scene.quiet()
    scene.after(1)
    scene.now_s += 10
    assert scene.testify(at_ms=5_001, book_hash="newer") == []
    assert scene.watch.is_frozen("a")
    assert scene.after(1.9).frozen == []
    assert scene.after(0.1).frozen == ["a"]
    assert scene.after(1).frozen == []


def test_later_testimony_does_not_put_the_verdict_off(scene: Scene) -> None:
    scene.quiet()
    scene.after(1)
    scene.testify(at_ms=5_001, book_hash="newer")
    scene.now_s += 1.5
    scene.testify(at_ms=5_002, book_hash="newest")
    assert scene.after(0.5).frozen == ["a"]


def test_what_was_still_on_its_way_clears_the_suspicion(scene: Scene) -> None:
    scene.quiet()
    scene.after(1)
    scene.testify(at_ms=6_000, book_hash="newer")
    scene.change(at_ms=6_000)
    assert scene.after(1) == NOTHING
    assert not scene.watch.is_frozen("a")
    assert scene.after(5) == NOTHING


def test_old_events_do_not_clear_it(scene: Scene) -> None:
    scene.quiet()
    scene.after(1)
    scene.testify(at_ms=6_000, book_hash="newer")
    scene.change(at_ms=5_999)
    scene.after(1)
    assert scene.watch.is_frozen("a")
    assert scene.after(1).frozen == ["a"]


def test_a_frozen_asset_rests_before_it_is_named_again(scene: Scene) -> None:
    scene.quiet()
    scene.after(1)
    scene.testify(at_ms=6_000, book_hash="newer")
    times = [second for second in range(1, 75) if scene.after(1).frozen]
    assert times == [2, 12, 32, 72]


def test_a_testimony_proves_a_book_only_by_its_hash(scene: Scene) -> None:
    scene.snapshot()
    assert scene.testify(book_hash="another") == []
    assert scene.testify(at_ms=4_999) == ["a"]
    assert not scene.watch.is_frozen("a")


def test_two_missing_hashes_prove_nothing(scene: Scene) -> None:
    scene.snapshot()
    scene.books["a"].hash = None
    seen = {"a": Answer(5_000, None, FIELDS)}
    assert scene.watch.testify(["a"], seen, scene.now_s) == []


def test_a_testimony_before_the_first_book_proves_nothing(scene: Scene) -> None:
    assert scene.testify() == []
    assert not scene.watch.is_frozen("a")


def test_a_doubtful_book_gets_a_moment_to_heal(scene: Scene) -> None:
    scene.quiet()
    scene.after(1)
    scene.books["a"].distrust("a doubt")
    assert scene.after(0.1).resubscribe == []
    assert scene.after(0.9).resubscribe == []
    assert scene.after(0.1) == Findings(resubscribe=["a"])


def test_a_book_that_healed_itself_is_left_alone(scene: Scene) -> None:
    scene.quiet()
    scene.after(1)
    scene.books["a"].distrust("a doubt")
    scene.after(0.1)
    scene.snapshot(at_ms=5_100)
    assert scene.after(0.5) == NOTHING
    scene.books["a"].distrust("a new doubt")
    assert scene.after(0.9) == NOTHING
    assert scene.after(1).resubscribe == ["a"]


def test_a_doubt_that_stays_moves_the_asset(scene: Scene) -> None:
    scene.quiet()
    scene.after(1)
    scene.books["a"].distrust("a doubt")
    times: dict[int, str] = {}
    for second in range(35):
        found = scene.after(1)
        if found.resubscribe:
            times[second] = "resubscribe"
        if found.move:
            times[second] = "move"
    assert times == {1: "resubscribe", 11: "move", 31: "move"}


def doubt_and_heal(scene: Scene, at_ms: int) -> Findings:
    """Return what the watch wants; a new book then comes while it still rests."""
    scene.books["a"].distrust("a doubt")
    scene.after(0)
    found = scene.after(1)
    scene.after(3)
    scene.snapshot(at_ms=at_ms)
    scene.after(0)
    return found


def test_a_recovery_that_brought_a_new_book_is_forgotten(scene: Scene) -> None:
    scene.quiet()
    scene.after(1)
    for number in range(3):
        assert doubt_and_heal(scene, 6_000 + number) == Findings(resubscribe=["a"])
        scene.after(7)


def test_a_freeze_is_not_forgotten_because_a_book_came_after_the_move(
    scene: Scene,
) -> None:
    """Only what the stream brings after the pause shows that it flows again."""
    scene.quiet()
    scene.after(1)
    pauses, named_at_s = [], scene.now_s
    for number in range(1, 5):
        scene.testify(at_ms=6_000 + 10 * number, book_hash="newer")
        while not scene.after(1).frozen:
            pass
        pauses.append(scene.now_s - named_at_s)
        named_at_s = scene.now_s
        scene.snapshot(at_ms=6_000 + 10 * number)
        scene.after(0)
    assert pauses == [2, 10, 20, 40]


def test_a_stream_that_flows_again_is_forgiven(scene: Scene) -> None:
    scene.quiet()
    for number in range(1, 4):
        scene.after(11)
        scene.change(at_ms=6_000 + 10 * number)
        scene.after(0)
        scene.testify(at_ms=6_001 + 10 * number, book_hash="newer")
        assert scene.after(2).frozen == ["a"]
        scene.snapshot(at_ms=6_001 + 10 * number)


def test_a_suspended_asset_is_not_judged(scene: Scene) -> None:
    scene.quiet()
    scene.after(1)
    scene.testify(at_ms=6_000, book_hash="newer")
    scene.watch.suspend(["a", "unknown"])
    assert not scene.watch.is_frozen("a")
    assert scene.after(1_000) == NOTHING
    scene.watch.expect_books(["a"], scene.now_s)
    scene.books["a"].invalidate()
    assert scene.after(4) == NOTHING
    assert scene.after(6).resubscribe == ["a"]


def test_a_new_subscription_forgets_old_suspicions(scene: Scene) -> None:
    scene.quiet()
    scene.after(1)
    scene.testify(at_ms=6_000, book_hash="newer")
    scene.books["a"].distrust("a doubt")
    scene.after(0.5)
    scene.watch.expect_books(["a", "unknown"], scene.now_s)
    assert not scene.watch.is_frozen("a")
    assert scene.after(0.9).resubscribe == []


def test_nobody_watches_what_is_not_followed(scene: Scene) -> None:
    scene.watch.unfollow(["a", "unknown"])
    assert scene.after(100) == NOTHING
    assert scene.testify() == []


def test_following_twice_keeps_the_record(scene: Scene) -> None:
    scene.after(9)
    scene.watch.follow(scene.books.values())
    assert scene.after(1).resubscribe == ["a"]


def test_the_assets_that_moved_last_come_first() -> None:
    scene = Scene("a", "b", "c")
    scene.quiet()
    for asset_id in ("b", "c", "a"):
        scene.change(asset_id)
        scene.after(1)
    asked = scene.watch.in_order_of_need(["a", "b", "c"], scene.now_s)
    assert asked == ["a", "c", "b"]


def test_those_left_waiting_come_before_the_most_active() -> None:
    scene = Scene("a", "b", "c")
    scene.quiet()
    scene.after(0)
    scene.after(46)
    scene.change("a")
    scene.after(1)
    scene.testify("b")
    asked = scene.watch.in_order_of_need(["a", "b", "c"], scene.now_s)
    assert asked == ["c", "a", "b"]


def test_a_stream_that_is_merely_late_is_not_frozen(scene: Scene) -> None:
    scene.quiet()
    scene.after(1)
    scene.stream_ms = 5_500
    scene.testify(at_ms=6_000, book_hash="newer")
    assert scene.after(8).frozen == []
    scene.stream_ms = 6_000
    assert scene.after(1).frozen == ["a"]


def test_a_silent_connection_cannot_be_merely_late(scene: Scene) -> None:
    scene.quiet()
    scene.after(1)
    scene.stream_ms, scene.silence_s = 5_500, ASK_AFTER_SILENCE_S
    scene.testify(at_ms=6_000, book_hash="newer")
    assert scene.after(CONFIRM_S).frozen == ["a"]


def test_an_asset_without_a_book_anywhere_is_gone_after_ten_minutes(
    scene: Scene,
) -> None:
    scene.quiet()
    scene.after(1)
    assert not scene.watch.is_gone("a", scene.now_s)
    scene.books["a"].invalidate()
    scene.watch.testify(["a"], {}, scene.now_s)
    assert not scene.watch.is_gone("a", scene.now_s)
    assert not scene.watch.is_gone("a", scene.now_s + GONE_AFTER_S - 1)
    assert scene.watch.is_gone("a", scene.now_s + GONE_AFTER_S)


def test_an_asset_that_was_never_alive_is_not_called_gone(scene: Scene) -> None:
    scene.watch.testify(["a"], {}, scene.now_s)
    for later_s in (0, 10_000):
        assert not scene.watch.is_gone("a", scene.now_s + later_s)


def test_each_asset_is_judged_on_its_own() -> None:
    scene = Scene("a", "b", "c")
    scene.snapshot("a")
    scene.testify("a")
    assert scene.after(0) == NOTHING
    found = scene.after(10)
    assert found.resubscribe == ["b", "c"]
    assert found.ask == ["b", "c"]


def test_two_wrong_hashes_in_a_row_are_a_finding() -> None:
    scene = Scene("a", "b")
    scene.quiet()
    assert scene.after(1) == NOTHING
    scene.change(at_ms=5_001, is_right=False)
    assert scene.after(1).wrong_hash == []
    assert scene.after(1).wrong_hash == [], "the same hash counts once"
    scene.change(at_ms=5_002, is_right=False)
    assert scene.after(1) == Findings(wrong_hash=["a"])


def test_a_right_hash_between_excuses_a_wrong_one() -> None:
    scene = Scene("a")
    scene.quiet()
    for number in range(10):
        scene.change(at_ms=5_001 + number, is_right=bool(number % 2))
        assert scene.after(1) == NOTHING


def test_wrong_hashes_mean_nothing_when_none_is_right() -> None:
    scene = Scene("a")
    scene.quiet()
    scene.after(1)
    scene.now_s += RIGHT_HASH_COUNTS_FOR_S
    for number in range(5):
        scene.change(at_ms=5_001 + number, is_right=False)
        assert scene.after(1).wrong_hash == []


def test_one_right_hash_elsewhere_shows_that_the_recipe_still_holds() -> None:
    scene = Scene("a", "b")
    scene.quiet()
    scene.after(1)
    scene.now_s += 10 * RIGHT_HASH_COUNTS_FOR_S
    scene.change("b", at_ms=5_001)
    scene.change("a", at_ms=5_001, is_right=False)
    scene.after(1)
    scene.change("a", at_ms=5_002, is_right=False)
    assert scene.after(1).wrong_hash == ["a"]


def test_a_book_already_doubted_needs_no_second_finding() -> None:
    scene = Scene("a")
    scene.quiet()
    scene.after(1)
    scene.books["a"].distrust("known")
    for number in range(3):
        scene.change(at_ms=5_001 + number, is_right=False)
        assert scene.after(0.1).wrong_hash == []


def test_hashes_of_many_assets_are_all_checked_in_turn() -> None:
    """All move between inspections, and more than one inspection can check."""
    names = [f"a{number}" for number in range(HASH_CHECKS_PER_INSPECTION + 10)]
    scene = Scene(*names)
    scene.quiet()
    found = set()
    for round_ in range(8):
        for name in names:
            scene.change(name, at_ms=5_001 + round_, is_right=name != names[-1])
        found |= set(scene.after(1).wrong_hash)
    assert found == {names[-1]}


def test_only_some_hashes_are_checked_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    names = [f"a{number}" for number in range(HASH_CHECKS_PER_INSPECTION + 10)]
    scene = Scene(*names)
    scene.quiet()
    checks: list[OrderBook] = []
    verify = OrderBook.verify_hash

    def count(book: OrderBook) -> bool | None:
        checks.append(book)
        return verify(book)

    monkeypatch.setattr(OrderBook, "verify_hash", count)
    scene.after(1)
    assert len(checks) == HASH_CHECKS_PER_INSPECTION
    scene.after(1)
    assert len(set(checks)) == len(checks) == len(names)
