"""The unit for a plain machine: what systemd says of it, and what a server tells a manager."""

from __future__ import annotations

import configparser
import os
import re
import shutil
import socket
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Final

import pytest

from fix_server import NewServer, Server, until
from rankwire import notify, settings

FOLDER: Final = Path(__file__).parents[2] / "deploy" / "systemd"
UNIT: Final = FOLDER / "rankwire.service"
# systemd calls up to 2.0 "OK"; what is left is that it listens on the network, and @resources.
_MOST_EXPOSURE: Final = 1.5
_STOP_SECONDS: Final = 12


def analyze(*arguments: str) -> subprocess.CompletedProcess[str]:
    if shutil.which("systemd-analyze") is None:
        if os.environ.get("CI"):
            pytest.fail("CI has no systemd-analyze")
        pytest.skip("NOT TESTED, the systemd unit as systemd reads it: no systemd-analyze here")
    return subprocess.run(
        ["systemd-analyze", *arguments], capture_output=True, text=True, check=False
    )


@pytest.fixture(scope="module")
def service() -> dict[str, str]:
    parser = configparser.ConfigParser(strict=False, interpolation=None)
    parser.optionxform = str  # type: ignore[assignment,method-assign]
    parser.read_string(UNIT.read_text(encoding="utf-8"))
    return dict(parser["Service"])


def test_systemd_understands_every_line(tmp_path: Path) -> None:
    # Only a program that is there can be started.
    own = tmp_path / UNIT.name
    text = UNIT.read_text(encoding="utf-8")
    program = re.search(r"^ExecStart=(\S+)", text, re.MULTILINE)
    assert program is not None
    own.write_text(text.replace(program[1], "/bin/true"), encoding="utf-8")
    done = analyze("verify", "--man=no", str(own))
    assert (done.returncode, done.stderr) == (0, "")
    own.write_text(own.read_text(encoding="utf-8").replace("Watchdog", "Watchdoog"), "utf-8")
    assert "Watchdoog" in analyze("verify", "--man=no", str(own)).stderr


def test_the_service_is_exposed_as_little_as_it_can_be() -> None:
    threshold = f"--threshold={round(_MOST_EXPOSURE * 10)}"
    done = analyze("security", "--offline=true", "--no-pager", threshold, str(UNIT))
    assert done.returncode == 0, done.stdout
    assert analyze("security", "--offline=true", "--threshold=5", str(UNIT)).returncode == 1


def test_its_limits_fit_the_defaults_of_the_server(service: dict[str, str]) -> None:
    default = settings.Settings()
    assert int(service["LimitNOFILE"]) >= default.live.max_connections + 1000
    assert int(service["TimeoutStopSec"]) >= default.live.drain_seconds + 2 * _STOP_SECONDS
    assert (service["Type"], service["KillMode"]) == ("notify", "mixed")


def test_its_user_and_folder_are_those_that_are_made(service: dict[str, str]) -> None:
    lines = (FOLDER / "rankwire.sysusers").read_text(encoding="utf-8").splitlines()
    (made,) = [line.split() for line in lines if not line.startswith("#")]
    assert (made[1], made[4]) == (service["User"], f"/var/lib/{service['StateDirectory']}")
    loaded = settings.load(FOLDER.parent / "container" / "rankwire.toml", {}, {})
    assert str(loaded.storage.path) == made[4]


class Manager:
    """What listens to a server, as systemd does."""

    def __init__(self, place: str) -> None:
        self.place = place
        self.heard: list[str] = []
        self._socket = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM | socket.SOCK_NONBLOCK)
        self._socket.bind(place.replace("@", "\0", 1))

    def hears(self, message: str) -> bool:
        """Tell whether it has heard this."""
        while True:
            try:
                self.heard.append(self._socket.recv(1024).decode())
            except BlockingIOError:
                return message in self.heard

    def close(self) -> None:
        """Hear no more."""
        self._socket.close()


