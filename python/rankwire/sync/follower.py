"""Keeps an engine level with what the other nodes have committed.

Batches come from the stream as long as they fit. Whenever one is missing, too large for the stream
or of a board that is not known yet, the storage is asked until the engine is level. What is in the
stream and still cannot be applied then is none of this region's, and left out. The storage is asked
once a second in any case, or all the time while there is no stream. So nothing depends on Redis
but how soon a change is seen. The storage's clock is read here as well.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from queue import Empty, Queue
from typing import Final, Protocol

import structlog

from rankwire import _core
from rankwire.storage import JournalBatch, StorageError
from rankwire.sync.link import TICK_SECONDS
from rankwire.sync.stream import Entry, Reader

# Between two looks at the storage: with a stream, and without.
_SLOW_SECONDS: Final = 1.0
_FAST_SECONDS: Final = 0.05
# Between two looks at its clock.
_CLOCK_SECONDS: Final = 1.0
# An answer that takes longer is not exact: the error is up to half of it. It is left out.
_CLOCK_ANSWER_SECONDS: Final = 0.5
# Between two attempts while the storage is away.
_SHORTEST_SECONDS: Final = 0.1
_LONGEST_SECONDS: Final = 2.0
# What the engine is given at once: own writes wait meanwhile.
_TOGETHER_BYTES: Final = 1024**2
_TOGETHER: Final = 256
# A storage that has this much to tell may have more. If it has less, that was all.
_MANY: Final = 100
_MANY_BYTES: Final = 1024**2

_log = structlog.get_logger(__name__)


class Journal(Protocol):
    """What is needed of the storage. Every method may block, and raises StorageError."""

    def missing(self, vector: Mapping[int, int]) -> list[JournalBatch]:
        """Give committed batches of others that the vector lacks, as they build on each other.

        There may be more of them, but not if these are few: see `_are_all`.
        """
        ...

    def clock_ms(self) -> int:
        """Give the storage's time now, in milliseconds since 1970."""
        ...


class _BrokenError(Exception):
    """What the storage has cannot be applied."""


class _NotNowError(Exception):
    """The storage cannot be asked: it is away, or the thread has to end."""


