"""The strategy USER_PROFILE_CACHE: more profiles, for longer, in this process.

It is for traffic that asks for more than 10,000 different members in 24 hours. The size is the knee
of the miss-ratio curve under the budget, the time what `profiles` can promise, and the hit rate is
what a `Trial` of that size measures on the traffic itself. While it is not on a trial is made once
an hour, as it costs some time of every look-up.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from msgspec.structs import replace

from rankwire.local_cache import LOCAL_ENTRIES, LOCAL_SECONDS
from rankwire.ops.caching.curve import knee, sizes
from rankwire.ops.caching.economy import freed
from rankwire.ops.caching.meter import Count, Meter
from rankwire.ops.caching.report import Curve, Freed, Pattern, Point, Strategy
from rankwire.ops.caching.switch import Limits, Promise, Switch
from rankwire.ops.caching.trial import Trial

if TYPE_CHECKING:
    from collections.abc import Sequence

    from rankwire._core import Traffic
    from rankwire.ops.findings import Known
    from rankwire.profiles import Profiles

_KIND: Final = "user_profile"
_NAME: Final = "USER_PROFILE_CACHE"
# Most that a sketch of popularity is made for.
_MOST_ENTRIES: Final = 2**24
_TRIAL_AGAIN_SECONDS: Final = 3600.0


class ProfileCache:
    """Watches how profiles are asked for, and sizes their cache."""

    def __init__(
        self, profiles: Profiles, traffic: Traffic, seconds: float, limits: Limits, now: float
    ) -> None:
        """Remember each for at most `seconds`, once more than `limits.least` are asked for."""
        window_seconds = limits.window_seconds
        self._profiles = profiles
        self._traffic = traffic
        self._seconds = seconds
        self._most_bytes = limits.most_bytes
        self._window_seconds = window_seconds
        self._least_members = limits.least
        self.name = _NAME
        self.switch = Switch(window_seconds, self._turn)
        self._meter = Meter(self._count, window_seconds, now)
        self._trial: Trial | None = None
        self._trial_meter = self._meter
        self._tried_at: Known = None
        self._predicted: Known = None
        self._baseline: Known = None
        self._per_second: Known = None
        self._entries: int | None = None

    def see(self, members: Sequence[str], now: float) -> None:
        """Take note of a look-up."""
        self._traffic.profiles(members, now, self._seconds)
        if self._trial is not None:
            self._trial.see(members)

    def look(self, now: float, *, apply: bool) -> None:
        """Measure, predict, turn it on or back."""
        tally = self._meter.close(now)
        if tally is not None:
            self._per_second = tally.per_second
        was_on = self.switch.is_on
        if was_on:
            self._keep_to_budget()
            if tally is not None:
                self.switch.judge(tally, now)
        else:
            if tally is not None:
                self._baseline = tally.rate
            if self._is_found() and not self.switch.is_resting(now):
                self._try(now)
            self.switch.offer(self._promise(), self._missing(), now, apply=apply)
        if self.switch.is_on != was_on:
            self._meter.restart(now)

    def end(self, reason: str, now: float) -> None:
        """Turn it off."""
        self.switch.end(reason)
        self._meter.restart(now)
        self._forget()

    # What it knows.

    def _forget(self) -> None:
        self._trial, self._entries = None, None
        self._tried_at = self._predicted = self._baseline = self._per_second = None

    def _is_found(self) -> bool:
        return self._traffic.unique(_KIND) > self._least_members

    def _missing(self) -> str:
        """Say why there is no promise."""
        if not self._is_found():
            return f"not more than {self._least_members:,.0f} members were asked for in 24 h"
        if self._entries is None:
            return "no size is known to bring anything under the budget"
        return "the trial of the size has not seen enough yet"

    def _promise(self) -> Promise | None:
        if self._predicted is None or self._baseline is None or not self._is_found():
            return None
        return Promise(self._predicted, self._baseline)

    def _mean_bytes(self) -> Known:
        local = self._profiles.local
        return local.bytes / len(local) if len(local) else None

    def _sizes(self) -> list[int]:
        mean = self._mean_bytes()
        return sizes(min(_MOST_ENTRIES, int(self._most_bytes / mean))) if mean else []

    def _points(self) -> tuple[list[int], list[float]]:
        entries = self._sizes()
        misses = self._traffic.curve(_KIND, entries) if entries else []
        return (entries, misses) if misses else ([], [])

    # What it does.

    def _try(self, now: float) -> None:
        """Run a trial of the size at the knee, until it has a result; again after a while."""
        if self._trial is not None:
            tally = self._trial_meter.close(now)
            if tally is not None and tally.settled:
                self._predicted, self._tried_at = tally.rate, now
                self._trial = None
            return
        if self._tried_at is not None and now - self._tried_at < _TRIAL_AGAIN_SECONDS:
            return
        self._entries = knee(*self._points())
        if self._entries is not None:
            trial = Trial(self._entries, self._seconds)
            self._trial = trial
            self._trial_meter = Meter(trial.count, self._window_seconds, now)

    def _turn(self, on: bool) -> None:
        if on and self._entries is not None:
            self._profiles.local.resize(self._entries, self._seconds)
        else:
            self._profiles.local.resize(LOCAL_ENTRIES, LOCAL_SECONDS)
            # What comes next has to be tried on the traffic as it is then.
            self._predicted, self._tried_at = None, None

    def _keep_to_budget(self) -> None:
        """Keep fewer if they have become larger than they were when the size was chosen."""
        local = self._profiles.local
        if local.bytes > self._most_bytes:
            fewer = int(len(local) * self._most_bytes / local.bytes)
            local.resize(max(1, fewer), self._seconds)

    def _count(self) -> Count:
        local = self._profiles.local
        counts = local.counts
        return Count(counts.hits, counts.misses, len(local))

    # What it says.

    def pattern(self) -> Pattern:
        """Tell how many members are asked for."""
        unique = self._traffic.unique(_KIND)
        return Pattern(
            strategy=_NAME,
            figure="members asked for in 24 h",
            value=unique,
            threshold=self._least_members,
            found=unique > self._least_members,
        )

    def curve(self) -> Curve | None:
        """Give the curve under the budget; None while it is not known."""
        entries, misses = self._points()
        if not entries:
            return None
        mean = self._mean_bytes()
        points = [
            Point(size, mean and size * mean, miss)
            for size, miss in zip(entries, misses, strict=True)
        ]
        return Curve(kind=_KIND, points=points, knee=knee(entries, misses))

    def strategy(self) -> Strategy:
        """Tell how it stands."""
        switch, local, mean = self.switch, self._profiles.local, self._mean_bytes()
        entries = local.entries if switch.is_on else self._entries
        needed = entries * mean if entries is not None and mean is not None else None
        promise = switch.promise
        return Strategy(
            name=_NAME,
            state=switch.state,
            reason=switch.reason,
            since=switch.since,
            predicted_hit_rate=promise.predicted if promise is not None else None,
            measured_hit_rate=self._meter.rate if switch.is_on else None,
            baseline_hit_rate=self._baseline,
            entries=entries,
            seconds=self._seconds,
            memory_bytes=local.bytes if switch.is_on else needed,
        )

    def freed(self, hours: float, read_seconds: Known) -> Freed:
        """Tell what of the database's time the hits save, in a month of so many hours.

        `read_seconds` is what the database works for one read of profiles, in the mean; without it
        the time until the answers were there is an upper bound.
        """
        cost = self._profiles.cost
        seconds = cost.seconds if read_seconds is None else cost.reads * read_seconds
        # Misses that Redis answered included: they cost the database nothing.
        each = (seconds, self._profiles.local.counts.misses)
        found = freed(self.strategy(), "database", self._per_second, each, hours)
        return replace(found, is_bound=read_seconds is None)
