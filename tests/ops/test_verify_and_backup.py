"""The operator's commands on real servers, of both storages, while they work."""

from __future__ import annotations

import re
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import NamedTuple

import pytest
from click.testing import CliRunner, Result

from fix_engine import boards_sql
from fix_server import NewServer, Server, until
from fix_storage import KINDS, Kind, NewPlace, Place
from rankwire.cli import main


def _run(*words: str, code: int = 0) -> Result:
    done = CliRunner().invoke(main, words)
    assert done.exit_code == code, done.output + done.stderr
    return done


class Running(NamedTuple):
    """A server on a storage."""

    server: Server
    place: Place

    def verify(self, code: int = 0) -> Result:
        """Compare them."""
        return _run("verify", "--server", self.server.url, *self.place.flags, code=code)

    def digest(self) -> object:
        """What the server has, in any order of its life."""
        boards = self.server.get("/v1/digest").json()["boards"]
        return [(board["id"], board["board"], board["total"], board["digest"]) for board in boards]


def _start(new_server: NewServer, place: Place, *flags: str) -> Running:
    more = place.flags if place.kind == "postgres" else []
    server = new_server(*more, *flags, directory=place.settings.path)
    return Running(server.start(), place)


@pytest.fixture
def running(new_server: NewServer, place: Place) -> Running:
    made = _start(new_server, place, "--storage-checkpoint-seconds", "0.2")
    made.server.create("cup")
    made.server.create("sums", policy="sum")
    for number in range(20):
        made.server.submit("cup", f"m{number}", number)
        made.server.submit("sums", f"m{number % 3}", number)
    return made


@contextmanager
def _load(server: Server) -> Iterator[list[int]]:
    """Submit to `load` until the block ends; gives the scores that were acknowledged."""
    server.create("load", policy="last")
    acknowledged: list[int] = []
    stop = threading.Event()

    def submit() -> None:
        number = 0
        while not stop.is_set():
            number += 1
            if server.submit("load", f"m{number % 50}", number).status == 200:
                acknowledged.append(number)

    thread = threading.Thread(target=submit)
    thread.start()
    try:
        until(lambda: len(acknowledged) > 50, "the load")
        yield acknowledged
    finally:
        stop.set()
        thread.join()


def _wait_for_checkpoint(place: Place) -> None:
    query = "SELECT count(*) FROM members JOIN boards ON boards.id = board WHERE name = 'cup'"
    until(lambda: place.boards_sql(query) == [(20,)], "a checkpoint")


def test_a_server_is_what_is_stored(running: Running) -> None:
    done = running.verify()
    assert re.fullmatch(r"No difference: 2 boards with 23 members, \d+ batches\.\n", done.stdout)
    running.server.terminate()
    done = _run("verify", "--offline", *running.place.flags)
    assert "No difference: 2 boards with 23 members, 42 batches." in done.stdout
    assert "replaying the whole journal from nothing" in done.stdout


def test_it_can_be_verified_under_load(running: Running) -> None:
    with _load(running.server) as acknowledged:
        for _ in range(3):
            before = len(acknowledged)
            running.verify()
            until(lambda before=before: len(acknowledged) > before + 20, "more load")  # type: ignore[misc]


def test_a_changed_row_is_shown(running: Running) -> None:
    _wait_for_checkpoint(running.place)
    running.place.boards_sql("UPDATE members SET code = code - 1 WHERE member = 'm7'")
    done = running.verify(code=1)
    assert "cup: 20 members" in done.stdout
    assert "sums" not in done.stdout
    assert "1 differences in 2 boards" in done.stdout


def test_a_deleted_batch_is_shown(new_server: NewServer, place: Place) -> None:
    running = _start(new_server, place, "--storage-checkpoint-seconds", "3600")
    running.server.create("cup")
    running.server.submit("cup", "ann", 1)
    running.server.submit("cup", "ann", 2)
    place.journal_sql("DELETE FROM journal WHERE number = 2")
    assert "missing" in running.verify(code=1).stdout


