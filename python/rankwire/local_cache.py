"""The profiles that this process remembers: a bounded cache that keeps what is asked for most.

Admission is that of W-TinyLFU (Einziger, Friedman and Manes, "TinyLFU: A Highly Efficient Cache
Admission Policy", ACM Transactions on Storage 13(4), 2017; the parts are sized as in Caffeine): who
is new comes into a small window; who leaves that replaces the one whose turn it is in the main part
only if the counts say that it is asked for more often. So a crawl through all members does not push
out the popular ones. The main part is segmented: who is asked for again there is protected.

Promises: never more entries than it was told, but for what is left over when it is told to keep
fewer, of which every call drops some hundred; nothing is given that is older than it was told; of
two states of a member the one with the larger version stays, but never over what this process has
written; that is let in without a contest. What was not asked for within a day counts for nothing.
For one thread.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Iterable, Mapping
from time import monotonic
from typing import TYPE_CHECKING, Final

from rankwire._core import Frequency

if TYPE_CHECKING:
    from rankwire.storage.profiles import Stored

LOCAL_SECONDS: Final = 5.0
"""How long a profile is remembered, or that there is none, unless told otherwise."""

LOCAL_ENTRIES: Final = 20_000
"""Most members of whom that is remembered, unless told otherwise: at 4 KiB each, 80 MB."""

ENTRY_BYTES: Final = 340
"""Memory for an entry beside the texts of its member and its profile, with Python's objects."""

# Of the entries, the part of the window; of the rest, the part of those that are protected.
_WINDOW_PART: Final = 0.01
_PROTECTED_PART: Final = 0.8
# Entries that one call drops or moves after the cache was made smaller: half a millisecond.
_SHRUNK: Final = 500
# Counts are of the last one or two of these.
_FADE_SECONDS: Final = 43_200.0

_Entry = tuple[float, "Stored"]
_Segment = OrderedDict[str, _Entry]


class Counts:
    """How often a cache had what it was asked for."""

    def __init__(self) -> None:
        self.hits = 0
        self.misses = 0

    def count(self, asked: int, found: int) -> None:
        """Count a question for so many profiles."""
        self.hits += found
        self.misses += asked - found


class Popularity:
    """How often members were asked for of late: in the last 12 to 24 hours."""

    def __init__(self, entries: int) -> None:
        """Count precisely enough for a cache of so many."""
        self._entries = entries
        self._since = monotonic()
        self._before = self._now = Frequency(entries)

    def add(self, member: str) -> None:
        """Count a question."""
        self._now.add(member)

    def fade(self, now: float) -> None:
        """Forget what is old, if it is time to."""
        if now - self._since >= _FADE_SECONDS:
            is_recent = now - self._since < 2 * _FADE_SECONDS
            self._before = self._now if is_recent else Frequency(self._entries)
            self._now = Frequency(self._entries)
            self._since = now

    def of(self, member: str) -> int:
        """Tell about how often a member was asked for."""
        if self._before is self._now:
            return self._now.estimate(member)
        return self._now.estimate(member) + self._before.estimate(member)


