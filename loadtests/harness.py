"""What the benchmarks share: tools, processes on chosen cores, processor time, noise, results.

Promises: a process that is started here ends with the block that it was started for, whatever
happens to the benchmark, and nothing else is ever signalled. A round in which other programs took
more than `QUIET` of the cores is known as noisy.
"""

from __future__ import annotations

import argparse
import contextlib
import http.client
import importlib.util
import os
import platform
import random
import resource
import shutil
import signal
import socket
import sqlite3
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from importlib.metadata import version
from pathlib import Path
from typing import Any, Final

import msgspec

HOST: Final = "127.0.0.1"
ROOT: Final = Path(__file__).resolve().parent.parent
QUIET: Final = 0.10
"""Share of the cores that other programs may take before a round counts as noisy."""

_PACKAGES: Final = {
    "redis-server": "redis-server",
    "setpriv": "util-linux",
    "taskset": "util-linux",
    "wrk": "wrk",
}
_READY_SECONDS: Final = 600.0
_SHOWN_LOG_LINES: Final = 20
_TICKS: Final = os.sysconf("SC_CLK_TCK")
_KERNEL_THREADS_PARENT: Final = 2
# Below those that the kernel gives to outgoing connections, of which a run may have very many.
_PORTS: Final = range(15_000, 32_000)


Command = Sequence[str | Path]


class BenchError(Exception):
    """The benchmark cannot be run, or did not measure what it says."""


# Before the start.


def require(programs: Iterable[str], modules: Iterable[str]) -> None:
    """Say at once what has to be installed."""
    missing = sorted({_PACKAGES[name] for name in programs if shutil.which(name) is None})
    problems = [f"run: apt-get install {' '.join(missing)}"] if missing else []
    if any(importlib.util.find_spec(name) is None for name in modules):
        problems.append("run: python -m pip install --group bench")
    if len(os.sched_getaffinity(0)) < 2:
        problems.append("two processor cores are needed, one for each side")
    if problems:
        raise BenchError("\n".join(problems))


