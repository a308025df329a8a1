"""The site is the pages, rendered, and asks no other host for anything."""

from __future__ import annotations

import hashlib
import io
import json
import os
import re
import shutil
import subprocess
import sys
import tarfile
from html.parser import HTMLParser
from pathlib import Path

import pytest

from site_hooks import skill_archive


ROOT = Path(__file__).resolve().parents[1]
DOCS = ROOT / "skills"
MERMAID = "assets/javascripts/mermaid.tiny.js"
LOADING_RELS = {"stylesheet", "preload", "modulepreload", "preconnect", "icon"}


def build(root: Path, target: Path) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "mkdocs", "build", "--strict", "-d", str(target)]
    return subprocess.run(
        command,
        cwd=root,
        env={**os.environ, "NO_MKDOCS_2_WARNING": "1"},
        capture_output=True,
        text=True,
        check=False,
    )


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Path:
    target = tmp_path_factory.mktemp("site")
    result = build(ROOT, target)
    assert result.returncode == 0, result.stderr
    return target


def pages() -> list[Path]:
    found = sorted(path.relative_to(DOCS) for path in DOCS.rglob("*.md"))
    assert found, "skills/ has no page"
    return found


class Loads(HTMLParser):
    """Collects what a browser fetches for a page, and the text of paragraphs."""

    def __init__(self, page: Path) -> None:
        super().__init__()
        self.urls: list[str] = []
        self.paragraphs: list[str] = []
        self._in_paragraph = False
        self.feed(page.read_text(encoding="utf-8"))

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        values = {name: value or "" for name, value in attrs}
        if tag == "p":
            self.paragraphs.append("")
        self._in_paragraph = tag == "p" or self._in_paragraph
        if tag == "link" and LOADING_RELS & set(values.get("rel", "").split()):
            self.urls.append(values["href"])
        if tag in {"script", "img", "iframe", "source", "video", "audio", "embed"}:
            self.urls += [values[name] for name in ("src", "srcset") if name in values]

    def handle_endtag(self, tag: str) -> None:
        self._in_paragraph = self._in_paragraph and tag != "p"

    def handle_data(self, data: str) -> None:
        if self._in_paragraph:
            self.paragraphs[-1] += data


def html_pages(site: Path) -> list[Path]:
    found = sorted(site.rglob("*.html"))
    assert len(found) > len(pages()), "every page and 404.html"
    return found


def test_every_page_is_served_as_its_own_markdown(site: Path) -> None:
    for page in pages():
        assert (site / page).read_bytes() == (DOCS / page).read_bytes(), page


def test_every_page_links_its_markdown(site: Path) -> None:
    for page in pages():
        html = "index.html" if page.name == "README.md" else f"{page.stem}.html"
        text = (site / page.parent / html).read_text(encoding="utf-8")
        assert f'href="{page.name}">View as Markdown</a>' in text, page


def test_llms_txt_says_when_to_read_each_page(site: Path) -> None:
    lines = (site / "llms.txt").read_text(encoding="utf-8").splitlines()
    assert lines[0].startswith("# ")
    assert lines[2].startswith("> ")
    listed = [re.fullmatch(r"- \[.+\]\((.+\.md)\): (.+)", line) for line in lines]
    found = {match[1]: match[2] for match in listed if match}
    assert sorted(found) == [page.as_posix() for page in pages()]


def test_the_skill_index_names_an_archive_with_its_digest(site: Path) -> None:
    folder = site / ".well-known" / "agent-skills"
    index = json.loads((folder / "index.json").read_text(encoding="utf-8"))
    assert index["$schema"].endswith("/discovery/0.2.0/schema.json")
    [skill] = index["skills"]
    assert (skill["name"], skill["type"]) == ("polymarket", "archive")
    assert 0 < len(skill["description"]) <= 1024
    archive = (folder / skill["url"]).read_bytes()
    assert skill["digest"] == "sha256:" + hashlib.sha256(archive).hexdigest()
    assert archive == skill_archive(DOCS / "polymarket")


