"""The whole: order of the actions, sums that hold for any fleet, and the command."""

from __future__ import annotations

import json
import random
from pathlib import Path

import msgspec
import pytest
from click.testing import CliRunner, Result
from hypothesis import given, settings
from hypothesis import strategies as st

from fix_usage import GB, START, catalogue_of, machine, row, steady, usage_of
from rankwire.cli._ops_optimize import command
from rankwire.ops.optimizer.inventory import Inventory
from rankwire.ops.optimizer.journal_costs import Journal
from rankwire.ops.optimizer.resources import ResourceOptimizer, UsageReport
from rankwire.ops.optimizer.savings import OptimizationReport
from rankwire.ops.optimizer.storage_tiers import Sizes, Stored
from rankwire.ops.optimizer.usage import Place, Sample, Usage, UsageStore, write
from rankwire.ops.prices import Catalogue

SKUS = ["ec2:a.large", "ec2:a.xlarge", "ec2:a.2xlarge", "ec2:a.4xlarge", "ec2:none.large"]
TABLE = catalogue_of(
    machine("ec2:a.large", 0.08, 2, 4, reserved_1y_no_upfront=0.05),
    machine("ec2:a.xlarge", 0.16, 4, 8, reserved_1y_no_upfront=0.11),
    machine("ec2:a.2xlarge", 0.32, 8, 16, reserved_1y_no_upfront=0.20),
    machine("ec2:a.4xlarge", 0.64, 16, 32),
    machine("ec2:t.medium", 0.03, 2, 4, burstable=True, baseline=0.2),
    row("s3:standard", 0.023, "GB-month"),
    row("s3:ia", 0.0125, "GB-month", min_days=30, min_kb=128),
    row("s3:get", 0.0004, "1k requests"),
    row("s3:ia_get", 0.001, "1k requests"),
    row("s3:ia_transition", 0.01, "1k requests"),
    row("s3:ia_retrieval", 0.01, "GB"),
    row("rds:gp3", 0.115, "GB-month"),
)
BY_SKU = {price.sku: price for price in TABLE}


def _optimize(*usages: Usage, **more: object) -> OptimizationReport:
    told = UsageReport(workloads={u.name: u for u in usages}, **more)  # type: ignore[arg-type]
    return ResourceOptimizer(TABLE).optimize(told)


def _on(sku: str) -> Place:
    return Place(instance=sku)


def test_what_gets_smaller_is_not_reserved() -> None:
    report = _optimize(
        steady("idle", 1.0, 2 * GB, _on("ec2:a.2xlarge")),
        steady("busy", 5.0, 10 * GB, _on("ec2:a.2xlarge")),
        steady("full", 7.9, 10 * GB, _on("ec2:a.2xlarge")),
    )
    found = {each.id: each for each in report.recommendations}
    assert set(found) == {
        "right-size:idle",
        "right-size:full",
        "reserve:ec2:a.2xlarge",
    }
    # One of three: the other two change their size.
    assert found["reserve:ec2:a.2xlarge"].inputs["machines"] == 1
    assert found["reserve:ec2:a.2xlarge"].monthly == pytest.approx((0.20 - 0.32) * 730)
    assert found["right-size:idle"].monthly == pytest.approx((0.08 - 0.32) * 730)
    assert found["right-size:full"].monthly == pytest.approx((0.64 - 0.32) * 730)
    assert report.savings == pytest.approx((0.12 + 0.24 - 0.32) * 730)
    assert report.current_monthly == pytest.approx(3 * 0.32 * 730)


def test_what_ran_for_a_part_of_the_window_costs_that_part() -> None:
    half = usage_of("half", [(5.0, 10 * GB)] * 240, _on("ec2:a.2xlarge"))
    report = _optimize(half, steady("all", 5.0, 10 * GB, _on("ec2:a.2xlarge")))
    assert report.window_hours == 480
    assert report.current_monthly == pytest.approx(1.5 * 0.32 * 730)


