"""A board that was deleted does not come back, in whatever order nodes hear of each other."""

from __future__ import annotations

from rankwire import _core

_CONFIG = ("int64", "desc", "best", "first")


def _node(origin: int) -> _core.Engine:
    return _core.Recovery([]).finish(origin, 100_000, 1000, shared=True)


def _commit(engine: _core.Engine, ticket: int) -> tuple[int, int, bytes]:
    """Commit a write, alone, as if the storage had taken it, and give the batch."""
    sealed = engine.seal(0.0)
    assert sealed is not None
    batch = engine.origin, sealed.number, sealed.bytes
    ((answered, value),) = sealed.commit()
    assert answered == ticket
    assert not isinstance(value, _core.RankwireError)
    return batch


def test_a_name_is_not_handed_back_to_a_board_that_was_deleted() -> None:
    """A node is killed between a commit and telling of it; its next run uses the name again."""
    killed, again, other = _node(1), _node(2), _node(3)
    created = _commit(killed, killed.create_board("x", *_CONFIG))
    submitted = _commit(killed, killed.submit("x", "ann", 1))
    deleted = _commit(killed, killed.drop_board("x"))
    assert again.apply([created, submitted, deleted]) == (3, "")
    recreated = _commit(again, again.create_board("x", *_CONFIG))
    assert other.apply([created, submitted]) == (2, "")
    # The one that was created again tells that the end of the one before is missing.
    assert other.apply([recreated]) == (0, "board")
    assert other.apply([deleted, recreated]) == (2, "")
    _commit(other, other.drop_board("x"))
    assert other.vector() == {1: 3, 2: 1, 3: 1}
    assert other.digest()[1] == []
