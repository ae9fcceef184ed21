"""PostgreSQL: what is appended is there once, what is refused is not, and fates are known."""

from __future__ import annotations

import os
import signal
import threading
from typing import Any

import psycopg
import pytest

from fix_postgres import Database, NewPostgres
from fix_postgres_node import Node, batch_of
from fix_server import until
from rankwire import _core
from rankwire.storage import Batch, RefusedError, StorageError

_JOURNAL = "SELECT number FROM journal WHERE origin = %s ORDER BY number"
_KEY = ("everybody", "first")
_OTHER_KEY = ("everybody", "second")


def _numbers(database: Any, node: Node) -> list[int]:
    return [number for (number,) in database.sql(_JOURNAL, node.engine.origin)]


def _lose(node: Node) -> psycopg.Connection[Any]:
    """Take the committer's connection away from the storage; it lives on."""
    link = node.storage._committer  # noqa: SLF001
    connection = link._connection  # noqa: SLF001
    assert connection is not None
    link._connection = None  # noqa: SLF001
    return connection


def _insert(connection: psycopg.Connection[Any], node: Node, number: int) -> None:
    connection.execute(
        "INSERT INTO journal (origin, number, batch) VALUES (%s, %s, '')",
        (node.engine.origin, number),
    )


def test_what_is_appended_is_in_the_journal_with_the_databases_time(postgres: Database) -> None:
    with Node(postgres.url) as node:
        node.create("a")
        before = postgres.sql("SELECT clock_timestamp()")
        sealed_submit = node.submit("a", "ann", 5)
        after = postgres.sql("SELECT clock_timestamp()")
        assert b'"rank":1' in sealed_submit
        assert _numbers(postgres, node) == [1, 2]
        ((time, batch),) = postgres.sql("SELECT committed_at, batch FROM journal WHERE number = 2")
        assert before[0][0] <= time <= after[0][0]
        assert _core.records(node.engine.origin, 2, batch)[0]["member"] == "ann"


def test_a_session_is_set_up_to_lose_nothing_and_to_wait_for_nothing_long(
    postgres: Database,
) -> None:
    postgres.sql(f"ALTER DATABASE {postgres.name} SET synchronous_commit = off")
    with Node(postgres.url, statement_seconds=7.0, lock_seconds=1.5) as node:
        connection = _lose(node)
        shown = {
            name: connection.execute(f"SHOW {name}").fetchall()[0][0]
            for name in (
                *("synchronous_commit", "statement_timeout", "lock_timeout"),
                *("idle_in_transaction_session_timeout", "application_name"),
                # The database looks, too: otherwise it holds a lost machine's locks for hours.
                *("tcp_keepalives_idle", "tcp_keepalives_interval", "tcp_user_timeout"),
            )
        }
        network = connection.info.get_parameters()
        connection.close()
    wanted = {"connect_timeout": "7", "keepalives_idle": "7", "tcp_user_timeout": "7000"}
    assert wanted.items() <= network.items()
    assert shown == {
        "synchronous_commit": "on",
        "statement_timeout": "7s",
        "lock_timeout": "1500ms",
        "idle_in_transaction_session_timeout": "7s",
        "application_name": "rankwire-committer",
        "tcp_keepalives_idle": "3",
        "tcp_keepalives_interval": "3",
        "tcp_user_timeout": "7000",
    }


def test_a_known_key_gets_its_answer_and_nothing_is_stored_again(postgres: Database) -> None:
    with Node(postgres.url) as one, Node(postgres.url) as two:
        one.create("a", policy="sum")
        two.catch_up()
        first = one.submit("a", "ann", 5, _KEY)
        for node in (one, two):
            again = node.submit("a", "ann", 5, _KEY)
            assert isinstance(again, _core.Repeat)
            assert again.body == first
            assert isinstance(node.submit("a", "ann", 6, _KEY), _core.KeyReusedError)
        # What comes with repeated writes in one batch counts all the same.
        tickets = [
            two.engine.submit("a", "bob", 1),
            two.engine.submit("a", "ann", 5, None, _KEY),
            two.engine.submit("a", "bob", 1, None, _OTHER_KEY),
        ]
        replies = two.commit(*tickets)
        assert isinstance(replies[1], _core.Repeat)
        two.catch_up()
        one.catch_up()
        assert one.boards == two.boards
        assert b'"score":5' in one.engine.standing("a", "ann")
        assert b'"score":2' in one.engine.standing("a", "bob")
        assert postgres.sql("SELECT count(*) FROM answers") == [(2,)]


