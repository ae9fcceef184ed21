"""The made-up history of goals has the shape that it promises."""

from __future__ import annotations

import csv
from collections import Counter
from typing import TYPE_CHECKING

import pytest

from rankwire.sample import COLUMNS, write_sample

if TYPE_CHECKING:
    from pathlib import Path


def rows(path: Path) -> list[dict[str, str]]:
    with path.open(encoding="utf-8", newline="") as file:
        return list(csv.DictReader(file))


def test_equal_arguments_give_equal_bytes(tmp_path: Path) -> None:
    one, other, third = (tmp_path / name for name in ("one", "other", "third"))
    write_sample(one, goals=500, seed=7)
    write_sample(other, goals=500, seed=7)
    write_sample(third, goals=500, seed=8)
    assert one.read_bytes() == other.read_bytes() != third.read_bytes()


def test_the_columns_and_flags_are_those_of_the_public_list(tmp_path: Path) -> None:
    write_sample(tmp_path / "goals", goals=2000)
    goals = rows(tmp_path / "goals")
    assert len(goals) == 2000
    assert tuple(goals[0]) == COLUMNS
    assert {goal["own_goal"] for goal in goals} == {"TRUE", "FALSE"}
    assert {goal["penalty"] for goal in goals} == {"TRUE", "FALSE"}
    assert not any(goal["own_goal"] == goal["penalty"] == "TRUE" for goal in goals)
    assert all(goal["team"] in (goal["home_team"], goal["away_team"]) for goal in goals)
    assert all(goal["home_team"] != goal["away_team"] for goal in goals)
    assert all(1 <= int(goal["minute"]) <= 90 for goal in goals)
    dates = [goal["date"] for goal in goals]
    assert dates == sorted(dates)
    assert len(set(dates)) < len(dates) / 5


def test_few_lead_and_most_tie(tmp_path: Path) -> None:
    write_sample(tmp_path / "goals")
    scorers = Counter(goal["scorer"] for goal in rows(tmp_path / "goals"))
    assert 0 < scorers.pop("NA") < 100
    by_goals = Counter(scorers.values())
    assert by_goals[1] > len(scorers) / 2
    assert scorers.most_common(1)[0][1] > 100
    assert sum(n for _, n in scorers.most_common(len(scorers) // 100)) > 20_000 / 5
    assert any(not name.isascii() for name in scorers)


@pytest.mark.parametrize("goals", [0, 1, 2, 40])
def test_small_histories_work(tmp_path: Path, goals: int) -> None:
    write_sample(tmp_path / "goals", goals=goals)
    assert len(rows(tmp_path / "goals")) == goals
