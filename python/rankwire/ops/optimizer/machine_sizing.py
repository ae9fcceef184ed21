"""The machine that a workload needs, from the catalogue.

Promises: sizes come from quantiles and peaks, never from averages; a recommended machine is in the
catalogue, has an allowed architecture, and the recorded history replayed on it stays within it in
all but `MOST_OVERLOADED` of the hours, and in all hours as to memory. Thin history, an autoscaler
or an unknown size is refused with the reason. Machines are compared by their number of processors,
which are not equally fast in all families.

Sources: AWS Compute Optimizer for the 99.5th percentile, 20 % of head-room and 14 days of history;
the baseline of machines that run on credits is AWS's.
"""

from __future__ import annotations

from shlex import quote
from typing import Final, NamedTuple

from rankwire.ops.findings import CostLine, Prediction, Recommendation
from rankwire.ops.optimizer.evidence import (
    FREE_DAYS,
    OOM_FACTOR,
    confidence,
    history_inputs,
    observed_days,
    refuse_thin,
)
from rankwire.ops.optimizer.savings import Action, Refusal, Risk
from rankwire.ops.optimizer.usage import Overload, Usage
from rankwire.ops.prices import Catalogue, Price

CANDIDATE_CPU: Final = 0.3
"""A machine is a candidate for a smaller one when its mean use of processors is below this,"""
CANDIDATE_MEMORY: Final = 0.4
"""and that of memory below this. The mean opens the question and never answers it."""
CPU_HEADROOM: Final = 0.2
MEMORY_FACTOR: Final = 1.2
MOST_OVERLOADED: Final = 0.005

_GB: Final = 1024**3
# AWS's normalization factors, which are what steps of size are counted in.
_SIZES: Final = {"nano": 0.25, "micro": 0.5, "small": 1.0, "medium": 2.0, "large": 4.0}


class Machine(NamedTuple):
    """A row of the catalogue, as a size."""

    price: Price
    vcpu: float
    memory: float
    """In bytes."""

    @property
    def size(self) -> float:
        """Steps of size double this."""
        word = self.price.sku.rpartition(".")[2]
        count = word.removesuffix("xlarge")
        return _SIZES.get(word) or 8.0 * (float(count) if count.isdigit() else 1.0)

    def lasts(self, busiest_day: float) -> bool:
        """Tell whether its credits last, if it is one that runs on credits."""
        if not self.price.attributes.get("burstable", False):
            return True
        baseline = self.price.number("baseline")
        return baseline is not None and busiest_day <= baseline * self.vcpu


class Need(NamedTuple):
    """What a workload needs of a machine."""

    cores: float
    """The 99.5th percentile."""
    vcpu: float
    """With head-room."""
    peak: float
    """Of memory, in bytes."""
    memory: float
    """With head-room."""
    busiest_day: float


def machine_of(price: Price) -> Machine | None:
    """Give the size of what a price is for; None when the table does not tell it."""
    vcpu, memory = price.number("vcpu"), price.number("memory_gb")
    return Machine(price, vcpu, memory * _GB) if vcpu and memory else None


class _Change(NamedTuple):
    now: Machine
    target: Machine
    need: Need
    is_short: bool


def size_machine(
    usage: Usage, uptime: float, catalogue: Catalogue, archs: frozenset[str]
) -> Action | Refusal | None:
    """Find the machine for a workload that has one of its own; None when it has the right one.

    `uptime` is the part of the window in which it ran, `archs` are the architectures that are
    allowed beside its present one.
    """
    now = machine_of(catalogue.price(usage.place.instance))
    refused = _refuse(usage, now)
    if refused is not None or now is None:
        return refused
    need = _need(usage)
    is_short = need.vcpu > now.vcpu or need.memory > now.memory or not now.lasts(need.busiest_day)
    is_idle = (
        usage.mean_cores < CANDIDATE_CPU * now.vcpu
        and usage.mean_memory < CANDIDATE_MEMORY * now.memory
    )
    if not (is_short or is_idle):
        return None
    target = _target(usage, need, now, _allowed(catalogue, now, archs), is_short=is_short)
    if target is None:
        if not is_short:
            return None
        reason = (
            f"it needs {need.vcpu:.2f} processors and {need.memory / _GB:.2f} GB, and the price "
            "table has no such machine"
        )
        return Refusal(usage.name, "RIGHT_SIZE_INSTANCE", reason)
    change = _Change(now, target, need, is_short=is_short)
    return _change(usage, change, catalogue.line(target.price.sku, uptime))


def _refuse(usage: Usage, now: Machine | None) -> Refusal | None:
    if now is None:
        reason = f"the price table does not say how large {usage.place.instance} is"
        return Refusal(usage.name, "RIGHT_SIZE_INSTANCE", reason)
    if usage.place.autoscaled:
        return Refusal(usage.name, "RIGHT_SIZE_INSTANCE", "an autoscaler already drives it")
    return refuse_thin(usage, "RIGHT_SIZE_INSTANCE")


def _need(usage: Usage) -> Need:
    cores = usage.cores.quantile(0.995)
    peak = usage.memory_peak()
    factor = OOM_FACTOR if usage.ooms else MEMORY_FACTOR
    return Need(cores, cores / (1 - CPU_HEADROOM), peak, peak * factor, usage.busiest_day)