def test_freed_capacity_and_money_are_told_apart() -> None:
    place = Place(instance="ec2:a.xlarge", requested_cores=3.0, requested_memory_bytes=4 * GB)
    pods = [steady(f"pod{number}", 0.5, 1 * GB, place) for number in range(3)]
    unknown = _optimize(*pods)
    assert unknown.capacity_freed.cores > 7
    assert unknown.savings == 0
    assert unknown.current_monthly == 0
    known = _optimize(*pods, nodes={"ec2:a.xlarge": 3})
    assert known.capacity_freed == unknown.capacity_freed
    assert known.savings == pytest.approx(2 * 0.16 * 730)
    assert known.recommendations[0].action == "REMOVE_NODES"
    assert all(each.monthly == 0 for each in known.recommendations[1:])


def test_what_has_no_price_is_named_and_in_no_sum() -> None:
    report = _optimize(
        steady("a", 1.0, 2 * GB, _on("ec2:none.large")), nodes={"ec2:no": 3}, inventory=STORED
    )
    assert [name.partition(":")[0] for name in report.unpriced] == ["machine", "nodes", "journal"]
    assert "'ec2:none.large'" in report.unpriced[0]
    assert report.current_monthly == pytest.approx(100 * 0.023)


STORED = Inventory(
    [
        Stored(
            prefix="x",
            sizes=[Sizes(1e6, 10, 100 * GB)],
            age_days=60,
            idle_days=60,
            reads_per_month=0,
            read_bytes_per_month=0,
        )
    ],
    Journal(bytes_per_day=GB, measured_days=9, kept_days=365, volume="rds:none"),
)


def test_an_archive_without_a_price_is_refused() -> None:
    journal = Journal(
        bytes_per_day=GB, measured_days=9, kept_days=365, volume="rds:gp3", archive="s3:nowhere"
    )
    report = _optimize(inventory=Inventory([], journal))
    assert report.recommendations == []
    assert "s3:nowhere" in report.refused[0].reason


def test_what_nothing_says_the_machine_of_is_refused() -> None:
    report = _optimize(steady("a", 1.0, 2 * GB))
    (refused,) = report.refused
    assert (refused.resource, refused.reason) == ("a", "nothing says what it runs on")
    assert (report.recommendations, report.current_costs) == ([], [])


def test_nothing_is_nothing() -> None:
    report = _optimize()
    assert report.savings == report.current_monthly == 0.0
    assert not report.recommendations
    assert not report.refused


@st.composite
def _fleets(draw: st.DrawFn) -> UsageReport:
    seed = draw(st.integers(0, 100_000))
    rng = random.Random(seed)
    usages = _steady_ones(rng, draw(st.integers(0, 4)))
    for number in range(draw(st.integers(0, 5))):
        usage = Usage(f"w{number}", place=_place(rng))
        first, hours = rng.randrange(0, 300), rng.randrange(1, 400)
        cores, memory = rng.choice([0.2, 1.0, 3.0, 9.0]), rng.choice([0.3, 2.0, 12.0]) * GB
        uptime = rng.choice([0.5, 0.9, 1.0, 1.0])
        for hour in range(first, first + hours):
            if rng.random() < uptime:
                at = START + hour * 3600
                used = Sample(
                    at=at, cores=cores * rng.uniform(0.5, 1.5), memory_bytes=memory * rng.random()
                )
                usage.sample(used)
        usages.append(usage)
    objects = [_stored(rng, number) for number in range(draw(st.integers(0, 3)))]
    journal = Journal(
        bytes_per_day=rng.random() * 10 * GB,
        measured_days=rng.randrange(0, 20),
        kept_days=rng.choice([90, 200, 900]),
        volume="rds:gp3",
        archive_part=rng.choice([None, 0.2]),
        will_shrink=rng.random() < 0.5,
    )
    return UsageReport(
        workloads={usage.name: usage for usage in usages},
        nodes={sku: rng.randrange(1, 6) for sku in rng.sample(SKUS, 2)},
        inventory=Inventory(objects, rng.choice([None, journal])),
    )


