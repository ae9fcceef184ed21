"""A region whose clock is off is not listened to until it is right."""

from __future__ import annotations

import secrets
from collections.abc import Iterator
from functools import partial
from typing import Any

import pytest

from cluster_books import PROBE
from fix_chaos import Chaos
from fix_regions import Region, Regions
from fix_server import until


def _link(region: Region, to: str) -> dict[str, Any]:
    (found,) = [link for link in region.status()["links"] if link["region"] == to]
    return dict(found)


def _refuses(region: Region, to: str) -> bool:
    return "clock" in (_link(region, to)["trouble"] or "")


@pytest.fixture
def fast_us(three: Regions, clock_of_us: Chaos) -> Iterator[Chaos]:
    """Let the database of us be half a minute ahead, and wait until everybody has noticed."""
    clock_of_us.jump(30)
    try:
        for one, other in (("eu", "us"), ("ap", "us"), ("us", "eu"), ("us", "ap")):
            until(partial(_refuses, three[one], other), f"{one} that does not listen to {other}")
        yield clock_of_us
    finally:
        clock_of_us.jump(0)


def test_a_clock_that_is_ahead_is_refused_until_it_is_right(three: Regions, fast_us: Chaos) -> None:
    member = f"t-{secrets.token_hex(4)}"
    assert _link(three["eu"], "us")["drift_ms"] == pytest.approx(30_000, abs=2_000)
    assert any("clock" in reason for reason in three["eu"].node.ready()["reasons"])
    for region in three:
        assert region.server.submit(PROBE, member, 1).status == 200
    # The others go on without it.
    for name in ("eu", "ap"):
        three[name].until_has(PROBE, member, 2)
    assert three["us"].has(PROBE, member, 1)
    fast_us.jump(0)
    for region in three:
        region.until_has(PROBE, member, 3)
