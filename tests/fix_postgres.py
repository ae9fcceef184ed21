"""Real PostgreSQL servers on free ports of 127.0.0.1, with fsync, in directories that vanish.

`postgres` is a fresh database on a server that the whole session shares, `counting_postgres` one on
another that counts statements; nobody may stop those.
`new_postgres` makes servers that a test may kill, stop and start as it likes. PostgreSQL does not
run as root: there it runs as another user. Without it such tests are left out, but not in CI.
"""

from __future__ import annotations

import os
import pwd
import random
import shutil
import signal
import socket
import subprocess
import tempfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager, suppress
from itertools import count
from pathlib import Path
from typing import Any, Final, NamedTuple, Self

import psycopg
import pytest

from fix_server import PATIENCE_SECONDS, until

SUPERUSER: Final = "rankwire"
_BIN: Final = Path("/usr/lib/postgresql/15/bin")
_USERS: Final = ("postgres", "nobody")
_SHOWN_CHARACTERS: Final = 4_000
# Below the range that outgoing connections take theirs from: a server that was killed gets its
# port again.
_PORTS: Final = range(15_000, 32_000)
_CONFIG: Final = {
    "listen_addresses": "127.0.0.1",
    "shared_buffers": "32MB",
    "max_wal_size": "512MB",
    "log_line_prefix": "%m [%p] %a ",
}
_NAMES: Final = (f"test_{number}" for number in count(1))


def postgres_tool(name: str) -> str:
    """Where one of PostgreSQL's programs is; skips the test, or fails it in CI, without it."""
    found = shutil.which(name, path=f"{_BIN}{os.pathsep}{os.environ.get('PATH', os.defpath)}")
    if found is None:
        reason = f"{name} is not there: PostgreSQL is NOT tested"
        if os.environ.get("CI"):
            pytest.fail(reason)
        pytest.skip(reason)
    return found


def run_postgres_tool(name: str, *arguments: str) -> None:
    """Run one of PostgreSQL's programs, as the user that servers run as."""
    command = [postgres_tool(name), *arguments]
    done = subprocess.run(
        command, capture_output=True, text=True, cwd="/", user=_user(), check=False
    )
    assert done.returncode == 0, done.stderr


