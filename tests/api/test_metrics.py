"""The metrics: what they count, and that the manual lists exactly these."""

from __future__ import annotations

import re
from pathlib import Path

from prometheus_client.openmetrics.parser import (
    text_string_to_metric_families as read_openmetrics,
)
from prometheus_client.parser import text_string_to_metric_families as read_text

from fix_api import Client
from fix_server import Server
from rankwire.api.problems import KINDS
from rankwire.ops import metrics

MANUAL = (Path(__file__).parents[2] / "docs" / "http.md").read_text(encoding="utf-8")
BOARD = "/v1/boards/b"


async def _samples(api: Client) -> dict[str, float]:
    text = (await api.get("/metrics")).body.decode()
    return {
        " ".join((sample.name, *dict(sorted(sample.labels.items())).values())): sample.value
        for family in read_text(text)
        for sample in family.samples
    }


def _table(heading: str) -> set[str]:
    """First column of the manual's table under a heading."""
    section = MANUAL.split(f"\n## {heading}\n")[1].split("\n## ")[0]
    return set(re.findall(r"^\| `([^`{]+)", section, re.MULTILINE))


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


def test_the_manual_lists_exactly_the_metrics(server: Server) -> None:
    """Asked of a whole server: it has watchers' metrics too."""
    text = server.get("/metrics").body.decode()
    ours = set(re.findall(r"^# HELP (rankwire_\S+)", text, re.MULTILINE))
    rows = (*metrics.POOL_METRICS, *metrics.REPLICA_METRICS, *metrics.SYNC_METRICS)
    of_postgres = {name for _, name, _ in rows}
    assert ours | of_postgres | {metrics.POOL_SECONDS[0]} == _table("Metrics")
    for _, name, meaning in rows:
        assert f"| `{name}` | {meaning} |" in MANUAL
    tables = (metrics.CORE_METRICS, metrics.LIVE_METRICS)
    assert {name for table in tables for _, name, _ in table} <= ours


def test_the_manual_lists_exactly_the_problems() -> None:
    assert _table("Problems") == {kind.slug for kind in KINDS}
    for kind in KINDS:
        assert f"| `{kind.slug}` | {kind.status} | {kind.meaning} |" in MANUAL
