"""What the metrics server asks of a Kubernetes API: pods, reviews of access, and authorities.

`KubeApi` is no Kubernetes: it answers these three questions as the reference does, over TLS and to
one token, and can be taken away, made to forget, and cut off. Whether the real API is understood
is for tests/kubernetes to show.
"""

from __future__ import annotations

import json
import ssl
import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any, Final
from urllib.parse import parse_qs, urlsplit

from fix_tls import Authority
from rankwire.autoscale import labels

_CONFIG: Final = "/api/v1/namespaces/kube-system/configmaps/extension-apiserver-authentication"
_REVIEWS: Final = "/apis/authorization.k8s.io/v1/subjectaccessreviews"
_PAGE: Final = 2
_TICK_SECONDS: Final = 0.02


class KubeApi:
    """One API server, and the folder of a service account that may ask it."""

    def __init__(self, place: Path, port: int = 0) -> None:
        """Listen at a free port; `serving` begins."""
        self.directory = place
        self._authority = Authority(place / "kube", "kubernetes")
        (place / "ca.crt").write_text(self._authority.pem)
        (place / "namespace").write_text("game")
        self.use_token("first")
        self.config: dict[str, str] = {}
        """The ConfigMap of authorities."""
        self.allowed: set[tuple[str, str]] = set()
        """Pairs of a user and "verb group/resource/subresource", or "get path"."""
        self.reviews: list[dict[str, Any]] = []
        """Every review that was asked for."""
        self.lists = 0
        self.watches = 0
        self.watched_from = 0
        """The version that the last watch began at."""
        self.is_away = False
        """Answers everything with 503."""
        self.lock = threading.Lock()
        self._pods: dict[str, dict[str, Any]] = {}
        self._events: list[tuple[int, str, dict[str, Any]]] = []
        self._version = 1
        self._oldest = 0
        self._generation = 0
        self._server = _Server(("127.0.0.1", port), self)
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        signed = self._authority.server()
        context.load_cert_chain(signed.certificate, signed.key)
        self._server.socket = context.wrap_socket(self._server.socket, server_side=True)

    @property
    def url(self) -> str:
        """Its address."""
        return f"https://127.0.0.1:{self._server.server_port}"

    @property
    def version(self) -> int:
        """How far it is."""
        with self.lock:
            return self._version

    def use_token(self, token: str) -> None:
        """Renew the service account's token; the one before is no longer known."""
        self.token = token
        (self.directory / "token").write_text(token)

    def put(
        self,
        name: str,
        url: str,
        labels: Mapping[str, str],
        *,
        ready: bool = True,
        phase: str = "Running",
    ) -> None:
        """Add or change a pod that gives its metrics at an address of this machine."""
        address = urlsplit(url)
        with self.lock:
            self._version += 1
            pod = {
                "metadata": {
                    "name": name,
                    "namespace": "game",
                    "uid": f"uid-{name}",
                    "resourceVersion": str(self._version),
                    "labels": labels,
                    "annotations": {"rankwire.io/metrics-port": str(address.port)},
                },
                "status": {
                    "phase": phase,
                    "podIP": address.hostname,
                    "conditions": [{"type": "Ready", "status": str(ready)}],
                },
            }
            kind = "MODIFIED" if name in self._pods else "ADDED"
            self._pods[name] = pod
            self._events.append((self._version, kind, pod))

    def delete(self, name: str, *, told: bool = True) -> None:
        """Remove a pod; unless it is `told`, no watch hears of it."""
        with self.lock:
            self._version += 1
            pod = self._pods.pop(name)
            pod["metadata"]["resourceVersion"] = str(self._version)
            if told:
                self._events.append((self._version, "DELETED", pod))

    def forget(self) -> None:
        """Know no version before now any more: watches from before are answered with 410."""
        with self.lock:
            self._oldest = self._version
            self._events.clear()
        self.cut()

    def cut(self) -> None:
        """End all watches."""
        self._generation += 1

    @contextmanager
    def serving(self) -> Iterator[None]:
        """Answer meanwhile."""
        thread = threading.Thread(target=self._server.serve_forever, args=(_TICK_SECONDS,))
        thread.start()
        try:
            yield
        finally:
            self.cut()
            self._server.shutdown()
            thread.join()
            self._server.server_close()

    # What it answers.

    def page(self, query: Mapping[str, str]) -> dict[str, Any]:
        """List pods, a few at a time."""
        selector = labels.parse(query.get("labelSelector", ""))
        with self.lock:
            self.lists += 1
            pods = [p for _, p in sorted(self._pods.items()) if _fits(selector, p)]
            begin = int(query.get("continue", "0"))
            end = begin + _PAGE
            metadata = {"resourceVersion": str(self._version)}
            if end < len(pods):
                metadata["continue"] = str(end)
            return {"kind": "PodList", "metadata": metadata, "items": pods[begin:end]}

    def events(self, query: Mapping[str, str]) -> Iterator[dict[str, Any]]:
        """Tell what happened after a version, until cut."""
        selector = labels.parse(query.get("labelSelector", ""))
        seen, generation = int(query["resourceVersion"]), self._generation
        self.watches += 1
        self.watched_from = seen
        if seen < self._oldest:
            status = {"kind": "Status", "code": 410, "message": "too old resource version"}
            yield {"type": "ERROR", "object": status}
            return
        while self._generation == generation:
            with self.lock:
                fresh = [event for event in self._events if event[0] > seen]
                bookmark = {"metadata": {"resourceVersion": str(self._version)}}
                seen = self._version
            for _, kind, pod in fresh:
                if _fits(selector, pod):
                    yield {"type": kind, "object": pod}
            if fresh:
                yield {"type": "BOOKMARK", "object": bookmark}
            threading.Event().wait(_TICK_SECONDS)

    def review(self, asked: dict[str, Any]) -> dict[str, Any]:
        """Say whether a user may do something."""
        spec = asked["spec"]
        self.reviews.append(spec)
        if (resource := spec.get("resourceAttributes")) is not None:
            parts = (resource.get(key, "") for key in ("group", "resource", "subresource"))
            what = f"{resource['verb']} {'/'.join(filter(None, parts))}"
        else:
            what = f"get {spec['nonResourceAttributes']['path']}"
        return asked | {"status": {"allowed": (spec["user"], what) in self.allowed}}


