"""Pulls one peer: asks for what it has beyond us, has it stored, and asks again.

Promises: the next request goes out when the last answer is stored, so a peer is never more than one
answer ahead of the database. Whatever goes wrong is said once, in `trouble`, and tried again after
a pause that grows to two seconds. Nothing is stored from a peer whose clock is further off than is
allowed, or that is not who it should be.
"""

from __future__ import annotations

import asyncio
import random
from time import monotonic
from typing import TYPE_CHECKING, Final

import structlog

from rankwire.storage import StorageError
from rankwire.storage.region_rows import LinkRow
from rankwire.sync.regions.errors import PeerError
from rankwire.sync.regions.intake import PATIENCE_SECONDS
from rankwire.sync.regions.state import chosen
from rankwire.sync.regions.wire import MOST_WAIT_MS, PullAnswer, PullRequest, decode, encode

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from rankwire.settings_regions import Regions as Settings
    from rankwire.sync.regions.here import Here
    from rankwire.sync.regions.intake import Intake
    from rankwire.sync.regions.peers import Peer
    from rankwire.sync.regions.wire import Chosen, Pulled

HEARD_SECONDS: Final = 3.0
"""A peer that has answered within this time is taken for one that can be pulled."""
REQUEST_SECONDS: Final = 10.0

# Between two attempts at a peer that fails.
_SHORTEST_SECONDS: Final = 0.1
_LONGEST_SECONDS: Final = 2.0
# Between two times that we ask which origins have ended.
_ASK_ENDED_SECONDS: Final = 60.0

_log = structlog.get_logger(__name__)


class Link:
    """What is known of a peer. It outlives pullers."""

    def __init__(self, peer: Peer) -> None:
        """Know nothing."""
        self.peer = peer
        self.level_ms: float | None = None
        """Our database's time at which we last had all that it had."""
        self.contact_ms: float | None = None
        self.heard: float | None = None
        """When it answered last, by `time.monotonic`."""
        self.drift_ms: float | None = None
        self.behind: int | None = None
        self.lacking: int | None = None
        """Batches of it that are still to come."""
        self.epoch: int | None = None
        self.agreed: float | None = None
        """When the last request was sent, by `time.monotonic`, that it answered without a newer
        primary than ours; None as long as this leader has not had all of it once."""
        self.was_level = False
        """Whether this leader has had all of it once, also what it showed of others."""
        self.doubt: str | None = None
        """What of its settings, or of the primary that it tells of, is not as it is here."""
        self.known: dict[int, int] | None = None
        """What it has, up to what we had then."""
        self.trouble: str | None = None
        self.twice: str | None = None
        """A board of its name is another one than here."""
        self.pulled_batches = 0
        self.pulled_bytes = 0
        self.dropped = 0
        """Answers whose rest could not be stored as what it builds on did not come."""

    @property
    def is_heard(self) -> bool:
        """Whether it has answered a moment ago, and may be taken from."""
        if self.heard is None or self.peer.is_off:
            return False
        return monotonic() - self.heard < HEARD_SECONDS

    def is_blank(self, now_ms: float) -> bool:
        """Whether it says now that there is no primary, agrees with us, and we have all it has."""
        if not (self.is_heard and self.was_level and self.epoch == 0 and self.doubt is None):
            return False
        return self.level_ms is not None and now_ms - self.level_ms < HEARD_SECONDS * 1000

    def row(self) -> LinkRow:
        """Give what the region's other nodes are to know."""
        return LinkRow(
            region=self.peer.name,
            level_ms=_whole(self.level_ms),
            contact_ms=_whole(self.contact_ms),
            drift_ms=self.drift_ms,
            behind=self.behind,
            lacking=self.lacking,
            trouble=self.trouble or self.doubt or self.twice,
            epoch=self.epoch,
        )


