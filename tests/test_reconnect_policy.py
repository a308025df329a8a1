"""The next attempt comes soon enough, never too often, and is called by its name."""

from __future__ import annotations

import random
import ssl

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from websockets.datastructures import Headers
from websockets.exceptions import (
    ConnectionClosedError,
    ConnectionClosedOK,
    InvalidStatus,
)
from websockets.frames import Close
from websockets.http11 import Response

from reconnect_policy import (
    BACKOFF_BASE_S,
    BACKOFF_CAP_S,
    MAX_CONNECTS_PER_MINUTE,
    MAX_REJECTIONS,
    MAX_RETRY_AFTER_S,
    Backoff,
    close_of,
    describe,
    is_rejection,
    retry_window_s,
    status_of,
)


HTML = b"<html><script>alert(1)</script></html>"
MONDAY = "Mon, 23 Nov 2026 10:00:00 GMT"


def answered(status: int, *headers: tuple[str, str]) -> InvalidStatus:
    return InvalidStatus(Response(status, "<b>reason</b>", Headers(headers), HTML))


def closed(code: int, reason: str = "") -> ConnectionClosedError | ConnectionClosedOK:
    kind = ConnectionClosedOK if code in {1000, 1001} else ConnectionClosedError
    return kind(Close(code, reason), None, None)


VANISHED = ConnectionClosedError(None, None, None)
TOO_BIG = ConnectionClosedError(None, Close(1009, "too big"), None)
AT_ONCE, PATIENT, POLITE = (0.0, 1.0), (0.5, 10.0), (5.0, 30.0)


@pytest.mark.parametrize(
    ("error", "window"),
    [
        (VANISHED, AT_ONCE),
        (TOO_BIG, AT_ONCE),
        (OSError("refused"), AT_ONCE),
        (TimeoutError(), AT_ONCE),
        (ssl.SSLError("bad certificate"), AT_ONCE),
        *[(closed(code), PATIENT) for code in (1000, 1001, 1008, 1009, 1011)],
        *[(closed(code), PATIENT) for code in (1002, 1003, 1007, 3000, 4001)],
        *[(closed(code), POLITE) for code in (1012, 1013)],
        *[(answered(status), PATIENT) for status in (408, 425, 418)],
        *[(answered(status), PATIENT) for status in (500, 502, 503, 504)],
        *[(answered(status), PATIENT) for status in (520, 521, 522, 525, 526, 530)],
        (answered(429), POLITE),
        *[(answered(status), POLITE) for status in (300, 301, 302, 307, 308, 399)],
        *[(answered(status), POLITE) for status in (400, 401, 403, 404, 405, 410, 451)],
        (answered(200), AT_ONCE),
    ],
)
def test_a_first_failure_has_its_window(
    error: Exception, window: tuple[float, float]
) -> None:
    assert retry_window_s(error, 0) == window


@pytest.mark.parametrize(
    ("failures", "high_s"),
    [(0, 1), (1, 2), (2, 4), (3, 8), (5, 32), (6, 60), (7, 60), (16, 60), (10**6, 60)],
)
def test_the_longest_wait_doubles_up_to_the_cap(failures: int, high_s: float) -> None:
    assert retry_window_s(VANISHED, failures) == (0.0, high_s)
    assert retry_window_s(closed(1000), failures) == (0.5, max(high_s, 10.0))
    assert retry_window_s(closed(1012), failures) == (5.0, max(high_s, 30.0))


def test_the_constants_are_the_published_ones() -> None:
    assert (BACKOFF_BASE_S, BACKOFF_CAP_S) == (1.0, 60.0)
    assert (MAX_CONNECTS_PER_MINUTE, MAX_REJECTIONS) == (10, 3)
    assert MAX_RETRY_AFTER_S == 300.0


@pytest.mark.parametrize(
    ("value", "low_s"),
    [("0", 0), ("7", 7), ("120", 120), ("300", 300), ("301", 300), ("9" * 5_000, 300)],
)
@pytest.mark.parametrize("status", [429, 503, 403])
def test_retry_after_in_seconds_is_obeyed(
    status: int, value: str, low_s: float
) -> None:
    error = answered(status, ("Retry-After", value))
    assert retry_window_s(error, 0) == (low_s, low_s + 5)
    assert retry_window_s(error, 9) == (low_s, low_s + 5)


