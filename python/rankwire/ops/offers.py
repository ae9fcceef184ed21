"""Rows of a price table from the offer files that AWS publishes in bulk.

Reads `offers/v1.0/aws/SERVICE/current/REGION/index.json` of AmazonEC2, AmazonRDS or
AmazonElastiCache: on-demand prices by the hour of Linux instances with shared tenancy, PostgreSQL
in one zone, and nodes of Redis and Valkey. Everything else in such a file is passed over. Asks no
network, and holds one file in memory while it reads.
"""

from __future__ import annotations

import mmap
import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Final

import msgspec

from rankwire.ops.prices import FORMAT, HOURLY, Attribute, Origin, PriceError, Row, Table

MOST_BYTES: Final = 2 * 1024**3
"""Largest offer file that is read; that of AmazonEC2 in one region has some 400 MB."""

_SOURCE: Final = "aws-offers"
_ENGINES: Final = {"Redis": "cache-redis", "Valkey": "cache-valkey"}
# What says where the old amount and sizes are from.
_OF_OLD: Final = frozenset({"derived", "dimensions_source"})
_MEMORY: Final = re.compile(r"([\d.,]+) Gi?B")


class _Product(msgspec.Struct, frozen=True, rename="camel"):
    attributes: Mapping[str, str]
    product_family: str = ""


class _Dimension(msgspec.Struct, frozen=True, rename="camel"):
    unit: str
    price_per_unit: Mapping[str, str]


class _Term(msgspec.Struct, frozen=True, rename="camel"):
    price_dimensions: Mapping[str, _Dimension]


class _Terms(msgspec.Struct, frozen=True):
    on_demand: Mapping[str, Mapping[str, _Term]] = msgspec.field(name="OnDemand")


class _Offer(msgspec.Struct, frozen=True, rename="camel"):
    offer_code: str
    publication_date: str
    products: Mapping[str, _Product]
    terms: _Terms


def import_offer(file: Path) -> Table:
    """Read an offer file and make a table of the rows in it that are used here.

    Raises:
        PriceError: when it cannot be read, is no offer, or has nothing that is used here.

    """
    offer = _read(file)
    describe = _SERVICES.get(offer.offer_code)
    if describe is None:
        known = ", ".join(_SERVICES)
        raise PriceError(f"{file} is an offer of {offer.offer_code}; read are those of {known}")
    rows: dict[str, Row] = {}
    regions: set[str] = set()
    for key, product in offer.products.items():
        found = describe(product)
        if found is None or (amount := _amount(offer.terms.on_demand.get(key, {}))) is None:
            continue
        regions.add(product.attributes.get("regionCode", ""))
        row = _row(found, amount, product, offer.publication_date[:10])
        if (other := rows.setdefault(row.sku, row)).amount != row.amount:
            raise PriceError(f"{file} has two prices for {row.sku}: {other.amount}, {row.amount}")
    if len(regions) != 1 or "" in regions:
        raise PriceError(f"{file} is not about one region with prices that are used here")
    note = f"{offer.offer_code}, published {offer.publication_date}"
    origin = Origin("AWS Price List, bulk offer files", "facts, no licence stated", note)
    return Table(FORMAT, regions.pop(), "USD", 730, {_SOURCE: origin}, list(rows.values()))


def merge(base: Table, new: Table) -> Table:
    """Put new rows into a table, in the place of those with the same SKU.

    What an offer does not tell of these stays: baselines, and reserved prices with what they are
    from.

    Raises:
        PriceError: when they are about different regions.

    """
    if base.region != new.region:
        raise PriceError(f"the table is about {base.region}, the offer about {new.region}")
    rows = {row.sku: row for row in base.rows}
    for row in new.rows:
        old = rows.get(row.sku)
        rows[row.sku] = row if old is None else _renewed(old, row, base.sources[old.source].name)
    kept = base.sources | new.sources
    return msgspec.structs.replace(base, sources=kept, rows=list(rows.values()))


