"""The figures of a connection follow from its life, whatever the wall clock does."""

from __future__ import annotations

import json
import time

import pytest

from connection_metrics import ConnectionMetrics


class Clock:
    """Seconds that pass when told."""

    def __init__(self) -> None:
        self.now_s = 5_000.0

    def __call__(self) -> float:
        return self.now_s

    def pass_s(self, seconds: float) -> None:
        self.now_s += seconds


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def metrics(clock: Clock) -> ConnectionMetrics:
    return ConnectionMetrics(clock)


def test_at_the_start_all_is_zero(metrics: ConnectionMetrics) -> None:
    assert metrics.to_dict() == {
        "is_connected": False,
        "connect_count": 0,
        "disconnect_count": 0,
        "message_count": 0,
        "uptime_s": 0.0,
        "uptime_ratio": 0.0,
        "silence_s": None,
        "last_disconnect_reason": None,
    }


def test_the_uptime_grows_while_connected(
    metrics: ConnectionMetrics, clock: Clock
) -> None:
    clock.pass_s(10)
    assert metrics.uptime_s == 0
    metrics.on_connect()
    assert metrics.is_connected
    clock.pass_s(30)
    assert metrics.uptime_s == 30
    assert metrics.get_uptime_ratio() == 0.75


def test_several_connections_add_up(metrics: ConnectionMetrics, clock: Clock) -> None:
    for up_s, down_s in ((10, 5), (20, 15), (30, 20)):
        metrics.on_connect()
        clock.pass_s(up_s)
        metrics.on_disconnect(f"after {up_s}")
        assert not metrics.is_connected
        clock.pass_s(down_s)
    assert metrics.uptime_s == 60
    assert metrics.get_uptime_ratio() == 0.6
    assert (metrics.connect_count, metrics.disconnect_count) == (3, 3)
    assert metrics.last_disconnect_reason == "after 30"


def test_a_disconnect_without_a_connection_adds_no_uptime(
    metrics: ConnectionMetrics, clock: Clock
) -> None:
    clock.pass_s(10)
    metrics.on_disconnect("refused")
    metrics.on_disconnect()
    assert (metrics.uptime_s, metrics.disconnect_count) == (0, 2)
    assert metrics.last_disconnect_reason == ""


def test_the_ratio_of_no_time_is_zero(metrics: ConnectionMetrics) -> None:
    metrics.on_connect()
    assert metrics.get_uptime_ratio() == 0.0


def test_the_ratio_is_one_at_most(metrics: ConnectionMetrics, clock: Clock) -> None:
    metrics.on_connect()
    clock.pass_s(0.3)
    assert metrics.get_uptime_ratio() == 1.0


def test_silence_is_counted_from_the_last_data(
    metrics: ConnectionMetrics, clock: Clock
) -> None:
    metrics.on_connect()
    clock.pass_s(3)
    assert metrics.silence_s is None
    metrics.on_message()
    clock.pass_s(4)
    assert metrics.silence_s == 4
    metrics.on_disconnect()
    clock.pass_s(1)
    assert metrics.silence_s == 5
    metrics.on_message()
    assert metrics.to_dict()["silence_s"] == 0
    assert metrics.message_count == 2
    assert metrics.last_message_at == clock.now_s


def test_the_figures_are_rounded_and_ready_for_json(
    metrics: ConnectionMetrics, clock: Clock
) -> None:
    metrics.on_connect()
    clock.pass_s(1.23456)
    metrics.on_message()
    clock.pass_s(0.00042)
    metrics.on_disconnect("x")
    clock.pass_s(2)
    assert json.loads(json.dumps(metrics.to_dict())) == {
        "is_connected": False,
        "connect_count": 1,
        "disconnect_count": 1,
        "message_count": 1,
        "uptime_s": 1.235,
        "uptime_ratio": 0.381758,
        "silence_s": 2.0,
        "last_disconnect_reason": "x",
    }


def test_the_default_clock_cannot_jump() -> None:
    assert ConnectionMetrics().clock is time.monotonic


def test_its_text_shows_no_clock(metrics: ConnectionMetrics) -> None:
    assert "clock" not in repr(metrics)
    assert "connect_count=0" in repr(metrics)
