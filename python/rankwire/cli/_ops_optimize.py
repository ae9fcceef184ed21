"""``rankwire ops optimize``: what is paid for more than is needed."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click
import msgspec
from rich.console import Group

from rankwire.cli._ops_prices import load_catalogue
from rankwire.cli._options import examples, load_settings, some_settings
from rankwire.cli._output import Failure, show
from rankwire.ops.optimizer.inventory import Inventory, InventoryError, read_inventory
from rankwire.ops.optimizer.resources import ResourceOptimizer, UsageReport
from rankwire.ops.optimizer.usage import UsageError
from rankwire.ops.optimizer.usage_csv import read_usage
from rankwire.ops.report import terminal

if TYPE_CHECKING:
    from collections.abc import Mapping

    from rankwire.ops.optimizer.usage import UsageStore


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
    page = terminal.machines(report, full=full, most=len(report.recommendations))
    show(Group(*page))


def _place(store: UsageStore, instance: str) -> None:
    for usage in store.workloads.values():
        if not usage.place.instance:
            usage.place = msgspec.structs.replace(usage.place, instance=instance)