def test_a_server_on_another_storage_is_told_apart(
    running: Running, new_place: NewPlace, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("rankwire.storage.proof.PAUSE_SECONDS", 0)
    other = new_place("sqlite")
    with other.open() as node:
        node.create("b")
        node.checkpoint()
    done = _run("verify", "--server", running.server.url, *other.flags, code=1)
    assert "is it this storage's?" in done.stderr


def test_verify_says_what_is_not_there(running: Running, tmp_path: Path) -> None:
    done = _run("verify", "--server", "http://127.0.0.1:1", *running.place.flags, code=1)
    assert "the server gives no digest: no server at" in done.stderr
    done = _run("verify", "--offline", "--storage-path", str(tmp_path / "none"), code=1)
    assert f"there is no storage in {tmp_path / 'none'}" in done.stderr
    assert not (tmp_path / "none").exists()


def test_a_key_for_digests_needs_the_scope(new_server: NewServer, new_place: NewPlace) -> None:
    place = new_place("sqlite")
    with place.open():
        pass
    keys = {
        scope: _run("keys", "create", "--name", "x", "--scope", scope, *place.flags).stdout.strip()
        for scope in ("operator", "admin")
    }
    running = _start(new_server, place, "--auth-mode", "keys")
    words = ["verify", "--server", running.server.url, *place.flags, "--key"]
    _run(*words, keys["operator"])
    assert "403" in _run(*words, keys["admin"], code=1).stderr


@pytest.mark.parametrize("target", KINDS)
def test_a_backup_moves_a_server(
    running: Running, new_server: NewServer, new_place: NewPlace, target: Kind, tmp_path: Path
) -> None:
    file = tmp_path / "boards.rwb"
    done = _run("backup", str(file), *running.place.flags)
    assert re.match(rf"{file}: a checkpoint of \d boards with \d+ rows of members, ", done.stdout)
    place = new_place(target)
    done = _run("restore", str(file), *place.flags)
    assert "Restored 2 boards: " in done.stdout
    moved = _start(new_server, place)
    assert moved.digest() == running.digest()
    moved.verify()
    assert moved.server.submit("sums", "m0", 1).status == 200
    moved.verify()


def test_a_backup_under_load_has_all_that_was_acknowledged(
    running: Running, new_server: NewServer, new_place: NewPlace, tmp_path: Path
) -> None:
    other = new_place("sqlite" if running.place.kind == "postgres" else "postgres")
    with _load(running.server) as acknowledged:
        before = acknowledged[-1]
        _run("backup", str(tmp_path / "b"), *running.place.flags)
        after = len(acknowledged)
    _run("restore", str(tmp_path / "b"), *other.flags)
    scores = _start(new_server, other).server.scores("load")
    # The last score that each of fifty members got up to some moment: that of the backup.
    newest = int(max(scores.values()))
    expected = {f"m{number % 50}": number for number in range(newest - 49, newest + 1)}
    assert scores == expected
    assert (
        before <= newest <= acknowledged[after] if after < len(acknowledged) else before <= newest
    )


def test_files_that_cannot_be_restored_change_nothing(
    running: Running, new_place: NewPlace, tmp_path: Path
) -> None:
    file = tmp_path / "b"
    _run("backup", str(file), *running.place.flags)
    content = file.read_bytes()
    for name, damaged, words in (
        ("cut", content[:-40], "is damaged: it ends too early"),
        ("flipped", content[:100] + b"\0" + content[101:], "is damaged"),
        ("foreign", b"SQLite format 3\0" * 9, "is not a backup of Rankwire"),
        ("newer", content[:19] + b"\3" + content[20:], "has format 3"),
    ):
        (tmp_path / name).write_bytes(damaged)
        place = new_place(running.place.kind)
        done = _run("restore", str(tmp_path / name), *place.flags, code=1)
        assert words in done.stderr
        assert not place.settings.path.exists()
        if place.kind == "postgres":
            assert place.boards_sql("SELECT to_regclass('boards')") == [(None,)]


def test_a_backup_is_not_overwritten_by_accident(running: Running, tmp_path: Path) -> None:
    file = tmp_path / "b"
    file.write_text("mine")
    done = _run("backup", str(file), *running.place.flags, code=1)
    assert "is there already; --force" in done.stderr
    assert file.read_text() == "mine"
    _run("backup", str(file), "--force", *running.place.flags)
    done = _run("backup", str(tmp_path / "no" / "b"), *running.place.flags, code=1)
    assert "cannot write" in done.stderr
    assert {found.name for found in tmp_path.iterdir() if found.is_file()} == {"b"}


def test_a_restore_beside_a_server_is_refused(running: Running, tmp_path: Path) -> None:
    file = tmp_path / "b"
    _run("backup", str(file), *running.place.flags)
    done = _run("restore", str(file), *running.place.flags, code=1)
    assert "uses the storage in" in done.stderr
    running.server.terminate()
    done = _run("restore", str(file), *running.place.flags, code=1)
    assert "is not empty" in done.stderr


def test_float_sums_stay_on_one_node(new_place: NewPlace, tmp_path: Path) -> None:
    place, other = new_place("sqlite"), new_place("postgres")
    with place.open() as node:
        node.create("money", "float64", "desc", "sum", "first")
    _run("backup", str(tmp_path / "b"), *place.flags)
    done = _run("restore", str(tmp_path / "b"), *other.flags, code=1)
    assert "board money adds up float64 scores" in done.stderr
    _run("restore", str(tmp_path / "b"), "--storage-path", str(tmp_path / "new"))
    assert boards_sql(tmp_path / "new", "SELECT count(*) FROM boards") == [(0,)]
