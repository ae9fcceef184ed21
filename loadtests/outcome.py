"""What came of a scenario: as JSON for programs, and as tables in Markdown for people.

Promises: both say when, where and of which commit it was measured, and every check, held or not.
What is not known is null or a dash, and what is an estimate is called one.
"""

from __future__ import annotations

import subprocess
from collections.abc import Iterable, Iterator, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Final

import msgspec

import harness
from book import Found
from scenario import Scenario
from usage import Used
from verdict import Check

_KIB: Final = 1024


class Memory(msgspec.Struct, frozen=True):
    """Bytes that each socket takes."""

    process: float
    """By how much the memory of the nodes that hold them grew, while they were opened."""
    kernel_estimate: float
    """By how much the kernel's memory of the whole machine grew at most: a socket has both its ends
    here, the generator's and the node's, so a node alone takes about half of it."""


class Outcome(msgspec.Struct, frozen=True):
    """What came of a run."""

    scenario: Scenario
    checks: list[Check]
    found: Found
    used: Used
    generator: Any
    """The generator's result."""
    postgres: str
    """The version of the database."""

    @property
    def ok(self) -> bool:
        """Whether every check holds."""
        return all(check.ok for check in self.checks)

    @property
    def memory(self) -> Memory:
        """What each socket takes."""
        sockets = self.scenario.sockets.count
        grown = sum(
            told["opened"]["anon_kb"] - told["before"]["anon_kb"]
            for name, told in self.generator["memory"]["processes"].items()
            if name.startswith("hub-")
        )
        return Memory(grown * _KIB / sockets, self.used.kernel_bytes / sockets)

    def publish(self, name: str, directory: Path) -> str:
        """Write both files, and return the text for people."""
        now = datetime.now(UTC)
        place = {"date": now.isoformat(timespec="seconds"), "commit": commit()}
        machine: dict[str, Any] = harness.circumstances()
        machine["versions"] = machine["versions"] | {"postgres": self.postgres}
        file = directory / f"{now.date().isoformat()}-{name}"
        result = {
            "scenario": name,
            "ok": self.ok,
            "noisy": self.used.others > harness.QUIET,
            **place,
            **machine,
            "memory": self.memory,
            "load": self.scenario,
            "checks": self.checks,
            "found": self.found,
            "used": self.used,
            "generator": self.generator,
        }
        text = "\n\n".join(self._parts(name, place, machine)) + "\n"
        directory.mkdir(parents=True, exist_ok=True)
        file.with_suffix(".json").write_bytes(msgspec.json.format(msgspec.json.encode(result)))
        file.with_suffix(".md").write_text(text)
        return text

    def _parts(self, name: str, place: dict[str, str | None], machine: Any) -> Iterator[str]:
        """Give the sections of the text."""
        yield f"# {name}: {'all checks hold' if self.ok else 'FAILED'}"
        yield f"{self.scenario.about}."
        versions = ", ".join(f"{name} {what}" for name, what in machine["versions"].items() if what)
        yield (
            f"{place['date']}, commit {place['commit'] or 'unknown'}, {machine['machine']}; "
            f"{versions}. The cluster and the generator share all cores; other programs took "
            f"{self.used.others:.1%} of them."
        )
        yield "## Checks"
        yield _table(
            ("what", "allowed", "measured", "holds"),
            (
                (one.what, one.allowed, _figure(one.measured), "yes" if one.ok else "**NO**")
                for one in self.checks
            ),
        )
        yield "## Latencies, in ms"
        yield _table(("phase", "what", "count", "p50", "p95", "p99", "most"), self._latencies())
        yield "## Processes"
        phases = [phase["name"] for phase in self.generator["phases"]]
        head = ("process", *(f"cores, {phase}" for phase in phases))
        yield _table((*head, "cores, the whole run", "resident MB"), self._processes())
        memory = self.memory
        yield (
            f"A socket takes {memory.process:,.0f} bytes of its node's memory, and about "
            f"{memory.kernel_estimate:,.0f} of the kernel's for both of its ends (an estimate: by "
            "how much all slabs of the machine grew)."
        )

    def _latencies(self) -> Iterator[Sequence[object]]:
        for phase in self.generator["phases"]:
            views = phase["delivery"]["by_template"].items()
            told = phase["api"] | {f"{view}, delivered": summary for view, summary in views}
            for what, summary in told.items():
                if summary["count"]:
                    figures = (summary[key] for key in ("p50_ms", "p95_ms", "p99_ms", "max_ms"))
                    yield (phase["name"], what, f"{summary['count']:,}", *map(_figure, figures))

    def _processes(self) -> Iterator[Sequence[object]]:
        memory = self.generator["memory"]["processes"]
        for name, cores in self.used.cores.items():
            shares = (_figure(phase["cpu"].get(name)) for phase in self.generator["phases"])
            resident = memory[name]["after"]["rss_kb"] / _KIB if name in memory else None
            yield (name, *shares, _figure(cores), _figure(resident))


def commit() -> str | None:
    """Return the commit that is measured, with a mark if files were changed; None if unknown."""
    head = _git("rev-parse", "--short=12", "HEAD")
    changed = _git("status", "--porcelain", "--untracked-files=no")
    return head and head + (" with changes" if changed else "")


def _git(*arguments: str) -> str | None:
    command = ("git", "-C", str(harness.ROOT), *arguments)
    try:
        ended = subprocess.run(command, capture_output=True, text=True, check=False)
    except FileNotFoundError:
        return None
    return ended.stdout.strip() if ended.returncode == 0 else None


def _table(head: Sequence[str], rows: Iterable[Sequence[object]]) -> str:
    lines = [head, ["---"] * len(head), *rows]
    return "\n".join("| " + " | ".join(map(str, line)) + " |" for line in lines)


def _figure(value: float | None) -> str:
    if value is None:
        return "-"
    return f"{value:,}" if isinstance(value, int) else f"{value:,.2f}"
