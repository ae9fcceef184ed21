"""Moves old batches of the journal into an archive: stored, read back, compared, then dropped.

What is there of a batch is found by reading the archive, never from notes about earlier runs, so a
run may end anywhere, by a crash as well, and the next one goes on: what an earlier one stored is
read and compared with the journal, row by row, and what is missing is stored. Names depend on what
is in a segment only, so nothing is stored twice. A batch that the archive has otherwise than the
journal ends the run, and nothing of its piece is dropped.

While there is a legal hold, batches are archived and nothing is dropped.
"""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

import msgspec

from rankwire.storage import archive
from rankwire.storage.archive import ArchiveError, Name, Row
from rankwire.storage.archive_reader import Archive
from rankwire.storage.archive_source import ArchiveSource, Extent, HeldError, Hold, Piece
from rankwire.storage.objects import ObjectStoreError

if TYPE_CHECKING:
    from collections.abc import Callable

    from rankwire.storage.objects import ObjectStore


class Outcome(msgspec.Struct):
    """What a run did."""

    segments_stored: int = 0
    segments_found: int = 0
    """Stored by earlier runs, read and compared by this one."""
    batches: int = 0
    """Archived, by this run or before, and compared with the journal."""
    batch_bytes: int = 0
    """Bytes of those batches."""
    stored_bytes: int = 0
    """Size of the segments that this run stored."""
    dropped_batches: int = 0
    dropped_bytes: int = 0
    """Bytes of the batches that are not in the database any more."""
    dropped_tables: int = 0
    freed_bytes: int = 0
    """Disk that the dropped tables used, with their indexes. Rows that were deleted one by one
    leave room that the database uses again."""
    is_held: bool = False
    left: list[str] = []
    """What could not be dropped yet, and why."""
    has_more: bool = False
    """Whether the run ended before it was through, as it was asked to."""
    seconds: float = 0.0


class Due(msgspec.Struct, frozen=True):
    """A piece that a run would archive."""

    piece: str
    extent: Extent


class Plan(msgspec.Struct, frozen=True):
    """What a run would do now."""

    due: list[Due]
    holds: list[Hold]


class _Place(msgspec.Struct):
    """How far a piece has been archived and compared."""

    seq: int = -1
    batches: int = 0
    batch_bytes: int = 0
    manifests: set[str] = msgspec.field(default_factory=set)


