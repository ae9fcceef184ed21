"""What goes from zone to zone: commits to PostgreSQL and Redis, and from there to every node.

Promises: arithmetic only, and the same for the choice of machines as for the bill. Nodes are taken
to be spread evenly over the zones, so of what a node gets all but one zone's share comes from
another one.
"""

from __future__ import annotations

from typing import Final

from rankwire.ops.capacity.scenario import Scenario
from rankwire.ops.capacity.units import Units
from rankwire.ops.prices import Catalogue

CROSS_ZONE: Final = "egress:cross_az"
DISK: Final = "ebs:gp3"

_STORES: Final = 2
"""PostgreSQL and Redis, which each commit goes to."""
_ENDS: Final = 2
"""What goes from zone to zone is billed where it leaves and where it comes in."""
_GB: Final = 1e9


def billed_gb(scenario: Scenario, units: Units, hours: float, nodes: int) -> float:
    """Tell the gigabytes that are billed in a month of so many hours."""
    return (_STORES + nodes) * _of_one(scenario, units, hours)


def beside_machine(scenario: Scenario, units: Units, catalogue: Catalogue) -> float:
    """Tell the dollars a month of one more node beside its machine: its disk, and what it hears."""
    heard = catalogue.price(CROSS_ZONE).cost(_of_one(scenario, units, catalogue.hours))
    return heard + catalogue.price(DISK).cost(scenario.fleet.volume_gb)


def _of_one(scenario: Scenario, units: Units, hours: float) -> float:
    demand, zones = scenario.demand, scenario.fleet.zones
    committed = demand.scores * demand.changing * units["database_bytes_score"]
    return _ENDS * committed * (zones - 1) / zones * hours * 3600 / _GB
