"""What the core gives regions: ids, names of batches, who takes a write, repairs."""

from __future__ import annotations

import json

import pytest

from rankwire import _core

# From another implementation of the hash, as in rust/engine/tests/golden.rs.
_EU = 0x6FB7B9BF8537EDDC
_NOW = 1_800_000_000_000


def _engine(origin: int, region: str) -> _core.Engine:
    engine = _core.Recovery([]).finish(origin, 1000, 10, shared=True, region=region)
    engine.set_time(_NOW)
    return engine


def _commit(engine: _core.Engine) -> tuple[dict[int, object], tuple[int, int, bytes]]:
    sealed = engine.seal(0.0)
    assert sealed is not None
    batch = (engine.origin, sealed.number, sealed.bytes)
    return dict(sealed.commit()), batch


def _code(score: int) -> int:
    """The code of a score where the highest is the best."""
    return ~(score ^ (1 << 63)) & ((1 << 64) - 1)


def test_a_region_has_the_same_id_everywhere() -> None:
    assert _core.region_id("eu") == _EU


def test_a_batch_tells_its_names() -> None:
    engine = _engine(1, "eu")
    engine.create_board("a", "int64", "desc", "sum", "first")
    engine.create_board("b", "int64", "desc", "sum", "first")
    engine.drop_board("b")
    _, batch = _commit(engine)
    kept = engine.board_id("a")
    assert _core.names_of(*batch) == ([("a", kept)], [])
    engine.drop_board("a")
    _, batch = _commit(engine)
    assert _core.names_of(*batch) == ([], [kept])
    with pytest.raises(_core.CorruptError):
        _core.names_of(2, *batch[1:])


def test_writes_of_another_region_are_refused_before_they_are_queued() -> None:
    engine = _engine(1, "eu")
    engine.create_board("a", "int64", "desc", "best", "first")
    _commit(engine)
    engine.set_primary("us", writes=True, names=False)
    engine.submit("a", "ann", 1)
    with pytest.raises(_core.NotPrimaryError, match='"us"') as refused:
        engine.drop_board("a")
    assert refused.value.args[1:] == (None, None)
    engine.set_primary(None, writes=False, names=False)
    with pytest.raises(_core.NotPrimaryError, match="none is known"):
        engine.submit("a", "ann", 1)
    assert engine.stats()["pending_ops"] == 1


def test_a_fenced_batch_is_answered_with_the_primary() -> None:
    engine = _engine(1, "eu")
    ticket = engine.create_board("a", "int64", "desc", "best", "first")
    sealed = engine.seal(0.0)
    assert sealed is not None
    engine.set_primary("us", writes=True, names=False)
    ((told, error),) = sealed.abort_not_primary()
    assert told == ticket
    assert isinstance(error, _core.NotPrimaryError)
    assert engine.last() == 0


def test_a_repair_of_a_sum_counts_in_its_region_only() -> None:
    here, beside, there = _engine(1, "eu"), _engine(2, "eu"), _engine(3, "us")
    here.create_board("a", "int64", "desc", "sum", "first")
    here.submit("a", "ann", 5, at_ms=_NOW)
    _, first = _commit(here)
    stamp = _NOW + 62_135_596_800_000 << 16
    seen, given = (0, _code(5), stamp), (0, _code(8), stamp)
    life = here.board_id("a")
    ticket = here.repair("a", life, [("ann", seen, given), ("bob", (0, None, 0), (0, None, 0))])
    sealed = here.seal(0.0)
    assert sealed is not None
    assert sealed.is_repair
    fix = (1, sealed.number, sealed.bytes)
    answers = dict(sealed.commit())
    assert json.loads(answers[ticket]) == {"repaired": 1, "moved": 0, "same": 1}  # type: ignore[arg-type]
    assert here.last() == 2
    for engine in (beside, there):
        assert engine.apply([first, fix]) == (2, "")
    scores = [json.loads(e.standing("a", "ann"))["score"] for e in (here, beside, there)]
    assert scores == [8, 8, 5]
    (record,) = _core.records(*fix)
    assert record == {
        "type": "fix",
        "board": life,
        "member": "ann",
        "bits": 3,
        "stamp_ms": _NOW,
        "generation": 0,
        "region": _EU,
    }


def test_a_repair_has_bounds_and_one_life_of_a_board() -> None:
    engine = _engine(1, "eu")
    engine.create_board("a", "int64", "desc", "best", "first")
    _commit(engine)
    nothing = (0, None, 0)
    with pytest.raises(_core.InvalidError, match="at most 10000") as refused:
        engine.repair("a", 1, [("ann", nothing, nothing)] * 10_001)
    assert refused.value.args[1] == "items"
    ticket = engine.repair("a", engine.board_id("a") ^ 1, [])
    answers, _ = _commit(engine)
    assert isinstance(answers[ticket], _core.NotFoundError)