class Postgres:
    """A server, most of the time running. It is on the same port in each of its lives."""

    def __init__(
        self,
        directory: Path,
        data: Path,
        config: Mapping[str, str] | None = None,
        *,
        environment: Mapping[str, str] | None = None,
        prefix: Sequence[str] = (),
    ) -> None:
        """Choose a port; the cluster is in `data` and the log and the socket in `directory`.

        `prefix` is a command that runs the server's command.
        """
        self.directory = directory
        self.data = data
        self.config = dict(config or {})
        """Settings for the next start, over those that all servers here have."""
        self.environment = dict(environment or {})
        """Variables for the next start."""
        self.port = _free_port()
        self._prefix = tuple(prefix)
        self._process: subprocess.Popen[bytes] | None = None

    @property
    def url(self) -> str:
        """Its first database, over TCP, for `storage.url`."""
        return self.url_of(SUPERUSER)

    def url_of(self, database: str) -> str:
        """One of its databases, over TCP."""
        return f"postgresql://{SUPERUSER}@127.0.0.1:{self.port}/{database}"

    @property
    def socket_url(self) -> str:
        """Its first database, over the unix socket."""
        return f"postgresql://{SUPERUSER}@/{SUPERUSER}?host={self.directory}&port={self.port}"

    @property
    def log(self) -> str:
        """Everything it has written to its log."""
        return (self.directory / "log").read_text(errors="replace")

    def start(self) -> Self:
        """Start and wait until it answers."""
        self.spawn()
        until(self._answers, f"PostgreSQL on port {self.port}")
        return self

    def spawn(self) -> Self:
        """Start and do not wait."""
        assert not self.running
        _hand_over(self.data)
        place = {"port": str(self.port), "unix_socket_directories": str(self.directory)}
        settings = _CONFIG | place | self.config
        command = [*self._prefix, postgres_tool("postgres"), "-D", str(self.data)]
        for name, value in settings.items():
            command += ["-c", f"{name}={value}"]
        with (self.directory / "log").open("ab") as log:
            self._process = subprocess.Popen(
                command,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                cwd="/",
                env=os.environ | self.environment,
                user=_user(),
                start_new_session=True,
            )
        return self

    def kill(self) -> None:
        """Kill all of its processes, as a crash would."""
        assert self.running
        children = self.children()
        self._end(signal.SIGKILL)
        for child in children:
            with suppress(ProcessLookupError):
                os.kill(child, signal.SIGKILL)
        until(lambda: not any(map(_lives, children)), "the end of PostgreSQL's processes")

    def stop(self) -> None:
        """Let it break off what is under way and end."""
        self._end(signal.SIGINT)

    def end(self) -> None:
        """Leave no process behind, whatever happened."""
        if self.running:
            # A stopped process takes no other signal.
            for process in (self.pid, *self.children()):
                with suppress(ProcessLookupError):
                    os.kill(process, signal.SIGCONT)
            self.kill()

    @property
    def running(self) -> bool:
        """Whether the process is there."""
        return self._process is not None and self._process.poll() is None

    @property
    def pid(self) -> int:
        """The postmaster."""
        assert self._process is not None
        return self._process.pid

    def children(self) -> list[int]:
        """Its other processes."""
        listed = Path(f"/proc/{self.pid}/task/{self.pid}/children").read_text(encoding="ascii")
        return [int(child) for child in listed.split()]

    def sql(self, statement: str, *values: object, database: str = SUPERUSER) -> list[Any]:
        """Run one statement, committed by itself, and give its rows if it has any."""
        with psycopg.connect(self.url_of(database), autocommit=True) as connection:
            done = connection.execute(statement, values or None)
            return done.fetchall() if done.description else []

    def _answers(self) -> bool:
        assert self.running, self.log[-_SHOWN_CHARACTERS:]
        try:
            self.sql("SELECT 1")
        except psycopg.OperationalError:
            return False
        return True

    def _end(self, number: int) -> None:
        assert self.running
        assert self._process is not None
        self._process.send_signal(number)
        self._process.wait(PATIENCE_SECONDS)


class Database(NamedTuple):
    """A database that is a test's own, on a server that is not."""

    server: Postgres
    name: str

    @property
    def url(self) -> str:
        """For `storage.url`."""
        return self.server.url_of(self.name)

    def sql(self, statement: str, *values: object) -> list[Any]:
        """Run one statement, committed by itself, and give its rows if it has any."""
        return self.server.sql(statement, *values, database=self.name)


NewPostgres = Callable[..., Postgres]


@pytest.fixture(scope="session")
def postgres_template() -> Iterator[Path]:
    """Make a cluster that servers begin with copies of."""
    with _directory() as directory:
        data = directory / "data"
        run_postgres_tool(
            "initdb", "--no-sync", "--no-locale", "--no-instructions", "-A", "trust", "-E", "UTF8",
            "--wal-segsize=1", "-U", SUPERUSER, "-D", str(data),
        )  # fmt: skip
        server = Postgres(directory, data)
        try:
            server.spawn()
            until(lambda: _made(server), "the first database")
            server.stop()
        finally:
            server.end()
        yield data


@pytest.fixture(scope="session")
def postgres_server(postgres_template: Path) -> Iterator[Postgres]:
    """Start the server that the session shares."""
    with _shared(postgres_template, {}) as server:
        yield server


@pytest.fixture(scope="session")
def counting_server(postgres_template: Path) -> Iterator[Postgres]:
    """Start the one whose databases can count statements."""
    with _shared(postgres_template, {"shared_preload_libraries": "pg_stat_statements"}) as server:
        yield server


