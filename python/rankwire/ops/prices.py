"""The price table: dated prices with their sources, and the lines of a bill made from them.

Promises: every price names its source, its date and how far it can be trusted; a table that breaks
the format is refused with one sentence that says where. A line's `monthly` is its `quantity` times
its `unit_price`. Prices are US dollars, a month has the table's hours. Reads one file; asks no
network.
"""

from __future__ import annotations

import difflib
import math
from collections.abc import Iterable, Iterator, Mapping
from datetime import UTC, date, datetime
from decimal import ROUND_HALF_UP, Decimal
from pathlib import Path
from typing import Annotated, Final, Literal

import msgspec
from msgspec import Meta

from rankwire.ops.findings import Confidence, CostLine

SHIPPED: Final = Path(__file__).parent / "data" / "prices-aws-us-east-1.json"
"""The table that comes with the program."""

FORMAT: Final = 1
MOST_BYTES: Final = 16 * 1024**2
"""Largest table that is read."""
MOST_ROWS: Final = 20_000

HOURLY: Final = "hour"
"""Unit of what is paid by the hour; its lines are asked for in pieces that run all month."""

Attribute = bool | float | str
Kind = Literal["ec2", "rds-pg", "cache-redis", "cache-valkey"]
Architecture = Literal["arm64", "x86_64"]


class PriceError(Exception):
    """A price table cannot be read, or has no such price; the text says what to do."""


class Tier(msgspec.Struct, frozen=True, array_like=True):
    """A step of a price that falls with the amount."""

    width: Annotated[float, Meta(gt=0)] | None
    """Units that it covers after those before; None for all that is left."""
    amount: Annotated[float, Meta(ge=0)]


class Price(msgspec.Struct, frozen=True):
    """What one unit of something costs."""

    sku: str
    unit: str
    amount: float
    """Dollars for one unit; with tiers, for one of the first tier that is not free."""
    source: str
    date: str
    """When the price was read, `YYYY-MM-DD`."""
    licence: str
    confidence: Confidence
    attributes: Mapping[str, Attribute] = {}
    """`vcpu`, `memory_gb` (usable), `arch`, `burstable`, `reserved_1y_no_upfront` and so on."""
    tiers: tuple[Tier, ...] = ()

    @property
    def kind(self) -> str:
        """What stands before the colon of the SKU."""
        return self.sku.partition(":")[0]

    def number(self, name: str) -> float | None:
        """Give an attribute that is a number; None when it is not there."""
        value = self.attributes.get(name)
        return None if value is None or isinstance(value, (str, bool)) else float(value)

    def cost(self, quantity: float) -> float:
        """Tell the dollars for so many units."""
        if not self.tiers:
            return quantity * self.amount
        total, left = 0.0, quantity
        for tier in self.tiers:
            part = left if tier.width is None else min(left, tier.width)
            total += part * tier.amount
            left -= part
        return total


class Origin(msgspec.Struct, frozen=True):
    """Where rows come from."""

    name: Annotated[str, Meta(min_length=1)]
    licence: Annotated[str, Meta(min_length=1)]
    note: str = ""


class Row(msgspec.Struct, frozen=True, forbid_unknown_fields=True, omit_defaults=True):
    """A price as the file has it."""

    sku: Annotated[str, Meta(pattern=r"^[a-z0-9-]+:[A-Za-z0-9._-]+$", max_length=100)]
    unit: Annotated[str, Meta(min_length=1, max_length=60)]
    amount: Annotated[float, Meta(ge=0)]
    source: str
    """Key in the file's `sources`."""
    date: Annotated[str, Meta(pattern=r"^\d{4}-\d{2}-\d{2}$")]
    confidence: Confidence
    attributes: dict[str, Attribute] = {}
    tiers: tuple[Tier, ...] = ()


