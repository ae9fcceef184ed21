"""What one of each thing costs: measured figures with their date, machine and command.

Promises: every unit that the models need is there, is a finite number and not negative, and says
how to measure it again; a file without that is refused. Only `loadtests/bench_units.py` writes
such a file. Times of processors are of the machine that is named, whole processes with what the
kernel did for them.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Final

import msgspec
from msgspec import Meta

SHIPPED: Final = Path(__file__).parent.parent / "data" / "units.json"
"""The units that come with the program."""

MOST_BYTES: Final = 1024**2
"""Largest file that is read."""

_US: Final = "µs"

NEEDED: Final[Mapping[str, tuple[str, str]]] = {
    "cpu_base": ("cores", "processor time of a server that has nothing to do"),
    "cpu_wake": (_US, "each time that reads over HTTP wake the server"),
    "wake_seconds": ("s", "what comes within so long after a request is served in the same go"),
    "cpu_read_top": (_US, "a top of 10 over HTTP, but for the waking"),
    "cpu_read_member": (_US, "a standing over HTTP"),
    "cpu_read_around": (_US, "ten neighbours over HTTP"),
    "cpu_submit_http": (_US, "a submit over HTTP, but for taking it up and its commit"),
    "cpu_submit_ws": (_US, "the same over WebSocket"),
    "cpu_score_batched": (_US, "a score in a batch of 1,000, JSON over HTTP, all included"),
    "cpu_seal_http": (_US, "each time that submits over HTTP are taken up"),
    "cpu_seal_ws": (_US, "each time that submits over WebSocket are taken up"),
    "cpu_commit": (_US, "a durable commit of what was taken up"),
    "commit_seconds": ("s", "what comes while a commit is under way shares the next one"),
    "cpu_apply": (_US, "a record of another node taken in"),
    "cpu_idle_connection": (f"{_US}/s", "a connection that only answers pings"),
    "cpu_delivery": (_US, "a message to a watcher"),
    "cpu_evaluation": (_US, "a look whether a view has changed"),
    "memory_process": ("bytes", "resident memory of a server without members and connections"),
    "memory_connection": ("bytes", "the server's own memory for a connection in the mix of views"),
    "memory_connection_kernel": ("bytes", "the kernel's memory for it"),
    "memory_member": ("bytes", "a member on a board, right after it came in"),
    "bytes_read_top": ("bytes", "answer to a read of a top of 10, head included"),
    "bytes_read_member": ("bytes", "answer to a read of a standing"),
    "bytes_read_around": ("bytes", "answer to a read of ten neighbours"),
    "bytes_receipt": ("bytes", "answer to a submit"),
    "bytes_message_standing": ("bytes", "message about one's own standing, JSON"),
    "bytes_message_top": ("bytes", "message about a top of 10, JSON"),
    "bytes_frame": ("bytes", "head of a WebSocket frame"),
    "pings_per_second": ("1/s", "pings to a connection"),
    "change_share": ("1/update", "share of a game's submits that change a board"),
    "change_standing": (
        "1/update",
        "changes of a standing by others, for each update of its board",
    ),
    "change_cohort": ("1/update", "changes of a cohort's top 10 for each update of its board"),
    "change_top": ("1/update", "changes of the top 10 of all for each update of their board"),
    "database_cpu_commit": (_US, "a commit in PostgreSQL, but for what it commits"),
    "database_cpu_score": (_US, "a score within a commit in PostgreSQL"),
    "database_commit_seconds": ("s", "as commit_seconds, on PostgreSQL"),
    "database_bytes_score": ("bytes", "a score in the journal in PostgreSQL"),
    "database_bytes_member": ("bytes", "a member of a board in the checkpoint in PostgreSQL"),
}
"""Units that the models use, each with how it is counted and what it is."""


class UnitError(Exception):
    """The units cannot be used; the text says why."""


class Unit(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A measured figure."""

    value: Annotated[float, Meta(ge=0)]
    unit: str
    what: str
    date: Annotated[str, Meta(pattern=r"^\d{4}-\d{2}-\d{2}$")]
    """When it was measured."""
    machine: str
    target: str
    """Measures it again: a target of make."""


class UnitFile(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """The file."""

    units: dict[str, Unit]
    noisy: bool = False
    """Whether other programs took more of the machine than a measurement should bear."""


class Units:
    """The units by name."""

    def __init__(self, file: UnitFile) -> None:
        """Check that all are there. Raises UnitError."""
        self.file = file
        missing = sorted(NEEDED.keys() - file.units.keys())
        if missing:
            raise UnitError(f"units are missing, run `make bench-units`: {', '.join(missing)}")
        for name, unit in file.units.items():
            if not math.isfinite(unit.value):
                raise UnitError(f"the unit {name} is not finite")
            if name in NEEDED and unit.unit != NEEDED[name][0]:
                raise UnitError(f"the unit {name} is in {unit.unit}, wanted is {NEEDED[name][0]}")

    def __getitem__(self, name: str) -> float:
        """Give the value of a unit of `NEEDED`."""
        return self.file.units[name].value

    def seconds(self, name: str) -> float:
        """Give a unit of processor time in seconds."""
        return self[name] / 1e6

    @classmethod
    def load(cls, path: Path | None = None) -> Units:
        """Read units, without a path those that come with the program. Raises UnitError."""
        file = SHIPPED if path is None else path
        try:
            if file.stat().st_size > MOST_BYTES:
                raise UnitError(f"{file} is larger than a file of units may be")
            content = msgspec.json.decode(file.read_bytes(), type=UnitFile)
        except OSError as error:
            raise UnitError(f"{file} cannot be read: {error.strerror}") from error
        except (msgspec.DecodeError, UnicodeDecodeError) as error:
            raise UnitError(f"{file} is no file of units: {error}") from error
        return cls(content)
