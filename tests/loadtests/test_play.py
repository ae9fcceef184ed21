"""Load tests play every scenario on a real cluster, and a run in which anything was wrong fails."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Final

import msgspec
import pytest

import play
import publish
import scenario
import verdict
from cluster import Cluster
from harness import BenchError
from outcome import Outcome
from scenario import Bounds, Scenario

# Timing decides no test, however busy the machine is.
_UNTIMED: Final = Bounds(api_p99_ms=60_000, load_error=0.9, stale_seconds=60)
_SIZES: Final = {"medium": 0.002, "medium-short": 0.002}
_SIZE: Final = 0.015
# Enough for watchers to see some of them, with so few users.
_GAMES_PER_MINUTE: Final = 1200
_ROOT: Final = Path(__file__).parents[2]
_TOML: Final = """
about = "a test"
game = { users = 200, games_per_minute = 1_200, reads_per_game = 10 }
sockets = { count = 150, opened_per_second = 1_000 }
phases = [{ name = "all", seconds = 2 }]
bounds = { api_p99_ms = 60_000, load_error = 0.9, stale_seconds = 60 }
"""
_MAIN: Final = """
import sys, pathlib, harness, play, swarm
program = pathlib.Path(sys.argv.pop(1))
swarm.build = lambda: program
harness.main(play.main)
"""


def _small(name: str, bounds: Bounds = _UNTIMED) -> Scenario:
    """Make a scenario small, and let each of its phases last a second."""
    small = scenario.named(name).scaled(_SIZES.get(name, _SIZE), 1)
    game = msgspec.structs.replace(small.game, games_per_minute=_GAMES_PER_MINUTE)
    return msgspec.structs.replace(small, game=game, bounds=bounds)


def _failed(outcome: Outcome) -> list[str]:
    """Say what failed, and first of all what the generator says of it."""
    failed = [f"{one.what}: {one.measured}" for one in outcome.checks if not one.ok]
    return [f"{outcome.generator['errors']}", *failed] if outcome.generator["errors"] else failed


def _lacks(outcome: Outcome, chosen: Scenario) -> list[str]:
    checks = verdict.judge(chosen, outcome.generator, outcome.found)
    return [one.what for one in checks if not one.ok]


# The others are played below, or differ from these in numbers only.
@pytest.mark.parametrize(
    "name", ["burst", "medium", "reconnect-storm", "season-end", "slow-readers"]
)
def test_scenarios_are_played_on_a_real_cluster(
    name: str, running: Cluster, swarm_program: Path, tmp_path: Path
) -> None:
    chosen = _small(name)
    outcome = play.play(chosen, running, swarm_program, tmp_path)
    assert _failed(outcome) == []
    # On the global board of a new season are only those who have played since.
    fewest = (1 if name == "season-end" else 2) * chosen.game.users
    assert fewest <= outcome.found.members <= 2 * chosen.game.users
    told = outcome.generator
    assert told["churn"]["reconnects"] > 0
    assert {"submit_http", "submit_ws", "top", "around", "member"} <= {
        kind for phase in told["phases"] for kind in phase["api"]
    }
    if name == "season-end":
        assert told["ended"]["reconnects"] > 0
    _check_files(outcome, name, tmp_path)
    # With a bound that nothing can keep, the same run fails.
    bounds = msgspec.structs.replace(_UNTIMED, api_p99_ms=0.0001)
    failed = _lacks(outcome, msgspec.structs.replace(chosen, bounds=bounds))
    assert len(failed) == 6
    assert all("99th percentile" in what for what in failed)


def _check_files(outcome: Outcome, name: str, directory: Path) -> None:
    text = outcome.publish(name, directory)
    (file,) = directory.glob(f"*-{name}.json")
    kept = json.loads(file.read_bytes())
    assert (kept["scenario"], kept["ok"], len(kept["checks"])) == (name, True, len(outcome.checks))
    published = publish.read(file)
    assert published.scenario == name
    assert published.tests[0].users == outcome.scenario.game.users
    assert file.with_suffix(".md").read_text() == text
    assert text.startswith(f"# {name}: all checks hold")


def _python(text: str, *arguments: str) -> subprocess.CompletedProcess[str]:
    """Run a program that imports the load tests."""
    path = os.pathsep.join(map(str, (_ROOT / "loadtests", _ROOT / "python")))
    return subprocess.run(
        (sys.executable, "-c", text, *arguments),
        capture_output=True,
        text=True,
        env=os.environ | {"PYTHONPATH": path},
        check=False,
    )


def test_a_run_that_hangs_is_ended() -> None:
    hangs = """
import time, harness, play, scenario
play._SPARE_SECONDS = -60
def run():
    with play.watched(scenario.named("burst").scaled(0.02)):
        time.sleep(1000)
harness.main(run)
"""
    ended = _python(hangs)
    assert (ended.returncode, ended.stderr) == (1, "-c: the run took more than 1 s\n")


def _wrapped(program: Path, directory: Path, before: str) -> Path:
    """Make a program that does something else before it becomes the generator."""
    file = directory / "wrapped"
    become = f"os.execv({str(program)!r}, sys.argv)"
    lines = (f"#!{sys.executable}", "import os, sys", before, become)
    file.write_text("\n".join(lines))
    file.chmod(0o755)
    return file


# After everybody has played, and before the load begins. A member comes back only if it plays
# again, and then with that score.
_LOSE: Final = """
from http.client import HTTPConnection
url = sys.argv[sys.argv.index("--http") + 1]
connection = HTTPConnection(url.removeprefix("http://"))
for user in range(10):
    connection.request("DELETE", f"/v1/boards/cohort-0/members/player-{user}")
    assert connection.getresponse().read() == b""
"""


def test_scores_that_are_lost_behind_everybodys_back_fail_a_run(
    swarm_program: Path, tmp_path: Path
) -> None:
    program = _wrapped(swarm_program, tmp_path, _LOSE)
    file = tmp_path / "short.toml"
    file.write_text(_TOML)
    ended = _python(_MAIN, str(program), str(file), "--output", str(tmp_path))
    assert ended.returncode == 1, ended.stderr
    assert ended.stdout.startswith("# short: FAILED"), ended.stderr
    (kept,) = tmp_path.glob("*-short.json")
    result = json.loads(kept.read_bytes())
    assert not result["ok"]
    with pytest.raises(BenchError, match="a check was missed"):
        publish.read(kept)
    assert result["found"]["wrong"] > 5
    failed = [one["what"] for one in result["checks"] if not one["ok"]]
    assert failed == ["members with a score that was lost or never sent"]


def test_a_run_in_which_a_node_dies_has_no_result(
    running: Cluster, swarm_program: Path, tmp_path: Path
) -> None:
    # The last test, as the node does not come back: a second later, before the end of the load.
    pid = running.hubs[-1].process.pid
    kill = f"""
import signal, time
if os.fork() == 0:
    time.sleep(1)
    os.kill({pid}, signal.SIGKILL)
    os._exit(0)
"""
    program = _wrapped(swarm_program, tmp_path, kill)
    chosen = _small("steady")
    # Nobody waits for sockets that come back.
    sockets = msgspec.structs.replace(chosen.sockets, reconnects_per_minute=0)
    with pytest.raises(BenchError, match="the generator failed"):
        play.play(msgspec.structs.replace(chosen, sockets=sockets), running, program, tmp_path)
