"""The Rust core: boards, the write queue, recovery, access, the live hub, boards in memory.

Reads never block and never wait for writers: each looks at one immutable version. Answers come as
JSON bytes, ready to send. Ranks count from 1, times are milliseconds since 1970 in UTC.

Writes are queued and get a *ticket*. The committer (`rankwire.writer`) seals the queue into a
batch, stores the batch's bytes, commits it, and hands each ticket its reply.

Every exception carries `(message, field, index)`: the field it is about, if any, and the position
of the item in a batch, if it was one.
"""

from collections.abc import Iterator, Sequence
from typing import Any, Literal, NamedTuple, TypeAlias, TypedDict, final

from typing_extensions import disjoint_base

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

class KeyReusedError(RankwireError):
    """The idempotency key came with another request before."""

class BusyError(RankwireError):
    """Too many writes wait already; trying again soon helps."""

class UnavailableError(RankwireError):
    """The storage cannot commit, or the server is shutting down."""

class NotPrimaryError(RankwireError):
    """Only the primary region takes this write; the message names it, if it is known."""

class CorruptError(RankwireError):
    """Stored bytes are damaged or of an unknown format."""

class UnauthorizedError(RankwireError):
    """A credential is missing, wrong or not valid any more."""

class ForbiddenError(RankwireError):
    """The caller may not do this."""

class TooManyRequestsError(RankwireError):
    """The caller submits faster than its rate."""

    retry_after: float
    """In how many seconds the same will be allowed, unless more is submitted meanwhile."""

# What a ticket gets: the answer; for create_board whether it was created, and the answer; for a
# write that came before what it got then; or why it failed. Removals answer with empty bytes.
_Value: TypeAlias = bytes | tuple[bool, bytes] | Repeat | RankwireError
_Replies: TypeAlias = list[tuple[int, _Value]]

# Whose idempotency key it is, and its text: 1 to 128 printable ASCII characters.
_Key: TypeAlias = tuple[str, str]
# Of 16 bytes.
_Hash: TypeAlias = bytes
# What the storage keeps of a write with a key: hash of the key, digest of the request, the answer.
_Answer: TypeAlias = tuple[_Hash, _Hash, bytes]
# All that a board knows of a member: how often it was deleted; its score code, smaller is better,
# and None if it is not on the board; its stamp, and 0 if it is not on the board.
_State: TypeAlias = tuple[int, int | None, int]
# Of the journal: origin, number, bytes.
_Batch: TypeAlias = tuple[int, int, bytes]

@final
class Repeat:
    """The answer that a write got when it came first."""

    @property
    def created(self) -> bool | None:
        """For the creation of a board: whether it created the board."""

    @property
    def body(self) -> bytes:
        """The answer."""

def records(origin: int, number: int, batch: bytes) -> list[dict[str, Any]]:
    """Tell what a batch of the journal says. Raises CorruptError.

    Each record has `type` and `board`, the id. Of a `create`: `name` and `config` (score, order,
    policy, ties, player_submits). Of a `score`: `member`, `bits` (the score as an unsigned integer
    of the same 64 bits), `stamp_ms` and `generation`. Of a `delete`: `member` and `generation`. Of
    a `fix` what a `score` has, and `region`: the id of the one where its amount counts.
    """

def region_id(name: str) -> int:
    """Give the identity of a region in records: 63 bits, never 0, the same everywhere."""

def names_of(origin: int, number: int, batch: bytes) -> tuple[list[tuple[str, int]], list[int]]:
    """Tell which names boards have from a batch of the journal on, and the ids of those that end.

    A board that begins and ends in it is in neither list. Raises CorruptError.
    """

class Stats(TypedDict):
    submits_total: int
    changes_total: int
    rejected_total: int
    not_committed_total: int
    batches_total: int
    journal_bytes_total: int
    applied_records_total: int
    pending_ops: int
    boards: int
    members: int
    dirty_members: int
    oldest_read_versions: int

