"""Copy modules out of the pages, and hold pages and example files equal.

A fence in column 0 with the info string ``python title="examples/x.py"`` is a piece
of that file. The pieces with one title, in page order, joined by two blank lines,
are the file; both sides are committed. The same holds for
``json title="tests/fixtures/wire/x.json"``, with exactly one block per file.

In a repository the pages are all ``*.md`` below ``skills/``. An installed skill has
pages only: `list`, `copy` and `where` need nothing else.

Text from pages and modules is parsed, never executed or imported.
Exit codes: 0 done or no differences, 1 findings or refused, 2 unusable input.
"""

from __future__ import annotations

import argparse
import ast
import builtins
import difflib
import hashlib
import importlib
import json
import operator
import os
import re
import shutil
import subprocess
import sys
import unicodedata
import urllib.parse
import warnings
from collections import Counter
from collections.abc import Callable, Container, Iterable, Iterator, Mapping
from dataclasses import dataclass
from decimal import Decimal
from functools import cached_property
from pathlib import Path
from typing import Any, Literal


RULES: dict[str, str] = {
    "differs": "a file and its blocks on a page are not the same bytes",
    "missing-file": "a titled block names a file that does not exist",
    "no-page": "an examples/*.py or tests/fixtures/wire/*.json is on no page",
    "block-content": "a block is not whole statements, or is a placeholder, or bad JSON",
    "one-home": "a file is written on two pages, or a JSON file in two blocks",
    "block-size": "a block is over 220 lines, or a module has over 5 blocks",
    "info-string": "a fence's info string is not one of the allowed forms",
    "fence-place": "a fence does not start in column 0, or is not closed as opened",
    "backticks": "titled code contains three backticks",
    "class-size": "a class is over 220 lines",
    "copy-with": "a module's `Copy with:` line is missing or does not fit its imports",
    "links": "a link or anchor does not resolve, leaves its skill, or is absolute",
    "names": "a back-ticked name exists in no module, script or fixture",
    "numbers": "a row of a `Constant` table differs from the module's constant",
    "budgets": "SKILL.md, a page or the skill is over its budget",
    "reachable": "a page of a skill is not linked from its SKILL.md",
    "nothing-inspected": "there is no titled block at all",
    "read-when": 'a page does not say "Read this when …" before its first section',
}

MAX_BLOCK_LINES = 220
MAX_BLOCKS = 5
MAX_CLASS_LINES = 220

CHARACTERS_PER_TOKEN = 3.6  # measured proxy; the pages are English and Python
MANIFEST_TOKENS = 2_000
MANIFEST_LINES = 200
PAGE_TOKENS = 6_500
SKILL_TOKENS = 120_000

PLAIN_INFO = frozenset(
    ("python", "json", "console", "text", "mermaid", "toml", "yaml", "ini", "html")
)
PYTHON_TITLE = re.compile(r'python title="(examples/[a-z_][a-z0-9_]*\.py)"')
JSON_TITLE = re.compile(
    r'json title="(tests/fixtures/wire/[a-z0-9_][a-z0-9_-]*\.json)"'
)

FENCE = re.compile(
    r"(?P<prefix>(?:[ \t>]|[-*+][ \t]|\d+[.)][ \t])*)(?P<ticks>`{3,}|~{3,})(?P<info>.*)"
)
CODE_SPAN = re.compile(r"(?<!`)(`+)(?!`)((?:(?!\n\s*\n).)+?)(?<!`)\1(?!`)", re.DOTALL)
HEADING = re.compile(r" {0,3}(#{1,6})[ \t]+(.*?)[ \t]*#*[ \t]*")
LINK = re.compile(
    r"\[(?:[^\[\]]|\[[^\]]*\])*\]\(\s*<?([^)\s>]*)>?(?:\s+[\"'][^\"']*[\"'])?\s*\)"
    r"|^ {0,3}\[[^\]]+\]:\s*<?(\S+?)>?(?=\s|$)"
    r"|\b(?:href|src)=[\"']([^\"']+)[\"']",
    re.MULTILINE,
)
MACHINE_PATH = re.compile(
    r"(?<![\w.:/])(?:/(?:home|root|Users)/|[A-Za-z]:\\|file://)\S*"
)
READ_WHEN = re.compile(r"(?:> ?)?[*_]*Read this when\b")
TABLE_RULE = re.compile(r"\|?[ \t]*:?-+:?[ \t]*(?:\|[ \t]*:?-*:?[ \t]*)*")

CLASS_LIKE = re.compile(r"_?[A-Z][A-Za-z0-9]*[a-z][A-Za-z0-9]*")
CONSTANT_LIKE = re.compile(r"_?[A-Z][A-Z_][A-Z0-9_]*")
IDENTIFIER = re.compile(r"[A-Za-z_]\w*")

NUMBER_CELL = re.compile(
    r"(?P<number>[+-]?(?:\d{1,3}(?:,\d{3})+|\d+)(?:\.\d+)?)(?: (?P<unit>MiB|KiB|s|ms))?"
)
UNIT_FACTOR = {"MiB": 2**20, "KiB": 2**10, "s": 1, "ms": 1}

COPY_WITH = re.compile(
    r"Copy with: (?:nothing|(?P<names>\w+\.py(?:,\s+\w+\.py)*))\.", re.ASCII
)
MODULE_NAME = re.compile(r"[a-z_][a-z0-9_]*")

# Import name → name on the package index, where more than `_` → `-` differs.
DISTRIBUTIONS = {"polymarket": "polymarket-client", "yaml": "PyYAML"}

STDLIB_WITH_EXCEPTIONS = ("asyncio", "decimal", "json", "sqlite3", "ssl", "subprocess")

# Names a page may use although no module, script or fixture has them.
KNOWN_NAMES: dict[str, str] = {
    "PING": "heartbeat text, sent",
    "PONG": "heartbeat text, received",
    "BUY": "side of an order or trade",
    "SELL": "side of an order or trade",
    "YES": "outcome, as people write it",
    "NO": "outcome, as people write it",
    "Yes": "outcome, as the venue writes it",
    "No": "outcome, as the venue writes it",
    "INVALID": "half of the control text INVALID OPERATION",
    "OPERATION": "half of the control text INVALID OPERATION",
    "GET": "HTTP method",
    "POST": "HTTP method",
    "PUT": "HTTP method",
    "DELETE": "HTTP method",
    "HTTP": "protocol",
    "JSON": "format",
    "REST": "style of interface",
    "URL": "address",
    "UTC": "time zone",
    "TLS": "protocol",
    "NULL": "SQL value",
    "WAL": "SQLite journal mode",
    "SIGTERM": "signal",
    "SIGINT": "signal",
    "SKILL": "as in SKILL.md",
    "README": "as in README.md",
    "CHANGELOG": "as in CHANGELOG.md",
    "Makefile": "file name",
    "ApiCreds": "class of py-clob-client",
    "ClobClient": "class of py-clob-client",
}


class RefusedError(Exception):
    """The input cannot be used, or the command would lose something: exit 2."""


@dataclass(frozen=True)
class Finding:
    """One broken rule at one place."""

    place: str
    line: int
    rule: str
    message: str

    def __str__(self) -> str:
        return f"{self.place}:{self.line}: {self.rule}: {self.message}"


@dataclass(frozen=True)
class Fence:
    """One fenced block; `line` and `end` are its fence lines, counted from 1."""

    page: str
    line: int
    prefix: str
    ticks: str
    info: str
    code: str
    end: int
    closing: str | None

    @cached_property
    def title(self) -> str | None:
        """The file this block is a piece of; None unless all about it is in order."""
        if self.prefix or self.closing is None:
            return None
        match = PYTHON_TITLE.fullmatch(self.info) or JSON_TITLE.fullmatch(self.info)
        return match[1] if match else None

    @property
    def language(self) -> str:
        """The first word of the info string."""
        return self.info.partition(" ")[0]

    @property
    def line_count(self) -> int:
        """Lines of code, without the fences."""
        return self.code.count("\n")

    def finding(self, rule: str, message: str, offset: int = 0) -> Finding:
        """Return a finding at the opening fence, or `offset` lines below it."""
        return Finding(self.page, self.line + offset, rule, message)


