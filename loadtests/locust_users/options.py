"""The command line of the load test, and what it refuses.

Promises: nothing is sent to a host that is neither this machine nor named with `--allow-host`, for
longer than `MOST_SECONDS`, or by more users than `--max-users`. Locust's web interface is refused:
whoever reaches its form could name another host.
"""

from __future__ import annotations

import argparse
import ipaddress
import sys
from pathlib import Path
from typing import Final
from urllib.parse import urlsplit

import msgspec

from locust_users.plan import Plan

SCENARIOS: Final = {"medium": 1, "large": 10}
"""The size of each, in Mediums."""
MOST_SECONDS: Final = 900
MOST_USERS: Final = 5_000
_SECRETS: Final = ("api_key", "player_key")
"""Named by their files, so that no list of processes shows them."""
_LIVE_URL: Final = "ws://127.0.0.1:7701/connection/websocket"


class Options(msgspec.Struct, frozen=True, kw_only=True):
    """What was asked for."""

    host: str
    live_url: str
    scenario: str
    factor: float
    seconds: float
    max_users: int
    allow_host: list[str]
    p99_ms: float
    api_key: str | None
    player_key: str | None
    summary: Path | None
    prepare: bool
    headless: bool

    @property
    def plan(self) -> Plan:
        """The users and when they come."""
        return Plan(SCENARIOS[self.scenario] * self.factor, self.seconds)


def add(parser: argparse.ArgumentParser) -> None:
    """Add our options to those of Locust, which sends them to its workers: only plain values."""
    group = parser.add_argument_group("Rankwire")
    group.add_argument("--scenario", choices=[*SCENARIOS], default="medium", help="default: medium")
    group.add_argument(
        "--factor", type=float, default=0.01, help="size, in parts of the scenario (default: 0.01)"
    )
    group.add_argument(
        "--seconds", type=float, default=360.0, help=f"of the run (default: 360, ≤ {MOST_SECONDS})"
    )
    group.add_argument("--live-url", default=_LIVE_URL, help=f"default: {_LIVE_URL}")
    group.add_argument(
        "--allow-host", action="append", default=[], help="a host beside this machine; repeatable"
    )
    group.add_argument(
        "--max-users", type=int, default=MOST_USERS, help=f"at once (default: {MOST_USERS})"
    )
    group.add_argument("--p99-ms", type=float, default=200.0, help="bound (default: 200)")
    group.add_argument("--api-key", help="file with the API key of game servers")
    group.add_argument("--player-key", help="HS256 key of `rankwire tokens keygen`")
    group.add_argument("--summary", help="file for the result, as JSON")
    group.add_argument(
        "--prepare", action="store_true", help="make the boards first; needs the scope admin"
    )


def read(parsed: argparse.Namespace | None) -> Options:
    """Return our options; end with exit code 2 if they are refused."""
    if parsed is None:
        sys.exit(_refused(["Locust was started without a command line"]))
    given = {name: getattr(parsed, name) for name in Options.__struct_fields__}
    try:
        options = Options(
            **given
            | {"host": parsed.host or "", "summary": parsed.summary and Path(parsed.summary)}
            | {name: given[name] and Path(given[name]).read_text().strip() for name in _SECRETS},
        )
    except OSError as error:
        sys.exit(_refused([str(error)]))
    if problems := problems_of(options):
        sys.exit(_refused(problems))
    return options


def problems_of(options: Options) -> list[str]:
    """Say what is refused and what to do about it."""
    problems = [
        f"{url}: name the host with --allow-host, if the load is meant for it"
        for url in (options.host, options.live_url)
        if not _is_allowed(urlsplit(url).hostname or "", options.allow_host)
    ]
    if not options.headless:
        problems.append("the web interface is not served: add --headless")
    if not 1 <= options.seconds <= MOST_SECONDS:
        problems.append(f"--seconds {options.seconds:g}: allowed is 1 to {MOST_SECONDS}")
    if not 0 < options.factor <= 1:
        problems.append(f"--factor {options.factor:g}: allowed is more than 0 up to 1")
    elif (users := options.plan.most_users) > options.max_users:
        problems.append(f"the burst has {users:,} users, --max-users is {options.max_users:,}")
    return problems


def _refused(problems: list[str]) -> int:
    print("refused:", *problems, sep="\n  ", file=sys.stderr)
    return 2


def _is_allowed(host: str, allowed: list[str]) -> bool:
    """Tell whether a host is this machine or was named; of names only `localhost` is known."""
    if host == "localhost" or host in allowed:
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False
