"""``rankwire ops capacity``: what a load needs and costs, from measured units and dated prices."""

from __future__ import annotations

from datetime import date
from pathlib import Path
from typing import TYPE_CHECKING, cast

import click
import msgspec
from rich.table import Table
from rich.text import Text

from rankwire.cli._ops_prices import load_catalogue
from rankwire.cli._options import examples, some_settings
from rankwire.cli._output import Failure, console
from rankwire.ops.capacity import text
from rankwire.ops.capacity.fleet import CapacityError
from rankwire.ops.capacity.measured import MeasuredError, load_tests
from rankwire.ops.capacity.plan import CapacityPlanner
from rankwire.ops.capacity.scenario import NAMES, ScenarioError, load_scenario
from rankwire.ops.capacity.units import UnitError, Units
from rankwire.ops.prices import PriceError, age_days

if TYPE_CHECKING:
    from rankwire.ops.capacity.text import Sheet
    from rankwire.ops.prices import Architecture

_ARCHITECTURES = {"arm": "arm64", "x86": "x86_64"}

_units = click.option(
    "--units",
    "units_file",
    type=click.Path(path_type=Path),
    help="Measured units, as `make bench-units` writes them. [default: those of the program]",
)


@click.group(
    "capacity",
    short_help="Plan machines and their cost for a load.",
    epilog=examples(
        "rankwire ops capacity plan --scenario medium",
        "rankwire ops capacity units",
    ),
)
def command() -> None:
    """Plan machines and their cost for a load.

    What a thing costs a server was measured (`capacity units`), what a machine costs stands in the
    price table (`rankwire ops prices`). A scenario says what is asked.
    """


@command.command(
    "plan",
    epilog=examples(
        "rankwire ops capacity plan --scenario medium",
        "rankwire ops capacity plan --scenario large --arch x86 --markdown > large.md",
        "rankwire ops capacity plan --scenario game.toml --json",
    ),
)
@click.option(
    "--scenario",
    "name",
    required=True,
    metavar="|".join((*NAMES, "FILE")),
    help="What is asked: a scenario of the program, or a TOML file.",
)
@click.option(
    "--arch",
    type=click.Choice([*_ARCHITECTURES]),
    default="arm",
    show_default=True,
    help="Processors of the machines.",
)
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
@click.option("--markdown", "as_markdown", is_flag=True, help="Print Markdown.")
@_units
@some_settings("ops.prices")
def plan(
    *,
    name: str,
    arch: str,
    as_json: bool,
    as_markdown: bool,
    units_file: Path | None,
    config_file: Path | None,
    **flags: str | None,
) -> None:
    """Say which machines a scenario needs, and what they cost in a month.

    Of each tier a zone or the spare machines may be lost, and the rest still carries everything at
    no more use than the scenario allows. Beside it stand what was stated for the scenario, priced
    from the same table, and the bill with one thing changed at a time. The same input gives the
    same output.
    """
    if as_json and as_markdown:
        raise click.UsageError("give one of --json and --markdown")
    catalogue = load_catalogue(config_file, flags)
    try:
        scenario = load_scenario(name)
        planner = CapacityPlanner(catalogue, Units.load(units_file), load_tests().tests)
        made = planner.plan(scenario, cast("Architecture", _ARCHITECTURES[arch]))
    except (ScenarioError, UnitError, MeasuredError, CapacityError, PriceError) as error:
        raise Failure(str(error)) from error
    if as_json:
        click.echo(msgspec.json.encode(made).decode())
    elif as_markdown:
        click.echo(text.markdown(made), nl=False)
    else:
        click.echo(text.summary(made))
        for sheet in text.sheets(made):
            _show(sheet)
        for caveat in made.caveats:
            click.echo(f"Note: {caveat}")
        days = age_days(date.fromisoformat(made.prices_oldest))
        click.echo(f"Prices are up to {days:,} days old; `rankwire ops prices import` renews them.")


@command.command(
    "units",
    epilog=examples("rankwire ops capacity units", "rankwire ops capacity units --json"),
)
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
@_units
def show_units(*, as_json: bool, units_file: Path | None) -> None:
    """Print what one of each thing costs a server, and how to measure it again."""
    try:
        file = Units.load(units_file).file
    except UnitError as error:
        raise Failure(str(error)) from error
    if as_json:
        click.echo(msgspec.json.encode(file).decode())
        return
    _show(text.units_sheet(file.units))
    click.echo(f"Measured on {next(iter(file.units.values())).machine}.")
    if file.noisy:
        click.echo("Note: other programs used the machine meanwhile.")


def _show(sheet: Sheet) -> None:
    shown = Table(title=Text(sheet.title), title_justify="left")
    for head in sheet.head:
        shown.add_column(Text(head), overflow="fold")
    for row in sheet.rows:
        shown.add_row(*(Text(cell, overflow="fold") for cell in row))
    console().print(shown)
    for line in sheet.foot:
        click.echo(line)