def test_a_refusal_names_what_is_known_and_taken_and_stores_nothing(postgres: Database) -> None:
    with Node(postgres.url) as one, Node(postgres.url) as two:
        one.create("a", key=_KEY)
        known = postgres.sql("SELECT key, request, answer FROM answers")
        two.engine.create_board("a", "int64", "desc", "best", "first", False, _KEY)
        two.engine.create_board("b", "int64", "desc", "best", "first", False, _OTHER_KEY)
        sealed = two.seal()
        assert [name for name, _ in sealed.created] == ["a", "b"]
        with pytest.raises(RefusedError) as caught:
            two.storage.append(batch_of(sealed))
        assert (caught.value.known, caught.value.taken) == (known, ["a"])
        for table, count in (("journal", 1), ("names", 1), ("answers", 1)):
            assert postgres.sql(f"SELECT count(*) FROM {table}") == [(count,)]
        sealed.again(caught.value.known, caught.value.taken)
        two.storage.append(batch_of(sealed))
        sealed.commit()
        two.catch_up()
        one.catch_up()
        assert [name for _, name, *_ in one.boards] == ["a", "b"]
        assert one.boards == two.boards


def test_a_taken_name_alone_is_refused_until_it_is_free(postgres: Database) -> None:
    with Node(postgres.url) as one, Node(postgres.url) as two:
        one.create("a")
        assert isinstance(two.create("a"), _core.UnavailableError)
        two.catch_up()
        assert two.create("a")[0] is False
        two.drop("a")
        assert postgres.sql("SELECT * FROM names") == []
        # The first node has not heard of it, and another board may have the name.
        assert two.create("a")[0] is True
        one.catch_up()
        assert one.boards == two.boards


def test_names_within_one_batch(postgres: Database) -> None:
    """What is dropped frees its name first; what begins and ends in one batch leaves none."""
    with Node(postgres.url) as node:
        node.create("a")
        node.engine.drop_board("a")
        node.engine.create_board("a", "int64", "asc", "best", "first")
        node.engine.create_board("b", "int64", "asc", "best", "first")
        node.engine.drop_board("b")
        node.commit()
        assert postgres.sql("SELECT name, board FROM names") == [("a", node.engine.board_id("a"))]


def test_names_that_a_refused_batch_frees_are_not_called_taken(postgres: Database) -> None:
    with Node(postgres.url) as node:
        node.storage.append(Batch(1, b"x", [("a", 1), ("b", 2)]))
        with pytest.raises(RefusedError) as caught:
            node.storage.append(Batch(2, b"x", [("a", 3), ("b", 4)], [2]))
        assert (caught.value.known, caught.value.taken) == ([], ["a"])
        node.storage.append(Batch(2, b"x", [("b", 4), ("c", 5)], [2, 5]))
        assert postgres.sql("SELECT name, board FROM names ORDER BY name") == [("a", 1), ("b", 4)]


def test_answers_without_bytes_take_no_number(postgres: Database) -> None:
    with Node(postgres.url) as node:
        node.create("a")
        assert node.create("a", key=_KEY)[0] is False
        assert _numbers(postgres, node) == [1]
        assert postgres.sql("SELECT count(*) FROM answers") == [(1,)]
        node.submit("a", "ann", 1)
        assert _numbers(postgres, node) == [1, 2]


def test_the_key_of_a_refused_write_is_looked_up(postgres: Database) -> None:
    with Node(postgres.url) as one, Node(postgres.url) as two:
        one.create("a")
        one.submit("a", "ann", 1)
        (removed,) = one.commit(one.engine.remove_member("a", "ann", _KEY))
        two.catch_up()
        (again,) = two.commit(two.engine.remove_member("a", "ann", _KEY))
        assert isinstance(again, _core.Repeat)
        assert again.body == removed
        (other,) = two.commit(two.engine.remove_member("a", "ann", _OTHER_KEY))
        assert isinstance(other, _core.NotFoundError)


