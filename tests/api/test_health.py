"""`GET /health`: what is wrong, by what is known, and what an operator says."""

from __future__ import annotations

import time
from pathlib import Path

import msgspec
from prometheus_client.parser import text_string_to_metric_families
from starlette.types import Message

from fix_api import Answer, Client
from fix_server import NewServer
from rankwire.api.door import Door
from rankwire.model_regions import NodeHealth


async def _health(api: Client, method: str = "GET") -> Answer:
    answer = await api.send(method, "/health")
    assert answer is not None
    assert answer.headers["content-type"] == "application/health+json"
    assert answer.headers["cache-control"] == "no-store"
    return answer


async def test_a_server_without_regions_is_well(api: Client) -> None:
    assert (await _health(api, "HEAD")).status == 200
    answer = await _health(api)
    assert answer.status == 200
    health = msgspec.json.decode(answer.body, type=NodeHealth)
    assert (health.status, health.service_id) == ("pass", "")
    assert set(health.checks) == {
        *("storage:commits", "follower:level", "operator:out", "node:leaving"),
    }


async def test_everybody_may_ask_and_nothing_else_is_taken(api: Client) -> None:
    assert (await api.call("POST", "/health")).status == 405
    assert (await api.get("/health?x=1")).status == 422


async def _through_a_closed_door(path: str) -> tuple[Message, Message]:
    sent: list[Message] = []

    async def receive() -> Message:
        return {"type": "http.disconnect"}

    async def send(message: Message) -> None:
        sent.append(message)

    await Door("eu")({"path": path, "type": "http"}, receive, send)
    start, end = sent
    return start, end


async def test_while_a_server_starts_its_scrapes_succeed_and_tell_nothing_but_that() -> None:
    start, end = await _through_a_closed_door("/metrics")
    assert start["status"] == 200
    assert dict(start["headers"])[b"content-type"].startswith(b"text/plain")
    (family,) = text_string_to_metric_families(end["body"].decode())
    assert [sample.name for sample in family.samples] == ["process_start_time_seconds"]
    assert 0 < family.samples[0].value <= time.time()


async def test_while_a_server_starts_it_is_not_well() -> None:
    start, end = await _through_a_closed_door("/health")
    assert start["status"] == 503
    assert (b"content-type", b"application/health+json") in start["headers"]
    health = msgspec.json.decode(end["body"], type=NodeHealth)
    assert (health.status, health.service_id) == ("fail", "eu")
    assert "recovers its boards" in str(health.checks["storage:commits"][0].output)


def test_a_file_takes_a_node_out(new_server: NewServer, tmp_path: Path) -> None:
    out = tmp_path / "out"
    server = new_server("--regions-health-file", str(out)).start()
    assert server.get("/health").status == 200
    out.touch()
    reply = server.get("/health")
    assert (reply.status, reply.json()["status"]) == (503, "fail")
    assert reply.json()["checks"]["operator:out"][0]["output"] == "regions.health_file is there"
    out.write_text("a new disk\nuntil noon\n", encoding="utf-8")
    reply = server.get("/health")
    assert reply.json()["checks"]["operator:out"][0]["output"] == "a new disk"
    assert server.get("/readyz").status == 200
    out.unlink()
    assert server.get("/health").status == 200