@final
class Engine:
    """All boards of one process. Made by `Recovery.finish`. Safe to use from any thread."""

    @property
    def origin(self) -> int:
        """The id under which this process writes its journal."""

    def last(self) -> int:
        """Give the number of the last batch that this engine has committed, 0 before the first.

        Never waits.
        """

    def set_primary(self, primary: str | None, writes: bool, names: bool) -> None:
        """Say which writes are taken here, with `primary` as the region that takes the others.

        `writes` are scores and removals, `names` the creation and deletion of boards. Others raise
        NotPrimaryError when they are queued, over either door. Repairs are always taken. At first
        everything is. What is queued already stays: see `Sealed.abort_not_primary`.
        """

    # Writes. Each returns a ticket and raises BusyError, NotPrimaryError or UnavailableError if it
    # cannot be queued. With a key a write counts once, however often it is sent.
    def create_board(
        self,
        board: str,
        score: str,
        order: str,
        policy: str,
        ties: str,
        player_submits: bool = False,
        key: _Key | None = None,
    ) -> int:
        """Queue the creation of a board, or the check that it exists just so."""

    def drop_board(self, board: str, key: _Key | None = None) -> int:
        """Queue the deletion of a board with everything in it."""

    def submit(
        self,
        board: str,
        member: str,
        score: float,
        at_ms: int | None = None,
        key: _Key | None = None,
    ) -> int:
        """Queue one score."""

    def submit_batch(
        self,
        board: str,
        items: Sequence[tuple[str, float, int | None]],
        key: _Key | None = None,
    ) -> int:
        """Queue many scores (member, score, time), all or nothing."""

    def remove_member(self, board: str, member: str, key: _Key | None = None) -> int:
        """Queue the removal of a member."""

    def repair(
        self,
        board: str,
        life: int,
        items: Sequence[tuple[str, _State, _State]],
        key: _Key | None = None,
    ) -> int:
        """Queue the repair of members: each with the state that was seen, and the one to have.

        `life` is the board's id. The answer counts members: `repaired`; `moved`, whose state is not
        the seen one any more, nor the given one; `same`, where nothing had to be done. On boards
        that keep the best or the last score the given state is merged. Sums are brought to it by
        amounts that count in this region only; a member with a sum that should not be there is
        deleted everywhere. Times never go back. At most 10,000, all or none. Raises InvalidError.
        """

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

    # Other nodes. All of this releases the interpreter, and `apply` waits while an own batch is
    # under way.
    def apply(self, batches: Sequence[_Batch], trust: bool = False) -> tuple[int, str]:
        """Apply durable batches of other origins, in this order, as far as possible.

        Returns how many are in now, applied or seen before, counted from the first, and why the
        next one is not: "" if all are, "gap" if those before it of its origin are missing, "board"
        if it tells of a board whose creation has not arrived, or creates one whose name another has
        that must have ended. With `trust`, such a board is taken for one that is long gone: for
        batches that come after all that they build on, as a storage gives them. Raises
        CorruptError, and then nothing was applied.
        """

    def vector(self) -> dict[int, int]:
        """Give the last batch of every origin that is in."""

    def track(self, on: bool) -> None:
        """Note changes for checkpoints from now on, or forget them. On at first."""

    def mark(self, batches: Sequence[_Batch]) -> None:
        """Note as changed what these batches tell of, which are in. Raises CorruptError."""

    def digest(self) -> tuple[list[tuple[int, int]], list[tuple[int, str, int, int, str]]]:
        """Give the vector, and of each board id, name, version, number of members and a digest.

        Nodes whose vectors are equal have equal digests. O(members) for boards never asked before.
        """

    def set_time(self, ms: int) -> None:
        """Take this for the time now, instead of the machine's clock, until it is set again."""

    # Reads. A board or member that is not there raises NotFoundError.
    def board_id(self, board: str) -> int:
        """Give the identity of this life of the board."""

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

    def player_submits(self, board: str) -> bool:
        """Whether players may submit to the board for themselves."""

    def boards(self, after: str, limit: int) -> bytes:
        """Descriptions of the boards whose names come after `after`."""

    # Traffic. Reads over HTTP are counted when it is watched; those of the live hub never are.
    @property
    def traffic(self) -> Traffic:
        """What reads asked for while they were watched, and which profiles it was told of."""

    def watch_traffic(self, on: bool) -> None:
        """Count reads from now on, or do not. Off at first, and then a read costs nothing more."""

    def keep_pages(self, boards: Sequence[str], most_bytes: int) -> None:
        """Keep the first pages of these boards encoded from now on, and of no others.

        For offset 0 and limits up to 100, at most 1,024 boards. A page that is kept answers as long
        as the board has the version that it was made from, so answers are never older than
        otherwise. When there is no room, the board that was not read for the longest time loses its
        pages. Boards need not exist yet. Raises InvalidError.
        """

    def page_stats(self) -> PageStats:
        """Counters of first pages since the start, and sizes now."""

    def stats(self) -> Stats:
        """Counters since the start, and sizes now."""

