"""Write THIRD-PARTY.txt: the licences of all crates that are compiled into the extension.

    python deploy/release/notices.py [FILE]

What is compiled in is read from cargo's own resolution for Linux; a crate without a licence text in
its package is listed by its licence expression. Equal texts are printed once.
"""

from __future__ import annotations

import json
import subprocess
import sys
from collections import defaultdict
from pathlib import Path
from typing import Any, Final, NamedTuple

ROOT: Final = Path(__file__).resolve().parents[2]
FILE: Final = ROOT / "THIRD-PARTY.txt"
_PLATFORMS: Final = ("x86_64-unknown-linux-gnu", "aarch64-unknown-linux-gnu")
_NAMES: Final = ("LICENSE", "LICENCE", "COPYING", "NOTICE", "COPYRIGHT", "UNLICENSE")
_LINE: Final = "-" * 79


class Crate(NamedTuple):
    """One that is compiled in."""

    name: str
    version: str
    licence: str
    folder: Path


def crates() -> list[Crate]:
    """Ask cargo which crates of others are in the extension."""
    found: dict[str, Crate] = {}
    for platform in _PLATFORMS:
        metadata = _metadata(platform)
        packages = {package["id"]: package for package in metadata["packages"]}
        for package_id in _reached(metadata):
            package = packages[package_id]
            if package["source"] is not None:
                folder = Path(package["manifest_path"]).parent
                licence = package["license"] or "see its repository"
                found[package_id] = Crate(package["name"], package["version"], licence, folder)
    return sorted(found.values())


def text() -> str:
    """Give the content of the file."""
    by_text: dict[str, list[str]] = defaultdict(list)
    listed = crates()
    for crate in listed:
        for licence in _texts(crate.folder):
            by_text[licence].append(f"{crate.name} {crate.version}")
    rows = [f"{crate.name} {crate.version}: {crate.licence}" for crate in listed]
    parts = [
        "The extension rankwire._core contains these packages, under these licences.",
        "\n".join(rows),
    ]
    for licence, names in sorted(by_text.items(), key=lambda item: item[1]):
        parts.append(f"{_LINE}\n{', '.join(dict.fromkeys(names))}\n\n{licence}")
    return "\n\n".join(parts) + "\n"


def _metadata(platform: str) -> dict[str, Any]:
    command = ["cargo", "metadata", "--locked", "--format-version", "1"]
    done = subprocess.run(
        [*command, "--filter-platform", platform],
        cwd=ROOT,
        check=True,
        stdout=subprocess.PIPE,
    )
    metadata: dict[str, Any] = json.loads(done.stdout)
    return metadata


def _reached(metadata: dict[str, Any]) -> set[str]:
    """Walk from the extension along what is linked, not what builds or tests it."""
    nodes = {node["id"]: node for node in metadata["resolve"]["nodes"]}
    (root,) = (p["id"] for p in metadata["packages"] if p["name"] == "rankwire-python")
    reached, ahead = set(), [root]
    while ahead:
        package_id = ahead.pop()
        if package_id in reached:
            continue
        reached.add(package_id)
        ahead += [
            dependency["pkg"]
            for dependency in nodes[package_id]["deps"]
            if any(kind["kind"] is None for kind in dependency["dep_kinds"])
        ]
    return reached


def _texts(folder: Path) -> list[str]:
    # At any depth: a crate that brings sources in C has their licence beside them.
    files = sorted(
        file
        for file in folder.rglob("*")
        if file.is_file() and file.name.upper().startswith(_NAMES)
    )
    texts = (file.read_text(encoding="utf-8", errors="replace") for file in files)
    # Line ends and trailing spaces do not make a licence another one.
    return ["\n".join(line.rstrip() for line in one.splitlines()).strip() for one in texts]


if __name__ == "__main__":
    Path(sys.argv[1] if len(sys.argv) > 1 else FILE).write_text(text(), encoding="utf-8")
