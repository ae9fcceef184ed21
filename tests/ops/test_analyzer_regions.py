"""What the metrics and the analyzer make of a region's figures, unknown ones among them."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

import pytest
from prometheus_client import CollectorRegistry, generate_latest
from prometheus_client.parser import text_string_to_metric_families
from prometheus_client.registry import Collector

from fix_advice import BY_ID, make_bottleneck, make_context, only
from rankwire.cli import regions
from rankwire.ops.analyzer.advice_regions import (
    advise_clock,
    advise_differences,
    advise_region_lag,
)
from rankwire.ops.analyzer.causes import cause_of
from rankwire.ops.analyzer.details import of_rule
from rankwire.ops.analyzer.figures import compute
from rankwire.ops.analyzer.readings import Reading, Window
from rankwire.ops.analyzer.sources.regions import RegionsSource
from rankwire.ops.findings import Known
from rankwire.ops.metric_regions import RegionView, region_metrics

UNKNOWN: Mapping[str, Known] = {"up": None, "lag_seconds": None, "drift_seconds": None}
WELL: Mapping[str, Known] = {
    "up": 1.0, "lag_seconds": 0.2, "drift_seconds": -0.01, "clock_refused": 0.0, "lacking": 3,
    "behind": 0, "pulled_batches_total": 40,
}  # fmt: skip


class Told:
    """What a region tells, as it stands here."""

    def __init__(self, links: Mapping[str, Mapping[str, Known]], **figures: Known) -> None:
        self.links = links
        self.own = figures

    def figures(self) -> Mapping[str, Known]:
        return self.own

    def link_figures(self) -> Mapping[str, Mapping[str, Known]]:
        return self.links

    def ack_counts(self) -> Mapping[tuple[str, str], int]:
        return {("quorum", "reached"): 7}


async def _window(*told: Told) -> Window:
    readings = []
    for number, each in enumerate(told):
        found = await RegionsSource(RegionView(each)).read()
        readings.append(Reading(at=number * 10.0, gauges=found.gauges, totals=found.totals,
                                rows=found.rows, life=found.life))  # fmt: skip
    return Window(readings[0], readings[-1])


async def _figures(*told: Told) -> dict[str, Known]:
    found = compute({"regions": await _window(*told)})
    return {name: value for name, value in found.items() if name.startswith("regions.")}


async def test_figures_are_of_the_worst_region() -> None:
    links = {
        "us": WELL,
        "ap": {**WELL, "up": 0.0, "lag_seconds": 9.0, "drift_seconds": -0.7, "clock_refused": 1.0},
    }
    told = Told(links, primary_known=0.0, leads=1.0, verify_found=5, verify_resolved=3)
    later = {name: {**link, "pulled_batches_total": 60} for name, link in links.items()}
    assert await _figures(told, Told(later, **told.own)) == {
        "regions.lag": 9.0,
        "regions.unreachable": 1.0,
        "regions.clock_drift": 0.7,
        "regions.clocks_refused": 1.0,
        "regions.lacking_batches": 3,
        "regions.pulled_per_second": 4.0,
        "regions.primary_unknown": 1.0,
        "regions.unresolved": 2,
    }


async def test_what_is_not_known_is_never_zero() -> None:
    told = Told({"us": UNKNOWN}, epoch=None)
    assert set((await _figures(told, told)).values()) == {None}
    # A node that does not pull counts nothing.
    told = Told({"us": WELL}, leads=0.0)
    assert (await _figures(told, told))["regions.pulled_per_second"] is None


def _metrics(view: RegionView) -> dict[str, dict[str, float]]:
    class Read(Collector):
        def collect(self) -> Any:
            return region_metrics(view)

    registry = CollectorRegistry()
    registry.register(Read())
    return {
        family.name: {",".join(s.labels.values()): s.value for s in family.samples}
        for family in text_string_to_metric_families(generate_latest(registry).decode())
    }


def test_metrics_tell_what_is_known() -> None:
    told = Told({"us": WELL, "ap": UNKNOWN}, epoch=4, is_primary=1.0, verify_at=None)
    found = _metrics(RegionView(told, (lambda: {"keys": 2, "profiles": 30},)))
    assert found["rankwire_region_epoch"] == {"": 4}
    assert math.isnan(found["rankwire_region_verify_timestamp_seconds"][""])
    assert found["rankwire_region_keys_taken"] == {"": 2}
    assert found["rankwire_region_profiles_taken"] == {"": 30}
    lags = found["rankwire_region_lag_seconds"]
    assert (lags["us"], math.isnan(lags["ap"])) == (0.2, True)
    # What nobody has counted is no counter at 0.
    assert found["rankwire_region_pulled_batches"] == {"us": 40}
    assert found["rankwire_region_forwarded"] == {}
    assert found["rankwire_region_writes"] == {"quorum,reached": 7}


async def test_a_region_that_is_away_explains_the_lag() -> None:
    fired = ["REGION_LAG", "REGION_UNREACHABLE", "REGION_PRIMARY"]
    assert cause_of("REGION_LAG", fired, {}) == "REGION_UNREACHABLE"
    assert cause_of("REGION_PRIMARY", fired, {}) == "REGION_UNREACHABLE"
    assert cause_of("REGION_LAG", ["REGION_LAG", "REGION_CLOCK"], {}) == "REGION_CLOCK"
    window = await _window(*[Told({"ap": WELL, "us": {**WELL, "up": 0.0}})] * 2)
    details: Any = of_rule("REGION_UNREACHABLE", "regions", {"regions": window})
    assert [link["region"] for link in details["links"]] == ["us", "ap"]
    assert BY_ID["REGION_UNREACHABLE"].severity == "HIGH"


@pytest.mark.parametrize(
    ("lacking", "action", "words"),
    [((500.0, 300.0), "WAIT", "catches up in 15 s"), ((300.0, 500.0), "FASTER_PULL", "does not")],
)
async def test_a_lag_tells_when_it_will_be_over(
    lacking: tuple[float, float], action: str, words: str
) -> None:
    told = [
        Told({"us": {**WELL, "lacking": left, "pulled_batches_total": 100 * n}}, leads=1.0)
        for n, left in enumerate(lacking)
    ]
    context = make_context("regions", await _window(*told))
    advice = only(advise_region_lag(context, make_bottleneck("REGION_LAG", 9.0)))
    assert advice.action == action
    assert words in advice.description
    assert advice.inputs["pulled_per_second"] == 10
    # Nothing is said by a node that does not pull, nor where another rule explains it.
    told = [Told(each.links, leads=0.0) for each in told]
    quiet = make_context("regions", await _window(*told))
    assert list(advise_region_lag(quiet, make_bottleneck("REGION_LAG", 9.0))) == []
    explained = make_bottleneck("REGION_LAG", 9.0, cause="REGION_CLOCK")
    assert list(advise_region_lag(context, explained)) == []


async def test_a_clock_that_is_off_is_named() -> None:
    off = {**WELL, "drift_seconds": -0.9, "clock_refused": 1.0}
    window = await _window(*[Told({"us": WELL, "ap": off, "eu": UNKNOWN})] * 2)
    details = of_rule("REGION_CLOCK", "regions", {"regions": window})
    found = make_bottleneck("REGION_CLOCK", 1.0, details=details)
    advice = only(advise_clock(make_context("regions", window), found))
    assert advice.resource == "clock of region ap"
    assert "0.900 s behind this one's" in advice.description


def test_differences_are_to_be_repaired() -> None:
    found = make_bottleneck("REGION_DIFFERENCES", 12.0)
    advice = only(advise_differences(make_context("regions", None), found))
    assert "12 members differ" in advice.description
    # What it names is a command that there is.
    program, group, command = advice.apply.split()
    assert (program, group) == ("rankwire", "regions")
    assert command in regions.command.commands
