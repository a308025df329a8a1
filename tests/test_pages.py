"""The pages of this repository: held to the rules, and every use on them runs."""

from __future__ import annotations

import ast
import json
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from queue import Empty, Queue
from threading import Thread
from typing import IO, Any

import pytest
from pytest_examples import CodeExample, EvalExample, find_examples

import skilldoc


ROOT = Path(__file__).resolve().parents[1]
MOCK = ROOT / "skills/polymarket/scripts/mock_polymarket"
START_WITHIN_S = 20.0

PROJECT = skilldoc.open_project(str(ROOT))


def untitled_python() -> set[tuple[str, int]]:
    """Page and line of every block that shows a use, as our own scanner sees them."""
    return {
        (name, fence.line)
        for name, page in PROJECT.pages.items()
        for fence in page.fences
        if fence.info == "python"
    }


def found_examples() -> dict[tuple[str, int], CodeExample]:
    """The same blocks as pytest-examples sees them; it finds titled ones too."""
    found = find_examples(*(ROOT / name for name in PROJECT.pages))
    return {
        (example.path.relative_to(ROOT).as_posix(), example.start_line): example
        for example in found
        if "title" not in example.prefix_settings()
    }


USES = found_examples()


def first_line(stream: IO[str]) -> str:
    """The first line a process prints, or an error if it takes too long."""
    lines: Queue[str] = Queue()
    Thread(target=lambda: lines.put(stream.readline()), daemon=True).start()
    try:
        return lines.get(timeout=START_WITHIN_S)
    except Empty:
        raise AssertionError(f"no line within {START_WITHIN_S} s") from None


@pytest.fixture(scope="module")
def venue() -> Iterator[dict[str, Any]]:
    """A mock venue of this module's own; the URLs and ids it says it has."""
    command = [sys.executable, str(MOCK), "--json"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        try:
            line = first_line(process.stdout)
            assert line, "the mock ended before it said where it is"
            yield json.loads(line)
        finally:
            process.terminate()


@pytest.fixture
def venue_environment(venue: dict[str, Any], monkeypatch: pytest.MonkeyPatch) -> None:
    """Where the blocks find the venue."""
    monkeypatch.setenv("POLYMARKET_WS_URL", venue["ws_market"])
    monkeypatch.setenv("POLYMARKET_CLOB_URL", venue["clob"])
    monkeypatch.setenv("POLYMARKET_GAMMA_URL", venue["gamma"])
    monkeypatch.setenv("POLYMARKET_ASSET_IDS", ",".join(venue["asset_ids"]))


def test_the_pages_follow_every_rule(capsys: pytest.CaptureFixture[str]) -> None:
    code = skilldoc.main(["--root", str(ROOT), "check"])
    assert code == 0, capsys.readouterr().out


def test_the_installed_skill_alone_follows_every_rule(
    capsys: pytest.CaptureFixture[str],
) -> None:
    code = skilldoc.main(["--root", str(ROOT / "skills/polymarket"), "check"])
    assert code == 0, capsys.readouterr().out


def test_there_are_uses_and_the_runner_sees_them_all() -> None:
    assert untitled_python()
    assert USES.keys() == untitled_python()


@pytest.mark.parametrize(
    "place", sorted(USES), ids=lambda place: ":".join(map(str, place))
)
def test_a_use_awaits_only_inside_asyncio_run(place: tuple[str, int]) -> None:
    compile(ast.parse(USES[place].source), str(place), "exec")


@pytest.mark.usefixtures("venue_environment")
@pytest.mark.parametrize(
    "place", sorted(USES), ids=lambda place: ":".join(map(str, place))
)
def test_a_use_runs_and_prints_what_the_page_shows(
    place: tuple[str, int], eval_example: EvalExample
) -> None:
    eval_example.run_print_check(USES[place])