def test_the_archive_holds_the_skill_and_nothing_else(site: Path) -> None:
    archive = site / ".well-known" / "agent-skills" / "polymarket.tar.gz"
    with tarfile.open(archive) as tar:
        members = tar.getmembers()
        assert all(member.isfile() for member in members)
        assert all((DOCS / "polymarket" / member.name).exists() for member in members)
    names = [member.name for member in members]
    assert {"SKILL.md", "scripts/skilldoc.py"} <= set(names)
    assert not [name for name in names if name.startswith((".", "/")) or "__py" in name]


def test_an_archive_depends_on_names_and_contents_only(tmp_path: Path) -> None:
    skill = tmp_path / "skill"
    (skill / "scripts" / "__pycache__").mkdir(parents=True)
    (skill / "SKILL.md").write_text("text")
    (skill / "scripts" / "tool.py").write_text("code")
    first = skill_archive(skill)
    os.utime(skill / "SKILL.md", (1, 1))
    (skill / "SKILL.md").chmod(0o600)
    (skill / "scripts" / "__pycache__" / "tool.pyc").write_text("cache")
    assert skill_archive(skill) == first
    with tarfile.open(fileobj=io.BytesIO(first)) as tar:
        assert tar.getnames() == ["SKILL.md", "scripts/tool.py"]
    (skill / "SKILL.md").write_text("other")
    assert skill_archive(skill) != first


def test_no_page_loads_anything_from_another_host(site: Path) -> None:
    for page in html_pages(site):
        urls = Loads(page).urls
        assert urls, f"{page} loads nothing at all?"
        for url in urls:
            assert not re.match(r"(?:[a-z]+:)?//", url), f"{page}: {url}"
            local = url.partition("?")[0]
            base = site if local.startswith("/") else page.parent
            assert (base / local.lstrip("/")).is_file(), f"{page}: {url} is missing"


def test_no_stylesheet_loads_anything_from_another_host(site: Path) -> None:
    sheets = sorted(site.rglob("*.css"))
    assert sheets
    for sheet in sheets:
        text = sheet.read_text(encoding="utf-8")
        assert not re.search(r"(?:url\(|@import)\s*[\"']?(?:https?:)?//", text), sheet


def test_pages_with_a_diagram_bring_mermaid_along(site: Path) -> None:
    drawn = [
        page
        for page in html_pages(site)
        if 'class="mermaid"' in page.read_text("utf-8")
    ]
    assert drawn, "no page has a diagram"
    for page in drawn:
        assert any(url.endswith(MERMAID) for url in Loads(page).urls), page


def test_mermaid_is_the_file_the_readme_names() -> None:
    content = (ROOT / "website" / "theme" / MERMAID).read_bytes()
    readme = (ROOT / "website" / "README.md").read_text(encoding="utf-8")
    assert hashlib.sha256(content).hexdigest() in readme


def test_no_list_and_no_table_is_left_as_text(site: Path) -> None:
    for page in html_pages(site):
        for paragraph in Loads(page).paragraphs:
            stray = re.search(r"^\s*(?:[-*] |\d+\. |\|).*", paragraph, re.MULTILINE)
            assert not stray, f"{page}: a blank line is missing before {stray}"


def test_a_strict_build_reports_every_kind_of_broken_page(tmp_path: Path) -> None:
    for name in ("skills", "website"):
        shutil.copytree(ROOT / name, tmp_path / name)
    shutil.copy(ROOT / "mkdocs.yml", tmp_path)
    home = tmp_path / "skills" / "README.md"
    text = home.read_text(encoding="utf-8").replace("Read this when", "Read it when")
    home.write_text(f"{text}\n[a](no-such-page.md)\n[b](#no-such-anchor)\n", "utf-8")
    (tmp_path / "skills" / "stray.md").write_text("# In no group\n", "utf-8")
    result = build(tmp_path, tmp_path / "out")
    assert result.returncode != 0
    assert "Aborted with 4 warnings in strict mode" in result.stdout
    for named in ("no-such-page.md", "#no-such-anchor", "stray.md", "llms.txt"):
        assert named in result.stderr, named
