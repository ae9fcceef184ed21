"""A full queue, a limit that is reached, a storage that fails: refused, and nothing applied."""

from __future__ import annotations

import asyncio
import sqlite3
from contextlib import closing
from pathlib import Path

from fix_access import open_access
from fix_api import MAX_BODY_BYTES, Answer, Client, make_parts, running_api
from rankwire.api.app import build
from rankwire.beside import open_beside
from rankwire.settings import Settings, Storage
from rankwire.storage.sqlite import JOURNAL_FILE, SqliteStorage
from rankwire.writer import Writer

SCORES = "/v1/boards/b/scores"
SUBMIT = {"member": "ada", "score": 1}


def _check(answer: Answer, status: int, kind: str) -> None:
    assert (answer.status, answer.json["type"]) == (status, f"urn:rankwire:problem:{kind}")
    assert answer.headers.get("retry-after") == ("1" if status == 503 else None)


async def test_a_full_queue_is_busy(tmp_path: Path) -> None:
    storage = SqliteStorage(tmp_path / "data", 2.0)
    writer = Writer(storage.recover(2, 10), storage, checkpoint_members=1, checkpoint_seconds=60)
    settings = Settings(storage=Storage(path=tmp_path / "data"))
    beside = await open_beside(settings, "")
    parts = make_parts(writer, beside, settings)
    api = Client(build(parts, open_access(), MAX_BODY_BYTES), writer)
    # Nobody commits yet, so two writes fill the queue.
    created = asyncio.create_task(api.call("PUT", "/v1/boards/b"))
    submitted = asyncio.create_task(api.post(SCORES, SUBMIT))
    await asyncio.sleep(0)
    _check(await api.post(SCORES, SUBMIT), 503, "busy")
    _check(await api.call("DELETE", "/v1/boards/b"), 503, "busy")
    _check(await api.post(f"{SCORES}:batch", [SUBMIT]), 503, "busy")
    writer.start()
    assert (await created).status == 201
    assert (await submitted).json["version"] == 1
    assert (await api.get("/v1/boards/b")).json["version"] == 1
    await beside.close()
    await writer.stop()
    storage.close()


async def test_no_board_over_the_limit(tmp_path: Path) -> None:
    async with running_api(tmp_path / "data", boards=1) as api:
        assert (await api.call("PUT", "/v1/boards/a")).status == 201
        _check(await api.call("PUT", "/v1/boards/b"), 409, "limit-reached")
        assert (await api.call("PUT", "/v1/boards/a")).status == 200
        assert (await api.get("/v1/boards/b")).status == 404


async def test_a_storage_that_cannot_commit(tmp_path: Path) -> None:
    async with running_api(tmp_path / "data", busy_seconds=0.05) as api:
        await api.call("PUT", "/v1/boards/b")
        await api.post(SCORES, SUBMIT)
        file = tmp_path / "data" / JOURNAL_FILE
        with closing(sqlite3.connect(file, isolation_level=None)) as other:
            other.execute("BEGIN IMMEDIATE")
            _check(await api.post(SCORES, {"member": "ada", "score": 2}), 503, "unavailable")
            ready = await api.get("/readyz")
            _check(ready, 503, "unavailable")
            assert "locked" in ready.json["detail"]
            assert (await api.get("/readyz?for=reads")).status == 200
            health = await api.get("/health")
            assert (health.status, health.json["status"]) == (503, "fail")
            (check,) = health.json["checks"]["storage:commits"]
            assert "locked" in check["output"]
            assert b"rankwire_storage_ready 0.0" in (await api.get("/metrics")).body
            assert (await api.get("/healthz")).status == 200
            assert (await api.get("/v1/boards/b/members/ada")).json["score"] == 1
            other.execute("ROLLBACK")
        for _ in range(1000):
            if (await api.get("/readyz")).status == 200:
                break
            await asyncio.sleep(0.01)
        assert (await api.get("/health")).status == 200
        assert (await api.post(SCORES, {"member": "ada", "score": 3})).json["previous_score"] == 1


async def test_a_server_that_stops_takes_no_writes(tmp_path: Path) -> None:
    async with running_api(tmp_path / "data") as api:
        await api.call("PUT", "/v1/boards/b")
        api.writer.engine.close()
        _check(await api.post(SCORES, SUBMIT), 503, "unavailable")
        assert (await api.get("/v1/boards/b")).json["total"] == 0