def _allowed(catalogue: Catalogue, now: Machine, archs: frozenset[str]) -> list[Machine]:
    """List what it may move to, cheapest first."""
    allowed = archs | {str(now.price.attributes.get("arch", ""))}
    machines = [
        machine_of(price)
        for price in catalogue
        if price.kind == now.price.kind
        and price.unit == now.price.unit
        and price.confidence != "low"
        and price.attributes.get("arch") in allowed
    ]
    return sorted(
        (machine for machine in machines if machine is not None),
        key=lambda machine: (machine.price.amount, machine.price.sku),
    )


def _target(
    usage: Usage, need: Need, now: Machine, machines: list[Machine], *, is_short: bool
) -> Machine | None:
    """Choose the cheapest that fits; None when that is not better than what there is."""
    if observed_days(usage) < FREE_DAYS:
        machines = [m for m in machines if now.size / 2 <= m.size <= now.size * 2]
    fitting = next((machine for machine in machines if _fits(usage, need, machine)), None)
    if not is_short:
        return fitting if fitting and fitting.price.amount < now.price.amount else None
    if fitting:
        return fitting
    # A step in the right direction, when what is needed is further away than a step may go.
    larger = [m for m in machines if m.vcpu >= now.vcpu and m.memory >= now.memory and m != now]
    is_lacking = [
        m
        for m in larger
        if (need.vcpu <= now.vcpu or m.vcpu > now.vcpu)
        and (need.memory <= now.memory or m.memory > now.memory)
        and m.lasts(need.busiest_day)
    ]
    return is_lacking[0] if is_lacking else None


def _fits(usage: Usage, need: Need, machine: Machine) -> bool:
    if machine.vcpu < need.vcpu or machine.memory < need.memory:
        return False
    if not machine.lasts(need.busiest_day):
        return False
    replayed = usage.over(machine.vcpu, machine.memory)
    return replayed.hours <= MOST_OVERLOADED and replayed.memory == 0


def _change(usage: Usage, change: _Change, line: CostLine) -> Action:
    now, target, need = change.now, change.target, change.need
    replayed = usage.over(target.vcpu, target.memory)
    name = f"right-size:{usage.name}"
    draft = Recommendation(
        id=name,
        priority="HIGH" if change.is_short else "MEDIUM",
        action="UPSIZE_INSTANCE" if change.is_short else "DOWNSIZE_INSTANCE",
        resource=usage.name,
        description=f"Move {usage.name} from {now.price.sku} to {target.price.sku}.",
        because="",
        inputs={
            **history_inputs(usage),
            "cores_p99_5": need.cores,
            "memory_peak_bytes": need.peak,
            "vcpu_needed": need.vcpu,
            "memory_needed_bytes": need.memory,
            "busiest_day_cores": need.busiest_day,
        },
        model="instance right-sizing",
        predicted=_predict(change, usage.over(now.vcpu, now.memory), replayed),
        cost=[],
        monthly=None,
        confidence=confidence(usage),
        caveats=_caveats(usage, need, target),
        verify="max_over_time(rate(process_cpu_seconds_total[5m])[14d:5m])",
        apply="" if usage.measured else _command(usage.name, target.price),
    )
    text = (
        f"of the recorded hours had a moment that needs more than {target.vcpu:g} processors; "
        f"{replayed.hours:.2%} needed more on average"
    )
    return Action(
        draft=draft,
        replaces=[machine_item(usage)],
        item=machine_item(usage),
        lines=[line],
        risks=[Risk(name, "performance", replayed.moments, text)],
    )


def _predict(change: _Change, before: Overload, after: Overload) -> list[Prediction]:
    now, target, need = change.now, change.target, change.need
    cores, memory = "cpu_utilization_p99_5", "memory_utilization_peak"
    return [
        Prediction(cores, "ratio", need.cores / now.vcpu, need.cores / target.vcpu),
        Prediction(memory, "ratio", need.peak / now.memory, need.peak / target.memory),
        Prediction("hours_overloaded", "ratio", before.hours, after.hours, high=after.moments),
    ]


def machine_item(usage: Usage) -> str:
    """Name the item of the bill for a workload's own machine."""
    return f"machine:{usage.name}"


def _caveats(usage: Usage, need: Need, target: Machine) -> list[str]:
    caveats = ["Network and disk limits of the machine are not in the price table: look them up."]
    if observed_days(usage) < FREE_DAYS:
        caveats.append(f"One step of size at most, as there are less than {FREE_DAYS:.0f} days.")
    if not _fits(usage, need, target):
        caveats.append("It needs more than this step gives: look again after it.")
    if target.price.kind.startswith("cache-"):
        caveats.append("Redis runs commands on one core: more of them help it little.")
    if usage.ooms:
        caveats.append("It was killed for its memory, so its real peak is not known.")
    return caveats


def _command(name: str, price: Price) -> str:
    kind, _, size = price.sku.partition(":")
    which, what = quote(name), quote(size)
    commands = {
        "ec2": f"aws ec2 stop-instances --instance-ids {which}\n"
        f"aws ec2 modify-instance-attribute --instance-id {which} --instance-type Value={what}\n"
        f"aws ec2 start-instances --instance-ids {which}\n",
        "rds-pg": f"aws rds modify-db-instance --db-instance-identifier {which} "
        f"--db-instance-class {what}\n",
        "cache-redis": "aws elasticache modify-replication-group "
        f"--replication-group-id {which} --cache-node-type {what} --apply-immediately\n",
    }
    commands["cache-valkey"] = commands["cache-redis"]
    return commands.get(kind, "")
