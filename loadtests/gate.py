"""Count the instructions of hot paths, and say which takes more than it did.

A count does not depend on what else the machine does, so a change of a few per cent shows where a
clock shows nothing. Each path of `rust/gate` runs under callgrind in a process of its own, and what
it counted is compared with `rust/gate/baseline.json`:

    python loadtests/gate.py            # fails if a path takes more than 3 % more
    python loadtests/gate.py --accept   # what is counted now is what is expected from now on

Counts change with the compiler, the C library and valgrind, too. Where one of them is another than
the baseline's, the gate says so and allows 10 %. On another type of processor nothing is compared.
"""

from __future__ import annotations

import argparse
import os
import platform
import re
import shutil
import subprocess
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime
from pathlib import Path
from typing import Final, Literal

import msgspec

import harness
from harness import BenchError

BASELINE: Final = harness.ROOT / "rust" / "gate" / "baseline.json"
ALLOWED: Final = 0.03
"""Share that a path may take more; runs of the same program differ by less than 0.3 %."""
ALLOWED_ELSEWHERE: Final = 0.10
"""The same where compiler, C library or valgrind are others than the baseline's."""

_SECONDS: Final = 300
_COUNTED: Final = re.compile(r"Collected : (\d+)")
_VALGRIND: Final = (
    *("valgrind", "--tool=callgrind", "--callgrind-out-file=/dev/null"),
    *("--collect-atstart=no", "--toggle-collect=*rankwire_gate*measured*"),
)
_PINNED: Final = {
    # The variants of memcpy and its like that every processor has: those for the newest differ.
    "GLIBC_TUNABLES": "glibc.cpu.hwcaps=-AVX_Fast_Unaligned_Load,-AVX2,-ERMS",
    # Memory is not given back after a time, for time is nothing that repeats itself.
    "MIMALLOC_PURGE_DELAY": "-1",
}


