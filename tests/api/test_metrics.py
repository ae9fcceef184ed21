"""The metrics: what they count, and that the manual lists exactly these."""

from __future__ import annotations

import re
from pathlib import Path

from prometheus_client.openmetrics.parser import (
    text_string_to_metric_families as read_openmetrics,
)
from prometheus_client.parser import text_string_to_metric_families as read_text

from fix_api import Client
from fix_postgres import Database
from fix_redis import RedisServer
from fix_server import NewServer
from rankwire.api.problems import KINDS

MANUAL = (Path(__file__).parents[2] / "docs" / "http.md").read_text(encoding="utf-8")
BOARD = "/v1/boards/b"


async def _samples(api: Client) -> dict[str, float]:
    text = (await api.get("/metrics")).body.decode()
    return {
        " ".join((sample.name, *dict(sorted(sample.labels.items())).values())): sample.value
        for family in read_text(text)
        for sample in family.samples
    }


def _section(heading: str) -> str:
    return MANUAL.split(f"\n## {heading}\n")[1].split("\n## ")[0]


def _table(heading: str) -> set[str]:
    """First column of the manual's table under a heading."""
    return set(re.findall(r"^\| `([^`{]+)", _section(heading), re.MULTILINE))


async def test_writes_and_requests_are_counted(api: Client) -> None:
    await api.call("PUT", BOARD)
    for score in (1, 2):
        await api.post(f"{BOARD}/scores", {"member": "ada", "score": score})
    await api.post(f"{BOARD}/scores", {"member": "ada", "score": 0.5})
    await api.call("POST", f"{BOARD}/scores", b"{}")
    await api.get(f"{BOARD}/top")
    await api.get("/nope")
    await api.call("PATCH", BOARD)
    found = await _samples(api)
    assert found["rankwire_submits_total"] == 2
    assert found["rankwire_boards"] == 1
    assert found["rankwire_members"] == 1
    assert found["rankwire_storage_ready"] == 1
    assert found["rankwire_http_requests_total submit 2xx"] == 2
    assert found["rankwire_http_requests_total submit 4xx"] == 2
    assert found["rankwire_http_requests_total top 2xx"] == 1
    assert found["rankwire_http_requests_total unmatched 4xx"] == 2
    assert found["rankwire_http_request_seconds_count submit"] == 4
    assert found["rankwire_http_request_seconds_bucket +Inf submit"] == 4
    assert found["rankwire_http_request_seconds_sum submit"] > 0
    assert found["process_resident_memory_bytes"] > 0


async def test_both_formats_can_be_read(api: Client) -> None:
    plain = await api.get("/metrics")
    assert plain.headers["content-type"].startswith("text/plain")
    names = {family.name for family in read_text(plain.body.decode())}
    accept = {"accept": "application/openmetrics-text; version=1.0.0"}
    modern = await api.get("/metrics", accept)
    assert modern.headers["content-type"].startswith("application/openmetrics-text")
    families = read_openmetrics(modern.body.decode())  # type: ignore[no-untyped-call]
    assert len(list(families)) == len(names)


def test_the_manual_lists_exactly_the_metrics(
    postgres: Database, redis_server: RedisServer, new_server: NewServer, tmp_path: Path
) -> None:
    """Asked of a whole server with everything that has metrics."""
    urls = ("--storage-url", postgres.url, "--storage-replica-url", postgres.url)
    archive = ("--ops-archive-url", f"file://{tmp_path}/archive")
    # Of the other region nothing but its name is needed.
    regions = ("--regions-name", "eu", "--regions-peers", "us=http://127.0.0.1:9")
    secret = ("--regions-secret", "s" * 32)
    server = new_server(*urls, *archive, *regions, *secret, "--redis-url", redis_server.url).start()
    text = server.get("/metrics").body.decode()
    exported = dict(re.findall(r"^# HELP (\S+) (.*)$", text, re.MULTILINE))
    ours = {name: words for name, words in exported.items() if not name.startswith("process_")}
    rows = re.findall(
        r"^\| `(\w+)(?:\{([\w,]+)\})?` \| (.+) \|$", _section("Metrics"), re.MULTILINE
    )
    assert {name: words for name, _, words in rows} == ours
    assert set(re.findall(r"`(process_\w+)`", _section("Metrics"))) <= set(exported)
    documented = {name: set(labels.split(",")) - {""} for name, labels, _ in rows}
    for family in read_text(text):
        for sample in family.samples:
            if (name := re.sub("_(bucket|count|sum|created)$", "", sample.name)) in documented:
                assert set(sample.labels) - {"le"} == documented[name], name


def test_the_manual_lists_exactly_the_problems() -> None:
    assert _table("Problems") == {kind.slug for kind in KINDS}
    for kind in KINDS:
        assert f"| `{kind.slug}` | {kind.status} | {kind.meaning} |" in MANUAL
