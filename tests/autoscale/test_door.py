"""What a client may cost the metrics server's listener."""

from __future__ import annotations

import asyncio
import socket
import ssl
import subprocess
import sys
from collections.abc import AsyncIterator
from contextlib import ExitStack, asynccontextmanager, suppress
from pathlib import Path

import pytest
from aiohttp import web

from fix_metrics_server import NewMetricsServer, Pki, write_pods
from fix_server import PATIENCE_SECONDS, until
from fix_tls import client_context
from rankwire.autoscale import serving_door
from rankwire.autoscale.security import Roots, Trust
from rankwire.autoscale.security_config import TrustOfFiles
from rankwire.autoscale.serving_door import Certificate, Door
from rankwire.autoscale.serving_paths import Asked, asked, parts_of

_ASK = b"GET / HTTP/1.1\r\nHost: x\r\n\r\n"


async def _answer(_: web.BaseRequest, trust: Trust, roots: Roots) -> web.Response:
    assert trust.client_ca
    assert roots.client
    return web.Response(text="yes")


@asynccontextmanager
async def _open(pki: Pki) -> AsyncIterator[int]:
    trust = TrustOfFiles(None, pki.users.certificate, ())
    door = Door(_answer, Certificate(pki.server.certificate, pki.server.key), trust)
    port = await door.open("127.0.0.1", 0)
    task = asyncio.create_task(door.run())
    try:
        yield port
    finally:
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)


async def _connect(
    port: int, context: ssl.SSLContext | None
) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
    name = None if context is None else "localhost"
    return await asyncio.open_connection("127.0.0.1", port, ssl=context, server_hostname=name)