class Table(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """The file."""

    format: int
    region: Annotated[str, Meta(min_length=1)]
    currency: Literal["USD"]
    hours_per_month: Annotated[float, Meta(gt=0, le=744)]
    sources: dict[str, Origin]
    rows: list[Row]


class Catalogue:
    """Prices by SKU."""

    def __init__(self, table: Table) -> None:
        """Take a table that was checked."""
        self.table = table
        self.region = table.region
        self.currency = table.currency
        self.hours = table.hours_per_month
        self._prices = {row.sku: _price(row, table.sources[row.source]) for row in table.rows}

    @classmethod
    def load(cls, path: Path | str | None = None) -> Catalogue:
        """Read a table; without a path, or with an empty text, the one that comes with the program.

        Raises:
            PriceError: when it cannot be read or breaks the format.

        """
        return cls(read_table(Path(path) if path else SHIPPED))

    @property
    def oldest(self) -> date:
        """The date of the oldest price."""
        return oldest(self._prices.values())

    def __iter__(self) -> Iterator[Price]:
        """Give all prices in the order of the table."""
        return iter(self._prices.values())

    def price(self, sku: str) -> Price:
        """Give one price.

        Raises:
            PriceError: when the table has none, with the nearest names.

        """
        if (found := self._prices.get(sku)) is not None:
            return found
        near = difflib.get_close_matches(sku, self._prices, n=3)
        hint = f"; near are {', '.join(near)}" if near else ""
        raise PriceError(f"the price table of {self.region} has no {sku!r}{hint}")

    def line(self, sku: str, quantity: float) -> CostLine:
        """Make the line of a monthly bill.

        What is paid by the hour is counted in pieces that run all month, so the line counts the
        hours of all of them. A price with tiers gives the mean over its tiers as unit price.

        Raises:
            PriceError: when there is no such price, or the quantity is negative or no number.

        """
        price = self.price(sku)
        if not (quantity >= 0 and math.isfinite(quantity)):
            raise PriceError(f"{quantity} of {sku} cannot be priced: it has to be 0 or more")
        units = quantity * self.hours if price.unit == HOURLY else quantity
        monthly = price.cost(units)
        return CostLine(
            sku=sku,
            quantity=units,
            unit=price.unit,
            unit_price=monthly / units if price.tiers and units else price.amount,
            monthly=monthly,
            source=price.source,
            date=price.date,
        )

    def instances(
        self,
        kind: Kind,
        *,
        vcpu: float = 0,
        memory_gb: float = 0,
        arch: Architecture | None = None,
        burstable: bool = False,
    ) -> list[Price]:
        """List what is at least so large, the cheapest first.

        Burstable ones only when allowed; prices of low confidence never, they are for reading.
        """
        fitting = [
            price
            for price in self._prices.values()
            if price.kind == kind
            and price.unit == HOURLY
            and price.confidence != "low"
            and (price.number("vcpu") or 0) >= vcpu
            and (price.number("memory_gb") or 0) >= memory_gb
            and (arch is None or price.attributes.get("arch") == arch)
            and (burstable or not price.attributes.get("burstable", False))
        ]
        return sorted(fitting, key=lambda price: (price.amount, price.sku))


def read_table(path: Path) -> Table:
    """Read a table and check it. Raises PriceError."""
    try:
        if path.stat().st_size > MOST_BYTES:
            raise PriceError(f"{path} is larger than a price table may be ({MOST_BYTES:,} bytes)")
        table = msgspec.json.decode(path.read_bytes(), type=Table)
    except OSError as error:
        raise PriceError(f"{path} cannot be read: {error.strerror}") from error
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        raise PriceError(f"{path} is no price table: {error}") from error
    try:
        check_table(table)
    except PriceError as error:
        raise PriceError(f"{path} is no price table: {error}") from error
    return table


def check_table(table: Table) -> None:
    """Check what the types do not say. Raises PriceError for the first thing that is wrong."""
    if table.format != FORMAT:
        raise PriceError(f"it has format {table.format}, this program reads {FORMAT}")
    if not 0 < len(table.rows) <= MOST_ROWS:
        raise PriceError(f"it has {len(table.rows):,} rows, 1 to {MOST_ROWS:,} are allowed")
    seen: set[str] = set()
    for row in table.rows:
        if row.sku in seen:
            raise PriceError(f"{row.sku} stands twice")
        seen.add(row.sku)
        if row.source not in table.sources:
            raise PriceError(f"{row.sku} names the source {row.source!r}, which is not listed")
        try:
            date.fromisoformat(row.date)
        except ValueError as error:
            raise PriceError(f"{row.sku} has the date {row.date}, which is none") from error
        _check_numbers(row)


def _check_numbers(row: Row) -> None:
    widths = [tier.width for tier in row.tiers]
    if widths and (widths[-1] is not None or None in widths[:-1]):
        raise PriceError(f"{row.sku}: the last tier, and no other, has no width")
    numbers = [row.amount, *(tier.amount for tier in row.tiers), *(w for w in widths if w)]
    numbers += [value for value in row.attributes.values() if isinstance(value, float)]
    if not all(map(math.isfinite, numbers)):
        raise PriceError(f"{row.sku} has a number that is not finite")
    if row.tiers and row.amount != next((t.amount for t in row.tiers if t.amount), 0.0):
        raise PriceError(f"{row.sku}: the amount is not that of the first tier that is not free")


def _price(row: Row, origin: Origin) -> Price:
    return Price(
        sku=row.sku,
        unit=row.unit,
        amount=row.amount,
        source=origin.name,
        date=row.date,
        licence=origin.licence,
        confidence=row.confidence,
        attributes=row.attributes,
        tiers=row.tiers,
    )


def oldest(prices: Iterable[Price | CostLine]) -> date:
    """Give the date of the oldest of some prices or lines, at least one."""
    return min(date.fromisoformat(price.date) for price in prices)


def age_days(day: date, today: date | None = None) -> int:
    """Tell how many days ago that was; the day changes in UTC."""
    return ((today or datetime.now(UTC).date()) - day).days


def total(lines: Iterable[CostLine]) -> float:
    """Add up a bill and round it to cents, halves up, without errors of binary fractions."""
    exact = sum((Decimal(str(round(line.monthly, 9))) for line in lines), Decimal(0))
    return float(exact.quantize(Decimal("0.01"), ROUND_HALF_UP))
