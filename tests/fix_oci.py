"""Containers as an engine makes them, by crun: namespaces, read-only roots, no capabilities.

`new_engine` makes engines; each has networks (bridges) and ends what it started. A container's root
is a layer over a folder of this machine, so what is written there vanishes, and `Container.written`
tells it. Needs root, crun and ip; elsewhere such tests are left out, loudly. There are no cgroups,
so limits of memory and processors are not tried.
"""

from __future__ import annotations

import json
import os
import resource
import shutil
import signal
import subprocess
import tempfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager, suppress
from itertools import count
from pathlib import Path
from typing import Any, Final, NamedTuple

import pytest

from fix_server import PATIENCE_SECONDS, until

# crun refuses machines that have both kinds of cgroups, though here it makes none: it is shown one.
_ONE_KIND: Final = (
    'mount -t cgroup2 none /sys/fs/cgroup && exec crun --cgroup-manager=disabled "$@"'
)
_CRUN: Final = ("unshare", "--mount", "sh", "-c", _ONE_KIND, "crun")
_SHOWN_CHARACTERS: Final = 6_000
_NUMBERS: Final = count()
_NO_RIGHTS: Final[Mapping[str, list[str]]] = {
    name: [] for name in ("bounding", "effective", "inheritable", "permitted", "ambient")
}
_SYSTEM_MOUNTS: Final = (
    {"destination": "/proc", "type": "proc", "source": "proc"},
    {"destination": "/dev", "type": "tmpfs", "source": "tmpfs", "options": ["nosuid", "mode=755"]},
    {"destination": "/dev/shm", "type": "tmpfs", "source": "shm", "options": ["nosuid", "nodev"]},
    {"destination": "/run", "type": "tmpfs", "source": "tmpfs", "options": ["mode=755"]},
)


class Mount(NamedTuple):
    """A folder or file of this machine, or memory where `source` is empty, in a container."""

    target: str
    source: str = ""
    options: tuple[str, ...] = ()

    def spec(self) -> dict[str, Any]:
        """Write it for the runtime."""
        kind = ("bind", self.source, ["rbind"]) if self.source else ("tmpfs", "tmpfs", ["nosuid"])
        type_, source, options = kind
        where = {"destination": self.target, "type": type_, "source": source}
        return {**where, "options": [*options, *self.options]}


class Plan(NamedTuple):
    """What to run, and with what around it."""

    root: Path
    arguments: Sequence[str]
    user: tuple[int, int]
    environment: Mapping[str, str]
    directory: str = "/"
    mounts: Sequence[Mount] = ()
    files: Mapping[str, str] = {}
    """Files that the root has beside what is in its folder."""
    open_files: int = 65_536
    addresses: Mapping[str, str] = {}
    """Address on each network."""
    system_calls: Sequence[str] = ()
    groups: Sequence[int] = ()
    """Groups of its user beside the main one."""
    """The only ones that are allowed, if there are any here; others fail with EPERM."""


