"""The failover drill: three regions behind DNS, clients that find their way, and one region dies.

Measured from the moment at which the killing of a region begins: when DNS answers another one, when
writers are acknowledged there, when watchers are subscribed there; then what that cost. What was
acknowledged with the level `quorum` must be there, in all regions, whatever died; so must be what
was acknowledged with `local` once the region is back. Figures go to standard output as a table and
one line of JSON. Long: runs in `make verify-drill`.
"""

from __future__ import annotations

import asyncio
import json
import os
import sys
from collections.abc import AsyncIterator, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from itertools import combinations
from pathlib import Path
from time import monotonic
from typing import Any, Final

import pytest

from fix_cluster import until_level
from fix_dns import DOMAIN, TTL, Dns, Resolver, answering, running_dns
from fix_drill import BOARD, LEVELS, Watchers, Writers, watching
from fix_regions import NewRegions, Regions
from fix_server import PATIENCE_SECONDS, until

pytestmark = [
    pytest.mark.skipif(
        not os.environ.get("VERIFY_DRILL"), reason="a long run: `make verify-drill`"
    ),
    pytest.mark.timeout(240),
    pytest.mark.usefixtures("no_tasks_left"),
]

_HOSTS: Final = {"eu": "127.0.0.2", "us": "127.0.0.3", "ap": "127.0.0.4"}
_WRITERS: Final = 8
_WATCHERS: Final = 8
_LOAD_SECONDS: Final = 3.0
_LOOK_SECONDS: Final = 0.01
_LEVEL_MS: Final = 1000
# About what lies between two continents, in each direction.
_DISTANCE_SECONDS: Final = 0.04
# Shorter than the default of 10 s, so that it is waited for in each drill.
_LEASE: Final = ("--regions-lease-seconds", "3")


class Drill:
    """The regions, their name server and the clients; what is measured on the way."""

    def __init__(self, regions: Regions, dns: Dns, writers: Writers, watchers: Watchers) -> None:
        self.regions = regions
        self.writers = writers
        self.watchers = watchers
        self.figures: dict[str, Any] = {}
        self._dns = dns

    async def until_dns(self, name: str, since: float) -> float:
        """Wait until DNS answers this region alone; gives the seconds since a moment."""
        while (await asyncio.to_thread(self._dns.ask)).addresses != [_HOSTS[name]]:
            assert monotonic() - since < PATIENCE_SECONDS, f"DNS does not answer {name}"
            await asyncio.sleep(_LOOK_SECONDS)
        return monotonic() - since

    async def lose(self, name: str) -> float:
        """Cut a region off and kill it, and give the moment at which that began.

        What it had sent to other regions and they had not received is gone, as its place is.
        """
        since = monotonic()
        self.regions.part(name)
        await asyncio.to_thread(self.regions[name].kill)
        return since

    async def bring_back(self, name: str) -> float:
        """Start a lost region again, and give the moment at which that began."""
        since = monotonic()
        self.regions.heal()
        keep_apart(self.regions)
        await asyncio.to_thread(self.regions[name].start_all)
        return since

    async def until_moved(self, since: float, before: Sequence[int]) -> None:
        """Wait until all clients have left the first region, and note how long that took."""
        written, watched = await asyncio.gather(
            self.writers.until_all_acknowledged(since, ("us", "ap")),
            self.watchers.until_subscribed(since, before),
        )
        await self.watchers.until_news()
        self.figures |= {
            "first_write_s": written[0],
            "all_writers_s": written[-1],
            "first_watcher_s": watched[0],
            "all_watchers_s": watched[-1],
        }

    async def count_losses(self) -> None:
        """See what the others lack of what the first region had acknowledged before it died."""
        alive = self.regions.others("eu")
        async with self.writers.paused():
            await asyncio.to_thread(until_level, [region.node for region in alive])
            here = await self.members(alive[0].name)
        self.figures["acknowledged"] = len(self.writers.members("eu", *LEVELS))
        for level in LEVELS:
            self.figures[f"lost_{level}"] = len(self.writers.members("eu", level) - here)

    async def until_caught_up(self, since: float) -> float:
        """Wait until the first region is less than a second behind the others."""

        def has_caught_up() -> bool:
            lags = [link["lag_ms"] for link in self.regions["eu"].status()["links"]]
            return all(lag is not None and lag < _LEVEL_MS for lag in lags)

        await asyncio.to_thread(until, has_caught_up, "a region that has caught up")
        return monotonic() - since

    async def operate(self, name: str, method: str, path: str, body: object = None) -> Any:
        """Let the operator of a region do something, again until it is not refused."""
        server = self.regions[name].server
        deadline = monotonic() + PATIENCE_SECONDS
        while True:
            reply = await asyncio.to_thread(server.call, method, f"/v1/regions/{path}", body)
            if reply.status in {200, 204}:
                return reply.json() if reply.body else None
            assert monotonic() < deadline, reply
            await asyncio.sleep(_LOOK_SECONDS)

    def report(self, scenario: str, capsys: pytest.CaptureFixture[str]) -> None:
        """Print the figures, also when the test succeeds."""
        figures = {"drill": scenario, "dns_ttl_s": TTL, "lease_s": float(_LEASE[1])} | {
            name: round(value, 2) if isinstance(value, float) else value
            for name, value in self.figures.items()
        }
        rows = [f"  {name:<20} {value}" for name, value in figures.items()]
        with capsys.disabled():
            sys.stdout.write("\n" + "\n".join(rows) + f"\n{json.dumps(figures)}\n")

    async def members(self, name: str) -> set[str]:
        """Whose scores a region has."""
        contents = await asyncio.to_thread(self.regions[name].node.contents)
        return set(contents[BOARD])