class Archiver:
    """See the module. Methods raise ArchiveError, ObjectStoreError and StorageError.

    One may be used for many runs: it remembers what it has compared of pieces that wait.
    """

    def __init__(
        self,
        store: ObjectStore,
        source: ArchiveSource,
        tell: Callable[[str], None] = lambda _: None,
    ) -> None:
        """Take a store and a journal, which is opened for each call."""
        self._store = store
        self._source = source
        self._tell = tell
        self._archive = Archive(store, "")
        self._places: dict[tuple[str, int | None], _Place] = {}
        self._outcome = Outcome()
        # Of this run: the segments that there are, once they are wanted, and the one read last.
        self._names: list[Name] | None = None
        self._read: tuple[Name, list[Row]] | None = None

    @property
    def outcome(self) -> Outcome:
        """What the last run did, also if it failed, or what the one that is under way has done."""
        return self._outcome

    def plan(self, days: int) -> Plan:
        """Tell what a run would do now; changes nothing."""
        with self._source.open(to_change=False):
            self._archive = Archive(self._store, self._source.cluster)
            pieces = self._source.pieces(days)
            due = [Due(piece.name, self._source.extent(piece, days)) for piece in pieces]
            return Plan([each for each in due if each.extent.batches], self._holds())

    def run(
        self,
        days: int,
        *,
        most_segments: int | None = None,
        is_stopped: Callable[[], bool] = lambda: False,
    ) -> Outcome:
        """Archive and drop what is older than so many days.

        Ends early after about `most_segments`, or when `is_stopped` says so.
        """
        started = time.monotonic()
        self._outcome = outcome = Outcome()

        def is_over() -> bool:
            done = outcome.segments_stored + outcome.segments_found
            return is_stopped() or (most_segments is not None and done >= most_segments)

        with self._source.open():
            self._begin()
            pieces = self._source.pieces(days)
            keys = set(map(_key, pieces))
            self._places = {key: place for key, place in self._places.items() if key in keys}
            for piece in pieces:
                if not self._finish(piece, days, is_over):
                    outcome.has_more = True
                    break
        outcome.seconds = time.monotonic() - started
        return outcome

    def hold(self, reason: str) -> Hold:
        """Place a legal hold, in the database first: from then on nothing is dropped."""
        with self._source.open(to_change=False):
            hold = self._source.hold(reason)
            try:
                Archive(self._store, self._source.cluster).note(hold)
            except ObjectStoreError as error:
                raise ArchiveError(
                    "the hold stands, and nothing is dropped, but it is not noted in the archive "
                    f"yet, which the next run does: {error}"
                ) from error
            return hold

    def release(self) -> list[Hold]:
        """End all legal holds, and tell which there were."""
        with self._source.open(to_change=False):
            place = Archive(self._store, self._source.cluster)
            noted = place.holds()
            # One that is placed from here on stands, in the database and noted.
            holds = {hold.id: hold for hold in [*noted, *self._source.release()]}
            for hold in holds.values():
                place.forget(hold)
            return list(holds.values())

    def _begin(self) -> None:
        self._archive = Archive(self._store, self._source.cluster)
        self._names = self._read = None
        holds = self._source.holds()
        for hold in holds:
            self._archive.note(hold)
        # Who released one meanwhile may have forgotten the note before it was there.
        for hold in set(holds) - set(self._source.holds()):
            self._archive.forget(hold)
        self._outcome.is_held = bool(self._holds())

    def _holds(self) -> list[Hold]:
        """List holds of the database and those that only the store knows."""
        holds = {hold.id: hold for hold in [*self._archive.holds(), *self._source.holds()]}
        return list(holds.values())

    @property
    def _may_drop(self) -> bool:
        """Whether nothing speaks against it. What is left keeps all behind it: no gaps."""
        return not self._outcome.is_held and not self._outcome.left

    def _finish(self, piece: Piece, days: int, is_over: Callable[[], bool]) -> bool:
        """Archive a piece and drop it; False if the run was over before."""
        # Twice at most: what somebody wrote meanwhile was there before it was detached.
        for _ in range(2):
            if not self._copy(piece, days, is_over):
                return False
            if not piece.is_whole or not self._may_drop or self._drop(piece, days):
                break
        return True

    def _copy(self, piece: Piece, days: int, is_over: Callable[[], bool]) -> bool:
        """Archive all of a piece; rows go at once, where they go one by one."""
        if not piece.is_whole and self._may_drop:
            # Rows that were kept in an earlier run go now, and before those behind them.
            self._places.pop(_key(piece), None)
        place = self._places.setdefault(_key(piece), _Place())
        while rows := self._source.rows(piece, days, place.seq):
            if is_over():
                return False
            for some in archive.cut(rows):
                self._keep(some, place)
            size = sum(len(row[4]) for row in rows)
            place.seq = rows[-1][0]
            place.batches += len(rows)
            place.batch_bytes += size
            self._outcome.batches += len(rows)
            self._outcome.batch_bytes += size
            self._tell(f"{piece.name}: archived and compared {place.batches:,} batches")
            if not piece.is_whole:
                self._discard(piece, rows)
        if not piece.is_whole and self._may_drop:
            del self._places[_key(piece)]
        return True

    def _keep(self, rows: list[Row], place: _Place) -> None:
        """Make sure that the archive has these rows of one week, as they are."""
        # Of all weeks: what another copy of the database has there may be of another one.
        if self._names is None:
            self._names = self._archive.names()
        kept: dict[int, Row] = {}
        for name in self._names:
            if name.meets(rows[0][0], rows[-1][0]):
                kept |= {row[0]: row for row in self._rows(name)}
                place.manifests.add(name.manifest)
        missing = []
        for row in rows:
            found = kept.get(row[0])
            if found is None:
                missing.append(row)
            elif found != row:
                raise ArchiveError(
                    f"batch {row[2]} of origin {row[1]:016x} is archived otherwise than it is in "
                    "the journal: one of them was changed, or two copies of a database archive "
                    "into one place"
                )
        if missing:
            name = self._put(missing)
            self._names.append(name)
            place.manifests.add(name.manifest)

    def _rows(self, name: Name) -> list[Row]:
        if self._read is None or self._read[0] != name:
            self._read = (name, self._archive.rows(name)[1])
            self._outcome.segments_found += 1
        return self._read[1]

    def _put(self, rows: list[Row]) -> Name:
        """Store a segment, read it back, and store its manifest."""
        content = archive.encode_rows(rows)
        name = archive.name_of(self._archive.cluster, rows, content)
        self._store.put(name.segment, archive.encode(content))
        segment = self._store.get(name.segment, archive.MOST_SEGMENT_BYTES)
        if segment is None:
            raise ArchiveError(f"{name.segment} is gone right after it was stored")
        if archive.decode(segment, name.segment) != rows:
            raise ArchiveError(f"{name.segment} has other batches than were stored there")
        self._store.put(
            name.manifest, archive.encode_manifest(archive.describe(name, segment, rows))
        )
        archive.check(self._archive.manifest(name), segment, name)
        self._outcome.segments_stored += 1
        self._outcome.stored_bytes += len(segment)
        return name

    def _discard(self, piece: Piece, rows: list[Row]) -> None:
        if not self._may_drop:
            return
        try:
            self._source.discard(piece, rows)
        except HeldError:
            self._outcome.is_held = True
            return
        self._outcome.dropped_batches += len(rows)
        self._outcome.dropped_bytes += sum(len(row[4]) for row in rows)

    def _drop(self, piece: Piece, days: int) -> bool:
        """Drop a whole piece that is archived; False if it has to be archived once more."""
        place = self._places[_key(piece)]
        try:
            if not self._source.detach(piece):
                self._outcome.left.append(f"{piece.name} is in use, or commits came late to it")
                return True
            if self._source.extent(piece, days).batches != place.batches:
                del self._places[_key(piece)]
                return False
            self._see(place)
            freed = self._source.drop(piece)
        except HeldError:
            self._outcome.is_held = True
            return True
        if freed is None:
            self._outcome.left.append(f"{piece.name} is being read")
            return True
        del self._places[_key(piece)]
        self._outcome.dropped_batches += place.batches
        self._outcome.dropped_bytes += place.batch_bytes
        self._outcome.dropped_tables += 1
        self._outcome.freed_bytes += freed
        return True

    def _see(self, place: _Place) -> None:
        """Make sure that what was compared, maybe some rounds ago, is still there."""
        weeks = {name.split("/")[1] for name in place.manifests}
        folders = [f"{self._archive.cluster}/{week}" for week in sorted(weeks)]
        there = {name for folder in folders for name in self._store.list(folder)}
        for name in place.manifests:
            segment = name.removesuffix(archive.MANIFEST_SUFFIX) + archive.SEGMENT_SUFFIX
            if gone := {name, segment} - there:
                raise ArchiveError(f"{min(gone)} is gone")


def _key(piece: Piece) -> tuple[str, int | None]:
    return piece.name, piece.first_us
