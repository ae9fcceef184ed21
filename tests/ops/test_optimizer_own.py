"""What a node says of its own machine, and that it says nothing of what it has not measured."""

from __future__ import annotations

from typing import Literal

import pytest

from fix_server import NewServer, until
from fix_usage import GB, HOUR, START, catalogue_of, machine
from rankwire.ops.memory import read_memory
from rankwire.ops.optimizer.own import own_optimization
from rankwire.ops.optimizer.resources import ResourceOptimizer, UsageReport
from rankwire.ops.optimizer.usage import Place, Sample, Usage
from rankwire.ops.optimizer.usage_keeper import OWN

TABLE = catalogue_of(
    machine("ec2:a.large", 0.08, 2, 4, reserved_1y_no_upfront=0.05),
    machine("ec2:a.xlarge", 0.16, 4, 8, reserved_1y_no_upfront=0.10),
)
BIG = "ec2:a.xlarge"


def _own(sku: str, by: Literal["cgroup", "machine"], hours: list[int], cores: float = 0.2) -> Usage:
    made = Usage(OWN, Place(instance=sku))
    for hour in hours:
        at = START + hour * HOUR
        made.sample(Sample(at=at, cores=cores, memory_bytes=GB, by=by))
    return made


def test_a_whole_machine_with_a_price_is_judged() -> None:
    found = own_optimization(_own(BIG, "machine", list(range(480))), TABLE)
    assert found is not None
    assert found.current_monthly == pytest.approx(0.16 * 730)
    (advice,) = found.recommendations
    assert advice.description == "Move this node from ec2:a.xlarge to ec2:a.large."
    # The node does not know what its machine is called elsewhere.
    assert advice.apply == ""


@pytest.mark.parametrize(("sku", "by"), [("", "machine"), ("", "cgroup"), (BIG, "cgroup")])
def test_what_is_no_machine_of_its_own_or_has_no_price_is_not_judged(
    sku: str, by: Literal["cgroup", "machine"]
) -> None:
    assert own_optimization(_own(sku, by, list(range(480))), TABLE) is None
    assert own_optimization(Usage(OWN, Place(instance=sku)), TABLE) is None


def test_a_machine_costs_as_much_while_its_server_is_down() -> None:
    """Also before an hour of it was seen, and also to reserve it."""
    hours = [*range(200), *range(400, 480)]
    found = own_optimization(_own(BIG, "machine", hours, cores=2.5), TABLE)
    assert found is not None
    assert found.current_monthly == pytest.approx(0.16 * 730)
    (advice,) = found.recommendations
    assert advice.action == "RESERVE"
    assert found.optimized_monthly == pytest.approx(0.10 * 730)
    begun = Usage(OWN, Place(instance=BIG))
    begun.sample(Sample(at=START, memory_bytes=GB, by="machine"))
    found = own_optimization(begun, TABLE)
    assert found is not None
    assert found.current_monthly == pytest.approx(0.16 * 730)


def test_a_part_of_a_machine_is_none_to_the_command_either() -> None:
    """`--instance` gives it the machine that it shares with others."""
    used = _own(BIG, "cgroup", list(range(480)))
    report = ResourceOptimizer(TABLE).optimize(UsageReport(workloads={OWN: used}))
    (advice,) = report.recommendations
    assert (advice.action, advice.apply) == ("RIGHT_SIZE_POD", "")
    assert not any("patch" in caveat for caveat in advice.caveats)
    assert report.current_costs == []


@pytest.mark.parametrize("sku", ["", "ec2:c7g.large"])
def test_a_server_tells_of_its_machine_only_what_it_knows(new_server: NewServer, sku: str) -> None:
    server = new_server("--ops-sample-seconds", "0.2", "--ops-node-sku", sku).start()
    until(lambda: bool(server.get("/v1/ops/report").json()["history"]), "a look")
    told = server.get("/v1/ops/report").json()["optimization"]
    memory = read_memory()
    is_machine = memory is not None and memory.by == "machine"
    assert (told is not None) == (is_machine and bool(sku))
    if told is not None:
        assert told["current_monthly"] > 0
