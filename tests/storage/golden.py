"""The stored formats, for later versions to prove that they still open them.

``golden/`` is the first one, ``golden-2/`` has boards to which players may submit.
``python tests/storage/golden.py`` writes the newest anew. That is right only while nobody has data
of the version that wrote it; afterwards a new format gets a folder of its own beside the others.
"""

from __future__ import annotations

import json
import sqlite3
import sys
import tempfile
from contextlib import closing
from pathlib import Path
from typing import Final

FIRST: Final = Path(__file__).with_name("golden")
NEWEST: Final = Path(__file__).with_name("golden-2")
DATABASES: Final = ("journal", "boards")
EXPECTED: Final = "expected.json"


def load(folder: Path, directory: Path) -> None:
    """Turn the dumps of a format into databases."""
    directory.mkdir()
    for name in DATABASES:
        dump = (folder / f"{name}.sql").read_text(encoding="utf-8")
        with closing(sqlite3.connect(directory / f"{name}.sqlite")) as database:
            database.executescript(dump)


def _write(directory: Path) -> None:
    from fix_engine import Kept  # noqa: PLC0415

    with Kept(directory) as kept:
        kept.create("best", score="int64", order="desc", policy="best", ties="first")
        kept.create("last", score="float64", order="asc", policy="last", ties="last")
        kept.create("sum", score="int64", order="desc", policy="sum", ties="member")
        kept.create("players", player_submits=True)
        kept.create("dropped")
        for number, member in enumerate(["ann", "bob", "日本", "x" * 128]):
            kept.submit("best", member, 7)
            kept.submit("last", member, -1.5 * number, at_ms=-1_000 * number)
            kept.submit("sum", member, 2**62)
        for extreme in (-(2**63), 2**63 - 1):
            kept.submit("best", f"{extreme}", extreme)
        kept.submit("last", "tiny", 5e-324)
        kept.remove("sum", "bob")
        kept.submit("dropped", "ann", 1)
        kept.checkpoint()
        # From here on, the journal alone.
        kept.drop("dropped")
        kept.create("dropped", policy="last", player_submits=True)
    with Kept(directory) as kept:
        kept.submit("sum", "bob", 3)
        kept.remove("sum", "ann")
        kept.commit(kept.engine.submit_batch("best", [("ann", 9, None), ("new", 8, 1_000)]))
        kept.submit("last", "ann", 0.1)
        expected = kept.boards
    NEWEST.mkdir(exist_ok=True)
    for name in DATABASES:
        with closing(sqlite3.connect(directory / f"{name}.sqlite")) as database:
            dump = "\n".join(database.iterdump())
        (NEWEST / f"{name}.sql").write_text(dump + "\n", encoding="utf-8")
    text = json.dumps(expected, indent=1, ensure_ascii=False, sort_keys=True)
    (NEWEST / EXPECTED).write_text(text + "\n", encoding="utf-8")


if __name__ == "__main__":
    sys.path.insert(0, str(Path(__file__).parents[1]))
    with tempfile.TemporaryDirectory() as temporary:
        _write(Path(temporary) / "data")