def keep_apart(regions: Regions) -> None:
    """Put a distance between all regions."""
    for pair in combinations(_HOSTS, 2):
        regions.slow(*pair, _DISTANCE_SECONDS)


@asynccontextmanager
async def _drill(new_regions: NewRegions, place: Path, *flags: str) -> AsyncIterator[Drill]:
    """Run everything, under load. In the end all regions have to have equal boards."""
    regions = new_regions(*_LEASE, *flags, names=[*_HOSTS], hosts=[*_HOSTS.values()])
    await asyncio.to_thread(regions.start)
    home = regions["eu"].server
    await asyncio.to_thread(until, lambda: regions["eu"].status()["may_name"], "a primary")
    await asyncio.to_thread(home.create, BOARD, policy="best")
    await asyncio.to_thread(regions.until_level)
    keep_apart(regions)
    writers = Writers(f"http://{DOMAIN}:{home.http_port}", _WRITERS)
    live = f"ws://{DOMAIN}:{home.live_port}/connection/websocket"
    async with AsyncExitStack() as parts:
        dns = parts.enter_context(running_dns(place / "dns", _HOSTS, home.http_port))
        parts.enter_context(answering(asyncio.get_running_loop(), Resolver(dns)))
        await asyncio.to_thread(until, lambda: dns.ask().addresses == [_HOSTS["eu"]], "DNS")
        watchers = await parts.enter_async_context(watching(live, _WATCHERS))
        drill = Drill(regions, dns, writers, watchers)
        async with writers.running():
            await writers.until_all_acknowledged(monotonic(), ("eu",))
            await asyncio.sleep(_LOAD_SECONDS)
            yield drill
        await asyncio.to_thread(regions.until_level)
        acknowledged = writers.members("", *LEVELS)
        for name in _HOSTS:
            assert acknowledged <= await drill.members(name), f"{name} lacks what was acknowledged"


async def test_a_region_dies_where_all_take_writes(
    new_regions: NewRegions, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    async with _drill(new_regions, tmp_path) as drill:
        before = drill.watchers.times_subscribed()
        since = await drill.lose("eu")
        drill.figures["dns_moved_s"] = await drill.until_dns("us", since)
        await drill.until_moved(since, before)
        await drill.count_losses()
        since = await drill.bring_back("eu")
        drill.figures["back_in_dns_s"] = await drill.until_dns("eu", since)
        drill.figures["caught_up_s"] = await drill.until_caught_up(since)
    drill.report("active-active", capsys)
    assert drill.figures["lost_quorum"] == 0


async def test_the_primary_region_dies(
    new_regions: NewRegions, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    async with _drill(new_regions, tmp_path, "--regions-mode", "primary") as drill:
        before = drill.watchers.times_subscribed()
        since = await drill.lose("eu")
        moving = asyncio.create_task(drill.until_moved(since, before))
        drill.figures["dns_moved_s"] = await drill.until_dns("us", since)
        ordered = monotonic()
        report = await drill.operate("us", "POST", "failover", {"force": False})
        drill.figures["failover_s"] = monotonic() - ordered
        drill.figures["failover_steps"] = [
            f"{step['after_ms'] / 1000:.2f} s: {step['what']}" for step in report["steps"]
        ]
        await moving
        await drill.count_losses()
        since = await drill.bring_back("eu")
        drill.figures["back_in_dns_s"] = await drill.until_dns("eu", since)
        # It was told of the newer primary, and takes no writes of its own.
        knows = lambda: drill.regions["eu"].status()["primary"] == "us"  # noqa: E731
        await asyncio.to_thread(until, knows, "the newer primary")
        assert not [ack for ack in drill.writers.acks if ack.region == "eu" and ack.at > since]
        since = monotonic()
        await drill.operate("eu", "POST", "failback")
        drill.figures["failback_s"] = monotonic() - since
        written = await drill.writers.until_all_acknowledged(since, ("eu",))
        drill.figures["failback_writes_s"] = written[-1]
    drill.report("primary", capsys)
    assert drill.figures["lost_quorum"] == 0


async def test_an_operator_takes_a_region_out(
    new_regions: NewRegions, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    async with _drill(new_regions, tmp_path) as drill:
        before = drill.watchers.times_subscribed()
        since = monotonic()
        await drill.operate("eu", "PUT", "out", {"reason": "drill"})
        drill.figures["dns_moved_s"] = await drill.until_dns("us", since)
        since = monotonic()
        await drill.operate("eu", "DELETE", "out")
        drill.figures["dns_back_s"] = await drill.until_dns("eu", since)
        # Whoever was connected has not noticed.
        assert not drill.writers.refusals
        assert drill.watchers.times_subscribed() == before
    drill.report("out", capsys)