@pytest.fixture
def manager(
    request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> Iterator[Manager]:
    is_abstract = getattr(request, "param", "") == "abstract"
    place = f"@rankwire-{os.getpid()}" if is_abstract else str(tmp_path / "notify")
    listens = Manager(place)
    monkeypatch.setenv("NOTIFY_SOCKET", place)
    yield listens
    listens.close()


@pytest.mark.parametrize("manager", ["file", "abstract"], indirect=True)
def test_a_server_tells_when_it_is_ready_alive_and_on_its_way_out(
    manager: Manager, new_server: NewServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("WATCHDOG_USEC", "100000")
    server = new_server().spawn()
    until(lambda: manager.hears(notify.READY), "a server that is ready")
    assert manager.heard[0] == notify.READY
    server.wait_ready()
    until(lambda: manager.hears("") or manager.heard.count("WATCHDOG=1") > 3, "signs of life")
    assert server.terminate() == 0
    assert manager.hears(notify.STOPPING)
    assert manager.heard.count(notify.READY) == manager.heard.count(notify.STOPPING) == 1


def test_a_server_that_hangs_says_no_more_that_it_is_alive(
    manager: Manager, new_server: NewServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("WATCHDOG_USEC", "100000")
    server = new_server().start()
    until(lambda: manager.hears("WATCHDOG=1"), "signs of life")
    subprocess.run(["kill", "-STOP", str(server.pid)], check=True)
    state = Path(f"/proc/{server.pid}/stat")
    until(lambda: state.read_text("utf-8").rpartition(")")[2].split()[0] == "T", "a stopped server")
    manager.hears("")
    heard = len(manager.heard)
    with pytest.raises(subprocess.TimeoutExpired):
        server.wait(0.5)
    manager.hears("")
    assert len(manager.heard) == heard
    subprocess.run(["kill", "-CONT", str(server.pid)], check=True)
    until(lambda: manager.hears("") or len(manager.heard) > heard, "signs of life again")


def test_a_manager_that_is_away_does_no_harm(
    new_server: NewServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("NOTIFY_SOCKET", str(tmp_path / "nobody"))
    server = new_server().start()
    assert server.get("/readyz").status == 200
    assert server.terminate() == 0
    assert "the service manager did not hear" in server.log


@pytest.mark.parametrize(
    ("environment", "seconds"),
    [
        ({}, None),
        ({"WATCHDOG_USEC": "60000000"}, 60.0),
        ({"WATCHDOG_USEC": "60000000", "WATCHDOG_PID": "7"}, 60.0),
        ({"WATCHDOG_USEC": "60000000", "WATCHDOG_PID": "8"}, None),
        ({"WATCHDOG_USEC": "0"}, None),
        ({"WATCHDOG_USEC": "soon"}, None),
    ],
)
def test_the_watchdog_is_for_the_process_that_is_meant(
    environment: dict[str, str], seconds: float | None
) -> None:
    assert notify.watchdog_seconds(environment, 7) == seconds


def test_a_server_works_without_memory_that_is_written_and_run(new_server: NewServer) -> None:
    """Show it under Linux's own form of MemoryDenyWriteExecute=, prctl(PR_SET_MDWE)."""
    denied = "import ctypes, os, sys; libc = ctypes.CDLL(None); r = libc.prctl(65, 1, 0, 0, 0)"
    probe = [sys.executable, "-c", f"{denied}; sys.exit(r != 0)"]
    if subprocess.run(probe, check=False).returncode:
        pytest.skip("NOT TESTED, MemoryDenyWriteExecute=: this kernel has no PR_SET_MDWE")
    server: Server = new_server(
        prefix=(sys.executable, "-c", f"{denied}; os.execv(sys.argv[1], sys.argv[1:])")
    ).start()
    server.create("arcade")
    assert server.submit("arcade", "ada", 1).status == 200
    assert server.terminate() == 0
