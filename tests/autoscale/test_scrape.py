"""What is read of a pod, and what is said of it."""

from __future__ import annotations

import asyncio
import math
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Final

import pytest
from aiohttp import web
from hypothesis import given
from hypothesis import strategies as st
from prometheus_client import CollectorRegistry, Gauge, generate_latest
from prometheus_client.parser import text_string_to_metric_families

from rankwire.autoscale import scrape
from rankwire.autoscale.files import WatchedFile
from rankwire.autoscale.labels import EVERYTHING, Selector
from rankwire.autoscale.labels import parse as selector
from rankwire.autoscale.metrics_answers import Answers, UnknownError
from rankwire.autoscale.pods import Pod
from rankwire.autoscale.scrape import Sample, ScrapeError, Scraper, Series, read_page

_Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]

_CONNECTIONS: Final = "websocket_connections_per_pod"
_RATE: Final = "cache_hit_rate"
_POOL: Final = "database_pool_utilization"


# The page.


@given(
    st.dictionaries(st.text(max_size=8), st.floats(), max_size=5),
    st.text(max_size=20),
)
def test_a_page_is_read_as_prometheus_reads_it(values: Mapping[str, float], help_text: str) -> None:
    registry = CollectorRegistry()
    ours = Gauge(_POOL, help_text, ["pool"], registry=registry)
    Gauge(f"{_POOL}_other", help_text, ["pool"], registry=registry).labels(_POOL).set(1)
    for name, value in values.items():
        ours.labels(name).set(value)
    page = generate_latest(registry).decode()
    theirs = [
        (sample.labels, sample.value)
        for family in text_string_to_metric_families(page)
        for sample in family.samples
        if sample.name == _POOL and math.isfinite(sample.value)
    ]
    found = [
        (dict(series.labels), series.value) for series in read_page(page, {_POOL}).get(_POOL, ())
    ]
    assert found == theirs


@pytest.mark.parametrize(
    ("line", "read"),
    [
        ("x 1", ({}, 1.0)),
        ("x{} 1 1790000000000", ({}, 1.0)),
        ('x{a="1",} 2', ({"a": "1"}, 2.0)),
        ('x{a="}",b="x y"} 2', ({"a": "}", "b": "x y"}, 2.0)),
        ('x{a="\\\\n\\n\\""} 2', ({"a": '\\n\n"'}, 2.0)),
    ],
)
def test_a_line_is_read(line: str, read: tuple[dict[str, str], float]) -> None:
    (series,) = read_page(f"# HELP x x 9\n{line}\ny 3\n", {"x"})["x"]
    assert (dict(series.labels), series.value) == read


@pytest.mark.parametrize(
    "page", ["x", "x{", 'x{a="1" 2', "x one", "x{a=1} 2", 'x{a="1"b="2"} 2', "x 1\n" * 101]
)
def test_a_page_that_cannot_be_read_says_nothing(page: str) -> None:
    with pytest.raises(ScrapeError):
        read_page(page, {"x"})


# Pods.


class _Listed:
    """Pods that are given."""

    known = True

    def __init__(self, *pods: Pod) -> None:
        self.pods = pods

    async def run(self) -> None:
        """Keep them."""


@asynccontextmanager
async def _scraping(scraper: Scraper) -> AsyncIterator[None]:
    task = asyncio.create_task(scraper.run())
    try:
        yield
    finally:
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)


@asynccontextmanager
async def _site(**handlers: _Handler) -> AsyncIterator[str]:
    """Serve pages by name; gives the address before the name."""
    app = web.Application()
    app.add_routes([web.get(f"/{name}", handler) for name, handler in handlers.items()])
    runner = web.AppRunner(app, shutdown_timeout=0.1)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0)
    await site.start()
    host, port, *_ = runner.addresses[0]
    try:
        yield f"http://{host}:{port}/"
    finally:
        await runner.cleanup()


async def _until_rounds(scraper: Scraper, count: int) -> None:
    wanted = scraper.rounds + count
    async with asyncio.timeout(20):
        while True:
            if scraper.rounds >= wanted:
                return
            await asyncio.sleep(0.01)