class Container:
    """A container that was started."""

    def __init__(self, name: str, plan: Plan, place: Path, space: str) -> None:
        """Lay out the bundle in `place` and start it in a network namespace."""
        self.name = name
        self.plan = plan
        self._place = place
        self._id = f"{space}-{place.name}"
        self._state = ("--root", str(place / "state"))
        for path, text in plan.files.items():
            file = place / "upper" / path.lstrip("/")
            file.parent.mkdir(parents=True, exist_ok=True)
            file.write_text(text, encoding="utf-8")
            file.chmod(0o755)
        layers = f"lowerdir={plan.root},upperdir={place}/upper,workdir={place}/work"
        _do("mount", "-t", "overlay", "overlay", "-o", layers, str(place / "root"))
        (place / "config.json").write_text(json.dumps(self._spec(space)), encoding="utf-8")
        with (place / "log").open("wb") as log:
            self._process = subprocess.Popen(
                [*_CRUN, *self._state, "run", "--bundle", str(place), self._id],
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                start_new_session=True,
            )

    def address(self, network: str) -> str:
        """Where it is on a network."""
        return self.plan.addresses[network]

    @property
    def log(self) -> str:
        """Everything it has printed."""
        return (self._place / "log").read_text(encoding="utf-8", errors="replace")

    @property
    def running(self) -> bool:
        """Whether it is there."""
        return self._process.poll() is None

    @property
    def written(self) -> set[str]:
        """Files in its root that are not in the folder it was made of."""
        upper = self._place / "upper"
        return {f"/{path.relative_to(upper)}" for path in upper.rglob("*") if path.is_file()}

    def execute(self, *arguments: str) -> subprocess.CompletedProcess[str]:
        """Run a command in it, as its user and with its environment."""
        process = self._place / "process.json"
        process.write_text(json.dumps(self._command(arguments)), encoding="utf-8")
        return subprocess.run(
            [*_CRUN, *self._state, "exec", "--process", str(process), self._id],
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=PATIENCE_SECONDS,
            check=False,
        )

    def stop(self, number: int, seconds: float = PATIENCE_SECONDS) -> int:
        """Send its first process a signal and give its exit code."""
        _do(*_CRUN, *self._state, "kill", self._id, signal.Signals(number).name)
        return self.wait(seconds)

    def wait(self, seconds: float = PATIENCE_SECONDS) -> int:
        """Wait for its end and give its exit code."""
        return self._process.wait(seconds)

    def end(self) -> None:
        """Leave nothing behind, whatever happened."""
        if self.running:
            with suppress(subprocess.CalledProcessError):
                _do(*_CRUN, *self._state, "kill", self._id, "SIGKILL")
            with suppress(subprocess.TimeoutExpired):
                self.wait()
        subprocess.run(["umount", "--lazy", str(self._place / "root")], check=False)
        print(f"--- {self.name}\n{self.log[-_SHOWN_CHARACTERS:]}")  # noqa: T201  # if it failed

    def _spec(self, space: str) -> dict[str, Any]:
        namespaces: list[dict[str, str]] = [{"type": x} for x in ("pid", "ipc", "uts", "mount")]
        namespaces.append({"type": "network", "path": f"/run/netns/{space}"})
        return {
            "ociVersion": "1.0.2",
            "hostname": self.name,
            "process": self._command(self.plan.arguments),
            "root": {"path": str(self._place / "root"), "readonly": True},
            "mounts": [*_SYSTEM_MOUNTS, *(mount.spec() for mount in self.plan.mounts)],
            "linux": {"namespaces": namespaces, **self._seccomp()},
        }

    def _seccomp(self) -> dict[str, Any]:
        if not self.plan.system_calls:
            return {}
        allowed = {"names": list(self.plan.system_calls), "action": "SCMP_ACT_ALLOW"}
        return {"seccomp": {"defaultAction": "SCMP_ACT_ERRNO", "syscalls": [allowed]}}

    def _command(self, arguments: Sequence[str]) -> dict[str, Any]:
        plan = self.plan
        # This machine may allow less than what is asked for.
        files = min(plan.open_files, resource.getrlimit(resource.RLIMIT_NOFILE)[1])
        limit = {"type": "RLIMIT_NOFILE", "hard": files, "soft": files}
        return {
            "terminal": False,
            "user": {
                "uid": plan.user[0],
                "gid": plan.user[1],
                "additionalGids": list(plan.groups),
            },
            "args": list(arguments),
            "env": [f"{name}={value}" for name, value in plan.environment.items()],
            "cwd": plan.directory,
            "capabilities": _NO_RIGHTS,
            "rlimits": [limit],
            "noNewPrivileges": True,
        }


