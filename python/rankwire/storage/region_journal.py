"""A region's journal as other regions see it: what they are served of it, what comes from them.

*Causal order.* Everybody who reads a journal trusts the order of `seq`: what a batch builds on has
a smaller one. So batches are served in that order and without what comes after the end of a list
that was cut, and `insert` keeps it. Where regions get each other's batches from their homes, only
the places of these are served, as pointers: who inserts what comes behind one has that batch.

*No gaps, no doubles.* Whoever inserts is alone in doing so, by an advisory lock, and then looks at
what is there: a batch that is there is skipped, one that is not the next of its origin refuses all.
Nothing is inserted that does not read as a batch.

*When an origin has ended* its home region knows. Elsewhere `origins.last` stays NULL until that is
told and the last batch is here, so nobody misses what has not come yet. An origin of this region
may have lost batches that others give back, when it was restored from a backup; then tidying tells
anew.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final, NamedTuple

import msgspec

from rankwire import _core
from rankwire.storage import StorageError
from rankwire.storage.damage import corrupt
from rankwire.storage.migrate_postgres import LOCK_SPACE
from rankwire.storage.postgres_link import Connection, Link
from rankwire.storage.region_rows import Answers, ForeignBatch, OriginRow, Served
from rankwire.storage.region_state import RegionStates, Turns
from rankwire.storage.region_stored import States, read_stored
from rankwire.storage.region_turn import RepairTurn

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable, Mapping, Sequence

    from rankwire import settings

# Most batches, and about how many bytes, that are served at a time.
_BATCHES: Final = 1000
_BYTES: Final = 8 * 1024**2

# Only where the two differ, so that a poll in vain reads little.
_DIFFERENCES: Final = """
WITH seen AS (
    SELECT * FROM unnest(%(origins)s::bigint[], %(numbers)s::bigint[]) AS seen (origin, number)
), differences AS (
    SELECT origin, reached.region, coalesce(seen.number, 0) AS seen,
           coalesce(reached.number, 0) AS number,
           (
               SELECT min(number) FROM journal
               WHERE journal.origin = reached.origin
                 AND journal.number > coalesce(seen.number, 0)
           ) AS next
    FROM reached FULL JOIN seen USING (origin)
    WHERE coalesce(reached.number, 0) <> coalesce(seen.number, 0)
)
SELECT cluster.id, epoch, primary_region,
       (extract(epoch FROM clock_timestamp()) * 1000)::float8,
       origin, differences.region, seen, number, next
FROM cluster CROSS JOIN region_state LEFT JOIN differences ON true
"""
# Of each origin the next ones, and of all of these the first ones in the journal's order: as many
# in all as of each, so what comes after the end of a list that was cut is not among them.
_NEXT: Final = """
WITH wanted AS (
    SELECT * FROM unnest(%(origins)s::bigint[], %(numbers)s::bigint[], %(pointers)s::bool[])
        AS wanted (origin, number, is_pointer)
), found AS (
    SELECT seq, wanted.origin, found.number,
           CASE WHEN is_pointer THEN '' ELSE batch END AS batch,
           CASE WHEN is_pointer THEN '' ELSE coalesce(answers, '') END AS answers
    FROM wanted
    CROSS JOIN LATERAL (
        SELECT seq, number, batch, answers FROM journal
        WHERE journal.origin = wanted.origin AND journal.number > wanted.number
        ORDER BY number LIMIT %(batches)s
    ) AS found
    ORDER BY seq LIMIT %(batches)s
), sized AS (
    SELECT *, sum(octet_length(batch) + octet_length(answers)) OVER (ORDER BY seq)
              - octet_length(batch) - octet_length(answers) AS before
    FROM found
)
SELECT origin, number, batch, answers FROM sized WHERE before < %(bytes)s ORDER BY seq
"""
# One that stands no longer in origins has ended.
_ORIGINS: Final = """
SELECT origin, reached.region, coalesce(node, ''),
       CASE WHEN origins IS NULL THEN reached.number ELSE last END