def _steady_ones(rng: random.Random, count: int) -> list[Usage]:
    """Make machines that have the right size, most of which always run."""
    made = []
    for number in range(count):
        use = [(5.0 * rng.uniform(0.8, 1.1), 10 * GB)] * rng.choice([300, 350, 400])
        made.append(usage_of(f"s{number}", use, _on("ec2:a.2xlarge")))
    return made


def _place(rng: random.Random) -> Place:
    asks = rng.random() < 0.3
    return Place(
        instance=rng.choice(["", *SKUS, *SKUS]),
        requested_cores=rng.choice([0.5, 2.0]) if asks else None,
        requested_memory_bytes=rng.choice([1 * GB, 3 * GB]) if asks else None,
        autoscaled=["cpu"] if rng.random() < 0.1 else [],
    )


def _stored(rng: random.Random, number: int) -> Stored:
    return Stored(
        prefix=f"p{number}",
        sizes=[Sizes(rng.choice([10, 2e5]), rng.randrange(1, 100_000), rng.random() * 1e12)],
        age_days=rng.randrange(0, 200),
        idle_days=rng.randrange(0, 200),
        reads_per_month=rng.choice([0, 1e4, 1e7]),
        read_bytes_per_month=rng.choice([0, 1e9, 1e12]),
        kept_days=rng.choice([None, 220]),
    )


@settings(max_examples=80, deadline=None)
@given(_fleets())
def test_nothing_is_counted_twice_in_any_fleet(told: UsageReport) -> None:
    report = ResourceOptimizer(TABLE).optimize(told)
    moved = [each.monthly for each in report.recommendations]
    assert report.savings == pytest.approx(-sum(m for m in moved if m is not None), abs=1e-6)
    assert report.savings == pytest.approx(report.current_monthly - report.optimized_monthly)
    assert report.savings <= report.current_monthly + 1e-9
    assert report.optimized_monthly >= 0
    for lines, total in [
        (report.current_costs, report.current_monthly),
        (report.optimized_costs, report.optimized_monthly),
    ]:
        assert sum(line.quantity * line.unit_price for line in lines) == pytest.approx(total)
        assert all(line.quantity >= 0 for line in lines)
    assert len({each.id for each in report.recommendations}) == len(moved)
    _check_machines(told, report)


def _check_machines(told: UsageReport, report: OptimizationReport) -> None:
    """Work the cost of the machines out anew, from what is said in words to be done with each."""
    fates = {w: u.place.instance for w, u in told.workloads.items()}
    owned = [
        usage
        for usage in told.workloads.values()
        if usage.place.instance in BY_SKU and usage.place.requested_cores is None
    ]
    resized = set()
    for each in report.recommendations:
        if each.action.endswith("SIZE_INSTANCE"):
            fates[each.resource] = each.description.rstrip(".").split()[-1]
            resized.add(each.resource)
    seen = [hour for usage in told.workloads.values() for hour in usage.seen]
    window = range(min(seen), max(seen) + 1) if seen else range(1)
    cost = 0.0
    reserved = {e.resource: e for e in report.recommendations if e.action == "RESERVE"}
    for sku, price in BY_SKU.items():
        running = [0] * len(window)
        stable = [0] * len(window)
        for usage in owned:
            if fates[usage.name] != sku:
                continue
            is_stable = len(usage.seen) > 0.8 * len(window) and usage.name not in resized
            for hour in usage.seen:
                (stable if is_stable else running)[hour - window[0]] += 1
        units = 0
        if sku in reserved:
            units = int(reserved[sku].description.split()[1])
            assert 0 < units <= max(stable)
            cost += units * 730 * (price.number("reserved_1y_no_upfront") or 0)
        hours = sum(running) + sum(max(0, count - units) for count in stable)
        cost += hours / len(window) * 730 * price.amount
    kept = [line for line in report.optimized_costs if line.sku.startswith("ec2:")]
    nodes = sum(count * 730 * BY_SKU[s].amount for s, count in told.nodes.items() if s in BY_SKU)
    removed = sum(-(e.monthly or 0) for e in report.recommendations if e.action == "REMOVE_NODES")
    assert sum(line.monthly for line in kept) == pytest.approx(cost + nodes - removed)


