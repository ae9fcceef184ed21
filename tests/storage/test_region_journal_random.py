"""Journals of three regions under random histories: nothing is lost, doubled or out of order.

The order is judged by what each batch was sealed on: the vector of its engine at that moment.
"""

from __future__ import annotations

import random
from itertools import count
from typing import Final

import pytest

from fix_postgres_node import Node
from fix_region_journal import Place

_BOARDS: Final = ("a", "b", "c")


class _History:
    """Regions that do one random thing after the other."""

    def __init__(self, places: list[Place], seed: int) -> None:
        self.places = places
        self._random = random.Random(seed)
        self._names = count()
        self._seen: dict[tuple[int, int], dict[int, int]] = {}
        """What each batch was sealed on."""
        self._boards: list[str] = []
        for _ in range(3):
            self._create()

    def step(self) -> None:
        chance = self._random
        place = chance.choice(self.places)
        index = chance.randrange(len(place.nodes))
        node = place.nodes[index]
        match chance.randrange(24):
            case 0:
                node.storage.close()
                place.nodes[index] = place.start()
            case 1 if len(place.nodes) < 3:
                place.nodes.append(place.start())
            case 2:
                self._create()
            case 3:
                self._drop()
            case 4 | 5:
                node.checkpoint()
                node.storage.tidy()
            case 6 | 7 | 8:
                node.catch_up()
            case 9 | 10 | 11 | 12 | 13:
                self.pull(place)
            case _:
                self._write(node)

    def pull(self, place: Place) -> int:
        """Pull from some other, which sends the third's batches or pointers to them."""
        peer = self._random.choice([each for each in self.places if each is not place])
        direct = self._random.choice([None, [place.name], [e.name for e in self.places]])
        if direct is not None and peer.name in direct:
            direct.remove(peer.name)
        done = place.pull(peer, direct)
        self.judge(place)
        return done

    def judge(self, place: Place) -> None:
        """Every batch stands behind what it was sealed on, in order and once."""
        reached: dict[int, int] = {}
        for origin, number, _ in place.batches:
            assert number == reached.get(origin, 0) + 1
            for other, last in self._seen[origin, number].items():
                assert other == origin or reached.get(other, 0) >= last
            reached[origin] = number
        assert place.journal.vector() == reached

    def _create(self) -> None:
        # Names are given in one region only.
        node = self.places[0].nodes[0]
        name = f"board-{next(self._names)}"
        policy = self._random.choice(["best", "last", "sum"])
        node.engine.create_board(name, "int64", "desc", policy, "first")
        self._commit(node)
        self._boards.append(name)

    def _drop(self) -> None:
        if len(self._boards) > 2:
            name = self._boards.pop(self._random.randrange(len(self._boards)))
            node = self.places[0].nodes[0]
            node.catch_up()
            node.engine.drop_board(name)
            self._commit(node)

    def _write(self, node: Node) -> None:
        board = self._random.choice(self._boards)
        member = f"m{self._random.randrange(8)}"
        if self._random.randrange(3) == 0:
            node.engine.remove_member(board, member)
        else:
            node.engine.submit(board, member, self._random.randrange(-50, 50))
        self._commit(node)

    def _commit(self, node: Node) -> None:
        before = {origin: last for origin, last in node.engine.vector().items() if last}
        number = node.engine.last()
        node.commit()
        if node.engine.last() > number:
            self._seen[node.engine.origin, number + 1] = before


@pytest.mark.parametrize("seed", range(3))
def test_journals_become_the_same_and_stay_in_order(
    places: list[Place], monkeypatch: pytest.MonkeyPatch, seed: int
) -> None:
    monkeypatch.setattr("rankwire.storage.region_journal._BATCHES", 4)
    monkeypatch.setattr("rankwire.storage.region_journal._BYTES", 400)
    history = _History(places, seed)
    for _ in range(150):
        history.step()
    idle = 0
    while idle < 40:
        idle = 0 if sum(history.pull(place) for place in places) else idle + 1
    first, *others = places
    vector = first.journal.vector()
    assert [other.journal.vector() for other in others] == [vector] * 2
    assert {*first.batches} == {*others[0].batches} == {*others[1].batches}
    boards = first.recovered
    assert [other.recovered for other in others] == [boards] * 2
    names = sorted(first.sql("SELECT name, board FROM names"))
    assert names == sorted((name, board) for board, name, *_ in boards)
    assert [sorted(other.sql("SELECT name, board FROM names")) for other in others] == [names] * 2
    for place in places:
        for node in place.nodes:
            node.catch_up()
            assert node.boards == boards
