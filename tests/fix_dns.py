"""A real name server, PowerDNS, that answers with the first region whose `GET /health` is well.

It does what health checks and failover records of a cloud do, once a second instead of each ten:
regions are tried in order, and when none is well all are answered. `Resolver` is what programs
ask: it keeps answers as long as their TTL says, and `answering` puts it into an event loop, so that
every client in that loop uses it, whatever library it is of. Without PowerDNS such tests are left
out, but not in CI.
"""

from __future__ import annotations

import asyncio
import os
import secrets
import shutil
import socket
import struct
import subprocess
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Final, NamedTuple

import pytest

from fix_redis import free_port
from fix_server import until

DOMAIN: Final = "scores.test"
"""The service: whichever region is well. Below it each region has a name of its own."""
TTL: Final = 1
"""Of answers about the service, in seconds."""
_QUERY_SECONDS: Final = 1.0
_A: Final = 1
_POINTER: Final = 0xC0
_CONFIG: Final = """\
launch=bind
bind-config={place}/named.conf
local-address=127.0.0.1
local-port={port}
socket-dir={place}
daemon=no
guardian=no
disable-syslog=yes
enable-lua-records=yes
lua-health-checks-interval=1
cache-ttl=0
query-cache-ttl=0
negquery-cache-ttl=0
"""


class Answer(NamedTuple):
    """Addresses of a name, and for how many seconds they hold."""

    addresses: list[str]
    ttl: int


class Dns:
    """A process of PowerDNS. `hosts` are the regions' addresses by name, the preferred one first.

    Each is asked at its address and `port`.
    """

    def __init__(self, place: Path, hosts: Mapping[str, str], port: int) -> None:
        self.port = free_port()
        self._place = place
        self._process: subprocess.Popen[bytes] | None = None
        place.mkdir()
        (place / "pdns.conf").write_text(_CONFIG.format(place=place, port=self.port))
        zone = f'zone "{DOMAIN}" {{ type master; file "{place}/zone"; }};\n'
        (place / "named.conf").write_text(zone)
        sets = ", ".join(f"{{'{host}'}}" for host in hosts.values())
        how = "{timeout=1, backupSelector='all'}"
        rule = f"ifurlup('http://{DOMAIN}:{port}/health', {{{sets}}}, {how})"
        lines = [
            f"$ORIGIN {DOMAIN}.",
            "@ 60 IN SOA ns.invalid. nobody.invalid. 1 60 60 60 1",
            f'@ {TTL} IN LUA A "{rule}"',
            *(f"{name} 60 IN A {host}" for name, host in hosts.items()),
        ]
        (place / "zone").write_text("\n".join(lines) + "\n")

    def start(self) -> None:
        """Start and wait until it answers; its first question begins the checks."""
        with (self._place / "log").open("wb") as log:
            self._process = subprocess.Popen(
                [find_powerdns(), f"--config-dir={self._place}"],
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                start_new_session=True,
            )
        until(self._answers, "PowerDNS")

    def end(self) -> None:
        """Leave no process behind."""
        if self._process is not None:
            self._process.kill()
            self._process.wait()

    def ask(self, name: str = DOMAIN) -> Answer:
        """Ask it for the addresses of a name. Raises OSError without an answer in a second."""
        number = secrets.randbits(16)
        labels = b"".join(bytes([len(label)]) + label.encode() for label in name.split("."))
        question = labels + b"\0" + struct.pack(">HH", _A, 1)
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as connection:
            connection.settimeout(_QUERY_SECONDS)
            connection.connect(("127.0.0.1", self.port))
            connection.send(struct.pack(">6H", number, 0x0100, 1, 0, 0, 0) + question)
            reply = connection.recv(4096)
        if reply[:2] != struct.pack(">H", number) or reply[3] & 0x0F:
            raise OSError(f"the name server has no answer for {name}: code {reply[3] & 0x0F}")
        return _answer_of(reply, 12 + len(question))

    @property
    def log(self) -> str:
        """What it has said."""
        return (self._place / "log").read_text(encoding="utf-8", errors="replace")

    def _answers(self) -> bool:
        assert self._process is not None
        assert self._process.poll() is None, self.log
        try:
            return bool(self.ask().addresses)
        except OSError:
            return False


def _answer_of(reply: bytes, at: int) -> Answer:
    """Read the addresses behind the question of a reply."""
    (count,) = struct.unpack_from(">H", reply, 6)
    addresses, ttl = [], 0
    for _ in range(count):
        # PowerDNS names what was asked for by a pointer to the question.
        assert reply[at] & _POINTER == _POINTER
        kind, _, ttl, size = struct.unpack_from(">HHIH", reply, at + 2)
        if kind == _A:
            addresses.append(socket.inet_ntoa(reply[at + 12 : at + 12 + size]))
        at += 12 + size
    return Answer(addresses, ttl)


class Resolver:
    """Asks a name server and keeps its answers for their TTL, as those of programs do."""

    def __init__(self, dns: Dns) -> None:
        self._dns = dns
        self._kept: dict[str, tuple[float, list[str]]] = {}

    def addresses(self, name: str) -> list[str]:
        """Give the addresses of a name. Blocks. Raises OSError."""
        until_then, addresses = self._kept.get(name, (0.0, []))
        if time.monotonic() >= until_then:
            addresses, ttl = self._dns.ask(name)
            self._kept[name] = (time.monotonic() + ttl, addresses)
        return addresses


@contextmanager
def answering(loop: asyncio.AbstractEventLoop, resolver: Resolver) -> Iterator[None]:
    """Let all clients in an event loop resolve names below DOMAIN by a resolver."""
    usual = loop.getaddrinfo

    async def getaddrinfo(host: Any, port: Any, **how: Any) -> Sequence[Any]:
        if not str(host).endswith(DOMAIN):
            return await usual(host, port, **how)
        found = await asyncio.to_thread(resolver.addresses, host)
        kind = how.get("type") or socket.SOCK_STREAM
        return [(socket.AF_INET, kind, socket.IPPROTO_TCP, "", (each, port)) for each in found]

    loop.getaddrinfo = getaddrinfo  # type: ignore[assignment,method-assign]
    try:
        yield
    finally:
        loop.getaddrinfo = usual  # type: ignore[method-assign]


def find_powerdns() -> str:
    """Where PowerDNS is; skips the test, or fails it in CI, without it."""
    found = shutil.which("pdns_server", path=f"{os.environ.get('PATH', os.defpath)}:/usr/sbin")
    if found is None:
        reason = "pdns_server is not there: answers of DNS are NOT tested"
        if os.environ.get("CI"):
            pytest.fail(reason)
        pytest.skip(reason)
    return found


@contextmanager
def running_dns(place: Path, hosts: Mapping[str, str], port: int) -> Iterator[Dns]:
    """Run a name server until the end of the block."""
    find_powerdns()
    dns = Dns(place, hosts, port)
    try:
        dns.start()
        yield dns
    finally:
        dns.end()
