"""The gate on instruction counts stops what takes more, and nothing else."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Final

import msgspec
import pytest

import gate
from gate import Baseline, Environment
from harness import BenchError

_HERE: Final = Environment("x86_64", "rustc 1.95.0", "glibc 2.36", "valgrind-3.19.0")
_BASELINE: Final = Baseline("2026-12-01", _HERE, {"rank": 1000.0, "move": 8000.0})
_NEWER: Final = msgspec.structs.replace(_HERE, rustc="rustc 1.96.0")


def _words(here: Environment, **counts: float) -> dict[str, str]:
    return {row.name: row.word for row in gate.judge(_BASELINE, here, counts)}


@pytest.mark.parametrize(
    ("rank", "word"),
    [(1000, ""), (1029, ""), (1031, "MORE"), (971, ""), (969, "less")],
)
def test_three_per_cent_are_allowed(rank: float, word: str) -> None:
    assert _words(_HERE, rank=rank, move=8000) == {"rank": word, "move": ""}


@pytest.mark.parametrize(("rank", "word"), [(1099, ""), (1101, "MORE"), (899, "less")])
def test_another_compiler_is_allowed_ten(rank: float, word: str) -> None:
    assert _words(_NEWER, rank=rank, move=8000) == {"rank": word, "move": ""}


def test_what_takes_more_closes_the_gate(capsys: pytest.CaptureFixture[str]) -> None:
    assert not gate.compare(_BASELINE, _HERE, {"rank": 1100, "move": 8000})
    shown = capsys.readouterr().out
    assert "1,000.0  1,100.0  1.100  MORE" in shown
    assert "Takes more than before: rank." in shown


def test_what_takes_less_is_only_told(capsys: pytest.CaptureFixture[str]) -> None:
    assert gate.compare(_BASELINE, _HERE, {"rank": 500, "move": 8000})
    shown = capsys.readouterr().out
    assert "Takes less than before: rank." in shown
    assert "make gate-accept" in shown


def test_what_is_as_before_needs_no_advice(capsys: pytest.CaptureFixture[str]) -> None:
    assert gate.compare(_BASELINE, _HERE, {"rank": 1000, "move": 8000})
    assert "accept" not in capsys.readouterr().out


def test_paths_that_only_one_side_knows_close_the_gate(capsys: pytest.CaptureFixture[str]) -> None:
    assert _words(_HERE, rank=1000, page=1) == {"rank": "", "page": "NEW", "move": "GONE"}
    assert not gate.compare(_BASELINE, _HERE, {"rank": 1000})
    assert not gate.compare(_BASELINE, _HERE, {"rank": 1000, "move": 8000, "page": 1})
    assert "Not in both, baseline and program: page." in capsys.readouterr().out


def test_what_differs_is_named(capsys: pytest.CaptureFixture[str]) -> None:
    assert gate.compare(_BASELINE, _NEWER, {"rank": 1080, "move": 8000})
    assert "rustc: the baseline is of rustc 1.95.0, this is rustc 1.96.0; 10% allowed" in (
        capsys.readouterr().out
    )


def test_another_processor_is_not_counted(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    other = msgspec.structs.replace(_HERE, machine="pdp-11")
    gate.write(tmp_path / "baseline.json", other, {"rank": 1.0})
    monkeypatch.setattr(gate, "BASELINE", tmp_path / "baseline.json")
    assert gate.check()
    assert "the baseline is of pdp-11" in capsys.readouterr().out


def test_a_baseline_is_read_as_it_was_written(tmp_path: Path) -> None:
    gate.write(tmp_path / "baseline.json", _HERE, {"rank": 1000.0})
    read = gate.read(tmp_path / "baseline.json")
    assert (read.environment, read.instructions) == (_HERE, {"rank": 1000.0})


def test_a_baseline_that_is_missing_or_broken_is_an_error(tmp_path: Path) -> None:
    file = tmp_path / "baseline.json"
    with pytest.raises(BenchError, match="make gate-accept"):
        gate.read(file)
    file.write_text('{"date": "2026-12-01"}')
    with pytest.raises(BenchError, match="no baseline"):
        gate.read(file)


def test_a_program_in_which_nothing_is_counted_is_an_error() -> None:
    if shutil.which("valgrind") is None:
        pytest.skip("valgrind is not installed")
    with pytest.raises(BenchError, match="nothing was counted"):
        gate.count(("/bin/echo", "1"))


def test_the_committed_baseline_is_one() -> None:
    baseline = gate.read(gate.BASELINE)
    assert all(count > 0 for count in baseline.instructions.values())
