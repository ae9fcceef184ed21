"""What a region's database says of the region: who is primary, who leads, what links are like.

One region at a time is the primary of an *epoch*. What is newer is decided by the pair of both: of
two regions that take the same number the later name counts. What only the primary may commit is
fenced where it is committed: the append looks at the row that is kept here, under a lock that
everything which ends a primary's term takes alone. So once `promise` has returned True, nothing of
an earlier epoch commits in this database any more, whatever its nodes believe.

The lease is looked at when an append begins. One whose commit then hangs, on a disk that has
stopped for a while, may become durable after the lease; where a promise was given there is no gap.
"""

from __future__ import annotations

import threading
from contextlib import contextmanager
from typing import TYPE_CHECKING, Final, Self

import msgspec

from rankwire.storage.migrate_postgres import LOCK_SPACE
from rankwire.storage.postgres_link import Connection, Link
from rankwire.storage.region_rows import LinkRow, RegionState

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from rankwire import settings

_STATE: Final = """
SELECT epoch, primary_region, is_open, extract(epoch FROM lease_until)::float8 * 1000, out_reason,
       stable::text, (extract(epoch FROM clock_timestamp()) * 1000)::float8, was_level
FROM region_state
"""
_LINKS: Final = """
SELECT region, level_ms, contact_ms, drift_ms, behind, lacking, trouble, epoch FROM region_links
ORDER BY region
"""
_BEGIN: Final = """
UPDATE region_state SET epoch = 1, primary_region = %(region)s, is_open = true WHERE epoch = 0
"""
_CLOSE_FENCE: Final = "SELECT close_fence()"
_PROMISE: Final = """
UPDATE region_state
SET epoch = %(epoch)s, primary_region = %(primary)s, is_open = false, lease_until = '-infinity'
WHERE (epoch, primary_region) < (%(epoch)s, %(primary)s)
"""
_STANDS: Final = "SELECT epoch = %s AND primary_region = %s FROM region_state"
_OPEN: Final = """
UPDATE region_state SET is_open = true
WHERE epoch = %(epoch)s AND primary_region = %(region)s
"""
# Only one without end gets shorter: when a third region has come.
_EXTEND: Final = """
UPDATE region_state SET lease_until = CASE
    WHEN %(until)s::float8 IS NULL THEN 'infinity'
    WHEN lease_until = 'infinity' THEN to_timestamp(%(until)s::float8 / 1000)
    ELSE greatest(lease_until, to_timestamp(%(until)s::float8 / 1000))
END
WHERE epoch = %(epoch)s AND primary_region = %(region)s AND is_open
"""
_END_LEASE: Final = """
UPDATE region_state SET lease_until = '-infinity'
WHERE lease_until <> 'infinity'
  AND lease_until > clock_timestamp() + make_interval(secs => %s)
"""
_SET_OUT: Final = "UPDATE region_state SET out_reason = %s"
_SAVE_STABLE: Final = """
UPDATE region_state SET stable = %(stable)s::jsonb WHERE stable <> %(stable)s::jsonb
"""
_NOTE_LEVEL: Final = "UPDATE region_state SET was_level = true WHERE NOT was_level"
_FORGET_LINKS: Final = "DELETE FROM region_links WHERE region <> ALL (%s)"
_SAVE_LINK: Final = """
INSERT INTO region_links (region, level_ms, contact_ms, drift_ms, behind, lacking, trouble, epoch)
VALUES (%s, %s, %s, %s, %s, %s, %s, %s)
ON CONFLICT (region) DO UPDATE SET
    level_ms = excluded.level_ms, contact_ms = excluded.contact_ms, drift_ms = excluded.drift_ms,
    behind = excluded.behind, lacking = excluded.lacking, trouble = excluded.trouble,
    epoch = excluded.epoch
"""
_LEAD: Final = """
SELECT pg_try_advisory_lock(%s, hashtext('regions of ' || id)) FROM cluster
"""

_stable: Final = msgspec.json.Decoder(dict[int, int])


class Turns:
    """A link that threads use in turn."""

    def __init__(self, link: Link) -> None:
        """Own the link."""
        self._link = link
        self._lock = threading.Lock()

    @contextmanager
    def use(self, purpose: str) -> Iterator[Connection]:
        """See `Link.use`."""
        with self._lock, self._link.use(purpose) as connection:
            yield connection

    def close(self) -> None:
        """Close the connection when nobody uses it. It is made again when it is needed."""
        with self._lock:
            self._link.close()


