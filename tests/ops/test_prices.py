"""The price table: what it refuses, what a bill adds up to, and prices from offer files of AWS."""

from __future__ import annotations

import math
from datetime import date
from pathlib import Path
from typing import Any

import msgspec
import pytest
from click.testing import CliRunner
from hypothesis import given
from hypothesis import strategies as st

from rankwire.cli._ops_prices import command
from rankwire.ops import offers
from rankwire.ops.prices import (
    SHIPPED,
    Catalogue,
    PriceError,
    age_days,
    oldest,
    read_table,
    total,
)

EGRESS = "egress:internet"


@pytest.fixture(scope="module")
def catalogue() -> Catalogue:
    return Catalogue.load()


def test_every_shipped_price_names_its_source(catalogue: Catalogue) -> None:
    prices = list(catalogue)
    assert len(prices) > 80
    for price in prices:
        assert price.source
        assert price.licence
        assert date.fromisoformat(price.date) < date(2027, 1, 1)
        if price.kind in {"ec2", "rds-pg", "cache-redis"} and price.unit == "hour":
            assert (price.number("vcpu") or 0) >= 1, price.sku
            assert (price.number("memory_gb") or 0) >= 2, price.sku
        if any(name.startswith("reserved_1y") for name in price.attributes):
            assert "reserved_date" in price.attributes, price.sku


@pytest.mark.parametrize(
    ("sku", "hourly", "monthly"),
    [
        ("ec2:c7g.large", 0.0725, 52.93),
        ("ec2:c6i.xlarge", 0.17, 124.10),
        ("ec2:t4g.small", 0.0168, 12.26),
        ("rds-pg:db.m6g.xlarge", 0.318, 232.14),
        ("rds-pg:db.r6g.2xlarge", 0.899, 656.27),
        ("cache-redis:cache.r7g.xlarge", 0.437, 319.01),
        ("alb:hour", 0.0225, 16.43),
        ("eks:cluster", 0.10, 73.00),
    ],
)
def test_a_month_of_an_hourly_price(
    catalogue: Catalogue, sku: str, hourly: float, monthly: float
) -> None:
    line = catalogue.line(sku, 1)
    assert (line.unit_price, line.quantity, total([line])) == (hourly, 730, monthly)


def test_valkey_costs_four_fifths_of_redis(catalogue: Catalogue) -> None:
    nodes = [price for price in catalogue if price.kind == "cache-valkey"]
    assert len(nodes) == 8
    for node in nodes:
        redis = catalogue.price(node.sku.replace("valkey", "redis"))
        assert node.amount == pytest.approx(0.8 * redis.amount)


@pytest.mark.parametrize(
    ("gigabytes", "monthly"),
    # 75,000 connections that get 20, 50, 100, 200 and 1000 bytes a second, and none.
    [
        (0, 0),
        (100, 0),
        (3942, 345.78),
        (9855, 877.95),
        (19_710, 1718.05),
        (39_420, 3393.40),
        (197_100, 13_741.20),
    ],
)
def test_egress_is_priced_by_tiers(catalogue: Catalogue, gigabytes: float, monthly: float) -> None:
    assert total([catalogue.line(EGRESS, gigabytes)]) == monthly


@given(st.floats(0, 1e7), st.floats(0, 1e7))
def test_more_never_costs_less_and_lines_multiply(one: float, more: float) -> None:
    catalogue = _SHIPPED
    few, many = catalogue.line(EGRESS, one), catalogue.line(EGRESS, one + more)
    assert few.monthly <= many.monthly <= few.monthly + more * 0.09 + 1e-6
    for line in (few, many):
        assert math.isclose(line.quantity * line.unit_price, line.monthly, abs_tol=1e-9)


_SHIPPED = Catalogue.load()


def test_instances_are_those_that_fit_the_cheapest_first(catalogue: Catalogue) -> None:
    names = [p.sku for p in catalogue.instances("ec2", vcpu=2, memory_gb=4, arch="arm64")]
    assert names[:3] == ["ec2:c6g.large", "ec2:c7g.large", "ec2:c8g.large"]
    burstable = catalogue.instances("ec2", vcpu=2, memory_gb=2, burstable=True)
    assert burstable[0].sku == "ec2:t4g.small"
    databases = [p.sku for p in catalogue.instances("rds-pg", memory_gb=16)]
    assert "rds-pg:db.r7g.large" not in databases, "its price is of low confidence"
    assert "rds-pg:multi_az" not in databases
    assert catalogue.instances("ec2", vcpu=64) == []