def test_keys_and_names_are_taken_in_one_order(postgres: Database) -> None:
    """Two nodes that take the same ones the other way round do not lock each other out."""
    keys = [bytes([number]) * 16 for number in range(200)]
    answers = [(key, b"r" * 16, b"a") for key in keys]
    names = [(f"n{number}", number) for number in range(200)]
    refused: list[RefusedError] = []
    with Node(postgres.url) as one, Node(postgres.url) as two:
        with psycopg.connect(postgres.url) as other:
            # Both get under way and then wait for the first key.
            other.execute("INSERT INTO answers VALUES (%s, '', '')", (keys[100],))

            def append(node: Node, batch: Batch) -> None:
                try:
                    node.storage.append(batch)
                except RefusedError as error:
                    refused.append(error)

            backwards = Batch(1, b"x", names[::-1], [], answers[::-1])
            batches = ((one, Batch(1, b"x", names, [], answers)), (two, backwards))
            threads = [threading.Thread(target=append, args=each) for each in batches]
            for thread in threads:
                thread.start()
            waiting = "SELECT count(*) FROM pg_stat_activity WHERE wait_event_type = 'Lock'"
            until(lambda: postgres.sql(waiting) == [(2,)], "two nodes that wait")
            other.rollback()
        for thread in threads:
            thread.join()
    assert len(refused) == 1
    assert (len(refused[0].known), len(refused[0].taken)) == (200, 200)


def test_holds_tells_the_truth_and_appending_goes_on(postgres: Database) -> None:
    with Node(postgres.url) as node:
        assert [node.storage.holds(number) for number in (0, 1)] == [False, False]
        node.create("a")
        node.submit("a", "ann", 1)
        assert [node.storage.holds(number) for number in (0, 1, 2, 3)] == [False, True, True, False]
        node.submit("a", "bob", 1)
        assert _numbers(postgres, node) == [1, 2, 3]
    with Node(postgres.url) as node:
        # Numbers are those of the run.
        assert not node.storage.holds(1)


def test_holds_proves_that_the_database_takes_writes(postgres: Database) -> None:
    with Node(postgres.url) as node:
        node.create("a")
        alter = f"ALTER DATABASE {postgres.name}"
        postgres.server.sql(f"{alter} SET default_transaction_read_only = on")
        for number in (0, 1):
            with pytest.raises(StorageError, match=r"cannot write to the journal: .*read-only"):
                node.storage.holds(number)
        postgres.server.sql(f"{alter} RESET default_transaction_read_only")
        assert node.storage.holds(1)


def test_a_lost_connection_is_a_failure_that_holds_ends(postgres: Database) -> None:
    with Node(postgres.url) as node:
        node.create("a")
        node.engine.submit("a", "ann", 1)
        sealed = node.seal()
        connection = node.storage._committer._connection  # noqa: SLF001
        assert connection is not None
        postgres.sql("SELECT pg_terminate_backend(%s)", connection.info.backend_pid)
        for _ in range(2):
            # It does not connect by itself: the batch's fate has to be known first.
            with pytest.raises(StorageError, match="cannot write to the journal"):
                node.storage.append(batch_of(sealed))
        assert not node.storage.holds(sealed.number)
        node.storage.append(batch_of(sealed))
        assert node.storage.holds(sealed.number)
        sealed.commit()


def test_an_old_session_can_write_no_more_once_the_fate_was_told(postgres: Database) -> None:
    with Node(postgres.url) as node:
        node.create("a")
        for begin in ("SELECT 1", "BEGIN"):
            old = _lose(node)
            old.execute(begin)
            if begin == "BEGIN":
                _insert(old, node, 2)
            assert not node.storage.holds(2)
            with pytest.raises(psycopg.OperationalError):
                _insert(old, node, 2)
            old.close()
            assert _numbers(postgres, node) == [1]


def test_a_session_that_does_not_go_away_leaves_the_fate_open(postgres: Database) -> None:
    with Node(postgres.url, lock_seconds=0.1, statement_seconds=1.0) as node:
        node.create("a")
        old = _lose(node)
        old.execute("BEGIN")
        _insert(old, node, 2)
        pid = old.info.backend_pid
        os.kill(pid, signal.SIGSTOP)
        try:
            for _ in range(2):
                with pytest.raises(StorageError, match="lock timeout"):
                    node.storage.holds(2)
        finally:
            os.kill(pid, signal.SIGCONT)
        until(lambda: not _lives(postgres, pid), "the end of the session")
        assert not node.storage.holds(2)
        old.close()


def _lives(database: Database, pid: int) -> bool:
    return bool(database.sql("SELECT 1 FROM pg_stat_activity WHERE pid = %s", pid))


