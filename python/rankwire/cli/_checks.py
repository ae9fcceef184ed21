"""The checks of ``rankwire doctor``, one function each.

Promises: a check never raises for what it finds; it yields one or more :class:`Check`. Each that
is not ``ok`` carries an advice. Nothing is changed that a server would not change itself, and a
running server is not disturbed: databases are opened read-only, and ports are only tried.
"""

from __future__ import annotations

import contextlib
import errno
import http.client
import os
import platform
import resource
import shutil
import socket
import sqlite3
import statistics
import sys
import tempfile
import time
from pathlib import Path
from typing import TYPE_CHECKING, Literal

import msgspec

from rankwire import _core, settings
from rankwire.access import AccessError, Guard, refusal
from rankwire.storage import StorageError
from rankwire.storage.keys import KEYS_FILE
from rankwire.storage.sqlite import BOARDS_FILE, JOURNAL_FILE

if TYPE_CHECKING:
    from collections.abc import Iterator

    from rankwire.settings import Settings, Storage

DATABASES = (JOURNAL_FILE, BOARDS_FILE)
OLDEST_SQLITE = (3, 38, 0)
"""The first with the JSON operators that checkpoints use."""

OLDEST_PYTHON = (3, 11)
LEAST_FREE_BYTES = 1024**3
FULL_BYTES = 64 * 1024**2
SLOW_SYNC_SECONDS = 0.02
SYNC_SAMPLES = 12
QUICK_CHECK_SECONDS = 30.0
OTHER_FILES = 100
"""Descriptors that a server needs beside those of its watchers."""

CLOCK_STEP_SECONDS = 0.02
FUTURE_SECONDS = 60.0
PROBE_SECONDS = 2.0


class Check(msgspec.Struct, frozen=True):
    """What one check found, and what to do about it."""

    name: str
    status: Literal["ok", "warn", "fail"]
    found: str
    advice: str = ""


def check_build() -> Iterator[Check]:
    """Look at Python and the compiled extension."""
    version = platform.python_version()
    if sys.version_info[:2] < OLDEST_PYTHON:
        yield Check("python", "fail", version, "use Python 3.11 or newer")
    else:
        yield Check("python", "ok", f"{platform.python_implementation()} {version}")
    build = _core.build_info()
    found = f"rankwire {build['version']} for {build['os']} on {build['arch']}"
    if build["optimized"]:
        yield Check("extension", "ok", found)
    else:
        advice = "a debug build is many times slower; install a wheel, or build with --release"
        yield Check("extension", "warn", f"{found}, not optimized", advice)


def check_settings(file: Path | None, problems: list[str]) -> Iterator[Check]:
    """Say where settings come from, and what is wrong with them."""
    for problem in problems:
        yield Check("settings", "fail", problem, "see 'rankwire serve --help' for every setting")
    if not problems:
        place = f"read from {file.resolve()}" if file else f"no {settings.DEFAULT_FILE} here"
        yield Check("settings", "ok", f"{place}; environment and flags over it")


def check_sqlite() -> Iterator[Check]:
    """Look at the SQLite library of this Python."""
    version = sqlite3.sqlite_version
    if sqlite3.sqlite_version_info < OLDEST_SQLITE:
        advice = "use a Python that brings SQLite 3.38 or newer"
        yield Check("sqlite", "fail", version, advice)
    else:
        yield Check("sqlite", "ok", version)


def check_storage(path: Path) -> Iterator[Check]:
    """Look at the storage directory: can be written, has room, syncs quickly."""
    place = _existing(path)
    found = f"{path.absolute()}" + ("" if place == path else " does not exist yet")
    if not place.is_dir():
        advice = "name a directory in storage.path"
        yield Check("storage", "fail", f"{place.absolute()} is not a directory", advice)
        return
    try:
        seconds = _sync_seconds(place)
    except OSError as error:
        advice = f"let this user write to {place.absolute()}, or set storage.path"
        yield Check("storage", "fail", f"{found}: {error.strerror}", advice)
        return
    yield Check("storage", "ok", f"{found}, can be {'written' if place == path else 'created'}")
    yield judge_space(shutil.disk_usage(place).free)
    yield judge_sync(seconds)


def _existing(path: Path) -> Path:
    """Return the path, or the nearest of its parents that exists."""
    return next(place for place in (path, *path.absolute().parents) if _exists(place))


def _exists(path: Path) -> bool:
    """Whether the path exists, as far as this user can see."""
    try:
        return path.exists()
    except OSError:
        return False


def judge_space(free: int) -> Check:
    """Judge the bytes that are free on the disk."""
    found = f"{free / 1024**3:.1f} GiB free"
    if free < FULL_BYTES:
        return Check("space", "fail", found, "make room: commits fail on a full disk")
    if free < LEAST_FREE_BYTES:
        return Check("space", "warn", found, "make room: the journal grows with every submit")
    return Check("space", "ok", found)


def _sync_seconds(place: Path) -> list[float]:
    """Write and sync a page as a commit does, some times over."""
    samples = []
    with tempfile.TemporaryFile(dir=place, prefix=".rankwire-doctor-") as file:
        for _ in range(SYNC_SAMPLES):
            file.write(bytes(4096))
            file.flush()
            started = time.perf_counter()
            os.fdatasync(file.fileno())
            samples.append(time.perf_counter() - started)
    return samples


def judge_sync(samples: list[float]) -> Check:
    """Judge the seconds that syncs took."""
    median = statistics.median(samples)
    found = f"fdatasync takes {median * 1000:.2f} ms, at most {max(samples) * 1000:.2f} ms"
    if median > SLOW_SYNC_SECONDS:
        advice = "every submit waits for it; use a local SSD"
        return Check("sync", "warn", found, advice)
    return Check("sync", "ok", found)


