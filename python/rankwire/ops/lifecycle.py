"""The life of the journal: what is older than some days goes into an archive, and is dropped then.

`Lifecycle` is the policy over one storage and one archive, for commands; it blocks. `Keeper` does
the same in a server, on a thread of its own, a bounded amount at a time, while this node takes the
checkpoints: a store that is slow or away holds up nothing else. Nothing more is dropped then, and
`Keeper.trouble` says why until it works again. One process archives at a time, whoever starts it.
"""

from __future__ import annotations

import threading
import time
from typing import TYPE_CHECKING, Final

import msgspec
import structlog

from rankwire import _core
from rankwire.storage import StorageError
from rankwire.storage.archive import ArchiveError, Manifest
from rankwire.storage.archive_reader import Archive, Counted, Verified
from rankwire.storage.archive_source import Hold, open_archive_source
from rankwire.storage.archiver import Archiver, Outcome, Plan
from rankwire.storage.objects import ObjectStoreError, open_store

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from rankwire.settings import Settings, Storage
    from rankwire.storage.archive_restore import Restored

FAILURES: Final = (ArchiveError, ObjectStoreError, StorageError, _core.CorruptError)
"""What the methods of `Lifecycle` raise."""

# Between two looks whether something is old enough, and between rounds while there is more.
_LOOK_SECONDS: Final = 600.0
_MORE_SECONDS: Final = 10.0
# Between two attempts after a failure, or at what was in use: each may hold up commits for 0.1 s.
_RETRY_SECONDS: Final = 60.0
# Segments that one round stores or compares: some hundred megabytes of batches at most.
_ROUND_SEGMENTS: Final = 32
# How long a stop waits for the segment that is under way; the next run goes on in any case.
_STOP_SECONDS: Final = 5.0

_log = structlog.get_logger(__name__)


class Lifecycle:
    """The journal of a storage and its archive. Methods raise `FAILURES`."""

    def __init__(self, settings: Settings, tell: Callable[[str], None] = lambda _: None) -> None:
        """Use storage and archive of the settings; raises ObjectStoreError for a wrong address.

        Neither is asked anything yet. `tell` is told how far long work is.
        """
        self.days = settings.storage.journal_days
        self.store = open_store(settings.ops.archive_url)
        self._tell = tell
        self._source = open_archive_source(settings.storage)
        self._archiver = Archiver(self.store, self._source, tell)

    def plan(self, days: int | None = None) -> Plan:
        """Tell what `run` would do; changes nothing."""
        return self._archiver.plan(days or self.days)

    def run(
        self,
        days: int | None = None,
        *,
        most_segments: int | None = None,
        is_stopped: Callable[[], bool] = lambda: False,
    ) -> Outcome:
        """Archive, read back and drop what is older than `days`, or than the settings say."""
        return self._archiver.run(
            days or self.days, most_segments=most_segments, is_stopped=is_stopped
        )

    @property
    def outcome(self) -> Outcome:
        """What the last `run` did, also if it failed."""
        return self._archiver.outcome

    def manifests(self, cluster: str | None = None) -> Iterator[Manifest]:
        """Give the manifests of all segments, in order of time."""
        archive = Archive(self.store, cluster or self.cluster())
        names = archive.names()
        for index, name in enumerate(names):
            self._tell(f"read {index:,} of {len(names):,} manifests")
            yield archive.manifest(name)

    def verify(self, cluster: str | None = None) -> Verified:
        """Read everything again, and look for damage and gaps, also between archive and journal.

        Of another database than the storage's, the archive alone can be looked at.
        """
        if cluster is not None:
            return Archive(self.store, cluster).verify(None, self._tell)
        with self._source.open(to_change=False):
            # First, so that what goes into the archive meanwhile is no gap.
            firsts = self._source.firsts()
            cluster = self._source.cluster
        return Archive(self.store, cluster).verify(firsts, self._tell)

    def restore(
        self, first_us: int, end_us: int, target: Restored, cluster: str | None = None
    ) -> Counted:
        """Bring back what was committed from one moment on and before another.

        Moments are microseconds since 1970.
        """
        archive = Archive(self.store, cluster or self.cluster())
        return archive.restore(first_us, end_us, target, self._tell)

    def hold(self, reason: str) -> Hold:
        """Place a legal hold: nothing is dropped until `release`."""
        return self._archiver.hold(reason)

    def release(self) -> list[Hold]:
        """End all holds, and tell which there were."""
        return self._archiver.release()

    def holds(self, cluster: str | None = None) -> list[Hold]:
        """List the holds as the archive notes them."""
        return Archive(self.store, cluster or self.cluster()).holds()

    def cluster(self) -> str:
        """Tell which database the storage is."""
        with self._source.open(to_change=False):
            return self._source.cluster