class Engine:
    """Makes networks and containers on them, and knows by which name each is found."""

    def __init__(self, networks: Sequence[str], cleanup: ExitStack) -> None:
        """Make the networks, which only this machine reaches."""
        self._cleanup = cleanup
        self._place = cleanup.enter_context(_memory())
        self._count = 0
        self._hosts: dict[str, dict[str, str]] = {}
        self._bridges: dict[str, tuple[str, str]] = {}
        for network in networks:
            number = (os.getpid() + next(_NUMBERS)) % 250
            bridge, net = f"rwc{number}", f"10.78.{number}"
            _do("ip", "link", "add", bridge, "type", "bridge")
            cleanup.callback(_do, "ip", "link", "del", bridge)
            _do("ip", "addr", "add", f"{net}.1/24", "dev", bridge)
            _do("ip", "link", "set", bridge, "up")
            self._bridges[network] = bridge, net

    def run(self, name: str, plan: Plan, networks: Sequence[str]) -> Container:
        """Start a container that those on the same networks find by its name."""
        self._count += 1
        place = self._place / str(self._count)
        for folder in ("upper", "work", "root"):
            (place / folder).mkdir(parents=True)
        space = f"{self._place.name}-{self._count}"
        _do("ip", "netns", "add", space)
        self._cleanup.callback(_do, "ip", "netns", "del", space)
        addresses = {network: self._connect(space, network) for network in networks}
        self._hosts[name] = addresses
        hosts = place / "hosts"
        hosts.write_text(self._known(networks), encoding="utf-8")
        mounts = [Mount("/etc/hosts", str(hosts), ("ro",)), *plan.mounts]
        plan = plan._replace(mounts=mounts, addresses=addresses)
        container = Container(name, plan, place, space)
        self._cleanup.callback(container.end)
        return container

    def _connect(self, space: str, network: str) -> str:
        bridge, net = self._bridges[network]
        device, inside = f"{bridge}v{self._count}", f"eth{list(self._bridges).index(network)}"
        address = f"{net}.{self._count + 1}"
        _do("ip", "link", "add", device, "type", "veth", "peer", "name", inside, "netns", space)
        _do("ip", "link", "set", device, "master", bridge, "up")
        within = ("ip", "netns", "exec", space, "ip")
        _do(*within, "addr", "add", f"{address}/24", "dev", inside)
        for each in ("lo", inside):
            _do(*within, "link", "set", each, "up")
        return address

    def _known(self, networks: Sequence[str]) -> str:
        """Write the names that a container on these networks knows when it starts."""
        lines = ["127.0.0.1 localhost"]
        for name, addresses in self._hosts.items():
            shared = [addresses[network] for network in networks if network in addresses]
            lines += [f"{address} {name}" for address in shared[:1]]
        return "\n".join(lines) + "\n"


NewEngine = Callable[[Sequence[str]], Engine]


@pytest.fixture(scope="module")
def new_engine() -> Iterator[NewEngine]:
    """Make engines with networks of these names."""
    missing = [tool for tool in ("crun", "ip", "mount") if not shutil.which(tool)]
    if os.geteuid() or missing:
        pytest.skip(f"NOT TESTED, containers: needs root and {', '.join(missing) or 'its rights'}")
    with ExitStack() as cleanup:
        yield lambda networks: Engine(networks, cleanup)


def healthy(container: Container, *command: str) -> None:
    """Wait until a command in a container that is to go on running succeeds."""

    said = ""

    def asks() -> bool:
        nonlocal said
        assert container.running, container.log[-_SHOWN_CHARACTERS:]
        done = container.execute(*command)
        said = done.stdout + done.stderr
        return done.returncode == 0

    try:
        until(asks, f"{container.name} that is healthy")
    finally:
        print(f"--- {container.name} and its health check: {said}")  # noqa: T201  # if it failed


@contextmanager
def _memory() -> Iterator[Path]:
    """Make a folder in memory: a layer's changes may not lie below what the layer is over."""
    place = Path(tempfile.mkdtemp(prefix="rankwire-oci-"))
    _do("mount", "-t", "tmpfs", "tmpfs", str(place))
    try:
        yield place
    finally:
        _do("umount", "--lazy", str(place))
        place.rmdir()


def _do(*command: str) -> None:
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode:
        raise subprocess.CalledProcessError(done.returncode, command, done.stdout, done.stderr)
