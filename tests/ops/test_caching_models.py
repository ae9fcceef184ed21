"""The arithmetic of caching: the knee, trials, windows, the switch, and memory."""

from __future__ import annotations

from math import log

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from fix_caching import read, zipf
from rankwire import local_cache
from rankwire.local_cache import LocalCache
from rankwire.ops.caching.curve import knee, sizes
from rankwire.ops.caching.memory import added_cost
from rankwire.ops.caching.meter import Count, Meter, Tally
from rankwire.ops.caching.switch import Promise, Switch
from rankwire.ops.caching.trial import Trial

# Sizes and the knee.


@given(
    st.one_of(st.integers(1, 2**24), st.sampled_from([round(64 * 2 ** (n / 2)) for n in range(30)]))
)
def test_sizes_ascend_to_the_budget(most: int) -> None:
    found = sizes(most)
    assert found == sorted(set(found))
    assert len(found) <= 40
    assert (found[-1:] == [most]) == (most >= 64)


def test_the_knee_of_a_curve_with_a_corner_is_the_corner() -> None:
    # Falls by 0.1 with each of eight steps, then hardly any more.
    misses = [1 - 0.1 * n for n in range(1, 9)] + [0.2 - 0.01 * n for n in range(1, 9)]
    assert knee([100 * n for n in range(1, 17)], misses) == 800


def test_the_knee_of_a_logarithm_is_where_the_gain_is_the_mean() -> None:
    # 1 - miss = ln(n) / ln(N) has the slope 1 / (n ln N), and the chord's is 1 / N.
    most = 100_000
    entries = list(range(100, most + 1, 100))
    misses = [1.0 - log(n) / log(most) for n in entries]
    found = knee(entries, misses)
    assert found == pytest.approx(most / log(most), abs=100)


@given(st.lists(st.floats(0, 1), min_size=2, max_size=30))
def test_the_knee_gains_more_than_its_share(values: list[float]) -> None:
    misses = sorted(values, reverse=True)
    entries = [100 * n for n in range(1, len(misses) + 1)]
    found = knee(entries, misses)
    gain = 1.0 - misses[-1]
    assume(gain > 1e-6)
    assert found is not None
    hits = 1.0 - misses[entries.index(found)]
    assert hits / gain >= found / entries[-1] - 1e-9


def test_without_gain_or_room_there_is_no_knee() -> None:
    assert knee([64, 128], [1.0, 1.0]) is None
    assert knee([], []) is None
    assert sizes(63) == []


# Trials.


@pytest.mark.parametrize("entries", [500, 3_000, 6_000])
def test_a_trial_predicts_what_the_large_cache_does(entries: int) -> None:
    """Also of those sizes where it only sees a part of the members."""
    trace = zipf(20_000, 0.9, 100_000, seed=3)
    trial = Trial(entries, 1e9)
    large = LocalCache(entries, 1e9)
    for start in range(0, len(trace), 10):
        members = list(dict.fromkeys(trace[start : start + 10]))
        trial.see(members)
        read(large, members)
    count = trial.count()
    counts = large.counts
    assert count.hits + count.misses == counts.hits + counts.misses
    exact = counts.hits / (counts.hits + counts.misses)
    assert count.hits / (count.hits + count.misses) == pytest.approx(exact, abs=0.02)
    assert count.entries == pytest.approx(len(large), rel=0.1)


def test_a_trial_expires_as_the_cache_will(monkeypatch: pytest.MonkeyPatch) -> None:
    now = 0.0
    monkeypatch.setattr(local_cache, "monotonic", lambda: now)
    trial = Trial(100, 5.0)
    for second in range(20):
        now = float(second)
        trial.see(["a"])
    assert (trial.count().hits, trial.count().misses) == (16, 4)


# Windows.


class Counter:
    def __init__(self) -> None:
        self.now = Count(0, 0, 0)

    def add(self, hits: int, misses: int, grown: int = 0) -> None:
        self.now = Count(self.now.hits + hits, self.now.misses + misses, self.now.entries + grown)

    def read(self) -> Count:
        return self.now


def test_a_window_needs_time_and_questions() -> None:
    counter = Counter()
    meter = Meter(counter.read, 60.0, now=0.0)
    counter.add(4_500, 499)
    assert meter.close(61.0) is None
    counter.add(0, 1)
    assert meter.close(59.0) is None
    assert meter.close(62.0) == Tally(4_500, 500, 62.0, settled=True)
    assert meter.close(62.0) is None
    assert meter.rate == 0.9