def test_an_unknown_price_is_answered_with_near_names(catalogue: Catalogue) -> None:
    with pytest.raises(PriceError, match=r"no 'ec2:c7g\.largest'; near are ec2:c7g\.large"):
        catalogue.price("ec2:c7g.largest")
    for wrong in (-1.0, math.nan, math.inf):
        with pytest.raises(PriceError, match="cannot be priced"):
            catalogue.line("ec2:c7g.large", wrong)


def test_cents_are_rounded_halves_up(catalogue: Catalogue) -> None:
    line = catalogue.line("rds:gp3", 1)
    halves = [msgspec.structs.replace(line, monthly=amount) for amount in (0.115, 0.03, 0.0)]
    assert total(halves) == 0.15
    assert total([]) == 0.0


def test_the_age_is_that_of_the_oldest_price_used(catalogue: Catalogue) -> None:
    lines = [catalogue.line("ec2:c7g.large", 1), catalogue.line("rds-pg:db.r6g.large", 1)]
    assert oldest(lines) == date(2021, 8, 3)
    assert age_days(date(2021, 8, 3), today=date(2021, 8, 13)) == 10
    assert catalogue.oldest < date(2021, 8, 3)


def _broken(tmp_path: Path, change: Any) -> Path:
    table = msgspec.json.decode(SHIPPED.read_bytes())
    change(table)
    file = tmp_path / "prices.json"
    file.write_bytes(msgspec.json.encode(table))
    return file


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (lambda t: t.update(format=2), "format 2"),
        (lambda t: t.update(currency="EUR"), "currency"),
        (lambda t: t.update(rows=[]), "0 rows"),
        (lambda t: t["rows"].append(t["rows"][0]), "c7g.large stands twice"),
        (lambda t: t["rows"][0].update(source="me"), "names the source 'me'"),
        (lambda t: t["rows"][0].update(amount=-1), "amount"),
        (lambda t: t["rows"][0].update(date="2026-02-30"), "the date 2026-02-30"),
        (lambda t: t["rows"][0].update(date="today"), "date"),
        (lambda t: t["rows"][0].update(sku="c7g"), "sku"),
        (lambda t: t["rows"][0].update(surprise=1), "surprise"),
        (lambda t: t["rows"][0].update(tiers=[[1, 0.0725]]), "the last tier"),
        (lambda t: t["rows"][0].update(tiers=[[None, 0.1]]), "first tier that is not free"),
    ],
)
def test_a_table_that_breaks_the_format_is_refused(tmp_path: Path, change: Any, words: str) -> None:
    file = _broken(tmp_path, change)
    with pytest.raises(PriceError, match=words) as raised:
        Catalogue.load(file)
    assert str(file) in str(raised.value)


def test_a_table_that_is_none_is_refused(tmp_path: Path) -> None:
    with pytest.raises(PriceError, match="cannot be read"):
        Catalogue.load(tmp_path / "missing.json")
    (tmp_path / "text.json").write_text("prices")
    with pytest.raises(PriceError, match="no price table"):
        Catalogue.load(tmp_path / "text.json")


# Offer files.


def _product(family: str, **attributes: str) -> dict[str, Any]:
    ours = {"regionCode": "us-east-1", "locationType": "AWS Region", "vcpu": "2"}
    return {"productFamily": family, "attributes": ours | attributes}


_LINUX = {
    "operatingSystem": "Linux",
    "tenancy": "Shared",
    "preInstalledSw": "NA",
    "capacitystatus": "Used",
}


def _terms(amount: str, unit: str = "Hrs") -> dict[str, Any]:
    return {"T": {"priceDimensions": {"D": {"unit": unit, "pricePerUnit": {"USD": amount}}}}}


def _offer(tmp_path: Path, code: str, sold: dict[str, tuple[dict[str, Any], str]]) -> Path:
    content = {
        "formatVersion": "v1.0",
        "offerCode": code,
        "publicationDate": "2026-11-05T17:00:00Z",
        "products": {key: product for key, (product, _) in sold.items()},
        "terms": {"OnDemand": {key: _terms(amount) for key, (_, amount) in sold.items()}},
    }
    file = tmp_path / f"{code}.json"
    file.write_bytes(msgspec.json.encode(content))
    return file


