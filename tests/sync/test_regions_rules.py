"""The rules of regions that need no region: levels, leases, epochs, tokens, the wire, the clock."""

from __future__ import annotations

import itertools
import math
from typing import Any

import msgspec
import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from rankwire.sync.regions import wire
from rankwire.sync.regions.errors import NotThereYetError, WrongLevelError, WrongTokenError
from rankwire.sync.regions.failover import lack, union
from rankwire.sync.regions.intake import PATIENCE_SECONDS
from rankwire.sync.regions.leader import lease_end, stable_of
from rankwire.sync.regions.levels import Level, achieved, parse, quorum
from rankwire.sync.regions.puller import Owed
from rankwire.sync.regions.sessions import MOST_ENTRIES, decode_token, encode_token, merge
from rankwire.sync.regions.state import SETTLED_SECONDS, Clock, Settled
from rankwire.sync.regions.wire import Pulled

NUMBERS = st.integers(1, 30)
VECTORS = st.dictionaries(st.integers(1, 5), NUMBERS)


# The wire.


def test_messages_stand_on_the_wire_as_they_always_did() -> None:
    asked = wire.PullRequest("us", {7: 3}, ["us", "ap"], 500, 2, "eu", [9])
    assert wire.encode(asked).hex() == (
        "87a6726567696f6ea27573a6766563746f72810703a664697265637492a27573a26170a7776169745f6d73cd01f4"
        "a565706f636802a77072696d617279a26575a46f70656e9109"
    )
    answer = wire.PullAnswer(
        "eu", "c", 2, "eu", 1.5, 0.25, [wire.Origin(7, "eu", "n", None)],
        [Pulled(7, 4, b"\x01", b"\x90"), Pulled(8, 1, b"")], {7: 2}, [9], False, 3,
        wire.Chosen("eu", ["eu", "us"], "primary"),
    )  # fmt: skip
    assert wire.encode(answer).hex() == (
        "8da6726567696f6ea26575a7636c7573746572a163a565706f636802a77072696d617279a26575a8636c6f636b5f"
        "6d73cb3ff8000000000000a97761697465645f6d73cb3fd0000000000000a76f726967696e739184a66f72696769"
        "6e07a6726567696f6ea26575a46e6f6465a16ea46c617374c0a7626174636865739294070"
        "4c40101c4019094080"
        "1c400c400a56c61636b73810702a4676f6e659109a669735f616c6cc2a46d6f726503"
        "a663686f73656e83a77072696d617279a26575a56e616d657392a26575a27573a46d6f6465a77072696d617279"
    )
    assert wire.decode(wire.encode(answer), wire.PullAnswer) == answer
    promise = wire.PromiseRequest(3, "us")
    assert wire.encode(promise).hex() == (
        "84a565706f636803a77072696d617279a27573a474616b65c2a56e616d657390"
    )
    wait = wire.AwaitRequest({7: 4}, 500)
    assert wire.encode(wait).hex() == "82a677616e746564810704a7776169745f6d73cd01f4"
    known = wire.AwaitAnswer({7: 4}, "us")
    assert wire.encode(known).hex() == "82a6766563746f72810704a6726567696f6ea27573"


def test_a_newer_region_may_say_more() -> None:
    body = msgspec.msgpack.encode({"vector": {7: 3}, "region": "us", "unheard": [1]})
    assert wire.decode(body, wire.AwaitAnswer) == wire.AwaitAnswer({7: 3}, "us")


@pytest.mark.parametrize(
    ("kind", "content"),
    [
        (wire.AwaitRequest, {"wanted": {0: 1}, "wait_ms": 0}),
        (wire.AwaitRequest, {"wanted": {2**63: 1}, "wait_ms": 0}),
        (wire.AwaitRequest, {"wanted": {1: -1}, "wait_ms": 0}),
        (wire.AwaitAnswer, {"vector": {1: "1"}, "region": "us"}),
        (wire.AwaitAnswer, {"vector": {1: 1}}),
        (wire.PromiseRequest, {"epoch": 1, "primary": ""}),
        (wire.PromiseRequest, {"epoch": 1, "primary": "x" * 64}),
    ],
)
def test_what_is_no_message_is_a_value_error(kind: Any, content: dict[str, Any]) -> None:
    with pytest.raises(msgspec.ValidationError):
        wire.decode(msgspec.msgpack.encode(content), kind)


# Levels.


