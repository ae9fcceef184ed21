"""Storage classes against a simulation day by day, and the costs of the journal."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fix_usage import GB, catalogue_of, row
from rankwire.ops.optimizer.inventory import Inventory, InventoryError, read_inventory
from rankwire.ops.optimizer.journal_costs import Journal, archive_journal
from rankwire.ops.optimizer.savings import Action, Ledger, Refusal
from rankwire.ops.optimizer.storage_tiers import (
    TIERS,
    Horizon,
    Sizes,
    Stored,
    cost_now,
    stored_item,
    tier,
)
from rankwire.ops.prices import Catalogue

KB = 1024.0
PRICES = (
    row("s3:standard", 0.023, "GB-month"),
    row("s3:ia", 0.0125, "GB-month", min_days=30, min_kb=128),
    row("s3:glacier_ir", 0.004, "GB-month", min_days=90, min_kb=128),
    row("s3:get", 0.0004, "1k requests"),
    row("s3:ia_get", 0.001, "1k requests"),
    row("s3:glacier_ir_get", 0.01, "1k requests"),
    row("s3:ia_transition", 0.01, "1k requests"),
    row("s3:glacier_ir_transition", 0.02, "1k requests"),
    row("s3:ia_retrieval", 0.01, "GB"),
    row("s3:glacier_ir_retrieval", 0.03, "GB"),
    row("rds:gp3", 0.115, "GB-month"),
)
TABLE = catalogue_of(*PRICES)


def _without(sku: str) -> Catalogue:
    return catalogue_of(*(price for price in PRICES if price.sku != sku))


def _stored(**more: object) -> Stored:
    made = {
        "prefix": "logs/",
        "sizes": [{"smallest_bytes": 1024**2, "objects": 1000, "bytes": 100 * GB}],
        "age_days": 200,
        "idle_days": 200,
        "reads_per_month": 0,
        "read_bytes_per_month": 0,
    }
    return Stored(**{**made, "sizes": _sizes(more.pop("sizes", made["sizes"])), **more})  # type: ignore[arg-type]


def _sizes(rows: object) -> list[Sizes]:
    assert isinstance(rows, list)
    return [Sizes(**each) for each in rows]


def _walk(stored: Stored, name: str, horizon: Horizon) -> tuple[float, float]:
    """Go through the days; gives present cost in Standard and when moved, of what can be moved."""
    price = {each.sku.removeprefix("s3:"): each.amount for each in PRICES}
    least = {"ia": 30, "glacier_ir": 90}[name]
    large = [each for each in stored.sizes if each.smallest_bytes >= 128 * KB]
    size = sum(each.bytes for each in large) / GB
    month = 730 / 24
    stay, move = 0.0, price[f"{name}_transition"] * sum(each.objects for each in large) / 1000
    last = horizon.days if stored.kept_days is None else stored.kept_days - stored.age_days
    reads, read = stored.reads_per_month / 1000 / month, stored.read_bytes_per_month / GB / month
    day = 0
    while day < min(last, horizon.days):
        worth = (1 + horizon.yearly_discount) ** (-day / 365)
        stay += worth * (size * price["standard"] / month + reads * price["get"])
        move += worth * size * price[name] / month
        move += worth * (reads * price[f"{name}_get"] + read * price[f"{name}_retrieval"])
        day += 1
    while day < least:  # deleted too early: the rest is charged at once
        worth = (1 + horizon.yearly_discount) ** (-min(last, horizon.days) / 365)
        move += worth * size * price[name] / month
        day += 1
    return stay, move


@given(
    st.integers(1, 10_000_000),
    st.floats(0.01, 5000),
    st.integers(90, 400),
    st.floats(0, 1e7),
    st.floats(0, 2000),
    st.one_of(st.none(), st.integers(0, 500)),
    st.integers(30, 800),
    st.sampled_from([0.0, 0.05, 0.2]),
)
def test_the_saving_is_that_of_a_simulation_day_by_day(  # noqa: PLR0917 - drawn one by one
    objects: int,
    size: float,
    age: int,
    reads: float,
    read: float,
    left: int | None,
    days: int,
    discount: float,
) -> None:
    stored = _stored(
        sizes=[
            {"smallest_bytes": 128 * KB, "objects": objects, "bytes": size * GB},
            {"smallest_bytes": 1.0, "objects": 50, "bytes": 0.1 * GB},
        ],
        age_days=age,
        idle_days=age,
        reads_per_month=reads,
        read_bytes_per_month=read * GB,
        kept_days=None if left is None else age + left,
    )
    horizon = Horizon(days, discount)
    savings = {}
    for each in TIERS:
        stay, move = _walk(stored, each.name, horizon)
        savings[each.name] = stay - move
    found = tier(stored, TABLE, horizon)
    best = max(savings.values())
    if found is None:
        assert left == 0
    elif isinstance(found, Refusal):
        assert best <= 1e-9
    else:
        assert found.draft.inputs["net_present_saving"] == pytest.approx(best, abs=1e-6)
        assert best > -1e-9


@given(st.floats(0.1, 5000), st.integers(1, 100_000), st.one_of(st.none(), st.integers(1, 500)))
def test_without_discount_the_bill_falls_by_the_same(
    size: float, objects: int, left: int | None
) -> None:
    stored = _stored(
        sizes=[{"smallest_bytes": 1e6, "objects": objects, "bytes": size * GB}],
        kept_days=None if left is None else 200 + left,
    )
    horizon = Horizon(365, 0.0)
    found = tier(stored, TABLE, horizon)
    if not isinstance(found, Action):
        return
    bill = Ledger({stored_item(stored): cost_now(stored, TABLE, horizon)})
    done = bill.apply(found)
    assert done.monthly is not None
    months = 365 / (730 / 24)
    saving = found.draft.inputs["net_present_saving"]
    assert -done.monthly * months == pytest.approx(saving, rel=1e-6, abs=1e-6)


def test_published_differences_a_gigabyte() -> None:
    """100 GB in Glacier Instant Retrieval instead of Standard: 1.9 cents each a month."""
    horizon = Horizon(365, 0.0)
    found = tier(_stored(), TABLE, horizon)
    assert isinstance(found, Action)
    per_month = 0.023 - 0.004
    months = 365 / (730 / 24)
    assert found.draft.inputs["net_present_saving"] == pytest.approx(
        100 * per_month * months - 0.02
    )


@pytest.mark.parametrize(
    ("idle", "wanted"), [(29, None), (30, "STANDARD_IA"), (89, "STANDARD_IA"), (90, "GLACIER_IR")]
)
def test_the_days_without_a_read_decide_what_is_possible(idle: int, wanted: str | None) -> None:
    found = tier(_stored(idle_days=idle), TABLE, Horizon())
    assert (
        (isinstance(found, Action) and wanted in found.draft.description) if wanted else not found
    )


def test_the_age_decides_as_well() -> None:
    assert tier(_stored(age_days=10, idle_days=200), TABLE, Horizon()) is None


def test_much_reading_keeps_it_where_it_is() -> None:
    stored = _stored(read_bytes_per_month=500 * GB, reads_per_month=1e6)
    found = tier(stored, TABLE, Horizon())
    assert isinstance(found, Refusal)
    assert "it would cost $" in found.reason
    some = tier(_stored(read_bytes_per_month=60 * GB), TABLE, Horizon())
    assert isinstance(some, Action)
    assert "STANDARD_IA" in some.draft.description


def test_small_objects_stay_and_are_named() -> None:
    small = {"smallest_bytes": 1000, "objects": 7e6, "bytes": 7 * GB}
    found = tier(_stored(sizes=[small]), TABLE, Horizon())
    assert isinstance(found, Refusal)
    assert "pack them first" in found.reason
    large = {"smallest_bytes": 128 * KB, "objects": 1000, "bytes": 100 * GB}
    both = tier(_stored(sizes=[small, large]), TABLE, Horizon())
    assert isinstance(both, Action)
    assert any("7,000,000 objects are too small" in caveat for caveat in both.draft.caveats)
    lines = {line.sku: line.quantity for line in both.lines}
    assert lines["s3:standard"] == pytest.approx(7)
    assert lines["s3:glacier_ir"] == pytest.approx(100)


def test_a_price_that_is_missing_refuses_only_its_class() -> None:
    found = tier(_stored(), _without("s3:glacier_ir_transition"), Horizon())
    assert isinstance(found, Action)
    assert "STANDARD_IA" in found.draft.description
    assert any("Not compared with glacier_ir: " in caveat for caveat in found.draft.caveats)
    reading = _stored(reads_per_month=10)
    found = tier(reading, _without("s3:glacier_ir_get"), Horizon())
    assert isinstance(found, Action)
    assert "STANDARD_IA" in found.draft.description
    unsized = catalogue_of(*PRICES[:1], row("s3:ia", 0.01, "GB-month"), *PRICES[3:])
    found = tier(_stored(idle_days=40), unsized, Horizon())
    assert isinstance(found, Refusal)
    assert "least size" in found.reason


def test_the_rule_is_one_that_s3_takes() -> None:
    found = tier(_stored(), TABLE, Horizon())
    assert isinstance(found, Action)
    (rule,) = json.loads(found.draft.apply)["Rules"]
    assert rule["Transitions"] == [{"Days": 90, "StorageClass": "GLACIER_IR"}]
    assert rule["Filter"] == {"And": {"Prefix": "logs/", "ObjectSizeGreaterThan": 131071}}


def _journal(**more: object) -> Journal:
    made = {"bytes_per_day": GB, "measured_days": 10, "kept_days": 365, "volume": "rds:gp3"}
    return Journal(**(made | more))  # type: ignore[arg-type]


def test_a_smaller_journal_frees_space_and_costs_the_archive() -> None:
    found = archive_journal(_journal(archive_part=0.25), TABLE)
    assert isinstance(found, Action)
    lines = {line.sku: line.monthly for line in found.lines}
    assert lines == {
        "s3:standard": pytest.approx(275 * 0.25 * 0.023),
        "rds:gp3": pytest.approx(275 * 0.115),
    }
    assert found.freed.stored_bytes == 275 * GB


def test_only_a_smaller_volume_saves() -> None:
    found = archive_journal(_journal(will_shrink=True), TABLE)
    assert isinstance(found, Action)
    assert {line.sku: line.monthly for line in found.lines} == {
        "s3:standard": pytest.approx(275 * 0.023)
    }


def test_a_journal_that_is_not_kept_too_long_or_hardly_known() -> None:
    assert archive_journal(_journal(kept_days=90), TABLE) is None
    found = archive_journal(_journal(measured_days=6.5), TABLE)
    assert isinstance(found, Refusal)
    assert "6.5 days" in found.reason


INVENTORY = """{"objects": [{"prefix": "a/", "age_days": 100, "idle_days": 50, "reads_per_month": 1,
"read_bytes_per_month": 2, "sizes": [{"smallest_bytes": 1, "objects": 2, "bytes": 3}]}],
"journal": {"bytes_per_day": 1, "measured_days": 8, "kept_days": 90, "volume": "ebs:gp3"}}"""


def test_an_inventory_is_read(tmp_path: Path) -> None:
    path = tmp_path / "stored.json"
    path.write_text(INVENTORY)
    read = read_inventory(path)
    assert read.objects[0].sizes == [Sizes(1, 2, 3)]
    assert read.journal is not None


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ("100", "-1", "age_days"),
        ('"prefix"', '"prefx"', "prefx"),
        ("[{", "[", "is no inventory"),
        ('"volume"', '"size"', "size"),
    ],
)
def test_a_wrong_inventory_is_refused(tmp_path: Path, old: str, new: str, message: str) -> None:
    path = tmp_path / "stored.json"
    path.write_text(INVENTORY.replace(old, new, 1))
    with pytest.raises(InventoryError, match=message):
        read_inventory(path)
    with pytest.raises(InventoryError, match="cannot be read"):
        read_inventory(tmp_path / "none")


def test_a_row_that_stands_twice_is_refused(tmp_path: Path) -> None:
    row_ = json.loads(INVENTORY)["objects"][0]
    path = tmp_path / "stored.json"
    path.write_text(json.dumps({"objects": [row_, row_]}))
    with pytest.raises(InventoryError, match="stands 2 times"):
        read_inventory(path)
    with pytest.raises(ValueError, match="stands 2 times"):
        Inventory([_stored(), _stored()])
