"""A metrics server in a process of its own, as `rankwire metrics-server`, and its clients.

`new_metrics_server` starts them with certificates made for the test, and ends them after it.
"""

from __future__ import annotations

import http.client
import json
import os
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any, Final

import pytest

from fix_server import PATIENCE_SECONDS, Reply, until
from fix_tls import Authority, Signed, client_context

AGGREGATOR: Final = "front-proxy-client"
INTERVAL: Final = 0.3
"""Seconds between two scrapes."""


class Pki:
    """All that signs and is signed."""

    def __init__(self, place: Path) -> None:
        """Make three authorities: of the server, of the aggregator, of users."""
        self.servers = Authority(place / "servers", "servers")
        self.front = Authority(place / "front", "front-proxy-ca")
        self.users = Authority(place / "users", "kubernetes")
        self.server = self.servers.server()
        self.aggregator = self.front.client(AGGREGATOR)
        self.ann = self.users.client("ann", "ops")


class MetricsServer:
    """One process."""

    def __init__(self, logs: Path, pki: Pki, *flags: str) -> None:
        """Start it and wait until it listens."""
        self.pki = pki
        self._out, self._err = logs / "out", logs / "err"
        logs.mkdir()
        command = [
            *(sys.executable, "-m", "rankwire", "metrics-server", "--port", "0"),
            *("--tls-cert", str(pki.server.certificate), "--tls-key", str(pki.server.key)),
            *("--interval", str(INTERVAL), *flags),
        ]
        environment = {k: v for k, v in os.environ.items() if not k.startswith("KUBERNETES_")}
        with self._out.open("wb") as out, self._err.open("wb") as err:
            self._process = subprocess.Popen(
                command, stdin=subprocess.DEVNULL, stdout=out, stderr=err, env=environment
            )
        until(lambda: "\n" in self.out or not self.running, "a metrics server that listens")
        assert self.running, self.log
        self.port = int(self.out.rpartition(":")[2])

    @property
    def out(self) -> str:
        """What it printed."""
        return self._out.read_text()

    @property
    def log(self) -> str:
        """What it logged."""
        return self._err.read_text()

    @property
    def running(self) -> bool:
        """Whether it is there."""
        return self._process.poll() is None

    def terminate(self) -> int:
        """Ask it to end and give its exit code."""
        self._process.send_signal(signal.SIGTERM)
        return self._process.wait(PATIENCE_SECONDS)

    def end(self) -> None:
        """Leave no process behind."""
        if self.running:
            self._process.kill()
        self._process.wait()
        sys.stdout.write(self.log[-4000:])

    def call(
        self,
        path: str,
        client: Signed | None = None,
        headers: Mapping[str, str] | None = None,
        method: str = "GET",
    ) -> Reply:
        """Ask on a connection of its own, with a client's certificate."""
        context = client_context(self.pki.servers, client)
        connection = http.client.HTTPSConnection(
            "127.0.0.1", self.port, timeout=PATIENCE_SECONDS, context=context
        )
        try:
            connection.request(method, path, headers=dict(headers or {}))
            answer = connection.getresponse()
            return Reply(answer.status, dict(answer.getheaders()), answer.read())
        finally:
            connection.close()

    def as_hpa(self, path: str, user: str = "hpa", **more: str) -> Reply:
        """Ask through the aggregator, for a user."""
        return self.call(path, self.pki.aggregator, {"X-Remote-User": user, **more})

    def ready(self) -> bool:
        """Whether it says that it is ready."""
        return self.call("/readyz").status == 200

    def says(self, path: str, expected: Mapping[str, str]) -> None:
        """Wait until it tells just these values. A busy machine may miss a scrape meanwhile."""

        def is_so() -> bool:
            reply = self.as_hpa(path)
            return reply.status == 200 and _values(reply) == expected

        until(is_so, f"{expected} at {path}")

    def values(self, path: str) -> dict[str, str]:
        """Give the value of each object that is told."""
        reply = self.as_hpa(path)
        assert reply.status == 200, reply
        return _values(reply)


def _values(reply: Reply) -> dict[str, str]:
    return {item["describedObject"]["name"]: item["value"] for item in reply.json()["items"]}


NewMetricsServer = Callable[..., MetricsServer]


@pytest.fixture
def pki(tmp_path: Path) -> Pki:
    """Make certificates."""
    return Pki(tmp_path / "pki")


@pytest.fixture
def new_metrics_server(tmp_path: Path, pki: Pki) -> Iterator[NewMetricsServer]:
    """Start metrics servers with these flags; they trust the authorities of `pki` if `files`."""
    servers: list[MetricsServer] = []

    def make(*flags: str, files: bool = True) -> MetricsServer:
        trust = (
            *("--requestheader-client-ca-file", str(pki.front.certificate)),
            *("--requestheader-allowed-names", AGGREGATOR),
            *("--client-ca-file", str(pki.users.certificate)),
        )
        where = tmp_path / f"metrics-{len(servers)}"
        servers.append(MetricsServer(where, pki, *(trust if files else ()), *flags))
        return servers[-1]

    try:
        yield make
    finally:
        for server in servers:
            server.end()


def write_pods(path: Path, pods: list[dict[str, Any]]) -> str:
    """Replace a file of pods as a whole, and give its name."""
    beside = path.with_suffix(".new")
    beside.write_text(json.dumps({"pods": pods}))
    beside.replace(path)
    return str(path)


def pod(name: str, url: str, *, ready: bool = True, **labels: str) -> dict[str, Any]:
    """Describe a pod of the namespace game."""
    return {"namespace": "game", "name": name, "url": url, "labels": labels, "ready": ready}