class PageStats(TypedDict):
    """Of first pages: offset 0 and a limit of up to 100."""

    reads: int
    """Pages that were asked for, of any board."""
    hits: int
    """Answered by a page that was kept."""
    misses: int
    """Not answered so although the board is one of those whose pages are kept."""
    entries: int
    bytes: int
    """What the pages take now, with what belongs to an entry; at most what was allowed."""
    refused: int
    """Pages that alone would take more."""
    evictions: int
    """Pages that had to make room."""
    built: int
    """Pages that were encoded. What is missing to `reads` was a hit, or the last page that its
    board had encoded: a board always has one."""
    built_seconds: float
    """How long that took, in all."""

_Kind: TypeAlias = Literal["leaderboard", "page", "user_profile"]

@final
class Traffic:
    """What reads ask for, in bounded memory. Safe to use from any thread. Made by `Engine`.

    Of each kind: `leaderboard`, a board by any read of it; `page`, a page of a board, named
    `board?offset=0&limit=10`, which also counts for its board; `user_profile`, a member. Another
    word raises InvalidError.
    """

    def profiles(self, members: Sequence[str], now: float, seconds: float) -> None:
        """Take reads of profiles, of which a cache would keep each for `seconds`.

        `now` is of a clock that never goes back. Raises InvalidError for less than 0.
        """

    def heavy(self, kind: _Kind, limit: int) -> list[tuple[str, int, int]]:
        """Give the names that were read most in the last whole minute, the most first.

        Each with the number of reads, at most, and by how much that may be too large: by less than
        a 1,024th of all reads. No name with more reads than that is missing.
        """

    def unique(self, kind: _Kind) -> float:
        """Estimate how many different names were read in the last 24 hours.

        That is the hour at hand and the 23 before it. The standard error is 1.6 %.
        """

    def curve(self, kind: _Kind, sizes: Sequence[int]) -> list[float]:
        """Give the miss ratio that an LRU cache of each number of entries would have lately.

        Empty while it is unknown: before the first read. Half of the weight is on the last ten
        minutes. A read of a profile that is too old is a miss at every size, and so is one of a
        page whose board has changed; boards themselves are never void. docs/analytics.md tells what
        that leaves out.
        """

@final
class Frequency:
    """How often names were asked for lately, for a cache that chooses what to take in.

    For a cache of `entries`, at most 16,777,216, in up to 16 bytes for each. After ten additions
    for each entry all counts are halved. Safe to use from any thread. Raises InvalidError.
    """

    def __new__(cls, entries: int) -> Frequency: ...
    def add(self, name: str) -> None:
        """Count a name."""

    def estimate(self, name: str) -> int:
        """How often it was counted, up to 15; before the first halving never too low."""

# Comparing regions. Bytes are those that rust/engine/src/compare/codec.rs describes. All of it
# releases the interpreter, and may take O(members) for boards that were never compared before.
def tops(engine: Engine, after: int) -> bytes:
    """Tell of the boards whose ids come after `after` how large they are, and hashes of them.

    At most 10,000 boards, by id.
    """

def outline(engine: Engine, asks: bytes) -> bytes:
    """Answer what a `Comparison` of another region asks: the first of it, if not all.

    Raises InvalidError for other bytes.
    """

def states(
    engine: Engine, board: int, members: Sequence[str]
) -> tuple[dict[int, int], tuple[str, list[_State]] | None]:
    """Give the vector, and the name of a board and the states of these members, of one moment.

    None for the board if there is no such one. Holds up writers for O(members).
    """

