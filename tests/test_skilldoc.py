"""The page tool: every command, every rule, and that a stitch loses nothing."""

from __future__ import annotations

import ast
import json
import os
import random
import re
import shutil
import subprocess
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import pytest

import skilldoc


HERE = Path(__file__).parent
BROKEN = HERE / "pages" / "broken"
EXAMPLES = HERE.parent / "examples"
PAGES = "skills/polymarket/real-time"

# Taken apart: another test looks for such paths in every file.
MACHINE_PATH = "/ho" + "me/somebody/x"

GOOD_BOOK = '''"""Hold one outcome's levels.

Pure: no input and no output.

Copy with: nothing.
"""

from __future__ import annotations


TICK_COUNT = 100
FRAME_BYTES = 16 * 1024 * 1024
WAIT_S = 10.0


class Book:
    """Levels by price."""

    depth: int = 0

    def best_bid(self) -> int:
        """Return the best bid."""
        return self.depth
'''
GOOD_FEED = '''"""Keep a book up to date.

Copy with: good_book.py.
"""

from __future__ import annotations

import msgspec

import good_book
from good_book import (
    Book,
)


def feed() -> Book:
    """Return a book."""
    return good_book.Book()
'''
GOOD_FRAME = '{"event_type": "book", "bids": []}\n'

MANIFEST = """---
name: polymarket
---
# Polymarket

- [Good](real-time/good.md#the-code): `Book`, `book.best_bid()`, `feed()`.
"""
GOOD_PAGE = """# Good

> Read this when all is well: `Book`, `FRAME_BYTES`, `CancelledError`, `asyncio.timeout()`.

| Constant | Value |
| --- | --- |
| `good_book.TICK_COUNT` | 100 |
| `FRAME_BYTES` | 16 MiB |
| `WAIT_S` | 10 s |

## The code

Text `PING` or `INVALID OPERATION`, `{"event_type": "book"}`; a [link](#the-code).

"""


def fence(info: str, code: str) -> str:
    return f"```{info}\n{code}```\n"


def python_fence(name: str, code: str) -> str:
    return fence(f'python title="examples/{name}.py"', code)


def good_page() -> str:
    head, tail = GOOD_BOOK.split("\n\n\nclass")
    return (
        GOOD_PAGE
        + python_fence("good_book", head + "\n")
        + "\nThe class:\n\n"
        + python_fence("good_book", "class" + tail)
        + "\n### Feed\n\n"
        + python_fence("good_feed", GOOD_FEED)
        + "\n"
        + fence('json title="tests/fixtures/wire/book.json"', GOOD_FRAME)
        + "\nNothing in here counts:\n\n"
        + fence("text", f"`NoSuchClass` [dead](gone.md) {MACHINE_PATH}\n")
    )


@dataclass
class Repo:
    """A small repository in a temporary folder."""

    root: Path

    def path(self, name: str) -> Path:
        return self.root / name

    def read(self, name: str) -> str:
        return self.path(name).read_text("utf-8")

    def write(self, name: str, text: str) -> None:
        self.path(name).parent.mkdir(parents=True, exist_ok=True)
        self.path(name).write_bytes(text.encode())

    def edit(self, name: str, old: str, new: str) -> None:
        text = self.read(name)
        assert old in text
        self.write(name, text.replace(old, new))

    def snapshot(self) -> dict[str, bytes]:
        paths = [path for path in self.root.rglob("*") if path.is_file()]
        visible = [path for path in paths if ".git" not in path.parts]
        return {str(path.relative_to(self.root)): path.read_bytes() for path in visible}

    def project(self) -> skilldoc.Project:
        return skilldoc.open_project(str(self.root))

    def tangle_all(self) -> None:
        """Write each titled file as its pages hold it, without the tool's command."""
        for title, source in self.project().sources.items():
            self.write(title, source.text)

    def git(self, *arguments: str) -> None:
        quiet = {**os.environ, "GIT_CONFIG_GLOBAL": os.devnull}
        names = ["-c", "user.name=t", "-c", "user.email=t@example.org"]
        command = ["git", "-C", str(self.root), *names, *arguments]
        subprocess.run(command, check=True, capture_output=True, env=quiet)

    def commit(self) -> None:
        if not self.path(".git").exists():
            self.git("init", "-q")
        self.git("add", "-A")
        self.git("commit", "-q", "-m", "equal")

    def run(self, *arguments: str) -> int:
        return skilldoc.main(["--root", str(self.root), *arguments])


BOOK = "examples/good_book.py"
PAGE = f"{PAGES}/good.md"


@pytest.fixture
def repo(tmp_path: Path) -> Repo:
    made = Repo(tmp_path / "repo")
    made.write("skills/README.md", "# Home\n\n[The skill](polymarket/SKILL.md)\n")
    made.write("skills/polymarket/SKILL.md", MANIFEST)
    made.write(PAGE, good_page())
    made.tangle_all()
    return made


