"""Where stored objects cost least: S3's storage classes, for data that is seldom read.

Promises: an object moves only when it was not read for as long as its new class asks for, is large
enough, and the move saves money within the horizon, after moving, reading and the least time that
the class charges for; small objects stay where they are and are named for packing. A price that the
table does not have refuses the class, with the reason. What is read of a prefix counts as read from
what moves, so reading never comes out too cheap. Costs within the horizon are those of each day,
discounted to now.

Sources: AWS's classes with their least size (128 KB, billed as such), least days and prices, all
from the table; 30 and 90 days without a read as AWS's lifecycle rules and Intelligent-Tiering
(which moves after 30 and 90 days) have them.
"""

from __future__ import annotations

from json import dumps
from typing import Annotated, Final, NamedTuple

import msgspec
from msgspec import Meta

from rankwire.ops.findings import CostLine, Prediction, Recommendation
from rankwire.ops.optimizer.savings import Action, Refusal, Risk
from rankwire.ops.prices import Catalogue, PriceError

STANDARD: Final = "s3:standard"

_GB: Final = 1024**3
_Count = Annotated[float, Meta(ge=0)]


class Tier(NamedTuple):
    """A storage class to move to."""

    name: str
    """Its SKU is `s3:` and this; so are those of its requests."""
    idle_days: int
    storage_class: str


TIERS: Final = (Tier("ia", 30, "STANDARD_IA"), Tier("glacier_ir", 90, "GLACIER_IR"))


