"""A server's part in its region among others: puts it together, for `server` to start and stop."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from rankwire.ops.metric_regions import RegionView
from rankwire.storage.postgres import Fenced, PostgresStorage
from rankwire.storage.region_journal import RegionJournal
from rankwire.sync.regions.beside import BesideBoards
from rankwire.sync.regions.regions import Regions

if TYPE_CHECKING:
    from rankwire import _core
    from rankwire.beside import Beside
    from rankwire.settings import Settings
    from rankwire.settings_regions import Regions as RegionSettings
    from rankwire.storage import Storage
    from rankwire.sync.region import Region


class Among(NamedTuple):
    """The other regions, and what metrics and analytics see of them."""

    regions: Regions
    view: RegionView


def fences(chosen: RegionSettings) -> Fenced | None:
    """Say which batches the storage takes only while this region is the primary."""
    if not chosen.is_on:
        return None
    return "all" if chosen.mode == "primary" else "names"


async def reach_out(
    settings: Settings,
    storage: Storage,
    region: Region | None,
    engine: _core.Engine,
    beside: Beside,
) -> Among | None:
    """Begin to be a region among others, if this is one. None of them has to be there for it.

    Comes before the committer starts, so that no write is taken that is another region's.
    """
    chosen, database = settings.regions, beside.database
    if not chosen.is_on or region is None or database is None:
        return None
    # The settings see to it: a region's storage is PostgreSQL.
    assert isinstance(storage, PostgresStorage)  # noqa: S101
    journal = RegionJournal(settings.storage, chosen.name)
    # Other regions ask nodes that serve the API, and one of these asks them.
    may_lead = settings.node.role != "hub"
    regions = Regions(chosen, journal, region, storage, may_lead=may_lead)
    boards = BesideBoards(database, chosen.name, chosen.peer_urls, beside.profiles.take_over)
    regions.handlers |= {"keys": boards.answer_keys, "profiles": boards.answer_profiles}
    regions.beside = boards
    await regions.start(engine)
    return Among(regions, RegionView(regions, (boards.figures,)))
