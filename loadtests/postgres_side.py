"""A PostgreSQL server for the benchmarks, with what is theirs to find out about it.

Promises: the server has the durability it comes with (fsync, synchronous_commit), its files are in
the benchmark's directory and so on the repository's disk, and it ends with the benchmark. It does
not run as root: there it runs as another user. Its processor time is that of all its processes.
"""

from __future__ import annotations

import contextlib
import os
import pwd
import shutil
import signal
import subprocess
import threading
from collections import Counter
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, Self

import harness
from harness import HOST, BenchError, Process

if TYPE_CHECKING:
    from psycopg import Connection

_PROGRAMS: Final = "/usr/lib/postgresql/*/bin"
_USERS: Final = ("postgres", "nobody")
_NAME: Final = "rankwire"
# Of a process, in clock ticks: its own time, and that of its children that have ended.
_TIMES: Final = slice(11, 15)
# Between two looks at what the committer waits for.
_LOOK_SECONDS: Final = 0.02
_COMMITTER: Final = """
SELECT CASE WHEN state = 'active' THEN coalesce(wait_event, 'running') ELSE 'idle' END
FROM pg_stat_activity WHERE application_name = 'rankwire-committer'
"""


def require() -> None:
    """Say at once what has to be installed."""
    _program("postgres")
    _program("initdb")


class Postgres(Process):
    """The server with all its processes."""

    url = ""
    """For `storage.url`."""

    def cpu_seconds(self) -> float:
        """Return the processor time of all its processes, also of those that have ended."""
        ticks = 0
        for pid in self._processes():
            # A session may end at any time; it is then among those that have ended.
            with contextlib.suppress(OSError):
                ticks += sum(map(int, harness.stat(pid)[_TIMES]))
        return ticks / os.sysconf("SC_CLK_TCK")

    def pause(self) -> None:
        """Leave it running: nobody asks it for anything when it is not its turn."""

    def connect(self) -> Connection[Any]:
        """Connect; each statement is committed by itself."""
        import psycopg  # noqa: PLC0415  # only now is it known to be installed

        return psycopg.connect(self.url, autocommit=True)

    def sql(self, statement: str, *values: object) -> list[Any]:
        """Run one statement and give its rows if it has any."""
        with self.connect() as connection:
            done = connection.execute(statement, values or None)
            return done.fetchall() if done.description else []

    def _processes(self) -> list[int]:
        children = Path(f"/proc/{self.pid}/task/{self.pid}/children").read_text(encoding="ascii")
        return [self.pid, *map(int, children.split())]


@contextlib.contextmanager
def postgres(directory: Path, core: int | None = None, *flags: str) -> Iterator[Postgres]:
    """Run a new server with an empty database while the block runs."""
    place = directory / "postgres"
    place.mkdir()
    # Its user has to get there, and nobody has to see what else is there.
    directory.chmod(0o711)
    user = _user()
    if user is not None:
        shutil.chown(place, user)
    data = place / "data"
    initdb = [
        *(*_as(user), _program("initdb"), "--no-locale", "--no-instructions", "--auth", "trust"),
        *("--encoding", "UTF8", "--username", _NAME, "--pgdata", str(data)),
    ]
    made = subprocess.run(initdb, capture_output=True, text=True, cwd=place, check=False)
    if made.returncode:
        raise BenchError(f"initdb failed: {made.stderr}")
    (port,) = harness.free_ports(1)
    command = [
        *(*_as(user), _program("postgres"), "-D", str(data), "-p", str(port)),
        *("-c", f"listen_addresses={HOST}", "-c", "unix_socket_directories=", *flags),
    ]
    server = Postgres(command, directory / "postgres.log", core)
    try:
        server.url = f"postgresql://{_NAME}@{HOST}:{port}/postgres"
        server.wait(lambda: _answers(server))
        yield server
        # What it has to write is none of what is measured: it may break off.
        os.kill(server.pid, signal.SIGINT)
        server.finish()
    finally:
        server.kill()


class CommitterWatch:
    """Looks, while a block runs, at what the committer of a node has PostgreSQL do."""

    def __init__(self, server: Postgres) -> None:
        """Prepare."""
        self._server = server
        self._stopping = threading.Event()
        self._thread = threading.Thread(target=self._look)
        self._seen: Counter[str] = Counter()

    def __enter__(self) -> Self:
        """Begin."""
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        """End."""
        self._stopping.set()
        self._thread.join()

    def shares(self) -> dict[str, float]:
        """Return which share of the time was what: a wait's name, `running` or `idle`."""
        looks = max(1, self._seen.total())
        return {what: round(times / looks, 3) for what, times in self._seen.most_common()}

    def _look(self) -> None:
        with self._server.connect() as connection:
            while not self._stopping.wait(_LOOK_SECONDS):
                for (what,) in connection.execute(_COMMITTER, prepare=True):
                    self._seen[what] += 1


def _answers(server: Postgres) -> bool:
    import psycopg  # noqa: PLC0415

    try:
        server.sql("SELECT 1")
    except psycopg.OperationalError:
        return False
    return True


def _program(name: str) -> str:
    """Find one of PostgreSQL's programs, which Debian keeps by version."""
    places = sorted(Path("/").glob(_PROGRAMS.removeprefix("/")), reverse=True)
    path = os.pathsep.join([*map(str, places), os.environ.get("PATH", os.defpath)])
    found = shutil.which(name, path=path)
    if found is None:
        raise BenchError("run: apt-get install postgresql")
    return found


def _user() -> str | None:
    """Return whom the server runs as, if not as ourselves."""
    if os.geteuid() != 0:
        return None
    known = {entry.pw_name for entry in pwd.getpwall()}
    return next(name for name in _USERS if name in known)


def _as(user: str | None) -> Sequence[str]:
    """Return the command that runs another one as a user, and still ends it with its parent."""
    if user is None:
        return ()
    ours = ("--reuid", user, "--regid", str(pwd.getpwnam(user).pw_gid), "--clear-groups")
    return ("setpriv", *ours, "--pdeathsig", "KILL")
