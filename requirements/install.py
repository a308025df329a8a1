"""Install locked requirements with pip, showing one line of progress.

Run it with the interpreter of the environment to fill:
`.venv/bin/python requirements/install.py runtime dev`. Where packages come from is
pip's own configuration; every file must match a hash in the lock.
"""

from __future__ import annotations

import argparse
import re
import subprocess
import sys
import time
from collections.abc import Iterable
from pathlib import Path


HERE = Path(__file__).resolve().parent
TAIL_LINES = 25


def main() -> int:
    """Install the named locks; return pip's exit status."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("locks", nargs="+", help="names of requirements/*.txt")
    parser.add_argument("--target", help="install into this folder instead")
    options = parser.parse_args()
    files = [HERE / f"{name}.txt" for name in options.locks]
    total = sum(count_pins(file) for file in files)
    what = " + ".join(options.locks)
    say(f"installing {what} (up to {total} packages; once) …\n")
    started_s = time.monotonic()
    status = run_pip(files, options.target, total)
    if status == 0:
        say(f"installed {what} in {time.monotonic() - started_s:.0f} s\n")
    return status


def count_pins(lock: Path) -> int:
    """Return how many packages a lock names."""
    return len(re.findall(r"^[\w.-]+(?:\[.*\])?==", lock.read_text(), re.MULTILINE))


def run_pip(files: Iterable[Path], target: str | None, total: int) -> int:
    """Run pip, follow its output, and show the end of it when it fails."""
    command = [sys.executable, "-m", "pip", "install", "--require-hashes"]
    command += ["--only-binary", ":all:", "--progress-bar", "off", "--no-input"]
    command += ["--disable-pip-version-check"]
    command += ["--target", target] if target else []
    for file in files:
        command += ["-r", str(file)]
    with subprocess.Popen(  # noqa: S603 - every word of the command is from here
        command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
    ) as pip:
        lines = follow(pip.stdout or (), total)
        status = pip.wait()
    if status != 0:
        say("\n".join(["pip failed; the end of what it said:", *lines[-TAIL_LINES:]]))
        say("\nMend pip's access to packages (pip config list), then run it again.\n")
    return status


def follow(output: Iterable[str], total: int) -> list[str]:
    """Show each package as pip comes to it (on a terminal); return all lines."""
    lines, seen = [], 0
    for line in output:
        lines.append(line.rstrip())
        package = re.match(r"(?:Collecting|Requirement already satisfied:) (\S+)", line)
        seen += package is not None
        if not sys.stdout.isatty():
            continue
        if package:
            say(f"\r\033[K  {seen} of {total} · {package[1]}")
        elif line.startswith("Installing collected"):
            say("\r\033[K  unpacking")
    if sys.stdout.isatty():
        say("\r\033[K")
    return lines


def say(text: str) -> None:
    """Write at once."""
    sys.stdout.write(text)
    sys.stdout.flush()


if __name__ == "__main__":
    sys.exit(main())
