"""The part of a node: runs the containers of pods as processes of this machine.

For each pod of the cluster: binds it to the one node, gives it an address, makes its volumes
(emptyDir, Secret, ConfigMap, projected service account), runs the container's arguments as
``rankwire …`` with the very environment, user, read-only file system and volume mounts of its
specification, asks its readiness probe, reports its status, and ends it with SIGTERM and the
grace period. It knows only what the chart uses; anything else is an error. What it does not do:
images, limits of memory and processor, startup and liveness probes, network policies.
"""

from __future__ import annotations

import base64
import datetime as dt
import http.client
import os
import shlex
import signal
import ssl
import subprocess
import sys
import threading
import time
from pathlib import Path
from typing import Any, Final

from fix_kubernetes import API_PORT, POD_NETWORK, Cluster

_NODE: Final = "this-machine"
_LOOK_SECONDS: Final = 0.5
_PROBE_SECONDS: Final = 3.0
_CODE: Final = "/mnt"
"""Where a container finds the program's Python code: /tmp is its own there."""
_LAYERED: Final = ("/etc", "/run", "/var/lib", str(Path.home()))
"""Folders in which mount points may have to be made, and the one that Python may be installed in,
which other users may not enter. What is below them stays visible."""


class Pod:
    """One pod that runs here: its process, its address, and what was last reported."""

    def __init__(self, place: Path, address: str) -> None:
        """Nothing runs yet."""
        self.place = place
        self.address = address
        self.process: subprocess.Popen[bytes] | None = None
        self.started = _now()
        self.reported: dict[str, Any] = {}
        self.changed: dict[str, str] = {}
        self.must_end_at: float | None = None

    @property
    def log(self) -> str:
        """What it printed."""
        return (self.place / "log").read_text(errors="replace")


