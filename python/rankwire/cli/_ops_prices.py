"""``rankwire ops prices``: what the price table says, and newer prices for it."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click
import msgspec
from rich.table import Table

from rankwire.cli._files import write_file
from rankwire.cli._options import examples, load_settings, some_settings
from rankwire.cli._output import Failure, console
from rankwire.ops import offers
from rankwire.ops.prices import Catalogue, PriceError, age_days, check_table, read_table
from rankwire.ops.report import words

if TYPE_CHECKING:
    from rankwire.ops.prices import Price


def load_catalogue(config_file: Path | None, flags: dict[str, str | None]) -> Catalogue:
    """Read the price table of the settings, or the one that comes with the program."""
    named = load_settings(config_file, flags).ops.prices
    try:
        return Catalogue.load(named)
    except PriceError as error:
        raise Failure(str(error)) from error


@click.group(
    "prices",
    short_help="Show and renew the table of prices.",
    epilog=examples(
        "rankwire ops prices list",
        "rankwire ops prices import ec2-us-east-1.json --output prices.json",
    ),
)
def command() -> None:
    """Show the price table, or bring it up to date.

    Prices are list prices with a source and a date. Nothing is asked of any network: newer prices
    come from a file that you fetch from AWS, by `prices import`.
    """


@command.command(
    "list",
    epilog=examples(
        "rankwire ops prices list",
        "rankwire ops prices list rds-pg",
        "rankwire ops prices list --json",
    ),
)
@click.argument("word", default="")
@click.option("--json", "as_json", is_flag=True, help="Print JSON, a price a line.")
@some_settings("ops.prices")
def list_prices(*, word: str, as_json: bool, config_file: Path | None, **flags: str | None) -> None:
    """Print the prices whose SKU has WORD in it, all without one."""
    catalogue = load_catalogue(config_file, flags)
    found = [price for price in catalogue if word in price.sku]
    if not found:
        raise Failure(f"the price table of {catalogue.region} has nothing with {word!r}")
    if as_json:
        for price in found:
            click.echo(msgspec.json.encode(price).decode())
        return
    console().print(_table(found))
    oldest = catalogue.oldest
    click.echo(
        f"{len(found):,} prices of {catalogue.region} in {catalogue.currency}; the oldest of the "
        f"table is of {oldest}, {age_days(oldest):,} days ago."
    )


def _table(prices: list[Price]) -> Table:
    table = Table("SKU", "unit", "price", "date", "confidence", "source")
    table.columns[2].justify = "right"
    for price in prices:
        amount = f"{price.amount:g}{' …' if price.tiers else ''}"
        cells = (price.unit, amount, price.date, price.confidence, words.source(price.source))
        table.add_row(price.sku, *cells)
    return table


@command.command(
    "import",
    epilog=examples(
        "rankwire ops prices import ec2-us-east-1.json --output prices.json",
        "rankwire ops prices import rds-us-east-1.json --base prices.json --output prices.json",
        "rankwire ops prices import cache-eu-west-1.json --output prices-eu.json",
    ),
)
@click.argument("file", type=click.Path(path_type=Path))
@click.option(
    "--output",
    required=True,
    type=click.Path(path_type=Path),
    help="Price table to write, for the setting ops.prices. Its owner alone can read it.",
)
@click.option(
    "--base",
    type=click.Path(path_type=Path),
    help="Price table to put the new rows into. [default: the one that comes with the program]",
)
def import_prices(*, file: Path, output: Path, base: Path | None) -> None:
    """Read prices from FILE, an offer file that AWS publishes in bulk.

    It is `offers/v1.0/aws/SERVICE/current/REGION/index.json` of AmazonEC2, AmazonRDS or
    AmazonElastiCache. The rows in it replace those with the same SKU in the base. If the base that
    comes with the program is about another region, the new table has the rows of FILE only.
    """
    try:
        new = offers.import_offer(file)
        old = Catalogue.load(base).table
        alone = base is None and old.region != new.region
        table = new if alone else offers.merge(old, new)
        check_table(table)
        write_file(output, offers.encode(table))
        read_table(output)
    except PriceError as error:
        raise Failure(str(error)) from error
    click.echo(f"{len(new.rows):,} prices of {new.region} are in {output}.")
    if alone:
        click.echo("It has nothing else: no load balancers, storage or egress of that region.")