@pytest.fixture
def installed(repo: Repo, tmp_path: Path) -> Path:
    """The skill folder alone, with the tool in it."""
    skill = tmp_path / "elsewhere" / "polymarket"
    shutil.copytree(repo.path("skills/polymarket"), skill)
    (skill / "scripts").mkdir()
    shutil.copy(skilldoc.__file__, skill / "scripts")
    return skill


def run_installed(skill: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-I", str(skill / "scripts/skilldoc.py"), *arguments]
    return subprocess.run(command, capture_output=True, text=True, check=False)


# Rules: a good repository is clean, and each rule has a page that breaks only it.


def test_the_good_repository_has_no_findings(
    repo: Repo, capsys: pytest.CaptureFixture[str]
) -> None:
    assert repo.run("check") == 0
    expected = "checked 3 pages, 4 blocks, 3 files: no differences"
    assert capsys.readouterr().out.splitlines()[-1] == expected


def keep_old_file(repo: Repo) -> None:
    repo.edit("examples/broken.py", "SPREAD = 2", "SPREAD = 3")


def remove_file(repo: Repo) -> None:
    repo.path("examples/broken.py").unlink()


def remove_good_page(repo: Repo) -> None:
    for name in (PAGE, BOOK, "examples/good_feed.py", "tests/fixtures/wire/book.json"):
        repo.path(name).unlink()
    repo.write(
        "skills/polymarket/SKILL.md", "# Alone\n\n[It](real-time/under-test.md)\n"
    )


def repeat_paragraph(repo: Repo) -> None:
    name = f"{PAGES}/under-test.md"
    repo.write(name, repo.read(name) + repo.read(name).split("\n\n")[-1] * 400)


def unlink_page(repo: Repo) -> None:
    repo.write("skills/polymarket/SKILL.md", MANIFEST)


SETUPS: dict[str, Callable[[Repo], None]] = {
    "differs": keep_old_file,
    "missing-file": remove_file,
    "no-page": lambda repo: repo.write("examples/unpaged.py", "SPREAD = 2\n"),
    "no-page.fixture": lambda repo: repo.write("tests/fixtures/wire/unpaged.json", "1"),
    "budgets": repeat_paragraph,
    "reachable": unlink_page,
    "nothing-inspected": remove_good_page,
}
REPORTED_AT = {
    "no-page": "examples/unpaged.py",
    "no-page.fixture": "tests/fixtures/wire/unpaged.json",
    "nothing-inspected": "skills",
}
BROKEN_PAGES = sorted(path.stem for path in BROKEN.glob("*.md"))


@pytest.mark.parametrize("rule", skilldoc.RULES)
def test_every_rule_has_a_page_that_breaks_it(rule: str) -> None:
    assert rule in BROKEN_PAGES


@pytest.mark.parametrize("stem", BROKEN_PAGES)
def test_a_broken_page_is_reported_by_exactly_its_rule(repo: Repo, stem: str) -> None:
    name = f"{PAGES}/under-test.md"
    repo.write(name, (BROKEN / f"{stem}.md").read_text("utf-8"))
    repo.write(
        "skills/polymarket/SKILL.md", MANIFEST + "- [It](real-time/under-test.md)\n"
    )
    repo.tangle_all()
    if setup := SETUPS.get(stem):
        setup(repo)
    findings = skilldoc.check(repo.project())
    assert {finding.rule for finding in findings} == {stem.partition(".")[0]}, findings
    assert {f.place for f in findings} == {REPORTED_AT.get(stem, name)}
    assert repo.run("check") == 1


def test_a_finding_prints_page_line_rule_and_the_command(
    repo: Repo, capsys: pytest.CaptureFixture[str]
) -> None:
    repo.edit(BOOK, "return self.depth", "return self.depth + 1")
    assert repo.run("check") == 1
    first, last = capsys.readouterr().out.splitlines()
    line = good_page().split("\n").index("        return self.depth") + 1
    assert first.startswith(f"{PAGE}:{line}: differs: {BOOK}:23 ")
    assert "skilldoc.py stitch" in first
    assert "or tangle" in first
    assert last.endswith("1 findings")


def test_an_undeclared_import_is_reported_at_its_line(repo: Repo) -> None:
    repo.edit(PAGE, "Copy with: good_book.py.", "Copy with: nothing.")
    repo.tangle_all()
    findings = skilldoc.check(repo.project())
    lines = repo.read(PAGE).split("\n")
    expected = {lines.index("import good_book"), lines.index("from good_book import (")}
    assert {finding.line - 1 for finding in findings} == expected


def test_a_wrapped_copy_with_line_is_read_whole() -> None:
    tree = ast.parse('"""Do.\n\nCopy with: a.py, b.py,\n    c_d.py.\n"""\n')
    assert skilldoc.declared_neighbours(tree) == ["a", "b", "c_d"]


def test_protocols_overloads_and_abstract_methods_may_have_dots_as_body() -> None:
    code = (
        "class Seam(Protocol):\n    def on(self) -> None: ...\n"
        "@overload\ndef f(a: int) -> int: ...\n"
        "class Base(ABC):\n    @abstractmethod\n    def g(self) -> None: ...\n"
        "X: tuple[int, ...] = ()\n"
    )
    assert list(skilldoc.placeholders(ast.parse(code), allowed=False)) == []


@pytest.mark.parametrize(
    ("cell", "name", "value", "same"),
    [
        ("100", "N", 100, True),
        ("`1,000`", "N", 1000, True),
        ("10,00", "N", 1000, False),
        ("10.0", "N", 10, True),
        ("16 MiB", "N", 16 * 1024 * 1024, True),
        ("16 MB", "N", 16_000_000, False),
        ("10 s", "WAIT_S", 10.0, True),
        ("10 s", "WAIT_MS", 10, False),
        ("10 ms", "WAIT_MS", 10, True),
        ("about 10", "N", 10, False),
        ("0.1", "N", 0.1, True),
        ("`market`", "N", "market", True),
        ("True", "N", True, True),
        ("1", "N", True, False),
    ],
)
def test_a_table_cell_equals_a_constant(
    cell: str, name: str, value: object, same: bool
) -> None:
    assert skilldoc.same_value(cell, name, value) is same


def test_constants_are_read_without_running_anything() -> None:
    code = (
        "import os\nA = 2 * 3\nB: int = -A + 2**4\nC = Decimal('0.01')\n"
        "D = os.getpid()\nE = 9**9**9\nF = 'x' * 10**9\n"
    )
    found = skilldoc.constants(ast.parse(code))
    assert {name: str(value) for name, value in found.items()} == {
        "A": "6",
        "B": "10",
        "C": "0.01",
    }


@pytest.mark.parametrize(
    ("heading", "github", "site"),
    [
        ("The code", "the-code", "the-code"),
        ("`price_change` in full", "price_change-in-full", "price_change-in-full"),
        ("Bids & asks", "bids--asks", "bids-asks"),
        ("What, when?", "what-when", "what-when"),
    ],
)
def test_headings_get_the_anchors_of_both_readers(
    heading: str, github: str, site: str
) -> None:
    text = next(skilldoc.Page("p.md", f"## {heading}\n").headings())
    assert skilldoc.github_slug(text) == github
    assert skilldoc.site_slug(text) == site


def test_site_anchors_are_those_of_python_markdown() -> None:
    markdown = pytest.importorskip("markdown")
    headings = ["A b", "A b", "C \N{EN DASH} d & e", "Ünï `x_y` (z)", "1. Two: three"]
    html = markdown.markdown(
        "\n\n".join(f"## {h}" for h in headings), extensions=["toc"]
    )
    page = skilldoc.Page("p.md", "\n\n".join(f"## {h}" for h in headings))
    slugs = map(skilldoc.site_slug, page.headings())
    assert set(re.findall(r'id="([^"]+)"', html)) == skilldoc.unique_slugs(slugs, "_")


@pytest.mark.parametrize(
    ("text", "found"),
    [
        (f"`{MACHINE_PATH}`", True),
        (f"[it]({MACHINE_PATH})", True),
        ("file:///x", True),
        ("https://example.org" + MACHINE_PATH, False),
        ("`/tmp/demo` and `~/skills`", False),
    ],
)
def test_a_path_of_one_machine_is_found(repo: Repo, text: str, found: bool) -> None:
    repo.write(PAGE, good_page() + f"\nSee {text}.\n")
    assert {f.rule for f in skilldoc.check(repo.project())} == (
        {"links"} if found else set()
    )


def test_a_fence_quoted_in_a_longer_fence_is_not_a_block(repo: Repo) -> None:
    quoted = "\n````text\n" + python_fence("quoted", "X = 1\n") + "````\n"
    repo.write(PAGE, good_page() + quoted)
    assert skilldoc.check(repo.project()) == []


def test_the_manifest_and_the_whole_skill_have_budgets(repo: Repo) -> None:
    repo.write("skills/polymarket/SKILL.md", MANIFEST + "- a line\n" * 200)
    links = ""
    for number in range(22):
        links += f"- [p](real-time/p{number}.md)\n"
        text = "# P\n\n> Read this when asked.\n\n" + "word " * 4_400
        repo.write(f"{PAGES}/p{number}.md", text)
    repo.edit("skills/polymarket/SKILL.md", "- a line\n" * 200, links + "- x\n" * 180)
    messages = [f.message for f in skilldoc.check(repo.project())]
    assert len(messages) == 2
    assert any(message.endswith("lines, at most 200") for message in messages)
    assert any(message.endswith("in all, at most 120,000") for message in messages)


def test_budgets_and_rules_are_printed(
    repo: Repo, capsys: pytest.CaptureFixture[str]
) -> None:
    assert repo.run("check", "--budgets") == 0
    out = capsys.readouterr().out
    assert re.search(rf"\d+ +\d+  {re.escape(PAGE)}", out)
    assert "skills/polymarket/ in all" in out
    assert repo.run("check", "--rules") == 0
    printed = [line.split()[0] for line in capsys.readouterr().out.splitlines()]
    assert printed == list(skilldoc.RULES)


@pytest.mark.parametrize("folder", ["nothing", "skills/polymarket/real-time"])
def test_a_root_that_is_neither_repository_nor_skill_is_unusable(
    repo: Repo, folder: str
) -> None:
    assert skilldoc.main(["--root", str(repo.path(folder)), "check"]) == 2


def test_a_page_that_is_not_utf8_is_unusable(repo: Repo) -> None:
    repo.path(PAGE).write_bytes(b"\xff\xfe")
    assert repo.run("check") == 2


# list and copy.


def test_list_names_each_module_what_it_does_and_its_neighbours(
    repo: Repo, capsys: pytest.CaptureFixture[str]
) -> None:
    assert repo.run("list") == 0
    rows = [re.split(r"  +", line) for line in capsys.readouterr().out.splitlines()]
    assert rows[1] == ["good_book", "Hold one outcome's levels.", "-", PAGE]
    assert rows[2] == ["good_feed", "Keep a book up to date.", "good_book", PAGE]
    assert repo.run("list", "--json") == 0
    described = json.loads(capsys.readouterr().out)
    assert [row["copy_with"] for row in described] == [[], ["good_book"]]


def test_copy_writes_the_module_its_neighbours_and_what_to_install(
    repo: Repo, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert repo.run("copy", "good_feed.py", str(tmp_path / "out")) == 0
    written = {path.name: path.read_text() for path in (tmp_path / "out").iterdir()}
    assert written == {"good_book.py": GOOD_BOOK, "good_feed.py": GOOD_FEED}
    assert capsys.readouterr().out.splitlines()[-1] == "needs: pip install msgspec"
    assert repo.run("copy", "good_book", str(tmp_path / "out")) == 0
    out = capsys.readouterr().out.splitlines()
    assert out == [f"same  {tmp_path / 'out/good_book.py'}", "needs: nothing else"]


def test_copy_follows_neighbours_of_neighbours(repo: Repo, tmp_path: Path) -> None:
    code = '"""Show.\n\nCopy with: good_feed.py.\n"""\n\nimport good_feed\n'
    repo.write(PAGE, good_page() + python_fence("show", code))
    assert repo.run("copy", "show", str(tmp_path / "out")) == 0
    names = {path.name for path in (tmp_path / "out").iterdir()}
    assert names == {"show.py", "good_feed.py", "good_book.py"}


def test_copy_refuses_to_overwrite_a_differing_file(
    repo: Repo, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    mine = tmp_path / "out" / "good_book.py"
    mine.parent.mkdir()
    mine.write_text("MINE = 1\n")
    assert repo.run("copy", "good_feed", str(mine.parent)) == 1
    assert str(mine) in capsys.readouterr().err
    assert [path.name for path in mine.parent.iterdir()] == ["good_book.py"]
    assert mine.read_text() == "MINE = 1\n"
    assert repo.run("copy", "good_feed", str(mine.parent), "--force") == 0
    assert mine.read_text() == GOOD_BOOK


@pytest.mark.parametrize(
    ("name", "hint"),
    [("good_boko", "did you mean good_book"), ("book.json", ""), ("../good_book", "")],
)
def test_copy_of_an_unknown_name_is_unusable(
    repo: Repo, name: str, hint: str, capsys: pytest.CaptureFixture[str]
) -> None:
    out = repo.path("out")
    assert repo.run("copy", name, str(out)) == 2
    assert hint in capsys.readouterr().err
    assert not out.exists()


def test_copy_into_a_file_is_unusable(repo: Repo) -> None:
    assert repo.run("copy", "good_book", str(repo.path(BOOK))) == 2


def test_a_copied_package_imports_isolated(repo: Repo, tmp_path: Path) -> None:
    repo.edit(PAGE, "import msgspec\n\n", "")
    package = tmp_path / "app" / "feed_parts"
    assert repo.run("copy", "good_feed", str(package), "--package") == 0
    program = (
        f"import sys; sys.path.insert(0, {str(package.parent)!r})\n"
        "from feed_parts.good_feed import feed\n"
        "print(type(feed()).__module__)\n"
        "print(sorted(m for m in sys.modules if 'good' in m))"
    )
    command = [sys.executable, "-I", "-c", program]
    run = subprocess.run(command, capture_output=True, text=True, check=True)
    modules = "['feed_parts.good_book', 'feed_parts.good_feed']"
    assert run.stdout.split("\n")[:2] == ["feed_parts.good_book", modules]


@pytest.mark.parametrize(
    ("flat", "relative"),
    [
        ("import a_b\n", "from . import a_b\n"),
        ("import a_b as c\n", "from . import a_b as c\n"),
        ("import os, a_b\n", "import os; from . import a_b\n"),
        ("from a_b import (\n    X,\n)\n", "from .a_b import (\n    X,\n)\n"),
        ("é = 1; from a_b import X  # why\n", "é = 1; from .a_b import X  # why\n"),
        ("def f():\n    import a_b\n", "def f():\n    from . import a_b\n"),
        ("from .a_b import X\nimport a_bc\n", "from .a_b import X\nimport a_bc\n"),
        ('"""import a_b"""\n', '"""import a_b"""\n'),
    ],
)
def test_flat_imports_of_neighbours_become_relative(flat: str, relative: str) -> None:
    assert skilldoc.with_relative_imports(flat, {"a_b"}) == relative


def test_package_names_are_those_of_the_index() -> None:
    tree = ast.parse("import os, py_clob_client, polymarket.x, near\nfrom . import y\n")
    trees = {"me": tree, "near": ast.parse("import aiohttp")}
    expected = ["aiohttp", "polymarket-client", "py-clob-client"]
    assert skilldoc.packages_needed(trees) == expected


def test_an_installed_skill_lists_copies_and_checks_from_its_pages(
    installed: Path, tmp_path: Path
) -> None:
    assert "good_feed" in run_installed(installed, "list").stdout
    copied = run_installed(installed, "copy", "good_feed", str(tmp_path / "out"))
    assert copied.returncode == 0, copied.stderr
    assert (tmp_path / "out/good_book.py").read_text() == GOOD_BOOK
    checked = run_installed(installed, "check")
    assert checked.returncode == 0, checked.stdout
    assert checked.stdout.splitlines() == [
        "no examples/ here: checked the pages alone",
        "checked 2 pages, 4 blocks, 3 files: no differences",
    ]
    placed = run_installed(installed, "where", "good_book.py:1")
    assert placed.stdout.startswith("real-time/good.md:")
    assert run_installed(installed, "tangle").returncode == 2


def test_a_skill_inside_a_foreign_project_does_not_take_its_examples(
    installed: Path,
) -> None:
    project = installed.parent / "project"
    (project / "examples").mkdir(parents=True)
    (project / "examples/theirs.py").write_text("X = 1\n")
    skill = project / "skills/polymarket"
    shutil.copytree(installed, skill)
    assert "no examples/ here" in run_installed(skill, "check").stdout


@pytest.mark.parametrize("command", ["", *skilldoc.COMMANDS])
def test_help_shows_examples(command: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as stopped:
        skilldoc.main([*filter(None, [command]), "--help"])
    assert stopped.value.code == 0
    assert f"examples:\n  skilldoc.py {command}" in capsys.readouterr().out


def test_an_unknown_command_is_unusable() -> None:
    with pytest.raises(SystemExit) as stopped:
        skilldoc.main(["untangle"])
    assert stopped.value.code == 2


# stitch and tangle.


def test_tangle_writes_the_page_into_the_file(
    repo: Repo, capsys: pytest.CaptureFixture[str]
) -> None:
    repo.edit(PAGE, "WAIT_S = 10.0", "WAIT_S = 20.0")
    assert repo.run("tangle") == 0
    assert capsys.readouterr().out == f"wrote {BOOK}\n"
    assert repo.read(BOOK) == GOOD_BOOK.replace("10.0", "20.0")
    assert repo.run("tangle") == 0
    assert capsys.readouterr().out == "nothing to do: no differences\n"


def test_tangle_makes_a_missing_file(repo: Repo) -> None:
    repo.path("tests/fixtures/wire/book.json").unlink()
    assert repo.run("tangle") == 0
    assert repo.read("tests/fixtures/wire/book.json") == GOOD_FRAME


def test_stitch_puts_each_statement_into_its_block(repo: Repo) -> None:
    edited = (
        GOOD_BOOK.replace("WAIT_S = 10.0", "WAIT_S = 20.0\n# Why eight.\nROOM = 8")
        .replace("class Book", "class OrderBook")
        .replace("from __future__ import annotations\n\n\n", "import asyncio\n\n\n")
    )
    repo.write(BOOK, edited + "\n\ndef best() -> int:\n    return 1\n")
    assert repo.run("stitch") == 0
    first, second = repo.project().sources[BOOK].pieces
    assert first.code.endswith("20.0\n# Why eight.\nROOM = 8\n")
    assert "import asyncio" in first.code
    assert second.code.startswith("class OrderBook")
    assert second.code.endswith("def best() -> int:\n    return 1\n")
    before, after = skilldoc.Page("b", good_page()), skilldoc.Page("a", repo.read(PAGE))
    assert prose_of(before) == prose_of(after)


def test_stitch_settles_blank_lines_between_blocks(repo: Repo) -> None:
    repo.edit(BOOK, "\n\n\nclass Book", "\nX = 1\nclass Book")
    assert repo.run("stitch") == 0
    assert repo.read(BOOK) == GOOD_BOOK.replace("\n\n\nclass", "\nX = 1\n\n\nclass")
    assert skilldoc.check(repo.project()) == []


def test_stitch_replaces_a_message_whole(repo: Repo) -> None:
    repo.write("tests/fixtures/wire/book.json", '{"event_type": "trade"}\n')
    assert repo.run("stitch") == 0
    assert '{"event_type": "trade"}\n```' in repo.read(PAGE)


def test_stitch_refuses_to_leave_a_block_empty(
    repo: Repo, capsys: pytest.CaptureFixture[str]
) -> None:
    repo.write(BOOK, GOOD_BOOK.partition("\n\n\nclass")[0] + "\n")
    before = repo.snapshot()
    assert repo.run("stitch") == 2
    block = good_page().split("\n").index("class Book:")
    assert f"{PAGE}:{block}: nothing of {BOOK} is left" in capsys.readouterr().err
    assert repo.snapshot() == before


@pytest.mark.parametrize(
    ("old", "new", "reason"),
    [
        ("class Book:", "class Book", "does not parse"),
        ("TICK_COUNT = 100", 'TICKS = """\n```\n"""', "three backticks"),
        ("TICK_COUNT = 100", "TICK_COUNT = 100\r", "CR line ends"),
    ],
)
def test_stitch_refuses_what_a_page_cannot_hold(
    repo: Repo, old: str, new: str, reason: str, capsys: pytest.CaptureFixture[str]
) -> None:
    repo.edit(BOOK, old, new)
    before = repo.snapshot()
    assert repo.run("stitch") == 2
    assert reason in capsys.readouterr().err
    assert repo.snapshot() == before


@pytest.mark.parametrize("verb", ["stitch", "tangle"])
def test_a_file_with_two_homes_is_refused(repo: Repo, verb: str) -> None:
    repo.write(f"{PAGES}/two.md", python_fence("good_book", "COPIED = 1\n"))
    before = repo.snapshot()
    assert repo.run(verb) == 2
    assert repo.snapshot() == before


@pytest.mark.parametrize("verb", ["stitch", "tangle"])
def test_both_sides_changed_since_head_is_refused(
    repo: Repo, verb: str, capsys: pytest.CaptureFixture[str]
) -> None:
    repo.commit()
    repo.edit(PAGE, "WAIT_S = 10.0", "WAIT_S = 20.0")
    repo.edit(BOOK, "WAIT_S = 10.0", "WAIT_S = 30.0")
    repo.edit("examples/good_feed.py", "Return a book.", "Return it.")
    before = repo.snapshot()
    assert repo.run(verb) == 2
    shown = capsys.readouterr()
    assert "-WAIT_S = 20.0\n+WAIT_S = 30.0" in shown.out
    assert "both sides changed" in shown.err
    assert repo.snapshot() == before
    assert any("both sides" in f.message for f in skilldoc.check(repo.project()))
    assert repo.run(verb, "--force") == 0
    kept = {"stitch": "30.0", "tangle": "20.0"}[verb]
    assert f"WAIT_S = {kept}" in repo.read(PAGE)
    assert f"WAIT_S = {kept}" in repo.read(BOOK)


def test_check_names_the_command_for_the_side_that_changed(repo: Repo) -> None:
    repo.commit()
    repo.edit(PAGE, "WAIT_S = 10.0", "WAIT_S = 20.0")
    repo.edit("examples/good_feed.py", "Return a book.", "Return it.")
    messages = [
        f.message for f in skilldoc.check(repo.project()) if f.rule == "differs"
    ]
    assert [message.rpartition(" ")[2] for message in messages] == ["tangle", "stitch"]


@pytest.mark.parametrize(
    ("edited", "wrong", "right"),
    [(PAGE, "stitch", "tangle"), (BOOK, "tangle", "stitch")],
)
def test_the_wrong_direction_does_not_undo_an_edit(
    repo: Repo,
    edited: str,
    wrong: str,
    right: str,
    capsys: pytest.CaptureFixture[str],
) -> None:
    repo.commit()
    repo.edit(edited, "WAIT_S = 10.0", "WAIT_S = 20.0")
    before = repo.snapshot()
    assert repo.run(wrong) == 1
    assert f"left alone: {BOOK}" in capsys.readouterr().out
    after = repo.snapshot()
    after.pop(".cache/skilldoc.json")
    assert after == before
    assert repo.run(right) == 0
    assert "WAIT_S = 20.0" in repo.read(PAGE)
    assert "WAIT_S = 20.0" in repo.read(BOOK)


def test_a_second_edit_needs_no_commit_after_the_first(repo: Repo) -> None:
    repo.commit()
    repo.edit(BOOK, "WAIT_S = 10.0", "WAIT_S = 20.0")
    assert repo.run("stitch") == 0
    repo.edit(BOOK, "WAIT_S = 20.0", "WAIT_S = 30.0")
    assert repo.run("stitch") == 0
    repo.edit(PAGE, "WAIT_S = 30.0", "WAIT_S = 40.0")
    assert repo.run("tangle") == 0
    assert "WAIT_S = 40.0" in repo.read(BOOK)


def test_a_deleted_file_is_not_stitched_away(repo: Repo) -> None:
    repo.path(BOOK).unlink()
    assert repo.run("stitch") == 1
    assert "class Book" in repo.read(PAGE)


def test_a_write_keeps_a_files_mode_and_leaves_no_draft(repo: Repo) -> None:
    repo.path(BOOK).chmod(0o755)
    repo.edit(PAGE, "WAIT_S = 10.0", "WAIT_S = 20.0")
    assert repo.run("tangle") == 0
    assert repo.path(BOOK).stat().st_mode & 0o777 == 0o755
    assert [p for p in repo.root.rglob(".*") if p.is_file()] == []


# where.


def test_every_line_has_exactly_one_place(
    repo: Repo, capsys: pytest.CaptureFixture[str]
) -> None:
    page = repo.read(PAGE).split("\n")
    for title in repo.project().sources:
        seen = set()
        for number, line in enumerate(repo.read(title).split("\n")[:-1], 1):
            assert repo.run("where", f"{title}:{number}") == 0
            place = capsys.readouterr().out.strip()
            name, _, at = place.rpartition(":")
            assert name == PAGE
            joining = page[int(at) - 1] != line
            assert not joining or (line == "" and place in seen)
            seen.add(place)
            if not joining:
                assert repo.run("where", place) == 0
                assert capsys.readouterr().out.strip() == f"{title}:{number}"
        assert repo.run("where", f"{title}:{number + 1}") == 2


def test_prose_has_no_place_and_a_fence_line_counts_to_its_block(
    repo: Repo, capsys: pytest.CaptureFixture[str]
) -> None:
    opening, closing = repo.project().sources[BOOK].pieces[1].line, None
    closing = repo.project().sources[BOOK].pieces[1].end
    assert repo.run("where", f"{PAGE}:1") == 2
    assert repo.run("where", f"{PAGE}:{opening}") == 0
    assert repo.run("where", f"{PAGE}:{closing}") == 0
    first, last = capsys.readouterr().out.split()
    lines = GOOD_BOOK.split("\n")
    assert first == f"{BOOK}:{lines.index('class Book:') + 1}"
    assert last == f"{BOOK}:{len(lines) - 1}"


@pytest.mark.parametrize("spelling", [BOOK, "good_book.py", "ABSOLUTE", "RELATIVE"])
def test_a_file_may_be_named_as_it_is_at_hand(
    repo: Repo,
    spelling: str,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.chdir(repo.path("tests"))
    names = {"ABSOLUTE": str(repo.path(BOOK)), "RELATIVE": f"../{BOOK}"}
    assert repo.run("where", f"{names.get(spelling, spelling)}:1") == 0
    assert capsys.readouterr().out.startswith(PAGE)


@pytest.mark.parametrize("place", ["good_book.py", "good_boko.py:1", "x.md:1", ":3"])
def test_a_place_that_does_not_exist_is_unusable(repo: Repo, place: str) -> None:
    assert repo.run("where", place) == 2


# The property: whatever is done to a file, a stitch loses and misplaces nothing.


SYNTHETIC = [
    GOOD_BOOK,
    GOOD_FEED,
    '"""Only this."""\n\nA = 1\nB = (\n    2); C = (\n    3)\n# tail\n',
    "@decorated(\n    1\n)\n# inner\nclass A: x = '''\n\n\n'''\n\n\nif A:\n    B = 1\n"
    "else:\n    B = 2\n\nfor i in ():\n    pass\nA()\nA()\n\n\n# a\n\n# b\n",
]
EDITS_PER_TEST = 60


def test_cutting_code_into_statements_loses_nothing() -> None:
    for code in [*SYNTHETIC, *real_modules()]:
        statements = [statement.text for statement in skilldoc.cut(code, "")]
        assert "".join(statements) == code
        for statement in statements:
            assert ast.parse(statement).body


def real_modules() -> list[str]:
    return [path.read_text("utf-8") for path in sorted(EXAMPLES.glob("*.py"))]


def prose_of(page: skilldoc.Page) -> list[str]:
    """The page's text between its blocks, to the byte."""
    lines, kept, at = page.text.split("\n"), [], 0
    for block in page.fences:
        kept.append("\n".join(lines[at : block.line]))
        at = block.end - 1
    return [*kept, "\n".join(lines[at:])]


def pages_of(code: str, rng: random.Random) -> str:
    """A page holding the code in one to five blocks cut between statements."""
    ends = [node.end_lineno or 0 for node in ast.parse(code).body]
    starts = [node.lineno for node in ast.parse(code).body]
    gaps = [e for e, s in zip(ends, starts[1:], strict=False) if e < s]
    cuts = sorted(rng.sample(gaps, min(len(gaps), rng.randrange(5))))
    lines = code.split("\n")
    page = "# Page  \n\n> Read this when\ttesting.\n"
    for number, (a, b) in enumerate(zip([0, *cuts], [*cuts, None], strict=True)):
        block = "\n".join(lines[a:b]).strip("\n") + "\n"
        page += f"\n\nProse {number}:  \n\n" + python_fence("module", block)
    return page + "\nThe end, without a final newline"


def edit_at_random(code: str, rng: random.Random) -> str:
    """Add, delete, rename, move, comment or reformat one top-level statement."""
    units = [statement.text for statement in skilldoc.cut(code, "")]
    at = rng.randrange(len(units))
    match rng.randrange(6):
        case 0:
            name = f"added_{rng.randrange(10**6)}"
            new = [f"{name.upper()} = {at}\n", f"\n\ndef {name}():\n    return {at}\n"]
            units.insert(at + rng.randrange(2), rng.choice(new))
        case 1 if len(units) > 1:
            del units[at]
        case 2:
            pattern = r"(?m)^((?:async )?def|class) (\w+)|^(\w+)(?=(?:: .*)? = )"
            units[at] = re.sub(
                pattern,
                lambda m: f"{m[1]} {m[2]}_new" if m[1] else f"{m[3]}_new",
                units[at],
                count=1,
            )
        case 3:
            units.insert(rng.randrange(len(units)), units.pop(at))
        case 4:
            units[at] = f"# note {rng.randrange(10**6)}\n{units[at]}"
        case _:
            units[at] = "\n" * rng.randrange(4) + units[at].lstrip("\n")
    return "".join(units)


def nonblank(text: str) -> list[str]:
    return [line for line in text.split("\n") if line.strip()]


@pytest.mark.parametrize("seed", range(6))
def test_random_edits_are_stitched_without_loss_or_refused_untouched(
    tmp_path: Path, seed: int, capsys: pytest.CaptureFixture[str]
) -> None:
    rng = random.Random(seed)
    sources = SYNTHETIC + real_modules()
    outcomes = {0: 0, 2: 0}
    for number in range(EDITS_PER_TEST):
        repo = Repo(tmp_path / str(number))
        code = rng.choice(sources)
        repo.write("skills/polymarket/page.md", pages_of(code, rng))
        repo.tangle_all()
        edited = repo.read("examples/module.py")
        for _ in range(rng.randrange(1, 4)):
            edited = edit_at_random(edited, rng)
        try:
            ast.parse(edited)
        except SyntaxError:  # `from __future__` moved down parses; anything else is odd
            raise AssertionError(f"the test's own edit is broken: {edited}") from None
        repo.write("examples/module.py", edited)
        outcomes[stitch_and_judge(repo, edited, capsys)] += 1
    assert outcomes[0] > EDITS_PER_TEST * 0.7, outcomes


def stitch_and_judge(
    repo: Repo, edited: str, capsys: pytest.CaptureFixture[str]
) -> int:
    """Stitch and hold the result to the promise; return the exit code."""
    before, files = repo.project().pages["skills/polymarket/page.md"], repo.snapshot()
    code = repo.run("stitch", "--force")
    shown = capsys.readouterr()
    if code == 2:
        assert re.search(r"page\.md:\d+: nothing of examples/module\.py", shown.err)
        assert repo.snapshot() == files
        return code
    after = repo.project().pages["skills/polymarket/page.md"]
    assert prose_of(before) == prose_of(after)
    assert nonblank(repo.read("examples/module.py")) == nonblank(edited)
    assert repo.project().sources["examples/module.py"].text == repo.read(
        "examples/module.py"
    )
    assert repo.run("tangle") == 0
    assert capsys.readouterr().out == "nothing to do: no differences\n"
    for block in after.fences:
        assert ast.parse(block.code).body
    return code


def test_an_unmoved_statement_stays_in_its_block(tmp_path: Path) -> None:
    rng = random.Random(7)
    blocks = [[f"name_{b}_{n} = {n}" for n in range(3)] for b in range(4)]
    for number in range(100):
        repo = Repo(tmp_path / str(number))
        page = "".join(
            python_fence("module", "\n".join(b) + "\n") + "\n" for b in blocks
        )
        repo.write("skills/polymarket/page.md", page)
        lines = [line for block in blocks for line in block]
        for _ in range(3):
            at = rng.randrange(len(lines))
            lines[at] = lines[at].replace("name", "renamed") + "  # edited"
            lines.insert(rng.randrange(len(lines)), f"new_{rng.randrange(999)} = 1")
        repo.write("examples/module.py", "\n".join(lines) + "\n")
        assert repo.run("stitch", "--force") == 0
        for index, piece in enumerate(
            repo.project().sources["examples/module.py"].pieces
        ):
            kept = re.findall(r"name_(\d)_\d", re.sub(r"renamed\S*", "", piece.code))
            assert set(kept) <= {str(index)}
