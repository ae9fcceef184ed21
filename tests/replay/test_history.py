"""A whole history through the real command line into a real server, checked row by row.

The history is the real one where it is at hand, and one of the same shape otherwise. The check
counts goals with nothing but the standard library.
"""

from __future__ import annotations

import asyncio
import csv
import json
import subprocess
import sys
from collections import defaultdict
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING

from fix_server import until
from rankwire.sample import write_sample

if TYPE_CHECKING:
    from fix_server import Server

_REAL = Path(__file__).parents[3] / "shared" / "data" / "goalscorers.csv"
_PAGE = 1000
_LOST_ANSWER = 50


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


def _command(server: Server, history: Path, board: str, *how: str) -> list[str]:
    columns = ["--member", "scorer", "--points", "1", "--at", "date"]
    only = ["--where", "own_goal=FALSE", "--where", "scorer!=NA", "--where", "scorer!="]
    into = ["--url", server.url, "--board", board, "--create", "--policy", "sum", "--json"]
    command = [sys.executable, "-m", "rankwire", "replay", str(history)]
    return [*command, *into, *columns, *only, *how]


def _replay(server: Server, history: Path, board: str, *how: str) -> dict[str, object]:
    command = _command(server, history, board, *how)
    done = subprocess.run(command, capture_output=True, text=True, check=False)
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


class _Lossy:
    """A proxy that hands on every request, and breaks the connection instead of some answers."""

    def __init__(self, port: int) -> None:
        self.lost = 0
        self._to = port
        self._answers = 0

    async def carry(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            there_reader, there_writer = await asyncio.open_connection("127.0.0.1", self._to)
        except ConnectionError:
            writer.transport.abort()
            return
        try:
            async with asyncio.TaskGroup() as group:
                group.create_task(self._hand_on(reader, there_writer, answers=False))
                group.create_task(self._hand_on(there_reader, writer, answers=True))
        finally:
            writer.transport.abort()
            there_writer.transport.abort()

    async def _hand_on(
        self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, *, answers: bool
    ) -> None:
        with suppress(ConnectionError):
            while data := await reader.read(65536):
                self._answers += answers
                if answers and self._answers % _LOST_ANSWER == 0:
                    self.lost += 1
                    break
                writer.write(data)
        writer.transport.abort()


async def test_every_goal_counts_once_though_answers_are_lost_and_the_server_crashes(
    server: Server, tmp_path: Path
) -> None:
    history = tmp_path / "goals.csv"
    write_sample(history, goals=8_000, seed=2)
    expected = _standings(history)
    proxy = _Lossy(server.http_port)
    async with await asyncio.start_server(proxy.carry, "127.0.0.1", 0) as listener:
        command = _command(server, history, "goals")
        port = listener.sockets[0].getsockname()[1]
        command[command.index(server.url)] = f"http://127.0.0.1:{port}"
        pipe = asyncio.subprocess.PIPE
        replay = await asyncio.create_subprocess_exec(*command, stdout=pipe, stderr=pipe)
        goals = sum(goals for _, _, goals in expected)
        half = lambda: server.metric("rankwire_submits_total") > goals / 2  # noqa: E731
        await asyncio.to_thread(until, half, "half of the goals")
        await asyncio.to_thread(server.kill)
        await asyncio.to_thread(server.restart, same_ports=True)
        out, err = await replay.communicate()
    assert replay.returncode == 0, err
    report = json.loads(out)
    assert (report["accepted"], report["unknown"]) == (goals, 0)
    assert report["retries"] >= proxy.lost > goals / _LOST_ANSWER / 4
    assert _board(server, "goals", len(expected)) == expected
