"""Pods as the Kubernetes API tells of them: a list, and then a watch of what changes.

Promises to be level with the API again after anything: a watch that is too old (410), an API that
was away, a connection that was cut. Pauses between attempts grow to `MOST_PAUSE`. While the API is
away, the last pods known stay. May use the network, through `kube`.
"""

from __future__ import annotations

import asyncio
import random
from collections.abc import Mapping
from ipaddress import ip_address
from typing import Final

import msgspec
import structlog

from rankwire.autoscale.kube import KubeClient, KubeError
from rankwire.autoscale.pods import MOST_PODS, Pod, PodsError, checked

PORT_ANNOTATION: Final = "rankwire.io/metrics-port"
"""A pod's own port, for a pod that listens elsewhere than the others."""

WATCH_SECONDS: Final = 300
FIRST_PAUSE: Final = 0.5
MOST_PAUSE: Final = 30.0

_PAGE: Final = 500
_GONE: Final = 410
_MOST_PORT: Final = 65535
_PORT_DIGITS: Final = 5

_log = structlog.get_logger(__name__)


class _Metadata(msgspec.Struct, frozen=True, rename="camel"):
    name: str = ""
    namespace: str = ""
    uid: str = ""
    resource_version: str = ""
    labels: Mapping[str, str] | None = None
    annotations: Mapping[str, str] | None = None
    deletion_timestamp: str | None = None


class _Condition(msgspec.Struct, frozen=True):
    type: str
    status: str


class _PodStatus(msgspec.Struct, frozen=True):
    phase: str = ""
    address: str = msgspec.field(default="", name="podIP")
    conditions: tuple[_Condition, ...] | None = None


class _Object(msgspec.Struct, frozen=True):
    metadata: _Metadata
    status: _PodStatus = _PodStatus()


class _ListMetadata(msgspec.Struct, frozen=True):
    resource_version: str = msgspec.field(default="", name="resourceVersion")
    after: str = msgspec.field(default="", name="continue")


class _List(msgspec.Struct, frozen=True):
    metadata: _ListMetadata
    items: tuple[_Object, ...] | None = None


class _Event(msgspec.Struct, frozen=True):
    type: str
    object: msgspec.Raw


class _Failure(msgspec.Struct, frozen=True):
    code: int = 0
    message: str = ""


class PodsOfKubernetes:
    """The running pods of a namespace that a selector selects."""

    def __init__(self, client: KubeClient, namespace: str, selector: str, port: int) -> None:
        """Remember what to watch, and the port at which pods give their metrics."""
        self.pods: tuple[Pod, ...] = ()
        self.known = False
        self._client = client
        self._path = f"/api/v1/namespaces/{namespace}/pods"
        self._selection = {"labelSelector": selector}
        self._port = port
        self._found: dict[str, Pod | None] = {}
        self._version = ""

    async def run(self) -> None:
        """List and watch until cancelled."""
        pause = FIRST_PAUSE
        while True:
            try:
                if not self._version:
                    await self._list()
                await self._watch()
                pause = FIRST_PAUSE
                # Even a server that ends every watch at once is asked in peace.
                await asyncio.sleep(FIRST_PAUSE)
            except (KubeError, PodsError, msgspec.DecodeError) as error:
                # What a new list tells is right whatever went wrong.
                self._version = ""
                if not (isinstance(error, KubeError) and error.status == _GONE):
                    _log.warning("cannot watch the pods", reason=str(error), retry_seconds=pause)
                await asyncio.sleep(pause * random.uniform(0.5, 1.0))  # noqa: S311  # no secret
                pause = min(2 * pause, MOST_PAUSE)

    async def _list(self) -> None:
        found: dict[str, Pod | None] = {}
        after = version = ""
        while True:
            params = {**self._selection, "limit": str(_PAGE)} | (
                {"continue": after} if after else {}
            )
            page = msgspec.json.decode(await self._client.get(self._path, params), type=_List)
            found |= {item.metadata.name: self._pod(item) for item in page.items or ()}
            if len(found) > MOST_PODS:
                raise PodsError(f"more than {MOST_PODS} pods; narrow the selection")
            after, version = page.metadata.after, page.metadata.resource_version
            if not after:
                break
        self._found, self._version = found, version
        self._publish()

    async def _watch(self) -> None:
        params = {
            **self._selection,
            "resourceVersion": self._version,
            "allowWatchBookmarks": "true",
        }
        async for line in self._client.watch(self._path, params, WATCH_SECONDS):
            event = msgspec.json.decode(line, type=_Event)
            if event.type == "ERROR":
                failure = msgspec.json.decode(event.object, type=_Failure)
                raise KubeError(failure.message, failure.code)
            item = msgspec.json.decode(event.object, type=_Object)
            self._version = item.metadata.resource_version
            if event.type == "BOOKMARK":
                continue
            if event.type == "DELETED":
                self._found.pop(item.metadata.name, None)
            else:
                self._found[item.metadata.name] = self._pod(item)
            self._publish()

    def _publish(self) -> None:
        self.pods = checked(tuple(pod for pod in self._found.values() if pod is not None))
        self.known = True

    def _pod(self, item: _Object) -> Pod | None:
        """Make one of ours of a pod that runs and has an address."""
        metadata, status = item.metadata, item.status
        if status.phase != "Running" or not status.address:
            return None
        ready = metadata.deletion_timestamp is None and any(
            condition.type == "Ready" and condition.status == "True"
            for condition in status.conditions or ()
        )
        port = _port(metadata.annotations or {}, self._port)
        try:
            url = f"http://{_host(status.address)}:{port}/metrics"
        except ValueError:
            _log.warning("a pod has no address that can be asked", pod=metadata.name)
            return None
        return Pod(
            metadata.namespace, metadata.name, url, metadata.labels or {}, ready, metadata.uid
        )


def _port(annotations: Mapping[str, str], usual: int) -> int:
    text = annotations.get(PORT_ANNOTATION, "")
    # Whoever may write an annotation may write a very long one.
    is_number = text.isdecimal() and len(text) <= _PORT_DIGITS
    return int(text) if is_number and 0 < int(text) <= _MOST_PORT else usual


def _host(address: str) -> str:
    found = ip_address(address)
    return f"[{found}]" if found.version == 6 else str(found)  # noqa: PLR2004  # IPv6
