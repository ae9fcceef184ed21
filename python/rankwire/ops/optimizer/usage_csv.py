"""Histories of usage from CSV files, for fleets that something else watches.

The first line names the columns. `at` (seconds since 1970, or a time like 2026-11-30T12:00:00Z),
`workload`, `cpu_cores` and `memory_bytes` have to be there; `instance` (SKU of the machine),
`requested_cores`, `requested_memory_bytes` (what a pod asks for) and `autoscaled` (`cpu`, `memory`
or `cpu+memory`) may be, and their newest values count. Other columns are not looked at. Rows may
come in any order. Promises: one wrong row refuses the file, with its line; at most `MOST_ROWS`.
"""

from __future__ import annotations

import csv
from collections.abc import Mapping
from datetime import UTC, datetime
from math import isfinite
from pathlib import Path
from typing import Final, cast

from rankwire.ops.optimizer.usage import MAGIC, Place, Resource, Sample, UsageError, UsageStore

MOST_ROWS: Final = 2_000_000

_NEEDED: Final = ("at", "workload", "cpu_cores", "memory_bytes")
_MOST_NAME: Final = 200
# The year 2200: what is later is in milliseconds.
_MOST_AT: Final = 7_258_118_400.0

_Row = Mapping[str, str]


def read_usage(path: Path) -> UsageStore:
    """Read a file of either kind: what a server keeps, or CSV. Raises UsageError."""
    try:
        with path.open("rb") as file:
            is_ours = file.read(len(MAGIC)) == MAGIC
    except OSError as error:
        raise UsageError(f"{path} cannot be read: {error.strerror}") from error
    return UsageStore.load(path) if is_ours else read_csv(path)


def read_csv(path: Path) -> UsageStore:
    """Read a CSV file. Raises UsageError with the line that is wrong."""
    store = UsageStore()
    try:
        with path.open(newline="", encoding="utf-8-sig") as file:
            reader = csv.DictReader(file, strict=True, restval="")
            missing = [name for name in _NEEDED if name not in (reader.fieldnames or ())]
            if missing:
                raise UsageError(f"{path} has no column {' and no '.join(missing)}")
            for number, row in enumerate(reader, 1):
                if number > MOST_ROWS:
                    raise UsageError(f"{path} has more than {MOST_ROWS:,} rows")
                try:
                    _take(store, row)
                except (ValueError, UsageError) as error:
                    raise UsageError(f"{path}, line {reader.line_num}: {error}") from error
    except OSError as error:
        raise UsageError(f"{path} cannot be read: {error.strerror}") from error
    except (csv.Error, UnicodeDecodeError) as error:
        raise UsageError(f"{path} is no CSV file: {error}") from error
    return store


def _take(store: UsageStore, row: _Row) -> None:
    name = row["workload"]
    if not 0 < len(name) <= _MOST_NAME or not name.isprintable():
        raise ValueError("workload is empty, too long or not printable")
    usage = store.workload(name)
    at = _moment(row["at"])
    cores, memory = _number("cpu_cores", row), _number("memory_bytes", row)
    if cores is None or memory is None:
        raise ValueError("cpu_cores or memory_bytes is empty")
    if usage.last is None or at >= usage.last.at:
        usage.place = _place(row)
    usage.sample(Sample(at=at, cores=cores, memory_bytes=memory))


def _place(row: _Row) -> Place:
    autoscaled = [part for part in row.get("autoscaled", "").split("+") if part]
    if not {"cpu", "memory"}.issuperset(autoscaled):
        raise ValueError("autoscaled is neither cpu nor memory nor cpu+memory")
    return Place(
        instance=row.get("instance", ""),
        requested_cores=_number("requested_cores", row),
        requested_memory_bytes=_number("requested_memory_bytes", row),
        autoscaled=cast("list[Resource]", autoscaled),
    )


def _number(name: str, row: _Row) -> float | None:
    text = row.get(name, "")
    if not text:
        return None
    try:
        value = float(text)
    except ValueError:
        value = -1.0
    if not isfinite(value) or value < 0:
        raise ValueError(f"{name} is {text!r}, no number of 0 or more")
    return value


def _moment(text: str) -> float:
    try:
        moment = float(text)
    except ValueError:
        try:
            read = datetime.fromisoformat(text)
        except ValueError:
            raise ValueError(f"at is {text!r}, neither seconds nor a time") from None
        moment = (read if read.tzinfo else read.replace(tzinfo=UTC)).timestamp()
    if not 0 <= moment <= _MOST_AT:
        raise ValueError(f"at is {text!r}, which is not within the years 1970 to 2200")
    return moment