class Owed:
    """Batches that a peer has shown and that others should bring."""

    def __init__(self, number_of: Callable[[int], int]) -> None:
        """Compare with what `number_of` an origin is there."""
        self._number_of = number_of
        self._since: dict[int, tuple[int, float]] = {}
        """Of each origin that is owed: the last batch that has come, and when that was seen."""

    @property
    def is_any(self) -> bool:
        """Whether anything was owed when it was looked at last."""
        return bool(self._since)

    def is_overdue(self, pointers: Sequence[Pulled]) -> bool:
        """Tell whether of anything that is shown now nothing has come for too long."""
        now = monotonic()
        owed: dict[int, tuple[int, float]] = {}
        for row in pointers:
            number = self._number_of(row.origin)
            if number < row.number:
                before = self._since.get(row.origin)
                owed[row.origin] = before if before and before[0] == number else (number, now)
        self._since = owed
        return any(now - since > PATIENCE_SECONDS for _, since in owed.values())


class Puller:
    """A task of the leader, for one peer."""

    def __init__(
        self,
        here: Here,
        intake: Intake,
        link: Link,
        direct: Callable[[], list[str]],
    ) -> None:
        """Prepare; `run` pulls. `direct` names the regions that answer now."""
        self._settings = here.settings
        self._journal = here.journal
        self._threads = here.threads
        self._state = here.state
        self._intake = intake
        self._link = link
        self._direct = direct
        self._cluster = here.region.cluster
        self._needs_all = False
        self._owed = Owed(intake.number_of)
        self._ask_ended = 0.0

    async def run(self) -> None:
        """Pull until cancelled."""
        pause = _SHORTEST_SECONDS
        while True:
            try:
                await self._turn()
            except Exception as error:  # noqa: BLE001  # whatever it is, pulling goes on
                self._suffer(error)
                await asyncio.sleep(pause * random.uniform(0.5, 1.0))  # noqa: S311 - no secret
                pause = min(2 * pause, _LONGEST_SECONDS)
            else:
                pause = _SHORTEST_SECONDS
                self._recover()

    async def _turn(self) -> None:
        peer = self._link.peer
        request = await self._request()
        body = encode(request)
        sent = monotonic()
        content = await peer.post("pull", body, REQUEST_SECONDS)
        received = monotonic()
        answer = await asyncio.to_thread(self._read, content)
        agrees = await self._note(answer, request)
        if agrees and self._link.was_level:
            self._link.agreed = sent
        self._measure(answer, sent, received)
        await self._store(answer)
        if answer.gone:
            raise PeerError(_words_for_gone(peer.name, answer.gone))
        if answer.is_all and not self._needs_all:
            self._link.level_ms = self._state.clock.not_after(sent) + answer.waited_ms
            if not self._link.was_level and not self._owed.is_any:
                self._link.was_level = True
                self._link.agreed = sent if agrees else None

    async def _request(self) -> PullRequest:
        ended: list[int] = []
        if monotonic() >= self._ask_ended:
            ended = await self._threads.run(self._journal.open_origins)
            self._ask_ended = monotonic() + _ASK_ENDED_SECONDS
        others = [name for name in self._direct() if name != self._link.peer.name]
        return PullRequest(
            region=self._settings.name,
            vector=self._intake.vector(),
            direct=[] if self._needs_all else [self._settings.name, *others],
            wait_ms=MOST_WAIT_MS,
            epoch=self._state.epoch,
            primary=self._state.primary,
            open=ended,
        )

    def _read(self, content: bytes) -> PullAnswer:
        """Decode an answer on a thread, and see that it is of who was asked."""
        name = self._link.peer.name
        try:
            answer = decode(content, PullAnswer)
        except ValueError as error:
            raise PeerError(f"region {name} sent what is no answer: {error}") from None
        if answer.cluster == self._cluster:
            raise PeerError(
                f"the address of region {name} leads to this region's own database, or to a copy "
                "of it that is not adopted"
            )
        if answer.region != name:
            raise PeerError(f"the address of region {name} leads to region {answer.region!r}")
        return answer

    async def _note(self, answer: PullAnswer, request: PullRequest) -> bool:
        """Take note of what counts whatever the rest is; tell whether our primary is the newest."""
        link, clock = self._link, self._state.clock
        link.epoch = answer.epoch
        link.contact_ms = clock.now()
        link.known = request.vector | answer.lacks
        link.behind = sum(request.vector.get(o, 0) - n for o, n in answer.lacks.items())
        doubt = self._state.doubt(answer.epoch, answer.primary)
        self._doubt(doubt or differ(self._settings, answer.chosen))
        if (answer.epoch, answer.primary) <= self._state.ballot:
            return True
        await self._state.adopt(answer.epoch, answer.primary)
        return False

    def _doubt(self, what: str | None) -> None:
        name = self._link.peer.name
        doubt = what and f"region {name} and this one do not agree: {what}"
        if doubt and doubt != self._link.doubt:
            _log.warning("regions do not agree", region=name, reason=doubt)
        self._link.doubt = doubt

    def _measure(self, answer: PullAnswer, sent: float, received: float) -> None:
        """Compare its clock with ours. Raises PeerError if it is too far off."""
        clock, peer = self._state.clock, self._link.peer
        # It was read after the waiting, so in what is left of the time that the answer took.
        begun = min(sent + answer.waited_ms / 1000, received)
        drift = answer.clock_ms - clock.at((begun + received) / 2)
        error = (received - begun) * 500 + clock.error_ms
        self._link.drift_ms = drift
        # Not a number is off as well.
        peer.is_off = not abs(drift) - error <= self._settings.max_drift_ms
        if peer.is_off:
            where = "ahead" if drift > 0 else "behind"
            raise PeerError(f"the clock of region {peer.name} is {abs(drift):.0f} ms {where}")
        self._link.heard = received

    async def _store(self, answer: PullAnswer) -> None:
        link = self._link
        try:
            taken = await self._intake.take(answer)
        except PeerError as error:
            raise PeerError(f"region {link.peer.name} sent what is refused: {error}") from error
        link.pulled_batches += taken.batches
        link.pulled_bytes += taken.bytes
        if taken.twice:
            link.twice = (
                f"the board {taken.twice[0]!r} of region {link.peer.name} is another one than "
                "here: two regions were primary at once"
            )
            _log.error("two boards have one name", region=link.peer.name, names=taken.twice[:10])
        link.lacking = answer.more
        # What does not come from where it should is asked for here.
        self._needs_all = not taken.is_whole or self._owed.is_overdue(taken.pointers)
        link.dropped += not taken.is_whole

    def _suffer(self, error: Exception) -> None:
        is_expected = isinstance(error, PeerError | StorageError)
        reason = str(error) if is_expected else f"pulling failed: {error!r}"
        if self._link.trouble != reason:
            name = self._link.peer.name
            _log.warning("cannot pull", region=name, reason=reason, exc_info=not is_expected)
        self._link.trouble = reason

    def _recover(self) -> None:
        if self._link.trouble is not None:
            _log.info("pulls again", region=self._link.peer.name, after=self._link.trouble)
            self._link.trouble = None


def differ(settings: Settings, there: Chosen | None) -> str | None:
    """Tell which settings that have to be the same are not; None if all are."""
    if there is None or there == (here := chosen(settings)):
        return None
    for what, ours, theirs in (
        ("regions are", ", ".join(here.names), ", ".join(there.names)),
        ("regions.mode is", here.mode, there.mode),
        ("regions.primary is", here.primary, there.primary),
    ):
        if ours != theirs:
            return f"its {what} {theirs}, and here {ours}"
    return None


def _words_for_gone(name: str, gone: list[int]) -> str:
    return (
        f"region {name} has no longer what is needed of {len(gone)} runs of nodes, {gone[0]} for "
        "one: this region needs a copy of its database (restore a backup of it here, then "
        "`rankwire regions adopt`)"
    )


def _whole(ms: float | None) -> int | None:
    return None if ms is None else round(ms)
