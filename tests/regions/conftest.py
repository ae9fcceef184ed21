"""Three regions that the tests of this folder share; each leaves them healed and level."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from fix_chaos import Chaos
from fix_regions import Regions, running_regions


@pytest.fixture(scope="session")
def clock_of_us(chaos_library: Path) -> Chaos:
    """What the PostgreSQL of us is made to believe: the truth, unless a test changes that."""
    return Chaos(chaos_library, chaos_library.with_name("regions"))


@pytest.fixture(scope="session")
def shared_regions(
    tmp_path_factory: pytest.TempPathFactory, postgres_template: Path, clock_of_us: Chaos
) -> Iterator[Regions]:
    """Run three regions for as long as the tests do."""
    place = tmp_path_factory.mktemp("regions")
    with running_regions(place, postgres_template, chaos={"us": clock_of_us}) as regions:
        yield regions


@pytest.fixture
def three(shared_regions: Regions) -> Iterator[Regions]:
    """Lend them to a test; whatever it did to the network ends with it."""
    yield shared_regions
    shared_regions.heal()
    shared_regions.until_linked()
    shared_regions.until_level()
