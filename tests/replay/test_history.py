"""A whole history through the real command line into a real server, checked row by row.

The history is the real one where it is at hand, and one of the same shape otherwise. The check
counts goals with nothing but the standard library.
"""

from __future__ import annotations

import csv
import json
import subprocess
import sys
from collections import defaultdict
from pathlib import Path
from typing import TYPE_CHECKING

from rankwire.sample import write_sample

if TYPE_CHECKING:
    from fix_server import Server

_REAL = Path(__file__).parents[3] / "shared" / "data" / "goalscorers.csv"
_PAGE = 1000


def _history(directory: Path) -> Path:
    if _REAL.exists():
        return _REAL
    file = directory / "goals.csv"
    write_sample(file, goals=20_000, seed=1)
    return file


def _standings(history: Path) -> list[tuple[int, str, int]]:
    """Rank, scorer, goals: most goals first, then whose last goal is older, then by name."""
    goals: dict[str, int] = defaultdict(int)
    last: dict[str, str] = defaultdict(str)
    with history.open(encoding="utf-8", newline="") as rows:
        for row in csv.DictReader(rows):
            scorer = row["scorer"]
            if row["own_goal"] == "FALSE" and scorer not in ("", "NA"):
                goals[scorer] += 1
                last[scorer] = max(last[scorer], row["date"])
    ranked = sorted(goals, key=lambda name: (-goals[name], last[name], name.encode()))
    return [(rank, name, goals[name]) for rank, name in enumerate(ranked, start=1)]


def _board(server: Server, board: str, total: int) -> list[tuple[int, str, int]]:
    """Every row of the board, page by page."""
    rows = []
    for offset in range(0, total + _PAGE, _PAGE):
        page = server.get(f"/v1/boards/{board}/top?limit={_PAGE}&offset={offset}").json()
        assert page["total"] == total
        rows += [(row["rank"], row["member"], row["score"]) for row in page["entries"]]
    return rows


def _replay(server: Server, history: Path, board: str, *how: str) -> dict[str, object]:
    columns = ["--member", "scorer", "--points", "1", "--at", "date"]
    only = ["--where", "own_goal=FALSE", "--where", "scorer!=NA", "--where", "scorer!="]
    into = ["--url", server.url, "--board", board, "--create", "--policy", "sum", "--json"]
    command = [sys.executable, "-m", "rankwire", "replay", str(history)]
    done = subprocess.run(
        [*command, *into, *columns, *only, *how], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    return dict(json.loads(done.stdout))


def test_every_total_and_every_rank_goal_by_goal_and_after_a_crash(
    server: Server, tmp_path: Path
) -> None:
    history = _history(tmp_path)
    expected = _standings(history)
    report = _replay(server, history, "goals")
    assert report["accepted"] == sum(goals for _, _, goals in expected)
    assert _board(server, "goals", len(expected)) == expected
    server.kill()
    server.restart()
    assert _board(server, "goals", len(expected)) == expected


def test_batches_give_the_same_board(server: Server, tmp_path: Path) -> None:
    history = _history(tmp_path)
    expected = _standings(history)
    _replay(server, history, "goals", "--batch", "500")
    assert _board(server, "goals", len(expected)) == expected