def scan_fences(page: str, text: str) -> Iterator[Fence]:
    """Yield every fenced block, also the ones in lists, quotes and tabs."""
    lines = text.split("\n")
    at = 0
    while at < len(lines):
        match = FENCE.fullmatch(lines[at].rstrip("\r"))
        at += 1
        if match is None or (match["ticks"][0] == "`" and "`" in match["info"]):
            continue
        start, ticks, prefix = at, match["ticks"], match["prefix"]
        # CommonMark: as many ticks or more close it, at most three spaces to the left.
        margin = r"[ \t>]*" if prefix else " {0,3}"
        close = re.compile(rf"{margin}({ticks[0]}{{{len(ticks)},}})[ \t\r]*")
        while at < len(lines) and not close.fullmatch(lines[at]):
            at += 1
        closed = close.fullmatch(lines[at]) if at < len(lines) else None
        code = "".join(f"{line}\n" for line in lines[start:at])
        info = match["info"].strip()
        closing = closed[1] if closed else None
        at += 1
        yield Fence(page, start, prefix, ticks, info, code, at, closing)


@dataclass(frozen=True)
class Page:
    """One Markdown file; `name` is its path from the root, with slashes."""

    name: str
    text: str

    @cached_property
    def fences(self) -> tuple[Fence, ...]:
        """Every fenced block, in order."""
        return tuple(scan_fences(self.name, self.text))

    @cached_property
    def prose(self) -> str:
        """The text with every fenced line empty, so that line numbers stay."""
        lines = self.text.split("\n")
        for fence in self.fences:
            last = min(fence.end, len(lines))
            lines[fence.line - 1 : last] = [""] * (last - fence.line + 1)
        return "\n".join(lines)

    @cached_property
    def prose_without_code(self) -> str:
        """The prose with back-ticked spans blanked out: what may hold a link."""
        return CODE_SPAN.sub(lambda m: re.sub(r"[^\n]", " ", m[0]), self.prose)

    @property
    def tokens(self) -> float:
        """Estimated size for a model."""
        return len(self.text) / CHARACTERS_PER_TOKEN

    def line_at(self, offset: int) -> int:
        """Return the line number of a character offset, counted from 1."""
        return self.prose.count("\n", 0, offset) + 1

    def headings(self) -> Iterator[str]:
        """Yield the text of every heading, without its marks."""
        for line in self.prose.split("\n"):
            if match := HEADING.fullmatch(line.rstrip("\r")):
                yield re.sub(r"\[([^\]]*)\]\([^)]*\)", r"\1", match[2]).replace("`", "")

    def links(self) -> Iterator[tuple[int, str]]:
        """Yield line and target of every link and image in the prose."""
        for match in LINK.finditer(self.prose_without_code):
            target = match[1] or match[2] or match[3] or ""
            yield self.line_at(match.start()), target


@dataclass(frozen=True)
class Source:
    """One file as its pages hold it."""

    title: str
    pieces: tuple[Fence, ...]

    @cached_property
    def text(self) -> str:
        """The file: its pieces joined by two blank lines."""
        return "\n\n".join(piece.code for piece in self.pieces)

    @property
    def module(self) -> str | None:
        """The module's name, or None for a JSON file."""
        return Path(self.title).stem if self.title.endswith(".py") else None

    @cached_property
    def tree(self) -> ast.Module | None:
        """The parsed module; None for JSON and for code that does not parse."""
        return parse(self.text) if self.module else None

    def spans(self) -> Iterator[tuple[int, Fence]]:
        """Yield each piece with the file line of its first line."""
        line = 1
        for piece in self.pieces:
            yield line, piece
            line += piece.line_count + 2

    def page_line(self, line: int) -> tuple[Fence, int]:
        """Return the piece and page line of a file line.

        The two blank lines that join pieces belong to the last line of the piece above.
        """
        start, piece = [span for span in self.spans() if span[0] <= line][-1]
        return piece, piece.line + min(line - start + 1, piece.line_count)

    def finding(self, rule: str, message: str, line: int = 1) -> Finding:
        """Return a finding at the place on the page of a file line."""
        piece, page_line = self.page_line(line)
        return Finding(piece.page, page_line, rule, message)


