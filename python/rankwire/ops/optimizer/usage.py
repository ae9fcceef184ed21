"""How much processor and memory workloads used: two months of it, in little and bounded space.

Promises: of each workload there are a histogram of its cores that halves what is a day older, and
mean and maximum of every hour of the last `KEPT_DAYS`, which changes are replayed against. An hour
without a sample is one in which the workload was not seen; nothing is filled in. What a file says
is believed whole or not at all: it gets its name only when it is complete and durable, and its
checksum and version come before its content.

Buckets and half-life are those of the recommender of Kubernetes' Vertical Pod Autoscaler, and so
are the daily peaks of memory.
"""

from __future__ import annotations

import hashlib
from bisect import bisect_left
from collections import defaultdict
from pathlib import Path
from typing import TYPE_CHECKING, Final, Literal, NamedTuple, Self

import msgspec

from rankwire.ops.findings import Known
from rankwire.ops.models.histogram import DecayingHistogram
from rankwire.storage.backup import BackupError, output

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

KEPT_DAYS: Final = 60
MOST_WORKLOADS: Final = 500
"""A store with more is refused: of each there are up to 1440 hours in memory."""
MOST_BYTES: Final = 256 * 1024**2
"""Largest file that is read."""
MAGIC: Final = b"RANKWIRE-USAGE"
FORMAT: Final = 1

_HOUR: Final = 3600
_PEAK_DAYS: Final = 8

Resource = Literal["cpu", "memory"]


class UsageError(Exception):
    """A history cannot be read or written; the text says why."""


class Place(msgspec.Struct, frozen=True, kw_only=True):
    """Where a workload runs and what it may use there, as far as it is known."""

    instance: str = ""
    """SKU of its machine, like `ec2:c7g.large`; empty when not known."""
    requested_cores: Known = None
    """What a pod asks Kubernetes for; None for what has a machine of its own."""
    requested_memory_bytes: Known = None
    autoscaled: list[Resource] = []
    """What an autoscaler already drives."""


class Sample(msgspec.Struct, frozen=True, kw_only=True):
    """What a workload used at one moment. Totals count since the life began."""

    at: float
    memory_bytes: float
    cores: Known = None
    """Cores in use; None to have them made from `cpu_seconds` of two samples of one life."""
    cpu_seconds: Known = None
    periods: Known = None
    """How often its quota of processor time began anew."""
    throttled: Known = None
    """In how many of these periods it was used up."""
    ooms: Known = None
    """How often it was killed for its memory."""
    life: str = ""
    """Changes whenever it is started anew."""
    by: Literal["", "cgroup", "machine"] = ""
    """What a server measured of itself; empty for what somebody else has measured."""


class Hour(msgspec.Struct, array_like=True, gc=False):
    """What was seen within an hour."""

    hour: int
    """Since 1970."""
    seconds: float = 0.0
    """How much of it was looked at."""
    samples: int = 0
    cores: float = 0.0
    """The mean; so is `memory`."""
    most_cores: float = 0.0
    memory: float = 0.0
    most_memory: float = 0.0
    restarts: int = 0
    periods: Known = None
    """None when it was not measured, as with `throttled` and `ooms`."""
    throttled: Known = None
    ooms: Known = None

    def add(self, other: Hour) -> None:
        """Take in what else was seen in it."""
        samples = self.samples + other.samples
        if samples:
            part = other.samples / samples
            self.cores += (other.cores - self.cores) * part
            self.memory += (other.memory - self.memory) * part
        self.samples = samples
        self.seconds = min(_HOUR, self.seconds + other.seconds)
        self.most_cores = max(self.most_cores, other.most_cores)
        self.most_memory = max(self.most_memory, other.most_memory)
        self.restarts += other.restarts
        self.periods = _sum(self.periods, other.periods)
        self.throttled = _sum(self.throttled, other.throttled)
        self.ooms = _sum(self.ooms, other.ooms)


class Overload(NamedTuple):
    """Which part of the hours would have been too much for a machine; 0 is none."""

    hours: float
    """Those that needed more cores on average."""
    moments: float
    """Those with a moment that did; so much time was overloaded at the most."""
    memory: float
    """Those with a moment that needed more memory."""


def _new_cores() -> DecayingHistogram:
    return DecayingHistogram(first=0.01, most=1000.0)


