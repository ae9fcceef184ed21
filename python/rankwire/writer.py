"""The committer: turns queued writes into durable, visible, answered ones.

One thread takes whatever has been queued, stores it as one batch, publishes it and answers
everyone in it; while it stores, the next batch gathers. No timer is involved: at little load a
batch holds one write, at much load it holds many. A second thread takes checkpoints.

A batch that the storage refuses, because it knows some of its writes, is sealed again without
those. One that only another region may commit is refused to everyone in it. When the storage fails,
everyone who waits is refused at once, and so is everyone who comes, until the storage can be
written to again. Only then is the failed batch's fate known: if it turns out to be stored it
counts, otherwise it never happened. Reads go on all the time.
"""

from __future__ import annotations

import asyncio
import threading
import time
from typing import TYPE_CHECKING, Final

import structlog

from rankwire import _core
from rankwire.storage import Batch, FencedError, RefusedError, StorageError
from rankwire.times import Times

if TYPE_CHECKING:
    from collections.abc import Callable

    from rankwire.storage import Storage

# How long the committer sleeps when nothing is queued: only a bound, it is woken for work.
_PATIENCE_SECONDS: Final = 60.0
# Between two attempts to write to a storage that failed.
_RETRY_SECONDS: Final = 0.25
# Between two looks at whether a checkpoint is due.
_CHECKPOINT_POLL_SECONDS: Final = 0.2
# Between two looks at whether this process takes the checkpoints.
_LEAD_SECONDS: Final = 1.0
# Between two times that old answers and batches are forgotten.
_TIDY_SECONDS: Final = 60.0

_log = structlog.get_logger(__name__)

Value = bytes | tuple[bool, bytes] | _core.Repeat
_Replies = list[tuple[int, Value | _core.RankwireError]]


