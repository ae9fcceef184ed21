"""What stands beside the boards converges as well: API keys and players' profiles of all regions.

They are in no journal, so regions ask each other for what has changed, about every five seconds.
API keys are a union by id in which a revocation wins; they are told whole, and not at all while
nothing has changed. Of a profile the state with the later time wins, by the clock of the database
that took the write; whoever writes over a state has a later time than that, whatever its clock
says. So of writes in two regions at once one wins, the same everywhere, and who sees a profile and
changes it is not undone. While a peer's clock is refused, its profiles are left alone.

Promises: what is taken over is durable, and the caches of all our nodes are told. Nothing is lost:
once a day, and whenever a leader begins, all profiles of a peer are gone through again, so this
mends whatever was missed for any reason. Bodies are pages, see `storage.region_beside`. An answer
is stored before the next page is asked for. Rows that cannot be read here are left out and named;
the others come all the same.

Touches neither boards nor journal. For one event loop.
"""

from __future__ import annotations

import asyncio
import math
import random
from collections.abc import Awaitable, Callable, Collection, Mapping, Sequence
from typing import TYPE_CHECKING, Annotated, Final, Protocol, TypeVar

import structlog
from msgspec import Meta, Struct

from rankwire.storage import StorageError
from rankwire.storage.keys import MOST_KEYS, Columns
from rankwire.storage.region_beside import PAGE_ROWS, START, Page, Place, RegionBeside, Row
from rankwire.sync.regions.errors import NotAPeerError, PeerError
from rankwire.sync.regions.foreign_rows import why_not_key, why_not_profile
from rankwire.sync.regions.wire import Name, decode, encode

if TYPE_CHECKING:
    from rankwire.storage.pool import Database
    from rankwire.storage.profiles import Stored

PAUSE_SECONDS: Final = 5.0
"""Time between two questions, give or take a fifth."""

# The first pause after a look that failed; the next ones double, up to the one above.
_SHORTEST_SECONDS: Final = 0.2

SWEEP_SECONDS: Final = 86_400.0
"""Time after which all profiles of a peer are gone through again."""

_ANSWER_SECONDS: Final = 10.0
# Profiles that could not be taken over, of which it is remembered; and how much of a name is shown.
_MOST_LEFT_OUT: Final = 100
_SHOWN_CHARACTERS: Final = 40

_Mark = Annotated[bytes, Meta(max_length=64)]
_Text = Annotated[str, Meta(max_length=4096)]

_Answer = TypeVar("_Answer")

_log = structlog.get_logger(__name__)


class KeysRequest(Struct, frozen=True):
    """Asks for API keys."""

    region: Name
    """Who asks."""
    seen: _Mark = b""
    """The mark of the peer's keys of which all are known."""
    after: _Text = ""
    """Id after which to go on."""


class KeysAnswer(Struct, frozen=True):
    """Some API keys in the order of their ids; none if the mark is the one that was seen."""

    mark: _Mark
    keys: Annotated[list[Columns], Meta(max_length=PAGE_ROWS)]
    is_last: bool


class ProfilesRequest(Struct, frozen=True):
    """Asks for profiles that the peer came to know after a place."""

    region: Name
    after: Place


class Peer(Protocol):
    """Another region, as this module needs it."""

    name: str

    @property
    def is_off(self) -> bool:
        """Whether its clock is refused now."""
        ...

    async def post(self, path: str, body: bytes, seconds: float) -> bytes:
        """Ask it; `path` is within `/v1/regions/`. Raises PeerError."""
        ...


class Progress:
    """How far one peer has been gone through."""

    def __init__(self) -> None:
        """Begin from the beginning."""
        self.mark = b""
        self.place: Place = START
        self.swept = -math.inf
        """When the place was set back to the beginning, by the loop's time."""
        self.left_out: dict[str, str] = {}
        """Members whose profiles could not be taken over since then, some of them, and why."""