def shown(engine: Engine, board: int, code: int, stamp: int) -> tuple[float, int] | None:
    """Give the score for a code, and the time for a stamp; None if there is no such board."""

@final
class Comparison:
    """A search for the members that an engine and another one, which answers, do not agree on.

    Boards are taken as they are at each step. What changes meanwhile may be found or not; a member
    that differs and stands still is found. It stops when `limit` members, or boards that one side
    only has, are found. Safe to use from any thread. What takes bytes raises InvalidError for
    those that are no answer.
    """

    def __new__(cls, engine: Engine, limit: int) -> Comparison: ...
    def boards(self, after: int, tops: bytes) -> int | None:
        """Take what `tops` says over there; returns where the next ones come after, if any do."""

    def begin(self, boards: Sequence[int]) -> None:
        """Compare these boards, without asking for `tops` before."""

    def ask(self) -> bytes | None:
        """Give what to ask `outline` over there next; None when all is compared."""

    def take(self, answer: bytes) -> None:
        """Take the answer to what was asked."""

    def found(self) -> list[tuple[int, list[str]]]:
        """Give the ids of boards and the members of each that were found, and forget these."""

    @property
    def only_here(self) -> list[int]:
        """Ids of boards that the other engine did not have."""

    @property
    def only_there(self) -> list[int]:
        """Ids of boards that this engine did not have."""

    @property
    def board_count(self) -> int:
        """Boards compared so far."""

    @property
    def member_count(self) -> int:
        """Their members: of each board as many as the larger side has."""

    @property
    def is_stopped(self) -> bool:
        """Whether it ended because it had found enough."""

@final
class Sealed:
    """A batch that is applied but neither durable nor visible. End it by `commit` or `abort`."""

    @property
    def number(self) -> int:
        """The batch's number among those of the engine's origin, from 1 without gaps."""

    @property
    def bytes(self) -> bytes:
        """The journal bytes; empty if no board changes."""

    @property
    def created(self) -> list[tuple[str, int]]:
        """Boards that begin: name and id."""

    @property
    def dropped(self) -> list[int]:
        """Ids of boards that end."""

    @property
    def is_repair(self) -> bool:
        """Whether nothing but repairs succeeded: such a batch is right in any region."""

    @property
    def answers(self) -> list[_Answer]:
        """What to keep of the writes that have keys."""

    @property
    def doubted(self) -> list[_Hash]:
        """Hashes of the keys of writes that are refused: an answer that is kept is better."""

    def again(self, known: Sequence[_Answer], taken: Sequence[str]) -> None:
        """Seal the same writes again, after the storage has refused the batch.

        Those whose keys are `known` get the answers; creations of boards whose names are `taken`
        get UnavailableError.
        """

    def refuse(self) -> _Replies:
        """Answer everyone UnavailableError while the batch's fate is open."""

    def commit(self) -> _Replies:
        """Publish the batch, which is durable now."""

    def abort(self) -> _Replies:
        """Forget the batch, which the storage does not hold."""

    def abort_not_primary(self) -> _Replies:
        """Forget the batch, and answer everyone NotPrimaryError: the storage refused it."""

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
    def boards(self) -> list[tuple[int, str, str, str, str, str, bytes, int, bool, int]]:
        """Changed boards.

        Id, name, score, order, policy, ties, seed, version, whether players may submit, and how
        many members changed.
        """

    def rows(self, board: int, start: int, limit: int) -> bytes:
        """Give changed members of a board as JSON rows [member, score, code, stamp, generation]."""

    def copy(self, board: int, start: int, limit: int) -> bytes:
        """Give the same as tuples of PostgreSQL's binary COPY, without header and end.

        The board's id comes first. The score is a float8, the generation an int8.
        """

    def give_back(self) -> None:
        """Tell the engine that the checkpoint was not stored."""

