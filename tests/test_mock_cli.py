"""The mock as a program."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from mock_polymarket.cli import build_parser, main
from mock_polymarket.faults import FAULTS


PACKAGE = Path(__file__).parents[1] / "skills/polymarket/scripts/mock_polymarket"


def start(*arguments: str) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, str(PACKAGE), *arguments],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def test_help_explains_every_option_and_fault(
    capsys: pytest.CaptureFixture[str],
) -> None:
    with pytest.raises(SystemExit) as ended:
        main(["--help"])
    said = capsys.readouterr().out
    assert ended.value.code == 0
    for name, line in FAULTS.items():
        assert name in said
        assert line in said
    for option in ("--seed", "--markets", "--events-per-s", "--quiet-markets"):
        assert option in said
    for option in ("--fault", "--replay", "--rate", "--host", "--port", "--seconds"):
        assert option in said


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_json_is_the_first_line_and_a_signal_ends_it_cleanly(
    number: signal.Signals,
) -> None:
    with start("--json", "--seed", "3", "--markets", "1") as program:
        assert program.stdout is not None
        line = json.loads(program.stdout.readline())
        program.send_signal(number)
        output, errors = program.communicate(timeout=10)
    assert (program.returncode, output, errors) == (0, "", "")
    urls = ["ws_market", "ws_user", "clob", "gamma", "data", "control"]
    assert list(line) == [*urls, "asset_ids", "condition_ids"]
    assert line["ws_market"].startswith("ws://127.0.0.1:")
    assert (len(line["asset_ids"]), len(line["condition_ids"])) == (2, 1)


def test_the_human_text_has_urls_and_a_next_step(
    capsys: pytest.CaptureFixture[str],
) -> None:
    assert main(["--seconds", "0.05"]) == 0
    said = capsys.readouterr().out
    assert "ws://127.0.0.1:" in said
    assert "curl -s http://127.0.0.1:" in said
    assert '{"start": "freeze_pong"}' in said


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (["--host", "0.0.0.0"], "loopback only"),  # noqa: S104
        (["--fault", "freeze"], "no fault 'freeze'"),
        (["--fault", "freeze_pong:x=1@50"], "no parameter 'x'"),
        (["--replay", "/nonexistent/frames.jsonl"], "No such file"),
    ],
)
def test_wrong_arguments_exit_with_2(
    arguments: list[str], says: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main([*arguments, "--seconds", "0.1"]) == 2
    assert says in capsys.readouterr().err


@pytest.mark.parametrize(
    "arguments", [["--markets", "-1"], ["--rate", "0"], ["--seconds", "never"]]
)
def test_wrong_numbers_exit_with_2(arguments: list[str]) -> None:
    with pytest.raises(SystemExit) as ended:
        build_parser().parse_args(arguments)
    assert ended.value.code == 2
