"""A region whose rows were changed behind its back is found out and made equal again."""

from __future__ import annotations

import json
import secrets
from collections.abc import Iterator
from typing import Final

import pytest
from click.testing import CliRunner, Result

from fix_regions import Region, Regions
from rankwire.cli import main

_POLICIES: Final = ("best", "last", "sum")
_MEMBERS: Final = 50
# Two on each board, and one more.
_FOUND: Final = 7
# Each leaves what a region could have, but does not.
_LOST: Final = "DELETE FROM members WHERE board = %s AND member = %s"
_OTHER: Final = """
UPDATE members SET score = other.score, code = other.code, stamp = other.stamp
FROM members AS other
WHERE members.board = %s AND other.board = members.board
  AND members.member = %s AND other.member = %s
"""


@pytest.fixture
def boards(three: Regions) -> Iterator[dict[str, str]]:
    """A board of each policy, with some members."""
    names = {policy: f"t-{secrets.token_hex(4)}" for policy in _POLICIES}
    server = three["us"].server
    for policy, name in names.items():
        server.create(name, policy=policy)
        body = [{"member": f"m-{number}", "score": 100 + number} for number in range(_MEMBERS)]
        assert server.call("POST", f"/v1/boards/{name}/scores:batch", body).status == 200
    three.until_level()
    yield names
    for name in names.values():
        assert server.call("DELETE", f"/v1/boards/{name}").status == 204


def test_differences_are_found_and_repaired(three: Regions, boards: dict[str, str]) -> None:
    right = _scores(three["eu"], boards)
    ids = {name: _signed(row[0]) for name, row in three["ap"].node.digest()[1].items()}
    assert three["ap"].server.terminate() == 0
    for board in boards.values():
        three["ap"].postgres.sql(_LOST, ids[board], "m-3")
        # It is worse and older than the truth, which wins by whatever rule.
        three["ap"].postgres.sql(_OTHER, ids[board], "m-7", "m-2")
    # A sum is no better for being newer.
    three["ap"].postgres.sql(_OTHER, ids[boards["sum"]], "m-8", "m-9")
    three["ap"].start_all()
    three.until_linked()
    wrong = _scores(three["ap"], boards)
    assert wrong["best"] != right["best"]
    ask = ("--server", three["eu"].server.url)
    found = _run("verify", *ask, *(word for name in boards.values() for word in ("--board", name)))
    assert found.exit_code == 1, found.output
    assert _scores(three["ap"], boards) == wrong, "looking changes nothing"
    assert json.loads(_run("verify", *ask, "--json").stdout)["found"] == _FOUND
    # One pass settles everything everywhere, whoever is compared first.
    done = three["eu"].server.call("POST", "/v1/regions/verify", {"repair": True})
    assert done.status == 200, done.body
    three.until_level()
    for region in three:
        compared = _run("verify", "--server", region.server.url, "--json")
        assert json.loads(compared.stdout)["found"] == 0, compared.output
    repaired = _run("repair", *ask)
    assert repaired.exit_code == 0, repaired.output
    three.until_level()
    assert [_scores(region, boards) for region in three] == [right] * 3
    assert _run("verify", "--server", three["ap"].server.url).exit_code == 0


@pytest.mark.usefixtures("boards")
def test_regions_that_are_level_have_no_difference(three: Regions) -> None:
    found = _run("verify", "--server", three["us"].server.url, "--json")
    assert found.exit_code == 0, found.output
    assert json.loads(found.stdout)["found"] == 0


def _run(*words: str) -> Result:
    return CliRunner().invoke(main, ["regions", *words])


def _scores(region: Region, boards: dict[str, str]) -> dict[str, dict[str, float]]:
    return {policy: region.server.scores(name) for policy, name in boards.items()}


def _signed(identity: str) -> int:
    """A board's id, as the database has it."""
    number = int(identity, 16)
    return number - (1 << 64) if number >> 63 else number
