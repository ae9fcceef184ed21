"""Whether the name server of the drills does what it is taken for."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread
from typing import Final

import aiohttp
import pytest

from fix_dns import DOMAIN, TTL, Resolver, answering, running_dns
from fix_redis import free_port
from fix_server import until

_HOSTS: Final = {"eu": "127.0.0.2", "us": "127.0.0.3"}


class _Health(BaseHTTPRequestHandler):
    """Says how the region is at whose address it was asked."""

    well: dict[str, bool]

    def do_GET(self) -> None:
        host = str(self.connection.getsockname()[0])
        well = self.path == "/health" and self.well[host]
        body = host.encode()
        self.send_response(200 if well or self.path == "/where" else 503)
        self.send_header("content-length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_: object) -> None:
        pass


@contextmanager
def _regions(port: int) -> Iterator[dict[str, bool]]:
    well = dict.fromkeys(_HOSTS.values(), True)
    handler = type("_Handler", (_Health,), {"well": well})
    servers = [ThreadingHTTPServer((host, port), handler) for host in _HOSTS.values()]
    for server in servers:
        Thread(target=server.serve_forever, args=(0.05,), daemon=True).start()
    try:
        yield well
    finally:
        for server in servers:
            server.shutdown()
            server.server_close()


async def _where(port: int) -> str:
    connector = aiohttp.TCPConnector(use_dns_cache=False, force_close=True)
    async with (
        aiohttp.ClientSession(connector=connector) as http,
        http.get(f"http://{DOMAIN}:{port}/where") as answer,
    ):
        return await answer.text()


async def test_the_first_region_that_is_well_is_answered(tmp_path: Path) -> None:
    port = free_port()
    eu, us = _HOSTS.values()
    with _regions(port) as well, running_dns(tmp_path / "dns", _HOSTS, port) as dns:

        def answers(*hosts: str) -> bool:
            return sorted(dns.ask().addresses) == sorted(hosts)

        with answering(asyncio.get_running_loop(), Resolver(dns)):
            await asyncio.to_thread(until, lambda: answers(eu), "the first region")
            assert dns.ask().ttl == TTL
            assert await _where(port) == eu
            well[eu] = False
            await asyncio.to_thread(until, lambda: answers(us), "the second region")
            # The resolver keeps what it heard as long as it may.
            await asyncio.sleep(TTL)
            assert await _where(port) == us
            well[eu] = True
            await asyncio.to_thread(until, lambda: answers(eu), "the first one again")
            well[eu] = well[us] = False
            await asyncio.to_thread(until, lambda: answers(eu, us), "all, as none is well")
        assert dns.ask(f"us.{DOMAIN}").addresses == [us]
        with pytest.raises(OSError, match="no answer"):
            dns.ask(f"ap.{DOMAIN}")
