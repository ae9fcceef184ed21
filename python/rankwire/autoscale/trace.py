"""What pods are asked to carry over time: a CSV file, or a surge made up on the spot.

Promises: times that only grow, loads that are finite and not negative, and limits on both; a file
that breaks this is refused with its line. A row holds until the next one.

The columns are `seconds` and names of metrics. A cell is the load of all pods *together*:
connections, scores a second, cores for `cpu`, bytes for `memory`. Numbers may be written as in
Kubernetes (`500m`, `2Gi`).
"""

from __future__ import annotations

import csv
from bisect import bisect_right
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Final

import msgspec

from rankwire.autoscale import quantity

MOST_BYTES: Final = 16 * 1024**2
MOST_ROWS: Final = 100_000
MOST_SECONDS: Final = 7 * 86_400
"""Largest trace that is read: a file of this size, so many rows, a week."""

_TIME: Final = "seconds"


class TraceError(Exception):
    """A trace cannot be used; the text says why."""


class Trace(msgspec.Struct, frozen=True):
    """Loads over time, in thousandths."""

    times: list[float]
    loads: dict[str, list[int]]
    """By metric, one for each time."""
    end: float
    """Seconds at which it is over; the last row holds until then."""

    def at(self, seconds: float) -> Mapping[str, int]:
        """Give the loads at a time."""
        place = max(0, bisect_right(self.times, seconds) - 1)
        return {metric: column[place] for metric, column in self.loads.items()}


def read(path: Path) -> Trace:
    """Read a CSV file. Raises TraceError."""
    try:
        size = path.stat().st_size
        with path.open(encoding="utf-8", newline="") as lines:
            return _parse(csv.reader(lines), size)
    except OSError as error:
        raise TraceError(f"{path} cannot be read: {error.strerror}") from error
    except (UnicodeDecodeError, csv.Error) as error:
        raise TraceError(f"{path} is no CSV: {error}") from error
    except TraceError as error:
        raise TraceError(f"{path}: {error}") from error


def surge(metric: str, before: int, height: int, seconds: float) -> Trace:
    """Make a quiet beginning, a surge of so long at once, and the quiet again for an hour.

    Loads are thousandths. An hour is enough to come back from 50 pods by a tenth a minute.
    """
    quiet = 300.0
    times = [0.0, quiet, quiet + seconds]
    return Trace(times, {metric: [before, height, before]}, quiet + seconds + 3600)


def _parse(rows: Iterator[list[str]], size: int) -> Trace:
    if size > MOST_BYTES:
        raise TraceError(f"larger than a trace may be ({MOST_BYTES:,} bytes)")
    head = [name.strip() for name in next(rows, [])]
    if head[:1] != [_TIME] or len(head) == 1:
        raise TraceError(f"the first line has to be {_TIME} and names of metrics")
    if "" in head or len(set(head)) < len(head):
        raise TraceError("each column needs a name of its own")
    times: list[float] = []
    loads: dict[str, list[int]] = {name: [] for name in head[1:]}
    for line, row in enumerate(rows, start=2):
        if not row:
            continue
        if len(row) != len(head):
            raise TraceError(f"line {line} has {len(row)} cells instead of {len(head)}")
        if len(times) == MOST_ROWS:
            raise TraceError(f"more than {MOST_ROWS:,} rows")
        numbers = [_milli(cell, line) for cell in row]
        times.append(numbers[0] / 1000)
        _check_time(times, line)
        for name, number in zip(head[1:], numbers[1:], strict=True):
            loads[name].append(number)
    if len(times) < 2:  # noqa: PLR2004  # a beginning and an end
        raise TraceError("it takes two rows, a beginning and an end")
    return Trace(times, loads, times[-1])


def _check_time(times: list[float], line: int) -> None:
    if len(times) > 1 and times[-1] <= times[-2]:
        raise TraceError(f"line {line}: times have to grow")
    if times[-1] - times[0] > MOST_SECONDS:
        raise TraceError(f"line {line}: a trace may last a week")


def _milli(cell: str, line: int) -> int:
    try:
        milli = quantity.parse(cell.strip()).milli
    except quantity.QuantityError as error:
        raise TraceError(f"line {line}: {error}") from error
    if milli < 0:
        raise TraceError(f"line {line}: {cell.strip()} is negative")
    return milli
