"""A storage that cannot be written to: writes are refused, reads go on, and it mends by itself."""

from __future__ import annotations

import errno
import resource
import shutil
import sqlite3
import subprocess
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing, contextmanager
from pathlib import Path

import pytest

from fix_server import NewServer, Reply, Server, until

_BUSY = ("--storage-busy-seconds", "0.1")
# Far from the sizes that a few submits need, and more than one page of SQLite.
_PADDING = "x" * 100


@contextmanager
def _locked(server: Server, how: str) -> Iterator[None]:
    file = server.directory / "journal.sqlite"
    with closing(sqlite3.connect(file, isolation_level=None)) as other:
        other.execute(f"BEGIN {how}")
        yield
        other.execute("ROLLBACK")


def _is_unavailable(reply: Reply) -> bool:
    """Tell a proper refusal from success; anything else is a failure."""
    if reply.status == 200:
        return False
    assert reply.status == 503, reply
    assert reply.headers["content-type"] == "application/problem+json"
    assert reply.headers["retry-after"] == "1"
    assert reply.json()["type"] == "urn:rankwire:problem:unavailable"
    return True


def _until_ready(server: Server) -> None:
    until(lambda: server.get("/readyz").status == 200, "ready again")


def _assert_reads_go_on(server: Server, expected: dict[str, float], reason: str) -> None:
    assert server.scores("a") == expected
    assert server.get("/v1/boards/a/members/ann").json()["score"] == expected["ann"]
    assert server.get("/healthz").status == 200
    ready = server.get("/readyz")
    assert _is_unavailable(ready)
    assert reason in ready.json()["detail"]
    assert server.metric("rankwire_storage_ready") == 0


@pytest.mark.parametrize("how", ["IMMEDIATE", "EXCLUSIVE"])
def test_a_locked_database(new_server: NewServer, how: str) -> None:
    server = new_server(*_BUSY).start()
    server.create("a", policy="sum")
    assert server.submit("a", "ann", 1).status == 200
    for round_ in range(1, 4):
        with _locked(server, how):
            assert _is_unavailable(server.submit("a", "ann", 1000))
            _assert_reads_go_on(server, {"ann": round_}, "database is locked")
            # Everything that writes is refused, and at once.
            batch = [{"member": "bob", "score": 1}]
            assert _is_unavailable(server.call("POST", "/v1/boards/a/scores:batch", batch))
            assert _is_unavailable(server.call("DELETE", "/v1/boards/a/members/ann"))
            assert _is_unavailable(server.call("DELETE", "/v1/boards/a"))
            assert _is_unavailable(server.call("PUT", "/v1/boards/b", {}))
        _until_ready(server)
        assert server.metric("rankwire_storage_ready") == 1
        assert server.submit("a", "ann", 1).json()["score"] == round_ + 1
    server.kill()
    server.restart()
    assert server.scores("a") == {"ann": 4}
    assert server.get("/v1/boards/b").status == 404


def test_a_lock_shorter_than_the_patience_only_delays(new_server: NewServer) -> None:
    server = new_server("--storage-busy-seconds", "30").start()
    server.create("a")
    members = [f"m{number}" for number in range(20)]
    with ThreadPoolExecutor(len(members)) as clients:
        with _locked(server, "IMMEDIATE"):
            answers = []
            for member in members:
                answers.append(clients.submit(server.submit, "a", member, 1))
                time.sleep(0.02)
                # What waits does so behind the batch that waits for the lock.
                if len(answers) > 1 and server.metric("rankwire_pending_writes") > 0:
                    break
            assert server.scores("a") == {}
            assert not any(answer.done() for answer in answers)
        assert [answer.result().status for answer in answers] == [200] * len(answers)
    assert server.scores("a") == dict.fromkeys(members[: len(answers)], 1)
    assert "storage failed" not in server.log