class Follower:
    """A thread, and what is known about how level the engine is."""

    def __init__(self, engine: _core.Engine, journal: Journal, reader: Reader | None) -> None:
        """Prepare; `start` begins. Without a reader the storage is asked all the time."""
        self._engine = engine
        self._journal = journal
        self._reader = reader
        self._entries: Queue[list[Entry]] = Queue() if reader is None else reader.entries
        # All batches of other origins go through here, so this is never ahead of the engine.
        self._vector: dict[int, int] = {}
        self._poll_due = self._clock_due = 0.0
        self._has_time = False
        self._pause = _SHORTEST_SECONDS
        self._level_at = time.monotonic()
        self._stopping = threading.Event()
        self._thread = threading.Thread(target=self._run, name="follower", daemon=True)
        self.on_news: Callable[[], None] = _nobody
        """Called on the thread whenever something was taken in. It must not block."""
        self.is_level = threading.Event()
        """Set when all that was committed a moment before was in, for the first time."""
        self.trouble: str | None = None
        """Why the storage cannot be followed; None when all is well."""
        self.from_stream = 0
        """Batches applied."""
        self.from_storage = 0
        self.bytes = 0
        """Bytes of all of them."""
        self.gaps = 0
        """Times that the stream was not enough."""
        self.unknown = 0
        """Batches of the stream that could not be applied and that the storage has never seen."""

    @property
    def lag_seconds(self) -> float:
        """Time since the engine was known to be level."""
        return time.monotonic() - self._level_at

    def number_of(self, origin: int) -> int:
        """Give the last batch of another origin that is known to be in the engine; 0 for none."""
        return self._vector.get(origin, 0)

    def vector(self) -> dict[int, int]:
        """Give the last batch of every origin that is known to be in the engine."""
        return dict(self._vector)

    def start(self) -> None:
        """Begin."""
        self._thread.start()

    def stop(self) -> None:
        """Ask the thread to end; `join` waits for it."""
        self._stopping.set()

    def join(self, seconds: float) -> bool:
        """Wait for the thread's end, and tell whether it came. May be called without a start."""
        if self._thread.ident is not None:
            self._thread.join(max(seconds, 0.0))
        return not self._thread.is_alive()

    def _run(self) -> None:
        while not self._stopping.is_set():
            try:
                self._turn()
            except _NotNowError:
                continue
            except StorageError as error:
                self._suffer(str(error))
            except (_core.CorruptError, _BrokenError) as error:
                self._suffer(f"the journal cannot be followed: {error}")
            except BaseException as error:  # noqa: BLE001  # a node that stays behind is worse
                self._suffer(f"the follower failed: {error!r}", unexpected=True)

    def _turn(self) -> None:
        now = time.monotonic()
        if now >= self._clock_due:
            self._read_clock()
        if now >= self._poll_due:
            self._become_level()
        rest = min(self._poll_due, self._clock_due) - time.monotonic()
        try:
            entries = self._entries.get(timeout=min(max(rest, 0.001), TICK_SECONDS))
        except Empty:
            return
        if entries:
            self._take_in(entries)
        else:
            self._poll_due = 0.0 if self.trouble is None else self._poll_due

    def _suffer(self, reason: str, *, unexpected: bool = False) -> None:
        """Try again later, and say why."""
        if self.trouble != reason and not self._stopping.is_set():
            _log.error("cannot follow", reason=reason, exc_info=unexpected)
        self.trouble = reason
        self._poll_due = self._clock_due = time.monotonic() + self._pause
        self._pause = min(2 * self._pause, _LONGEST_SECONDS)

    # The storage.

    def _read_clock(self) -> None:
        began = time.monotonic()
        ms = self._journal.clock_ms()
        now = time.monotonic()
        if now - began <= _CLOCK_ANSWER_SECONDS or not self._has_time:
            self._engine.set_time(ms)
            self._has_time = True
        self._clock_due = now + _CLOCK_SECONDS

    def _become_level(self) -> None:
        """Take in everything that is committed, or raise whatever is in the way."""
        while not self._stopping.is_set():
            began = time.monotonic()
            self._vector = self._engine.vector()
            found = self._journal.missing(self._vector)
            for batches in _portions(found):
                self._apply_stored(batches)
            # Others may have written meanwhile. Waiting for an end of that could take for ever.
            if _are_all(found):
                self._level(began)
                return
        raise _NotNowError

    def _level(self, since: float) -> None:
        self._level_at = since
        with_stream = self._reader is not None and self._reader.up
        self._poll_due = time.monotonic() + (_SLOW_SECONDS if with_stream else _FAST_SECONDS)
        self._pause = _SHORTEST_SECONDS
        if self.trouble is not None:
            _log.warning("follows again", after=self.trouble)
            self.trouble = None
        self.is_level.set()

    def _apply_stored(self, batches: list[JournalBatch]) -> None:
        # As they come in a good order, a board that is unknown is not missing but long gone.
        done, why = self._apply(batches, trust=True)
        self.from_storage += done
        if why:
            origin, number, _ = batches[done]
            raise _BrokenError(f"nothing leads to batch {number} of {origin}")

    # The stream.

    def _take_in(self, entries: Sequence[Entry]) -> None:
        batches: list[JournalBatch] = []
        for entry in entries:
            if entry.batch is not None:
                batches.append((entry.origin, entry.number, entry.batch))
                continue
            self._apply_read(batches)
            batches = []
            if self._is_new(entry.origin, entry.number):
                self._ask_storage()
        self._apply_read(batches)

    def _apply_read(self, batches: Sequence[JournalBatch]) -> None:
        for portion in _portions(self._new(batches)):
            rest = portion
            while rest := self._new(rest):
                rest = self._apply_some(rest)

    def _apply_some(self, batches: list[JournalBatch]) -> list[JournalBatch]:
        """Apply what can be applied. Returns the rest, which is shorter."""
        try:
            done, why = self._apply(batches)
        except _core.CorruptError:
            return self._apply_apart(batches)
        self.from_stream += done
        rest = batches[done:]
        if not rest:
            return rest
        self._ask_storage()
        # What was published was committed before, so by now it is in if it is in the storage.
        first, *others = rest
        if self._new([first]):
            self._refuse(why)
        return others

    def _apply_apart(self, batches: list[JournalBatch]) -> list[JournalBatch]:
        """Nothing of these was applied because one of them is damaged: find out which."""
        first, *others = batches
        if others:
            self._apply_some([first])
            return others
        self._refuse("damaged")
        self._ask_storage()
        return []

    def _ask_storage(self) -> None:
        if self.trouble is not None:
            # It is asked in its own time, and tells of everything that is left out here.
            raise _NotNowError
        self.gaps += 1
        self._become_level()

    def _refuse(self, why: str) -> None:
        if not self.unknown:
            _log.warning("stream holds a batch that the storage does not know", why=why)
        self.unknown += 1

    # Both.

    def _apply(self, batches: list[JournalBatch], *, trust: bool = False) -> tuple[int, str]:
        done, why = self._engine.apply(batches, trust)
        for origin, number, batch in batches[:done]:
            self._vector[origin] = number
            self.bytes += len(batch)
        if done:
            self.on_news()
        return done, why

    def _is_new(self, origin: int, number: int) -> bool:
        return origin != self._engine.origin and number > self._vector.get(origin, 0)

    def _new(self, batches: Sequence[JournalBatch]) -> list[JournalBatch]:
        return [batch for batch in batches if self._is_new(batch[0], batch[1])]


def _nobody() -> None:
    """Nobody wants to hear of news."""


def _are_all(batches: Sequence[JournalBatch]) -> bool:
    """Tell whether these are all that a storage had to tell."""
    return len(batches) < _MANY and sum(len(batch) for *_, batch in batches) < _MANY_BYTES


def _portions(batches: Sequence[JournalBatch]) -> Iterator[list[JournalBatch]]:
    """Cut into what may be applied at once; a larger batch goes alone."""
    portion: list[JournalBatch] = []
    size = 0
    for batch in batches:
        if portion and (len(portion) >= _TOGETHER or size + len(batch[2]) > _TOGETHER_BYTES):
            yield portion
            portion, size = [], 0
        portion.append(batch)
        size += len(batch[2])
    if portion:
        yield portion