@final
class Recovery:
    """Puts an engine together: boards with their members, then `finish`.

    Batches that are newer than the checkpoint go to `Engine.apply`.
    """

    def __new__(
        cls, vector: Sequence[tuple[int, int]], dropped: Sequence[int] | None = None
    ) -> Recovery: ...
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
        player_submits: int,
    ) -> None:
        """Begin a board of the checkpoint; its members follow."""

    def members(self, rows: Sequence[tuple[str, int | None, int | None, int]]) -> None:
        """Add members of the board: member, code, stamp, generation."""

    def copied(self, data: bytes) -> None:
        """Add members as PostgreSQL's binary COPY gives them, in pieces of any size.

        With the header. Member text, code, stamp and generation int8. Raises CorruptError.
        """

    def finish(
        self,
        origin: int,
        pending_ops: int,
        boards: int,
        shared: bool = False,
        region: str = "",
    ) -> Engine:
        """Make the engine, which writes its journal as `origin`; `shared` if others write too.

        `region` names what repairs of sums count in, of several: the region's database.
        """

@final
class Access:
    """Who may do what: API keys, players' tokens, the rules, the rates. For any thread; no I/O.

    In the mode `open` everybody may do everything; in the mode `keys` callers have an API key or a
    token, and without one they may read if `anonymous_read` says so. An empty `audience` or
    `issuer` is not compared. The rates are submits per second of a key and of a player, 0 for no
    limit; three times as many may come at once after a pause.
    """

    def __new__(
        cls,
        mode: str,
        anonymous_read: bool,
        audience: str,
        issuer: str,
        key_rate: int,
        member_rate: int,
    ) -> Access: ...
    def set_keys(self, records: Sequence[tuple[str, bytes, Sequence[str], Sequence[str]]]) -> None:
        """Replace all API keys: id, SHA-256 of the secret's text, scopes, boards.

        Scopes are read, submit, admin and operator. Boards are names, or beginnings of names
        followed by `*`; an empty list is for all. What a caller may do follows at once, also if it
        was identified before. Raises InvalidError, and keeps the old keys.
        """

    def set_token_keys(self, jwks: bytes) -> int:
        """Replace the keys for tokens by a JSON Web Key Set, and say how many they are.

        At most 8: oct (HS256), EC with P-256 (ES256), OKP with Ed25519 (EdDSA); public ones but for
        oct. Forgets what was verified, so this is for when the set has changed. Raises
        InvalidError, which tells the key and its problem, and keeps the old keys.
        """

    def knows_anybody(self) -> bool:
        """Whether there is any key, for tokens or of the API."""

    def identify(self, credential: str | None) -> Caller:
        """Find out who a credential, an API key or a token, belongs to. An empty one is none.

        Raises UnauthorizedError.
        """

    def check(
        self,
        caller: Caller,
        action: str,
        board: str | None = None,
        member: str | None = None,
        player_submits: bool = False,
    ) -> None:
        """Return if the caller may do this now, and raise otherwise.

        Actions are `read`, `submit`, `submit_batch` and `manage`, which are about a board,
        `list_boards` and `operate`. `submit` is also about a member, and players may do it if
        `player_submits` says that the board takes their scores. Raises ForbiddenError, or
        UnauthorizedError if a credential is needed or not valid any more.
        """

    def spend(self, caller: Caller, submits: int) -> None:
        """Count submits against the caller's rate. Raises TooManyRequestsError, counting nothing.

        More at once than three seconds' worth are allowed after a pause of three seconds, and
        delay what comes after them.
        """

    def take_spent(self, most: int) -> list[tuple[str, int]]:
        """Take what was spent here since it was taken last, for other nodes to `debit`.

        Up to `most` subjects, `key:ID` or `player:MEMBER`, and how many submits each made; call
        until fewer come. The first call begins the counting, which costs nothing before.
        """

    def debit(self, subject: str, amount: int) -> None:
        """Count submits that a subject of `take_spent` made at another node.

        They are counted whether or not there is room, but nobody owes more than three seconds'
        worth because of that. A subject of another kind is ignored.
        """

    @staticmethod
    def new_key() -> tuple[str, str, bytes]:
        """Make an API key: its text, which is stored nowhere, its id and its hash."""

    @staticmethod
    def new_token_key(alg: str, kid: str) -> tuple[str, str]:
        """Make a key for tokens: the private and the public JSON Web Key.

        The algorithm is HS256, for which both are the same secret, ES256 or EdDSA. Raises
        InvalidError.
        """

    @staticmethod
    def sign_token(jwk: bytes, claims: bytes) -> str:
        """Sign claims, a JSON object, with a private JSON Web Key. Raises InvalidError."""