class Writer:
    """Owns the engine's write side. Made on the event loop that the writes come from."""

    def __init__(
        self,
        engine: _core.Engine,
        storage: Storage,
        *,
        checkpoint_members: int,
        checkpoint_seconds: float,
        on_commit: Callable[[int, bytes], None] | None = None,
        on_fenced: Callable[[], None] | None = None,
    ) -> None:
        """Take charge; `start` begins the work.

        `on_commit` gets the number and the bytes of every batch that has become durable, on the
        committer's thread. It must not block. `on_fenced` is called there as well when the storage
        has refused a batch because this region is not the primary, before anybody is told.
        """
        self.engine = engine
        self._on_fenced = on_fenced
        self._on_commit = on_commit
        self._storage = storage
        self._checkpoint_members = checkpoint_members
        self._checkpoint_seconds = checkpoint_seconds
        self._loop = asyncio.get_running_loop()
        self._waiting: dict[int, asyncio.Future[Value]] = {}
        self._wake_scheduled = False
        self._trouble: str | None = None
        self.is_leading = False
        """Whether this process takes the checkpoints."""
        self.append_times = Times()
        """How long the storage took for each batch, also for one that it did not take."""
        self._lead_trouble: str | None = None
        self._stopping = threading.Event()
        self._committer = self._thread("committer", self._commit_forever)
        self._checkpointer = self._thread("checkpointer", self._checkpoint_forever)
        self.failed = asyncio.Event()
        """Set when one of the threads broke down: the server has to end."""

    @property
    def trouble(self) -> str | None:
        """Why nothing can be committed now; None when all is well."""
        return self._trouble

    def start(self) -> None:
        """Begin to commit and to take checkpoints."""
        self._committer.start()
        self._checkpointer.start()

    def reply(self, ticket: int) -> asyncio.Future[Value]:
        """Give the future answer to a ticket, right after the engine handed it out.

        The committer is woken at the end of the loop's turn, so that writes which arrive together
        are committed together.
        """
        future = self._loop.create_future()
        self._waiting[ticket] = future
        if not self._wake_scheduled:
            self._wake_scheduled = True
            self._loop.call_soon(self._wake)
        return future

    async def stop(self) -> None:
        """Commit what is queued, take a last checkpoint, end both threads. Keeps the storage open.

        Writes that the storage does not take are refused.
        """
        self.engine.close()
        self._stopping.set()
        for thread in (self._committer, self._checkpointer):
            await asyncio.to_thread(thread.join)
        # Answers that the committer has sent on their way are ahead of this in the loop's queue.
        await asyncio.sleep(0)
        self._refuse_rest()

    def _wake(self) -> None:
        self._wake_scheduled = False
        self.engine.wake()

    def _thread(self, name: str, work: Callable[[], None]) -> threading.Thread:
        """Make a thread that does not die silently: without it the server must not go on."""

        def run() -> None:
            try:
                work()
            except BaseException:  # noqa: BLE001  # whatever it is, nobody may wait for ever
                _log.critical("thread failed", thread=name, exc_info=True)
                self._trouble = f"the {name} failed"
                self.engine.close()
                self._loop.call_soon_threadsafe(self._break_down)

        return threading.Thread(target=run, name=name)

    # The committer thread.

    def _commit_forever(self) -> None:
        while (sealed := self.engine.seal(_PATIENCE_SECONDS)) is not None:
            self._commit(sealed)

    def _commit(self, sealed: _core.Sealed) -> None:
        batch = batch_of(sealed)
        try:
            while batch.bytes or batch.answers or batch.doubted:
                try:
                    self._append(batch)
                    break
                except RefusedError as refused:
                    sealed.again(refused.known, refused.taken)
                    batch = batch_of(sealed)
        except FencedError as error:
            self._give_up(sealed, error)
        except StorageError as error:
            self._endure(sealed, error)
        else:
            self._finish(sealed)

    def _append(self, batch: Batch) -> None:
        started = time.perf_counter()
        try:
            self._storage.append(batch)
        finally:
            self.append_times.add(time.perf_counter() - started)

    def _give_up(self, sealed: _core.Sealed, error: FencedError) -> None:
        """Refuse a batch that is not this region's to commit."""
        _log.warning("batch refused", reason=str(error), batch=sealed.number)
        if self._on_fenced is not None:
            self._on_fenced()
        self._answer(sealed.abort_not_primary())

    def _endure(self, sealed: _core.Sealed, error: StorageError) -> None:
        """Refuse writes until the storage can say what became of the batch."""
        self._trouble = str(error)
        _log.error("storage failed", reason=self._trouble, batch=sealed.number)
        # In this order: whoever reads a refusal finds the door closed already.
        waiting = self.engine.stall()
        self._answer(sealed.refuse())
        self._answer(waiting)
        held = None
        while held is None:
            if self._stopping.is_set():
                # Whoever opens the journal next will see what became of the batch.
                sealed.abort()
                return
            try:
                held = self._storage.holds(sealed.number)
            except StorageError as again:
                self._trouble = str(again)
                self._stopping.wait(_RETRY_SECONDS)
        if held:
            self._finish(sealed)
        else:
            sealed.abort()
        self._trouble = None
        self.engine.resume()
        _log.warning("storage recovered", batch=sealed.number, batch_was_stored=held)

    def _finish(self, sealed: _core.Sealed) -> None:
        """Publish a batch that is durable."""
        number, records = sealed.number, sealed.bytes
        self._answer(sealed.commit())
        if records and self._on_commit is not None:
            self._on_commit(number, records)

    def _answer(self, replies: _Replies) -> None:
        if replies:
            self._loop.call_soon_threadsafe(self._deliver, replies)

    # The checkpoint thread.

    def _checkpoint_forever(self) -> None:
        self._look_whether_leading()
        tidy = time.monotonic()
        due, look = tidy + self._checkpoint_seconds, tidy + _LEAD_SECONDS
        while not self._stopping.wait(_CHECKPOINT_POLL_SECONDS):
            now = time.monotonic()
            if now >= look:
                self._look_whether_leading()
                look = now + _LEAD_SECONDS
            if not self.is_leading:
                continue
            full = self.engine.stats()["dirty_members"] >= self._checkpoint_members
            if full or now >= due:
                self._checkpoint()
                due = time.monotonic() + self._checkpoint_seconds
            if now >= tidy:
                self._tidy()
                tidy = now + _TIDY_SECONDS
        self._committer.join()
        if self.is_leading:
            self._checkpoint()

    def _look_whether_leading(self) -> None:
        was, trouble = self.is_leading, None
        try:
            self.is_leading = self._storage.lead(self.engine)
        except (StorageError, _core.CorruptError) as error:
            self.is_leading, trouble = False, str(error)
        # Said once and not at every look.
        if trouble is not None and trouble != self._lead_trouble:
            _log.error("cannot take checkpoints", reason=trouble)
        self._lead_trouble = trouble
        if self.is_leading and not was:
            _log.debug("this process takes the checkpoints")

    def _checkpoint(self) -> None:
        checkpoint = self.engine.checkpoint()
        if checkpoint is None:
            return
        try:
            self._storage.store(checkpoint)
        except StorageError as error:
            checkpoint.give_back()
            _log.error("checkpoint failed", reason=str(error))

    def _tidy(self) -> None:
        try:
            self._storage.tidy()
        except StorageError as error:
            _log.warning("not tidied", reason=str(error))

    # Back on the loop.

    def _deliver(self, replies: _Replies) -> None:
        waiting = self._waiting
        for ticket, value in replies:
            future = waiting.pop(ticket, None)
            if future is None or future.done():
                continue
            if isinstance(value, _core.RankwireError):
                future.set_exception(value)
            else:
                future.set_result(value)

    def _break_down(self) -> None:
        self._refuse_rest()
        self.failed.set()

    def _refuse_rest(self) -> None:
        refusal = ("the server is shutting down", None, None)
        self._deliver([(t, _core.UnavailableError(*refusal)) for t in list(self._waiting)])


def batch_of(sealed: _core.Sealed) -> Batch:
    """Say what is to be stored of a sealed batch."""
    return Batch(
        sealed.number,
        sealed.bytes,
        sealed.created,
        sealed.dropped,
        sealed.answers,
        sealed.doubted,
        sealed.is_repair,
    )