class Environment(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """What counts depend on besides the code."""

    machine: str
    rustc: str
    libc: str
    valgrind: str


class Baseline(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """What is expected."""

    date: str
    environment: Environment
    instructions: dict[str, float]
    """Instructions of one operation, by path."""


class Row(msgspec.Struct, frozen=True):
    """What became of a path; `before` and `now` are instructions of one operation."""

    name: str
    before: float | None
    now: float | None
    word: Literal["", "MORE", "less", "NEW", "GONE"]

    @property
    def ok(self) -> bool:
        """Whether it is nothing to stop for."""
        return self.word in {"", "less"}


# Comparing.


def differing(baseline: Baseline, here: Environment) -> dict[str, tuple[str, str]]:
    """Return what differs between the baseline's environment and this one, by name."""
    there = msgspec.structs.asdict(baseline.environment)
    pairs = {name: (there[name], now) for name, now in msgspec.structs.asdict(here).items()}
    return {name: pair for name, pair in pairs.items() if pair[0] != pair[1]}


def judge(baseline: Baseline, here: Environment, counts: Mapping[str, float]) -> list[Row]:
    """Compare counts with the baseline, path by path."""
    allowed = ALLOWED_ELSEWHERE if differing(baseline, here) else ALLOWED
    expected = baseline.instructions
    names = list(dict.fromkeys([*counts, *expected]))
    return [_row(name, expected.get(name), counts.get(name), allowed) for name in names]


def _row(name: str, before: float | None, now: float | None, allowed: float) -> Row:
    if before is None:
        return Row(name, before, now, "NEW")
    if now is None:
        return Row(name, before, now, "GONE")
    if now > before * (1 + allowed):
        return Row(name, before, now, "MORE")
    return Row(name, before, now, "less" if now < before * (1 - allowed) else "")


def table(rows: list[Row]) -> str:
    """Show the rows as text."""
    head = ("instructions of one", "baseline", "now", "ratio", "")
    return harness.table(head, [_cells(row) for row in rows])


def _cells(row: Row) -> tuple[str, ...]:
    before, now = ("-" if one is None else f"{one:,.1f}" for one in (row.before, row.now))
    ratio = f"{row.now / row.before:.3f}" if row.now and row.before else "-"
    return (row.name, before, now, ratio, row.word)


def advice(rows: list[Row]) -> list[str]:
    """Return what to do about the rows, in sentences."""
    of = {word: [row.name for row in rows if row.word == word] for word in ("MORE", "less")}
    unknown = [row.name for row in rows if row.word in {"NEW", "GONE"}]
    said = []
    if of["MORE"]:
        said.append(f"Takes more than before: {', '.join(of['MORE'])}.")
    if unknown:
        said.append(f"Not in both, baseline and program: {', '.join(unknown)}.")
    if of["less"]:
        said.append(f"Takes less than before: {', '.join(of['less'])}.")
    if said:
        said.append("If that is meant: make gate-accept, and commit the baseline with the change.")
    return said


# Counting.


def build() -> Path:
    """Build the program, by a profile that keeps neighbours apart, and return where it is."""
    if missing := [name for name in ("cargo", "valgrind") if shutil.which(name) is None]:
        raise BenchError(f"to be installed first: {', '.join(missing)}")
    command = ("cargo", "build", "--profile=gate", "--locked", "--quiet", "-p", "rankwire-gate")
    # Flags of whoever calls may be for one type of processor.
    environment = {key: value for key, value in os.environ.items() if not key.endswith("RUSTFLAGS")}
    if subprocess.run(command, cwd=harness.ROOT, env=environment, check=False).returncode:
        raise BenchError("the program was not built")
    target = harness.ROOT / os.environ.get("CARGO_TARGET_DIR", "target")
    return target / "gate" / "rankwire-gate"


def environment() -> Environment:
    """Return what counts depend on here."""
    return Environment(
        machine=platform.machine(),
        rustc=_line(("rustc", "--version")),
        libc=" ".join(platform.libc_ver()),
        valgrind=_line(("valgrind", "--version")),
    )


def count_all(program: Path) -> dict[str, float]:
    """Count every path, as many at once as there are cores."""
    names = _line((str(program),)).split()
    with ThreadPoolExecutor(len(os.sched_getaffinity(0))) as pool:
        counts = pool.map(lambda name: count((str(program), name)), names)
        return dict(zip(names, counts, strict=True))


def count(command: tuple[str, ...]) -> float:
    """Return the instructions of one operation of a path, rounded to a tenth."""
    shown = {"PATH": os.environ["PATH"]} | _PINNED
    ended = subprocess.run(
        (*_VALGRIND, *command),
        capture_output=True,
        text=True,
        env=shown,
        timeout=_SECONDS,
        check=False,
    )
    counted = _COUNTED.search(ended.stderr)
    if ended.returncode or counted is None or counted[1] == "0":
        raise BenchError(f"{' '.join(command)}: nothing was counted\n{ended.stderr}")
    return round(int(counted[1]) / int(ended.stdout), 1)


def _line(command: tuple[str, ...]) -> str:
    return subprocess.run(command, capture_output=True, text=True, check=True).stdout.strip()


# The command.


def read(path: Path) -> Baseline:
    """Read the baseline."""
    try:
        return msgspec.json.decode(path.read_bytes(), type=Baseline)
    except FileNotFoundError:
        raise BenchError(f"{path} is missing: make gate-accept") from None
    except msgspec.DecodeError as error:
        raise BenchError(f"{path} is no baseline: {error}") from None


def write(path: Path, here: Environment, counts: Mapping[str, float]) -> None:
    """Make these counts the baseline."""
    today = datetime.now(UTC).date().isoformat()
    baseline = Baseline(today, here, dict(counts))
    path.write_bytes(msgspec.json.format(msgspec.json.encode(baseline)) + b"\n")


def compare(baseline: Baseline, here: Environment, counts: Mapping[str, float]) -> bool:
    """Print how counts compare with the baseline, and tell whether the change may go on."""
    for name, (there, now) in differing(baseline, here).items():
        print(f"{name}: the baseline is of {there}, this is {now}; {ALLOWED_ELSEWHERE:.0%} allowed")
    rows = judge(baseline, here, counts)
    print("\n".join([table(rows), *advice(rows)]))
    return all(row.ok for row in rows)


def accept() -> bool:
    """Make what is counted now the baseline."""
    program, here = build(), environment()
    counts = count_all(program)
    if BASELINE.exists():
        compare(read(BASELINE), here, counts)
    write(BASELINE, here, counts)
    print(f"{BASELINE.name} is of now.")
    return True


def check() -> bool:
    """Compare what is counted now with the baseline, if that can be."""
    baseline = read(BASELINE)
    if (machine := baseline.environment.machine) != platform.machine():
        print(f"Nothing is counted on {platform.machine()}: the baseline is of {machine}.")
        return True
    program, here = build(), environment()
    return compare(baseline, here, count_all(program))


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--accept", action="store_true", help="write the baseline")
    ok = accept() if parser.parse_args().accept else check()
    if not ok:
        raise BenchError("The gate is closed.")


if __name__ == "__main__":
    harness.main(main)
