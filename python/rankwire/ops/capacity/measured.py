"""What load tests of whole scenarios have shown: figures with their date, machine and source.

Promises: every figure says when, on what and how it was measured, and in which file the whole
result is; a file with an unknown key, a misspelt date or a number out of its range is refused with
one sentence. Only `loadtests/publish.py` writes such a file. A test may have carried a part of its
scenario only: it says which, and nobody takes it for the whole.
"""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Final

import msgspec
from msgspec import Meta

from rankwire.ops.capacity.scenario import Demand

SHIPPED: Final = Path(__file__).parent.parent / "data" / "loadtests.json"
"""The load tests that come with the program."""

MOST_BYTES: Final = 1024**2
"""Largest file that is read."""

MOST_PARTS: Final = 8
"""Most tests of one scenario."""

Amount = Annotated[float, Meta(ge=0, le=1e12)]
Words = Annotated[str, Meta(min_length=1, max_length=200)]


class MeasuredError(Exception):
    """The load tests cannot be used; the text says why."""


class _Strict(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    pass


class LoadTest(_Strict, frozen=True, kw_only=True):
    """One test, all of whose checks were kept."""

    date: Annotated[str, Meta(pattern=r"^\d{4}-\d{2}-\d{2}$")]
    machine: Words
    """With its cores, which servers, PostgreSQL, Redis and all clients shared."""
    target: Words
    """Measures it again: a target of make."""
    source: Annotated[str, Meta(pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]{0,99}\.json$")]
    """The whole result, in `loadtests/results`."""
    users: Amount
    connections: Amount
    updates_per_minute: Amount
    reads_per_update: Amount
    """Over HTTP."""
    batch: Annotated[int, Meta(ge=1, le=10_000)] = 1
    """Scores in a request of a submit."""
    api_p99_ms: Amount
    """Of all requests, from the moment at which each was due."""
    delivery_p99_ms: Amount | None = None
    """Of views that many watch, from a submit to each watcher; None where nothing was delivered."""
    noisy: bool = False
    """Whether other programs took more of the machine than a measurement should bear."""

    def carries(self, demand: Demand) -> bool:
        """Tell whether this was the whole demand."""
        return (
            self.users >= demand.users
            and self.connections >= demand.connections
            and self.updates_per_minute >= demand.updates_per_minute
            and self.reads_per_update >= demand.reads_per_update
            and self.batch == 1
        )


class LoadTestFile(_Strict, frozen=True):
    """The file."""

    tests: dict[str, Annotated[list[LoadTest], Meta(min_length=1, max_length=MOST_PARTS)]]
    """By the name of the scenario."""


def load_tests(path: Path | None = None) -> LoadTestFile:
    """Read the tests, without a path those that come with the program. Raises MeasuredError."""
    file = SHIPPED if path is None else path
    try:
        if file.stat().st_size > MOST_BYTES:
            raise MeasuredError(f"{file} is larger than a file of load tests may be")
        return msgspec.json.decode(file.read_bytes(), type=LoadTestFile)
    except OSError as error:
        raise MeasuredError(f"{file} cannot be read: {error.strerror}") from error
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        raise MeasuredError(f"{file} is no file of load tests: {error}") from error