def parse(code: str) -> ast.Module | None:
    """Return the syntax tree, or None; odd escapes in foreign text are not our news."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        try:
            return ast.parse(code)
        except (SyntaxError, ValueError):
            return None


def gather(pages: Iterable[Page]) -> dict[str, Source]:
    """Return every titled file on the pages, by title."""
    pieces: dict[str, list[Fence]] = {}
    for page in pages:
        for fence in page.fences:
            if fence.title:
                pieces.setdefault(fence.title, []).append(fence)
    return {title: Source(title, tuple(found)) for title, found in pieces.items()}


@dataclass(frozen=True)
class Project:
    """The pages and, in a repository, the files beside them."""

    root: Path
    pages_dir: Path
    has_files: bool

    @cached_property
    def pages(self) -> dict[str, Page]:
        """Every page by name, sorted."""
        paths = sorted(self.pages_dir.rglob("*.md"))
        names = [path.relative_to(self.root).as_posix() for path in paths]
        return {
            name: Page(name, read(path))
            for name, path in zip(names, paths, strict=True)
        }

    @cached_property
    def sources(self) -> dict[str, Source]:
        """Every titled file by title, as the pages hold it."""
        return gather(self.pages.values())

    @cached_property
    def modules(self) -> dict[str, Source]:
        """The Python sources by module name, sorted."""
        found = {source.module: source for source in self.sources.values()}
        return {name: found[name] for name in sorted(filter(None, found))}

    @cached_property
    def files(self) -> dict[str, str]:
        """The text of every file that should be on a page, by title."""
        if not self.has_files:
            return {}
        paths = [
            *sorted((self.root / "examples").glob("*.py")),
            *sorted((self.root / "tests/fixtures/wire").glob("*.json")),
        ]
        return {path.relative_to(self.root).as_posix(): read(path) for path in paths}

    def skill_of(self, page: str) -> str | None:
        """Return the folder of the skill a page belongs to ("" if it is the root)."""
        if not self.has_files:
            return ""
        parts = page.split("/")
        return "/".join(parts[:2]) + "/" if len(parts) > 2 else None

    @cached_property
    def sources_at_head(self) -> dict[str, Source]:
        """What the committed pages hold; nothing where there is no git."""
        listing = git(
            self.root, "ls-tree", "-rz", "--name-only", "HEAD", "--", "skills"
        )
        names = [name for name in (listing or "").split("\0") if name.endswith(".md")]
        texts = {name: git(self.root, "show", f"HEAD:./{name}") for name in names}
        return gather(Page(name, text) for name, text in texts.items() if text)

    def differing(self) -> Iterator[Source]:
        """Yield the sources whose file is missing or has other text."""
        if self.has_files:
            for title, source in self.sources.items():
                if self.files.get(title) != source.text:
                    yield source


def read(path: Path) -> str:
    """Return a file's text without any newline translation."""
    try:
        return path.read_bytes().decode("utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise RefusedError(f"{path}: cannot be read: {error}") from error


def open_project(given: str | None) -> Project:
    """Find the repository or the skill folder, from `--root` or from this script."""
    if given is None:
        skill = Path(__file__).resolve().parents[1]
        repo = skill.parents[1]
        # A user's own project may have skills/ and examples/ too; it has not this test.
        ours = (repo / "examples").is_dir() and (
            repo / "tests/test_skilldoc.py"
        ).exists()
        root = repo if ours else skill
    else:
        root = Path(given).resolve()
    if (root / "skills").is_dir():
        return Project(root, root / "skills", has_files=True)
    if (root / "SKILL.md").is_file() or given is None:
        return Project(root, root, has_files=False)
    raise RefusedError(f"{given}: neither a repository with skills/ nor a skill folder")


# What changed since the two sides were last equal.

Changed = Literal["file", "pages", "both", "unknown"]


def git(root: Path, *arguments: str) -> str | None:
    """Return git's output, or None where there is no git, no HEAD or no such path."""
    program = shutil.which("git")
    if program is None:
        return None
    command = [program, "-C", str(root), *arguments]
    run = subprocess.run(command, capture_output=True, check=False)  # noqa: S603 - fixed arguments and paths of this repository
    return run.stdout.decode("utf-8", "replace") if run.returncode == 0 else None


def changed_side(project: Project, source: Source) -> Changed:
    """Say which side was edited since HEAD, or since stitch or tangle last ran."""
    title, file, pages = source.title, project.files.get(source.title), source.text
    settled = settled_digests(project.root).get(title)
    if settled is not None and file is not None:
        if digest(pages) == settled:
            return "file"
        if digest(file) == settled:
            return "pages"
    file_at_head = git(project.root, "show", f"HEAD:./{title}")
    pages_at_head = project.sources_at_head.get(title)
    if file is None or file_at_head is None or pages_at_head is None:
        return "unknown"
    file_changed, pages_changed = file != file_at_head, pages != pages_at_head.text
    if file_changed and pages_changed:
        return "both"
    if file_changed or pages_changed:
        return "file" if file_changed else "pages"
    return "unknown"


def digest(text: str) -> str:
    """Return a short fingerprint of a text."""
    return hashlib.sha256(text.encode()).hexdigest()[:16]


def settled_digests(root: Path) -> dict[str, str]:
    """Return the texts that were equal when stitch or tangle last ran.

    Only a hint that spares a commit between two edits: without it HEAD decides.
    """
    try:
        found = json.loads((root / ".cache/skilldoc.json").read_text("utf-8"))
    except (OSError, ValueError):
        return {}
    return found if isinstance(found, dict) else {}


def remember_settled(root: Path) -> None:
    """Note what is equal now, in a repository's ignored `.cache/`."""
    if not (root / ".git").exists():
        return
    project = Project(root, root / "skills", has_files=True)
    unsettled = {source.title for source in project.differing()}
    noted = settled_digests(root)
    for title, source in project.sources.items():
        if title not in unsettled:
            noted[title] = digest(source.text)
    write({root / ".cache/skilldoc.json": json.dumps(noted, indent=0, sort_keys=True)})


def how_to_mend(project: Project, source: Source) -> str:
    """Name the command that makes a source's two sides equal again."""
    changed = changed_side(project, source)
    if changed == "file":
        return "the file changed; run: skilldoc.py stitch"
    if changed == "pages":
        return "the page changed; run: skilldoc.py tangle"
    if changed == "both":
        return (
            "both sides changed; join them by hand on one side, then run: "
            "skilldoc.py stitch --force (file wins) or tangle --force (page wins)"
        )
    return "run: skilldoc.py stitch (if the file is right) or tangle (if the page is)"


# The rules. Each check yields findings of the rules it names.


def check_equality(project: Project) -> Iterator[Finding]:
    """`differs`, `missing-file`, `no-page`."""
    for source in project.differing():
        file = project.files.get(source.title)
        if file is None:
            message = f"{source.title} does not exist; run: skilldoc.py tangle"
            yield source.finding("missing-file", message)
        else:
            line = first_difference(source.text, file)
            place = f"{source.title}:{line} is not what this block says"
            message = f"{place}; {how_to_mend(project, source)}"
            inside = min(line, source.text.count("\n"))
            yield source.finding("differs", message, max(inside, 1))
    for title in project.files.keys() - project.sources.keys():
        language = "python" if title.endswith(".py") else "json"
        message = f'no page holds this file; add a block: {language} title="{title}"'
        yield Finding(title, 1, "no-page", message)


def first_difference(one: str, other: str) -> int:
    """Return the number of the first line that is not the same."""
    pairs = zip(one.split("\n"), other.split("\n"), strict=False)
    same = 0
    for left, right in pairs:
        if left != right:
            break
        same += 1
    return same + 1


def check_fences(project: Project) -> Iterator[Finding]:
    """`fence-place`, `info-string`."""
    for page in project.pages.values():
        for fence in page.fences:
            if fence.prefix:
                message = "a fence starts in column 0, outside lists, quotes and tabs"
                yield fence.finding("fence-place", message)
            elif fence.closing is None:
                yield fence.finding("fence-place", "this fence is never closed")
            elif fence.closing != fence.ticks:
                message = (
                    f"{fence.ticks} is closed by {fence.closing}: the site differs"
                )
                yield fence.finding("fence-place", message)
            elif fence.ticks[0] == "~" or not (fence.title or fence.info in PLAIN_INFO):
                yield fence.finding("info-string", f"not allowed: {info_help(fence)}")


def info_help(fence: Fence) -> str:
    """Say what is wrong with an info string."""
    if fence.ticks[0] == "~":
        return "fences are made of backticks"
    if "title=" in fence.info:
        return (
            f"`{fence.info}`; a title is "
            'python title="examples/NAME.py" or '
            'json title="tests/fixtures/wire/NAME.json", and nothing follows it'
        )
    return f"`{fence.info}`; use one of {', '.join(sorted(PLAIN_INFO))}"


def check_blocks(project: Project) -> Iterator[Finding]:
    """`block-content`, `backticks`, `block-size` (of one block)."""
    for page in project.pages.values():
        for fence in page.fences:
            if fence.prefix or fence.closing is None:
                continue
            if fence.language == "python":
                yield from python_block(fence)
            elif fence.language == "json" and (message := json_error(fence)):
                yield fence.finding("block-content", message)
            if fence.title and "```" in fence.code:
                yield fence.finding("backticks", "code may not contain three backticks")
            if fence.title and fence.line_count > MAX_BLOCK_LINES and not big(fence):
                message = (
                    f"{fence.line_count} lines in a block, at most {MAX_BLOCK_LINES}"
                )
                yield fence.finding("block-size", message)


def python_block(fence: Fence) -> Iterator[Finding]:
    """Yield what is wrong with the content of a Python block."""
    tree = parse(fence.code)
    if tree is None or (fence.title and not tree.body):
        message = "not whole top-level statements (it does not parse alone)"
        yield fence.finding("block-content", message)
        return
    for line in placeholders(tree, allowed=False):
        yield fence.finding("block-content", "`...` stands for code here", line)


def placeholders(node: ast.AST, *, allowed: bool) -> Iterator[int]:
    """Yield the lines of `...` statements, except where typing needs them."""
    if isinstance(node, ast.ClassDef):
        allowed = any("Protocol" in ast.unparse(base) for base in node.bases)
    elif isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
        marks = " ".join(ast.unparse(mark) for mark in node.decorator_list)
        allowed = allowed or "overload" in marks or "abstract" in marks
    for child in ast.iter_child_nodes(node):
        if isinstance(child, ast.Expr) and not allowed:
            if isinstance(child.value, ast.Constant) and child.value.value is Ellipsis:
                yield child.lineno
        else:
            yield from placeholders(child, allowed=allowed)


def json_error(fence: Fence) -> str | None:
    """Say why a block is no JSON; an untitled one may hold one value per line."""
    values = [fence.code]
    try:
        json.loads(fence.code)
    except ValueError as error:
        if fence.title:
            return f"not JSON: {error}"
        values = [line for line in fence.code.split("\n") if line.strip()]
    try:
        for value in values:
            json.loads(value)
    except ValueError as error:
        return f"neither one JSON value nor one per line: {error}"
    return None if values else "an empty block"


def big(fence: Fence) -> bool:
    """Whether a class is what makes this block long."""
    return any(class_lines(node) > MAX_CLASS_LINES for node in classes(fence.code))


def classes(code: str) -> list[ast.ClassDef]:
    """Return every class of a text that parses."""
    tree = parse(code) or ast.Module([], [])
    return [node for node in ast.walk(tree) if isinstance(node, ast.ClassDef)]


def class_lines(node: ast.ClassDef) -> int:
    """Return a class's length in lines, without its decorators."""
    return (node.end_lineno or node.lineno) - node.lineno + 1


def check_sources(project: Project) -> Iterator[Finding]:
    """`one-home`, `block-size` (number of blocks), `class-size`, `nothing-inspected`."""
    if not project.sources:
        place = project.pages_dir.relative_to(project.root).as_posix()
        message = f"no titled block on {len(project.pages)} pages: this proves nothing"
        yield Finding(place, 1, "nothing-inspected", message)
    for source in project.sources.values():
        yield from home_findings(source)
        if len(source.pieces) > MAX_BLOCKS:
            message = f"{len(source.pieces)} blocks in a module, at most {MAX_BLOCKS}"
            yield source.pieces[MAX_BLOCKS].finding("block-size", message)
        for node in classes(source.text) if source.module else ():
            if class_lines(node) > MAX_CLASS_LINES:
                message = f"class {node.name} has {class_lines(node)} lines"
                limit = f", at most {MAX_CLASS_LINES}; split it by lifetime"
                yield source.finding("class-size", message + limit, node.lineno)


def home_findings(source: Source) -> Iterator[Finding]:
    """Yield pieces that are not where the first piece is."""
    first = source.pieces[0]
    for piece in source.pieces[1:]:
        if piece.page != first.page:
            message = f"{source.title} is already written on {first.page}:{first.line}"
            yield piece.finding("one-home", message)
            return
    if source.module is None and len(source.pieces) > 1:
        message = f"{source.title} is already at line {first.line}: one block per file"
        yield source.pieces[1].finding("one-home", message)


def declared_neighbours(tree: ast.Module) -> list[str] | None:
    """Return the modules a docstring says to copy too; None without that last line."""
    docstring = ast.get_docstring(tree) or ""
    start = docstring.rfind("\nCopy with:")
    match = COPY_WITH.fullmatch(docstring[start + 1 :].rstrip()) if start >= 0 else None
    if match is None:
        return None
    return re.findall(r"(\w+)\.py", match["names"] or "")


def imported_modules(tree: ast.AST) -> Iterator[tuple[str, int]]:
    """Yield the first part and the line of every absolute import."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            for alias in node.names:
                yield alias.name.partition(".")[0], node.lineno
        elif isinstance(node, ast.ImportFrom) and node.level == 0:
            yield (node.module or "").partition(".")[0], node.lineno


def check_neighbours(project: Project) -> Iterator[Finding]:
    """`copy-with`."""
    for name, source in project.modules.items():
        if source.tree is None:
            continue
        declared = declared_neighbours(source.tree)
        if declared is None:
            message = "the docstring's last line must be `Copy with: nothing.` or "
            yield source.finding("copy-with", message + "`Copy with: a.py, b.py.`")
            continue
        for unknown in sorted(set(declared) - project.modules.keys()):
            message = f"{name} declares {unknown}.py, which is on no page"
            yield source.finding("copy-with", message)
        for imported, line in imported_modules(source.tree):
            if imported in project.modules and imported not in [*declared, name]:
                message = (
                    f"{name} imports {imported} but does not declare {imported}.py"
                )
                yield source.finding("copy-with", message, line)


def check_links(project: Project) -> Iterator[Finding]:
    """`links`."""
    for page in project.pages.values():
        for line, target in page.links():
            if problem := link_problem(project, page, target):
                yield Finding(page.name, line, "links", f"`{target}`: {problem}")
        for match in MACHINE_PATH.finditer(page.prose):
            message = f"`{match[0]}`: a path of one machine"
            yield Finding(page.name, page.line_at(match.start()), "links", message)


def link_problem(project: Project, page: Page, target: str) -> str | None:
    """Say why a link leads nowhere; None if it is fine or leads to the web."""
    if re.match(r"(?:https?|mailto):", target):
        return None
    path, _, anchor = target.partition("#")
    if (
        not target
        or path.startswith(("/", "\\"))
        or re.match(r"[A-Za-z][\w+.-]*:", path)
    ):
        return "not a relative link and not a web address"
    name = resolve(page.name, path)
    inside = project.skill_of(page.name)
    home = f"{project.pages_dir.name}/" if inside is None else inside
    if name.startswith("../") or not name.startswith(home):
        return f"leaves {home or 'the skill'}, which is installed alone"
    if not (project.root / name).is_file():
        return "no such file"
    if anchor and name in project.pages:
        return anchor_problem(project.pages[name], anchor)
    return None


def resolve(page: str, path: str) -> str:
    """Return the name a relative link on a page points at."""
    if not path:
        return page
    joined = os.path.join(os.path.dirname(page), urllib.parse.unquote(path))
    return os.path.normpath(joined).replace(os.sep, "/")


def anchor_problem(page: Page, anchor: str) -> str | None:
    """Say why an anchor does not exist; it must, on GitHub and on the site."""
    on_github = anchor in unique_slugs(map(github_slug, page.headings()), "-")
    on_site = anchor in unique_slugs(map(site_slug, page.headings()), "_")
    if on_github and on_site:
        return None
    if not on_github and not on_site:
        return f"no such heading on {page.name}"
    reader = "the site" if on_github else "GitHub"
    return f"{reader} makes another anchor of that heading; word it more plainly"


def github_slug(heading: str) -> str:
    """Return the anchor GitHub gives a heading."""
    return re.sub(r"[^\w\- ]", "", heading.strip().lower()).replace(" ", "-")


def site_slug(heading: str) -> str:
    """Return the anchor Python-Markdown gives a heading."""
    plain = unicodedata.normalize("NFKD", heading).encode("ascii", "ignore").decode()
    plain = re.sub(r"[^\w\s-]", "", plain).strip().lower()
    return re.sub(r"[-\s]+", "-", plain)


def unique_slugs(slugs: Iterable[str], separator: str) -> set[str]:
    """Return the anchors of one page, repeated ones numbered."""
    seen: Counter[str] = Counter()
    found = set()
    for slug in slugs:
        found.add(f"{slug}{separator}{seen[slug]}" if seen[slug] else slug)
        seen[slug] += 1
    return found


def check_names(project: Project) -> Iterator[Finding]:
    """`names`."""
    known, foreign = known_names(project)
    for page in project.pages.values():
        for match in CODE_SPAN.finditer(page.prose):
            for name in mentioned_names(match[2], foreign):
                if name not in known:
                    message = f"`{name}` is in no module, script or fixture"
                    line = page.line_at(match.start())
                    yield Finding(page.name, line, "names", message)


def mentioned_names(span: str, foreign: set[str]) -> list[str]:
    """Return the classes, calls and constants in a span that is a Python expression.

    What hangs on a foreign module (`asyncio.timeout()`) is not ours to know.
    """
    # `Retry-After` is a header, not a subtraction.
    tree = None if re.search(r"\w-\w", span) else parse(f"({span.strip()}\n)")
    found: dict[str, None] = {}
    for node in ast.walk(tree or ast.Module([], [])):
        called = isinstance(node, ast.Call)
        target = node.func if isinstance(node, ast.Call) else node
        if isinstance(target, ast.Name):
            name = target.id
        elif isinstance(target, ast.Attribute) and root_name(target) not in foreign:
            name = target.attr
        else:
            continue
        if called or CLASS_LIKE.fullmatch(name) or CONSTANT_LIKE.fullmatch(name):
            found[name] = None
    return list(found)


def root_name(node: ast.expr) -> str | None:
    """Return the name a chain of attributes begins with."""
    while isinstance(node, ast.Attribute):
        node = node.value
    return node.id if isinstance(node, ast.Name) else None


def known_names(project: Project) -> tuple[set[str], set[str]]:
    """Return the names pages may use, and the foreign modules they may look into."""
    scripts = [p for p in project.pages_dir.rglob("*.py") if p.name != "skilldoc.py"]
    codes = [source.text for source in project.modules.values()]
    codes += [text for title, text in project.files.items() if title.endswith(".py")]
    codes += [read(path) for path in scripts]
    known = {*KNOWN_NAMES, *dir(builtins), *exception_names(), *project.modules}
    foreign = set(sys.stdlib_module_names)
    for tree in filter(None, map(parse, codes)):
        known.update(names_in_code(tree))
        foreign.update(name for name, _ in imported_modules(tree))
    fixtures = [s.text for s in project.sources.values() if s.module is None]
    fixtures += [
        text for title, text in project.files.items() if title.endswith(".json")
    ]
    for text in fixtures:
        known.update(re.findall(r'"([A-Za-z_]\w*)"', text))
    return known, foreign - project.modules.keys()


def exception_names() -> Iterator[str]:
    """Yield the names of the standard library's exceptions that pages talk about."""
    for module in STDLIB_WITH_EXCEPTIONS:
        for name, value in vars(importlib.import_module(module)).items():
            if isinstance(value, type) and issubclass(value, BaseException):
                yield name


def names_in_code(tree: ast.Module) -> Iterator[str]:
    """Yield what a module defines, imports, reads as attribute or writes as a word."""
    for node in ast.walk(tree):
        match node:
            case ast.ClassDef() | ast.FunctionDef() | ast.AsyncFunctionDef():
                yield node.name
            case ast.Name(id=name, ctx=ast.Store()) | ast.Attribute(attr=name):
                yield name
            case ast.arg(arg=name) | ast.alias(asname=str(name)):
                yield name
            case ast.alias(name=name):
                yield from name.split(".")
            case ast.Constant(value=str(word)) if IDENTIFIER.fullmatch(word):
                yield word


@dataclass(frozen=True)
class Table:
    """One Markdown table: header cells and rows with their lines."""

    header: tuple[str, ...]
    rows: tuple[tuple[int, tuple[str, ...]], ...]


def tables(page: Page) -> Iterator[Table]:
    """Yield the tables in a page's prose."""
    lines = page.prose.split("\n")
    for at in range(len(lines) - 1):
        if "|" in lines[at] and TABLE_RULE.fullmatch(lines[at + 1].strip()):
            end = at + 2
            while end < len(lines) and "|" in lines[end]:
                end += 1
            rows = tuple((n + 1, cells(lines[n])) for n in range(at + 2, end))
            yield Table(cells(lines[at]), rows)


def cells(line: str) -> tuple[str, ...]:
    """Return a table row's cells."""
    inner = line.strip().removeprefix("|").removesuffix("|")
    return tuple(cell.strip() for cell in re.split(r"(?<!\\)\|", inner))


def check_numbers(project: Project) -> Iterator[Finding]:
    """`numbers`."""
    known = {
        name: constants(source.tree)
        for name, source in project.modules.items()
        if source.tree is not None
    }
    for page in project.pages.values():
        for table in tables(page):
            if table.header[0] == "Constant":
                for line, row in table.rows:
                    if problem := row_problem(row, known):
                        yield Finding(page.name, line, "numbers", problem)


def row_problem(
    row: tuple[str, ...], known: Mapping[str, Mapping[str, Any]]
) -> str | None:
    """Say why a row is not what the code says."""
    match = re.fullmatch(r"`(?:(\w+)\.)?(\w+)`", row[0])
    if match is None or len(row) < 2:
        return f"the first cell must be `MODULE.NAME` or `NAME`: {row[0]}"
    module, name = match.groups()
    owners = [m for m in known if name in known[m] and module in (None, m)]
    if len(owners) != 1:
        where = f"in {', '.join(owners)}: say which" if owners else "in no module"
        return f"`{name}` is {where}"
    value = known[owners[0]][name]
    if same_value(row[1], name, value):
        return None
    return f"the page says {row[1]}, {owners[0]}.{name} is {value!r}"


def same_value(cell: str, name: str, value: object) -> bool:
    """Whether a cell says the value, perhaps as `16 MiB`, `10 s` or `1,000`."""
    text = cell.strip("`")
    if isinstance(value, bool) or not isinstance(value, int | float | Decimal):
        return text in (str(value), repr(value), f'"{value}"')
    match = NUMBER_CELL.fullmatch(text)
    if match is None:
        return False
    milliseconds = name.upper().endswith("_MS")
    if match["unit"] in ("s", "ms") and (match["unit"] == "ms") != milliseconds:
        return False
    factor = UNIT_FACTOR.get(match["unit"], 1)
    return Decimal(match["number"].replace(",", "")) * factor == Decimal(str(value))


def constants(tree: ast.Module) -> dict[str, Any]:
    """Return the module's top-level names with a literal or simple arithmetic value."""
    found: dict[str, Any] = {}
    for node in tree.body:
        match node:
            case ast.Assign(targets=[ast.Name(id=name)], value=value):
                pass
            case ast.AnnAssign(target=ast.Name(id=name), value=ast.expr() as value):
                pass
            case _:
                continue
        try:
            found[name] = literal(value, found)
        except (ValueError, TypeError, ArithmeticError):
            continue
    return found


OPERATORS: dict[type[ast.operator], Callable[[Any, Any], Any]] = {
    ast.Add: operator.add,
    ast.Sub: operator.sub,
    ast.Mult: operator.mul,
    ast.Div: operator.truediv,
    ast.FloorDiv: operator.floordiv,
    ast.Pow: operator.pow,
}


def literal(node: ast.expr, known: Mapping[str, Any]) -> Any:
    """Return the value of a literal, of arithmetic on numbers, or of a Decimal("…").

    Anything else is a ValueError.
    """
    match node:
        case ast.BinOp(left=left, op=op, right=right) if type(op) in OPERATORS:
            one, other = literal(left, known), literal(right, known)
            numbers = all(isinstance(n, int | float | Decimal) for n in (one, other))
            if not numbers or (isinstance(op, ast.Pow) and abs(other) > 64):
                raise ValueError("not simple arithmetic")
            return OPERATORS[type(op)](one, other)
        case ast.UnaryOp(op=ast.USub(), operand=operand):
            return -literal(operand, known)
        case ast.Name(id=name) if name in known:
            return known[name]
        case ast.Call(
            func=ast.Name(id="Decimal"), args=[ast.Constant(value=str(text))]
        ):
            return Decimal(text)
        case _:
            return ast.literal_eval(node)


def check_budgets(project: Project) -> Iterator[Finding]:
    """`budgets`."""
    sizes: Counter[str] = Counter()
    for page in project.pages.values():
        manifest = page.name.rpartition("/")[2] == "SKILL.md"
        limit = MANIFEST_TOKENS if manifest else PAGE_TOKENS
        if page.tokens > limit:
            message = f"about {page.tokens:,.0f} tokens, at most {limit:,}"
            yield Finding(page.name, 1, "budgets", message)
        lines = page.text.count("\n")
        if manifest and lines > MANIFEST_LINES:
            message = f"{lines} lines, at most {MANIFEST_LINES}"
            yield Finding(page.name, 1, "budgets", message)
        if (skill := project.skill_of(page.name)) is not None:
            sizes[skill] += len(page.text)
    for skill, characters in sizes.items():
        if (tokens := characters / CHARACTERS_PER_TOKEN) > SKILL_TOKENS:
            message = f"about {tokens:,.0f} tokens in all, at most {SKILL_TOKENS:,}"
            yield Finding(f"{skill}SKILL.md", 1, "budgets", message)


def check_routes(project: Project) -> Iterator[Finding]:
    """`reachable`, `read-when`."""
    linked: dict[str, set[str]] = {}
    for page in project.pages.values():
        skill = project.skill_of(page.name)
        if skill is None or page.name == f"{skill}SKILL.md":
            continue
        manifest = project.pages.get(f"{skill}SKILL.md", Page(f"{skill}SKILL.md", ""))
        if skill not in linked:
            targets = [target.partition("#")[0] for _, target in manifest.links()]
            linked[skill] = {resolve(manifest.name, path) for path in targets}
        if page.name not in linked[skill]:
            message = f"{manifest.name} does not link to this page"
            yield Finding(page.name, 1, "reachable", message)
        opening = page.prose.partition("\n## ")[0].split("\n")
        named = page.name.rpartition("/")[2] == "README.md"
        if not named and not any(READ_WHEN.match(line) for line in opening):
            message = 'add a line "> Read this when …" under the title'
            yield Finding(page.name, 1, "read-when", message)


CHECKS: tuple[Callable[[Project], Iterator[Finding]], ...] = (
    check_equality,
    check_fences,
    check_blocks,
    check_sources,
    check_neighbours,
    check_links,
    check_names,
    check_numbers,
    check_budgets,
    check_routes,
)


def check(project: Project) -> list[Finding]:
    """Return everything that is wrong, in reading order."""
    found = {finding for run in CHECKS for finding in run(project)}
    return sorted(found, key=lambda f: (f.place, f.line, f.rule, f.message))


# Stitch and tangle.


@dataclass(frozen=True)
class Statement:
    """One top-level statement with the comments and blank lines above it."""

    kind: str
    name: str
    text: str


def cut(code: str, place: str) -> list[Statement]:
    """Cut code into statements whose texts, joined, are the code again."""
    tree = parse(code)
    if tree is None:
        raise RefusedError(
            f"{place}: does not parse, so it cannot be cut into statements"
        )
    lines = [f"{line}\n" for line in code.removesuffix("\n").split("\n")]
    ends: list[tuple[int, ast.stmt]] = []
    for node in tree.body:
        if ends and node.lineno <= ends[-1][0]:  # a = 1; b = 2
            ends[-1] = (node.end_lineno or node.lineno, ends[-1][1])
        else:
            ends.append((node.end_lineno or node.lineno, node))
    if ends:
        ends[-1] = (len(lines), ends[-1][1])
    starts = [0, *(end for end, _ in ends)]
    return [
        Statement(*kind_and_name(node), "".join(lines[start:end]))
        for start, (end, node) in zip(starts, ends, strict=False)
    ]


def kind_and_name(node: ast.stmt) -> tuple[str, str]:
    """Return what a statement is recognised by after an edit."""
    match node:
        case ast.FunctionDef() | ast.AsyncFunctionDef() | ast.ClassDef():
            return "definition", node.name
        case (
            ast.Assign(targets=[target, *_])
            | ast.AnnAssign(target=target)
            | ast.AugAssign(target=target)
        ):
            return "assignment", ast.unparse(target)
        case ast.ImportFrom(module=name):
            return "import", name or "."
        case ast.Import(names=names):
            return "import", names[0].name
        case ast.Expr(value=ast.Constant(value=str())):
            return "docstring", ""
        case _:
            return type(node).__name__, ast.unparse(node).partition("\n")[0]


def homes(old: list[tuple[Statement, int]], new: list[Statement]) -> list[int]:
    """Return the block of each new statement; never a smaller one than above it.

    A statement known by name stays in its block, a renamed one too; any other goes
    with the statement above it.
    """
    before = [(statement.kind, statement.name) for statement, _ in old]
    after = [(statement.kind, statement.name) for statement in new]
    found: dict[int, int] = {}
    matcher = difflib.SequenceMatcher(None, before, after, autojunk=False)
    for tag, i1, i2, j1, j2 in matcher.get_opcodes():
        if tag == "equal":
            found |= {
                j: old[i][1] for i, j in zip(range(i1, i2), range(j1, j2), strict=True)
            }
        elif tag == "replace":
            left = [statement for statement, _ in old[i1:i2]]
            for i, j in pair_renamed(left, new[j1:j2]):
                found[j1 + j] = old[i1 + i][1]
    result: list[int] = []
    for j in range(len(new)):
        result.append(found.get(j, result[-1] if result else 0))
    return result


def pair_renamed(old: list[Statement], new: list[Statement]) -> list[tuple[int, int]]:
    """Pair statements in order so that the texts of the pairs agree most."""
    best: dict[tuple[int, int], tuple[float, list[tuple[int, int]]]] = {}
    for i in range(len(old) + 1):
        for j in range(len(new) + 1):
            options: list[tuple[float, list[tuple[int, int]]]] = [(0.0, [])]
            if i:
                options.append(best[i - 1, j])
            if j:
                options.append(best[i, j - 1])
            if i and j:
                score, pairs = best[i - 1, j - 1]
                score += likeness(old[i - 1], new[j - 1])
                options.append((score, [*pairs, (i - 1, j - 1)]))
            best[i, j] = max(options, key=lambda option: option[0])
    return best[len(old), len(new)][1]


def likeness(one: Statement, other: Statement) -> float:
    """Return how much two statements agree, word by word; 0 to 1.

    Statements of one kind always agree a little: a lone rewritten one keeps its block.
    """
    if one.kind != other.kind:
        return 0.01
    left, right = (re.findall(r"\w+|[^\w\s]", s.text)[:400] for s in (one, other))
    return (
        0.1 + 0.9 * difflib.SequenceMatcher(None, left, right, autojunk=False).ratio()
    )


def stitched_blocks(source: Source, file: str) -> list[str]:
    """Return the new code of each of a source's blocks.

    Refused where a block would be left empty, or a side does not parse.
    """
    if "\r" in file or any("\r" in piece.code for piece in source.pieces):
        raise RefusedError(
            f"{source.title}: has CR line ends; convert both sides to LF"
        )
    if source.module is None:
        blocks = [file]
    else:
        new = cut(file, f"{source.title}:1")
        old = [
            (statement, block)
            for block, piece in enumerate(source.pieces)
            for statement in cut(piece.code, f"{piece.page}:{piece.line}")
        ]
        blocks = [""] * len(source.pieces)
        for statement, home in zip(new, homes(old, new), strict=True):
            blocks[home] += statement.text
    for piece, code in zip(source.pieces, blocks, strict=True):
        if not code.strip():
            raise RefusedError(
                f"{piece.page}:{piece.line}: nothing of {source.title} is left for this "
                "block; remove it with its heading, then run: skilldoc.py stitch --force"
            )
    trimmed = [re.sub(r"\A(?:[ \t]*\n)+", "", code).rstrip() + "\n" for code in blocks]
    if content("".join(trimmed)) != content(file):
        raise RefusedError(
            f"{source.title}: stitching would change the code: a bug here"
        )
    return trimmed


def content(text: str) -> list[str]:
    """Return the lines that are not blank, to compare up to blank lines."""
    return [line.rstrip() for line in text.split("\n") if line.strip()]


def replace_blocks(page: Page, codes: Mapping[int, str]) -> Page:
    """Return the page with new code in the fences that open on the given lines.

    Refused where the new code would end its fence.
    """
    lines = page.text.split("\n")
    for fence in reversed(page.fences):
        if fence.line in codes:
            new = codes[fence.line].removesuffix("\n").split("\n")
            lines[fence.line : fence.end - 1] = new
    result = Page(page.name, "\n".join(lines))
    expected = [codes.get(fence.line, fence.code) for fence in page.fences]
    if [fence.code for fence in result.fences] != expected:
        raise RefusedError(
            f"{page.name}: the new code contains a fence (three backticks)"
        )
    return result


def settle(project: Project, verb: Literal["stitch", "tangle"], *, force: bool) -> int:
    """Make both sides equal in one direction; all is computed before any is written."""
    refuse_unusable(project)
    wanted: list[Source] = []
    left_alone: list[Source] = []
    for source in project.differing():
        other = "pages" if verb == "stitch" else "file"
        missing = verb == "stitch" and source.title not in project.files
        changed = "unknown" if force else changed_side(project, source)
        if changed == "both":
            refuse_conflict(project, source)
        (left_alone if missing or changed == other else wanted).append(source)
    if verb == "stitch":
        outputs = stitched_outputs(project, wanted)
    else:
        outputs = {source.title: source.text for source in wanted}
    write({project.root / name: text for name, text in outputs.items()})
    remember_settled(project.root)
    for name in outputs:
        say(f"wrote {name}")
    turned = "tangle" if verb == "stitch" else "stitch"
    for source in left_alone:
        say(
            f"left alone: {source.title}, changed only on the other side; "
            f"run: skilldoc.py {turned} (or {verb} --force to undo that change)"
        )
    if not outputs and not left_alone:
        say("nothing to do: no differences")
    return 1 if left_alone else 0


def refuse_unusable(project: Project) -> None:
    """Refuse what has no single meaning: no files, two homes, blocks that do not parse."""
    if not project.has_files:
        raise RefusedError(f"{project.root}: an installed skill has no files beside it")
    if not project.sources:
        raise RefusedError(f"{project.pages_dir}: no titled block on any page")
    problems = [f for s in project.sources.values() for f in home_findings(s)]
    problems += [f for f in check_fences(project) if f.rule == "fence-place"]
    for source in project.sources.values():
        for piece in source.pieces if source.module else ():
            if parse(piece.code) is None:
                problems.append(piece.finding("block-content", "does not parse alone"))
    if problems:
        raise RefusedError("\n".join(map(str, problems)))


def refuse_conflict(project: Project, source: Source) -> None:
    """Print how the two sides differ, and refuse."""
    diff = difflib.unified_diff(
        source.text.split("\n"),
        project.files[source.title].split("\n"),
        fromfile=f"{source.pieces[0].page} (page)",
        tofile=f"{source.title} (file)",
        lineterm="",
    )
    say("\n".join(diff))
    raise RefusedError(f"{source.title}: {how_to_mend(project, source)}")


def stitched_outputs(project: Project, wanted: list[Source]) -> dict[str, str]:
    """Return the new text of every page and file that stitching changes."""
    codes: dict[str, dict[int, str]] = {}
    outputs: dict[str, str] = {}
    for source in wanted:
        blocks = stitched_blocks(source, project.files[source.title])
        for piece, code in zip(source.pieces, blocks, strict=True):
            codes.setdefault(piece.page, {})[piece.line] = code
        joined = "\n\n".join(blocks)
        if joined != project.files[source.title]:  # blank lines between the blocks
            outputs[source.title] = joined
    for name, new in codes.items():
        page = replace_blocks(project.pages[name], new)
        if page.text != project.pages[name].text:
            outputs[name] = page.text
    return outputs


def write(texts: Mapping[Path, str]) -> None:
    """Write files, each whole or not at all: first all beside their place, then moved."""
    staged: list[tuple[Path, Path]] = []
    for path, text in texts.items():
        path.parent.mkdir(parents=True, exist_ok=True)
        draft = path.with_name(f".{path.name}.{os.getpid()}.tmp")
        draft.write_bytes(text.encode())
        if path.exists():
            shutil.copymode(path, draft)
        staged.append((draft, path))
    for draft, path in staged:
        os.replace(draft, path)


# Copying modules out of the pages.


def closure(project: Project, names: Iterable[str]) -> dict[str, ast.Module]:
    """Return the named modules and all their declared neighbours, parsed."""
    found: dict[str, ast.Module] = {}
    waiting = list(names)
    while waiting:
        name = waiting.pop(0)
        if name in found:
            continue
        if name not in project.modules:
            near = difflib.get_close_matches(name, project.modules, n=3)
            hint = f"; did you mean {', '.join(near)}?" if near else ""
            raise RefusedError(f"no module {name} on the pages{hint}")
        source = project.modules[name]
        neighbours = declared_neighbours(source.tree) if source.tree else None
        if source.tree is None or neighbours is None:
            page = source.pieces[0]
            raise RefusedError(f"{page.page}:{page.line}: {name} is broken; run check")
        found[name] = source.tree
        waiting += neighbours
    return found


def with_relative_imports(code: str, neighbours: Container[str]) -> str:
    """Put the dot in front of flat imports of neighbours."""
    lines = code.encode().split(b"\n")
    nodes = [
        node
        for node in ast.walk(ast.parse(code))
        if isinstance(node, ast.Import | ast.ImportFrom)
        and any(name in neighbours for name, _ in imported_modules(node))
    ]
    for node in sorted(nodes, key=lambda n: (n.lineno, n.col_offset), reverse=True):
        first, last = node.lineno - 1, (node.end_lineno or node.lineno) - 1
        before, after = (
            lines[first][: node.col_offset],
            lines[last][node.end_col_offset :],
        )
        old = ast.get_source_segment(code, node) or ""
        new = relative_import(node, old, neighbours)
        lines[first : last + 1] = (before + new.encode() + after).split(b"\n")
    return b"\n".join(lines).decode()


def relative_import(
    node: ast.Import | ast.ImportFrom, old: str, neighbours: Container[str]
) -> str:
    """Return an import statement's text with a dot where it names a neighbour."""
    if isinstance(node, ast.ImportFrom):
        return re.sub(r"\Afrom\s+", "from .", old)
    parts = []
    for alias in node.names:
        renamed = f" as {alias.asname}" if alias.asname else ""
        start = "from . import" if alias.name in neighbours else "import"
        parts.append(f"{start} {alias.name}{renamed}")
    return "; ".join(parts)


def packages_needed(trees: Mapping[str, ast.Module]) -> list[str]:
    """Return the third-party packages a set of modules imports."""
    imported = {name for tree in trees.values() for name, _ in imported_modules(tree)}
    foreign = imported - sys.stdlib_module_names - trees.keys() - {""}
    return sorted(DISTRIBUTIONS.get(name, name.replace("_", "-")) for name in foreign)


def texts_to_copy(
    project: Project, trees: Mapping[str, ast.Module], folder: Path, *, package: bool
) -> dict[Path, str]:
    """Return what `copy` writes, by path."""
    texts: dict[Path, str] = {}
    for name in trees:
        if not MODULE_NAME.fullmatch(name):
            raise RefusedError(f"{name}: not a plain module name")
        text = project.modules[name].text
        text = with_relative_imports(text, trees) if package else text
        texts[folder / f"{name}.py"] = text
    init = folder / "__init__.py"
    if package and not init.exists():
        texts[init] = '"""Modules copied from the polymarket skill."""\n'
    return texts


def copy(project: Project, options: argparse.Namespace) -> int:
    """Write modules and their neighbours into a folder."""
    folder = Path(options.directory)
    if folder.exists() and not folder.is_dir():
        raise RefusedError(f"{folder}: not a folder")
    trees = closure(project, [name.removesuffix(".py") for name in options.names])
    texts = texts_to_copy(project, trees, folder, package=options.package)
    same = {
        path for path, text in texts.items() if path.exists() and read(path) == text
    }
    differing = [path for path in texts if path.exists() and path not in same]
    if differing and not options.force:
        for path in differing:
            complain(
                f"{path}: exists and differs; nothing was written (--force replaces)"
            )
        return 1
    write({path: text for path, text in texts.items() if path not in same})
    for path in texts:
        say(f"{'same ' if path in same else 'wrote'} {path}")
    packages = packages_needed(trees)
    say(
        f"needs: pip install {' '.join(packages)}"
        if packages
        else "needs: nothing else"
    )
    return 0


# The other commands.


def list_modules(project: Project, options: argparse.Namespace) -> int:
    """Print the modules on the pages."""
    if not project.modules:
        raise RefusedError(f"{project.pages_dir}: no module on any page")
    rows = [describe(name, source) for name, source in project.modules.items()]
    if options.json:
        say(json.dumps(rows, indent=2))
        return 0
    table = [("MODULE", "WHAT", "COPY WITH", "PAGE")]
    table += [
        (row["name"], row["summary"], ", ".join(row["copy_with"]) or "-", row["page"])
        for row in rows
    ]
    widths = [max(map(len, column)) for column in zip(*table, strict=True)]
    for cell_row in table:
        padded = [cell.ljust(w) for cell, w in zip(cell_row, widths, strict=True)]
        say("  ".join(padded).rstrip())
    return 0


def describe(name: str, source: Source) -> dict[str, Any]:
    """Return what `list` says of a module."""
    tree = source.tree or ast.Module([], [])
    summary = (ast.get_docstring(tree) or "").partition("\n")[0]
    return {
        "name": name,
        "summary": summary,
        "copy_with": declared_neighbours(tree) or [],
        "page": source.pieces[0].page,
        "line": source.pieces[0].line,
    }


def check_command(project: Project, options: argparse.Namespace) -> int:
    """Print the findings and a summary."""
    if options.rules:
        width = max(map(len, RULES))
        say("\n".join(f"{rule.ljust(width)}  {text}" for rule, text in RULES.items()))
        return 0
    if options.budgets:
        print_budgets(project)
    findings = check(project)
    for finding in findings:
        say(str(finding))
    if not project.has_files:
        say("no examples/ here: checked the pages alone")
    blocks = sum(len(source.pieces) for source in project.sources.values())
    files = len(project.sources.keys() | project.files.keys())
    result = f"{len(findings)} findings" if findings else "no differences"
    say(f"checked {len(project.pages)} pages, {blocks} blocks, {files} files: {result}")
    return 1 if findings else 0


def print_budgets(project: Project) -> None:
    """Print every page's size."""
    sizes: Counter[str] = Counter()
    say(f"{'tokens':>7} {'lines':>6}  page")
    for page in project.pages.values():
        say(f"{page.tokens:7,.0f} {page.text.count(chr(10)):6,}  {page.name}")
        if (skill := project.skill_of(page.name)) is not None:
            sizes[skill] += len(page.text)
    for skill, size in sizes.items():
        tokens = size / CHARACTERS_PER_TOKEN
        say(
            f"{tokens:7,.0f} {'':6}  {skill or 'the skill'} in all (≤ {SKILL_TOKENS:,})"
        )


def where(project: Project, options: argparse.Namespace) -> int:
    """Print the other side's place of a line."""
    name, _, number = options.place.rpartition(":")
    if not name or not number.isdecimal():
        raise RefusedError(f"{options.place}: write it as FILE:LINE")
    line = int(number)
    if name.endswith(".md"):
        page = project.pages[pick(project, name, project.pages)]
        say(file_place(project, page, line))
        return 0
    source = project.sources[pick(project, name, project.sources)]
    count = source.text.count("\n")
    if not 1 <= line <= count:
        raise RefusedError(f"{source.title}: has {count} lines")
    if project.has_files and project.files.get(source.title) != source.text:
        complain(f"{source.title} differs from its page: this counts the page's lines")
    piece, page_line = source.page_line(line)
    say(f"{piece.page}:{page_line}")
    return 0


def pick(project: Project, name: str, names: Iterable[str]) -> str:
    """Return the one page or title a user means by a path or the end of one."""
    names = list(names)
    path = Path(name).resolve()
    if path.is_relative_to(project.root):
        exact = path.relative_to(project.root).as_posix()
        if exact in names:
            return exact
    found = [n for n in names if n == name or n.endswith(f"/{name}")]
    if len(found) == 1:
        return found[0]
    near = found or difflib.get_close_matches(name, names, n=3)
    hint = f"; did you mean {', '.join(near)}?" if near else ""
    raise RefusedError(f"{name}: {'on several' if found else 'on no'} page{hint}")


def file_place(project: Project, page: Page, line: int) -> str:
    """Return the file line of a page line; a fence line counts to its block's edge."""
    for fence in page.fences:
        if fence.title and fence.line <= line <= fence.end:
            source = project.sources[fence.title]
            start = next(at for at, piece in source.spans() if piece is fence)
            inside = min(max(line - fence.line - 1, 0), fence.line_count - 1)
            return f"{fence.title}:{start + inside}"
    raise RefusedError(f"{page.name}:{line}: not in a titled block")


def say(text: str) -> None:
    """Write a line of the answer."""
    sys.stdout.write(f"{text}\n")


def complain(text: str) -> None:
    """Write a line about what went wrong."""
    sys.stderr.write(f"{text}\n")


def stitch(project: Project, options: argparse.Namespace) -> int:
    """Write the files into the pages."""
    return settle(project, "stitch", force=options.force)


def tangle(project: Project, options: argparse.Namespace) -> int:
    """Write the pages into the files."""
    return settle(project, "tangle", force=options.force)


COMMANDS: dict[str, tuple[Callable[[Project, argparse.Namespace], int], str, str]] = {
    "list": (
        list_modules,
        "list the modules: what each does, what to copy with it, its page",
        "skilldoc.py list\nskilldoc.py list --json",
    ),
    "copy": (
        copy,
        "write modules and their neighbours from the pages into a folder",
        "skilldoc.py copy order_book src/feed\n"
        "skilldoc.py copy market_websocket api_credentials src/feed --package",
    ),
    "check": (
        check_command,
        "hold the pages to the rules and to the files; exit 1 on any finding",
        "skilldoc.py check\nskilldoc.py check --budgets\nskilldoc.py check --rules",
    ),
    "stitch": (
        stitch,
        "write edited files into their pages",
        "skilldoc.py stitch\nskilldoc.py stitch --force   # the file wins",
    ),
    "tangle": (
        tangle,
        "write edited pages into their files",
        "skilldoc.py tangle\nskilldoc.py tangle --force   # the page wins",
    ),
    "where": (
        where,
        "say where a line is on the other side",
        "skilldoc.py where examples/order_book.py:88\n"
        "skilldoc.py where skills/polymarket/real-time/order-book.md:120",
    ),
}


def make_parser() -> argparse.ArgumentParser:
    """Return the command line's parser."""
    plain = argparse.RawDescriptionHelpFormatter
    parser = argparse.ArgumentParser(
        prog="skilldoc.py",
        description=(__doc__ or "").partition("\n")[0],
        epilog="examples:\n  skilldoc.py list\n  skilldoc.py copy order_book DIR\n"
        "  skilldoc.py check\n\nskilldoc.py COMMAND --help has more.",
        formatter_class=plain,
    )
    root_help = "a repository or a skill folder (default: where this script is)"
    parser.add_argument("--root", metavar="DIR", help=root_help)
    commands = parser.add_subparsers(dest="command", required=True, metavar="COMMAND")
    added = {}
    for name, (_, text, examples) in COMMANDS.items():
        indented = "examples:\n  " + examples.replace("\n", "\n  ")
        added[name] = commands.add_parser(
            name, help=text, description=text, epilog=indented, formatter_class=plain
        )
        added[name].add_argument(
            "--root", metavar="DIR", help=root_help, default=argparse.SUPPRESS
        )
    add_options(added)
    return parser


def add_options(added: Mapping[str, argparse.ArgumentParser]) -> None:
    """Give each command its own arguments."""
    added["list"].add_argument("--json", action="store_true", help="for programs")
    added["copy"].add_argument("names", nargs="+", metavar="NAME", help="a module")
    added["copy"].add_argument("directory", metavar="DIR", help="made if missing")
    added["copy"].add_argument(
        "--package", action="store_true", help="relative imports and an __init__.py"
    )
    added["copy"].add_argument(
        "--force", action="store_true", help="replace files that differ"
    )
    added["check"].add_argument("--rules", action="store_true", help="print the rules")
    added["check"].add_argument(
        "--budgets", action="store_true", help="print the sizes first"
    )
    for name in ("stitch", "tangle"):
        added[name].add_argument(
            "--force",
            action="store_true",
            help="take this direction whatever changed on the other side",
        )
    added["where"].add_argument("place", metavar="FILE:LINE", help="a file or a page")


def main(arguments: list[str] | None = None) -> int:
    """Run one command and return its exit code."""
    options = make_parser().parse_args(arguments)
    try:
        project = open_project(options.root)
        return COMMANDS[options.command][0](project, options)
    except RefusedError as error:
        complain(str(error))
        return 2


if __name__ == "__main__":
    sys.exit(main())
