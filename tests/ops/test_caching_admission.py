"""The cache of profiles in a process: what it lets in, what it keeps, and what it never does."""

from __future__ import annotations

import gc
import tracemalloc
from pathlib import Path
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from fix_caching import lru_rate, read, zipf
from rankwire import local_cache
from rankwire.local_cache import LocalCache, Popularity
from rankwire.profiles import SOLE_SECONDS, Profiles
from rankwire.storage import profiles_sqlite
from rankwire.storage.profiles import NONE, Content, Stored
from rankwire.storage.profiles_sqlite import SqliteProfiles

MEMBERS = "abcdefgh"


@pytest.mark.parametrize(("entries", "gain"), [(100, 0.08), (1_000, 0.05), (4_000, 0.01)])
def test_admission_by_popularity_beats_lru(entries: int, gain: float) -> None:
    trace = zipf(20_000, 1.0, 60_000, seed=1)
    assert read(LocalCache(entries, 1e9), trace) > lru_rate(trace, entries) + gain


def test_a_scan_does_not_push_out_the_popular() -> None:
    popular = [f"p{number}" for number in range(80)]
    cache = LocalCache(100, 1e9)
    for _ in range(5):
        read(cache, popular)
    read(cache, [f"once{number}" for number in range(5_000)])
    assert len(cache.get_many(popular)) >= 75


def test_who_becomes_popular_gets_in() -> None:
    cache = LocalCache(100, 1e9)
    for _ in range(5):
        read(cache, [f"old{number}" for number in range(100)])
    news = [f"new{number}" for number in range(80)]
    rates = [read(cache, news) for _ in range(40)]
    assert rates[0] == 0.0
    assert rates[-1] > 0.8


def test_nobody_turns_away_everybody() -> None:
    """One who is remembered and counted often, but never asked for again."""
    cache = LocalCache(10, 1e9)
    others = [f"p{number}" for number in range(10)]
    read(cache, others)
    for _ in range(15):
        cache.get_many(["stuck"])
    cache.put_many({"stuck": NONE}, is_written=True)
    # Now it is its turn to go.
    cache.get_many(others)
    read(cache, [name for number in range(10) for name in ("new", f"once{number}")])
    assert cache.get_many(["new"])


def test_what_was_written_here_is_let_in() -> None:
    cache = LocalCache(100, 1e9)
    for _ in range(10):
        read(cache, [f"p{number}" for number in range(100)])
    cache.put_many({"w": Stored(7, b"{}")}, is_written=True)
    read(cache, [f"once{number}" for number in range(10)])
    assert cache.get_many(["w"]) == {"w": Stored(7, b"{}")}


def test_popularity_fades_within_a_day(monkeypatch: pytest.MonkeyPatch) -> None:
    now = 0.0
    monkeypatch.setattr(local_cache, "monotonic", lambda: now)
    popularity = Popularity(100)
    for _ in range(5):
        popularity.add("a")
    seen = []
    for hours in (11, 13, 23, 25):
        now = hours * 3600.0
        popularity.fade(now)
        seen.append(popularity.of("a"))
    assert seen == [5, 5, 5, 0]


def test_popularity_of_before_a_pause_is_gone(monkeypatch: pytest.MonkeyPatch) -> None:
    now = 0.0
    monkeypatch.setattr(local_cache, "monotonic", lambda: now)
    popularity = Popularity(100)
    popularity.add("a")
    popularity.fade(86_400.0)
    assert popularity.of("a") == 0


def test_a_smaller_size_and_time_count_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    now = 0.0
    monkeypatch.setattr(local_cache, "monotonic", lambda: now)
    cache = LocalCache(1_000, 100.0)
    names = [f"m{number}" for number in range(500)]
    cache.put_many(dict.fromkeys(names, NONE))
    assert len(cache) == 500
    cache.resize(50, 100.0)
    assert len(cache) == 50
    assert len(cache.get_many(names)) == 50
    now = 6.0
    cache.resize(50, 5.0)
    assert cache.get_many(names) == {}
    assert (len(cache), cache.bytes) == (0, 0)


@pytest.mark.parametrize("how", ["get", "put"])
def test_a_much_smaller_size_is_reached_bit_by_bit(how: str) -> None:
    """No call holds up the others for long."""
    cache = LocalCache(5_000, 1e9)
    names = [f"m{number}" for number in range(5_000)]
    read(cache, names)
    read(cache, names[:4_000])
    sizes = [len(cache)]
    cache.resize(20, 1e9)
    while sizes[-1] > 20:
        sizes.append(len(cache))
        assert 0 < sizes[-2] - sizes[-1] <= 501
        if how == "get":
            cache.get_many(["m0"])
        else:
            cache.put_many({f"new{len(sizes)}": NONE})
    assert len(sizes) > 8
    # It goes on as if it had never been larger.
    assert read(cache, names[:10] * 20) > 0.9
    assert len(cache) <= 20


