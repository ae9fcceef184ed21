"""The store of usage: what it counts, forgets, keeps through a crash and refuses to believe."""

from __future__ import annotations

import hashlib
import os
import subprocess
import sys
import tempfile
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from fix_usage import HOUR, START, steady, usage_of
from rankwire.ops.optimizer.usage import (
    FORMAT,
    KEPT_DAYS,
    MAGIC,
    MOST_WORKLOADS,
    Hour,
    Place,
    Sample,
    Usage,
    UsageError,
    UsageStore,
    write,
)
from rankwire.ops.optimizer.usage_csv import read_csv, read_usage

USE = st.lists(
    st.tuples(st.integers(0, 30 * 24 * 4), st.floats(0, 64), st.floats(0, 1e11)),
    min_size=1,
    max_size=60,
)


def _fill(usage: Usage, rows: list[tuple[int, float, float]]) -> Usage:
    for quarter, cores, memory in rows:
        usage.sample(Sample(at=START + quarter * 900, cores=cores, memory_bytes=memory))
    return usage


@given(USE)
def test_hours_are_those_that_numpy_counts(rows: list[tuple[int, float, float]]) -> None:
    usage = _fill(Usage("a"), rows)
    hours = np.array([(START + quarter * 900) // HOUR for quarter, _, _ in rows])
    values = np.array([(cores, memory) for _, cores, memory in rows])
    assert usage.seen == sorted(set(hours))
    for hour in usage.hours:
        inside = values[hours == hour.hour]
        assert hour.samples == len(inside)
        assert (hour.cores, hour.memory) == pytest.approx(tuple(inside.mean(axis=0)))
        assert (hour.most_cores, hour.most_memory) == tuple(inside.max(axis=0))
    assert usage.mean_cores == pytest.approx(values[:, 0].mean())
    assert usage.mean_memory == pytest.approx(values[:, 1].mean())
    assert usage.memory_peak() == values[:, 1].max()
    assert usage.samples == len(rows)


@given(USE)
def test_in_any_order_it_is_the_same(rows: list[tuple[int, float, float]]) -> None:
    one, other = _fill(Usage("a"), rows), _fill(Usage("a"), rows[::-1])
    assert one.seen == other.seen
    for mine, theirs in zip(one.hours, other.hours, strict=True):
        assert (mine.most_cores, mine.samples) == (theirs.most_cores, theirs.samples)
        assert mine.cores == pytest.approx(theirs.cores)
    assert one.cores.quantile(0.95) == pytest.approx(other.cores.quantile(0.95), rel=0.051)


def test_cores_come_from_totals_of_one_life() -> None:
    usage = Usage("node")
    for at, seconds, periods, throttled, ooms, life in [
        (0, 100.0, 50, 5, 0, "a"),
        (60, 130.0, 650, 65, 0, "a"),  # half a core, throttled in 60 of 600 periods
        (120, 1.0, 0, 0, 2, "b"),  # begun anew: nothing to compare with
        (180, 91.0, 600, 0, 3, "b"),  # one and a half
    ]:
        usage.sample(
            Sample(
                at=START + at,
                memory_bytes=1e9,
                cpu_seconds=seconds,
                periods=periods,
                throttled=throttled,
                ooms=ooms,
                life=life,
            )
        )
    assert usage.samples == 2
    assert usage.mean_cores == pytest.approx(1.0)
    assert usage.hours[0].most_cores == pytest.approx(1.5)
    assert usage.observed_seconds == 120
    assert usage.restarts == 1
    assert usage.ooms == 1
    assert usage.throttled == pytest.approx(60 / 1200)


def test_what_was_not_measured_is_unknown() -> None:
    usage = steady("a", 1.0, 1e9, hours=5)
    assert usage.ooms is None
    assert usage.throttled is None


def test_a_total_that_shrinks_is_no_measurement() -> None:
    usage = Usage("node")
    for at, seconds in [(0, 100.0), (60, 40.0), (120, 70.0), (120, 99.0), (60, 20.0)]:
        usage.sample(Sample(at=START + at, memory_bytes=1e9, cpu_seconds=seconds))
    assert [hour.cores for hour in usage.hours] == [0.5]


def test_a_gap_is_not_observed() -> None:
    usage = usage_of("a", [(1.0, 1e9)] * 10)
    usage.sample(Sample(at=START + 30 * HOUR, cores=1.0, memory_bytes=1e9))
    assert usage.observed_seconds == 10 * HOUR
    assert len(usage.seen) == 11


def test_sixty_days_are_kept() -> None:
    usage = usage_of("a", [(1.0, 5e9)] * 24 + [(1.0, 1e9)] * (KEPT_DAYS * 24))
    assert len(usage.hours) == KEPT_DAYS * 24
    assert usage.memory_peak() == 1e9


def test_memory_goes_by_the_peaks_of_eight_days() -> None:
    days = [[(1.0, 1e9 * (day + 1))] * 23 + [(1.0, 1e10 * (day + 1))] for day in range(12)]
    usage = usage_of("a", [each for day in days for each in day])
    assert usage.memory_peak(8) == 12e10
    assert usage_of("b", [each for day in days[::-1] for each in day]).memory_peak(8) == 8e10
    peaks = usage.memory_peaks()
    # The newest day has more than half of the weight of all, and the oldest is not in it.
    assert 12e10 <= peaks.quantile(0.5) <= 12e10 * 1.05
    assert peaks.quantile(0.0) >= 5e10


def test_the_busiest_day_is_found() -> None:
    usage = usage_of("a", [(0.2, 1e9)] * 24 + [(0.6, 1e9)] * 24 + [(0.1, 1e9)] * 24)
    assert usage.busiest_day == pytest.approx(0.6)


def test_replaying_counts_hours_and_moments() -> None:
    usage = usage_of("a", [(1.0, 1e9), (3.0, 1e9)] * 10 + [(1.0, 4e9), (1.0, 1e9)] * 10, every=1800)
    # Twenty hours; ten of them with a mean of 2 and a moment of 3, ten with much memory.
    assert usage.over(2.5, 3e9) == (0.0, 0.5, 0.5)
    assert usage.over(1.5, 5e9) == (0.5, 0.5, 0.0)


def test_it_comes_back_as_it_was(tmp_path: Path) -> None:
    store = UsageStore()
    place = Place(instance="ec2:c7g.large", requested_cores=0.5, autoscaled=["cpu"])
    store.workloads["a b"] = steady("a b", 0.7, 1e9, place)
    store.workload("empty")
    write(tmp_path / "usage", store.encode())
    read = UsageStore.load(tmp_path / "usage")
    assert read.workloads == store.workloads
    assert read.encode() == store.encode()
    assert (tmp_path / "usage").stat().st_mode & 0o777 == 0o600


def test_a_file_that_is_not_there_is_an_empty_store(tmp_path: Path) -> None:
    assert UsageStore.load(tmp_path / "none").workloads == {}


GOOD = UsageStore([usage_of("a", [(1.0, 1e9)] * 3)]).encode()


@given(st.integers(0, len(GOOD) - 1), st.integers(0, 255))
def test_no_flipped_or_missing_byte_is_believed(place: int, flip: int) -> None:
    flipped = GOOD[:place] + bytes([GOOD[place] ^ flip]) + GOOD[place + 1 :]
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "usage"
        path.write_bytes(flipped if flip else GOOD[:place])
        with pytest.raises(UsageError, match=r"damaged|no history|newer"):
            UsageStore.load(path)


def test_a_newer_format_is_named(tmp_path: Path) -> None:
    body = b'{"things": "to come"}'
    digest = hashlib.sha256(body).hexdigest().encode()
    path = tmp_path / "usage"
    path.write_bytes(b"%s %d %s\n%s" % (MAGIC, FORMAT + 1, digest, body))
    with pytest.raises(UsageError, match=f"newer version: its format is {FORMAT + 1}"):
        UsageStore.load(path)
    path.write_bytes(b"%s %d %s\n%s" % (MAGIC, FORMAT, digest, body))
    with pytest.raises(UsageError, match="is damaged"):
        UsageStore.load(path)


def test_a_crash_while_saving_leaves_the_old_file(tmp_path: Path) -> None:
    """The process dies without a word at each of the steps of a save."""
    path = tmp_path / "usage"
    write(path, UsageStore([steady("old", 1.0, 1e9, hours=3)]).encode())
    before = path.read_bytes()
    for step in ("fsync", "write"):
        done = subprocess.run(
            [sys.executable, "-c", _DYING, str(path), step],
            check=False,
            env=os.environ | {"PYTHONPATH": os.pathsep.join(sys.path)},
        )
        assert done.returncode == 7
        assert path.read_bytes() == before
        assert list(UsageStore.load(path).workloads) == ["old"]
    write(path, UsageStore([steady("new", 1.0, 1e9, hours=3)]).encode())
    assert list(UsageStore.load(path).workloads) == ["new"]


_DYING = """
import os, sys
from pathlib import Path
from rankwire.ops.optimizer.usage import Usage, UsageStore, write
path, step = Path(sys.argv[1]), sys.argv[2]
content = UsageStore([Usage("new")]).encode() * 1000
if step == "fsync":
    os.fsync = lambda descriptor: os._exit(7)
else:
    os.fdopen = lambda descriptor, mode: os.write(descriptor, content[:5000]) and os._exit(7)
write(path, content)
"""


def test_where_nothing_can_be_written_is_told(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="is a directory"):
        write(tmp_path, b"")
    with pytest.raises(UsageError, match="cannot be written: No such file"):
        write(tmp_path / "no" / "where", b"")
    with pytest.raises(UsageError, match="cannot be read"):
        UsageStore.load(tmp_path)


def test_a_store_takes_no_more_than_it_can_hold() -> None:
    store = UsageStore([Usage(f"w{number}") for number in range(MOST_WORKLOADS)])
    with pytest.raises(UsageError, match="more than"):
        store.workload("one more")
    assert store.workload("w0") is store.workloads["w0"]


def test_an_hour_is_no_longer_than_an_hour() -> None:
    hour = Hour(1, seconds=3000, samples=1)
    hour.add(Hour(1, seconds=3000, samples=1))
    assert hour.seconds == HOUR


CSV = (
    "at,workload,cpu_cores,memory_bytes,instance,requested_cores,autoscaled,note\n"
    '2026-01-01T01:00:00Z,api,1.5,2e9,ec2:c7g.large,2,cpu+memory,"x, y"\n'
    "1767225600,api,0.5,1000000000,ec2:old,,,\n"
    '2026-01-01T00:30:00,"job ""b""",0.1,5,,,,\n'
)


def test_a_fleet_comes_from_csv(tmp_path: Path) -> None:
    path = tmp_path / "fleet.csv"
    path.write_text("\ufeff" + CSV)
    store = read_usage(path)
    assert list(store.workloads) == ["api", 'job "b"']
    api = store.workloads["api"]
    assert api.place == Place(
        instance="ec2:c7g.large", requested_cores=2.0, autoscaled=["cpu", "memory"]
    )
    assert [hour.cores for hour in api.hours] == [0.5, 1.5]
    assert api.hours[0].hour * HOUR == 1767225600


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ("memory_bytes", "memory", "has no column memory_bytes"),
        ("0.5,1000000000", ",1000000000", "line 3: cpu_cores or memory_bytes is empty"),
        ("0.5,1000000000", "0.5,lots", "line 3: memory_bytes is 'lots'"),
        ("0.5,1000000000", "-1,5", "line 3: cpu_cores is '-1'"),
        ("0.5,1000000000", "nan,5", "line 3: cpu_cores is 'nan'"),
        ("1767225600,", "yesterday,", "line 3: at is 'yesterday'"),
        ("1767225600,", "1767225600000,", "line 3: at is '1767225600000'"),
        ("cpu+memory", "disk", "line 2: autoscaled is"),
        ("00Z,api", "00Z,", "line 2: workload is empty"),
        ('"x, y"', '"x, y', "is no CSV file"),
    ],
)
def test_a_wrong_row_is_named(tmp_path: Path, old: str, new: str, message: str) -> None:
    path = tmp_path / "fleet.csv"
    assert old in CSV
    path.write_text(CSV.replace(old, new))
    with pytest.raises(UsageError, match=message.replace("+", r"\+")):
        read_csv(path)


def test_what_is_no_text_or_not_there_is_told(tmp_path: Path) -> None:
    path = tmp_path / "fleet.csv"
    path.write_bytes(b"at,workload,cpu_cores,memory_bytes\n\xff\xfe\n")
    with pytest.raises(UsageError, match="is no CSV file"):
        read_usage(path)
    with pytest.raises(UsageError, match="cannot be read"):
        read_usage(tmp_path / "none")


def test_what_a_server_keeps_is_read_too(tmp_path: Path) -> None:
    store = UsageStore([steady("a", 1.0, 1e9, hours=2)])
    write(tmp_path / "usage", store.encode())
    assert read_usage(tmp_path / "usage").workloads == store.workloads