@pytest.mark.parametrize(
    ("date", "low_s"),
    [
        ("Mon, 23 Nov 2026 10:00:30 GMT", 30),
        ("Mon, 23 Nov 2026 11:01:00 +0100", 60),
        ("Mon, 23 Nov 2026 09:59:00 GMT", 0),
        ("Tue, 24 Nov 2026 10:00:00 GMT", 300),
    ],
)
def test_a_retry_after_date_counts_from_the_servers_own(
    date: str, low_s: float
) -> None:
    error = answered(503, ("Retry-After", date), ("Date", MONDAY))
    assert retry_window_s(error, 0) == (low_s, low_s + 5)


@pytest.mark.parametrize(
    "headers",
    [
        [("Retry-After", "")],
        [("Retry-After", "soon")],
        [("Retry-After", "-5")],
        [("Retry-After", "1.5")],
        [("Retry-After", "²")],
        [("Retry-After", MONDAY)],
        [("Retry-After", MONDAY), ("Date", "")],
        [("Retry-After", MONDAY), ("Date", "rubbish")],
        [("Retry-After", MONDAY), ("Date", MONDAY), ("Date", MONDAY)],
        [("Retry-After", "5"), ("Retry-After", "6")],
        [("Retry-After", MONDAY.replace("GMT", "-0000")), ("Date", MONDAY)],
        [("Retry-After", MONDAY.replace("GMT", "+" + "9" * 14)), ("Date", MONDAY)],
        [("Retry-After", MONDAY.replace("2026", "9" * 30)), ("Date", MONDAY)],
    ],
)
def test_an_unusable_retry_after_is_as_good_as_none(
    headers: list[tuple[str, str]],
) -> None:
    assert retry_window_s(answered(429, *headers), 0) == POLITE


def test_retry_after_is_read_in_a_failed_handshake_only() -> None:
    assert retry_window_s(closed(1013, "Retry-After: 99"), 0) == POLITE


@pytest.mark.parametrize("status", [300, 302, 399, 400, 401, 403, 404, 405, 410, 451])
def test_these_statuses_refuse_the_request_itself(status: int) -> None:
    assert is_rejection(answered(status))


@pytest.mark.parametrize(
    "error",
    [
        *[answered(status) for status in (200, 299, 402, 408, 425, 429, 500, 503, 530)],
        closed(1008),
        VANISHED,
        OSError(),
    ],
)
def test_everything_else_may_be_different_later(error: Exception) -> None:
    assert not is_rejection(error)


def test_status_and_close_code_are_read_from_the_error() -> None:
    assert status_of(answered(503)) == 503
    assert status_of(closed(1000)) is None
    assert close_of(closed(1012, "restart")) == (1012, "restart")
    assert close_of(VANISHED) == close_of(TOO_BIG) == (None, "")
    assert close_of(answered(403)) == close_of(OSError()) == (None, "")


def test_the_first_attempt_is_made_at_once() -> None:
    assert Backoff(random.Random(1)).next_delay_s(0.0) == 0.0


def spread(error: Exception, failures: int) -> list[float]:
    """Return the waits of many clients after their n-th failure."""
    delays = []
    for seed in range(400):
        backoff = Backoff(random.Random(seed))
        for _ in range(failures):
            backoff.note_failure(error)
        delays.append(backoff.next_delay_s(1_000.0))
    return delays


@pytest.mark.parametrize(
    ("error", "failures", "low_s", "high_s"),
    [
        (VANISHED, 1, 0.0, 1.0),
        (VANISHED, 3, 0.0, 4.0),
        (VANISHED, 50, 0.0, 60.0),
        (closed(1001), 1, 0.5, 10.0),
        (closed(1012), 1, 5.0, 30.0),
        (answered(429, ("Retry-After", "9")), 1, 9.0, 14.0),
    ],
)
def test_the_wait_is_spread_over_the_whole_window(
    error: Exception, failures: int, low_s: float, high_s: float
) -> None:
    delays = spread(error, failures)
    width_s = high_s - low_s
    assert low_s <= min(delays) < low_s + 0.05 * width_s
    assert high_s - 0.05 * width_s < max(delays) <= high_s
    middle = sum(delays) / len(delays)
    assert abs(middle - (low_s + high_s) / 2) < 0.1 * width_s


def test_the_same_seed_waits_the_same() -> None:
    assert spread(VANISHED, 5) == spread(VANISHED, 5)
    assert len(set(spread(VANISHED, 5))) == 400