class Kubelet:
    """A thread that looks at all pods twice a second."""

    def __init__(self, cluster: Cluster) -> None:
        """Make the node's object; `start` begins."""
        self._cluster = cluster
        self.pods: dict[str, Pod] = {}
        """By uid; those that ended too."""
        self.error: BaseException | None = None
        self._count = 0
        self._stopping = threading.Event()
        self._thread = threading.Thread(target=self._run, name="kubelet")
        cluster.call("POST", "/api/v1/nodes", {"metadata": {"name": _NODE}})

    def start(self) -> None:
        """Begin."""
        self._thread.start()

    def end(self) -> None:
        """Stop looking and kill what runs."""
        self._stopping.set()
        self._thread.join()
        for pod in self.pods.values():
            if pod.process is not None:
                pod.process.kill()
                pod.process.wait()

    def _run(self) -> None:
        try:
            while not self._stopping.wait(_LOOK_SECONDS):
                for given in self._cluster.call("GET", "/api/v1/pods")["items"]:
                    try:
                        self._look(given)
                    except LookupError:  # deleted meanwhile, or what it needs is not there yet
                        continue
        except BaseException as error:
            self.error = error
            raise

    def _look(self, given: dict[str, Any]) -> None:
        uid = given["metadata"]["uid"]
        if "nodeName" not in given["spec"]:
            self._bind(given)
            return
        if given["status"]["phase"] in ("Succeeded", "Failed"):
            return
        if uid not in self.pods:
            self._count += 1
            address = f"{POD_NETWORK}.1.{self._count}"
            place = self._cluster.place / f"{given['metadata']['name']}-{self._count}"
            place.mkdir()
            self.pods[uid] = Pod(place, address)
        pod = self.pods[uid]
        if given["metadata"].get("deletionTimestamp") and self._ended(given, pod):
            return
        if pod.process is None:
            self._start(given, pod)
        self._report(given, pod)

    def _bind(self, given: dict[str, Any]) -> None:
        name = given["metadata"]["name"]
        body = {"metadata": {"name": name}, "target": {"kind": "Node", "name": _NODE}}
        self._cluster.call("POST", f"{_path(given)}/binding", body)

    def _ended(self, given: dict[str, Any], pod: Pod) -> bool:
        """Ask it to end, once; kill it after its grace; forget it when it is gone."""
        process = pod.process
        if process is not None and process.poll() is None:
            if pod.must_end_at is None:
                grace = given["metadata"]["deletionGracePeriodSeconds"]
                pod.must_end_at = time.monotonic() + grace
                process.send_signal(signal.SIGTERM)
            elif time.monotonic() > pod.must_end_at:
                process.kill()
            return False
        self._cluster.call("DELETE", f"{_path(given)}?gracePeriodSeconds=0")
        return True

    # What a container is given.

    def _start(self, given: dict[str, Any], pod: Pod) -> None:
        (container,) = given["spec"]["containers"]
        folders = {v["name"]: self._volume(given, v, pod) for v in given["spec"]["volumes"]}
        environment = self._environment(given, container, pod)
        user = given["spec"]["securityContext"]["runAsUser"]
        script = _mounts(pod.place, container, folders, user)
        arguments = [value.replace("0.0.0.0", pod.address) for value in container["args"]]
        command = [sys.executable, "-m", "rankwire", *arguments]
        script.append(
            f"exec setpriv --reuid {user} --regid {user} --clear-groups --no-new-privs "
            f"--bounding-set=-all {shlex.join(command)}"
        )
        with (pod.place / "log").open("ab") as log:
            pod.process = subprocess.Popen(
                ["unshare", "--mount", "--propagation", "private", "sh", "-euc", "\n".join(script)],
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                env=environment,
                cwd="/",
            )

    def _environment(
        self, given: dict[str, Any], container: dict[str, Any], pod: Pod
    ) -> dict[str, str]:
        namespace = given["metadata"]["namespace"]
        made = {
            "PATH": os.environ["PATH"],
            "PYTHONPATH": _CODE,
            "KUBERNETES_SERVICE_HOST": "127.0.0.1",
            "KUBERNETES_SERVICE_PORT": str(API_PORT),
        }
        for source in container.get("envFrom", []):
            name = source["configMapRef"]["name"]
            path = f"/api/v1/namespaces/{namespace}/configmaps/{name}"
            made |= self._cluster.call("GET", path)["data"]
        for entry in container.get("env", []):
            if "value" in entry:
                made[entry["name"]] = entry["value"]
            elif "fieldRef" in entry["valueFrom"]:
                assert entry["valueFrom"]["fieldRef"]["fieldPath"] == "metadata.name"
                made[entry["name"]] = given["metadata"]["name"]
            else:
                wanted = entry["valueFrom"]["secretKeyRef"]
                made[entry["name"]] = self._secret(namespace, wanted["name"])[wanted["key"]]
        # All pods share this machine's addresses: each one listens at its own only.
        return {k: pod.address if v == "0.0.0.0" else v for k, v in made.items()}

    def _secret(self, namespace: str, name: str) -> dict[str, str]:
        data = self._cluster.call("GET", f"/api/v1/namespaces/{namespace}/secrets/{name}")["data"]
        return {key: base64.b64decode(value).decode() for key, value in data.items()}

    def _volume(self, given: dict[str, Any], volume: dict[str, Any], pod: Pod) -> Path:
        folder: Path = pod.place / "volumes" / volume["name"]
        folder.mkdir(parents=True, exist_ok=True)
        namespace = given["metadata"]["namespace"]
        files: dict[str, str] = {}
        if "secret" in volume:
            try:
                files = self._secret(namespace, volume["secret"]["secretName"])
            except LookupError:
                if not volume["secret"].get("optional"):
                    raise
        elif "projected" in volume:
            for source in volume["projected"]["sources"]:
                files |= self._projected(given, source)
        else:
            assert "emptyDir" in volume, volume
        for name, text in files.items():
            (folder / name).write_text(text)
        return folder

    def _projected(self, given: dict[str, Any], source: dict[str, Any]) -> dict[str, str]:
        namespace = given["metadata"]["namespace"]
        if "serviceAccountToken" in source:
            account = given["spec"]["serviceAccountName"]
            path = f"/api/v1/namespaces/{namespace}/serviceaccounts/{account}/token"
            body = {
                "spec": {"expirationSeconds": source["serviceAccountToken"]["expirationSeconds"]}
            }
            return {"token": str(self._cluster.call("POST", path, body)["status"]["token"])}
        if "configMap" in source:
            name = source["configMap"]["name"]
            path = f"/api/v1/namespaces/{namespace}/configmaps/{name}"
            return dict(self._cluster.call("GET", path)["data"])
        return {item["path"]: namespace for item in source["downwardAPI"]["items"]}

    # What is told about it.

    def _report(self, given: dict[str, Any], pod: Pod) -> None:
        assert pod.process is not None
        code = pod.process.poll()
        (container,) = given["spec"]["containers"]
        state: dict[str, Any] = {"running": {"startedAt": pod.started}}
        phase = "Running"
        if code is not None:
            phase, state = ("Failed" if code else "Succeeded"), {"terminated": {"exitCode": code}}
        ready = code is None and _probe(container, pod.address)
        told = {"Initialized": True, "PodScheduled": True, "ContainersReady": ready, "Ready": ready}
        for kind, value in told.items():
            if pod.reported.get(kind) != value:
                pod.reported[kind], pod.changed[kind] = value, _now()
        status = {
            "phase": phase,
            "podIP": pod.address,
            "podIPs": [{"ip": pod.address}],
            "startTime": pod.started,
            "conditions": [
                {"type": k, "status": str(v), "lastTransitionTime": pod.changed[k]}
                for k, v in told.items()
            ],
            "containerStatuses": [
                {
                    "name": container["name"],
                    "image": container["image"],
                    "imageID": "",
                    "ready": ready,
                    "restartCount": 0,
                    "state": state,
                }
            ],
        }
        if pod.reported.get("status") != status:
            self._cluster.call("PATCH", f"{_path(given)}/status", {"status": status}, "merge")
            pod.reported["status"] = status


