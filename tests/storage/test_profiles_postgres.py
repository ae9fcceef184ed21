"""Profiles and history in PostgreSQL: as in SQLite, from many nodes at once, and on a replica."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path

import msgspec
import psycopg
import pytest
from hypothesis import given
from hypothesis import strategies as st

from fix_engine import Kept, journal_sql
from fix_postgres import Database as Fresh
from fix_postgres import NewPostgres, run_postgres_tool
from fix_redis import RedisServer
from fix_server import PATIENCE_SECONDS, until
from rankwire.beside import open_beside
from rankwire.settings import Redis, Settings, Storage
from rankwire.storage import StorageError, history, migrate_postgres
from rankwire.storage.history import START, Past, PostgresHistory, Question, SqliteHistory
from rankwire.storage.migrate import migrations
from rankwire.storage.pool import Database, Replica, make_database
from rankwire.storage.profiles import (
    Content,
    KeyUsedError,
    Request,
    UnknownProfileError,
    full_json,
)
from rankwire.storage.profiles_postgres import PostgresProfiles


def _migrate(url: str) -> None:
    with psycopg.connect(url, autocommit=True) as connection:
        migrate_postgres.migrate(connection, migrations("postgres"))


def _content(name: str | None = None, attributes: bytes = b"{}") -> Content:
    return Content(name, None, msgspec.Raw(attributes))


@pytest.fixture
async def database(postgres: Fresh) -> AsyncIterator[Database]:
    _migrate(postgres.url)
    database = make_database(Storage(url=postgres.url))
    await database.open()
    yield database
    await database.close()


@pytest.fixture
def profiles(database: Database) -> PostgresProfiles:
    return PostgresProfiles(database)


async def test_profiles_are_written_read_and_forgotten(profiles: PostgresProfiles) -> None:
    assert (await profiles.get_many(["ada", "bob"])).profiles == {}
    attributes = b'{"z":1e308,"a":[],"\xc3\xa9":"\\n"}'
    content = Content("Ada", "https://x/a.png", msgspec.Raw(attributes))
    first = await profiles.put("ada", content, None)
    assert first.stored is not None
    # To the byte: what one node answers and another one reads is the same.
    assert first.stored.body == msgspec.json.encode(content)
    assert first.answer == full_json("ada", first.stored)
    found = await profiles.get_many(["bob", "ada", "ada"])
    assert (found.profiles, found.lag) == ({"ada": first.stored}, None)
    second = await profiles.put("ada", _content(), None)
    assert second.stored is not None
    assert second.stored.version > first.stored.version
    gone = await profiles.delete("ada", None)
    assert gone.stored is not None
    assert (gone.stored.body, gone.stored.version > second.stored.version) == (b"", True)
    with pytest.raises(UnknownProfileError):
        await profiles.delete("ada", None)
    assert (await profiles.get_many(["ada"])).profiles == {}


async def test_a_key_counts_once(profiles: PostgresProfiles, postgres: Fresh) -> None:
    key = ("key:a", "k")
    first = await profiles.put("ada", _content("one"), key)
    later = await profiles.put("ada", _content("two"), None)
    repeat = await profiles.put("ada", _content("one"), key)
    assert (repeat.stored, repeat.answer) == (None, first.answer)
    assert (await profiles.get_many(["ada"])).profiles["ada"] == later.stored
    for wrong in (
        profiles.put("ada", _content("other"), key),
        profiles.put("bob", _content("one"), key),
        profiles.delete("ada", key),
    ):
        with pytest.raises(KeyUsedError):
            await wrong
    assert (await profiles.put("ada", _content("mine"), ("key:b", "k"))).stored is not None
    with pytest.raises(UnknownProfileError):
        await profiles.delete("bob", ("key:a", "d"))
    assert (await profiles.delete("ada", ("key:a", "d"))).stored is not None
    assert (await profiles.delete("ada", ("key:a", "d"))).stored is None
    assert postgres.sql("SELECT count(*) FROM answers") == [(3,)]


async def test_repeats_at_the_same_time_count_once(
    profiles: PostgresProfiles, postgres: Fresh
) -> None:
    """The second of two waits for the first, wherever they are."""
    key = ("key:a", "k")
    puts = [profiles.put("ada", _content(), key) for _ in range(8)]
    done = await asyncio.gather(*puts)
    assert sum(written.stored is not None for written in done) == 1
    assert len({written.answer for written in done}) == 1
    assert postgres.sql("SELECT count(*) FROM answers") == [(1,)]


async def test_the_change_and_its_answer_are_one(
    profiles: PostgresProfiles, postgres: Fresh
) -> None:
    postgres.sql("ALTER TABLE profiles ADD CHECK (name <> 'bad')")
    with pytest.raises(StorageError, match="the database refused"):
        await profiles.put("ada", _content("bad"), ("key:a", "k"))
    assert postgres.sql("SELECT count(*) FROM answers") == [(0,)]
    postgres.sql("ALTER TABLE answers ADD CHECK (answer = '')")
    with pytest.raises(StorageError, match="the database refused"):
        await profiles.put("ada", _content("good"), ("key:a", "k"))
    assert postgres.sql("SELECT count(*) FROM profiles") == [(0,)]


async def test_versions_grow_whatever_the_clock_does(
    profiles: PostgresProfiles, postgres: Fresh
) -> None:
    await profiles.put("ada", _content(), None)
    postgres.sql("UPDATE profiles SET updated_at = now() + interval '1 hour'")
    ahead = (await profiles.get_many(["ada"])).profiles["ada"].version
    written = await profiles.put("ada", _content(), None)
    assert written.stored is not None
    assert written.stored.version == ahead + 1
    gone = await profiles.delete("ada", None)
    assert gone.stored is not None
    assert gone.stored.version == ahead + 2


@given(st.text(st.characters(codec="utf-8"), max_size=10), st.text(st.characters(codec="utf-8")))
def test_texts_do_not_run_into_each_other(scope: str, text: str) -> None:
    whole = scope + text
    hashes = {
        (whole[:cut], whole[cut:]): Request.delete((whole[:cut], whole[cut:]), "m").key
        for cut in range(len(whole) + 1)
    }
    assert len(set(hashes.values())) == len(hashes)


async def test_what_a_server_opens(postgres: Fresh, redis_server: RedisServer) -> None:
    """Two nodes with everything that the settings ask for; one tells the other."""
    _migrate(postgres.url)
    settings = Settings(storage=Storage(url=postgres.url), redis=Redis(url=redis_server.url))
    told: list[str] = []
    one, two = await open_beside(settings, "c", told.extend), await open_beside(settings, "c")
    try:
        assert (await two.profiles.get_many(["ada"])).profiles == {}
        written = await one.profiles.put("ada", _content("Ada"), None)
        assert told == ["ada"]
        two.profiles.forget(told)
        assert (await two.profiles.get_many(["ada"])).profiles == {"ada": written.stored}
        assert await two.history.look(Question(1, None, 10, START)) == Past([], None)
        assert redis_server.ask("KEYS", "*") == ["rankwire:{c}:profile:ada"]
    finally:
        await one.close()
        await two.close()


# History.


async def _all(source: PostgresHistory | SqliteHistory, question: Question) -> list[Past]:
    pages = []
    while True:
        pages.append(await source.look(question))
        following = pages[-1].next
        if following is None:
            return pages
        question = msgspec.structs.replace(question, before=following)


async def test_history_is_that_of_sqlite(
    database: Database, postgres: Fresh, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The same journal in both gives the same pages, whatever bounds a page."""
    directory = tmp_path / "data"
    with Kept(directory) as kept:
        for board in ("a", "b"):
            kept.create(board)
        for number in range(12):
            kept.submit("ab"[number % 3 == 0], f"m{number % 4}", number)
            items = [(f"n{item}", number, None) for item in range(number)]
            if items:
                kept.commit(kept.engine.submit_batch("a", items))
        ids = [kept.engine.board_id(board) for board in ("a", "b")]
        rows = journal_sql(
            directory, "SELECT seq, origin, number, committed_ms, batch FROM journal"
        )
        for seq, origin, number, at_ms, batch in rows:
            # Gaps, as transactions that were rolled back leave them.
            postgres.sql(
                "INSERT INTO journal (seq, origin, number, committed_at, batch) "
                "OVERRIDING SYSTEM VALUE VALUES (%s, %s, %s, to_timestamp(%s / 1000.0), %s)",
                seq * 3, origin, number, at_ms, batch,
            )  # fmt: skip
        theirs, ours = SqliteHistory(directory, 1.0), PostgresHistory(database)
        try:
            for batches, size, limit in (
                (500, 2**20, 1000), (500, 2**20, 3), (4, 2**20, 1000), (500, 300, 2), (3, 1, 1),
            ):  # fmt: skip
                monkeypatch.setattr(history, "MOST_BATCHES", batches)
                monkeypatch.setattr(history, "MOST_BYTES", size)
                for board_id in ids:
                    for member in (None, "m1", "nobody"):
                        question = Question(board_id, member, limit, START)
                        expected = await _all(theirs, question)
                        found = await _all(ours, question)
                        assert [page.events for page in found] == [page.events for page in expected]
                        assert sum(len(page.events) for page in found) > 0 or member
        finally:
            await theirs.close()
            await ours.close()


