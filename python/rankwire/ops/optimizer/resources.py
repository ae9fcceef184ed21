"""What is paid for more than is needed, from measured use and dated prices.

Promises: machines are sized first and only what keeps its size is reserved; every resource stands
on the bill once, so savings never exceed what is paid and add up; thin history is refused; what has
no price is named and in no sum. Pure: nothing is asked and nothing is changed.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Mapping, Sequence
from functools import partial

import msgspec

from rankwire.ops.findings import CostLine, Recommendation
from rankwire.ops.optimizer import journal_costs, storage_tiers
from rankwire.ops.optimizer.inventory import Inventory
from rankwire.ops.optimizer.machine_sizing import machine_item, machine_of, size_machine
from rankwire.ops.optimizer.pod_sizing import (
    PodRequests,
    asked,
    pool_item,
    requests,
    shrink_pool,
    size_pod,
)
from rankwire.ops.optimizer.reservations import reserve
from rankwire.ops.optimizer.savings import (
    Action,
    Capacity,
    Ledger,
    OptimizationReport,
    Refusal,
    Risk,
)
from rankwire.ops.optimizer.storage_tiers import Horizon, stored_item
from rankwire.ops.optimizer.usage import Usage
from rankwire.ops.prices import Catalogue, PriceError

Finding = Action | Refusal | None


class UsageReport(msgspec.Struct, frozen=True, kw_only=True):
    """All that the optimizer is told."""

    workloads: Mapping[str, Usage]
    nodes: Mapping[str, int] = {}
    """How many nodes there are for pods, by the SKU that is their place."""
    archs: Sequence[str] = ()
    """Architectures that are allowed beside the present one: `arm64`, `x86_64`."""
    inventory: Inventory = Inventory()
    horizon: Horizon = Horizon()


class ResourceOptimizer:
    """Finds what can be smaller, reserved or stored for less."""

    def __init__(self, catalogue: Catalogue) -> None:
        """Take the prices."""
        self._catalogue = catalogue

    def optimize(self, usage: UsageReport) -> OptimizationReport:
        """Judge everything that was measured."""
        return _Run(self._catalogue, usage).report()


class _Run:
    """One look at everything: the bill, and what was found so far."""

    def __init__(self, catalogue: Catalogue, told: UsageReport) -> None:
        self._catalogue = catalogue
        self._told = told
        self._recommendations: list[Recommendation] = []
        self._risks: list[Risk] = []
        self._refused: list[Refusal] = []
        self._unpriced: list[str] = []
        self._freed = Capacity()
        usages = told.workloads.values()
        self._pods = [usage for usage in usages if _is_pod(usage)]
        others = [usage for usage in usages if not _is_pod(usage)]
        self._machines = [usage for usage in others if usage.place.instance]
        self._refused += [_unplaced(usage) for usage in others if not usage.place.instance]
        self._window = _window([usage.seen for usage in usages if usage.seen])
        self._bill = Ledger(self._items())

    def report(self) -> OptimizationReport:
        """Find all there is, in the order in which one thing rules out another."""
        current_costs, current = self._bill.lines, self._bill.monthly
        self._reserve(self._size_machines())
        self._size_pods()
        self._store()
        optimized = self._bill.monthly
        newest = [usage.last.at for usage in self._told.workloads.values() if usage.last]
        return OptimizationReport(
            at=max(newest, default=0.0),
            window_hours=len(self._window),
            current_costs=current_costs,
            optimized_costs=self._bill.lines,
            current_monthly=current,
            optimized_monthly=optimized,
            savings=current - optimized,
            capacity_freed=self._freed,
            recommendations=sorted(self._recommendations, key=lambda r: r.monthly or 0.0),
            risk_assessment=self._risks,
            refused=self._refused,
            unpriced=self._unpriced,
        )

    def _items(self) -> dict[str, list[CostLine]]:
        """Price what there is, and name what has no price."""
        told, catalogue = self._told, self._catalogue
        makers: dict[str, Callable[[], list[CostLine]]] = {}
        for usage in self._machines:
            sku, uptime = usage.place.instance, self._uptime(usage)
            makers[machine_item(usage)] = partial(self._line, sku, uptime)
        for sku, count in told.nodes.items():
            makers[pool_item(sku)] = partial(self._line, sku, count)
        for stored in told.inventory.objects:
            now = partial(storage_tiers.cost_now, stored, catalogue, told.horizon)
            makers[stored_item(stored)] = now
        if (journal := told.inventory.journal) is not None:
            makers[journal_costs.ITEM] = partial(journal_costs.cost_now, journal, catalogue)
        items = {}
        for item, make in makers.items():
            try:
                items[item] = make()
            except PriceError as error:
                self._unpriced.append(f"{item}: {error}")
        return items

    def _line(self, sku: str, quantity: float) -> list[CostLine]:
        return [self._catalogue.line(sku, quantity)]

    def _uptime(self, usage: Usage) -> float:
        # Also before an hour of it was seen.
        if usage.measured:
            return 1.0
        return len(usage.seen) / max(1, len(self._window))

    def _take(self, finding: Finding) -> None:
        """Put what was found on the bill and into the report."""
        if isinstance(finding, Refusal):
            self._refused.append(finding)
        elif finding is not None:
            self._recommendations.append(self._bill.apply(finding))
            self._risks += finding.risks
            self._freed += finding.freed

    def _size_machines(self) -> list[Usage]:
        """Judge their sizes; gives those that keep it."""
        kept = []
        for usage in self._machines:
            if machine_item(usage) not in self._bill:
                continue
            archs = frozenset(self._told.archs)
            finding = size_machine(usage, self._uptime(usage), self._catalogue, archs)
            self._take(finding)
            if finding is None or usage.place.autoscaled:
                kept.append(usage)
        return kept

    def _reserve(self, kept: Sequence[Usage]) -> None:
        by_sku: dict[str, list[Usage]] = defaultdict(list)
        for usage in kept:
            by_sku[usage.place.instance].append(usage)
        for machines in by_sku.values():
            self._take(reserve(machines, self._window, self._catalogue))

    def _size_pods(self) -> None:
        pools: dict[str, list[PodRequests]] = defaultdict(list)
        for usage in self._pods:
            finding = size_pod(usage)
            self._take(finding)
            then = asked(finding) if isinstance(finding, Action) else requests(usage)
            pools[usage.place.instance].append(then)
        for sku, count in self._told.nodes.items():
            if pool_item(sku) in self._bill:
                self._take(self._shrink(sku, count, pools[sku]))

    def _shrink(self, sku: str, count: int, pods: Sequence[PodRequests]) -> Finding:
        node = machine_of(self._catalogue.price(sku))
        if node is None or not pods:
            reason = "none of its pods is known" if node else "the price table has no size of it"
            return Refusal(pool_item(sku), "REMOVE_NODES", reason)
        return shrink_pool(node, count, pods, self._catalogue)

    def _store(self) -> None:
        told = self._told
        for stored in told.inventory.objects:
            if stored_item(stored) in self._bill:
                self._take(storage_tiers.tier(stored, self._catalogue, told.horizon))
        journal = told.inventory.journal
        if journal is not None and journal_costs.ITEM in self._bill:
            try:
                self._take(journal_costs.archive_journal(journal, self._catalogue))
            except PriceError as error:
                self._refused.append(Refusal(journal_costs.ITEM, "ARCHIVE_JOURNAL", str(error)))


def _is_pod(usage: Usage) -> bool:
    """Tell it from what has a machine of its own: it asks for a part, or was only given one."""
    place = usage.place
    asks = place.requested_cores is not None or place.requested_memory_bytes is not None
    return asks or usage.measured == "cgroup"


def _unplaced(usage: Usage) -> Refusal:
    return Refusal(usage.name, "RIGHT_SIZE_INSTANCE", "nothing says what it runs on")


def _window(seen: Sequence[Sequence[int]]) -> range:
    """Give the hours from the first in which anything ran to the last."""
    if not seen:
        return range(0)
    return range(min(hours[0] for hours in seen), max(hours[-1] for hours in seen) + 1)
