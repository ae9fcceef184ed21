"""Addresses of Redis, and what speaks to a real one of each kind."""

from __future__ import annotations

import subprocess
import time
from pathlib import Path

import pytest
from redis.exceptions import RedisError

from fix_redis import NewRedis, RedisCluster, RedisSentinel, RedisServer
from rankwire.sync.urls import ALLOWED, FAILURES, Address, connect, connect_async, parse

_PASSWORD = "p@ss:w/ord"  # it needs an escape in a URL
_ESCAPED = "p%40ss%3Aw%2Ford"
# A client gives up after one second, and a second time with another connection.
_SOON_SECONDS = 5.0


@pytest.mark.parametrize(
    ("url", "address"),
    [
        ("redis://localhost", Address("single", (("localhost", 6379),))),
        ("redis://10.0.0.1:7000/3", Address("single", (("10.0.0.1", 7000),), database=3)),
        ("rediss://[::1]:7000", Address("single", (("::1", 7000),), tls=True)),
        (
            f"redis://:{_ESCAPED}@h",
            Address("single", (("h", 6379),), password=_PASSWORD),
        ),
        (
            f"redis://me%3A:{_ESCAPED}@h",
            Address("single", (("h", 6379),), user="me:", password=_PASSWORD),
        ),
        (
            "redis+cluster://u:p@a,b:1,[::2]:3",
            Address("cluster", (("a", 6379), ("b", 1), ("::2", 3)), user="u", password="p"),
        ),
        ("rediss+cluster://a", Address("cluster", (("a", 6379),), tls=True)),
        (
            "redis+sentinel://a,b:1/scores/2",
            Address("sentinel", (("a", 26379), ("b", 1)), service="scores", database=2),
        ),
        (
            "rediss+sentinel://a/my%2Fscores",
            Address("sentinel", (("a", 26379),), tls=True, service="my/scores"),
        ),
    ],
)
def test_every_form_of_a_url_is_read(url: str, address: Address) -> None:
    assert parse(url) == address


@pytest.mark.parametrize(
    "url",
    [
        "",
        "localhost:6379",
        "http://localhost",
        "redis+://localhost",
        "redis+other://localhost",
        "unix:///run/redis",
        "redis://",
        "redis://a,b",
        "redis://a b",
        "redis://a:0",
        "redis://a:65536",
        "redis://a:b",
        "redis://::1",
        "redis://a/b",
        "redis://a/-1",
        "redis://a/2147483648",
        "redis://a/1/2",
        "redis://a?db=1",
        "redis://secret@a",
        "redis://u:@a",
        "redis://:secret@a:port",
        "redis://:secret@a?ssl_cert_reqs=none",
        "redis+cluster://a,",
        "redis+cluster://a/1",
        "redis+sentinel://a",
        "redis+sentinel://a/",
        "redis+sentinel://a/scores/x",
    ],
)
def test_a_wrong_url_is_refused_and_told_what_is_allowed(url: str) -> None:
    with pytest.raises(ValueError, match=r"found .*, allowed is ") as error:
        parse(url)
    assert str(error.value).endswith(ALLOWED)
    assert "secret" not in str(error.value)


def test_a_password_is_never_shown() -> None:
    address = parse(f"redis://me:{_ESCAPED}@h")
    assert _PASSWORD not in repr(address)
    assert address.explain(RedisError(f"wrong:\n {_PASSWORD}!")) == "wrong: ***!"


def test_an_error_without_a_text_is_called_by_its_name() -> None:
    assert parse("redis://h").explain(TimeoutError()) == "TimeoutError"


async def _works(url: str) -> None:
    """Write with one kind of client and read with the other."""
    with connect(url) as client:
        client.set("{a}b", b"\xff")
    async_client = connect_async(url)
    try:
        assert await async_client.get("{a}b") == b"\xff"
    finally:
        await async_client.aclose()


async def test_a_single_server(redis_server: RedisServer) -> None:
    await _works(redis_server.url)
    assert redis_server.ask("DBSIZE") == 1


async def test_a_database_of_its_own(redis_server: RedisServer) -> None:
    await _works(redis_server.url + "/7")
    assert redis_server.ask("DBSIZE") == 0


async def test_a_cluster(redis_cluster: RedisCluster) -> None:
    await _works(redis_cluster.url)
    # Any one of the nodes is enough to find the others.
    for node in redis_cluster.nodes:
        await _works(f"redis+cluster://{node.address}")