def _ec2(tmp_path: Path, **more: tuple[dict[str, Any], str]) -> Path:
    def linux(name: str, memory: str, **other: str) -> dict[str, Any]:
        return _product("Compute Instance", instanceType=name, memory=memory, **_LINUX | other)

    return _offer(
        tmp_path,
        "AmazonEC2",
        {
            "A": (linux("c7g.large", "4 GiB"), "0.0800000000"),
            "B": (linux("t3.medium", "4 GiB"), "0.0500000000"),
            "C": (linux("x2iedn.32xlarge", "4,096 GiB", vcpu="128"), "26.676"),
            "windows": (linux("c7i.large", "4 GiB", operatingSystem="Windows"), "0.2"),
            "dedicated": (linux("c7i.large", "4 GiB", tenancy="Dedicated"), "0.3"),
            "outpost": (linux("c7i.large", "4 GiB", locationType="AWS Outposts"), "0.4"),
            "free": (linux("c6i.large", "4 GiB", capacitystatus="UnusedCapacityReservation"), "0"),
            "transfer": (_product("Data Transfer"), "0.09"),
            **more,
        },
    )


def test_an_offer_of_instances_is_read(tmp_path: Path) -> None:
    table = offers.import_offer(_ec2(tmp_path))
    assert (table.region, table.sources["aws-offers"].note[:9]) == ("us-east-1", "AmazonEC2")
    assert [(row.sku, row.amount, row.date, row.attributes) for row in table.rows] == [
        ("ec2:c7g.large", 0.08, "2026-11-05", {"vcpu": 2, "memory_gb": 4, "arch": "arm64"}),
        (
            "ec2:t3.medium",
            0.05,
            "2026-11-05",
            {"vcpu": 2, "memory_gb": 4, "arch": "x86_64", "burstable": True},
        ),
        (
            "ec2:x2iedn.32xlarge",
            26.676,
            "2026-11-05",
            {"vcpu": 128, "memory_gb": 4096, "arch": "x86_64"},
        ),
    ]


def test_offers_of_databases_and_caches_are_read(tmp_path: Path) -> None:
    def database(**more: str) -> dict[str, Any]:
        one = {"databaseEngine": "PostgreSQL", "deploymentOption": "Single-AZ"}
        named = {"instanceType": "db.m6g.xlarge", "memory": "16 GiB", "usagetype": "InstanceUsage"}
        return _product("Database Instance", **one | named | more)

    rds = _offer(
        tmp_path,
        "AmazonRDS",
        {
            "A": (database(), "0.318"),
            "B": (database(deploymentOption="Multi-AZ"), "0.636"),
            "C": (database(databaseEngine="MySQL"), "0.304"),
            "D": (database(usagetype="InstanceUsageIOOptimized:db.m6g.xl"), "0.413"),
        },
    )
    rows = offers.import_offer(rds).rows
    assert [(row.sku, row.amount) for row in rows] == [("rds-pg:db.m6g.xlarge", 0.318)]

    def node(engine: str) -> dict[str, Any]:
        named = {"instanceType": "cache.r7g.large", "memory": "13.07 GiB"}
        return _product("Cache Instance", cacheEngine=engine, **named)

    cache = _offer(
        tmp_path,
        "AmazonElastiCache",
        {
            "A": (node("Redis"), "0.219"),
            "B": (node("Valkey"), "0.1752"),
            "C": (node("Memcached"), "1"),
        },
    )
    rows = offers.import_offer(cache).rows
    assert [(row.sku, row.amount, row.attributes["memory_gb"]) for row in rows] == [
        ("cache-redis:cache.r7g.large", 0.219, 13.07),
        ("cache-valkey:cache.r7g.large", 0.1752, 13.07),
    ]


