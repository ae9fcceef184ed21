"""Locust's users play against a real server, and a run that went wrong does not end well."""

from __future__ import annotations

import importlib.util
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import msgspec
import pytest

import harness
from fix_server import Server

_LOADTESTS = Path(__file__).parents[2] / "loadtests"
# A bound that nothing reaches: how fast this machine is decides no test.
_NO_BOUND = ("--p99-ms", "60000")
_NAMES = {
    *("GET around", "GET member", "GET member with profile", "GET page with profiles"),
    *("GET top", "GET top again: 304", "POST submit"),
    *("POST batch msgpack", "POST batch x-ndjson", "POST batch again"),
    *("WS connect", "WS subscribe", "WS delivery top"),
}

needs_locust = pytest.mark.skipif(
    importlib.util.find_spec("locust") is None or importlib.util.find_spec("websocket") is None,
    reason="NOT TESTED: Locust is missing; run: python -m pip install --group load",
)


def _run(*command: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        (sys.executable, *command),
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        check=False,
        timeout=100,
        env=harness.clean_environment(),
    )


def _locust(*options: str) -> subprocess.CompletedProcess[str]:
    file = str(_LOADTESTS / "locustfile.py")
    return _run("-m", "locust", "-f", file, "--headless", "--only-summary", *options)


def _result(file: Path) -> Any:
    return msgspec.json.decode(file.read_bytes())


@needs_locust
def test_users_of_every_kind_play_without_a_failure(tmp_path: Path) -> None:
    size = ("--factor", "0.001", "--seconds", "6", *_NO_BOUND)
    ended = _run(str(_LOADTESTS / "run_locust.py"), *size, "--output", str(tmp_path))
    assert ended.returncode == 0, ended.stdout + ended.stderr
    result = _result(tmp_path / "locust.json")
    assert (result["ok"], result["problems"], result["failures"]) == (True, [], [])
    told = {f"{row['type']} {row['name']}" for row in result["requests"]}
    assert told >= _NAMES
    assert (tmp_path / "locust.html").stat().st_size > 0


@needs_locust
def test_boards_that_are_not_there_fail_the_run(server: Server, tmp_path: Path) -> None:
    summary = tmp_path / "result.json"
    ended = _locust(
        *("--host", server.url, "--live-url", server.live_url, "--summary", str(summary)),
        *("--factor", "0.0001", "--seconds", "3", *_NO_BOUND),
    )
    assert ended.returncode == 1, ended.stdout + ended.stderr
    result = _result(summary)
    assert not result["ok"]
    failed = {f"{one['type']} {one['name']}": one["error"] for one in result["failures"]}
    assert "unknown-board" in failed["POST submit"]
    assert "unknown-board" in failed["GET top"]
    assert "there is no board" in failed["WS subscribe"]
    assert "FAILED: WS subscribe: " in ended.stderr


@needs_locust
def test_a_bound_that_is_broken_fails_a_run_of_two_processes(server: Server) -> None:
    where = ("--host", server.url, "--live-url", server.live_url, "--prepare")
    ended = _locust(
        *where, "--factor", "0.0001", "--seconds", "2", "--p99-ms", "0.001", "--processes", "2"
    )
    assert ended.returncode == 1, ended.stdout + ended.stderr
    assert "ms, allowed 0.001 ms" in ended.stderr
    assert "failed" not in ended.stderr


@needs_locust
def test_another_machine_is_refused() -> None:
    ended = _locust("--host", "http://192.0.2.1:7700", "--factor", "0.0001")
    assert ended.returncode == 2, ended.stdout + ended.stderr
    assert "http://192.0.2.1:7700: name the host with --allow-host" in ended.stderr


@contextmanager
def _elsewhere(asked: list[str], where: int) -> Iterator[int]:
    """Give the port of a server that notes what it is asked, and sends everybody to another one."""

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            asked.append(self.path)
            self.send_response(302)
            scheme = "ws" if self.headers["upgrade"] else "http"
            self.send_header("location", f"{scheme}://127.0.0.1:{where}{self.path}")
            self.send_header("content-length", "0")
            self.end_headers()

        def do_POST(self) -> None:
            self.do_GET()

        def log_message(self, *_: object) -> None:
            pass

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        try:
            yield server.server_port
        finally:
            server.shutdown()
            thread.join()


@needs_locust
def test_nobody_is_led_to_another_host() -> None:
    here: list[str] = []
    there: list[str] = []
    with ExitStack() as stack:
        other = stack.enter_context(_elsewhere(there, 1))
        port = stack.enter_context(_elsewhere(here, other))
        where = ("--host", f"http://127.0.0.1:{port}", "--live-url", f"ws://127.0.0.1:{port}/live")
        ended = _locust(*where, "--factor", "0.0001", "--seconds", "2", *_NO_BOUND)
    assert ended.returncode == 1, ended.stdout + ended.stderr
    assert {path.partition("/boards")[0] for path in here} == {"/v1", "/live"}
    assert there == []
    assert "a user raised" not in ended.stderr
