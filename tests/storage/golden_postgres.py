"""Databases of PostgreSQL as earlier formats had them, for later versions to open.

``python tests/storage/golden_postgres.py FORMAT`` writes a dump, with the version of Rankwire that
Python finds: its newest migration has to be that number. A dump stays as it is once anybody has
data of its format; a new format gets files of its own. It needs the program pg_dump, and a server
that it starts for itself.
"""

from __future__ import annotations

import json
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any, Final

FORMATS: Final = (1, 2)
"""Migrations that a released version ended with."""

DATABASE: Final = "golden"

_PROFILE: Final = """
INSERT INTO profiles
VALUES ('ann', 'Ann Ä', NULL, '{"level":7}', '2026-01-02 03:04:05.678901+00')
"""


def load(psql: str, url: str, number: int) -> None:
    """Put the dump of a format into an empty database."""
    words = [psql, "-X", "-q", "-v", "ON_ERROR_STOP=1", "-f", str(_dump(number)), url]
    done = subprocess.run(words, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr


def expected(number: int) -> dict[str, Any]:
    """What a node of that version saw: digests and rows of its boards."""
    text = _dump(number).with_suffix(".json").read_text(encoding="utf-8")
    found: dict[str, Any] = json.loads(text)
    return found


def _dump(number: int) -> Path:
    return Path(__file__).parent / "golden" / f"postgres-format-{number}.sql"


def _fill(url: str) -> dict[str, object]:
    """Make boards, a checkpoint with a journal behind it, and something of all else."""
    from fix_engine import boards_of  # noqa: PLC0415
    from fix_storage import Node, fill  # noqa: PLC0415
    from rankwire.settings import Storage  # noqa: PLC0415
    from rankwire.storage.keys import ApiKey, open_keys  # noqa: PLC0415
    from rankwire.storage.postgres import PostgresStorage  # noqa: PLC0415

    storage = PostgresStorage(Storage(url=url))
    node = Node(storage)
    fill(node)
    node.engine.submit("best", "keyed", 5, None, ("caller", "key-1"))
    node.commit()
    boards = node.state.boards.items()
    told: dict[str, object] = {
        "digests": {f"{board:x}": [d.name, d.total, d.digest] for board, d in boards},
        "rows": {name: board["rows"] for name, board in boards_of(node.engine).items()},
    }
    storage.close()
    with open_keys(Storage(url=url)) as store:
        store.add(ApiKey("a" * 12, "game", bytes(32), ("read",), ("cup",), 1000))
        store.add(ApiKey("b" * 12, "old", bytes(32), ("submit",), (), 2000))
        store.revoke("b" * 12, 3000)
    return told


def _write(server: Any, number: int) -> None:
    from fix_postgres import postgres_tool  # noqa: PLC0415
    from rankwire.storage.migrate import migrations  # noqa: PLC0415

    assert migrations("postgres")[-1].number == number, "this version has another format"

    server.sql(f"CREATE DATABASE {DATABASE} TEMPLATE template0", database="postgres")
    url = server.url_of(DATABASE)
    told = _fill(url)
    server.sql(_PROFILE, database=DATABASE)
    command = [postgres_tool("pg_dump"), "--no-owner", "--no-privileges", url]
    dump = subprocess.run(command, capture_output=True, text=True, check=True).stdout
    # Newer versions of pg_dump write words that older ones of psql do not know.
    new = ("\\restrict", "\\unrestrict")
    lines = [line for line in dump.splitlines() if not line.startswith(new)]
    _dump(number).write_text("\n".join(lines) + "\n", encoding="utf-8")
    text = json.dumps(told, indent=1, ensure_ascii=False, sort_keys=True)
    _dump(number).with_suffix(".json").write_text(text + "\n", encoding="utf-8")


def _serve(number: int) -> None:
    """Start a server for the time that it takes."""
    from fix_postgres import SUPERUSER, Postgres, run_postgres_tool  # noqa: PLC0415
    from fix_server import until  # noqa: PLC0415

    with tempfile.TemporaryDirectory() as temporary:
        directory = Path(temporary)
        directory.chmod(0o777)
        data = directory / "data"
        encoding = ("--no-locale", "-E", "UTF8")
        run_postgres_tool("initdb", *encoding, "-A", "trust", "-U", SUPERUSER, "-D", str(data))
        server = Postgres(directory, data)
        try:
            server.spawn()
            until(lambda: _answers(server), "PostgreSQL")
            _write(server, number)
        finally:
            server.end()


def _answers(server: Any) -> bool:
    import psycopg  # noqa: PLC0415

    try:
        server.sql("SELECT 1", database="postgres")
    except psycopg.OperationalError:
        return False
    return True


if __name__ == "__main__":
    sys.path.insert(0, str(Path(__file__).parents[1]))
    _serve(int(sys.argv[1]))