def parser(documentation: str | None) -> argparse.ArgumentParser:
    """Make the parser of a benchmark's options, with its documentation and `--quick`."""
    made = argparse.ArgumentParser(
        description=documentation, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    made.add_argument("--quick", action="store_true", help="as little as possible: only a test")
    return made


def positive(text: str) -> int:
    """Read a number of at least one from the command line."""
    if (number := int(text)) < 1:
        raise ValueError(text)
    return number


def cores() -> tuple[int, int]:
    """Return the server's core and the client's."""
    server, client, *_ = sorted(os.sched_getaffinity(0))
    return server, client


def free_ports(count: int) -> list[int]:
    """Return different ports that were free a moment ago. Raises BenchError."""
    found: list[int] = []
    for port in random.sample(_PORTS, len(_PORTS)):
        if len(found) == count:
            return found
        with socket.socket() as probe, contextlib.suppress(OSError):
            probe.bind((HOST, port))
            found.append(port)
    raise BenchError("no port is free")


@contextlib.contextmanager
def working_directory() -> Iterator[Path]:
    """Give a directory on the repository's disk, which is gone afterwards."""
    (ROOT / "build").mkdir(exist_ok=True)
    with tempfile.TemporaryDirectory(prefix="bench-", dir=ROOT / "build") as name:
        yield Path(name)


# Processes.


class Process:
    """A child: pinned if asked for, killed with its parent."""

    def __init__(
        self,
        command: Command,
        log: Path,
        core: int | None = None,
        environment: Mapping[str, str] | None = None,
        *,
        talks: bool = False,
    ) -> None:
        """Start it; its output goes to `log`, or where it `talks`, to `hear` and to the screen."""
        pin = () if core is None else ("taskset", "--cpu-list", str(core))
        self.name = log.stem
        self._log = log
        self.started = time.perf_counter()
        """Moment of the start, on the clock of `time.perf_counter`."""
        with log.open("ab") as output:
            self._child = subprocess.Popen(
                # Both programs replace themselves by the command, so the pid is the command's.
                ("setpriv", "--pdeathsig", "KILL", *pin, *command),
                stdin=subprocess.PIPE if talks else subprocess.DEVNULL,
                stdout=subprocess.PIPE if talks else output,
                stderr=None if talks else output,
                env=clean_environment() | dict(environment or {}),
                cwd=log.parent,
            )

    @property
    def pid(self) -> int:
        """The process."""
        return self._child.pid

    def cpu_seconds(self) -> float:
        """Return the processor time that all its threads have used."""
        return sum(_times(self._child.pid))

    def hear(self) -> bytes:
        """Wait for the next line of one that talks."""
        line = self._child.stdout.readline() if self._child.stdout else b""
        if not line:
            raise BenchError(f"{self.name} ended with exit code {self._child.wait()}")
        return line

    def go_on(self) -> None:
        """Send a line to one that talks."""
        if self._child.stdin:
            self._child.stdin.write(b"\n")
            self._child.stdin.flush()

    def pause(self) -> None:
        """Stop it where it is."""
        self._child.send_signal(signal.SIGSTOP)

    def resume(self) -> None:
        """Let it go on."""
        self._child.send_signal(signal.SIGCONT)

    def end(self) -> int:
        """Wait until it has ended by itself, and return its exit code."""
        return self._child.wait(_READY_SECONDS)

    def finish(self) -> None:
        """Wait until it has ended by itself, and well. Raises BenchError."""
        if code := self.end():
            raise BenchError(f"{self.name} ended with exit code {code}")

    def terminate(self) -> None:
        """Ask it to end, and wait until it has."""
        self._child.terminate()
        if code := self._child.wait(_READY_SECONDS):
            raise BenchError(f"{self.name} ended with exit code {code}\n{self._tail()}")

    def kill(self) -> None:
        """End it at once."""
        self._child.kill()
        self._child.wait()

    def wait(self, is_ready: Callable[[], bool], poll: float = 0.05) -> None:
        """Wait until it is ready, as long as it lives."""
        end = time.monotonic() + _READY_SECONDS
        while not is_ready():
            if (code := self._child.poll()) is not None:
                raise BenchError(f"{self.name} ended with exit code {code}\n{self._tail()}")
            if time.monotonic() > end:
                raise BenchError(f"{self.name} was not ready in time\n{self._tail()}")
            time.sleep(poll)

    def _tail(self) -> str:
        lines = self._log.read_text(errors="replace").splitlines()
        return "\n".join(["the last lines of its output:", *lines[-_SHOWN_LOG_LINES:]])


@contextlib.contextmanager
def running(
    command: Command,
    log: Path,
    core: int | None = None,
    environment: Mapping[str, str] | None = None,
    *,
    talks: bool = False,
) -> Iterator[Process]:
    """Run a process while the block runs."""
    process = Process(command, log, core, environment, talks=talks)
    try:
        yield process
    finally:
        process.kill()


def clean_environment() -> dict[str, str]:
    """Return the environment without settings of a server."""
    return {key: value for key, value in os.environ.items() if not key.startswith("RANKWIRE_")}


def last_line(command: Command, core: int) -> str:
    """Run a program to its end on one core, and return the last line that it printed."""
    pinned = ["setpriv", "--pdeathsig", "KILL", "taskset", "--cpu-list", str(core), *command]
    ended = subprocess.run(pinned, capture_output=True, text=True, check=False)
    if ended.returncode:
        raise BenchError(f"{command[0]} failed: {ended.stdout}{ended.stderr}")
    return ended.stdout.splitlines()[-1]


RANKWIRE: Final = (sys.executable, "-m", "rankwire")


def serve_command(
    http_port: int, live_port: int, storage: Path, *more: str, program: Sequence[str] = RANKWIRE
) -> Command:
    """Make the command of our server: default settings, on its own ports and storage."""
    return [
        *(*program, "serve", "--config", os.devnull),
        *("--http-port", str(http_port), "--live-port", str(live_port)),
        *("--storage-path", str(storage), "--log-level", "warning", *more),
    ]


def redis_command(port: int) -> Command:
    """Make the command of a Redis that is never written to disk of itself: its best case."""
    return [
        *("redis-server", "--bind", HOST, "--port", str(port), "--save", "", "--appendonly", "no"),
        *("--dbfilename", "dump.rdb"),
    ]


def answers(port: int) -> bool:
    """Tell whether something listens."""
    with contextlib.suppress(OSError), socket.create_connection((HOST, port), 1):
        return True
    return False


def is_ready(port: int) -> bool:
    """Tell whether our server is ready."""
    return status_of(port, "/readyz") == 200


def status_of(port: int, path: str) -> int | None:
    """Return the status of a GET; None if nothing answered."""
    with contextlib.suppress(OSError, http.client.HTTPException):
        return _exchange(port, "GET", path, None)[0]
    return None


def call(port: int, method: str, path: str, content: object = None) -> Any:
    """Send JSON, and return the JSON of the answer, which has to be a success; None if empty."""
    status, answer = _exchange(port, method, path, content)
    if not 200 <= status < 300:
        raise BenchError(f"{method} {path} was answered {status}: {answer[:500]!r}")
    return msgspec.json.decode(answer) if answer else None


def metrics(port: int) -> dict[str, float]:
    """Return our server's metrics by name, labels included."""
    status, answer = _exchange(port, "GET", "/metrics", None)
    if status != 200:
        raise BenchError(f"/metrics was answered {status}")
    samples = (line.rpartition(" ") for line in answer.decode().splitlines() if line[0] != "#")
    return {name: float(value) for name, _, value in samples}


def _exchange(port: int, method: str, path: str, content: object) -> tuple[int, bytes]:
    body = None if content is None else msgspec.json.encode(content)
    with contextlib.closing(http.client.HTTPConnection(HOST, port, timeout=60)) as connection:
        connection.request(method, path, body, {"Content-Type": "application/json"})
        answer = connection.getresponse()
        return answer.status, answer.read()


# Processor time and noise.


class Meter:
    """Measures, from its making to `stop`, who used how much of some cores."""

    def __init__(self, used: Collection[int], processes: Sequence[Process] = ()) -> None:
        """Begin; `processes` are those that are measured."""
        self._cores = used
        self._processes = processes
        self._started = time.monotonic()
        self._before = self._look(processes)

    def stop(self, *joined: Process) -> tuple[float, float]:
        """Return the seconds that the processes used, and the share that all others took.

        Processes that were started meanwhile are measured with the rest.
        """
        after = self._look([*self._processes, *joined])
        ours, other = (now - then for now, then in zip(after, self._before, strict=True))
        seconds = time.monotonic() - self._started
        return ours, max(0.0, other) / (seconds * len(self._cores))

    def _look(self, processes: Sequence[Process]) -> tuple[float, float]:
        """Return the processes' time; and all others', counted from any moment."""
        ours = sum(process.cpu_seconds() for process in processes)
        ended = resource.getrusage(resource.RUSAGE_CHILDREN)
        known = ours + ended.ru_utime + ended.ru_stime + time.process_time()
        return ours, _busy(self._cores) - _kernel_threads() - known


def _busy(used: Iterable[int]) -> float:
    """Return the busy seconds of cores: user, nice, system and what a host took away."""
    names = {f"cpu{core}" for core in used}
    total = 0
    for line in Path("/proc/stat").read_text().splitlines():
        name, *ticks = line.split()
        if name in names:
            total += sum(int(ticks[column]) for column in (0, 1, 2, 7))
    return total / _TICKS


def _kernel_threads() -> float:
    """Return the seconds that the kernel's own threads used; they work for who is measured."""
    total = 0.0
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit():
            with contextlib.suppress(OSError):
                if stat(int(entry.name))[1] == str(_KERNEL_THREADS_PARENT):
                    total += sum(_times(int(entry.name)))
    return total


def _times(pid: int) -> tuple[float, float]:
    fields = stat(pid)
    return int(fields[11]) / _TICKS, int(fields[12]) / _TICKS


def stat(pid: int) -> list[str]:
    """Return the fields of a process, from its state on."""
    return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()


# Results.


def median(values: Iterable[float], digits: int = 2) -> float:
    """Return the median, rounded for people."""
    return round(statistics.median(values), digits)


def ratios(ours: float, against: Mapping[str, float], *, less_is_better: bool) -> dict[str, float]:
    """Return how many times better ours is."""
    return {
        name: round(value / ours if less_is_better else ours / value, 3)
        for name, value in against.items()
    }


def table(head: Sequence[str], rows: Iterable[Sequence[object]]) -> str:
    """Align a table: the first column to the left, numbers to the right."""
    cells = [[*head], *([_cell(cell) for cell in row] for row in rows)]
    widths = [max(map(len, column)) for column in zip(*cells, strict=True)]
    return "\n".join(
        "  ".join(
            cell.ljust(width) if index == 0 else cell.rjust(width)
            for index, (cell, width) in enumerate(zip(row, widths, strict=True))
        )
        for row in cells
    )


def _cell(value: object) -> str:
    if isinstance(value, float):
        return f"{value:,.2f}" if value < 1000 else f"{value:,.0f}"
    return f"{value:,}" if isinstance(value, int) else str(value)


def circumstances(*packages: str) -> dict[str, object]:
    """Return what ran on what."""
    lines = Path("/proc/cpuinfo").read_text().splitlines()
    models = [line.partition(": ")[2] for line in lines if line.startswith("model name")]
    programs = {
        "kernel": platform.release(),
        "python": platform.python_version(),
        "sqlite": sqlite3.sqlite_version,
        "redis-server": _output("redis-server", "--version").partition("v=")[2].partition(" ")[0],
        "wrk": _output("wrk", "-v").partition(" [")[0].removeprefix("wrk "),
    }
    return {
        "machine": f"{models[0] if models else platform.machine()}, {os.cpu_count()} cores",
        "versions": programs | {name: version(name) for name in ("rankwire", *packages)},
    }


def print_result(name: str, others: float, *packages: str, **figures: object) -> None:
    """Print the last line: the figures, how noisy it was, and what ran on what."""
    noise = {"noisy": others > QUIET, "others": round(others, 3)}
    result = {"name": name, **figures, **noise, **circumstances(*packages)}
    print(msgspec.json.encode(result).decode())


def _output(*command: str) -> str:
    """Return what a program says; wrk tells its version with exit code 1."""
    if shutil.which(command[0]) is None:
        return ""
    return subprocess.run(command, capture_output=True, text=True, check=False).stdout


def progress(text: str, others: float = 0.0) -> None:
    """Say how far it is, and warn if others took too much of the cores meanwhile."""
    print(text, file=sys.stderr, flush=True)
    if others > QUIET:
        warning = f"WARNING: other programs took {others:.0%} of the cores: no result to keep"
        print(warning, file=sys.stderr, flush=True)


def main(run: Callable[[], None]) -> None:
    """Run a benchmark so that it cleans up however it ends, and ends with 1 if it failed."""
    signal.signal(signal.SIGTERM, lambda number, _frame: sys.exit(128 + number))
    try:
        run()
    except BenchError as error:
        sys.exit(f"{Path(sys.argv[0]).name}: {error}")
    except KeyboardInterrupt:
        sys.exit(130)