@pytest.fixture
def postgres(postgres_server: Postgres) -> Iterator[Database]:
    """Make a fresh database."""
    with fresh_database(postgres_server) as database:
        yield database


@pytest.fixture
def counting_postgres(counting_server: Postgres) -> Iterator[Database]:
    """Make a fresh database that counts statements."""
    with fresh_database(counting_server) as database:
        database.sql("CREATE EXTENSION pg_stat_statements")
        yield database


@pytest.fixture
def new_postgres(postgres_template: Path) -> Iterator[NewPostgres]:
    """Make servers, see `making_postgres`."""
    with making_postgres(postgres_template) as make:
        yield make


@contextmanager
def making_postgres(template: Path) -> Iterator[NewPostgres]:
    """Give what makes servers, see `Postgres`; they are not started yet, and end with the block.

    `data` is a cluster to use in place of a fresh one; the server owns it from then on.
    """
    with ExitStack() as cleanup:

        def make(
            config: Mapping[str, str] | None = None,
            *,
            data: Path | None = None,
            environment: Mapping[str, str] | None = None,
            prefix: Sequence[str] = (),
        ) -> Postgres:
            directory = cleanup.enter_context(_directory())
            data = data or _copy(template, directory)
            server = Postgres(directory, data, config, environment=environment, prefix=prefix)
            cleanup.callback(_bury, server)
            return server

        yield make


@contextmanager
def _shared(template: Path, config: Mapping[str, str]) -> Iterator[Postgres]:
    with _directory() as directory:
        server = Postgres(directory, _copy(template, directory), config)
        try:
            yield server.start()
        finally:
            server.end()


@contextmanager
def fresh_database(server: Postgres) -> Iterator[Database]:
    """Make a database, and drop it at the end."""
    name = next(_NAMES)
    server.sql(f"CREATE DATABASE {name} TEMPLATE template0")
    seen = len(server.log)
    yield Database(server, name)
    server.sql(f"DROP DATABASE {name} WITH (FORCE)")
    print(server.log[seen:][-_SHOWN_CHARACTERS:])  # noqa: T201  # for tests that fail


def _lives(process: int) -> bool:
    """Tell whether a process is there and no zombie that nobody has taken notice of yet."""
    try:
        state = Path(f"/proc/{process}/stat").read_text(encoding="utf-8").rpartition(")")[2]
    except (FileNotFoundError, ProcessLookupError):
        return False
    return state.split()[0] != "Z"


def _bury(server: Postgres) -> None:
    server.end()
    with suppress(FileNotFoundError):
        print(server.log[-_SHOWN_CHARACTERS:])  # noqa: T201  # for tests that fail


def _made(server: Postgres) -> bool:
    assert server.running, server.log
    try:
        server.sql(f"CREATE DATABASE {SUPERUSER} TEMPLATE template0", database="postgres")
    except psycopg.OperationalError:
        return False
    return True


@contextmanager
def _directory() -> Iterator[Path]:
    """Make a directory for a server's user; its path is short enough for a socket."""
    path = Path(tempfile.mkdtemp(prefix="rankwire-pg-"))
    try:
        _hand_over(path)
        yield path
    finally:
        shutil.rmtree(path, ignore_errors=True)


def _copy(template: Path, directory: Path) -> Path:
    data = directory / "data"
    shutil.copytree(template, data)
    return data


def _user() -> str | None:
    """Whom servers run as, if not as ourselves."""
    if os.geteuid() != 0:
        return None
    known = {entry.pw_name for entry in pwd.getpwall()}
    return next(name for name in _USERS if name in known)


def _hand_over(path: Path) -> None:
    """Make a file or a directory with all in it the servers' user's."""
    if (user := _user()) is None:
        return
    for each in (path, *path.rglob("*")):
        shutil.chown(each, user)


def _free_port() -> int:
    for port in random.sample(_PORTS, 100):
        with socket.socket() as probe, suppress(OSError):
            probe.bind(("127.0.0.1", port))
            return port
    pytest.fail("no port is free")
