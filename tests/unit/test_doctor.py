"""What the doctor finds, on directories, databases, ports and limits made for it."""

from __future__ import annotations

import contextlib
import os
import resource
import socket
import sqlite3
import time
from pathlib import Path

import msgspec
import pytest
from click.testing import CliRunner

from rankwire.cli import _checks, main
from rankwire.settings import Auth, Http, Live, Settings, Storage
from rankwire.storage.keys import KEYS_FILE


@pytest.fixture(autouse=True)
def _empty_directory(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)


def statuses(checks: list[_checks.Check]) -> dict[str, str]:
    return {check.name: check.status for check in checks}


def test_a_directory_that_can_be_made_or_written_is_fine(tmp_path: Path) -> None:
    for path in (tmp_path, tmp_path / "new" / "data", Path("relative")):
        found = list(_checks.check_storage(path))
        assert statuses(found)["storage"] == "ok", found
    assert list(tmp_path.iterdir()) == []


def test_a_file_in_the_place_of_the_directory_fails(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    for path in (tmp_path / "file", tmp_path / "file" / "data"):
        found = list(_checks.check_storage(path))
        assert statuses(found) == {"storage": "fail"}
        assert found[0].advice


def make_database(file: Path) -> None:
    with contextlib.closing(sqlite3.connect(file, isolation_level=None)) as database:
        database.execute("CREATE TABLE t (x)")
        database.executemany("INSERT INTO t VALUES (?)", [("x" * 1000,) for _ in range(100)])


def test_databases_are_checked_when_they_are_there(tmp_path: Path) -> None:
    assert set(statuses(list(_checks.check_databases(tmp_path))).values()) == {"ok"}
    for name in _checks.DATABASES:
        make_database(tmp_path / name)
    assert set(statuses(list(_checks.check_databases(tmp_path))).values()) == {"ok"}


def test_a_damaged_database_fails(tmp_path: Path) -> None:
    journal, boards = (tmp_path / name for name in _checks.DATABASES)
    make_database(journal)
    content = bytearray(journal.read_bytes())
    content[4096 * 3 : 4096 * 4] = os.urandom(4096)
    journal.write_bytes(content)
    boards.write_bytes(b"not a database" * 100)
    found = list(_checks.check_databases(tmp_path))
    assert statuses(found) == {journal.name: "fail", boards.name: "fail"}
    assert all(check.advice for check in found)


def test_a_slow_sync_warns() -> None:
    assert _checks.judge_sync([0.001] * 5).status == "ok"
    assert _checks.judge_sync([0.001, 0.5, 0.5]).status == "warn"


def test_a_filling_disk_warns_and_a_full_one_fails() -> None:
    assert _checks.judge_space(2 * _checks.LEAST_FREE_BYTES).status == "ok"
    assert _checks.judge_space(_checks.LEAST_FREE_BYTES - 1).status == "warn"
    assert _checks.judge_space(_checks.FULL_BYTES - 1).status == "fail"


def test_who_may_do_what(tmp_path: Path) -> None:
    (found,) = _checks.check_access(Settings())
    assert (found.status, found.found) == ("ok", "open: everybody may do everything")
    (found,) = _checks.check_access(Settings(http=Http(host="0.0.0.0")))
    assert found.status == "fail"
    assert "rankwire keys create" in found.advice

    path = tmp_path / "data"
    asking = Settings(auth=Auth(mode="keys"), storage=Storage(path=path))
    exposed = msgspec.structs.replace(asking, http=Http(host="0.0.0.0"))
    (found,) = _checks.check_access(asking)
    assert found.found == "keys: 0 API keys; others may do nothing"
    (found,) = _checks.check_access(exposed)
    assert found.status == "fail"
    assert not path.exists()
    create = ["keys", "create", "--name", "x", "--scope", "read", "--storage-path", str(path)]
    assert CliRunner().invoke(main, create).exit_code == 0
    (found,) = _checks.check_access(exposed)
    assert (found.status, found.found) == ("ok", "keys: 1 API keys; others may do nothing")
    (path / KEYS_FILE).write_bytes(b"no database" * 100)
    (found,) = _checks.check_access(asking)
    assert (found.status, found.advice != "") == ("fail", True)


def test_ports_are_free_or_taken() -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken, socket.socket() as silent:
        silent.bind(("127.0.0.1", 0))
        # Answers nothing like a health page: it is no Rankwire.
        taken.settimeout(1)
        settings = Settings(http=Http(port=0), live=Live(port=silent.getsockname()[1]))
        found = list(_checks.check_ports(settings))
        assert statuses(found) == {"http.port": "ok", "live.port": "fail"}
        assert "Address already in use" in found[1].found


def test_an_address_of_another_machine_fails() -> None:
    found = list(_checks.check_ports(Settings(http=Http(host="192.0.2.1"))))
    assert found[0].status == "fail"
    assert "http.host" in found[0].advice


def test_watchers_need_open_files() -> None:
    soft, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
    assert next(_checks.check_files(1)).status == "ok"
    warning = next(_checks.check_files(soft))
    assert warning.status == "warn"
    assert f"LimitNOFILE={soft + _checks.OTHER_FILES}" in warning.advice


def test_a_clock_behind_the_data_fails(tmp_path: Path) -> None:
    assert next(_checks.check_clock(tmp_path)).status == "ok"
    file = tmp_path / _checks.DATABASES[0]
    file.touch()
    tomorrow = time.time() + 86_400
    os.utime(file, (tomorrow, tomorrow))
    assert next(_checks.check_clock(tmp_path)).status == "fail"


def test_wrong_settings_fail_and_leave_the_rest_out() -> None:
    done = CliRunner().invoke(main, ["doctor", "--json", "--http-port", "x"])
    assert done.exit_code == 1
    answer = msgspec.json.decode(done.stdout)
    assert not answer["ok"]
    assert answer["checks"][-1]["name"] == "settings"
    assert answer["checks"][-1]["found"].startswith("--http-port (http.port): found 'x'")


def test_a_healthy_machine_passes_in_words(tmp_path: Path) -> None:
    words = ["doctor", "--http-port", "0", "--live-port", "0", "--storage-path", str(tmp_path)]
    done = CliRunner().invoke(main, words)
    assert done.exit_code == 0, done.output
    assert "ok    storage" in done.stdout
