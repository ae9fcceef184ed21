"""Runs the metrics server: puts its parts together, starts them, and ends them together.

Promises that it ends when told to, and that a part that fails ends all of it, so that whatever
started it starts it anew. May do what the parts may.
"""

from __future__ import annotations

import asyncio
import os
import signal
from collections.abc import Callable, Coroutine
from pathlib import Path
from typing import Any, Final

import msgspec

from rankwire.autoscale.files import WatchedFile
from rankwire.autoscale.kube import IN_CLUSTER, KubeClient, KubeError
from rankwire.autoscale.metrics_answers import Answers
from rankwire.autoscale.pods import PodsOfFile, PodSource
from rankwire.autoscale.pods_kube import PodsOfKubernetes
from rankwire.autoscale.scrape import Scraper
from rankwire.autoscale.security_access import Access, FixedList, Reviews
from rankwire.autoscale.security_config import TrustOfCluster, TrustOfFiles, TrustSource
from rankwire.autoscale.serving import Service
from rankwire.autoscale.serving_door import Certificate, Door

USUAL_PODS: Final = "app.kubernetes.io/name=rankwire,app.kubernetes.io/component in (all,api,hub)"
"""Selects the pods of servers, and not those of jobs or of this one."""


class Config(msgspec.Struct, frozen=True):
    """Everything that the command line says."""

    tls_cert: Path
    tls_key: Path
    host: str = "127.0.0.1"
    port: int = 6443
    pods: Path | None = None
    """The file of pods; without one the Kubernetes API is asked."""
    namespace: str = ""
    pod_selector: str = USUAL_PODS
    pod_port: int = 7700
    key_file: Path | None = None
    interval: float = 10.0
    """Seconds."""
    requestheader_ca: Path | None = None
    requestheader_names: tuple[str, ...] = ()
    client_ca: Path | None = None
    allow_users: tuple[str, ...] = ()
    allow_groups: tuple[str, ...] = ()
    kube_url: str = ""
    kube_directory: Path = IN_CLUSTER

    @property
    def needs_kubernetes(self) -> bool:
        """Whether anything is to be asked of the Kubernetes API."""
        return self.pods is None or not self._has_authorities or not self.has_list

    @property
    def _has_authorities(self) -> bool:
        return self.requestheader_ca is not None or self.client_ca is not None

    @property
    def has_list(self) -> bool:
        """Whether the command line says who may read."""
        return bool(self.allow_users or self.allow_groups)

    def trust(self, client: KubeClient) -> TrustSource:
        """Make what knows whom to believe."""
        if not self._has_authorities:
            return TrustOfCluster(client)
        return TrustOfFiles(self.requestheader_ca, self.client_ca, self.requestheader_names)

    def access(self, client: KubeClient) -> Access:
        """Make what decides who may read."""
        if self.has_list:
            return FixedList(self.allow_users, self.allow_groups)
        return Reviews(client)

    def source(self, client: KubeClient) -> PodSource:
        """Make what knows the pods. Raises KubeError without a namespace to watch."""
        if self.pods is not None:
            return PodsOfFile(self.pods, min(1.0, self.interval))
        namespace = self.namespace or _own_namespace(self.kube_directory)
        return PodsOfKubernetes(client, namespace, self.pod_selector, self.pod_port)


async def serve(config: Config, announce: Callable[[str, int], None]) -> None:
    """Serve until SIGTERM or SIGINT; tell host and port once it listens.

    Raises KubeError, TrustError, OSError or ssl.SSLError if it cannot begin.
    """
    client = KubeClient(config.kube_url or _kube_url(config), config.kube_directory)
    async with client:
        source = config.source(client)
        key = None if config.key_file is None else WatchedFile(config.key_file)
        scraper = Scraper(source, config.interval, key)
        answers = Answers(source, scraper)
        service = Service(answers, config.access(client), lambda: scraper.rounds > 0)
        certificate = Certificate(config.tls_cert, config.tls_key)
        door = Door(service.handle, certificate, config.trust(client))
        announce(config.host, await door.open(config.host, config.port))
        await _together(source.run(), scraper.run(), door.run())


def _kube_url(config: Config) -> str:
    host, port = (
        os.environ.get("KUBERNETES_SERVICE_HOST"),
        os.environ.get("KUBERNETES_SERVICE_PORT"),
    )
    if host and port:
        return f"https://[{host}]:{port}" if ":" in host else f"https://{host}:{port}"
    if config.needs_kubernetes:
        raise KubeError(
            "this is no pod of a cluster: give --kube-url, or do without it by --pods,"
            " --requestheader-client-ca-file or --client-ca-file, and --allow-user"
        )
    return ""


def _own_namespace(directory: Path) -> str:
    try:
        return (directory / "namespace").read_text(encoding="utf-8").strip()
    except OSError as error:
        raise KubeError(f"give --namespace: {error}") from error


async def _together(*parts: Coroutine[Any, Any, None]) -> None:
    """Run all until a signal to end; what one of them raises ends all and is raised."""
    loop, end = asyncio.get_running_loop(), asyncio.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, end.set)
    async with asyncio.TaskGroup() as group:
        tasks = [group.create_task(part) for part in parts]
        await end.wait()
        for task in tasks:
            task.cancel()