async def test_an_empty_journal_has_no_history(database: Database) -> None:
    source = PostgresHistory(database)
    assert await source.look(Question(1, None, 10, START)) == Past([], None)
    await source.close()


async def _until_level(replica: Replica) -> None:
    for _ in range(round(PATIENCE_SECONDS / 0.02)):
        if replica.is_good and replica.lag == 0:
            return
        await asyncio.sleep(0.02)
    pytest.fail("waited in vain for a replica that is level")


async def test_a_replica_tells_how_old_its_answers_are(new_postgres: NewPostgres) -> None:
    primary = new_postgres().start()
    _migrate(primary.url)
    replica = new_postgres(data=primary.directory / "copy")
    run_postgres_tool(
        "pg_basebackup", "--checkpoint=fast", "--write-recovery-conf", "--no-sync",
        "-d", primary.url, "-D", str(replica.data),
    )  # fmt: skip
    replica.start()
    database = make_database(Storage(url=primary.url, replica_url=replica.url))
    await database.open()
    profiles, past = PostgresProfiles(database), PostgresHistory(database)
    try:
        watched = database.replica
        assert watched is not None

        await _until_level(watched)
        written = await profiles.put("ada", _content("Ada"), None)
        until(lambda: replica.sql("SELECT count(*) FROM profiles") == [(1,)], "the replica")
        await _until_level(watched)
        found = await profiles.get_many(["ada"])
        assert (found.profiles, found.lag) == ({"ada": written.stored}, 0.0)
        assert (await past.look(Question(1, None, 10, START))).lag == 0.0
        # What a session has seen is not asked of who may not have it yet.
        before = watched.reads
        now = Question(1, None, 10, START, may_be_late=False)
        assert ((await past.look(now)).lag, watched.reads) == (None, before)
        replica.kill()
        found = await profiles.get_many(["ada"])
        assert (found.profiles, found.lag) == ({"ada": written.stored}, None)
        assert (await past.look(Question(1, None, 10, START))).lag is None
    finally:
        await past.close()
        await database.close()