@final
class Caller:
    """Who calls. Made by `Access.identify`."""

    @property
    def kind(self) -> str:
        """`everybody`, `anonymous`, `player` or `key`."""

    @property
    def name(self) -> str:
        """A player's member id, a key's id, otherwise the kind; for logs, never a secret."""

    @property
    def member(self) -> str | None:
        """The member that a player is."""

class ViewStats(TypedDict):
    subscriptions: int
    views: int
    publications_total: int
    deliveries_total: int
    conflated_total: int
    fanout: dict[float, int]
    fanout_seconds: float

class HubStats(TypedDict):
    connections: int
    connections_total: int
    refused_total: int
    handshakes_failed_total: int
    subscriptions: int
    views: int
    publications_total: int
    deliveries_total: int
    conflated_total: int
    bytes_sent_total: int
    commands_total: int
    submits_total: int
    blocked: int
    closed_total: dict[int, int]
    errors_total: dict[int, int]
    by_view: dict[str, ViewStats]

@final
class Hub:
    """The WebSocket door, on its own threads. Settings are those of `rankwire.settings.Live`."""

    @staticmethod
    def start(engine: Engine, access: Access, live: object) -> Hub:
        """Listen. Raises OSError when the address cannot be had, ValueError for bad origins."""

    @staticmethod
    def start_inside(engine: Engine, access: Access, live: object) -> Hub:
        """Serve hub processes only, see `attach`."""

    @staticmethod
    def relay(access: Access, live: object, listener: int, trunk: int) -> Hub:
        """Serve the boards of another process.

        Takes connections from the descriptor `listener`, which processes may share, and asks
        the hub at the other end of the descriptor `trunk`. Owns both descriptors from now on:
        nothing else in this process may use or close them.
        """

    @staticmethod
    def listen(live: object) -> int:
        """Bind a listener for hub processes to share. Gives its descriptor; OSError when taken."""

    def attach(self, trunk: int) -> None:
        """Serve the hub process at the other end of a socket pair. Owns the descriptor."""

    @property
    def port(self) -> int:
        """The port it listens on; 0 if it does not."""

    @property
    def has_failed(self) -> bool:
        """Whether a thread broke down, or the hub with the boards is gone."""

    def stats(self) -> HubStats:
        """Counters since the start, and sizes now; those of hub processes included.

        `closed_total` is by close code and `errors_total` by error code; 0 stands for all others.
        `by_view` has every kind of view, by its word in channels, and the totals are the sums over
        the kinds. `fanout` is how long states took from their publication until the last watcher
        of a thread was sent to or marked as blocked: counts by the upper bound in seconds, each
        without the smaller ones, up to infinity; `fanout_seconds` is all of them together.
        """

    def shutdown(self, within: float) -> None:
        """Tell every client to come back elsewhere, spread over `within` seconds, and stop."""

# Boards in memory. docs/board.md tells what they are for.

# A number on a board of one column, otherwise a tuple with a number for each column.
_Score: TypeAlias = float | tuple[float, ...]

class Column(NamedTuple):
    """One column of a board's scores: `int64` or `float64`, best first `desc` or `asc`."""

    type: str = "int64"
    order: str = "desc"

class Entry(NamedTuple):
    """A place of a board: rank, counted from 1, member and score."""

    rank: int
    member: str
    score: Any

class Ranks(NamedTuple):
    """All ranks of a member, in the ways in which equal scores are counted.

    ordinal: 1, 2, 3, 4. The board's rule for ties decides.
    competition: 1, 2, 2, 4. One more than the members with a better score.
    dense: 1, 2, 2, 3. One more than the different scores that are better.
    modified: 1, 3, 3, 4. The members with a score that is at least as good.
    percentile: the percentage, 0 to 100, of the other members whose score is no better.
    """

    ordinal: int
    competition: int
    dense: int
    modified: int
    percentile: float