class RegionStates:
    """The state of a region; `RegionJournal` has the rest. For any thread.

    Every method blocks, and raises StorageError.
    """

    def __init__(self, kept: settings.Storage, region: str) -> None:
        """Do not connect yet."""
        self.region = region
        self._state = Turns(Link(kept, "region"))
        self._leader = Turns(Link(kept, "region-leader"))
        self._leading: Connection | None = None

    def __enter__(self) -> Self:
        """Use it for a block."""
        return self

    def __exit__(self, *_: object) -> None:
        """Close it."""
        self.close()

    def close(self) -> None:
        """Let go of everything, also of leading. Idempotent."""
        self._state.close()
        self._leader.close()
        self._leading = None

    def lead(self) -> bool:
        """Tell whether this process is the one of the region that pulls. To be asked now and then.

        It is as long as its session lives; with an error it is not.
        """
        with self._leader.use("lead the region") as connection:
            if connection is self._leading:
                connection.execute("SELECT 1")
                return True
            self._leading = None
            if connection.execute(_LEAD, (LOCK_SPACE,)).fetchone() == (True,):
                self._leading = connection
            return self._leading is not None

    def state(self) -> RegionState:
        """Look."""
        with self._state.use("read the region's state") as connection:
            (row,) = connection.execute(_STATE).fetchall()
            links = [LinkRow(*link) for link in connection.execute(_LINKS).fetchall()]
        epoch, primary, is_open, lease_until_ms, out_reason, stable, clock_ms, was_level = row
        return RegionState(
            self.region,
            epoch,
            primary,
            is_open,
            lease_until_ms,
            out_reason,
            _stable.decode(stable),
            links,
            clock_ms,
            was_level,
        )

    def begin(self) -> bool:
        """Open epoch 1 with this region as the first primary; False if there is one already.

        Whoever asks for it knows that no region has a primary, and that no other one begins.
        """
        with self._state.use("begin the first epoch") as connection:
            return connection.execute(_BEGIN, {"region": self.region}).rowcount > 0

    def promise(self, epoch: int, primary: str) -> bool:
        """Follow a primary, and no earlier one from now on; tell whether that is promised.

        Not if a newer one is known: one of a larger epoch, or of the same epoch and a name that
        sorts later. Waits for appends of the primary so far that are under way.
        """
        told = {"epoch": epoch, "primary": primary}
        with self._state.use("promise") as connection, connection.transaction():
            connection.execute(_CLOSE_FENCE)
            if connection.execute(_PROMISE, told).rowcount:
                return True
            return connection.execute(_STANDS, (epoch, primary)).fetchone() == (True,)

    def open_primary(self, epoch: int) -> bool:
        """Let this region act as the primary, once it has a lease; False if that is over."""
        with self._state.use("open the primary") as connection:
            told = {"epoch": epoch, "region": self.region}
            return connection.execute(_OPEN, told).rowcount > 0

    def extend_lease(self, epoch: int, until_ms: float | None) -> bool:
        """Let the primary go on until then, for ever with None; False if it is not this one.

        In the database's time, so that a process which was held up lengthens nothing.
        """
        told = {"epoch": epoch, "region": self.region, "until": until_ms}
        with self._state.use("extend the lease") as connection:
            return connection.execute(_EXTEND, told).rowcount > 0

    def end_lease(self, most_seconds: float) -> None:
        """End a lease that goes on for longer than one can: the clock was set back."""
        with self._state.use("end the lease") as connection:
            connection.execute(_END_LEASE, (most_seconds,))

    def set_out(self, reason: str | None) -> None:
        """Note why an operator takes the region out, or that it is in again."""
        with self._state.use("take the region out") as connection:
            connection.execute(_SET_OUT, (reason,))

    def save(self, stable: Mapping[int, int], links: Sequence[LinkRow]) -> None:
        """Note what all regions have, and what the links are like; other links are forgotten."""
        told = msgspec.json.encode(stable).decode()
        rows = [msgspec.structs.astuple(link) for link in links]
        with self._state.use("save the region's state") as connection, connection.transaction():
            connection.execute(_SAVE_STABLE, {"stable": told})
            if all(link.level_ms is not None for link in links):
                connection.execute(_NOTE_LEVEL)
            connection.execute(_FORGET_LINKS, ([link.region for link in links],))
            connection.cursor().executemany(_SAVE_LINK, rows)

    def clock_ms(self) -> float:
        """Ask the database for the time, in milliseconds since 1970."""
        query = "SELECT (extract(epoch FROM clock_timestamp()) * 1000)::float8"
        with self._state.use("ask for the time") as connection:
            ((found,),) = connection.execute(query).fetchall()
            return float(found)
