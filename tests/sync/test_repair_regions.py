"""Which of different sums is the true one, what fails, and when regions are compared."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence

import msgspec
import pytest

from fix_compared import (
    Journal,
    Region,
    assert_same,
    changed,
    counts,
    filled,
    signed,
    states_of,
    verified,
)
from fix_server import until
from rankwire import _core
from rankwire.sync.regions.compare_wire import (
    Repair,
    RepairRequest,
    State,
)
from rankwire.sync.regions.errors import TooManyError
from rankwire.sync.regions.repairing import truth
from rankwire.sync.regions.verify import AlreadyRunningError, Verifier


@pytest.fixture
def eu() -> Region:
    return Region.new("eu", 1, Journal())


# Sums.


async def test_of_three_regions_the_majority_holds_the_true_sum(eu: Region) -> None:
    eu.create("b", "sum")
    eu.submit("b", {"ann": 10, "bob": 20, "cyd": 30})
    us = eu.copy("us", 2, {"b": changed(ann=(signed(5), 1, 0), bob=None)})
    ap = eu.copy("ap", 3, {"b": changed(cyd=(signed(6), 1, 0))})
    # Whoever compares, also the one that is wrong, and whoever is the primary.
    report = await verified(us, eu, ap, primary="us")
    assert report.failed == 0
    report = await verified(ap, eu, us, primary="ap")
    assert report.failed == 0
    expected = {"ann": 10, "bob": 20, "cyd": 30}
    assert us.shown("b") == ap.shown("b") == eu.shown("b") == expected
    assert (await verified(eu, us, ap)).found == 0


@pytest.mark.parametrize("order", [("us", "ap"), ("ap", "us")])
async def test_one_repair_gives_all_regions_the_latest_time(
    eu: Region, order: tuple[str, str]
) -> None:
    eu.create("b", "sum")
    eu.submit("b", {"ann": 10})
    ((code, stamp),) = states_of(eu, "b", "ann")
    others = {
        "us": eu.copy("us", 2, {}),
        "ap": eu.copy("ap", 3, {"b": changed(ann=(signed(code - 3), stamp + 9, 0))}),
    }
    report = await verified(eu, *(others[name] for name in order))
    assert counts(report) == (1, 1, 0, 0)
    assert_same(eu, *others.values())
    assert eu.shown("b") == {"ann": 10}


async def test_a_region_beside_that_cannot_be_repaired_is_told(eu: Region) -> None:
    eu.create("b", "sum")
    eu.submit("b", {"ann": 10})
    ((code, stamp),) = states_of(eu, "b", "ann")
    us = eu.copy("us", 2, {})
    ap = eu.copy("ap", 3, {"b": changed(ann=(signed(code), stamp + 9, 0))})

    async def refuse(_: bytes) -> bytes:
        raise _core.BusyError("too many writes wait", None, None)

    us.handlers["repair"] = refuse
    report = await verified(eu, us, ap)
    assert counts(report) == (1, 0, 1, 0)
    assert "too many writes wait" in report.peers[1].boards[0].samples[0].outcome


@pytest.mark.parametrize(("options", "true"), [({"primary": "us"}, 11), ({"source": "eu"}, 10)])
async def test_of_two_regions_the_primary_or_the_source_holds_the_true_sum(
    eu: Region, options: dict[str, str], true: int
) -> None:
    eu.create("b", "sum")
    eu.submit("b", {"ann": 10})
    ((code, stamp),) = states_of(eu, "b", "ann")
    us = eu.copy("us", 2, {"b": changed(ann=(signed(code - 1), stamp, 0))})
    report = await verified(eu, us, **({"primary": "us"} | options))
    assert counts(report) == (1, 1, 0, 0)
    assert eu.shown("b") == us.shown("b") == {"ann": true}


async def test_without_a_true_sum_nothing_is_written(eu: Region) -> None:
    eu.create("b", "sum")
    eu.submit("b", {"ann": 10})
    us = eu.copy("us", 2, {"b": changed(ann=None)})
    batches = len(eu.journal.batches)
    report = await verified(eu, us, primary="ap")
    assert counts(report) == (1, 0, 1, 0)
    (sample,) = report.peers[0].boards[0].samples
    assert "name a source" in sample.outcome
    assert len(eu.journal.batches) == batches


async def test_a_vote_about_another_moment_does_not_count(eu: Region) -> None:
    eu.create("b", "sum")
    eu.submit("b", {"ann": 10})
    ((code, stamp),) = states_of(eu, "b", "ann")
    us = eu.copy("us", 2, {"b": changed(ann=(signed(code - 1), stamp, 0))})
    ap = eu.copy("ap", 3, {"b": changed(ann=(signed(code - 2), stamp, 0))})
    answer = ap.handlers["states"]
    calls: list[bytes] = []

    async def change_first(body: bytes) -> bytes:
        if not calls:
            eu.submit("b", {"ann": 5})
            ap.pull()
        calls.append(body)
        return await answer(body)

    ap.handlers["states"] = change_first
    report = await verified(eu, us, ap, primary="ap")
    first, second = report.peers
    (sample,) = first.boards[0].samples
    assert "name a source" in sample.outcome
    # With the next region it is settled: what the primary holds.
    assert counts(second) == (1, 1, 0, 0)
    assert eu.shown("b") == ap.shown("b") == {"ann": 17}


def test_truth_is_what_most_hold_after_as_many_removals() -> None:
    def chosen(
        *codes: tuple[int, int | None], regions: int = 3, source: str = "", primary: str = "r0"
    ) -> State | None:
        states = {f"r{i}": State(g, c, 10 + i) for i, (g, c) in enumerate(codes)}
        return truth(states, regions=regions, source=source, primary=primary)

    assert chosen((0, 1), (0, 2), (0, 2)) == State(0, 2, 12)
    assert chosen((0, 1), (0, 2), (0, 2), source="r0") == State(0, 1, 12)
    assert chosen((0, 1), (0, 2), (0, 2), source="r7") is None
    # A removal counts wherever it is known.
    assert chosen((1, 1), (0, 2), (0, 2)) == State(1, 1, 10)
    assert chosen((1, None), (0, 2), (0, 2)) == State(1, None, 0)
    # Two of four, or two regions, are no majority.
    assert chosen((0, 1), (0, 2), (0, 2), (0, 3), regions=4) == State(0, 1, 13)
    # As long as those that were not heard may make one, it is too early to go by the primary.
    assert chosen((0, 1), (0, 2), (0, 2), regions=4) is None
    assert chosen((0, 1), (0, 2)) is None
    assert chosen((0, 1), (0, 2), (0, 3)) == State(0, 1, 12)
    assert chosen((0, 1), (0, 2), regions=2, primary="r1") == State(0, 2, 11)
    assert chosen((0, 1), (0, 2), regions=2, primary="r5") is None
    # Scores that differ in their time only need nobody to choose.
    assert chosen((0, 1), (0, 1), regions=2, primary="r5") == State(0, 1, 11)


def test_a_majority_is_needed_where_nobody_looks() -> None:
    def chosen(*codes: tuple[int, int], regions: int = 3) -> State | None:
        states = {f"r{i}": State(g, c, 10) for i, (g, c) in enumerate(codes)}
        return truth(states, regions=regions, source="", primary="r0", needs_majority=True)

    assert chosen((0, 1), (0, 2), (0, 2)) == State(0, 2, 10)
    assert chosen((0, 1), (0, 1), regions=2) == State(0, 1, 10)
    assert chosen((0, 1), (0, 2), regions=2) is None
    assert chosen((0, 1), (0, 2), (0, 3)) is None
    # Most regions know of no removal.
    assert chosen((1, 1), (0, 2), (0, 2)) is None


# When something fails.


async def test_a_region_that_is_away_does_not_keep_the_others_from_being_compared(
    eu: Region,
) -> None:
    filled(eu)
    us = eu.copy("us", 2, {"b": changed(m1=None)})
    ap = eu.copy("ap", 3, {"b": changed(m2=None)})
    us.is_away = True
    report = await verified(eu, us, ap)
    away, compared = report.peers
    assert away.trouble is not None
    assert "it is away" in away.trouble
    assert counts(compared) == (1, 1, 0, 0)
    assert not report.is_equal


async def test_a_repair_that_another_region_refuses_is_told(eu: Region) -> None:
    filled(eu)
    us = eu.copy("us", 2, {"b": changed(ghost=(-3, 9, 0))})
    eu.reads_journal = False

    async def refuse(_: bytes) -> bytes:
        raise _core.BusyError("too many writes wait", None, None)

    us.handlers["repair"] = refuse
    # What this region lacks it gets all the same; what the other one lacks it does not.
    report = await verified(eu, us)
    assert counts(report) == (1, 1, 0, 0)
    ap = eu.copy("ap", 3, {"b": changed(m3=None)})
    ap.handlers["repair"] = refuse
    ap.reads_journal = False
    report = await verified(eu, ap)
    assert counts(report) == (1, 0, 1, 0)
    assert "too many writes wait" in report.peers[0].boards[0].samples[0].outcome


async def test_a_repair_twice_is_as_good_as_once(eu: Region) -> None:
    eu.create("b", "sum")
    eu.submit("b", {"ann": 10})
    us = eu.copy("us", 2, {"b": changed(ann=None)})
    repair, bodies = us.handlers["repair"], []

    async def twice(body: bytes) -> bytes:
        bodies.append(await repair(body))
        bodies.append(await repair(body))
        return bodies[0]

    us.handlers["repair"] = twice
    await verified(eu, us)
    assert [msgspec.msgpack.decode(body)["repaired"] for body in bodies] == [1, 0]
    assert us.shown("b") == {"ann": 10}


async def test_wrong_questions_are_refused(eu: Region) -> None:
    for handler in eu.handlers.values():
        with pytest.raises(msgspec.MsgspecError):
            await handler(b"\xc1")
    wrong = msgspec.msgpack.encode({"asks": b"\xff" * 9})
    with pytest.raises(_core.InvalidError, match="unknown kind of question"):
        await eu.handlers["outline"](wrong)
    zero = State(0)
    away = RepairRequest(7, "away", [Repair("ann", zero, zero)])
    with pytest.raises(_core.NotFoundError):
        await eu.handlers["repair"](msgspec.msgpack.encode(away))
    eu.engine.close()
    with pytest.raises(_core.UnavailableError):
        await eu.handlers["repair"](msgspec.msgpack.encode(away))
    too_many = {"board": 1, "members": ["m"] * 1_001, "vector": {}}
    with pytest.raises(msgspec.ValidationError):
        await eu.handlers["states"](msgspec.msgpack.encode(too_many))


async def test_questions_that_wait_are_bounded(eu: Region, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("rankwire.sync.regions.verify._MOST_WAITING", 1)
    ahead = msgspec.msgpack.encode({"board": 1, "members": [], "vector": {9: 9}, "wait_ms": 5_000})
    now = msgspec.msgpack.encode({"board": 1, "members": [], "vector": {}})
    waits = asyncio.ensure_future(eu.handlers["states"](ahead))
    await asyncio.sleep(0)
    with pytest.raises(TooManyError):
        await eu.handlers["states"](now)
    waits.cancel()
    with pytest.raises(asyncio.CancelledError):
        await waits
    assert await eu.handlers["states"](now)


# The verifier.


def verifier(here: Region, others: Sequence[Region], seconds: float = 0.0) -> Verifier:
    peers = {other.name: other for other in others}
    return Verifier(here.local, here.name, lambda: peers, lambda: here.name, seconds, lambda: True)


async def test_one_comparison_runs_at_a_time_and_goes_on_alone(eu: Region) -> None:
    filled(eu)
    us = eu.copy("us", 2, {"b": changed(m1=None)})
    one = verifier(eu, [us])
    assert set(one.figures().values()) == {None}
    waiting = asyncio.create_task(one.run(["b"], repair=True))
    await asyncio.sleep(0)
    assert one.progress is not None or one.last is None
    with pytest.raises(AlreadyRunningError):
        await one.run()
    waiting.cancel()
    await asyncio.to_thread(until, lambda: not one.progress and bool(one.last), "the end")
    assert one.last is not None
    assert counts(one.last) == (1, 1, 0, 0)
    # Some boards are not the region.
    assert set(one.figures().values()) == {None}
    with pytest.raises(ValueError, match="no region"):
        await one.run(source="mars")
    with pytest.raises(_core.NotFoundError):
        await one.run(["nothing"])
    await one.stop()


async def test_figures_are_of_whole_comparisons_of_the_node_that_leads(eu: Region) -> None:
    filled(eu)
    us = eu.copy("us", 2, {"b": changed(m1=None)})
    peers = {"us": us}
    leads = [True]
    one = Verifier(eu.local, "eu", lambda: peers, lambda: "eu", 0.0, lambda: leads[0])
    us.is_away = True
    await one.run()
    figures = one.figures()
    assert (figures["verify_found"], figures["verify_at"]) == (0, None)
    us.is_away = False
    await one.run()
    assert one.figures()["verify_at"] is not None
    await one.run(["b"], repair=True)
    figures = one.figures()
    assert (figures["verify_found"], figures["verify_resolved"]) == (1, 0)
    leads[0] = False
    assert set(one.figures().values()) == {None}
    await one.stop()


async def test_the_schedule_leaves_a_sum_alone_that_most_do_not_hold(eu: Region) -> None:
    eu.create("b", "sum")
    eu.submit("b", {"ann": 10})
    us = eu.copy("us", 2, {"b": changed(ann=None)})
    one = verifier(eu, [us], seconds=0.01)
    one.start()
    await asyncio.to_thread(until, lambda: one.last is not None, "a comparison")
    await one.stop()
    assert one.last is not None
    assert counts(one.last) == (1, 0, 1, 0)
    assert us.shown("b") == {}
    # Asked to, it goes by the primary.
    assert counts(await one.run(repair=True)) == (1, 1, 0, 0)
    assert us.shown("b") == {"ann": 10}


async def test_the_schedule_repairs_by_itself(eu: Region) -> None:
    filled(eu)
    us = eu.copy("us", 2, {"b": changed(m1=None)})
    one = verifier(eu, [us], seconds=0.01)
    one.start()
    await asyncio.to_thread(until, lambda: us.shown("b") == eu.shown("b"), "the repair")
    await one.stop()