def test_levels_are_read_and_written() -> None:
    for text in ("local", "quorum", "all", "any(1)", "any(12)"):
        assert str(parse(text)) == text
    for text in ("", "any", "any(0)", "any(-1)", "any(1.5)", "any(100)", "ALL", "any(1) ", "2"):
        with pytest.raises(WrongLevelError, match="allowed is local"):
            parse(text)


@pytest.mark.parametrize(
    ("regions", "needed"),
    [(1, (1, 1, 1)), (2, (1, 2, 2)), (3, (1, 2, 3)), (4, (1, 3, 4)), (5, (1, 3, 5))],
)
def test_levels_need_as_many_regions_as_they_say(regions: int, needed: tuple[int, ...]) -> None:
    levels = (parse("local"), parse("quorum"), parse("all"))
    assert tuple(level.needed(regions) for level in levels) == needed
    assert Level("any", regions).needed(regions) == regions
    with pytest.raises(WrongLevelError, match="more than"):
        Level("any", regions + 1).needed(regions)


@given(st.integers(1, 16), st.data())
def test_what_is_achieved_is_never_more_than_is_durable(regions: int, data: st.DataObject) -> None:
    durable = data.draw(st.integers(1, regions))
    level = parse(achieved(regions, durable))
    assert level.needed(regions) <= durable
    # And nothing that is reached is left unsaid.
    assert (level.kind == "all") == (durable == regions)
    assert (level.kind in {"quorum", "all"}) == (durable >= quorum(regions))


@given(st.integers(1, 9))
def test_any_two_quorums_share_a_region(regions: int) -> None:
    for one in itertools.combinations(range(regions), quorum(regions)):
        rest = set(range(regions)) - set(one)
        assert len(rest) < quorum(regions)


# Leases and epochs.

# Whole seconds, which floats add exactly.
TIMES = st.integers(0, 100_000).map(float)


@given(st.data(), st.integers(3, 7))
def test_no_lease_outlives_a_majority_that_promised(data: st.DataObject, regions: int) -> None:
    sent = [data.draw(st.none() | TIMES) for _ in range(regions - 1)]
    until = lease_end(sent, 10.0, 1e6, runs=data.draw(st.booleans()))
    assume(until is not None)
    assert until is not None
    # Others promise to a newer primary, each after the last request that it answered with the old.
    promising = data.draw(st.permutations(range(regions - 1)))[: quorum(regions)]
    assume(len(promising) >= quorum(regions))
    promised = [
        data.draw(TIMES) if (ms := sent[index]) is None else ms + data.draw(TIMES)
        for index in promising
    ]
    assert until - 10 <= max(promised)


@given(st.lists(st.none() | TIMES, min_size=2, max_size=6))
def test_leases_need_a_majority_and_no_more(sent: list[float | None]) -> None:
    known = [ms for ms in sent if ms is not None]
    until = lease_end(sent, 1.0, 1e6, runs=True)
    assert (until is not None) == (len(known) + 1 >= quorum(len(sent) + 1))
    if until is not None:
        newer = [ms for ms in known if ms >= until - 1]
        assert len(newer) + 1 >= quorum(len(sent) + 1)


def test_two_regions_have_no_majority_to_lose() -> None:
    """A lease goes on without the other one, and begins only with it. One alone needs none."""
    assert lease_end([None], 10.0, 50.0, runs=True) == 60.0
    assert lease_end([None], 10.0, 50.0, runs=False) is None
    assert lease_end([7.0], 10.0, 50.0, runs=False) == 60.0
    assert lease_end([], 10.0, 50.0, runs=False) == math.inf


# Vectors.


@given(st.lists(VECTORS, max_size=4), VECTORS)
def test_unions_have_all_and_lack_nothing(
    vectors: list[dict[int, int]], one: dict[int, int]
) -> None:
    both = union([*vectors, one])
    for vector in [*vectors, one]:
        assert lack(both, vector) == 0
    assert all(any(v.get(o) == n for v in [*vectors, one]) for o, n in both.items())
    assert lack({}, one) == sum(one.values())


@given(VECTORS, st.lists(VECTORS, max_size=3))
def test_stable_is_what_every_region_has(own: dict[int, int], others: list[dict[int, int]]) -> None:
    stable = stable_of(own, others)
    assert stable is not None
    for vector in [own, *others]:
        assert all(vector.get(origin, 0) >= number for origin, number in stable.items())
    for origin in own:
        least = min(vector.get(origin, 0) for vector in [own, *others])
        assert stable.get(origin, 0) == least
    assert stable_of(own, [*others, None]) is None