def _mounts(
    place: Path, container: dict[str, Any], folders: dict[str, Path], user: int
) -> list[str]:
    """Write the shell lines that give a container its file system."""
    code = Path(__file__).resolve().parents[1] / "python"
    lines = [f"mount --bind {code} {_CODE}"]
    for index, layered in enumerate(_LAYERED):
        upper, work = place / f"upper-{index}", place / f"work-{index}"
        upper.mkdir()
        work.mkdir()
        layers = f"lowerdir={layered},upperdir={upper},workdir={work}"
        lines.append(f"mount -t overlay overlay -o {layers} {layered}")
    # /tmp last: what is bound lies below it.
    for mount in sorted(container["volumeMounts"], key=lambda m: m["mountPath"] == "/tmp"):
        folder = folders[mount["name"]]
        where = mount["mountPath"]
        lines += [f"mkdir -p {where}", f"chown -R {user}:{user} {folder}"]
        lines.append(f"mount --bind {folder} {where}")
        if mount.get("readOnly"):
            lines.append(f"mount -o remount,bind,ro {where}")
    assert container["securityContext"]["readOnlyRootFilesystem"]
    lines += [f"mount -o remount,ro {layered}" for layered in _LAYERED]
    lines.append("mount -o remount,bind,ro /")
    return lines


def _probe(container: dict[str, Any], address: str) -> bool:
    """Ask the readiness probe once; without one a running container is ready."""
    if "readinessProbe" not in container:
        return True
    probe = container["readinessProbe"]["httpGet"]
    (port,) = (p["containerPort"] for p in container["ports"] if p["name"] == probe["port"])
    connection: http.client.HTTPConnection
    if probe.get("scheme") == "HTTPS":
        context = ssl._create_unverified_context()  # noqa: SLF001 - as a kubelet asks
        connection = http.client.HTTPSConnection(
            address, port, timeout=_PROBE_SECONDS, context=context
        )
    else:
        connection = http.client.HTTPConnection(address, port, timeout=_PROBE_SECONDS)
    try:
        connection.request("GET", probe["path"])
        return connection.getresponse().status < http.HTTPStatus.BAD_REQUEST
    except OSError:
        return False
    finally:
        connection.close()


def _path(given: dict[str, Any]) -> str:
    metadata = given["metadata"]
    return f"/api/v1/namespaces/{metadata['namespace']}/pods/{metadata['name']}"


def _now() -> str:
    return dt.datetime.now(dt.UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