class _Server(ThreadingHTTPServer):
    daemon_threads = True

    def __init__(self, address: tuple[str, int], api: KubeApi) -> None:
        super().__init__(address, _Handler)
        self.api = api

    def handle_error(self, *_: object) -> None:
        """Clients go when they are stopped; that is no error."""


class _Handler(BaseHTTPRequestHandler):
    server: _Server

    def do_GET(self) -> None:
        api, address = self.server.api, urlsplit(self.path)
        query = {key: values[0] for key, values in parse_qs(address.query).items()}
        if not self._may():
            return
        if address.path == _CONFIG:
            self._send(200, {"kind": "ConfigMap", "data": api.config})
        elif address.path != "/api/v1/namespaces/game/pods":
            self._send(404, {"kind": "Status", "code": 404})
        elif "watch" in query:
            self.send_response(200)
            self.end_headers()
            for event in api.events(query):
                self.wfile.write(json.dumps(event).encode() + b"\n")
        else:
            self._send(200, api.page(query))

    def do_POST(self) -> None:
        body = json.loads(self.rfile.read(int(self.headers["content-length"])))
        if self._may():
            assert self.path == _REVIEWS
            self._send(201, self.server.api.review(body))

    def _may(self) -> bool:
        api = self.server.api
        if api.is_away:
            self._send(503, {"kind": "Status", "code": 503})
        elif self.headers["authorization"] != f"Bearer {api.token}":
            self._send(401, {"kind": "Status", "code": 401})
        else:
            return True
        return False

    def _send(self, status: int, answer: object) -> None:
        body = json.dumps(answer).encode()
        self.send_response(status)
        self.send_header("content-length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_: object) -> None:
        """Say nothing."""


def _fits(selector: labels.Selector, pod: Mapping[str, Any]) -> bool:
    return selector.matches(pod["metadata"]["labels"])
