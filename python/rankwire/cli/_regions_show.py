"""What ``rankwire regions`` shows people.

What is not known is said to be unknown, and is never zero.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import click
from rich.table import Table
from rich.text import Text

from rankwire.cli._output import show

if TYPE_CHECKING:
    from rankwire.sync.regions.status import FailoverReport, LinkStatus, RegionsStatus

_UNKNOWN = "unknown"
_SECOND_MS = 1000
_MINUTE_MS = 60_000


def show_status(status: RegionsStatus) -> None:
    """Print how a region is, and how the others are as it sees them."""
    click.echo(f"Region {status.region}, mode {status.mode}: {_role(status)}.")
    if status.out_reason is not None:
        click.echo(f"Taken out by an operator: {status.out_reason}.")
    table = Table("region", "answers", "lag", "clock", "lacks of ours", "we lack", "epoch")
    for column in table.columns[2:]:
        column.justify = "right"
    for link in status.links:
        table.add_row(*_cells(link))
    show(table)
    for link in status.links:
        if link.trouble is not None:
            click.echo(f"{link.region}: {link.trouble}.")
    for reason in status.degraded:
        click.echo(f"Degraded: {reason}.")


def show_failover(report: FailoverReport) -> None:
    """Print how a region became the primary."""
    for step in report.steps:
        click.echo(f"{step.after_ms / _SECOND_MS:8.3f} s  {step.what}")
    before = f" in place of {report.before}" if report.before else ""
    click.echo(f"Region {report.region} is the primary{before}, in epoch {report.epoch}.")
    if report.lost:
        click.echo(
            f"{report.lost:,} batches that other regions have shown were not here when it was "
            "opened by force; they come when those regions are reached."
        )


def milliseconds(value: float | None) -> str:
    """Write a time or a difference of times as people read it."""
    if value is None:
        return _UNKNOWN
    if abs(value) < _SECOND_MS:
        return f"{value:.0f} ms"
    if abs(value) < _MINUTE_MS:
        return f"{value / _SECOND_MS:.1f} s"
    return f"{value / _MINUTE_MS:.0f} min"


def _role(status: RegionsStatus) -> str:
    epoch = _UNKNOWN if status.epoch is None else str(status.epoch)
    if status.primary is None:
        return "it is not known which region is the primary"
    if status.primary != status.region:
        return f"{status.primary} is the primary of epoch {epoch}"
    if not status.is_primary:
        why = "its lease has ended" if status.is_open else "it is not open yet"
        return f"the primary of epoch {epoch}, which may not act: {why}"
    lease = "" if status.lease_ms is None else f", lease {milliseconds(status.lease_ms)}"
    return f"the primary of epoch {epoch}{lease}"


def _cells(link: LinkStatus) -> list[Text]:
    ahead = milliseconds(link.drift_ms)
    words = (
        link.region,
        "yes" if link.up else "no",
        milliseconds(link.lag_ms),
        f"+{ahead}" if (link.drift_ms or 0) > 0 else ahead,
        _count(link.behind),
        _count(link.lacking),
        _count(link.epoch),
    )
    style = "red" if link.trouble is not None or not link.up else ""
    return [Text(word, style=style, overflow="fold") for word in words]


def _count(value: int | None) -> str:
    return _UNKNOWN if value is None else f"{value:,}"
