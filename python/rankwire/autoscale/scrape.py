"""Reads what pods export, all of them every few seconds.

Promises for each pod the figures of its last scrape that went well, with its time, and no figure
that is no number. Bounded: so many scrapes at once, so long each, so many bytes of each. Answers
that lead elsewhere are not followed, as the key would go with them. May use the network and read
the file of the key.
"""

from __future__ import annotations

import asyncio
import math
import re
import time
from collections.abc import Collection, Iterator, Mapping, Sequence
from typing import Final

import aiohttp
import msgspec
import structlog

from rankwire.autoscale.files import WatchedFile
from rankwire.autoscale.metrics_table import METRICS
from rankwire.autoscale.pods import Pod, PodSource

MOST_AT_ONCE: Final = 64
MOST_SECONDS: Final = 5.0
"""A scrape may take this long, or half an interval if that is less."""

MOST_BYTES: Final = 4 * 1024**2
"""A node's page has some 100 kB, with every board that it may name."""

MOST_SERIES: Final = 100
"""Of one metric and pod."""

FRESH_INTERVALS: Final = 2
"""A figure older than so many intervals is not given: the pod counts as missing."""

_LABEL: Final = re.compile(r'\s*([a-zA-Z_][a-zA-Z0-9_]*)\s*=\s*"((?:[^"\\\n]|\\.)*)"\s*(?:,|$)')
_ESCAPE: Final = re.compile(r"\\(.)")
_FAILURES: Final = (aiohttp.ClientError, OSError, TimeoutError, UnicodeError, ValueError)

_log = structlog.get_logger(__name__)


class ScrapeError(ValueError):
    """A page is not what Prometheus would read."""


class Series(msgspec.Struct, frozen=True):
    """One figure with its labels."""

    labels: Mapping[str, str]
    value: float


class Sample(msgspec.Struct, frozen=True):
    """What one pod said at one time."""

    at: float
    """Seconds since 1970."""
    moment: float
    """The same by `time.monotonic`."""
    series: Mapping[str, Sequence[Series]]
    """By metric; a metric is absent if the pod does not have it."""


class Scraper:
    """Scrapes the pods of a source in rounds, and keeps the last sample of each."""

    def __init__(self, source: PodSource, interval: float, key: WatchedFile | None) -> None:
        """Remember what to scrape, every how many seconds, and with which operator key."""
        self.interval = interval
        self.rounds = 0
        """How many rounds ended."""
        self._source = source
        self._key = key
        self._samples: dict[tuple[str, str, str, str], Sample] = {}
        self._failing: dict[tuple[str, str, str, str], str] = {}
        self._gate = asyncio.Semaphore(MOST_AT_ONCE)

    async def run(self) -> None:
        """Scrape until cancelled."""
        seconds = min(MOST_SECONDS, self.interval / 2)
        timeout = aiohttp.ClientTimeout(total=seconds)
        connector = aiohttp.TCPConnector(limit=MOST_AT_ONCE)
        async with aiohttp.ClientSession(
            timeout=timeout, connector=connector, cookie_jar=aiohttp.DummyCookieJar()
        ) as session:
            while True:
                began = time.monotonic()
                await self._round(session)
                await asyncio.sleep(max(0.0, began + self.interval - time.monotonic()))

    def fresh(self, pod: Pod) -> Sample | None:
        """Give the last sample of a pod unless it is stale."""
        sample = self._samples.get(pod.key)
        if sample is None:
            return None
        age = time.monotonic() - sample.moment
        return sample if age <= FRESH_INTERVALS * self.interval else None

    async def _round(self, session: aiohttp.ClientSession) -> None:
        if not self._source.known:
            return
        pods = self._source.pods
        headers = await self._headers()
        async with asyncio.TaskGroup() as group:
            for pod in pods:
                group.create_task(self._scrape(session, pod, headers))
        keys = {pod.key for pod in pods}
        for kept in (self._samples, self._failing):
            for gone in kept.keys() - keys:
                del kept[gone]
        self.rounds += 1

    async def _headers(self) -> dict[str, str]:
        headers = {"accept": "text/plain;version=0.0.4"}
        if self._key is not None:
            try:
                key = (await asyncio.to_thread(self._key.read)).decode().strip()
            except (OSError, UnicodeError):
                return headers
            headers["authorization"] = f"Bearer {key}"
        return headers

    async def _scrape(
        self, session: aiohttp.ClientSession, pod: Pod, headers: Mapping[str, str]
    ) -> None:
        async with self._gate:
            at, moment = time.time(), time.monotonic()
            try:
                page = await _fetch(session, pod.url, headers)
                series = read_page(page, METRICS.keys())
            except _FAILURES as error:
                self._fail(pod, str(error) or type(error).__name__)
                return
        self._samples[pod.key] = Sample(at, moment, series)
        if self._failing.pop(pod.key, None) is not None:
            _log.info("pod is scraped again", pod=pod.name, namespace=pod.namespace)

    def _fail(self, pod: Pod, reason: str) -> None:
        if pod.key not in self._failing:
            _log.warning("cannot scrape", pod=pod.name, namespace=pod.namespace, reason=reason)
        self._failing[pod.key] = reason


async def _fetch(session: aiohttp.ClientSession, url: str, headers: Mapping[str, str]) -> str:
    async with session.get(url, headers=headers, allow_redirects=False) as answer:
        if answer.status != 200:  # noqa: PLR2004  # the one status that brings metrics
            raise ScrapeError(f"the pod answered with status {answer.status}")
        body = bytearray()
        async for chunk in answer.content.iter_chunked(64 * 1024):
            body += chunk
            if len(body) > MOST_BYTES:
                raise ScrapeError(f"the page is larger than {MOST_BYTES} bytes")
        return body.decode()


def read_page(page: str, names: Collection[str]) -> dict[str, list[Series]]:
    """Read the series of some metrics from a page in Prometheus' text format.

    What is no number is left out: NaN says that a node does not know. Raises ScrapeError for a
    line of these metrics that cannot be read, or if there are too many.
    """
    found: dict[str, list[Series]] = {}
    for line in page.split("\n"):
        # Most lines are of other metrics, so the name is looked at first.
        name = line.partition("{")[0].partition(" ")[0]
        if name not in names:
            continue
        series = _series(line, name)
        mine = found.setdefault(name, [])
        if math.isfinite(series.value):
            mine.append(series)
        if len(mine) > MOST_SERIES:
            raise ScrapeError(f"more than {MOST_SERIES} series of {name}")
    return found


def _series(line: str, name: str) -> Series:
    rest = line[len(name) :]
    labels: dict[str, str] = {}
    if rest.startswith("{"):
        inside, brace, rest = rest[1:].rpartition("}")
        if not brace:
            raise ScrapeError(f"cannot read the labels of {name}")
        labels = dict(_labels(inside, name))
    value = rest.split()
    if not value:
        raise ScrapeError(f"no value of {name}")
    try:
        return Series(labels, float(value[0]))
    except ValueError as error:
        raise ScrapeError(f"cannot read {value[0]!r} of {name}") from error


def _labels(inside: str, name: str) -> Iterator[tuple[str, str]]:
    position = 0
    while position < len(inside):
        found = _LABEL.match(inside, position)
        if found is None:
            raise ScrapeError(f"cannot read the labels of {name}")
        position = found.end()
        yield found[1], _ESCAPE.sub(_unescaped, found[2])


def _unescaped(found: re.Match[str]) -> str:
    return "\n" if found[1] == "n" else found[1]
