"""What the site serves beside its pages: raw Markdown, llms.txt and the skill itself.

mkdocs calls `on_post_build` once everything is rendered. All of it comes from the
files in `skills/` and from the navigation, so there is nothing to keep up to date.
"""

from __future__ import annotations

import gzip
import hashlib
import io
import json
import logging
import re
import shutil
import tarfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from mkdocs.config.defaults import MkDocsConfig
from mkdocs.utils.meta import get_data


# A warning of a logger below "mkdocs" makes a strict build fail.
log = logging.getLogger("mkdocs.hooks.site")

DISCOVERY_SCHEMA = "https://schemas.agentskills.io/discovery/0.2.0/schema.json"


def on_post_build(config: MkDocsConfig) -> None:
    """Write the raw pages, `llms.txt` and the skill index into the built site."""
    docs, site = Path(config.docs_dir), Path(config.site_dir)
    copy_raw_pages(docs, site)
    (site / "llms.txt").write_text(llms_txt(config), encoding="utf-8")
    write_skill_index(docs, site / ".well-known" / "agent-skills")


def copy_raw_pages(docs: Path, site: Path) -> None:
    """Put every page's source, byte for byte, beside its HTML."""
    for source in sorted(docs.rglob("*.md")):
        target = site / source.relative_to(docs)
        target.parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(source, target)


def llms_txt(config: MkDocsConfig) -> str:
    """Return the site's table of contents for agents (llmstxt.org)."""
    docs = Path(config.docs_dir)
    lines = [f"# {config.site_name}", "", f"> {config.site_description}", ""]
    lines += ["Every address below is the page's Markdown source.", ""]
    for title, entry in nav_items(config.nav):
        lines += [f"## {title or entry}", ""]
        pages = nav_items(entry) if isinstance(entry, list) else [(title, entry)]
        for name, path in pages:
            text = (docs / path).read_text(encoding="utf-8")
            lines.append(f"- [{name or path}]({path}): {read_this_when(text, path)}")
        lines.append("")
    return "\n".join(lines)


def nav_items(nav: Any) -> Iterator[tuple[str, Any]]:
    """Yield (title, path or list) of each entry of one level of `nav`."""
    for entry in nav or []:
        if isinstance(entry, dict):
            yield from entry.items()
        else:
            yield "", entry


def read_this_when(text: str, path: str) -> str:
    """Return a page's quoted first sentence on one line, or its front matter's."""
    body, meta = get_data(text)
    quote = re.search(r"^> *(Read this when.*(?:\n>.*)*)", body, re.MULTILINE)
    if quote is None and meta.get("description"):
        return " ".join(str(meta["description"]).split())
    if quote is None:
        log.warning("%s has no line '> Read this when …' for llms.txt", path)
        return ""
    return " ".join(quote[1].replace("\n>", "\n").split())


def write_skill_index(docs: Path, target: Path) -> None:
    """Publish each skill as an archive with its digest (Agent Skills discovery 0.2.0)."""
    target.mkdir(parents=True, exist_ok=True)
    skills = []
    for manifest in sorted(docs.glob("*/SKILL.md")):
        name = manifest.parent.name
        archive = skill_archive(manifest.parent)
        (target / f"{name}.tar.gz").write_bytes(archive)
        _, meta = get_data(manifest.read_text(encoding="utf-8"))
        skills.append(
            {
                "name": name,
                "type": "archive",
                "description": str(meta.get("description", "")),
                "url": f"{name}.tar.gz",  # relative to the index
                "digest": f"sha256:{hashlib.sha256(archive).hexdigest()}",
            }
        )
    index = {"$schema": DISCOVERY_SCHEMA, "skills": skills}
    text = json.dumps(index, indent=2, ensure_ascii=False) + "\n"
    (target / "index.json").write_text(text, encoding="utf-8")


def skill_files(folder: Path) -> list[Path]:
    """Return the files a user receives: no caches, nothing hidden."""
    return [
        path
        for path in sorted(folder.rglob("*"))
        if path.is_file() and not any(map(unwanted, path.relative_to(folder).parts))
    ]


def unwanted(part: str) -> bool:
    """Tell whether a part of a path keeps the file out of the archive."""
    return part.startswith(".") or part == "__pycache__" or part.endswith(".pyc")


def skill_archive(folder: Path) -> bytes:
    """Return the skill as .tar.gz: the same files always give the same bytes.

    Names are relative and without `./`: an installer drops an archive that has them.
    """
    buffer = io.BytesIO()
    with (
        gzip.GzipFile(filename="", fileobj=buffer, mode="wb", mtime=0) as packed,
        tarfile.open(fileobj=packed, mode="w", format=tarfile.USTAR_FORMAT) as tar,
    ):
        for path in skill_files(folder):
            content = path.read_bytes()
            entry = tarfile.TarInfo(path.relative_to(folder).as_posix())
            entry.size = len(content)
            entry.mode = 0o644
            tar.addfile(entry, io.BytesIO(content))
    return buffer.getvalue()
