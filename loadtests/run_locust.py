"""Runs Locust against a server of its own, and ends with Locust's exit code.

The server keeps its boards in SQLite and asks for credentials, as in production: game servers have
an API key, players have tokens, and whoever has neither may read. Boards, first scores and profiles
are made before the users come.

Files go to `--output`: the result as `locust.json`, Locust's report as `locust.html`, and what both
programs said as `locust.log` and `rankwire.log`. Nothing else is left behind.
"""

from __future__ import annotations

import argparse
import importlib.util
import subprocess
import sys
from pathlib import Path
from typing import Any, Final

import msgspec

import harness
from harness import HOST, BenchError

_LOCUSTFILE: Final = Path(__file__).with_name("locustfile.py")


def main() -> None:
    options = read_options()
    harness.require(("setpriv",), ())
    if any(importlib.util.find_spec(name) is None for name in ("locust", "websocket")):
        raise BenchError("run: python -m pip install --group load")
    options.output.mkdir(parents=True, exist_ok=True)
    with harness.working_directory() as directory:
        code = run(directory, options)
    sys.exit(code)


def read_options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--scenario", default="medium", help="medium or large (default: medium)")
    parser.add_argument("--factor", type=float, default=0.01, help="size (default: 0.01)")
    parser.add_argument("--seconds", type=float, default=120.0, help="default: 120")
    parser.add_argument("--p99-ms", type=float, default=200.0, help="bound (default: 200)")
    output = harness.ROOT / "build" / "locust"
    parser.add_argument("--output", type=Path, default=output, help="default: build/locust")
    return parser.parse_args()


def run(directory: Path, options: argparse.Namespace) -> int:
    """Start a server, run Locust, show the result, and return the exit code."""
    output = options.output.resolve()
    port, live_port = harness.free_ports(2)
    serve = harness.serve_command(
        *(port, live_port, directory / "data", "--auth-mode", "keys", "--auth-anonymous", "read"),
        *("--auth-tokens", str(directory / "players.jwks")),
    )
    make_credentials(directory)
    with harness.running(serve, output / "rankwire.log") as server:
        server.wait(lambda: harness.is_ready(port))
        code = run_locust(directory, options, port, live_port)
    if (summary := output / "locust.json").exists():
        show(msgspec.json.decode(summary.read_bytes()))
    print(f"exit code {code}; the files are in {output}")
    return code


def make_credentials(directory: Path) -> None:
    """Write `game.key`, `login.jwk` and `players.jwks`."""
    scopes = [word for scope in ("read", "submit", "admin") for word in ("--scope", scope)]
    storage = ("--storage-path", str(directory / "data"))
    key = _rankwire("keys", "create", "--name", "game", *scopes, *storage)
    (directory / "game.key").write_text(key)
    files = ("--private", str(directory / "login.jwk"), "--jwks", str(directory / "players.jwks"))
    _rankwire("tokens", "keygen", "--alg", "HS256", *files)


def run_locust(directory: Path, options: argparse.Namespace, port: int, live_port: int) -> int:
    """Run Locust to its end, and return its exit code."""
    output = options.output.resolve()
    (output / "locust.json").unlink(missing_ok=True)
    command = (
        *(sys.executable, "-m", "locust", "-f", str(_LOCUSTFILE), "--headless", "--only-summary"),
        *("--host", f"http://{HOST}:{port}", "--scenario", options.scenario, "--prepare"),
        *("--live-url", f"ws://{HOST}:{live_port}/connection/websocket"),
        *("--api-key", str(directory / "game.key"), "--player-key", str(directory / "login.jwk")),
        *("--factor", str(options.factor), "--seconds", str(options.seconds)),
        *("--p99-ms", str(options.p99_ms), "--summary", str(output / "locust.json")),
        *("--html", str(output / "locust.html")),
    )
    with (output / "locust.log").open("wb") as log:
        ended = subprocess.run(
            ("setpriv", "--pdeathsig", "KILL", *command),
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=subprocess.STDOUT,
            env=harness.clean_environment(),
            check=False,
        )
    if not (output / "locust.json").exists():
        print((output / "locust.log").read_text(errors="replace"), file=sys.stderr)
    return ended.returncode


def show(result: Any) -> None:
    """Print the table, and what was wrong."""
    head = ("request", "count", "failed", "a second", "p50 ms", "p95 ms", "p99 ms", "max ms")
    rows = (
        (
            f"{row['type']} {row['name']}",
            *(row[column] for column in ("count", "failures", "per_second")),
            *(row[column] for column in ("p50_ms", "p95_ms", "p99_ms", "max_ms")),
        )
        for row in result["requests"]
    )
    print(harness.table(head, rows))
    for failure in result["failures"]:
        print("{count} of {type} {name}: {error}".format_map(failure))
    for problem in [*result["problems"], *result["warnings"]]:
        print(problem)


def _rankwire(*words: str) -> str:
    """Run a command of ours, and return what it printed."""
    command = (*harness.RANKWIRE, *words)
    environment = harness.clean_environment()
    ended = subprocess.run(command, capture_output=True, text=True, check=False, env=environment)
    if ended.returncode:
        raise BenchError(f"rankwire {words[0]} failed: {ended.stderr}")
    return ended.stdout


if __name__ == "__main__":
    harness.main(main)