def _renewed(old: Row, new: Row, source: str) -> Row:
    """Give a new row what only the old one tells; `source` is the name of the old one's."""
    kept = {name: value for name, value in old.attributes.items() if name not in _OF_OLD}
    attributes = kept | new.attributes
    if any(name.startswith("reserved_") for name in kept):
        of_old: dict[str, Attribute] = {
            "reserved_source": source,
            "reserved_date": old.date,
            "reserved_confidence": old.confidence,
        }
        attributes = of_old | attributes
    return msgspec.structs.replace(new, attributes=attributes)


def encode(table: Table) -> bytes:
    """Write a table as a file has it, a row a line."""
    rows = b",\n".join(b"  " + msgspec.json.encode(row) for row in table.rows)
    head = msgspec.json.encode(msgspec.structs.replace(table, rows=[]))
    return head.removesuffix(b"]}") + b"\n" + rows + b"\n]}\n"


def _read(file: Path) -> _Offer:
    try:
        size = file.stat().st_size
        if size > MOST_BYTES:
            raise PriceError(f"{file} is larger than an offer file may be ({MOST_BYTES:,} bytes)")
        if not size:
            raise PriceError(f"{file} is empty")
        with (
            file.open("rb") as opened,
            mmap.mmap(opened.fileno(), 0, access=mmap.ACCESS_READ) as content,
        ):
            return msgspec.json.decode(content, type=_Offer)
    except OSError as error:
        raise PriceError(f"{file} cannot be read: {error.strerror}") from error
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        raise PriceError(f"{file} is no offer file of AWS: {error}") from error


def _amount(terms: Mapping[str, _Term]) -> float | None:
    """Give the price of an hour; None when there is none, or it is free."""
    for term in terms.values():
        for dimension in term.price_dimensions.values():
            if dimension.unit.lower() in {"hrs", "hours"} and "USD" in dimension.price_per_unit:
                return float(dimension.price_per_unit["USD"]) or None
    return None


def _ec2(product: _Product) -> tuple[str, str] | None:
    wanted = {
        "operatingSystem": "Linux",
        "tenancy": "Shared",
        "preInstalledSw": "NA",
        "capacitystatus": "Used",
    }
    return _found("ec2", product, "Compute Instance", wanted)


def _rds(product: _Product) -> tuple[str, str] | None:
    # The other price of an instance, with which storage costs nothing for its requests.
    if "IOOptimized" in product.attributes.get("usagetype", ""):
        return None
    wanted = {"databaseEngine": "PostgreSQL", "deploymentOption": "Single-AZ"}
    return _found("rds-pg", product, "Database Instance", wanted)


def _elasticache(product: _Product) -> tuple[str, str] | None:
    kind = _ENGINES.get(product.attributes.get("cacheEngine", ""))
    return None if kind is None else _found(kind, product, "Cache Instance", {})


_SERVICES: Final = {"AmazonEC2": _ec2, "AmazonRDS": _rds, "AmazonElastiCache": _elasticache}


def _found(
    kind: str, product: _Product, family: str, wanted: Mapping[str, str]
) -> tuple[str, str] | None:
    """Give kind and type of a product that is as wanted, in a region of AWS's own."""
    has = product.attributes
    name = has.get("instanceType")
    is_wanted = (
        product.product_family == family
        and has.get("locationType", "AWS Region") == "AWS Region"
        and all(has.get(key) == value for key, value in wanted.items())
    )
    return (kind, name) if is_wanted and name else None


def _row(found: tuple[str, str], amount: float, product: _Product, date: str) -> Row:
    kind, name = found
    attributes = dict(_attributes(name, product.attributes))
    return Row(f"{kind}:{name}", HOURLY, amount, _SOURCE, date, "high", attributes)


def _attributes(name: str, has: Mapping[str, str]) -> Iterator[tuple[str, Attribute]]:
    if (vcpu := has.get("vcpu", "")).isdigit():
        yield "vcpu", float(vcpu)
    if memory := _MEMORY.fullmatch(has.get("memory", "")):
        yield "memory_gb", float(memory[1].replace(",", ""))
    # Types of AWS's own processors have a `g` after the generation: c7g, m6gd, t4g, x2gd.
    family = name.removeprefix("db.").removeprefix("cache.").partition(".")[0]
    is_arm = family == "a1" or re.fullmatch(r"[a-z]+\d+g[a-z]*", family)
    yield "arch", "arm64" if is_arm else "x86_64"
    if family.startswith("t"):
        yield "burstable", True