def test_offers_that_are_none_are_refused(tmp_path: Path) -> None:
    two = _product("Compute Instance", instanceType="c7g.large", memory="4 GiB", **_LINUX)
    with pytest.raises(PriceError, match=r"two prices for ec2:c7g\.large: 0\.08, 0\.09"):
        offers.import_offer(_ec2(tmp_path, again=(two, "0.09")))
    with pytest.raises(PriceError, match="an offer of AmazonS3; read are those of AmazonEC2"):
        offers.import_offer(_offer(tmp_path, "AmazonS3", {}))
    with pytest.raises(PriceError, match="no offer file"):
        offers.import_offer(SHIPPED)
    with pytest.raises(PriceError, match="not about one region"):
        offers.import_offer(_offer(tmp_path, "AmazonRDS", {}))
    (tmp_path / "empty.json").touch()
    with pytest.raises(PriceError, match="empty"):
        offers.import_offer(tmp_path / "empty.json")


# The command.


def test_an_import_replaces_rows_and_keeps_the_rest(tmp_path: Path) -> None:
    written, beside = tmp_path / "prices.json", tmp_path / "prices.json.new"
    beside.write_text("not ours")
    done = CliRunner().invoke(command, ["import", str(_ec2(tmp_path)), "--output", str(written)])
    assert beside.read_text() == "not ours"
    assert (done.exit_code, done.output) == (0, f"3 prices of us-east-1 are in {written}.\n")
    new, old = Catalogue.load(written), Catalogue.load()
    assert new.price("ec2:c7g.large").amount == 0.08
    assert new.price("ec2:c7g.large").source.startswith("AWS Price List")
    assert new.price("rds:gp3") == old.price("rds:gp3")
    assert len(read_table(written).rows) == len(old.table.rows) + 1
    listed = CliRunner().invoke(command, ["list", "c7g.large", "--ops-prices", str(written)])
    assert listed.exit_code == 0
    assert "0.08" in listed.output
    assert "1 prices of us-east-1" in listed.output


def test_what_an_offer_does_not_tell_stays(tmp_path: Path) -> None:
    old = Catalogue.load().table
    (reserved,) = (row for row in old.rows if row.sku == "ec2:c5.large")
    dateless = msgspec.structs.replace(
        reserved,
        attributes={"memory_gb": 3.0, "reserved_1y_no_upfront": 0.054, "derived": "0.8 x it"},
    )
    rows = [dateless if row is reserved else row for row in old.rows]
    linux = _product("Compute Instance", instanceType="c5.large", memory="4 GiB", **_LINUX)
    new = offers.import_offer(_ec2(tmp_path, more=(linux, "0.07")))
    merged = {
        row.sku: row for row in offers.merge(msgspec.structs.replace(old, rows=rows), new).rows
    }
    assert merged["ec2:t3.medium"].attributes["baseline"] == 0.2
    assert merged["ec2:t3.medium"].amount == 0.05
    # A reserved price keeps its age and its source, also where they were those of the whole row.
    assert (merged["ec2:c5.large"].amount, merged["ec2:c5.large"].date) == (0.07, "2026-11-05")
    assert merged["ec2:c5.large"].attributes == {
        "reserved_1y_no_upfront": 0.054,
        "reserved_source": old.sources[reserved.source].name,
        "reserved_date": reserved.date,
        "reserved_confidence": "low",
        "vcpu": 2,
        "memory_gb": 4,
        "arch": "x86_64",
    }


def test_an_import_of_another_region_stands_alone(tmp_path: Path) -> None:
    file = _ec2(tmp_path)
    file.write_text(file.read_text().replace("us-east-1", "eu-west-1"))
    written = tmp_path / "prices.json"
    done = CliRunner().invoke(command, ["import", str(file), "--output", str(written)])
    assert done.exit_code == 0
    assert "nothing else" in done.output
    assert [price.kind for price in Catalogue.load(written)] == ["ec2"] * 3
    done = CliRunner().invoke(
        command, ["import", str(file), "--base", str(SHIPPED), "--output", str(written)]
    )
    assert done.exit_code == 1
    assert done.stderr == "Error: the table is about us-east-1, the offer about eu-west-1\n"


def test_prices_are_listed_with_their_age() -> None:
    done = CliRunner().invoke(command, ["list"])
    assert done.exit_code == 0
    assert "the oldest of the table is of 2017-11-01" in done.output
    lines = CliRunner().invoke(command, ["list", "nat:", "--json"]).output.splitlines()
    assert [msgspec.json.decode(line)["sku"] for line in lines] == ["nat:hour", "nat:gb"]
    assert CliRunner().invoke(command, ["list", "azure"]).exit_code == 1