def test_a_database_that_falls_silent_does_not_hold_the_committer_for_ever(
    postgres: Database,
) -> None:
    with Node(postgres.url, lock_seconds=0.1, statement_seconds=1.0) as node:
        node.create("a")
        node.engine.submit("a", "ann", 1)
        sealed = node.seal()
        connection = node.storage._committer._connection  # noqa: SLF001
        assert connection is not None
        pid = connection.info.backend_pid
        os.kill(pid, signal.SIGSTOP)
        try:
            with pytest.raises(StorageError, match="cannot write to the journal"):
                node.storage.append(batch_of(sealed))
        finally:
            os.kill(pid, signal.SIGCONT)
        # What became of it is for the database to say, and it sticks to it.
        held = node.storage.holds(2)
        assert _numbers(postgres, node) == ([1, 2] if held else [1])
        assert node.storage.holds(2) == held


def test_a_batch_whose_commit_hangs_is_found_when_it_is_stored(new_postgres: NewPostgres) -> None:
    """The row is durable but not visible while a replica is waited for that does not answer."""
    server = new_postgres().start()
    with Node(server.url, lock_seconds=1.0, statement_seconds=1.0) as node:
        node.create("a")
        node.engine.submit("a", "ann", 1)
        sealed = node.seal()
        server.sql("ALTER SYSTEM SET synchronous_standby_names = 'nobody'")
        server.sql("SELECT pg_reload_conf()")
        waits = "SELECT 1 FROM pg_stat_activity WHERE wait_event = 'SyncRep'"
        until(lambda: server.sql("SHOW synchronous_standby_names") == [("nobody",)], "the setting")
        with pytest.raises(StorageError):
            node.storage.append(batch_of(sealed))
        assert server.sql(waits) == [(1,)]
        assert _numbers(server, node) == [1]
        # It cannot prove that it writes, so it says nothing.
        with pytest.raises(StorageError):
            node.storage.holds(2)
        with psycopg.connect(server.url, autocommit=True) as other:
            other.execute("ALTER SYSTEM RESET synchronous_standby_names")
            other.execute("SELECT pg_reload_conf()")
        until(lambda: server.sql("SHOW synchronous_standby_names") == [("",)], "the setting")
        assert node.storage.holds(2)


def test_a_killed_database_loses_nothing_that_was_answered(new_postgres: NewPostgres) -> None:
    server = new_postgres().start()
    with Node(server.url, statement_seconds=2.0) as node:
        node.create("a")
        for number in range(1, 4):
            node.submit("a", f"m{number}", number)
            node.engine.submit("a", "ann", number)
            sealed = node.seal()
            server.kill()
            with pytest.raises(StorageError):
                node.storage.append(batch_of(sealed))
            with pytest.raises(StorageError):
                node.storage.holds(sealed.number)
            server.start()
            assert not node.storage.holds(sealed.number)
            node.storage.append(batch_of(sealed))
            sealed.commit()
        boards = node.boards
    server.kill()
    server.start()
    with Node(server.url) as node:
        assert node.boards == boards


def test_closing_twice_tells_once_that_the_origin_has_ended(postgres: Database) -> None:
    last = "SELECT last FROM origins WHERE origin = %s"
    with Node(postgres.url) as node:
        origin = node.engine.origin
        node.create("a")
        assert postgres.sql(last, origin) == [(None,)]
        node.storage.close()
        assert postgres.sql(last, origin) == [(1,)]
        with pytest.raises(StorageError):
            node.storage.append(Batch(2, b"x"))
    assert _numbers(postgres, node) == [1]
    sessions = "SELECT application_name FROM pg_stat_activity WHERE datname = %s"
    until(lambda: len(postgres.sql(sessions, postgres.name)) == 1, "the end of all sessions")


def test_the_clock_is_the_databases(postgres: Database) -> None:
    clock = "SELECT extract(epoch FROM clock_timestamp()) * 1000"
    with Node(postgres.url) as node:
        for _ in range(3):
            ((before,),) = postgres.sql(clock)
            told = node.storage.clock_ms()
            ((after,),) = postgres.sql(clock)
            assert before - 1 <= told <= after + 1


def test_the_cluster_is_the_database(postgres: Database, new_postgres: NewPostgres) -> None:
    other = new_postgres().start()
    with Node(postgres.url) as one, Node(postgres.url) as two, Node(other.url) as three:
        assert one.storage.cluster == two.storage.cluster
        assert len(one.storage.cluster) == 32
        assert three.storage.cluster != one.storage.cluster
        assert one.engine.origin != two.engine.origin


def test_a_database_that_is_not_there_is_a_storage_error(postgres: Database) -> None:
    with pytest.raises(StorageError, match=r"cannot open the storage: .*does not exist"):
        Node(postgres.server.url_of("nowhere"))
