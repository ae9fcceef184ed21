"""The stored format of this version, for later ones to prove that they still open it.

``python tests/storage/golden.py`` writes ``golden/`` anew. That is right only while nobody has data
of the version that wrote it; afterwards a new format gets a folder of its own beside it.
"""

from __future__ import annotations

import json
import sqlite3
import sys
import tempfile
from contextlib import closing
from pathlib import Path
from typing import Final

FOLDER: Final = Path(__file__).with_name("golden")
DATABASES: Final = ("journal", "boards")
EXPECTED: Final = "expected.json"


def load(directory: Path) -> None:
    """Turn the dumps into databases."""
    directory.mkdir()
    for name in DATABASES:
        dump = (FOLDER / f"{name}.sql").read_text(encoding="utf-8")
        with closing(sqlite3.connect(directory / f"{name}.sqlite")) as database:
            database.executescript(dump)


def _write(directory: Path) -> None:
    from fix_engine import Kept  # noqa: PLC0415

    with Kept(directory) as kept:
        kept.create("best", score="int64", order="desc", policy="best", ties="first")
        kept.create("last", score="float64", order="asc", policy="last", ties="last")
        kept.create("sum", score="int64", order="desc", policy="sum", ties="member")
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
        kept.create("dropped", policy="last")
    with Kept(directory) as kept:
        kept.submit("sum", "bob", 3)
        kept.remove("sum", "ann")
        kept.commit(kept.engine.submit_batch("best", [("ann", 9, None), ("new", 8, 1_000)]))
        kept.submit("last", "ann", 0.1)
        expected = kept.boards
    FOLDER.mkdir(exist_ok=True)
    for name in DATABASES:
        with closing(sqlite3.connect(directory / f"{name}.sqlite")) as database:
            dump = "\n".join(database.iterdump())
        (FOLDER / f"{name}.sql").write_text(dump + "\n", encoding="utf-8")
    text = json.dumps(expected, indent=1, ensure_ascii=False, sort_keys=True)
    (FOLDER / EXPECTED).write_text(text + "\n", encoding="utf-8")


if __name__ == "__main__":
    sys.path.insert(0, str(Path(__file__).parents[1]))
    with tempfile.TemporaryDirectory() as temporary:
        _write(Path(temporary) / "data")
