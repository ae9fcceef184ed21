"""The Rust core: boards, the write queue, recovery and the live hub.

Reads never block and never wait for writers: each looks at one immutable version. Answers come as
JSON bytes, ready to send. Ranks count from 1, times are milliseconds since 1970 in UTC.

Writes are queued and get a *ticket*. The committer (`rankwire.writer`) seals the queue into a
batch, stores the batch's bytes, commits it, and hands each ticket its reply.

Every exception carries `(message, field, index)`: the field it is about, if any, and the position
of the item in a batch, if it was one.
"""

from collections.abc import Sequence
from typing import TypeAlias, TypedDict, final

__version__: str

class BuildInfo(TypedDict):
    version: str
    optimized: bool
    arch: str
    os: str

def build_info() -> BuildInfo:
    """Say what was built: version, optimisation, processor, operating system."""

class RankwireError(Exception):
    """Any refusal of the core; nothing was changed."""

    args: tuple[str, str | None, int | None]

class NotFoundError(RankwireError):
    """No such board or member."""

class ConflictError(RankwireError):
    """The board exists with another configuration."""

class InvalidError(RankwireError):
    """A name, score or time that cannot be taken."""

class LimitError(RankwireError):
    """The server or the board is full."""

class BusyError(RankwireError):
    """Too many writes wait already; trying again soon helps."""

class UnavailableError(RankwireError):
    """The storage cannot commit, or the server is shutting down."""

class CorruptError(RankwireError):
    """Stored bytes are damaged or of an unknown format."""

# What a ticket gets: the answer; for create_board whether it was created, and the answer; or why
# it failed. Removals answer with empty bytes.
_Value: TypeAlias = bytes | tuple[bool, bytes] | RankwireError
_Replies: TypeAlias = list[tuple[int, _Value]]

class Stats(TypedDict):
    submits_total: int
    changes_total: int
    rejected_total: int
    not_committed_total: int
    batches_total: int
    journal_bytes_total: int
    pending_ops: int
    boards: int
    members: int
    dirty_members: int

@final
class Engine:
    """All boards of one process. Made by `Recovery.finish`. Safe to use from any thread."""

    @property
    def origin(self) -> int:
        """The id under which this process writes its journal."""

    # Writes. Each returns a ticket and raises BusyError or UnavailableError if it cannot be queued.
    def create_board(self, board: str, score: str, order: str, policy: str, ties: str) -> int:
        """Queue the creation of a board, or the check that it exists just so."""

    def drop_board(self, board: str) -> int:
        """Queue the deletion of a board with everything in it."""

    def submit(self, board: str, member: str, score: float, at_ms: int | None = None) -> int:
        """Queue one score."""

    def submit_batch(self, board: str, items: Sequence[tuple[str, float, int | None]]) -> int:
        """Queue many scores (member, score, time), all or nothing."""

    def remove_member(self, board: str, member: str) -> int:
        """Queue the removal of a member."""

    def wake(self) -> None:
        """Wake the committer: the writes at hand are queued."""

    # The committer: one thread.
    def seal(self, patience: float) -> Sealed | None:
        """Wait up to `patience` seconds for writes and apply them, unseen by readers.

        Releases the interpreter while it waits. None when closed and everything is sealed.
        """

    def stall(self) -> _Replies:
        """Refuse writes until `resume`, and everything that waits."""

    def resume(self) -> None:
        """Take writes in again."""

    def close(self) -> None:
        """Refuse writes for good; those queued can still be sealed."""

    def checkpoint(self) -> Checkpoint | None:
        """Take what changed since the last checkpoint; None if nothing did."""

    # Reads. A board or member that is not there raises NotFoundError.
    def page(self, board: str, offset: int, limit: int) -> tuple[bytes, int, int]:
        """Members after the best `offset`: the answer, the board's id and its version."""

    def standing(self, board: str, member: str) -> bytes:
        """One member's score and rank."""

    def around(self, board: str, member: str, radius: int) -> bytes:
        """Give a member with up to `radius` neighbours on each side."""

    def standings(self, board: str, members: Sequence[str]) -> bytes:
        """Give the named members, best first, and which of them are missing."""

    def count(self, board: str, min: float | None = None, max: float | None = None) -> bytes:
        """How many members have a score from `min` to `max`, both included."""

    def describe(self, board: str) -> bytes:
        """Give a board's configuration and size."""

    def boards(self, after: str, limit: int) -> bytes:
        """Descriptions of the boards whose names come after `after`."""

    def stats(self) -> Stats:
        """Counters since the start, and sizes now."""

@final
class Sealed:
    """A batch that is applied but neither durable nor visible. End it by `commit` or `abort`."""

    @property
    def number(self) -> int:
        """The batch's number among those of the engine's origin, from 1 without gaps."""

    @property
    def bytes(self) -> bytes:
        """The journal bytes; empty if there is nothing to store."""

    def refuse(self) -> _Replies:
        """Answer everyone UnavailableError while the batch's fate is open."""

    def commit(self) -> _Replies:
        """Publish the batch, which is durable now."""

    def abort(self) -> _Replies:
        """Forget the batch, which the storage does not hold."""

@final
class Checkpoint:
    """What changed up to one moment."""

    @property
    def vector(self) -> list[tuple[int, int]]:
        """The last batch of each origin that is included."""

    @property
    def dropped(self) -> list[int]:
        """Ids of boards that are gone."""

    @property
    def boards(self) -> list[tuple[int, str, str, str, str, str, bytes, int, int]]:
        """Changed boards: id, name, score, order, policy, ties, seed, version, changed members."""

    def rows(self, board: int, start: int, limit: int) -> bytes:
        """Give changed members of a board as JSON rows [member, score, code, stamp, generation]."""

    def give_back(self) -> None:
        """Tell the engine that the checkpoint was not stored."""

@final
class Recovery:
    """Puts an engine together: boards with their members, then batches, then `finish`."""

    def __new__(cls, vector: Sequence[tuple[int, int]]) -> Recovery: ...
    def board(
        self,
        id: int,
        name: str,
        score: str,
        order: str,
        policy: str,
        ties: str,
        seed: bytes,
        version: int,
    ) -> None:
        """Begin a board of the checkpoint; its members follow."""

    def members(self, rows: Sequence[tuple[str, int | None, int | None, int]]) -> None:
        """Add members of the board: member, code, stamp, generation."""

    def replay(self, origin: int, number: int, batch: bytes) -> None:
        """Apply a batch unless the vector includes it. Raises CorruptError."""

    def finish(self, origin: int, pending_ops: int, boards: int) -> Engine:
        """Make the engine, which writes its journal as `origin`."""

class HubStats(TypedDict):
    connections: int
    connections_total: int
    refused_total: int
    subscriptions: int
    views: int
    publications_total: int
    deliveries_total: int
    bytes_sent_total: int
    commands_total: int
    errors_total: int
    closed_slow_total: int

@final
class Hub:
    """The WebSocket door, on its own threads."""

    @staticmethod
    def start(engine: Engine, host: str, port: int, tick_ms: int, max_connections: int) -> Hub:
        """Listen. Raises OSError when the address cannot be had."""

    @property
    def port(self) -> int:
        """The port it listens on."""

    def stats(self) -> HubStats:
        """Counters since the start, and sizes now."""

    def shutdown(self, grace: float) -> None:
        """Tell every client to reconnect elsewhere and stop within `grace` seconds."""
