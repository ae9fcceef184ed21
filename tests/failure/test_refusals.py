"""A server that cannot start says why, in one line, and ends with exit code 1."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path

import pytest

from fix_engine import Kept, boards_sql, journal_sql
from fix_server import NewServer, Server


def _refused(server: Server) -> str:
    """Start a server that should refuse to; give its message."""
    assert server.spawn().wait() == 1
    assert server.out == ""
    assert "Traceback" not in server.log
    (message,) = (line for line in server.log.splitlines() if line.startswith("Error: "))
    return message


@contextmanager
def _taken_port() -> Iterator[int]:
    with closing(socket.create_server(("127.0.0.1", 0))) as taken:
        yield taken.getsockname()[1]


def test_a_second_server_on_the_same_storage(new_server: NewServer) -> None:
    first = new_server().start()
    first.create("a", policy="sum")
    first.submit("a", "ann", 1)
    for _ in range(2):
        second = new_server(directory=first.directory)
        assert _refused(second) == (
            f"Error: another Rankwire uses the storage in {first.directory}"
        )
        assert first.get("/readyz").status == 200
        assert first.submit("a", "ann", 1).status == 200
    assert first.scores("a") == {"ann": 3}
    assert first.terminate() == 0
    assert first.restart().scores("a") == {"ann": 3}


def test_the_http_port_is_taken(new_server: NewServer) -> None:
    with _taken_port() as port:
        server = new_server("--http-port", f"{port}")
        assert _refused(server).startswith(
            f"Error: cannot listen on 127.0.0.1:{port} for HTTP: [Errno 98] Address already in use"
        )


def test_the_live_port_is_taken(new_server: NewServer) -> None:
    with _taken_port() as port:
        server = new_server("--live-port", f"{port}")
        assert _refused(server).startswith(
            f"Error: cannot listen on 127.0.0.1:{port} for live connections: Address already in use"
        )
    # It had begun to use the storage, and let go of it.
    Kept(server.directory).close()


def test_a_taken_port_leaves_the_server_that_has_it_alone(new_server: NewServer) -> None:
    first = new_server().start()
    second = new_server("--http-port", f"{first.http_port}")
    assert "Address already in use" in _refused(second)
    assert first.get("/readyz").status == 200


def test_the_storage_path_is_a_file(new_server: NewServer, tmp_path: Path) -> None:
    file = tmp_path / "file"
    file.write_text("mine")
    assert _refused(new_server(directory=file)).startswith(
        f"Error: cannot open the storage in {file}: "
    )
    assert file.read_text() == "mine"


def test_the_storage_path_lies_in_a_file(new_server: NewServer, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("mine")
    where = tmp_path / "file" / "data"
    assert "Not a directory" in _refused(new_server(directory=where))


@pytest.mark.parametrize("fresh", [True, False])
def test_the_storage_path_cannot_be_written_to(new_server: NewServer, fresh: bool) -> None:
    """With the rights of an ordinary user: root may write everywhere."""
    server = new_server(prefix=_without_rights())
    if fresh:
        server.directory.mkdir()
    else:
        Kept(server.directory).close()
    server.directory.chmod(0o500)
    try:
        assert _refused(server).startswith(f"Error: cannot open the storage in {server.directory}")
    finally:
        server.directory.chmod(0o700)
    assert server.restart().get("/readyz").status == 200


def _without_rights() -> tuple[str, ...]:
    """A command that runs another one without root's right to ignore permissions."""
    if os.geteuid() != 0:
        return ()
    command = ("setpriv", "--bounding-set", "-dac_override,-dac_read_search")
    try:
        subprocess.run([*command, sys.executable, "-c", ""], check=True, capture_output=True)
    except (OSError, subprocess.CalledProcessError) as error:
        pytest.skip(f"NOT TESTED, files without rights: root's cannot be dropped: {error}")
    return command


def test_a_damaged_journal(new_server: NewServer) -> None:
    server = new_server()
    with Kept(server.directory) as kept:
        kept.create("a")
        kept.submit("a", "ann", 1)
        origin = kept.engine.origin
    journal_sql(server.directory, "UPDATE journal SET batch = zeroblob(40) WHERE seq = 2")
    for _ in range(2):
        assert _refused(server) == (
            f"Error: journal batch 2 of origin {origin:016x}: checksum mismatch"
        )


def test_a_journal_with_a_hole(new_server: NewServer) -> None:
    server = new_server()
    for _ in range(3):
        with Kept(server.directory) as kept:
            kept.create("a", policy="sum")
            kept.submit("a", "ann", 1)
    journal_sql(server.directory, "DELETE FROM journal WHERE seq = 3")
    assert _refused(server) == "Error: the journal's row 3 is missing"


def test_a_damaged_checkpoint(new_server: NewServer) -> None:
    server = new_server()
    with Kept(server.directory) as kept:
        kept.create("a")
        kept.checkpoint()
    boards_sql(server.directory, "UPDATE boards SET policy = 'worst'")
    message = _refused(server)
    assert message.startswith("Error: the checkpoint is damaged: ")
    assert "worst" in message


def test_data_of_a_newer_version(new_server: NewServer) -> None:
    server = new_server()
    Kept(server.directory).close()
    newer = "INSERT INTO schema_migrations (number, name, sha256) VALUES (99, '0099_new.sql', '')"
    boards_sql(server.directory, newer)
    assert "it was written by a newer one" in _refused(server)