def test_what_was_written_here_leaves_nothing_older_nor_newer() -> None:
    """The clock was set back after the first: the storage knows which of the two counts."""
    cache = LocalCache(100, 1e9)
    cache.put_many({"a": Stored(7, b"old")})
    cache.put_many({"a": Stored(6, b"new")})
    assert cache.get_many(["a"]) == {"a": Stored(7, b"old")}
    cache.put_many({"a": Stored(6, b"new")}, is_written=True)
    assert cache.get_many(["a"]) == {}
    cache.put_many({"a": Stored(6, b"new")})
    assert cache.get_many(["a"]) == {"a": Stored(6, b"new")}


async def test_a_profile_that_comes_again_with_the_clock_set_back_is_read(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    store = SqliteProfiles(tmp_path, 1.0)
    profiles = Profiles(store, 65_536)
    profiles.local.resize(1_000, SOLE_SECONDS)
    await profiles.put("ada", Content("one", None, msgspec.Raw(b"{}")), None)
    await profiles.delete("ada", None)
    now = profiles_sqlite._now_us  # noqa: SLF001
    monkeypatch.setattr(profiles_sqlite, "_now_us", lambda: now() - 60_000_000)
    await profiles.put("ada", Content("two", None, msgspec.Raw(b"{}")), None)
    for _ in range(2):
        found = await profiles.get_many(["ada"])
        assert b"two" in found.profiles["ada"].body
    await profiles.close()


def test_the_memory_is_about_what_it_says() -> None:
    def profile(number: int) -> tuple[str, Stored]:
        return f"member-{number}", Stored(number + 2**40, b"%0150d" % number)

    cache = LocalCache(8_000, 1e9)
    gc.collect()
    tracemalloc.start()
    try:
        before, _ = tracemalloc.get_traced_memory()
        for number in range(8_000):
            cache.put_many(dict((profile(number),)))
        after, _ = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert len(cache) == 8_000
    # The sketches are in Rust: up to 32 bytes for each.
    needed = after - before + 8_000 * 32
    assert cache.bytes == pytest.approx(needed, rel=0.15)


class Model:
    """What may be remembered of each member, and since when."""

    def __init__(self) -> None:
        self.now = 1_000.0
        self.seconds = 10.0
        self.put: dict[str, tuple[float, Stored]] = {}

    def may_give(self, member: str, stored: Stored) -> bool:
        at, last = self.put.get(member, (0.0, NONE))
        return stored == last and at > self.now - self.seconds


Step = tuple[str, Any, Any]
STEPS = st.lists(
    st.one_of(
        st.tuples(st.just("put"), st.sampled_from(MEMBERS), st.integers(1, 4)),
        st.tuples(st.just("write"), st.sampled_from(MEMBERS), st.integers(1, 4)),
        st.tuples(st.just("get"), st.sampled_from(MEMBERS), st.none()),
        st.tuples(st.just("forget"), st.sampled_from(MEMBERS), st.none()),
        st.tuples(st.just("wait"), st.sampled_from([1.0, 4.0, 11.0]), st.none()),
        st.tuples(st.just("resize"), st.integers(1, 6), st.sampled_from([3.0, 10.0])),
    ),
    max_size=60,
)


def take(cache: LocalCache, model: Model, step: Step) -> None:
    match step:
        case ("put" | "write" as how, member, version):
            known = cache.get_many([member]).get(member, NONE)
            stored = Stored(version, b"%d" % version)
            cache.put_many({member: stored}, is_written=how == "write")
            if version >= known.version:
                model.put[member] = model.now, stored
            elif how == "write":
                del model.put[member]
        case ("get", member, _):
            for stored in cache.get_many([member]).values():
                assert model.may_give(member, stored)
        case ("forget", member, _):
            cache.forget([member])
            model.put.pop(member, None)
        case ("wait", seconds, _):
            model.now += seconds
        case ("resize", entries, seconds):
            cache.resize(entries, seconds)
            model.seconds = seconds


@given(STEPS, st.sampled_from([1, 500]))
def test_it_is_bounded_and_never_gives_what_is_old(steps: list[Step], shrunk: int) -> None:
    model = Model()
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(local_cache, "monotonic", lambda: model.now)
        patch.setattr(local_cache, "_SHRUNK", shrunk)
        cache = LocalCache(3, model.seconds)
        for step in steps:
            before = len(cache)
            take(cache, model, step)
            assert len(cache) <= (cache.entries if shrunk > 1 else max(before, cache.entries))
        for _ in range(20):
            cache.get_many([])
        assert len(cache) <= cache.entries
        cache.forget(MEMBERS)
        assert (len(cache), cache.bytes) == (0, 0)