def test_a_working_connection_shortens_the_next_wait() -> None:
    backoff = Backoff(random.Random(3))
    for _ in range(8):
        backoff.note_failure(VANISHED)
    backoff.reset()
    backoff.note_failure(VANISHED)
    for _ in range(MAX_CONNECTS_PER_MINUTE):
        assert backoff.next_delay_s(0.0) <= 1.0


def test_an_open_socket_alone_shortens_nothing() -> None:
    backoff = Backoff(random.Random(3))
    for _ in range(8):
        backoff.note_failure(VANISHED)
    backoff.has_worked = True
    backoff.note_failure(VANISHED)
    waits = [backoff.next_delay_s(0.0) for _ in range(MAX_CONNECTS_PER_MINUTE)]
    assert max(waits) > 2.0


ERRORS = st.sampled_from(
    [VANISHED, OSError(), closed(1000), answered(503), closed(1012)]
)


@settings(derandomize=True, deadline=None, database=None, max_examples=150)
@given(
    st.integers(0, 10**9),
    st.lists(
        st.tuples(ERRORS, st.booleans(), st.floats(0, 8)), min_size=60, max_size=60
    ),
)
def test_no_minute_has_more_than_ten_connects(
    seed: int, losses: list[tuple[Exception, bool, float]]
) -> None:
    backoff, now_s, connects = Backoff(random.Random(seed)), 0.0, []
    for error, has_worked, life_s in losses:
        now_s += backoff.next_delay_s(now_s)
        connects.append(now_s)
        now_s += life_s
        if has_worked:
            backoff.reset()
        backoff.note_failure(error)
    for earlier, later in zip(connects, connects[10:], strict=False):
        assert later - earlier >= 60 - 1e-6


@pytest.mark.parametrize("seed", range(20))
def test_accept_then_close_is_not_hammered(seed: int) -> None:
    backoff, now_s, connects = Backoff(random.Random(seed)), 0.0, 0
    while now_s < 3_600:
        now_s += backoff.next_delay_s(now_s)
        connects += 1
        backoff.note_failure(VANISHED)
    assert connects <= 150


def test_a_server_that_always_refuses_is_hopeless() -> None:
    backoff = Backoff(random.Random(1))
    for attempt in range(MAX_REJECTIONS):
        assert not backoff.is_hopeless, attempt
        backoff.note_failure(answered(403))
    assert backoff.is_hopeless


@pytest.mark.parametrize("between", [VANISHED, answered(503), closed(1008)])
def test_refusals_must_come_in_a_row(between: Exception) -> None:
    backoff = Backoff(random.Random(1))
    for _ in range(MAX_REJECTIONS - 1):
        backoff.note_failure(answered(403))
    backoff.note_failure(between)
    backoff.note_failure(answered(404))
    assert not backoff.is_hopeless


def test_a_server_that_has_worked_is_never_hopeless() -> None:
    backoff = Backoff(random.Random(1))
    backoff.has_worked = True
    for _ in range(10):
        backoff.note_failure(answered(403))
    assert not backoff.is_hopeless


@pytest.mark.parametrize(
    ("error", "text"),
    [
        (answered(403), "handshake answered with HTTP 403"),
        (closed(1000, "all done"), "closed by the venue with 1000 'all done'"),
        (closed(1013), "closed by the venue with 1013 ''"),
        (VANISHED, "socket ended without a close frame"),
        (TOO_BIG, "a frame was larger than max_size"),
        (OSError("no route"), "no route"),
        (TimeoutError(), "TimeoutError"),
    ],
)
def test_a_loss_is_described_in_one_line(error: Exception, text: str) -> None:
    assert describe(error) == text


@pytest.mark.parametrize(
    "nasty", ["\x1b[2J", "a\nb", "\u202eright", "\u200b", "\x00", "\r\n", "\ud800", "é"]
)
def test_no_text_of_the_server_is_shown_unescaped(nasty: str) -> None:
    for error in (closed(1008, nasty * 20), OSError(nasty * 200)):
        text = describe(error)
        assert text.isascii()
        assert text.isprintable()
        assert len(text) <= 1_300


def test_long_texts_are_cut() -> None:
    assert len(describe(closed(1008, "x" * 5_000))) <= 160
    assert len(describe(OSError("x" * 5_000))) == 300


def test_an_html_page_is_never_echoed() -> None:
    text = describe(answered(403, ("Server", "<i>cloudflare</i>")))
    assert "<" not in text