def test_what_is_stable_counts_only_after_a_while() -> None:
    settled = Settled()
    settled.note(0.0, {1: 1})
    settled.note(1.0, {1: 2})
    assert settled.vector() == {}
    settled.note(SETTLED_SECONDS, {1: 9})
    assert settled.vector() == {1: 1}
    settled.note(SETTLED_SECONDS + 3.0, {})
    assert settled.vector() == {1: 2}


def test_what_is_owed_is_overdue_when_nothing_comes(monkeypatch: pytest.MonkeyPatch) -> None:
    now, has = [0.0], {7: 1}
    monkeypatch.setattr("rankwire.sync.regions.puller.monotonic", lambda: now[0])
    owed = Owed(lambda origin: has.get(origin, 0))
    pointers = [Pulled(7, 3, b"")]
    assert not owed.is_overdue(pointers)
    now[0] += PATIENCE_SECONDS + 0.1
    has[7] = 2
    assert not owed.is_overdue(pointers)
    now[0] += PATIENCE_SECONDS + 0.1
    assert owed.is_overdue(pointers)
    has[7] = 3
    assert not owed.is_overdue(pointers)
    assert not owed.is_overdue([])


# Tokens.


def test_token_stays_as_it_is() -> None:
    token = encode_token({2**63 - 1: 2**62, 7: 300})
    assert token == "AYIHzQEsz3__________z0AAAAAAAAAA"
    assert decode_token(token) == {7: 300, 2**63 - 1: 2**62}


@given(st.dictionaries(st.integers(1, 2**63 - 1), st.integers(0, 2**63 - 1), max_size=MOST_ENTRIES))
def test_tokens_remember_vectors(vector: dict[int, int]) -> None:
    token = encode_token(vector)
    assert decode_token(token) == vector
    assert token.isascii()
    assert len(token) <= 4096
    assert encode_token(dict(reversed(vector.items()))) == token


@pytest.mark.parametrize(
    "token", ["", "new ", "AY", "AoA", "AYEA", "é", "A" * 5000, "AYEHzQEs!", "AQ==", "AYEAAQ"]
)
def test_what_is_no_token_is_refused(token: str) -> None:
    with pytest.raises(WrongTokenError, match="none"):
        decode_token(token)


def test_token_has_a_limit() -> None:
    with pytest.raises(NotThereYetError, match="too far apart"):
        encode_token(dict.fromkeys(range(1, MOST_ENTRIES + 2), 1))


@given(VECTORS, VECTORS, VECTORS)
def test_session_remembers_all_but_what_all_have(
    token: dict[int, int], has: dict[int, int], stable: dict[int, int]
) -> None:
    seen = merge(token, has, stable)
    for origin in token.keys() | has.keys():
        most = max(token.get(origin, 0), has.get(origin, 0))
        assert seen.get(origin, 0) == (most if most > stable.get(origin, 0) else 0)


# The clock.


@given(
    st.floats(0, 1e6),
    st.floats(0, 5),
    st.floats(0, 5),
    st.floats(-1e9, 1e12),
)
def test_clock_is_right_within_its_error(
    asked: float, there: float, back: float, ahead: float
) -> None:
    clock = Clock()
    answered = asked + there + back
    clock.set((asked + there) * 1000 + ahead, asked, answered)
    error = abs(clock.at(answered) - (answered * 1000 + ahead))
    assert error <= clock.error_ms + 1


def test_slow_reading_of_the_clock_neither_counts_nor_lengthens_anything() -> None:
    """Its middle may be far from when the clock was read."""
    clock = Clock()
    clock.set(1_000_000.0, 100.0, 100.002)
    assert clock.not_after(100.002) <= 1_000_000.0 <= clock.at(100.002)
    # Read at the beginning of four seconds: its middle is two seconds too early.
    clock.set(1_001_000.0, 101.0, 105.0)
    assert abs(clock.at(105.0) - 1_005_000.0) < 10
    alone = Clock()
    alone.set(1_001_000.0, 101.0, 105.0)
    assert alone.at(105.0) == 1_003_000.0
    late = Clock()
    late.set(1_005_000.0, 101.0, 105.0)
    assert late.at(105.0) > 1_005_000.0 >= late.not_after(105.0)


def test_clock_that_was_never_read_is_not_known() -> None:
    clock = Clock()
    assert not clock.is_known
    with pytest.raises(RuntimeError):
        clock.now()
