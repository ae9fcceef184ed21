"""``rankwire ops optimize``: what is paid for more than is needed."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click
import msgspec
from rich.table import Table
from rich.text import Text

from rankwire.cli._ops_prices import load_catalogue
from rankwire.cli._options import examples, load_settings, some_settings
from rankwire.cli._output import Failure, console
from rankwire.ops.optimizer.inventory import Inventory, InventoryError, read_inventory
from rankwire.ops.optimizer.resources import ResourceOptimizer, UsageReport
from rankwire.ops.optimizer.usage import UsageError
from rankwire.ops.optimizer.usage_csv import read_usage
from rankwire.ops.prices import age_days, oldest

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from rankwire.ops.findings import Recommendation
    from rankwire.ops.optimizer.savings import OptimizationReport
    from rankwire.ops.optimizer.usage import UsageStore

_GB = 1024**3


def _counts(
    _ctx: click.Context, _option: click.Parameter, words: tuple[str, ...]
) -> dict[str, int]:
    found = {}
    for word in words:
        sku, _, count = word.rpartition("=")
        if not sku or not count.isdecimal() or not int(count):
            raise click.BadParameter(f"{word!r} is not like ec2:c7g.large=3")
        found[sku] = int(count)
    return found


@click.command(
    "optimize",
    short_help="Fit machines to what was used of them.",
    epilog=examples(
        "rankwire ops optimize /var/lib/rankwire/usage --instance ec2:c7g.large",
        "rankwire ops optimize fleet.csv --arch arm64 --full",
        "rankwire ops optimize fleet.csv --inventory stored.json --json",
    ),
)
@click.argument("file", required=False, type=click.Path(path_type=Path))
@click.option(
    "--inventory",
    type=click.Path(path_type=Path),
    help="JSON file that says what is stored; docs/analytics.md has its format.",
)
@click.option(
    "--instance",
    metavar="SKU",
    default="",
    help="Machine of the workloads for which the file names none.",
)
@click.option(
    "--nodes",
    metavar="SKU=COUNT",
    multiple=True,
    callback=_counts,
    help="How many such nodes there are for pods. Repeatable.",
)
@click.option(
    "--arch",
    "archs",
    type=click.Choice(["arm64", "x86_64"]),
    multiple=True,
    help="Allow this architecture as well as the present one. Repeatable.",
)
@click.option("--full", is_flag=True, help="Say all of each recommendation, and what to apply.")
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
@some_settings("ops.usage_path", "ops.prices")
def command(  # noqa: PLR0913 - one parameter an option
    *,
    file: Path | None,
    inventory: Path | None,
    instance: str,
    nodes: Mapping[str, int],
    archs: tuple[str, ...],
    full: bool,
    as_json: bool,
    config_file: Path | None,
    **flags: str | None,
) -> None:
    """Say which machines, pods, reservations and stored data cost more than they have to.

    FILE is what a server keeps at `ops.usage_path` (the default), or CSV with the columns at,
    workload, cpu_cores and memory_bytes, for a fleet. Nothing is changed. Money counts only when
    the bill falls: what smaller requests of pods free is shown beside it.
    """
    catalogue = load_catalogue(config_file, flags)
    path = file or Path(load_settings(config_file, flags).ops.usage_path)
    if path == Path():
        raise click.UsageError("name a FILE, or set ops.usage_path")
    try:
        store = read_usage(path)
        stored = read_inventory(inventory) if inventory else Inventory()
    except (UsageError, InventoryError) as error:
        raise Failure(str(error)) from error
    _place(store, instance)
    told = UsageReport(workloads=store.workloads, nodes=nodes, archs=archs, inventory=stored)
    report = ResourceOptimizer(catalogue).optimize(told)
    if as_json:
        click.echo(msgspec.json.encode(report).decode())
        return
    _show(report, full=full)


def _place(store: UsageStore, instance: str) -> None:
    for usage in store.workloads.values():
        if not usage.place.instance:
            usage.place = msgspec.structs.replace(usage.place, instance=instance)


def _show(report: OptimizationReport, *, full: bool) -> None:
    screen = console()
    if report.recommendations:
        screen.print(_table(report.recommendations))
    else:
        click.echo("Nothing to change.")
    if full:
        for recommendation in report.recommendations:
            _show_all(recommendation, report)
    _list("Not judged", (f"{r.resource} ({r.action}): {r.reason}" for r in report.refused))
    _list("No price, so in no sum", report.unpriced)
    click.echo(
        f"Now ${report.current_monthly:,.2f} a month, then ${report.optimized_monthly:,.2f}: "
        f"saves ${report.savings:,.2f}, from {report.window_hours:,} hours of history."
    )
    freed = report.capacity_freed
    if freed.cores or freed.memory_bytes or freed.stored_bytes:
        click.echo(
            f"Frees besides, without saving by itself: {freed.cores:.2f} cores, "
            f"{freed.memory_bytes / _GB:.2f} GB of memory, "
            f"{freed.stored_bytes / _GB:.2f} GB stored."
        )
    if report.current_costs:
        day = oldest([*report.current_costs, *report.optimized_costs])
        click.echo(f"The oldest price in this is of {day}, {age_days(day):,} days ago.")


def _table(recommendations: list[Recommendation]) -> Table:
    table = Table("what to do", "$ a month", "confidence")
    table.columns[1].justify = "right"
    for recommendation in recommendations:
        monthly = recommendation.monthly
        table.add_row(
            Text(recommendation.description, overflow="fold"),
            "unknown" if monthly is None else f"{monthly:+,.2f}",
            recommendation.confidence,
        )
    return table


def _show_all(recommendation: Recommendation, report: OptimizationReport) -> None:
    click.echo(f"\n{recommendation.id} ({recommendation.model})")
    inputs = ", ".join(
        f"{name} {value:,.6g}" if isinstance(value, float) else f"{name} {value}"
        for name, value in recommendation.inputs.items()
    )
    click.echo(f"  from: {inputs}")
    for predicted in recommendation.predicted:
        click.echo(
            f"  {predicted.figure}: {predicted.before:,.4g} to {predicted.after:,.4g} "
            f"{predicted.unit}"
        )
    for line in recommendation.cost:
        click.echo(
            f"  {line.monthly:+,.2f}: {line.quantity:,.6g} {line.unit} of {line.sku} at "
            f"${line.unit_price:g}, of {line.date}"
        )
    for risk in report.risk_assessment:
        if risk.recommendation == recommendation.id:
            click.echo(f"  risk: {risk.part:.2%} {risk.text}")
    for caveat in recommendation.caveats:
        click.echo(f"  note: {caveat}")
    if recommendation.apply:
        click.echo("  apply:")
        click.echo("".join(f"    {line}\n" for line in recommendation.apply.splitlines()))


def _list(title: str, lines: Iterable[str]) -> None:
    shown = list(lines)
    if shown:
        click.echo(f"{title}:")
    for line in shown:
        click.echo(f"  {line}")