def stop_archiving(storage: Storage) -> bool:
    """Let servers drop old journal unarchived again, and tell whether it was archived until now.

    Raises StorageError. Needs no archive; whoever archives once more ends it.
    """
    source = open_archive_source(storage)
    with source.open(to_change=False):
        return source.stop()


class Totals(msgspec.Struct):
    """What a `Keeper` has done since it began."""

    failures: int = 0
    stored_bytes: int = 0
    dropped_batches: int = 0
    is_held: bool = False
    """Whether the last round found a legal hold."""
    last_success: float | None = None
    """When a round last went through without failure, in seconds since 1970."""


class Keeper:
    """Archives while this process leads, on a thread."""

    def __init__(self, lifecycle: Lifecycle, leads: Callable[[], bool]) -> None:
        """Take a lifecycle of its own; `leads` is asked before each round, on the thread."""
        self.totals = Totals()
        self.trouble: str | None = None
        """Why the last round did not get through; None when all is well."""
        self._lifecycle = lifecycle
        self._leads = leads
        self._stopping = threading.Event()
        # It may be in the middle of a long request to a store that has fallen silent.
        self._thread = threading.Thread(target=self._run, name="archive", daemon=True)

    def start(self) -> None:
        """Begin."""
        self._thread.start()

    def stop(self) -> None:
        """End after the segment that is under way, and in any case within some seconds."""
        self._stopping.set()
        if self._thread.is_alive():
            self._thread.join(_STOP_SECONDS)

    def round(self) -> float:
        """Do a bounded amount of work, and tell how many seconds to wait before the next."""
        if not self._leads():
            self.trouble = None
            return _MORE_SECONDS
        try:
            outcome = self._lifecycle.run(
                most_segments=_ROUND_SEGMENTS, is_stopped=self._stopping.is_set
            )
        except FAILURES as error:
            self._fail(str(error.args[0]))
            return _RETRY_SECONDS
        except Exception as error:  # noqa: BLE001 - the thread has to live, and this to be seen
            self._fail(f"{type(error).__name__}: {error}")
            return _RETRY_SECONDS
        self._note(outcome)
        if outcome.left:
            return _RETRY_SECONDS
        return _MORE_SECONDS if outcome.has_more else _LOOK_SECONDS

    def _run(self) -> None:
        while not self._stopping.wait(self.round()):
            pass

    def _fail(self, why: str) -> None:
        self.totals.failures += 1
        self._count(self._lifecycle.outcome)
        # Said once and not at every attempt.
        if why != self.trouble:
            _log.warning("journal not archived, so nothing more of it is dropped", reason=why)
        self.trouble = why

    def _note(self, outcome: Outcome) -> None:
        self._count(outcome)
        totals = self.totals
        totals.is_held = outcome.is_held
        totals.last_success = time.time()
        if self.trouble is not None:
            _log.info("journal is archived again")
        self.trouble = None
        if outcome.segments_stored or outcome.dropped_batches:
            _log.info(
                "journal archived",
                batches=outcome.batches,
                dropped=outcome.dropped_batches,
                stored_bytes=outcome.stored_bytes,
                held=outcome.is_held,
            )

    def _count(self, outcome: Outcome) -> None:
        """Add what a round did, which it may have done before it failed."""
        totals = self.totals
        totals.stored_bytes += outcome.stored_bytes
        totals.dropped_batches += outcome.dropped_batches