class Submitted(NamedTuple):
    """What a submit did: where the member stands right after it, and stood right before."""

    score: Any
    rank: int
    previous_score: Any
    previous_rank: int | None
    changed: bool
    version: int

class Difference(NamedTuple):
    """A member that two snapshots do not agree on: its score here and there, None if absent."""

    member: str
    here: Any
    there: Any

@disjoint_base
class Standings:
    """What boards and snapshots answer. Safe to use from any thread; reads never wait.

    Each answer belongs to one instant. On a board that is the newest, on a snapshot always the
    same. Iterating goes over one instant also on a board, and yields the members, the best first.
    """

    @property
    def version(self) -> int:
        """The number of changes made to the board so far."""

    def __len__(self) -> int: ...
    def __contains__(self, member: object, /) -> bool: ...
    def __iter__(self) -> Iterator[str]: ...
    def entries(self) -> Iterator[Entry]:
        """Iterate over all places, the best first."""

    def rank(
        self,
        member: str,
        mode: Literal["ordinal", "competition", "dense", "modified"] = "ordinal",
    ) -> int | None:
        """Give a member's rank, counted as `Ranks` tells. None if it is not on the board."""

    def ranks(self, member: str) -> Ranks | None:
        """Give a member's rank in every way of counting."""

    def standing(self, member: str) -> Entry | None:
        """Give a member's place."""

    def select(self, rank: int) -> Entry | None:
        """Give the place at a rank, counted from 1."""

    def page(self, offset: int, limit: int) -> list[Entry]:
        """Give up to `limit` places after the best `offset` ones."""

    def top(self, n: int) -> list[Entry]:
        """Give the best `n` places."""

    def around(self, member: str, radius: int) -> list[Entry]:
        """Give a member with up to `radius` neighbours on each side; [] if it is not there."""

    def count(self, min: _Score | None = None, max: _Score | None = None) -> int:
        """How many members have a score from `min` to `max`, both included.

        Of scores with several columns, the first one says which is less; where it is equal, `min`
        is the worse one on a board whose first column is `desc`, the better one where it is `asc`.
        """

    def digest(self) -> int:
        """Hash the members with their scores and the order in which they were reached.

        Boards of equal columns, ties and seed have equal digests if and only if they agree, but for
        one chance in 2^64. O(n) when it is first asked for, then O(log n) for each change since.
        """

@final
class Board(Standings):
    """A board in the memory of this process, that any number of threads write and read at once.

    `columns` are one to three `Column`s, by default one `int64`, `desc`. `policy` is `best`, `last`
    or `sum`; `ties` is `first`, `last` or `member`. The 16 bytes of `seed` are random unless given;
    who chooses the members' ids must not know them.
    """

    def __new__(
        cls,
        *,
        columns: Sequence[tuple[str, str]] | None = None,
        policy: str = "best",
        ties: str = "first",
        seed: bytes | None = None,
    ) -> Board: ...
    def submit(self, member: str, score: _Score) -> Submitted:
        """Offer a score, or on a `sum` board an amount, to a member.

        Raises InvalidError if it cannot be on this board or the sum would leave the range of a
        column, and LimitError if a board of 2^31 - 2 members would get another one.
        """

    def submit_many(self, items: Sequence[tuple[str, _Score]]) -> list[Submitted]:
        """Offer many scores, in this order; from 256 on with the interpreter released.

        An item that can never be on this board raises InvalidError, and nothing is done. What
        `submit` refuses for what is on the board already is left out, all other items count, and
        the first refusal is raised at the end. Others may see a part of the items before the rest.
        """

    def remove(self, member: str) -> bool:
        """Remove a member. False if it was not there."""

    def snapshot(self) -> Snapshot:
        """Keep the board as it is at this instant. O(1)."""

@final
class Snapshot(Standings):
    """A board as it was at one instant, for as long as it is referred to. Made by a board."""

    def differences(self, other: Snapshot, limit: int = 1000) -> list[Difference]:
        """List up to `limit` members that this snapshot and `other` do not agree on.

        They are ordered by id; fewer than `limit` are all. A member is also listed when only the
        order in which it reached its score differs. Raises InvalidError unless both are of equal
        columns, ties and seed.
        """