class BesideBoards:
    """Gives what this region has beside its boards, and takes what others have."""

    def __init__(
        self,
        database: Database,
        region: str,
        peers: Collection[str],
        taken: Callable[[Mapping[str, Stored]], Awaitable[None]],
    ) -> None:
        """Use a database, which stays the caller's; `taken` tells caches of changed profiles.

        Only the regions `peers` are answered.
        """
        self.troubles: dict[str, str] = {}
        """By peer, why not all could be taken over; nothing of those where all is well."""
        self.keys = 0
        """API keys that were added or revoked here because another region's were."""
        self.profiles = 0
        """Profiles taken over, deletions included."""
        self._kept = RegionBeside(database)
        self._region = region
        self._peers = frozenset(peers)
        self._taken = taken

    # What other regions ask.

    async def answer_keys(self, body: bytes) -> bytes:
        """Answer a `KeysRequest`. Raises ValueError, NotAPeerError or StorageError."""
        request = decode(body, KeysRequest)
        self._check(request.region)
        # Before the keys: of what changes in between, the mark is old and they are asked for again.
        mark = await self._kept.keys_mark()
        if mark == request.seen:
            return encode(KeysAnswer(mark, [], is_last=True))
        keys = await self._kept.keys_after(request.after)
        return encode(KeysAnswer(mark, keys, is_last=len(keys) < PAGE_ROWS))

    async def answer_profiles(self, body: bytes) -> bytes:
        """Answer a `ProfilesRequest` with a `Page`. Raises as `answer_keys`."""
        request = decode(body, ProfilesRequest)
        self._check(request.region)
        return encode(await self._kept.profiles_after(request.after))

    def _check(self, region: str) -> None:
        """Refuse a region that was given up, as pulls do."""
        if region not in self._peers:
            raise NotAPeerError(f"region {region!r} is no peer of region {self._region!r}")

    # What the leader does.

    async def run(self, peer: Peer) -> None:
        """Take over what a peer has, again and again, from the beginning; until it is cancelled."""
        progress, retry = Progress(), _SHORTEST_SECONDS
        while True:
            await self.look(peer, progress)
            is_level = peer.name not in self.troubles
            pause = PAUSE_SECONDS if is_level else retry
            retry = _SHORTEST_SECONDS if is_level else min(2 * retry, PAUSE_SECONDS)
            await asyncio.sleep(pause * random.uniform(0.8, 1.2))  # noqa: S311 - no secret

    def figures(self) -> dict[str, int]:
        """Count what was taken over since the start."""
        return {"keys": self.keys, "profiles": self.profiles}

    async def look(self, peer: Peer, progress: Progress) -> None:
        """Take over what is new; what fails is told in `troubles` and asked for the next time."""
        try:
            trouble = await self._take_keys(peer, progress)
            now = asyncio.get_running_loop().time()
            if now - progress.swept >= SWEEP_SECONDS:
                await self._forget_deleted()
                progress.place, progress.swept, progress.left_out = START, now, {}
            if not peer.is_off:
                await self._take_profiles(peer, progress)
            trouble = "; ".join(filter(None, (trouble, _told("profile", peer, progress.left_out))))
        except (PeerError, StorageError) as error:
            trouble = str(error)
        except Exception as error:  # noqa: BLE001  # no answer ends this
            trouble = f"{type(error).__name__}: {error}"
        if not trouble:
            self.troubles.pop(peer.name, None)
        elif self.troubles.get(peer.name) != trouble:
            self.troubles[peer.name] = trouble
            _log.warning("keys and profiles stay behind", region=peer.name, reason=trouble)

    async def _take_keys(self, peer: Peer, progress: Progress) -> str | None:
        """Take over API keys; say why some could not be."""
        after, first, left_out = "", None, 0
        unreadable: dict[str, str] = {}
        while True:
            request = KeysRequest(self._region, progress.mark, after)
            answer = await _ask(peer, "keys", request, KeysAnswer)
            first = answer.mark if first is None else first
            if answer.keys:
                changed, missing = await self._take_page(answer.keys, unreadable)
                self.keys, left_out = self.keys + changed, left_out + missing
                after = answer.keys[-1][0]
            if answer.is_last or not answer.keys:
                break
        if left_out:
            return f"{left_out} API keys found no room: {MOST_KEYS} are good already, revoke some"
        if unreadable:
            # They are asked for again, and so told of for as long as it is so.
            return _told("API key", peer, unreadable)
        progress.mark = first
        return None

    async def _take_page(
        self, rows: Sequence[Columns], unreadable: dict[str, str]
    ) -> tuple[int, int]:
        """Take over keys as `RegionBeside.take_keys` does, but for those that cannot be read."""
        reasons = {row[0]: why for row in rows if (why := why_not_key(row)) is not None}
        changed, missing = await self._kept.take_keys([r for r in rows if r[0] not in reasons])
        # One that was taken over before may have been revoked since, which counts in any case.
        ends = [(row[0], row[6]) for row in rows if row[0] in reasons and row[6] is not None]
        changed += await self._kept.revoke_keys([end for end in ends if "\0" not in end[0]])
        unreadable |= reasons
        return changed, missing

    async def _take_profiles(self, peer: Peer, progress: Progress) -> None:
        after = progress.place
        while True:
            page = await _ask(peer, "profiles", ProfilesRequest(self._region, after), Page)
            rows = _readable(page.rows, progress.left_out)
            if changed := await self._kept.take_profiles(rows):
                self.profiles += len(changed)
                await self._taken(changed)
            after, progress.place = page.after, page.resume
            if page.is_last or not page.rows:
                return

    async def _forget_deleted(self) -> None:
        while await self._kept.forget_deleted() == PAGE_ROWS:
            pass


def _readable(rows: Sequence[Row], left_out: dict[str, str]) -> list[Row]:
    """Leave out the profiles that cannot be taken over, and note some of these."""
    good = []
    for row in rows:
        if (why := why_not_profile(row)) is None:
            left_out.pop(row[0], None)
            good.append(row)
        elif len(left_out) < _MOST_LEFT_OUT:
            left_out[row[0]] = why
    return good


def _told(what: str, peer: Peer, reasons: Mapping[str, str]) -> str | None:
    """Say what was left out of what a peer has; None if nothing was."""
    if not reasons:
        return None
    name, why = next(iter(reasons.items()))
    # What cannot be read need not be fit to be shown.
    shown = repr(name[:_SHOWN_CHARACTERS])
    others = f", and {len(reasons) - 1} more" if len(reasons) > 1 else ""
    return f"{what} {shown} of region {peer.name} is left out: {why}{others}"


async def _ask(peer: Peer, path: str, request: Struct, kind: type[_Answer]) -> _Answer:
    body = await peer.post(path, encode(request), _ANSWER_SECONDS)
    try:
        return decode(body, kind)
    except ValueError as error:
        raise PeerError(f"{peer.name} gave no answer that can be read: {error}") from error