async def _end(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> bytes:
    """Read until the other side ends it, however it does."""
    try:
        async with asyncio.timeout(20):
            return await reader.read()
    except (ConnectionError, ssl.SSLError):
        return b""
    finally:
        writer.close()


async def test_who_says_nothing_is_sent_away(pki: Pki, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(serving_door, "FIRST_SECONDS", 0.3)
    monkeypatch.setattr(serving_door, "HANDSHAKE_SECONDS", 0.3)
    context = client_context(pki.servers)
    async with _open(pki) as port:
        # Not even a handshake; a handshake and nothing; half of a request.
        assert await _end(*await _connect(port, None)) == b""
        assert await _end(*await _connect(port, context)) == b""
        reader, writer = await _connect(port, context)
        writer.write(_ASK[:10])
        assert await _end(reader, writer) == b""
        # Whoever asked in time may stay longer than that.
        reader, writer = await _connect(port, context)
        for _ in range(2):
            writer.write(_ASK)
            head = await reader.readuntil(b"yes")
            assert b"200 OK" in head
            await asyncio.sleep(0.4)
        writer.close()


async def test_there_are_only_so_many_connections_of_those_who_are_known(
    pki: Pki, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(serving_door, "MOST_KNOWN", 2)
    context = client_context(pki.servers, pki.ann)
    async with _open(pki) as port:
        kept = []
        for _ in range(2):
            reader, writer = await _connect(port, context)
            writer.write(_ASK)
            await reader.readuntil(b"yes")
            kept.append(writer)
        assert not await _is_answered(port, context)
        assert await _is_answered(port, client_context(pki.servers))
        kept.pop().close()
        async with asyncio.timeout(20):
            while True:
                if await _is_answered(port, context):
                    break
                await asyncio.sleep(0.01)
        kept.pop().close()


async def test_a_stranger_too_many_ends_the_oldest_and_nobody_who_is_known(
    pki: Pki, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(serving_door, "MOST_STRANGERS", 2)
    async with _open(pki) as port:
        known = await _connect(port, client_context(pki.servers, pki.ann))
        known[1].write(_ASK)
        await known[0].readuntil(b"yes")
        strangers = []
        for _ in range(3):
            strangers.append(await _connect(port, client_context(pki.servers)))
            strangers[-1][1].write(_ASK)
            await strangers[-1][0].readuntil(b"yes")
        assert await _end(*strangers[0]) == b""
        for reader, writer in (known, *strangers[1:]):
            writer.write(_ASK)
            await reader.readuntil(b"yes")
            writer.close()


async def _is_answered(port: int, context: ssl.SSLContext) -> bool:
    try:
        reader, writer = await _connect(port, context)
    except (ConnectionError, ssl.SSLError):
        return False
    try:
        writer.write(_ASK.replace(b"Host", b"Connection: close\r\nHost"))
        return b"yes" in await reader.read()
    except (ConnectionError, ssl.SSLError):
        return False
    finally:
        writer.close()


async def test_old_protocols_and_long_heads_are_refused(pki: Pki) -> None:
    async with _open(pki) as port:
        context = client_context(pki.servers)
        reader, writer = await _connect(port, context)
        writer.write(b"GET / HTTP/1.1\r\nHost: x\r\nX: " + b"x" * 20_000 + b"\r\n\r\n")
        assert b" 400 " in (await _end(reader, writer)).split(b"\r\n")[0]
        with socket.create_connection(("127.0.0.1", port)) as plain:
            plain.setblocking(False)
            loop = asyncio.get_running_loop()
            await loop.sock_sendall(plain, _ASK)
            assert b"yes" not in await loop.sock_recv(plain, 4096)


@pytest.mark.parametrize(
    ("path", "found"),
    [
        ("/apis/custom.metrics.k8s.io/v1beta2", None),
        ("/apis/custom.metrics.k8s.io/v1beta3/namespaces/a/pods/b/c", None),
        ("/api/custom.metrics.k8s.io/v1beta2/namespaces/a/pods/b/c", None),
        ("/apis/custom.metrics.k8s.io/v1beta2/namespaces/a/pods//c", None),
        (
            "/apis/custom.metrics.k8s.io/v1beta2/namespaces/a/pods/%2A/c?labelSelector=x",
            Asked("custom.metrics.k8s.io", "v1beta2", "a", "pods", "*", "c"),
        ),
        (
            "/apis/custom.metrics.k8s.io/v1beta1/namespaces/a/metrics/c",
            Asked("custom.metrics.k8s.io", "v1beta1", "a", "metrics", "c"),
        ),
        (
            "/apis/custom.metrics.k8s.io/v1beta2/nodes/n/c",
            Asked("custom.metrics.k8s.io", "v1beta2", "", "nodes", "n", "c"),
        ),
        (
            "/apis/external.metrics.k8s.io/v1beta1/namespaces/a/c",
            Asked("external.metrics.k8s.io", "v1beta1", "a", "c"),
        ),
        # A slash inside of a part stays there, and cannot make another path of it.
        (
            "/apis/custom.metrics.k8s.io/v1beta2/namespaces/a/pods/b%2Fc/d",
            Asked("custom.metrics.k8s.io", "v1beta2", "a", "pods", "b/c", "d"),
        ),
    ],
)
def test_paths_are_read_as_kubernetes_reads_them(path: str, found: Asked | None) -> None:
    assert asked(parts_of(path)) == found


def test_who_says_nothing_keeps_nobody_out(
    new_metrics_server: NewMetricsServer, tmp_path: Path
) -> None:
    """Probes and the aggregator are answered while more are silent than there are places."""
    pods = write_pods(tmp_path / "pods.json", [])
    server = new_metrics_server("--pods", pods, "--allow-user", "hpa")
    until(server.ready, "a metrics server that is ready")
    with ExitStack() as kept:
        silent = [
            kept.enter_context(socket.create_connection(("127.0.0.1", server.port)))
            for _ in range(2 * serving_door.MOST_STRANGERS)
        ]
        assert server.call("/livez").status == 200
        assert server.as_hpa("/apis/custom.metrics.k8s.io/v1beta2").status == 200
        # No place was made for them: the older half is gone.
        for one in silent[: serving_door.MOST_STRANGERS]:
            one.settimeout(PATIENCE_SECONDS)
            with suppress(ConnectionResetError):
                assert one.recv(1) == b""
    assert server.running


def test_what_stands_around_an_authority_may_be_anything(
    new_metrics_server: NewMetricsServer, pki: Pki, tmp_path: Path
) -> None:
    file = pki.users.certificate
    file.write_text("# Zürich\n" + file.read_text(), encoding="utf-8")
    pods = write_pods(tmp_path / "pods.json", [])
    server = new_metrics_server("--pods", pods, "--allow-user", "hpa")
    until(server.ready, "a metrics server that is ready")


def test_an_aggregator_without_a_name_is_refused(pki: Pki, tmp_path: Path) -> None:
    done = subprocess.run(
        [
            *(sys.executable, "-m", "rankwire", "metrics-server", "--port", "0"),
            *("--tls-cert", str(pki.server.certificate), "--tls-key", str(pki.server.key)),
            *("--requestheader-client-ca-file", str(pki.front.certificate)),
            *("--pods", write_pods(tmp_path / "pods.json", []), "--allow-user", "hpa"),
        ],
        check=False,
        capture_output=True,
        text=True,
        timeout=PATIENCE_SECONDS,
    )
    assert (done.returncode, "--requestheader-allowed-names" in done.stderr) == (1, True)