def check_databases(path: Path) -> Iterator[Check]:
    """Let SQLite check the databases that are there."""
    for name in DATABASES:
        file = path / name
        if not _exists(file):
            yield Check(name, "ok", "not there; the first start creates it")
        else:
            yield _check_database(file)


def _check_database(file: Path) -> Check:
    deadline = time.monotonic() + QUICK_CHECK_SECONDS
    uri = f"{file.absolute().as_uri()}?mode=ro"
    try:
        with contextlib.closing(sqlite3.connect(uri, uri=True)) as connection:
            connection.set_progress_handler(lambda: time.monotonic() > deadline, 100_000)
            (answer,) = connection.execute("PRAGMA quick_check(1)").fetchone()
    except sqlite3.Error as error:
        if time.monotonic() > deadline:
            found = f"not checked to its end within {QUICK_CHECK_SECONDS:.0f} s"
            advice = f"run: sqlite3 {file} 'PRAGMA quick_check'"
            return Check(file.name, "warn", found, advice)
        advice = "make it readable for this user, or restore it from a backup if it is damaged"
        return Check(file.name, "fail", f"cannot be read: {error}", advice)
    if answer != "ok":
        advice = "stop the server and restore the file from a backup"
        return Check(file.name, "fail", f"damaged: {answer}", advice)
    return Check(file.name, "ok", f"{file.stat().st_size / 1024**2:.1f} MiB, passes quick_check")


def check_access(settings: Settings) -> Iterator[Check]:
    """Look for a server that everybody could change, or that nobody could."""
    try:
        # Looking makes no database that is not there.
        with tempfile.TemporaryDirectory() as empty:
            guard = Guard(settings.auth, _storage_to_look_at(settings.storage, Path(empty)))
            guard.stop()
    except (AccessError, StorageError) as error:
        yield Check("access", "fail", str(error), "let this user read it, or put it right")
        return
    if words := refusal(settings, knows_anybody=guard.access.knows_anybody()):
        why, way_out = words
        yield Check("access", "fail", why, way_out)
    else:
        yield Check("access", "ok", guard.describe())


def _storage_to_look_at(storage: Storage, empty: Path) -> Storage:
    if storage.url or _exists(storage.path / KEYS_FILE):
        return storage
    return msgspec.structs.replace(storage, path=empty)


def check_ports(settings: Settings) -> Iterator[Check]:
    """Try both addresses: free, or held by a Rankwire that runs already."""
    running = False
    for section, host, port in (
        ("http", settings.http.host, settings.http.port),
        ("live", settings.live.host, settings.live.port),
    ):
        name = f"{section}.port"
        trouble = _bind_trouble(host, port)
        if trouble is None:
            yield Check(name, "ok", f"{host}:{port} is free" if port else "any free port")
        elif trouble.errno == errno.EADDRINUSE and (running or _is_rankwire(host, port)):
            # The live listener has no health page: beside a running API it is taken for its own.
            running = True
            yield Check(name, "ok", f"{host}:{port} belongs to a Rankwire that runs already")
        else:
            advice = f"set {section}.host and {section}.port to an address that is free here"
            yield Check(name, "fail", f"{host}:{port}: {trouble.strerror}", advice)


def _bind_trouble(host: str, port: int) -> OSError | None:
    try:
        family, kind, _, _, address = socket.getaddrinfo(
            host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE
        )[0]
        with socket.socket(family, kind) as trial:
            # As servers do: connections that are still closing do not hold the port.
            trial.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            trial.bind(address)
    except OSError as error:
        return error
    return None


def _is_rankwire(host: str, port: int) -> bool:
    connection = http.client.HTTPConnection(host, port, timeout=PROBE_SECONDS)
    with contextlib.closing(connection):
        try:
            connection.request("GET", "/healthz")
            return connection.getresponse().status == http.client.OK
        except (OSError, http.client.HTTPException):
            return False


def check_files(max_connections: int) -> Iterator[Check]:
    """Compare the limit of open files with the watchers that are allowed."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    needed = max_connections + OTHER_FILES
    if soft == resource.RLIM_INFINITY or soft >= needed:
        limit = "no limit" if soft == resource.RLIM_INFINITY else f"{soft}"
        yield Check("files", "ok", f"limit of open files: {limit}; needed: {needed}")
        return
    room = max(0, soft - OTHER_FILES)
    found = f"{soft} open files leave room for {room} watchers of {max_connections}"
    raisable = hard == resource.RLIM_INFINITY or hard >= needed
    way = f"ulimit -n {needed}" if raisable else f"raise the hard limit to {needed} as root"
    yield Check("files", "warn", found, f"{way}, or LimitNOFILE={needed} in the systemd unit")


def check_clock(path: Path) -> Iterator[Check]:
    """Look for a wall clock that is wrong: times of submits come from it."""
    now = time.time()
    advice = "set the clock and keep it right with NTP: stamps of submits come from it"
    files = [Path(__file__), *(path / name for name in DATABASES)]
    newest = max(file.stat().st_mtime for file in files if _exists(file))
    if newest > now + FUTURE_SECONDS:
        found = f"the clock is {newest - now:.0f} s behind the newest file of Rankwire"
        yield Check("clock", "fail", found, advice)
        return
    drift = _drift_seconds()
    if abs(drift) > CLOCK_STEP_SECONDS:
        found = f"the clock moved {drift:+.3f} s against the steady clock while watched"
        yield Check("clock", "warn", found, advice)
    else:
        stamp = time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(now))
        yield Check("clock", "ok", f"{stamp}, runs evenly")


def _drift_seconds() -> float:
    wall, steady = time.time(), time.monotonic()
    time.sleep(0.05)
    return (time.time() - wall) - (time.monotonic() - steady)