class Usage(msgspec.Struct):
    """The history of one workload."""

    name: str
    place: Place = Place()
    cores: DecayingHistogram = msgspec.field(default_factory=_new_cores)
    hours: list[Hour] = []
    """Ascending."""
    last: Sample | None = None

    def sample(self, now: Sample) -> None:
        """Add what was measured; the first of a life is only what the next is compared with."""
        before, self.last = self.last, now
        is_same = before is not None and before.life == now.life
        seconds = max(0.0, now.at - before.at) if before is not None and is_same else 0.0
        seen = Hour(int(now.at // _HOUR), restarts=int(before is not None and not is_same))
        cores = now.cores
        if before is not None and is_same:
            if cores is None and seconds > 0:
                grown = _grown(before.cpu_seconds, now.cpu_seconds)
                cores = None if grown is None else grown / seconds
            seen.periods = _grown(before.periods, now.periods)
            seen.throttled = _grown(before.throttled, now.throttled)
            seen.ooms = _grown(before.ooms, now.ooms)
        if cores is not None:
            seen.samples, seen.seconds = 1, min(seconds, _HOUR)
            seen.cores = seen.most_cores = cores
            seen.memory = seen.most_memory = now.memory_bytes
            self.cores.add(cores, now.at)
        if cores is not None or seen.restarts:
            self._put(seen)

    @property
    def measured(self) -> Literal["", "cgroup", "machine"]:
        """What it is of, if a server has measured itself: see `Sample.by`.

        Its name is then no id of anything.
        """
        return self.last.by if self.last is not None else ""

    def paid(self, window: range) -> Sequence[int]:
        """Give the hours of a window, since 1970, in which its machine was paid for.

        They are those in which it was seen. But a server that is down does not measure itself,
        while its machine is paid for all the time.
        """
        return window if self.measured else self.seen

    @property
    def samples(self) -> int:
        """How many measurements there are."""
        return sum(hour.samples for hour in self.hours)

    @property
    def observed_seconds(self) -> float:
        """How long it was looked at."""
        return sum(hour.seconds for hour in self.hours)

    @property
    def seen(self) -> list[int]:
        """The hours since 1970 in which it ran, ascending."""
        return [hour.hour for hour in self.hours if hour.samples]

    @property
    def mean_cores(self) -> float:
        """The mean; 0 without measurements, as with the others."""
        return _mean(self.hours, [hour.cores for hour in self.hours])

    @property
    def mean_memory(self) -> float:
        """The mean, in bytes."""
        return _mean(self.hours, [hour.memory for hour in self.hours])

    @property
    def busiest_day(self) -> float:
        """Mean cores of the day (in UTC) with the highest mean."""
        days: dict[int, list[Hour]] = defaultdict(list)
        for hour in self.hours:
            days[hour.hour // 24].append(hour)
        return max((_mean(day, [hour.cores for hour in day]) for day in days.values()), default=0)

    @property
    def restarts(self) -> int:
        """How often it was started anew."""
        return sum(hour.restarts for hour in self.hours)

    @property
    def ooms(self) -> Known:
        """How often it was killed for its memory; None when that was not measured."""
        return _sum(*(hour.ooms for hour in self.hours))

    @property
    def throttled(self) -> Known:
        """In which part of the periods its quota was used up; None when not measured."""
        periods = _sum(*(hour.periods for hour in self.hours))
        throttled = _sum(*(hour.throttled for hour in self.hours))
        return throttled / periods if periods and throttled is not None else None

    def memory_peak(self, days: int = KEPT_DAYS) -> float:
        """Give the most memory of the last days, in bytes."""
        return max(self._daily_peaks(days).values(), default=0.0)

    def memory_peaks(self) -> DecayingHistogram:
        """Make the histogram of the daily peaks of the last eight days, 10 MB to 1 TB."""
        made = DecayingHistogram(first=1e7, most=1e12)
        for day, peak in self._daily_peaks(_PEAK_DAYS).items():
            made.add(peak, day * 24.0 * _HOUR)
        return made

    def over(self, cores: float, memory_bytes: float) -> Overload:
        """Replay the hours on a machine of this size."""
        seen = [hour for hour in self.hours if hour.samples]
        count = max(1, len(seen))
        return Overload(
            sum(hour.cores > cores for hour in seen) / count,
            sum(hour.most_cores > cores for hour in seen) / count,
            sum(hour.most_memory > memory_bytes for hour in seen) / count,
        )

    def _daily_peaks(self, days: int) -> dict[int, float]:
        peaks: dict[int, float] = {}
        for hour in self.hours:
            if hour.hour > self.hours[-1].hour - 24 * days:
                day = hour.hour // 24
                peaks[day] = max(peaks.get(day, 0.0), hour.most_memory)
        return peaks

    def _put(self, seen: Hour) -> None:
        place = bisect_left(self.hours, seen.hour, key=lambda hour: hour.hour)
        if place < len(self.hours) and self.hours[place].hour == seen.hour:
            self.hours[place].add(seen)
            return
        self.hours.insert(place, seen)
        oldest = self.hours[-1].hour - KEPT_DAYS * 24
        if self.hours[0].hour <= oldest:
            self.hours = [hour for hour in self.hours if hour.hour > oldest]


class UsageStore:
    """The histories of a node, or of a fleet."""

    def __init__(self, workloads: Iterable[Usage] = ()) -> None:
        """Take what there is. Raises UsageError if it is too much."""
        self.workloads: dict[str, Usage] = {}
        for usage in workloads:
            self._add(usage)

    def workload(self, name: str) -> Usage:
        """Give the history of a workload, an empty one if it is new. Raises UsageError."""
        if name not in self.workloads:
            self._add(Usage(name))
        return self.workloads[name]

    def encode(self) -> bytes:
        """Make the content of a file; quick enough for where the samples are taken."""
        content = msgspec.json.encode(list(self.workloads.values()))
        return b"%s %d %s\n%s" % (MAGIC, FORMAT, _digest(content), content)

    @classmethod
    def load(cls, path: Path) -> Self:
        """Read a file; one that is not there is a store without any. Raises UsageError."""
        try:
            if path.stat().st_size > MOST_BYTES:
                raise UsageError(f"{path} is larger than a history may be")
            content = path.read_bytes()
        except FileNotFoundError:
            return cls()
        except OSError as error:
            raise UsageError(f"{path} cannot be read: {error.strerror}") from error
        try:
            return cls(_decode(content))
        except UsageError as error:
            raise UsageError(f"{path} {error}") from error

    def _add(self, usage: Usage) -> None:
        if len(self.workloads) >= MOST_WORKLOADS:
            raise UsageError(f"has more than {MOST_WORKLOADS} workloads")
        self.workloads[usage.name] = usage


def write(path: Path, content: bytes) -> None:
    """Put what `encode` made into a file, whole or not at all. Blocks. Raises UsageError."""
    try:
        with output(path, replace=True) as file:
            file.write(content)
    except BackupError as error:
        raise UsageError(f"{path} is a directory") from error
    except OSError as error:
        raise UsageError(f"{path} cannot be written: {error.strerror}") from error


def _decode(content: bytes) -> list[Usage]:
    head, _, body = content.partition(b"\n")
    match head.split(b" "):
        case [magic, number, digest] if magic == MAGIC and number.isdigit():
            pass
        case _:
            raise UsageError("is no history of usage, or is damaged")
    if int(number) > FORMAT:
        raise UsageError(f"was written by a newer version: its format is {int(number)}")
    if int(number) < FORMAT or digest != _digest(body):
        raise UsageError("is damaged: its checksum does not match")
    try:
        return msgspec.json.decode(body, type=list[Usage])
    except msgspec.DecodeError as error:
        raise UsageError(f"is damaged: {error}") from error


def _digest(content: bytes) -> bytes:
    return hashlib.sha256(content).hexdigest().encode()


def _grown(before: Known, after: Known) -> Known:
    """Tell how much a total grew; None when it is not known or began anew."""
    return None if before is None or after is None or after < before else after - before


def _sum(*parts: Known) -> Known:
    known = [part for part in parts if part is not None]
    return sum(known) if known else None


def _mean(hours: list[Hour], values: list[float]) -> float:
    samples = sum(hour.samples for hour in hours)
    if not samples:
        return 0.0
    both = zip(hours, values, strict=True)
    return sum(hour.samples * value for hour, value in both) / samples
