"""What docs/upgrading.md says of formats and of going forward and back is so."""

from __future__ import annotations

import re
import sqlite3
import subprocess
import sys
from contextlib import closing
from pathlib import Path
from typing import Final

import pytest

from fix_server import NewServer
from rankwire.storage import archive, backup

_ROOT: Final = Path(__file__).parents[2]
_PAGE: Final = (_ROOT / "docs" / "upgrading.md").read_text()


def _rankwire(place: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "rankwire", *arguments],
        cwd=place,
        check=False,
        capture_output=True,
        text=True,
    )


def test_the_formats_are_those_of_the_code() -> None:
    rows = re.findall(r"^\|([^|]*)\| (\d) \|", _PAGE, re.MULTILINE)
    numbers: dict[str, list[int]] = {}
    name = ""
    for label, number in rows:
        name = label.strip() or name
        numbers.setdefault(name, []).append(int(number))
    record = (_ROOT / "rust" / "engine" / "src" / "record.rs").read_text()
    journal = {int(number) for number in re.findall(r"const \w*FORMAT\w*: u8 = (\d)", record)}
    assert numbers == {
        "journal batches": sorted(journal),
        "backup": [backup.FORMAT_WITHOUT_REGIONS, backup.FORMAT],
        "archive segments": [archive.FORMAT],
    }


@pytest.fixture
def stopped(new_server: NewServer) -> Path:
    """Give a folder with the data of a server that has stopped."""
    server = new_server().start()
    server.create("a")
    server.submit("a", "ann", 1)
    assert server.terminate() == 0
    return server.directory


def test_the_steps_work_on_the_data_of_a_server(stopped: Path) -> None:
    (block,) = re.findall(r"<!-- tested: upgrade -->\n```sh\n(.+?)```", _PAGE, re.DOTALL)
    for line in block.splitlines():
        done = _rankwire(stopped.parent, *line.replace("rankwire-data", str(stopped)).split()[1:])
        assert done.returncode == 0, (line, done.stdout, done.stderr)


def test_an_older_program_refuses_a_newer_schema_and_changes_nothing(stopped: Path) -> None:
    """A schema with a migration that this program does not know is that of a newer one."""
    for file in stopped.glob("*.sqlite"):
        with closing(sqlite3.connect(file)) as database:
            columns = [row[1] for row in database.execute("PRAGMA table_info(schema_migrations)")]
            if not columns:
                continue  # nothing was ever kept in it
            values = {"number": 99, "name": "0099_later.sql", "sha256": "0" * 64}
            row = [values.get(column, 0) for column in columns]
            marks = ", ".join("?" * len(columns))
            database.execute(f"INSERT INTO schema_migrations VALUES ({marks})", row)
            database.commit()
    before = {file.name: file.read_bytes() for file in stopped.glob("*.sqlite")}
    for arguments in (("migrate",), ("migrate", "--check"), ("serve", "--http-port", "0")):
        done = _rankwire(stopped.parent, *arguments, "--storage-path", str(stopped))
        assert done.returncode == 1, done.stdout
        assert "newer" in done.stderr + done.stdout, done.stderr
    assert {file.name: file.read_bytes() for file in stopped.glob("*.sqlite")} == before