def test_a_window_of_a_cache_that_fills_up_does_not_count() -> None:
    counter = Counter()
    meter = Meter(counter.read, 60.0, now=0.0)
    counter.add(0, 5_000, grown=5_000)
    filling = meter.close(60.0)
    assert filling is not None
    assert (filling.settled, meter.rate) == (False, None)
    counter.add(4_500, 500, grown=100)
    settled = meter.close(120.0)
    assert settled is not None
    assert (settled.settled, meter.rate) == (True, 0.9)
    meter.restart(120.0)
    assert meter.rate is None


# The switch.

WINDOW = 60.0


def _tally(rate: float, *, settled: bool = True) -> Tally:
    hits = round(1_000 * rate)
    return Tally(hits, 1_000 - hits, WINDOW, settled)


class Turned(list[bool]):
    """A switch with a note of how it was turned."""

    def __init__(self) -> None:
        super().__init__()
        self.switch = Switch(WINDOW, self.append)

    def offer(self, predicted: float | None, now: float = 0.0, *, apply: bool = True) -> None:
        promise = None if predicted is None else Promise(predicted, 0.3)
        self.switch.offer(promise, "why", now, apply=apply)


def test_a_promise_is_kept_on_until_it_is_missed() -> None:
    turned = Turned()
    turned.offer(0.8)
    assert (turned, turned.switch.state) == ([True], "on")
    # Within the tolerance, better, or not settled yet.
    for tally in (_tally(0.751), _tally(0.95), _tally(0.2, settled=False)):
        turned.switch.judge(tally, 1.0)
    # What is promised while it is on changes nothing.
    turned.offer(0.2)
    assert (turned, turned.switch.promise) == ([True], Promise(0.8, 0.3))
    turned.switch.judge(_tally(0.74), 2.0)
    assert (turned, turned.switch.state) == ([True, False], "rolled_back")
    assert "was 0.74, predicted was 0.80; it stays off for 600 s" in turned.switch.reason


@pytest.mark.parametrize(
    ("predicted", "apply", "reason"),
    [
        (None, True, "why"),
        (
            0.34,
            True,
            "a hit rate of 0.34 instead of 0.30 is predicted, which is no gain that counts",
        ),
        (
            0.8,
            False,
            "advised: a hit rate of 0.80 instead of 0.30 is predicted; ops.caching is not",
        ),
    ],
)
def test_it_stays_off_without_a_reason(predicted: float, apply: bool, reason: str) -> None:
    turned = Turned()
    turned.offer(predicted, apply=apply)
    assert (turned, turned.switch.state) == ([], "off")
    assert turned.switch.reason.startswith(reason)


def test_it_rests_longer_after_each_failure() -> None:
    turned = Turned()
    now, rests = 0.0, []
    for _ in range(10):
        turned.offer(0.8, now)
        turned.switch.judge(_tally(0.1), now)
        assert turned.switch.state == "rolled_back"
        failed = now
        while turned.switch.is_resting(now):
            turned.offer(0.8, now)
            assert not turned.switch.is_on
            now += WINDOW
        rests.append(now - failed)
    assert rests == [600.0 * 2**n for n in range(8)] + [86_400.0] * 2


def test_a_day_that_was_kept_forgives() -> None:
    turned = Turned()
    now = 0.0
    for _ in range(3):
        turned.offer(0.8, now)
        turned.switch.judge(_tally(0.1), now)
        now += 10_000.0
    turned.offer(0.8, now)
    turned.switch.judge(_tally(0.8), now + 86_400.0)
    turned.switch.judge(_tally(0.1), now + 86_401.0)
    assert "stays off for 600 s" in turned.switch.reason


def test_an_end_turns_it_off_and_ends_the_rest() -> None:
    turned = Turned()
    turned.offer(0.8)
    turned.switch.end("enough")
    assert (turned, turned.switch.reason) == ([True, False], "enough")
    turned.offer(0.8)
    turned.switch.judge(_tally(0.1), 1.0)
    turned.switch.end("again")
    turned.offer(0.8, 2.0)
    assert turned.switch.is_on


# Memory.


def test_memory_that_is_there_costs_nothing_more() -> None:
    assert added_cost(1e6, 2e6)[0] == 0.0
    assert added_cost(3e6, 2e6)[0] is None
    assert added_cost(3e6, None)[0] is None
    assert "1.0 MB" in added_cost(1e6, 2e6)[1]
