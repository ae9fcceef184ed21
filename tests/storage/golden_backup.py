"""A backup of the first format, for later versions to prove that they still restore it.

``python tests/storage/golden_backup.py`` writes it anew. That is right only while nobody has
backups of the version that wrote it; afterwards a new format gets a file of its own.
"""

from __future__ import annotations

import json
import shutil
import sys
import tempfile
from pathlib import Path
from typing import Final

_FILE: Final = Path(__file__).with_name("golden-backup-1.rwb")
_EXPECTED: Final = Path(__file__).with_name("golden-backup-1.json")


def copy(file: Path) -> None:
    """Put the backup somewhere."""
    shutil.copyfile(_FILE, file)


def expected() -> dict[str, list[object]]:
    """Name, members and digest of each board, by id."""
    found: dict[str, list[object]] = json.loads(_EXPECTED.read_text(encoding="utf-8"))
    return found


def _write(directory: Path) -> None:
    from fix_storage import Place, fill  # noqa: PLC0415
    from rankwire.settings import Storage  # noqa: PLC0415
    from rankwire.storage.keys import ApiKey, open_keys  # noqa: PLC0415

    place = Place("sqlite", Storage(path=directory), None)
    with place.open() as node:
        fill(node)
        boards = node.state.boards
    with open_keys(place.settings) as store:
        store.add(ApiKey("a" * 12, "game", bytes(32), ("read",), ("cup",), 1000))
    _FILE.unlink(missing_ok=True)
    place.backup(_FILE)
    _FILE.chmod(0o644)
    told = {f"{board:x}": [b.name, b.total, b.digest] for board, b in boards.items()}
    _EXPECTED.write_text(json.dumps(told, indent=1) + "\n", encoding="utf-8")


if __name__ == "__main__":
    sys.path.insert(0, str(Path(__file__).parents[1]))
    with tempfile.TemporaryDirectory() as temporary:
        _write(Path(temporary) / "data")
