"""The archive of one database in a store: what it has, whether it is whole, and what it says.

Nothing of a segment is believed before it is in everything what its manifest says, and one segment
is in memory at a time. Reads only, but for the notes of legal holds, which stand here as well so
that whoever looks after the store sees them.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import msgspec

from rankwire.storage import archive
from rankwire.storage.archive import ArchiveError, Manifest, Name, Row, Run
from rankwire.storage.archive_restore import records_of
from rankwire.storage.archive_source import Hold

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from rankwire.storage.archive_restore import Restored
    from rankwire.storage.objects import ObjectStore

_HOLDS: Final = "holds"
_MOST_HOLD_BYTES: Final = 65_536
# Problems that are told; a store that lost everything would have one for each segment.
_MOST_PROBLEMS: Final = 100

_holds: Final = msgspec.json.Decoder(Hold)


class Counted(msgspec.Struct, frozen=True):
    """What was read of an archive."""

    segments: int
    batches: int
    batch_bytes: int
    stored_bytes: int


class Verified(msgspec.Struct, frozen=True):
    """What a look at all of an archive found."""

    counted: Counted
    problems: list[str]
    """What is damaged, missing or there twice; empty when all is well."""
    notes: list[str]


class Archive:
    """See the module. Methods raise ArchiveError and ObjectStoreError."""

    def __init__(self, store: ObjectStore, cluster: str) -> None:
        """Take a store and the database whose archive it is."""
        self.store = store
        self.cluster = cluster

    def names(self) -> list[Name]:
        """List the segments, in order of time."""
        return _names(self.store.list(self.cluster))

    def manifest(self, name: Name) -> Manifest:
        """Read the manifest of a segment."""
        content = self.store.get(name.manifest, archive.MOST_MANIFEST_BYTES)
        if content is None:
            raise ArchiveError(f"{name.manifest} is gone")
        return archive.decode_manifest(content, name.manifest)

    def rows(self, name: Name) -> tuple[Manifest, list[Row]]:
        """Read a segment and check all that its manifest says."""
        manifest = self.manifest(name)
        segment = self.store.get(name.segment, archive.MOST_SEGMENT_BYTES)
        if segment is None:
            raise ArchiveError(f"{name.segment} is gone")
        return manifest, archive.check(manifest, segment, name)

    def verify(self, firsts: Mapping[int, int] | None, tell: Callable[[str], None]) -> Verified:
        """Read everything and look for damage and gaps.

        `firsts`: the first batch of each origin that the database still has, if it can be asked.
        """
        problems: list[str] = []
        runs: dict[str, list[Run]] = {}
        count = _Count()
        objects = self.store.list(self.cluster)
        names = _names(objects)
        for name in names:
            tell(f"verified {count.segments:,} of {len(names):,} segments")
            try:
                manifest, _ = self.rows(name)
            except ArchiveError as error:
                problems.append(str(error))
                continue
            count.add(manifest)
            for origin, found in manifest.origins.items():
                runs.setdefault(origin, []).extend(found)
        notes = _look_for_unfinished(objects, {name.segment for name in names})
        for origin, found in sorted(runs.items()):
            _look_for_gaps(origin, sorted(found), (firsts or {}).get(int(origin)), problems, notes)
        if len(problems) > _MOST_PROBLEMS:
            more = len(problems) - _MOST_PROBLEMS
            problems[_MOST_PROBLEMS:] = [f"and {more:,} more problems"]
        return Verified(count.done(), problems, notes)

    def restore(
        self, first_us: int, end_us: int, target: Restored, tell: Callable[[str], None]
    ) -> Counted:
        """Bring back what was committed from the one moment on and before the other.

        Raises StorageError as well, and CorruptError.
        """
        count = _Count()
        first, last = archive.week_of(first_us), archive.week_of(end_us)
        with target.open():
            for name in self.names():
                if not first <= name.week <= last:
                    continue
                manifest, rows = self.rows(name)
                wanted = [row for row in rows if first_us <= row[3] < end_us]
                if wanted:
                    target.add(wanted, records_of(wanted))
                    count.add(manifest, wanted)
                tell(f"restored {count.batches:,} batches from {count.segments:,} segments")
        return count.done()

    def holds(self) -> list[Hold]:
        """List the legal holds that the store notes."""
        found = []
        for name in self.store.list(f"{self.cluster}/{_HOLDS}"):
            content = self.store.get(name, _MOST_HOLD_BYTES)
            if content is None:
                continue
            try:
                found.append(_holds.decode(content))
            except msgspec.DecodeError as error:
                raise ArchiveError(f"{name} is damaged: it is no note of a hold") from error
        return found

    def note(self, hold: Hold) -> None:
        """Note a legal hold."""
        self.store.put(self._hold_name(hold), msgspec.json.encode(hold) + b"\n")

    def forget(self, hold: Hold) -> None:
        """Take the note of a hold away."""
        self.store.delete(self._hold_name(hold))

    def _hold_name(self, hold: Hold) -> str:
        return f"{self.cluster}/{_HOLDS}/{hold.id:019}.json"


class _Count:
    """Adds up what was read."""

    def __init__(self) -> None:
        self.segments = self.batches = self.batch_bytes = self.stored_bytes = 0

    def add(self, manifest: Manifest, rows: list[Row] | None = None) -> None:
        """Count a segment, or some rows of one."""
        self.segments += 1
        self.stored_bytes += manifest.stored_bytes
        self.batches += manifest.batches if rows is None else len(rows)
        self.batch_bytes += (
            manifest.batch_bytes if rows is None else sum(len(row[4]) for row in rows)
        )

    def done(self) -> Counted:
        return Counted(self.segments, self.batches, self.batch_bytes, self.stored_bytes)


def _names(objects: Sequence[str]) -> list[Name]:
    found = map(archive.read_name, objects)
    return [name for name in found if name is not None]


def _look_for_unfinished(objects: Sequence[str], known: set[str]) -> list[str]:
    """Tell of segments without a manifest: a run ended while it stored them."""
    lost = [name for name in objects if name.endswith(archive.SEGMENT_SUFFIX) and name not in known]
    if not lost:
        return []
    words = (
        f"{len(lost):,} segments have no manifest, so they do not count: {lost[0]} is one. The "
        "next run takes them over if their batches are still in the journal"
    )
    return [words]


def _look_for_gaps(
    origin: str, runs: list[Run], kept: int | None, problems: list[str], notes: list[str]
) -> None:
    """Compare the numbers of an origin's batches, in order, with those that there should be."""
    what = f"of origin {int(origin):016x}"
    if runs[0][0] > 1:
        notes.append(f"the archive begins with batch {runs[0][0]} {what}")
    last = runs[0][0] - 1
    for first, end in runs:
        if first <= last:
            problems.append(f"batches {first} to {min(last, end)} {what} are archived twice")
        elif first > last + 1:
            problems.append(f"batches {last + 1} to {first - 1} {what} are missing")
        last = max(last, end)
    if kept is not None and kept > last + 1:
        problems.append(
            f"batches {last + 1} to {kept - 1} {what} are neither archived nor in the journal"
        )