def _csv(path: Path) -> Path:
    lines = ["at,workload,cpu_cores,memory_bytes,instance"]
    for hour in range(24 * 20):
        at = START + hour * 3600
        lines.append(f"{at},idle,0.2,1e9,ec2:c7g.xlarge")
        lines.append(f"{at},lone,0.2,1e9,")
    path.write_text("\n".join(lines))
    return path


def _run(*words: str, code: int = 0) -> Result:
    done = CliRunner().invoke(command, words, env={"COLUMNS": "200"})
    assert done.exit_code == code, done.output + done.stderr
    return done


def test_the_command_reads_a_fleet_and_prints_a_report(tmp_path: Path) -> None:
    said = _run(str(_csv(tmp_path / "fleet.csv")), "--full").output
    assert "Move idle from ec2:c7g.xlarge to ec2:t4g.small." in said
    assert "--instance-type Value=t4g.small" in said
    bill = "$105.85 a month now, $12.26 if all of this is done: saves $93.59, from 480 hours"
    assert bill in said
    assert "lone, RIGHT_SIZE_INSTANCE: nothing says what it runs on" in said
    assert "The oldest price in this is of 2026-07-20" in said


def test_the_command_prints_json(tmp_path: Path) -> None:
    said = _run(str(_csv(tmp_path / "fleet.csv")), "--json", "--instance", "ec2:c6g.large").output
    report = msgspec.json.decode(said, type=OptimizationReport)
    assert {each.resource for each in report.recommendations} == {"idle", "lone"}
    assert report.current_monthly == pytest.approx((0.145 + 0.068) * 730)


def test_the_command_reads_what_a_server_keeps_from_the_settings(tmp_path: Path) -> None:
    store = UsageStore([steady("node", 0.1, 1 * GB, hours=2)])
    write(tmp_path / "usage", store.encode())
    said = _run("--ops-usage-path", str(tmp_path / "usage"), "--instance", "ec2:c7g.large").output
    assert "Nothing to change." in said
    assert "node, RIGHT_SIZE_INSTANCE: 2 measurements over 1.0 hours are too few" in said


def test_the_command_reads_an_inventory(tmp_path: Path) -> None:
    stored = tmp_path / "stored.json"
    stored.write_bytes(msgspec.json.encode(STORED))
    said = _run(str(_csv(tmp_path / "fleet.csv")), "--inventory", str(stored), "--json").output
    report = json.loads(said)
    assert "TIER_STORAGE" in {each["action"] for each in report["recommendations"]}
    assert report["unpriced"][0].startswith("journal:")


@pytest.mark.parametrize(
    ("words", "code", "message"),
    [
        ([], 2, "name a FILE"),
        (["none.csv"], 1, "none.csv cannot be read"),
        (["fleet.csv", "--inventory", "none.json"], 1, "none.json cannot be read"),
        (["fleet.csv", "--nodes", "ec2:c7g.large"], 2, "is not like"),
        (["fleet.csv", "--nodes", "ec2:c7g.large=0"], 2, "is not like"),
    ],
)
def test_the_command_says_what_is_wrong(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, words: list[str], code: int, message: str
) -> None:
    monkeypatch.chdir(tmp_path)
    _csv(tmp_path / "fleet.csv")
    done = _run(*words, code=code)
    assert message in done.output + done.stderr


def test_the_shipped_prices_reserve_a_cache() -> None:
    usage = steady("cache", 1.2, 9 * GB, _on("cache-redis:cache.r6g.large"))
    told = UsageReport(workloads={"cache": usage})
    report = ResourceOptimizer(Catalogue.load()).optimize(told)
    (found,) = report.recommendations
    assert found.action == "RESERVE"
    assert report.savings == pytest.approx((0.206 - 0.141) * 730)