async def test_pods_that_misbehave_are_missing_and_hold_up_nobody(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    key = tmp_path / "key"
    key.write_text("secret\n")
    heard: list[str | None] = []

    async def good(request: web.Request) -> web.Response:
        assert request.headers["authorization"] == "Bearer secret"
        return web.Response(text=f"{_CONNECTIONS} 5\n")

    async def elsewhere(_: web.Request) -> web.Response:
        raise web.HTTPFound("/trap")

    async def trap(request: web.Request) -> web.Response:
        heard.append(request.headers.get("authorization"))
        return web.Response(text=f"{_CONNECTIONS} 6\n")

    async def large(_: web.Request) -> web.Response:
        return web.Response(text=f"{_CONNECTIONS} 7\n" + "# " * 2000)

    async def slow(_: web.Request) -> web.Response:
        await asyncio.sleep(60)
        raise AssertionError

    async def wrong(_: web.Request) -> web.Response:
        return web.Response(text=f"{_CONNECTIONS} many\n")

    monkeypatch.setattr(scrape, "MOST_BYTES", 2000)
    names = ("good", "elsewhere", "large", "slow", "wrong", "gone")
    async with _site(
        good=good, elsewhere=elsewhere, trap=trap, large=large, slow=slow, wrong=wrong
    ) as url:
        pods = [Pod("game", name, url + name) for name in names]
        dead = Pod("game", "dead", "http://127.0.0.1:1/metrics")
        scraper = Scraper(_Listed(*pods, dead), 0.2, WatchedFile(key))
        async with _scraping(scraper):
            await _until_rounds(scraper, 3)
            found = {pod.name for pod in [*pods, dead] if scraper.fresh(pod) is not None}
    assert found == {"good"}
    assert heard == []


async def test_a_figure_grows_old_and_a_new_pod_of_the_name_does_not_get_it() -> None:
    answers = [True]

    async def page(_: web.Request) -> web.Response:
        if not answers[0]:
            raise web.HTTPServiceUnavailable
        return web.Response(text=f"{_CONNECTIONS} 5\n")

    async with _site(page=page) as url:
        pod = Pod("game", "hub-0", f"{url}page", uid="1")
        scraper = Scraper(source := _Listed(pod), 0.2, None)
        async with _scraping(scraper):
            await _until_rounds(scraper, 2)
            sample = scraper.fresh(pod)
            assert sample is not None
            assert abs(sample.at - time.time()) < 60
            answers[0] = False
            async with asyncio.timeout(20):
                while (last := scraper.fresh(pod)) is not None:
                    sample = last
                    await asyncio.sleep(0.01)
            age = time.monotonic() - sample.moment
            assert age > scrape.FRESH_INTERVALS * scraper.interval
            answers[0] = True
            await _until_rounds(scraper, 2)
            successor = Pod("game", "hub-0", f"{url}page", uid="2")
            assert scraper.fresh(pod) is not None
            assert scraper.fresh(successor) is None
            source.pods = (successor,)
            await _until_rounds(scraper, 2)
            assert scraper.fresh(pod) is None
            assert scraper.fresh(successor) is not None


# Answers.


class _Known:
    """Samples that are given, by pod."""

    def __init__(self, samples: Mapping[str, Mapping[str, list[Series]]]) -> None:
        self._samples = samples

    def fresh(self, pod: Pod) -> Sample | None:
        """Give one."""
        series = self._samples.get(pod.name)
        return None if series is None else Sample(1_790_000_000.0, 0.0, series)


def _answers(*pods: Pod, **samples: Mapping[str, list[Series]]) -> Answers:
    return Answers(_Listed(*pods), _Known(samples))


def test_several_series_of_a_pod_become_one_by_the_metrics_rule() -> None:
    series = {
        _POOL: [Series({"pool": "primary"}, 0.25), Series({"pool": "replica"}, 0.5)],
        _RATE: [Series({"cache_type": "page"}, 0.9), Series({"cache_type": "profile"}, 0.3)],
        _CONNECTIONS: [Series({"pod_name": "a"}, 0.1), Series({"pod_name": "b"}, 0.2)],
    }
    asked = _answers(Pod("game", "p", "http://p"), p=series)

    def value(metric: str, chosen: Selector = EVERYTHING) -> str:
        return str(asked.of_pod("game", "p", metric, chosen).value)

    # The fullest pool, the worst cache; counts add up, without the noise of binary fractions.
    assert (value(_POOL), value(_RATE), value(_CONNECTIONS)) == ("500m", "300m", "300m")
    assert value(_POOL, selector("pool=primary")) == "250m"
    with pytest.raises(UnknownError):
        value(_POOL, selector("pool=other"))


def test_a_value_that_no_quantity_holds_is_missing() -> None:
    asked = _answers(Pod("game", "p", "http://p"), p={_CONNECTIONS: [Series({}, 1e300)]})
    assert asked.of_pods("game", _CONNECTIONS, EVERYTHING) == []


def test_namespaces_are_apart() -> None:
    series = {_CONNECTIONS: [Series({}, 3.0)]}
    pods = [Pod("game", "p", "http://p"), Pod("other", "p", "http://q")]
    asked = _answers(*pods, p=series)
    assert len(asked.of_pods("game", _CONNECTIONS, EVERYTHING)) == 1
    assert str(asked.of_namespace("game", _CONNECTIONS).value) == "3"
    assert asked.of_pods("nowhere", _CONNECTIONS, EVERYTHING) == []


_PODS: Final = st.lists(
    st.tuples(st.booleans(), st.sampled_from(["away", "silent", "value"]), st.integers(0, 9)),
    max_size=6,
)


@given(_PODS, st.sampled_from([_CONNECTIONS, _RATE]))
def test_a_total_is_right_or_refused(drawn: list[tuple[bool, str, int]], metric: str) -> None:
    pods, samples, values = [], {}, []
    incomplete = False
    for number, (ready, how, value) in enumerate(drawn):
        name = f"p{number}"
        pods.append(Pod("game", name, f"http://{name}", ready=ready))
        if how != "away":
            samples[name] = {metric: [Series({}, float(value))] if how == "value" else []}
        if how == "value":
            values.append(value)
        elif ready and (how == "away" or metric == _CONNECTIONS):
            incomplete = True
    asked = _answers(*pods, **samples)
    if incomplete or not values:
        with pytest.raises(UnknownError):
            asked.of_namespace("game", metric)
    else:
        total = sum(values) if metric == _CONNECTIONS else min(values)
        assert str(asked.of_namespace("game", metric).value) == str(total) or total >= 1000
    if metric == _CONNECTIONS:
        found = asked.of_series("game", metric, EVERYTHING)
        assert [int(str(item.value)) for item in found] == ([] if incomplete else values)