async def test_a_cluster_some_of_whose_addresses_are_dead(
    redis_cluster: RedisCluster, new_redis: NewRedis
) -> None:
    await _works(f"redis+cluster://{new_redis().address},{redis_cluster.nodes[0].address}")


async def test_a_sentinel_knows_the_master_before_and_after_a_failover(
    redis_sentinel: RedisSentinel, new_redis: NewRedis
) -> None:
    dead = new_redis().address
    url = redis_sentinel.url.replace("://", f"://{dead},")
    await _works(url)
    assert redis_sentinel.master.ask("DBSIZE") == 1
    client = connect_async(url)
    try:
        await client.set("before", 1)
        redis_sentinel.fail_over()
        # What was connected finds out that its master is gone, and then who is the new one.
        with pytest.raises(RedisError):
            await client.set("lost", 2)
        await client.set("after", 2)
        assert redis_sentinel.replica.ask("GET", "after") == "2"
    finally:
        await client.aclose()
    await _works(url)


async def test_a_password_for_everything_that_a_sentinel_leads_to(
    redis_sentinel: RedisSentinel,
) -> None:
    for server in (redis_sentinel.master, redis_sentinel.sentinel):
        server.ask("ACL", "SETUSER", "default", "resetpass", f">{_PASSWORD}")
    url = redis_sentinel.url.replace("://", f"://:{_ESCAPED}@")
    await _works(url)


async def test_a_sentinel_without_a_password_leads_to_a_master_with_one(
    redis_sentinel: RedisSentinel,
) -> None:
    master = redis_sentinel.master
    master.ask("ACL", "SETUSER", "me", "on", f">{_PASSWORD}", "allkeys", "+@all", "allchannels")
    await _works(redis_sentinel.url.replace("://", f"://me:{_ESCAPED}@"))


async def test_users_and_passwords(redis_server: RedisServer) -> None:
    user = ("ACL", "SETUSER", "me", "on", f">{_PASSWORD}", "allkeys", "+@all", "allchannels")
    redis_server.ask(*user)
    redis_server.ask("ACL", "SETUSER", "default", "resetpass", ">other")
    await _works(redis_server.url.replace("://", f"://me:{_ESCAPED}@"))
    await _works(redis_server.url.replace("://", "://:other@"))
    for wrong in ("", "me:other@", f":{_ESCAPED}@"):
        url = redis_server.url.replace("://", f"://{wrong}")
        with connect(url) as client, pytest.raises(RedisError) as error:
            client.ping()
        assert _PASSWORD not in parse(url).explain(error.value)


def _certificate(directory: Path) -> tuple[Path, Path]:
    key, certificate = directory / "key.pem", directory / "certificate.pem"
    command = ["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256"]
    command += ["-nodes", "-keyout", str(key), "-out", str(certificate), "-days", "2"]
    command += ["-subj", "/CN=localhost", "-addext", "subjectAltName=DNS:localhost,IP:127.0.0.1"]
    subprocess.run(command, check=True, capture_output=True)
    return key, certificate


async def test_tls_needs_a_certificate_that_the_system_trusts(
    new_redis: NewRedis, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    key, certificate = _certificate(tmp_path)
    server = new_redis()
    tls_port = new_redis().port
    options = ["--tls-port", str(tls_port), "--tls-cert-file", str(certificate)]
    options += ["--tls-key-file", str(key), "--tls-auth-clients", "no"]
    server = new_redis(*options).start()
    url = f"rediss://127.0.0.1:{tls_port}"
    with connect(url) as client, pytest.raises(RedisError, match=r"(?i)certificate"):
        client.ping()
    monkeypatch.setenv("SSL_CERT_FILE", str(certificate))
    await _works(url)
    assert server.ask("DBSIZE") == 1


@pytest.mark.parametrize("kind", ["redis://{}", "redis+cluster://{}", "redis+sentinel://{}/s"])
async def test_clients_give_up_soon_when_nobody_is_there_or_it_hangs(
    redis_server: RedisServer, new_redis: NewRedis, kind: str
) -> None:
    redis_server.pause()
    for server in (redis_server, new_redis()):
        url = kind.format(server.address)
        began = time.monotonic()
        with pytest.raises(FAILURES), connect(url) as client:
            client.get("a")
        async_client = connect_async(url)
        with pytest.raises(FAILURES):
            await async_client.get("a")
        await async_client.aclose()
        assert time.monotonic() - began < 2 * _SOON_SECONDS
