"""The faults of PostgreSQL's disk do what they say."""

from __future__ import annotations

import time

import psycopg

from fix_chaos import NewChaos
from fix_disk import SmallDisk
from fix_postgres import NewPostgres, Postgres
from fix_server import until


def test_a_small_disk_is_full_and_has_room_again(
    new_postgres: NewPostgres, small_disk: SmallDisk
) -> None:
    postgres = new_postgres(data=small_disk.data, prefix=small_disk.prefix).start()
    postgres.sql("CREATE TABLE kept (number int, padding text)")
    postgres.sql("INSERT INTO kept VALUES (0)")
    for _ in range(2):
        kept = postgres.sql("SELECT count(*) FROM kept")
        small_disk.fill()
        until(lambda: not _inserts(postgres), "a full disk")
        small_disk.free()
        if postgres.running:
            postgres.stop()
        postgres.start()
        assert postgres.sql("SELECT count(*) FROM kept") >= kept
        assert _inserts(postgres)


def _inserts(postgres: Postgres) -> bool:
    try:
        postgres.sql("INSERT INTO kept SELECT n, repeat('x', 1000) FROM generate_series(1, 100) n")
    except psycopg.OperationalError:
        return False
    return True


def test_commits_wait_for_slow_syncs(new_postgres: NewPostgres, new_chaos: NewChaos) -> None:
    chaos = new_chaos()
    postgres = new_postgres(environment=chaos.variables).start()
    postgres.sql("CREATE TABLE kept (number int)")
    chaos.slow_syncs(300)
    began = time.monotonic()
    postgres.sql("INSERT INTO kept VALUES (1)")
    assert time.monotonic() - began >= 0.3
    chaos.slow_syncs(0)