class Sizes(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A class of the histogram of sizes."""

    smallest_bytes: _Count
    """No object in it is smaller."""
    objects: _Count
    bytes: _Count
    """All together."""


class Stored(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """Objects under one prefix that are about equally old, in S3 Standard."""

    prefix: Annotated[str, Meta(max_length=1024)]
    sizes: list[Sizes]
    age_days: _Count
    """Of the youngest."""
    idle_days: _Count
    """Since one of them was read the last time; the age if that never was."""
    reads_per_month: _Count
    read_bytes_per_month: _Count
    kept_days: _Count | None = None
    """After which age they are deleted; None for never."""


class Horizon(msgspec.Struct, frozen=True):
    """The time that a move has to pay within."""

    days: int = 365
    yearly_discount: float = 0.05
    """How much less a dollar is worth that is paid in a year. An assumption; 0 for none."""

    def day(self, number: float) -> float:
        """Tell what a dollar of that day is worth now."""
        return float((1 + self.yearly_discount) ** (-number / 365))

    def until(self, number: float) -> float:
        """Add up what a dollar of each day before that is worth now."""
        daily = self.day(1)
        return number if daily == 1 else (1 - self.day(number)) / (1 - daily)


class Move(NamedTuple):
    """What moving the objects of a row costs and brings."""

    tier: Tier
    objects: float
    bytes: float
    small_objects: float
    present_saving: float
    """Over the horizon, in dollars of today."""
    lines: list[CostLine]
    """What the row costs in a mean month of the horizon when it is moved."""


def stored_item(stored: Stored) -> str:
    """Name the item of the bill for the objects of a row."""
    return f"stored:{stored.prefix}:{stored.age_days:g}"


def cost_now(stored: Stored, catalogue: Catalogue, horizon: Horizon) -> list[CostLine]:
    """Price a mean month of the horizon as it is. Raises PriceError."""
    part = _days_left(stored, horizon) / horizon.days
    size = sum(sizes.bytes for sizes in stored.sizes) / _GB
    return _lines(
        catalogue, {STANDARD: size * part, "s3:get": stored.reads_per_month / 1000 * part}
    )


def tier(stored: Stored, catalogue: Catalogue, horizon: Horizon) -> Action | Refusal | None:
    """Find the class that saves the most; None when nothing was idle for long enough."""
    idle = min(stored.idle_days, stored.age_days)
    possible = [tier for tier in TIERS if idle >= tier.idle_days]
    if not possible or _days_left(stored, horizon) <= 0:
        return None
    unknown, reasons, moves = [], [], []
    for each in possible:
        try:
            move = _move(stored, each, catalogue, horizon)
        except PriceError as error:
            unknown.append(f"{each.name}: {error}")
            continue
        if not move.objects:
            reasons.append(f"{each.name}: all objects are too small for it; pack them first")
        elif move.present_saving <= 0:
            reasons.append(
                f"{each.name}: it would cost ${-move.present_saving:,.2f} more within "
                f"{horizon.days} days"
            )
        else:
            moves.append(move)
    if not moves:
        return Refusal(stored.prefix, "TIER_STORAGE", "; ".join(unknown + reasons))
    best = max(moves, key=lambda move: move.present_saving)
    draft = _draft(stored, best, catalogue, horizon)
    caveats = [*_caveats(best), *(f"Not compared with {reason}." for reason in unknown)]
    return _action(stored, best, msgspec.structs.replace(draft, caveats=caveats))


def _days_left(stored: Stored, horizon: Horizon) -> float:
    if stored.kept_days is None:
        return horizon.days
    return min(horizon.days, max(0.0, stored.kept_days - stored.age_days))


def _move(stored: Stored, to: Tier, catalogue: Catalogue, horizon: Horizon) -> Move:
    """Price the move. Raises PriceError for a price or a condition that is not known."""
    sku = f"s3:{to.name}"
    there = catalogue.price(sku)
    least_kb, least_days = there.number("min_kb"), there.number("min_days")
    if least_kb is None or least_days is None:
        raise PriceError(f"the price table does not tell the least size and time of {sku}")
    large = [sizes for sizes in stored.sizes if sizes.smallest_bytes >= least_kb * 1024]
    moved = sum(sizes.bytes for sizes in large) / _GB
    objects = sum(sizes.objects for sizes in large)
    everything = sum(sizes.bytes for sizes in stored.sizes) / _GB
    left = _days_left(stored, horizon)
    months = horizon.days / (catalogue.hours / 24)
    monthly = {
        sku: moved,
        f"{sku}_get": stored.reads_per_month / 1000,
        f"{sku}_retrieval": stored.read_bytes_per_month / _GB,
    }
    once = {f"{sku}_transition": objects / 1000}
    before = {STANDARD: moved, "s3:get": stored.reads_per_month / 1000}
    # Deleted before its time, it is charged for until then.
    early = max(0.0, least_days - left)
    daily = 24 / catalogue.hours
    saving = (_price(catalogue, before) - _price(catalogue, monthly)) * daily * horizon.until(left)
    saving -= _price(catalogue, once)
    saving -= moved * there.amount * daily * early * horizon.day(left)
    part = left / horizon.days
    quantities = {name: quantity * part for name, quantity in monthly.items()}
    quantities[sku] += moved * early / horizon.days
    quantities[STANDARD] = (everything - moved) * part
    quantities |= {name: quantity / months for name, quantity in once.items()}
    small = sum(sizes.objects for sizes in stored.sizes) - objects
    return Move(to, objects, moved * _GB, small, saving, _lines(catalogue, quantities))


def _price(catalogue: Catalogue, quantities: dict[str, float]) -> float:
    return sum(line.monthly for line in _lines(catalogue, quantities))


def _lines(catalogue: Catalogue, quantities: dict[str, float]) -> list[CostLine]:
    """Price what there is any of. Raises PriceError."""
    return [catalogue.line(sku, quantity) for sku, quantity in quantities.items() if quantity]


def _action(stored: Stored, move: Move, draft: Recommendation) -> Action:
    text = "of what moves is read each month; what is read more often than now is paid for"
    part = min(1.0, stored.read_bytes_per_month / move.bytes) if move.bytes else 0.0
    return Action(
        draft=draft,
        replaces=[stored_item(stored)],
        item=stored_item(stored),
        lines=move.lines,
        risks=[Risk(draft.id, "retrieval", part, text)],
    )


def _draft(stored: Stored, move: Move, catalogue: Catalogue, horizon: Horizon) -> Recommendation:
    confidences = [catalogue.price(line.sku).confidence for line in move.lines]
    now = sum(line.monthly for line in cost_now(stored, catalogue, horizon))
    after = sum(line.monthly for line in move.lines)
    return Recommendation(
        id=f"tier:{stored.prefix}:{stored.age_days:g}",
        priority="LOW",
        action="TIER_STORAGE",
        resource=stored.prefix,
        description=f"Move {move.objects:,.0f} objects of {stored.prefix} with "
        f"{move.bytes / _GB:,.1f} GB to {move.tier.storage_class}.",
        because="",
        inputs={
            "objects": move.objects,
            "bytes": move.bytes,
            "age_days": stored.age_days,
            "idle_days": stored.idle_days,
            "reads_per_month": stored.reads_per_month,
            "read_bytes_per_month": stored.read_bytes_per_month,
            "horizon_days": horizon.days,
            "yearly_discount": horizon.yearly_discount,
            "net_present_saving": move.present_saving,
        },
        model="storage tiering",
        predicted=[Prediction("monthly_cost", "dollars", now, after)],
        cost=[],
        monthly=None,
        confidence=min(confidences, key=("low", "medium", "high").index),
        verify="sum by (storage_type) (aws_s3_bucket_size_bytes_average)",
        apply=_rule(stored, move.tier, catalogue),
    )


def _caveats(move: Move) -> list[str]:
    caveats = [
        "A lifecycle rule goes by age, not by the last read.",
        "Setting a bucket's lifecycle replaces all of its rules: add this one to them.",
    ]
    if move.small_objects:
        caveats.append(
            f"{move.small_objects:,.0f} objects are too small and stay: pack them into larger ones."
        )
    return caveats


def _rule(stored: Stored, to: Tier, catalogue: Catalogue) -> str:
    """Write the rule for `aws s3api put-bucket-lifecycle-configuration`."""
    least_kb = catalogue.price(f"s3:{to.name}").number("min_kb") or 0
    rule = {
        "ID": f"rankwire {to.name} {stored.prefix}"[:255],
        "Status": "Enabled",
        "Filter": {
            "And": {"Prefix": stored.prefix, "ObjectSizeGreaterThan": int(least_kb * 1024) - 1}
        },
        "Transitions": [{"Days": to.idle_days, "StorageClass": to.storage_class}],
    }
    return dumps({"Rules": [rule]}, indent=2) + "\n"