class LocalCache:
    """What this process remembers."""

    def __init__(self, entries: int = LOCAL_ENTRIES, seconds: float = LOCAL_SECONDS) -> None:
        """Remember so many for so long, each from when it was put here."""
        self.counts = Counts()
        self.bytes = 0
        """Memory that the entries need, about."""
        self._window: _Segment = OrderedDict()
        self._probation: _Segment = OrderedDict()
        self._protected: _Segment = OrderedDict()
        # The likeliest first.
        self._segments = (self._protected, self._probation, self._window)
        self.resize(entries, seconds)

    def __len__(self) -> int:
        """Tell how many entries there are, those that are too old included."""
        return sum(map(len, self._segments))

    def resize(self, entries: int, seconds: float) -> None:
        """Remember so many for so long from now on, also what is here already.

        What is too much then goes bit by bit, with the calls that come; more of it does not come.
        """
        self.entries = entries
        self.seconds = seconds
        self._most_window = max(1, round(entries * _WINDOW_PART))
        self._most_main = entries - self._most_window
        self._most_protected = int(self._most_main * _PROTECTED_PART)
        self._popularity = Popularity(entries)
        self._shrink()

    def get_many(self, members: Iterable[str]) -> dict[str, Stored]:
        """Give what is remembered of these, also that there is none."""
        oldest = monotonic() - self.seconds
        self._shrink()
        # As long as there is plenty of room nobody is chosen, and nobody need be counted.
        count = self._popularity.add if 2 * len(self) >= self.entries else None
        found = {}
        asked = 0
        for member in members:
            asked += 1
            if count is not None:
                count(member)
            segment = self._segment(member)
            if segment is None:
                continue
            at, stored = segment[member]
            if at <= oldest:
                self._drop(member)
            else:
                self._touch(member, segment)
                found[member] = stored
        self.counts.count(asked, len(found))
        return found

    def put_many(self, profiles: Mapping[str, Stored], *, is_written: bool = False) -> None:
        """Remember these, unless something newer is remembered.

        What `is_written` by this process stays as long as what is asked for most.
        """
        now = monotonic()
        self._popularity.fade(now)
        self._shrink()
        for member, stored in profiles.items():
            segment = self._segment(member)
            if segment is not None:
                at, old = segment[member]
                is_older = at > now - self.seconds and old.version > stored.version
                if is_older and not is_written:
                    continue
                self._drop(member)
                # The clock was set back, or another process was faster: the storage knows.
                if is_older:
                    continue
            if segment is None or (is_written and segment is self._window):
                segment = self._probation if is_written else self._window
            self._add(member, (now, stored), segment)
            self._settle(now, is_written=is_written)

    def forget(self, members: Iterable[str]) -> None:
        """Remember nothing of these."""
        for member in members:
            if self._segment(member) is not None:
                self._drop(member)

    def _segment(self, member: str) -> _Segment | None:
        for segment in self._segments:
            if member in segment:
                return segment
        return None

    def _add(self, member: str, entry: _Entry, segment: _Segment) -> None:
        segment[member] = entry
        self.bytes += _size(member, entry[1])

    def _drop(self, member: str) -> None:
        for segment in self._segments:
            if (entry := segment.pop(member, None)) is not None:
                self.bytes -= _size(member, entry[1])

    def _touch(self, member: str, segment: _Segment) -> None:
        """Note that an entry is used: its turn to go comes last."""
        if segment is self._probation and self._most_protected:
            self._protected[member] = segment.pop(member)
            self._demote()
        else:
            segment.move_to_end(member)

    def _demote(self) -> None:
        if len(self._protected) > self._most_protected:
            member, entry = self._protected.popitem(last=False)
            self._probation[member] = entry

    def _shrink(self) -> None:
        """Drop and move some of what is too much since the cache was made smaller."""
        for _ in range(_SHRUNK):
            if len(self._window) > self._most_window:
                self._drop(next(iter(self._window)))
            elif self._main > self._most_main:
                self._drop(next(iter(self._probation or self._protected)))
            elif len(self._protected) > self._most_protected:
                self._demote()
            else:
                break

    def _settle(self, now: float, *, is_written: bool) -> None:
        """Keep the limits after an entry was added, or the size if there was too much before."""
        if len(self._window) > self._most_window:
            member, entry = self._window.popitem(last=False)
            self._probation[member] = entry
        if self._main > self._most_main and self._probation:
            newcomer = next(reversed(self._probation))
            # Without any other in probation it is one of the protected, or there is nobody.
            segment = self._probation if len(self._probation) > 1 else self._protected
            victim = next(iter(segment), newcomer)
            if is_written or self._is_worth(newcomer, victim, segment, now):
                self._drop(victim)
            else:
                self._drop(newcomer)

    def _is_worth(self, newcomer: str, victim: str, segment: _Segment, now: float) -> bool:
        """Tell whether the newcomer is worth the victim's place; a victim that stays waits again.

        Otherwise one whose count is too large by chance, which a sketch allows, would turn away
        everybody.
        """
        if victim == newcomer or segment[victim][0] <= now - self.seconds:
            return True
        if self._popularity.of(newcomer) > self._popularity.of(victim):
            return True
        segment.move_to_end(victim)
        return False

    @property
    def _main(self) -> int:
        return len(self._probation) + len(self._protected)


def _size(member: str, stored: Stored) -> int:
    return ENTRY_BYTES + len(member) + len(stored.body)