FROM reached LEFT JOIN origins USING (origin)
WHERE origin = ANY (%s::bigint[])
"""
_OPEN: Final = """
SELECT origin FROM origins WHERE last IS NULL AND region <> (SELECT region FROM cluster)
"""
_ALONE: Final = "SELECT pg_advisory_xact_lock(%s, hashtext('journal of ' || id)) FROM cluster"
_NUMBERS: Final = "SELECT origin, number FROM reached WHERE origin = ANY (%s::bigint[])"
_INSERT: Final = """
INSERT INTO journal (origin, number, batch, answers)
SELECT origin, number, batch, nullif(answers, '')
FROM unnest(%b::bigint[], %b::bigint[], %b::bytea[], %b::bytea[])
    WITH ORDINALITY AS given (origin, number, batch, answers, place)
ORDER BY place
"""
_INSERT_ORIGINS: Final = """
INSERT INTO origins (origin, region, node, last)
SELECT * FROM unnest(%s::bigint[], %s::text[], %s::text[], %s::bigint[]) AS given (origin)
ORDER BY origin
ON CONFLICT (origin) DO UPDATE SET region = excluded.region, last = excluded.last
"""
# In the order that append_batch keeps, so that nobody waits in a circle.
_INSERT_ANSWERS: Final = """
INSERT INTO answers (key, request, answer)
SELECT * FROM unnest(%b::bytea[], %b::bytea[], %b::bytea[]) AS given (key)
ORDER BY given.key
ON CONFLICT DO NOTHING
"""
_END_NAMES: Final = "DELETE FROM names WHERE board = ANY (%s::bigint[])"
# Of two boards of one name the engines have the one that comes first in the journal.
_BEGIN_NAMES: Final = """
INSERT INTO names SELECT * FROM unnest(%s::text[], %s::bigint[]) AS given (name) ORDER BY name
ON CONFLICT DO NOTHING
"""
_OTHER_BOARDS: Final = """
SELECT name FROM names JOIN unnest(%s::text[], %s::bigint[]) AS given (name, board) USING (name)
WHERE names.board <> given.board ORDER BY name
"""

_answers: Final = msgspec.msgpack.Decoder(Answers)


class RegionJournal(RegionStates):
    """See the module, and its base for the region's state.

    Every method blocks, and raises StorageError.
    """

    def __init__(self, kept: settings.Storage, region: str) -> None:
        """Do not connect yet. The database is one that a `PostgresStorage` has opened."""
        super().__init__(kept, region)
        self._kept = kept
        self._reader = Turns(Link(kept, "region-reader", snapshots=True))
        self._inserter = Turns(Link(kept, "region-inserter"))

    def close(self) -> None:
        """Let go of everything. Idempotent."""
        super().close()
        self._reader.close()
        self._inserter.close()

    def repair_turn(self) -> RepairTurn:
        """Prepare to be the one node of the region that writes repairs."""
        return RepairTurn(self._kept)

    def stored(self, board: int, members: Sequence[str]) -> States:
        """Give what a node that started now would hold of members. Raises CorruptError."""
        return read_stored(self._kept, board, members)

    def vector(self) -> dict[int, int]:
        """Give the last batch of every origin that the journal or the checkpoint has."""
        query = "SELECT origin, number FROM reached WHERE number > 0"
        with self._reader.use("read the journal") as connection:
            return dict(connection.execute(query).fetchall())

    def number_of(self, origin: int) -> int:
        """Give the last batch of one origin; 0 if there is none."""
        query = "SELECT number FROM reached WHERE origin = %s"
        with self._reader.use("read the journal") as connection:
            row = connection.execute(query, (origin,)).fetchone()
        return 0 if row is None else int(row[0])

    def open_origins(self) -> list[int]:
        """Give the origins of other regions of which more may come, as far as is known here."""
        with self._reader.use("read the journal") as connection:
            return [origin for (origin,) in connection.execute(_OPEN).fetchall()]

    def origins(self) -> dict[int, str]:
        """Give the regions of all origins that there ever were."""
        with self._reader.use("read the journal") as connection:
            return dict(connection.execute("SELECT origin, region FROM reached").fetchall())

    def serve(
        self, vector: Mapping[int, int], but: Collection[str], open_ones: Collection[int] = ()
    ) -> Served:
        """Give what this journal has beyond a vector, as of one moment.

        Of the regions `but`, pointers are given in place of batches. `open_ones` are origins that
        are asked about: those that have ended are told.
        """
        with self._reader.use("read the journal") as connection, connection.transaction():
            differ = _Differences(connection, vector, but)
            batches = [] if differ.gone else _next(connection, differ)
            served = {each.origin: each.number for each in batches if each.batch}
            known = _origins(connection, served, open_ones)
        more = sum(
            lead.number - served.get(lead.origin, lead.seen)
            for lead in differ.leads
            if not lead.is_pointer
        )
        return Served(*differ.about, batches, known, differ.lacks, differ.gone, more)

    def insert(self, origins: Sequence[OriginRow], batches: Sequence[ForeignBatch]) -> list[str]:
        """Add batches of other journals to this one, all or nothing.

        `origins` tells of those that they come from, and of others if there is news of them.
        Batches that are there are skipped. Gives the names of boards that they begin and that
        another board has here. Raises CorruptError if one cannot be read.
        """
        # Before anybody waits for what follows.
        names = {(each.origin, each.number): _core.names_of(*_key(each)) for each in batches}
        answers = {(each.origin, each.number): _answers_of(each) for each in batches}
        with self._inserter.use("insert batches") as connection, connection.transaction():
            connection.execute(_ALONE, (LOCK_SPACE,))
            ids = list({row.origin for row in origins} | {each.origin for each in batches})
            reached: dict[int, int] = dict(connection.execute(_NUMBERS, (ids,)).fetchall())
            fresh = _fresh(reached, batches)
            self._note_origins(connection, origins, reached, {each.origin for each in fresh})
            if not fresh:
                return []
            columns = list(map(list, zip(*map(msgspec.structs.astuple, fresh), strict=True)))
            connection.execute(_INSERT, columns)
            places = [(each.origin, each.number) for each in fresh]
            _keep(connection, [answer for place in places for answer in answers[place]])
            return _name(connection, [names[place] for place in places])

    def _note_origins(
        self,
        connection: Connection,
        origins: Sequence[OriginRow],
        reached: Mapping[int, int],
        fresh: Collection[int],
    ) -> None:
        """Note origins that have `fresh` batches, and those that have ended and are all here."""
        known = {row.origin: row for row in origins}
        if unknown := [origin for origin in fresh if origin not in known]:
            raise StorageError(f"cannot insert batches: nothing is told of origin {unknown[0]}")
        rows = []
        for row in known.values():
            is_whole = row.last == reached.get(row.origin, 0) and row.region != self.region
            if is_whole or row.origin in fresh:
                rows.append((row.origin, row.region, row.node, row.last if is_whole else None))
        if rows:
            connection.execute(_INSERT_ORIGINS, list(map(list, zip(*rows, strict=True))))


class _Lead(NamedTuple):
    """An origin of which a journal has more than another one."""

    origin: int
    seen: int
    """What the other has."""
    number: int
    next: int | None
    """The first batch beyond that which is still in the journal."""
    is_pointer: bool

    @property
    def is_gone(self) -> bool:
        """Whether something between is not in the journal any more."""
        return self.next != self.seen + 1


class _Differences:
    """What a journal has that another one has not, and the other way round."""

    def __init__(
        self, connection: Connection, vector: Mapping[int, int], but: Collection[str]
    ) -> None:
        seen = {"origins": list(vector), "numbers": list(vector.values())}
        rows = connection.execute(_DIFFERENCES, seen).fetchall()
        self.about: tuple[str, int, str, float] = rows[0][:4]
        """The database, the epoch and its primary, the time."""
        self.leads: list[_Lead] = []
        self.lacks: dict[int, int] = {}
        for *_, origin, region, has, number, following in rows:
            if origin is None:
                continue
            if number < has:
                self.lacks[origin] = number
            else:
                self.leads.append(_Lead(origin, has, number, following, region in but))
        self.gone = [lead.origin for lead in self.leads if lead.is_gone and not lead.is_pointer]


def _next(connection: Connection, differ: _Differences) -> list[ForeignBatch]:
    """Give the next batches and pointers, no more of these than are needed."""
    if all(lead.is_pointer for lead in differ.leads):
        # Nothing to read, but news for who has lost batches of its own.
        return _pointers({lead.origin: lead.number for lead in differ.leads})
    bounds = {
        "origins": [lead.origin for lead in differ.leads],
        "numbers": [lead.seen for lead in differ.leads],
        "pointers": [lead.is_pointer for lead in differ.leads],
        "batches": _BATCHES,
        "bytes": _BYTES,
    }
    # What is gone of the other regions came before all that is still there.
    pointers = {
        lead.origin: (lead.next or lead.number + 1) - 1 for lead in differ.leads if lead.is_gone
    }
    batches: list[ForeignBatch] = []
    for origin, number, batch, answers in connection.execute(_NEXT, bounds, binary=True):
        if not batch:
            pointers[origin] = number
            continue
        batches += _pointers(pointers)
        pointers.clear()
        batches.append(ForeignBatch(origin, number, batch, answers))
    # What is not written yet builds on these; until they have come there is no need to ask again.
    return batches + _pointers(pointers)


def _pointers(numbers: Mapping[int, int]) -> list[ForeignBatch]:
    return [ForeignBatch(origin, number, b"", b"") for origin, number in numbers.items()]


def _origins(
    connection: Connection, served: Collection[int], open_ones: Collection[int]
) -> list[OriginRow]:
    """Tell of the origins that are served, and of those of the others that have ended."""
    if not (served or open_ones):
        return []
    wanted = [*served, *open_ones]
    rows = [OriginRow(*row) for row in connection.execute(_ORIGINS, (wanted,)).fetchall()]
    return [row for row in rows if row.origin in served or row.last is not None]


def _fresh(reached: dict[int, int], batches: Iterable[ForeignBatch]) -> list[ForeignBatch]:
    """Choose those that are not there yet, and add them to what is `reached`."""
    fresh = []
    for each in batches:
        have = reached.get(each.origin, 0)
        if each.number <= have:
            continue
        if each.number != have + 1:
            raise StorageError(
                f"cannot insert batches: batches before number {each.number} of origin "
                f"{each.origin} are missing"
            )
        reached[each.origin] = each.number
        fresh.append(each)
    return fresh


def _key(batch: ForeignBatch) -> tuple[int, int, bytes]:
    return batch.origin, batch.number, batch.batch


def _answers_of(batch: ForeignBatch) -> Answers:
    if not batch.answers:
        return []
    try:
        return _answers.decode(batch.answers)
    except msgspec.DecodeError as error:
        where = f"batch {batch.number} of origin {batch.origin}"
        raise corrupt(f"the answers of {where} are damaged: {error}") from error


def _keep(connection: Connection, answers: Answers) -> None:
    """Keep answers, but for those to writes that were answered here already."""
    if answers:
        columns = list(map(list, zip(*answers, strict=True)))
        connection.execute(_INSERT_ANSWERS, columns)


def _name(
    connection: Connection, batches: Iterable[tuple[list[tuple[str, int]], list[int]]]
) -> list[str]:
    """Follow what batches begin and end, in their order; give the names that others have."""
    names: dict[str, int] = {}
    gone: list[int] = []
    for created, dropped in batches:
        gone += dropped
        ended = set(dropped)
        names = {name: board for name, board in names.items() if board not in ended}
        for name, board in created:
            names.setdefault(name, board)
    if gone:
        connection.execute(_END_NAMES, (gone,))
    if not names:
        return []
    given = (list(names), list(names.values()))
    connection.execute(_BEGIN_NAMES, given)
    return [name for (name,) in connection.execute(_OTHER_BOARDS, given).fetchall()]
