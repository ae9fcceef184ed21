"""A plan as tables of words: the same for the terminal and for Markdown.

Promises: what is computed is not changed here, only rounded for reading; money to cents.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import msgspec

from rankwire.ops.capacity.availability import Availability
from rankwire.ops.capacity.plan import Claim, Plan
from rankwire.ops.capacity.scenario import Stated
from rankwire.ops.capacity.units import Unit
from rankwire.ops.report import words


class Sheet(msgspec.Struct, frozen=True):
    """A table: the first column is words, all others are figures unless they are notes."""

    title: str
    head: Sequence[str]
    rows: Sequence[Sequence[str]]
    foot: Sequence[str] = ()


def sheets(plan: Plan) -> Iterator[Sheet]:
    """Make all tables of a plan, in the order in which they are read."""
    yield _tiers(plan)
    yield _bill(plan)
    yield _claims(plan)
    if plan.availability is not None:
        yield _availability(plan.availability, plan.stated)
    if plan.references:
        yield _references(plan)
    yield _sensitivity(plan)


def markdown(plan: Plan) -> str:
    """Write a plan as Markdown."""
    parts = [f"# Capacity plan: {plan.scenario}", summary(plan)]
    for sheet in sheets(plan):
        lines = [f"## {sheet.title}", "", _row(sheet.head), _row(["---"] * len(sheet.head))]
        lines += [_row(row) for row in sheet.rows]
        if sheet.foot:
            lines += ["", *sheet.foot]
        parts.append("\n".join(lines))
    parts.append("\n".join(["## To know", "", *(f"- {caveat}" for caveat in plan.caveats)]))
    return "\n\n".join(parts) + "\n"


def units_sheet(units: dict[str, Unit]) -> Sheet:
    """Make the table of units."""
    rows = [
        (name, f"{unit.value:,.6g}", unit.unit, unit.what, unit.date, unit.target)
        for name, unit in units.items()
    ]
    return Sheet("Units", ("unit", "value", "in", "what", "date", "measured by"), rows)


def _row(cells: Sequence[str]) -> str:
    return "| " + " | ".join(cell.replace("|", "\\|") for cell in cells) + " |"


def summary(plan: Plan) -> str:
    """Say the result in a few sentences."""
    demand = plan.demand
    machines = sum(tier.instances for tier in plan.tiers)
    said = (
        f"{demand.users:,.0f} users, {demand.updates_per_minute:,.0f} updates a minute and "
        f"{demand.connections:,.0f} connections need {machines} machines and cost "
        f"{words.money(plan.monthly)} a month in {plan.region}, of which egress is "
        f"{words.money(plan.egress)}."
    )
    if plan.stated is not None:
        said += f" Stated for it was {words.money(plan.stated.monthly)}: {plan.stated.topology}."
    return said


def _tiers(plan: Plan) -> Sheet:
    rows = [
        (
            tier.tier,
            f"{tier.instances} x {tier.sku}",
            str(tier.needed),
            words.figure(tier.utilisation, "ratio"),
            words.figure(tier.utilisation_after_loss, "ratio"),
            f"{tier.memory_gb:.2f}",
            f"{tier.connections:,.0f}" if tier.connections else "",
        )
        for tier in plan.tiers
    ]
    head = (
        *("tier", "machines", "needed", "use", "use after a loss"),
        *("GB after a loss", "connections after a loss"),
    )
    foot = [
        f"Of {plan.fleet.zones} zones one may be lost, or {plan.fleet.spare} machines of a tier."
    ]
    threads = next(tier.usable_cores for tier in plan.tiers if tier.tier == "live")
    if threads > 1:
        foot.append(f"A live machine has `live.threads` {threads:g}, one for each core.")
    return Sheet("Machines", head, rows, foot)


def _bill(plan: Plan) -> Sheet:
    rows = [
        (
            line.sku,
            f"{line.quantity:,.1f} {line.unit}",
            f"{line.unit_price:.6g}",
            words.money(line.monthly),
            line.date,
            words.source(line.source),
        )
        for line in plan.lines
    ]
    rows.append(("in all", "", "", words.money(plan.monthly), "", ""))
    balancer = plan.balancer
    foot = [
        (
            f"Leaving for players: {plan.bytes_per_connection:.1f} bytes a second by connections, "
            f"{plan.sent.live / 1e6:.2f} MB/s of views and {plan.sent.answers / 1e6:.2f} MB/s of "
            "answers, TLS and TCP/IP included."
        ),
        (
            f"The load balancer is billed by {balancer.dimension}: "
            + ", ".join(f"{name} {count:.1f}" for name, count in balancer.dimensions.items())
            + " units."
        ),
    ]
    head = ("SKU", "quantity", "unit price", "a month", "date", "source")
    return Sheet("Bill", head, rows, foot)


def _claims(plan: Plan) -> Sheet:
    rows = [
        (claim.what, claim.label, f"{claim.ms:.1f} ms", _wanted(claim), claim.basis)
        for claim in plan.claims
    ]
    foot = [f"Not measured: {plan.unmeasured}."] if plan.unmeasured else []
    return Sheet("Time", ("what", "by", "within", "wanted", "basis"), rows, foot)


def _wanted(claim: Claim) -> str:
    return "" if claim.wanted_ms is None else f"{claim.wanted_ms:g} ms"


def _availability(chain: Availability, stated: Stated | None) -> Sheet:
    rows = [
        (
            part.name,
            f"{part.needed} of {part.instances}",
            f"{part.each:.4%}",
            f"{part.availability:.5%}",
            part.source,
        )
        for part in chain.parts
    ]
    foot = [
        f"All at once: {chain.availability:.4%}, {chain.minutes_down:.0f} minutes a month down."
    ]
    if stated is not None:
        foot.append(f"Stated: {stated.availability:.2%}.")
    return Sheet("Availability", ("part", "needed", "each", "tier", "input"), rows, foot)


def _references(plan: Plan) -> Sheet:
    rows = [
        (
            reference.name,
            words.money(reference.monthly),
            words.money(reference.left),
            f"{reference.bytes_per_connection:.1f}",
            words.money(reference.with_egress),
            reference.note,
        )
        for reference in plan.references
    ]
    head = (
        *("machines", "a month", "left of the stated total", "pays B/s each"),
        *("with the egress above", "note"),
    )
    foot = ["Without egress; what is left of the stated total pays egress, and nothing else."]
    return Sheet("Beside what was stated", head, rows, foot)


def _sensitivity(plan: Plan) -> Sheet:
    rows = [
        (row.name, words.money(row.monthly), words.money(row.difference), row.note)
        for row in plan.sensitivity
    ]
    return Sheet("With one thing changed", ("change", "a month", "difference", "note"), rows)
