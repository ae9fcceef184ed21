"""How many machines of which kind each tier needs.

Promises: with a machine of the tier lost, or a zone, those that are left use no more of their cores
and memory than the scenario allows, hold all connections, answer in time and, where the scenario
says within which time, show the last watcher a change; of all machines in the price table that can
do it, the cheapest tier is taken: machines, disks and what each of them hears from other zones.
More demand never costs less.

Nodes are of two kinds: `api` serves HTTP, `live` serves connections; both hold all boards and take
in what the other nodes commit. The work of one interpreter counts for the API: it uses one core of
its machine, whatever that has.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from math import ceil, inf, log
from typing import Final, Literal

import msgspec

from rankwire.ops.capacity import model, zones
from rankwire.ops.capacity.model import Audience, Load
from rankwire.ops.capacity.scenario import Fleet, Scenario
from rankwire.ops.capacity.units import Units
from rankwire.ops.findings import Known
from rankwire.ops.models import queueing
from rankwire.ops.prices import Architecture, Catalogue, Kind, Price
from rankwire.settings import Storage
from rankwire.storage.pool import OWN_CONNECTIONS

MOST_NODES: Final = 1024
"""Most machines of one tier that are thought about."""

_GB: Final = 1024**3
_RESERVED_FILES: Final = 1000
_SESSIONS_OF_NODE: Final = Storage().pool_size + OWN_CONNECTIONS
"""Most connections of a node to PostgreSQL, by the default settings."""
_BYTES_OF_SESSION: Final = 9_531_392
"""RDS allows one connection for so many bytes of memory, and 5,000 at most."""
_CACHE_NODES: Final = 2
"""One, and one to take over."""
_KEPT_SECONDS: Final = 60.0
"""More of what was committed is not in the stream of Redis."""
_TAIL: Final = 0.99

Tier = Literal["api", "live", "database", "cache"]


class CapacityError(Exception):
    """The demand cannot be carried with what the price table has; the text says why."""


class TierPlan(msgspec.Struct, frozen=True, kw_only=True):
    """The machines of one tier."""

    tier: Tier
    sku: str
    instances: int
    needed: int
    """With so many it would do if nothing were ever lost."""
    cores: Known
    """Used by one of them when all are there; None of the cache, whose cores nobody has measured,
    and so are both utilisations."""
    usable_cores: float
    """Of one machine."""
    utilisation: Known
    utilisation_after_loss: Known
    """When a zone or the spare machines are lost, whichever is more."""
    memory_gb: float
    """Used by one of them after the loss."""
    connections: float = 0
    """Of one of them after the loss."""
    response_ms: float | None = None
    """99 % of the requests are answered within so long after the loss, by the model."""
    seen_ms: float | None = None
    """The last watcher of the top of all sees a change within so long after the loss, by the model;
    None of tiers that nobody watches at."""


class Choice(msgspec.Struct, frozen=True):
    """What the plan may choose from."""

    arch: Architecture = "arm64"
    cache: Kind = "cache-redis"


class Sizing:
    """Sizes the tiers of one scenario."""

    def __init__(
        self, scenario: Scenario, units: Units, catalogue: Catalogue, choice: Choice
    ) -> None:
        """Take what is asked and what there is."""
        self._demand = scenario.demand
        self._fleet = scenario.fleet
        self._units = units
        self._catalogue = catalogue
        self._choice = choice
        self._beside_machine = zones.beside_machine(scenario, units, catalogue)

    def plan(self) -> list[TierPlan]:
        """Size all tiers. Raises CapacityError."""
        self._check_tick()
        api, apis = self._nodes("api")
        live, lives = self._nodes("live")
        # Counted for the smallest machines: the more write, the more often they commit.
        over_websocket = self._demand.over_websocket
        writers = (apis if over_websocket < 1 else 0) + (lives if over_websocket else 0)
        return [api, live, self._database(writers), self._cache()]

    def _check_tick(self) -> None:
        """Refuse what no number of machines can do."""
        wanted, tick = self._demand.delivery_ms, self._fleet.tick_seconds * 1000
        if wanted is not None and wanted <= tick:
            raise CapacityError(
                f"no fleet shows a change within {wanted:g} ms while a view is sent every "
                f"{tick:g} ms at most: a shorter `fleet.tick_seconds` (`live.tick_ms`) is needed"
            )

    # Load of one node among many.

    def load(self, tier: Tier, nodes: int) -> Load:
        """Tell what one of so many nodes does in a second."""
        demand = self._demand
        scores, reads = demand.scores, demand.updates * demand.reads_per_update
        if tier == "api":
            return Load(
                http_submits=scores * (1 - demand.over_websocket) / nodes,
                changing=demand.changing,
                top_reads=reads * demand.reads.top / nodes,
                member_reads=reads * demand.reads.member / nodes,
                around_reads=reads * demand.reads.around / nodes,
                applied=scores * demand.changing,
            )
        seen = model.traffic(self.audience(nodes), self._units)
        return Load(
            ws_submits=scores * demand.over_websocket / nodes,
            changing=demand.changing,
            connections=demand.connections / nodes,
            applied=scores * demand.changing,
            evaluations=seen.evaluations,
            deliveries=seen.deliveries,
        )

    def audience(self, nodes: int) -> Audience:
        """Tell who watches at one of so many nodes."""
        demand = self._demand
        return Audience(
            watchers=demand.connections / nodes,
            **msgspec.structs.asdict(demand.views),
            users=demand.users,
            cohorts=demand.cohorts,
            changing=demand.changing,
            updates=demand.updates,
            shared_tick=self._fleet.tick_seconds,
            personal_tick=self._fleet.personal_tick_seconds,
        )

    def cores(self, tier: Tier, nodes: int) -> float:
        """Tell how many cores one of so many nodes uses; they commit to PostgreSQL."""
        held = self._units["database_commit_seconds"]
        used = model.cores(self.load(tier, nodes), self._units, commit_seconds=held)
        return used / self._fleet.core_speed

    def memory_gb(self, tier: Tier, nodes: int) -> float:
        """Tell the memory of one of so many nodes."""
        connections = self._demand.connections / nodes if tier == "live" else 0
        members = self._demand.members
        return model.memory(self._units, connections=connections, members=members) / _GB

    def response_ms(self, tier: Tier, nodes: int, usable: float) -> float:
        """Tell within how long 99 % of the requests at one of so many nodes are answered.

        M/M/c: the wait for a core that 99 % do not exceed, the work itself to the same quantile,
        and two commits, one that is under way and the own. Ways through networks are not in it.
        """
        load, used = self.load(tier, nodes), self.cores(tier, nodes)
        if used >= usable:
            return inf
        service = model.service_seconds(load, self._units) / self._fleet.core_speed
        wait = queueing.wait_quantile(max(1, int(usable)), used, service, _TAIL)
        commits = 2 * self._units["database_commit_seconds"] if load.submits else 0.0
        return (wait + service * log(1 / (1 - _TAIL)) + commits) * 1000

    def seen_ms(self, nodes: int, usable: float) -> float:
        """Tell within how long the last watcher of the top of all sees a change at its node.

        Watchers are divided among the node's threads, of which there is one for each core.
        """
        free = 1 - self.cores("live", nodes) / usable
        if free <= 0:
            return inf
        demand, speed = self._demand, self._fleet.core_speed
        watchers = demand.connections * demand.views.top / nodes / usable
        tick = self._fleet.tick_seconds
        return model.last_seen_seconds(watchers, free * speed, self._units, tick=tick) * 1000

    def _is_seen_in_time(self, tier: Tier, nodes: int, usable: float) -> bool:
        wanted = self._demand.delivery_ms
        return tier != "live" or wanted is None or self.seen_ms(nodes, usable) <= wanted

    def _carries(self, tier: Tier, price: Price, nodes: int) -> bool:
        fleet, usable = self._fleet, usable_cores(tier, price)
        connections = self._demand.connections / nodes if tier == "live" else 0
        memory = price.number("memory_gb") or 0
        return (
            self.cores(tier, nodes) <= fleet.utilisation * usable
            and self.memory_gb(tier, nodes) <= fleet.memory * memory
            and connections <= fleet.open_files - _RESERVED_FILES
            and self.response_ms(tier, nodes, usable) <= self._demand.response_ms
            and self._is_seen_in_time(tier, nodes, usable)
        )

    # Tiers.

    def _nodes(self, tier: Tier) -> tuple[TierPlan, int]:
        """Choose the machines of a tier of nodes; also tell the most that any choice has."""
        options = []
        for price in self._catalogue.instances("ec2", arch=self._choice.arch):
            needed = fewest(partial(self._carries, tier, price))
            if needed is not None:
                options.append((price, needed, with_losses(needed, self._fleet)))
        if not options:
            raise CapacityError(
                f"no {self._choice.arch} machine in the price table carries the {tier} tier, "
                f"and {MOST_NODES:,} of none do"
            )
        best = min(options, key=lambda one: (self._monthly(one[0], one[2]), one[2], one[0].sku))
        return self._told(tier, *best), max(count for _, _, count in options)

    def _monthly(self, price: Price, instances: int) -> float:
        """Tell what so many nodes cost: few large ones have fewer disks, and hear less in all."""
        return instances * (price.amount * self._catalogue.hours + self._beside_machine)

    def _told(self, tier: Tier, price: Price, needed: int, instances: int) -> TierPlan:
        left, usable = instances - lost(instances, self._fleet), usable_cores(tier, price)
        return TierPlan(
            tier=tier,
            sku=price.sku,
            instances=instances,
            needed=needed,
            cores=self.cores(tier, instances),
            usable_cores=usable,
            utilisation=self.cores(tier, instances) / usable,
            utilisation_after_loss=self.cores(tier, left) / usable,
            memory_gb=self.memory_gb(tier, left),
            connections=self._demand.connections / left if tier == "live" else 0,
            response_ms=self.response_ms(tier, left, usable),
            seen_ms=self.seen_ms(left, usable) if tier == "live" else None,
        )

    def _database(self, writers: int) -> TierPlan:
        """Choose the instance of PostgreSQL; a second one in another zone stands by."""
        units, demand = self._units, self._demand
        changes = demand.scores * demand.changing
        held = units["database_commit_seconds"]
        commits = writers * model.gathered(changes / writers, held)
        used = (
            commits * units.seconds("database_cpu_commit")
            + changes * units.seconds("database_cpu_score")
        ) / self._fleet.core_speed
        sessions = writers * _SESSIONS_OF_NODE * _BYTES_OF_SESSION / _GB
        working = demand.members * units["database_bytes_member"] / _GB
        found = self._catalogue.instances(
            "rds-pg",
            vcpu=used / self._fleet.utilisation,
            memory_gb=max(sessions, working / self._fleet.memory),
            arch=self._choice.arch,
        )
        if not found:
            raise CapacityError(
                f"no instance of PostgreSQL in the price table has {used:.1f} cores to use"
            )
        vcpu = found[0].number("vcpu") or 0
        return TierPlan(
            tier="database",
            sku=found[0].sku,
            instances=2,
            needed=1,
            cores=used,
            usable_cores=vcpu,
            utilisation=used / vcpu,
            utilisation_after_loss=used / vcpu,
            memory_gb=working,
        )

    def _cache(self) -> TierPlan:
        """Choose the nodes of Redis or Valkey, which keep the newest commits only."""
        units, demand = self._units, self._demand
        kept = demand.scores * demand.changing * units["database_bytes_score"] * _KEPT_SECONDS
        found = self._catalogue.instances(self._choice.cache, memory_gb=kept / _GB)
        if not found:
            raise CapacityError(f"no node of {self._choice.cache} is in the price table")
        vcpu = found[0].number("vcpu") or 0
        return TierPlan(
            tier="cache",
            sku=found[0].sku,
            instances=_CACHE_NODES,
            needed=1,
            cores=None,
            usable_cores=vcpu,
            utilisation=None,
            utilisation_after_loss=None,
            memory_gb=kept / _GB,
        )


def usable_cores(tier: Tier, price: Price) -> float:
    """Tell how many cores of a machine a node of a tier uses."""
    vcpu = price.number("vcpu") or 0
    return min(1.0, vcpu) if tier == "api" else vcpu


def fewest(carries: Callable[[int], bool]) -> int | None:
    """Find the fewest nodes that carry; more always do as well. None when `MOST_NODES` do not."""
    if not carries(MOST_NODES):
        return None
    low, high = 0, MOST_NODES
    while high - low > 1:
        middle = (low + high) // 2
        low, high = (low, middle) if carries(middle) else (middle, high)
    return high


def lost(instances: int, fleet: Fleet) -> int:
    """Tell how many machines may be lost at once: the spare ones, or those of a zone."""
    return max(fleet.spare, ceil(instances / fleet.zones) if fleet.zones > 1 else 0)


def with_losses(needed: int, fleet: Fleet) -> int:
    """Count the machines of which enough are left after any loss."""
    instances = needed
    while instances - lost(instances, fleet) < needed:
        instances += 1
    return instances