class _Disk:
    """Submits until the disk is full and keeps the books."""

    def __init__(self, server: Server) -> None:
        self.server = server
        self.acknowledged: dict[str, float] = {}
        self.refused: set[str] = set()
        self._next = 0

    def submit(self) -> bool:
        """Submit for a member of its own and for one that all share."""
        self._next += 1
        member = f"{self._next:04}-{_PADDING}"
        batch = [{"member": member, "score": self._next}, {"member": "ann", "score": 1}]
        reply = self.server.call("POST", "/v1/boards/a/scores:batch", batch)
        if _is_unavailable(reply):
            self.refused.add(member)
            return False
        self.acknowledged[member] = self._next
        self.acknowledged["ann"] = self.acknowledged.get("ann", 0) + 1
        return True

    def fill(self) -> None:
        """Submit until there is no room left."""
        until(lambda: not self.submit(), "a full disk")

    def check(self) -> None:
        """Nothing but what was acknowledged is there, once."""
        assert self.server.scores("a") == self.acknowledged
        assert not self.refused & set(self.server.scores("a"))


def _limit_files(server: Server, size: int) -> None:
    _, hard = resource.prlimit(server.pid, resource.RLIMIT_FSIZE)
    resource.prlimit(server.pid, resource.RLIMIT_FSIZE, (size, hard))


def test_files_that_may_not_grow(new_server: NewServer) -> None:
    server = new_server(*_BUSY, "--storage-checkpoint-seconds", "0.2").start()
    server.create("a", policy="sum")
    disk = _Disk(server)
    for _ in range(20):
        assert disk.submit()
    for _ in range(3):
        log = (server.directory / "journal.sqlite-wal").stat().st_size
        _limit_files(server, log + 20_000)
        disk.fill()
        _assert_reads_go_on(server, disk.acknowledged, "cannot write to the journal")
        assert not disk.submit()
        _limit_files(server, resource.RLIM_INFINITY)
        _until_ready(server)
        disk.check()
        for _ in range(5):
            assert disk.submit()
        disk.check()
    server.kill()
    server.restart()
    disk.check()
    assert disk.submit()
    assert server.terminate() == 0
    server.restart()
    disk.check()


def test_killed_while_files_may_not_grow(new_server: NewServer) -> None:
    server = new_server(*_BUSY, "--storage-checkpoint-seconds", "0.2").start()
    server.create("a", policy="sum")
    disk = _Disk(server)
    for _ in range(3):
        log = (server.directory / "journal.sqlite-wal").stat().st_size
        _limit_files(server, log + 20_000)
        disk.fill()
        server.kill()
        server.restart()
        disk.check()
        assert disk.submit()


class _SmallDisk:
    """A file system of two megabytes in a mount namespace of its own, held by a process."""

    def __init__(self, mount: Path) -> None:
        mount.mkdir()
        self._mount = mount
        script = 'mount -t tmpfs -o size=2m none "$0" && echo mounted && exec sleep 600'
        command = ["unshare", "--user", "--map-root-user", "--mount", "sh", "-c", script]
        self._holder = subprocess.Popen(
            [*command, str(mount)], stdout=subprocess.PIPE, stderr=subprocess.PIPE
        )

    def why_not(self) -> str | None:
        """Say why it is not there."""
        assert self._holder.stdout is not None
        assert self._holder.stderr is not None
        if self._holder.stdout.readline() == b"mounted\n":
            return None
        return self._holder.stderr.read().decode().strip()

    @property
    def prefix(self) -> tuple[str, ...]:
        """A command that runs another one there."""
        user = ("--user", "--preserve-credentials", "--mount")
        return ("nsenter", f"--target={self._holder.pid}", *user)

    @property
    def root(self) -> Path:
        """Where this process finds it."""
        return Path(f"/proc/{self._holder.pid}/root{self._mount}")

    def fill(self, but: int = 0) -> None:
        """Leave no room, or so many bytes."""
        with (self.root / "ballast").open("ab", buffering=0) as ballast:
            room = shutil.disk_usage(self.root).free - but
            try:
                ballast.write(b"x" * room)
            except OSError as error:
                # The server was quicker, and the disk is as full as it was to be.
                if error.errno != errno.ENOSPC:
                    raise

    def free(self) -> None:
        """Make room again."""
        (self.root / "ballast").unlink()

    def end(self) -> None:
        """Let it vanish."""
        self._holder.kill()
        self._holder.communicate()


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[_SmallDisk]:
    if shutil.which("unshare") is None or shutil.which("nsenter") is None:
        pytest.skip("NOT TESTED, a full disk: unshare and nsenter of util-linux are missing")
    disk = _SmallDisk(tmp_path / "small")
    try:
        if why_not := disk.why_not():
            pytest.skip(f"NOT TESTED, a full disk: no mount namespace here: {why_not}")
        yield disk
    finally:
        disk.end()


