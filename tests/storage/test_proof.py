"""Proofs: what is whole passes, and whatever was changed behind everybody's back is found."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import pytest

from fix_storage import NewPlace, Node, Place, fill
from rankwire.storage import proof
from rankwire.storage.proof import AheadError, Report, State, against
from rankwire.storage.source import open_source


def _against(place: Place, ask: Callable[[], State]) -> Report:
    source = open_source(place.settings)
    try:
        return against(source, ask, lambda *_: None)
    finally:
        source.close()


def _found(report: Report) -> str:
    return "\n".join(f"{d.what}|{d.expected}|{d.found}" for d in report.differences)


@pytest.fixture
def node(place: Place) -> Iterator[Node]:
    """A node with boards in its checkpoint and behind it."""
    with place.open() as opened:
        fill(opened)
        yield opened


def test_what_is_whole_passes(place: Place, node: Node) -> None:
    report = _against(place, lambda: node.state)
    assert (_found(report), report.boards) == ("", 4)
    assert report.members == sum(board.total for board in node.state.boards.values()) > 10
    assert report.batches == 5
    alone = place.offline()
    assert _found(alone) == ""
    assert (alone.boards, alone.members) == (report.boards, report.members)
    assert alone.batches > report.batches
    assert alone.notes == ["replaying the whole journal from nothing gives the same boards"]


def test_what_is_committed_meanwhile_does_not_count(place: Place, node: Node) -> None:
    def ask() -> State:
        asked = node.state
        node.submit("best", "late", 1)
        node.checkpoint()
        node.submit("best", "later", 1)
        return asked

    report = _against(place, ask)
    assert _found(report) == ""
    assert report.batches == 5


def test_what_was_committed_before_the_answer_counts(place: Place, node: Node) -> None:
    def ask() -> State:
        node.submit("best", "late", 1)
        return node.state

    report = _against(place, ask)
    assert (_found(report), report.batches) == ("", 6)


def test_a_server_behind_the_checkpoint_is_asked_again(
    place: Place, node: Node, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(proof, "PAUSE_SECONDS", 0)
    old = node.state
    node.submit("best", "late", 1)
    node.checkpoint()
    answers = [old, old]
    report = _against(place, lambda: answers.pop() if answers else node.state)
    assert _found(report) == ""
    assert answers == []
    with pytest.raises(AheadError, match="is it this storage's"):
        _against(place, lambda: old)


# Damage to what a server loads of a checkpoint.
_CHECKPOINT = {
    "score": "UPDATE members SET code = code - 1 WHERE member = 'bob' AND code IS NOT NULL",
    "time": "UPDATE members SET stamp = stamp + 1 WHERE member = '日本'",
    "member": "UPDATE members SET member = 'eve' WHERE member = 'ann' AND code IS NOT NULL",
    "deleted": "DELETE FROM members WHERE member = '日本'",
    "name": "UPDATE boards SET name = 'other' WHERE name = 'best'",
    "board": "DELETE FROM boards WHERE name = 'last'",
    "ties": "UPDATE boards SET ties = 'nonsense' WHERE name = 'best'",
}


@pytest.mark.parametrize("damage", _CHECKPOINT)
def test_a_changed_checkpoint_is_noticed(place: Place, node: Node, damage: str) -> None:
    place.boards_sql(_CHECKPOINT[damage])
    for report in (_against(place, lambda: node.state), place.offline()):
        assert report.differences
        assert not report.notes


def _numbers(place: Place) -> list[tuple[int, int]]:
    return place.journal_sql("SELECT origin, number FROM journal ORDER BY seq")


@pytest.mark.parametrize("place_from_end", [1, 2, 5])
def test_a_deleted_batch_behind_the_checkpoint_is_noticed(
    place: Place, node: Node, place_from_end: int
) -> None:
    origin, number = _numbers(place)[-place_from_end]
    place.journal_sql("DELETE FROM journal WHERE origin = ? AND number = ?", origin, number)
    report = _against(place, lambda: node.state)
    assert report.differences
    if place_from_end == 1:
        expected = f"journal of origin {origin}|up to batch {number}|{number - 1}"
        assert expected in _found(report)
    else:
        assert "missing" in _found(report)
        assert place.offline().differences


def test_a_deleted_batch_that_is_in_the_checkpoint_is_noticed(place: Place, node: Node) -> None:
    origin, number = _numbers(place)[3]
    place.journal_sql("DELETE FROM journal WHERE origin = ? AND number = ?", origin, number)
    # No server needs it any more.
    assert _found(_against(place, lambda: node.state)) == ""
    assert place.offline().differences


@pytest.mark.parametrize("index", [0, 7, -1, -3])
@pytest.mark.parametrize("byte", [0, 5, -1])
def test_a_flipped_byte_of_a_batch_is_noticed(
    place: Place, node: Node, index: int, byte: int
) -> None:
    origin, number = _numbers(place)[index]
    where = "WHERE origin = ? AND number = ?"
    ((batch,),) = place.journal_sql(f"SELECT batch FROM journal {where}", origin, number)
    changed = bytearray(batch)
    changed[byte] ^= 1
    place.journal_sql(f"UPDATE journal SET batch = ? {where}", bytes(changed), origin, number)
    assert f"batch {number} of origin {origin}|whole|" in _found(place.offline())
    if index < 0:
        assert "checksum" in _found(_against(place, lambda: node.state))


def test_a_journal_whose_beginning_has_expired_is_not_replayed(place: Place, node: Node) -> None:
    (origin, _), *_ = _numbers(place)
    place.journal_sql("DELETE FROM journal WHERE origin = ? AND number < 4", origin)
    report = place.offline()
    assert _found(report) == ""
    assert len(report.notes) == 1
    assert "was not replayed from nothing" in report.notes[0]
    assert node.state.boards


def test_a_hole_behind_an_expired_beginning_is_noticed(place: Place, node: Node) -> None:
    (origin, _), *_ = _numbers(place)
    place.journal_sql("DELETE FROM journal WHERE origin = ? AND number < 4", origin)
    place.journal_sql("DELETE FROM journal WHERE origin = ? AND number = 6", origin)
    found = _found(place.offline())
    if place.kind == "sqlite":
        assert "the journal's row 6 is missing" in found
    else:
        assert found == f"journal of origin {origin}|batch 6|batch 7"
    assert node.state.boards


def test_a_checkpoint_beyond_the_journal_is_noticed(place: Place, node: Node) -> None:
    for origin, number in _numbers(place)[-7:]:
        place.journal_sql("DELETE FROM journal WHERE origin = ? AND number = ?", origin, number)
    assert place.offline().differences
    assert node.state.boards


def test_several_runs_are_proved_together(place: Place, new_place: NewPlace) -> None:
    for number in range(3):
        with place.open() as node:
            node.create(f"b{number}")
            node.submit("b0", "ann", number)
            if number == 1:
                node.checkpoint()
    last = place.state()
    assert len(last.vector) == 3
    report = place.offline()
    assert (_found(report), report.boards, len(report.notes)) == ("", 3, 1)
    assert "replaying" in report.notes[0]
    other = new_place("sqlite")
    with other.open() as empty:
        assert "none" in _found(_against(place, lambda: State(last.vector, empty.state.boards)))


def test_a_batch_that_the_server_does_not_know_is_not_its_fault(place: Place, node: Node) -> None:
    """As on a node that another one is ahead of; and one that is told of too much is told so."""
    asked = node.state
    (origin,) = asked.vector
    wrong = State({**asked.vector, origin: asked.vector[origin] + 1}, asked.boards)
    expected = f"journal of origin {origin}|up to batch {asked.vector[origin] + 1}|"
    assert expected in _found(_against(place, lambda: wrong))
