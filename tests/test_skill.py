"""What is installed: the skill, the plugin around it, and the locks."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from mkdocs.utils.meta import get_data


ROOT = Path(__file__).resolve().parents[1]
SKILL = ROOT / "skills" / "polymarket"
LOCKS = ["runtime", "dev", "websockets15", "sdk"]
CHARACTERS_PER_TOKEN = 3.6

# Taken apart, so that this file does not contain what it looks for.
MACHINE_PATHS = (
    r"(?<![\w./:-])/(?:wo" + r"rk|ro" + r"ot|ho" + r"me/\w+|Us" + r"ers/\w+)/"
)
REGISTRIES = (
    r"py" + r"pi\.org|python" + r"hosted\.org|registry\.np" + r"mjs|--(?:extra-)?index"
    r"-url[ =]"
)


def read_json(name: str) -> dict[str, Any]:
    loaded = json.loads((ROOT / ".claude-plugin" / name).read_text(encoding="utf-8"))
    assert isinstance(loaded, dict)
    return loaded


def test_the_reference_validator_accepts_the_skill() -> None:
    command = [sys.executable, "-m", "skills_ref.cli", "validate", str(SKILL)]
    result = subprocess.run(command, capture_output=True, text=True, check=False)
    assert result.returncode == 0, result.stderr


def test_skill_md_stays_within_its_budget() -> None:
    text = (SKILL / "SKILL.md").read_text(encoding="utf-8")
    assert len(text.splitlines()) <= 200
    assert len(text) / CHARACTERS_PER_TOKEN <= 2_000


def test_skill_md_links_every_page_of_the_skill() -> None:
    """An agent reaches each page in one hop."""
    text = (SKILL / "SKILL.md").read_text(encoding="utf-8")
    linked = {match[1] for match in re.finditer(r"\]\(([^)#]+\.md)[^)]*\)", text)}
    pages = {path.relative_to(SKILL).as_posix() for path in SKILL.rglob("*.md")}
    assert pages - {"SKILL.md"} <= linked


def test_the_skill_says_nothing_that_installers_refuse() -> None:
    _, meta = get_data((SKILL / "SKILL.md").read_text(encoding="utf-8"))
    assert meta["license"] == "MIT"
    assert not re.search(r"[<>]|---", meta["description"])
    assert not re.search(r"anthropic|claude", meta["name"])


def test_the_plugin_finds_its_skill_by_convention() -> None:
    """plugin.json and a plain entry: any other mixture fails to load."""
    plugin, market = read_json("plugin.json"), read_json("marketplace.json")
    [entry] = market["plugins"]
    assert (entry["name"], entry["source"]) == (plugin["name"], "./")
    assert not {"strict", "skills"} & (entry.keys() | plugin.keys())
    assert (ROOT / "skills" / plugin["name"] / "SKILL.md").is_file()
    assert not (ROOT / "SKILL.md").exists(), "it would hide skills/"


def test_the_plugin_carries_the_licence_of_the_repository() -> None:
    licence = (ROOT / "LICENSE").read_text(encoding="utf-8")
    assert licence.startswith(f"{read_json('plugin.json')['license']} License\n")
    assert read_json("plugin.json")["author"]["name"] in licence
    assert read_json("marketplace.json")["owner"]["name"] in licence


def test_the_plugin_has_the_newest_version_of_the_changelog() -> None:
    changelog = (ROOT / "CHANGELOG.md").read_text(encoding="utf-8")
    newest = re.search(r"^## \[(\d+\.\d+\.\d+)\]", changelog, re.MULTILINE)
    assert newest
    assert read_json("plugin.json")["version"] == newest[1]


def test_claude_md_is_agents_md() -> None:
    assert (ROOT / "CLAUDE.md").read_text(encoding="utf-8").strip() == "@AGENTS.md"
    assert len((ROOT / "AGENTS.md").read_text(encoding="utf-8").splitlines()) <= 80


def tracked_files() -> list[Path]:
    """List what is or will be committed: all that .gitignore does not leave out."""
    git = shutil.which("git")
    assert git, "git is needed to know which files belong to the repository"
    command = [git, "ls-files", "-z", "--cached", "--others", "--exclude-standard"]
    result = subprocess.run(
        command, cwd=ROOT, capture_output=True, text=True, check=False
    )
    assert result.returncode == 0, result.stderr
    found = [ROOT / name for name in result.stdout.split("\0") if name]
    return [path for path in found if path.is_file()]


@pytest.mark.parametrize("forbidden", [MACHINE_PATHS, REGISTRIES])
def test_no_file_names_a_machine_or_a_registry(forbidden: str) -> None:
    found = []
    for path in tracked_files():
        text = path.read_bytes().decode("utf-8", "replace")
        found += [f"{path}: {match[0]}" for match in re.finditer(forbidden, text)]
    assert found == []


def test_the_search_for_machines_and_registries_can_find_them() -> None:
    assert re.search(MACHINE_PATHS, "see /ro" + "ot/x and /ho" + "me/someone/x")
    assert re.search(REGISTRIES, "https://py" + "pi.org/simple")
    assert re.search(REGISTRIES, "pip install --index" + "-url x")


@pytest.mark.parametrize("name", LOCKS)
def test_a_lock_pins_every_package_by_hash(name: str) -> None:
    text = (ROOT / "requirements" / f"{name}.txt").read_text(encoding="utf-8")
    lines = text.replace("\\\n", " ").splitlines()
    assert lines
    for line in lines:
        assert re.match(r"[\w.-]+(?:\[[\w,-]+\])?==\S+ ", line), line
        assert "--hash=sha256:" in line, line
        assert "://" not in line, line
        assert set(re.findall(r"--[\w-]+", line)) == {"--hash"}, line


def test_every_lock_is_tested() -> None:
    assert {path.stem for path in (ROOT / "requirements").glob("*.txt")} == set(LOCKS)
