"""Scenarios: what is asked of a fleet, as TOML files describe it.

Promises: a file with a misspelt key, a number out of its range or shares that do not add up is
refused with one sentence that names the file. Two scenarios come with the program.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Final

import msgspec
from msgspec import Meta

from rankwire.ops.capacity import model

FOLDER: Final = Path(__file__).parent.parent / "data" / "scenarios"
NAMES: Final = ("medium", "large")
"""Scenarios that come with the program."""

MOST_BYTES: Final = 256 * 1024
_ROUNDING: Final = 1e-6

Share = Annotated[float, Meta(ge=0, le=1)]
Amount = Annotated[float, Meta(ge=0, le=1e12)]
Positive = Annotated[float, Meta(gt=0, le=1e12)]
Name = Annotated[str, Meta(min_length=1, max_length=200)]


class ScenarioError(Exception):
    """A scenario cannot be used; the text says why."""


class _Strict(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    pass


class Views(_Strict, frozen=True):
    """Which share of the connections watches what."""

    top: Share = 0.2
    """The ten best of all."""
    cohort: Share = 0.4
    """The ten best of the own cohort."""
    standing: Share = 0.4
    """The own standing among all."""


class Reads(_Strict, frozen=True):
    """Which share of the reads over HTTP asks what."""

    top: Share = 1 / 3
    member: Share = 1 / 3
    around: Share = 1 / 3


class Demand(_Strict, frozen=True):
    """What people do."""

    users: Positive
    updates_per_minute: Positive
    connections: Positive
    """Watchers over WebSocket."""
    response_ms: Positive
    """Within which 99 % of the requests are to be answered."""
    delivery_ms: Positive | None = None
    """Within which the last watcher of the top of all is to see a change of it; None asks for no
    more than that all are served."""
    reads_per_update: Amount = 10
    """Over HTTP."""
    cohort: Positive = 100
    """Members of a cohort's board; each update goes to that of all and to the cohort's."""
    changing: Share = 1
    """Share of the updates that change a board."""
    over_websocket: Share = 1
    """Share of the updates that come over WebSocket."""
    reconnects_per_minute: Share = 0.02
    """Share of the connections that come anew."""
    views: Views = Views()
    reads: Reads = Reads()

    @property
    def updates(self) -> float:
        """Updates a second."""
        return self.updates_per_minute / 60

    @property
    def scores(self) -> float:
        """Scores a second on all boards."""
        return 2 * self.updates

    @property
    def members(self) -> float:
        """Members of all boards."""
        return 2 * self.users

    @property
    def cohorts(self) -> float:
        """Boards of cohorts."""
        return max(1.0, self.users / self.cohort)


class Fleet(_Strict, frozen=True):
    """How machines are used."""

    utilisation: Annotated[float, Meta(gt=0, le=1)] = 0.7
    """Most of its cores that a machine may use, also when others are lost."""
    zones: Annotated[int, Meta(ge=1, le=6)] = 3
    """Zones, of which one may be lost."""
    spare: Annotated[int, Meta(ge=0, le=10)] = 1
    """Machines of a tier that may be lost as well, instead of a zone."""
    memory: Annotated[float, Meta(gt=0, le=1)] = 0.8
    """Most of its memory that a machine may use."""
    open_files: Annotated[int, Meta(ge=2000, le=10_000_000)] = 65_536
    """Limit of a process; 1,000 of them are no connections."""
    core_speed: Annotated[float, Meta(gt=0, le=10)] = 1
    """Speed of a core beside one of the machine on which the units were measured."""
    tick_seconds: Annotated[float, Meta(ge=0.01, le=10)] = model.SHARED_TICK
    """Time between two messages of a view that many watch, as `live.tick_ms`."""
    personal_tick_seconds: Annotated[float, Meta(ge=0.01, le=60)] = model.PERSONAL_TICK
    """Time between two messages about one's own standing."""
    journal_days: Annotated[float, Meta(ge=1, le=3650)] = 90
    volume_gb: Annotated[float, Meta(ge=1, le=16_384)] = 20
    """Disk of each machine."""


class Sla(_Strict, frozen=True):
    """What a provider promises of a part."""

    availability: Share
    source: Name


class Item(_Strict, frozen=True):
    """A line of a bill."""

    sku: Name
    quantity: Amount
    what: str = ""


class Reference(_Strict, frozen=True):
    """A way to buy the stated topology."""

    name: Name
    items: list[Item]
    discounts: dict[str, Share] = {}
    """Taken off all prices of a kind, like `ec2`. They are given, and no prices: assumptions, which
    the plan says of them."""
    reserved: list[str] = []
    """SKUs that are paid at the reserved price of the table."""
    note: str = ""


class Stated(_Strict, frozen=True):
    """What others said that the demand needs."""

    monthly: Positive
    """Dollars."""
    availability: Share
    topology: Name


class Scenario(_Strict, frozen=True):
    """The file."""

    name: Name
    demand: Demand
    fleet: Fleet = Fleet()
    sla: dict[str, Sla] = {}
    stated: Stated | None = None
    references: list[Reference] = []


def load_scenario(name: str) -> Scenario:
    """Read a scenario by its name, or from the file of that name. Raises ScenarioError."""
    path = FOLDER / f"{name}.toml" if name in NAMES else Path(name)
    try:
        if path.stat().st_size > MOST_BYTES:
            raise ScenarioError(f"{path} is larger than a scenario may be ({MOST_BYTES:,} bytes)")
        scenario = msgspec.toml.decode(path.read_bytes(), type=Scenario)
    except FileNotFoundError as error:
        known = ", ".join(NAMES)
        raise ScenarioError(f"there is no file {path}, and the scenarios are {known}") from error
    except OSError as error:
        raise ScenarioError(f"{path} cannot be read: {error.strerror}") from error
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        raise ScenarioError(f"{path} is no scenario: {error}") from error
    _check(scenario, path)
    return scenario


def _check(scenario: Scenario, path: Path) -> None:
    shares: Mapping[str, Views | Reads] = {
        "demand.views": scenario.demand.views,
        "demand.reads": scenario.demand.reads,
    }
    for name, parts in shares.items():
        total = sum(msgspec.structs.astuple(parts))
        if not (
            total <= 1 + _ROUNDING and (total == 0 or name == "demand.views" or _is_one(total))
        ):
            raise ScenarioError(f"{path}: the shares of {name} add up to {total:g}")
    if scenario.demand.cohort > scenario.demand.users:
        raise ScenarioError(f"{path}: demand.cohort is larger than demand.users")


def _is_one(total: float) -> bool:
    return abs(total - 1) <= _ROUNDING