def test_a_full_disk(new_server: NewServer, small_disk: _SmallDisk, tmp_path: Path) -> None:
    flags = (*_BUSY, "--storage-checkpoint-seconds", "0.2")
    where = tmp_path / "small" / "data"
    server = new_server(*flags, directory=where, prefix=small_disk.prefix).start()
    server.create("a", policy="sum")
    disk = _Disk(server)
    for _ in range(3):
        for _ in range(5):
            assert disk.submit()
        small_disk.fill()
        disk.fill()
        _assert_reads_go_on(server, disk.acknowledged, "database or disk is full")
        assert not disk.submit()
        small_disk.free()
        _until_ready(server)
        disk.check()
    server.kill()
    server.restart()
    disk.check()
    small_disk.fill()
    disk.fill()
    server.kill()
    small_disk.free()
    server.restart()
    disk.check()
    assert disk.submit()
    assert server.terminate() == 0
    server.restart()
    disk.check()


def test_a_disk_with_room_for_little_more(
    new_server: NewServer, small_disk: _SmallDisk, tmp_path: Path
) -> None:
    """After a write that did not fit, the server does not come back because a tiny one does."""
    where = tmp_path / "small" / "data"
    server = new_server(*_BUSY, directory=where, prefix=small_disk.prefix).start()
    server.create("a", policy="sum")
    small_disk.fill(but=30_000)
    large = [{"member": f"{number:04}-{_PADDING}", "score": 1} for number in range(400)]
    assert _is_unavailable(server.call("POST", "/v1/boards/a/scores:batch", large))
    for _ in range(10):
        assert _is_unavailable(server.get("/readyz"))
        time.sleep(0.1)
    assert "storage recovered" not in server.log
    small_disk.free()
    _until_ready(server)
    assert server.scores("a") == {}
    assert server.call("POST", "/v1/boards/a/scores:batch", large).status == 200
    assert len(server.scores("a")) == 400


def test_started_on_a_full_disk(
    new_server: NewServer, small_disk: _SmallDisk, tmp_path: Path
) -> None:
    """It serves what it has, or says that it cannot; it loses nothing."""
    where = tmp_path / "small" / "data"
    server = new_server(*_BUSY, directory=where, prefix=small_disk.prefix).start()
    server.create("a", policy="sum")
    disk = _Disk(server)
    for _ in range(5):
        assert disk.submit()
    small_disk.fill()
    disk.fill()
    assert server.terminate() == 0, "a last checkpoint that fails is not the end of the world"
    small_disk.fill()
    server.spawn()
    until(lambda: "is ready" in server.out or not server.running, "a start or a refusal")
    if server.running:
        server.wait_ready()
        disk.fill()
        _assert_reads_go_on(server, disk.acknowledged, "database or disk is full")
        server.kill()
    else:
        assert server.wait() == 1
        assert server.log.startswith(f"Error: cannot open the storage in {where}: ")
    small_disk.free()
    server.restart()
    disk.check()
    assert disk.submit()


def test_what_cannot_be_logged_does_not_stop_the_server(new_server: NewServer) -> None:
    """The reader of its standard error has gone, as with `rankwire serve 2>&1 | head`."""
    server = new_server(*_BUSY, heard=False).start()
    server.create("a", policy="sum")
    with _locked(server, "IMMEDIATE"):
        assert _is_unavailable(server.submit("a", "ann", 1))
    _until_ready(server)
    assert server.submit("a", "ann", 10).json()["score"] == 10
    assert server.terminate() == 0
