"""Where Locust begins: the users, the shapes, and what happens before, while and after they run.

    locust -f loadtests/locustfile.py --headless --host http://127.0.0.1:7700 --factor 0.01

`locust_users/plan.py` says how many users there are; `locust_users/options.py` what is refused.
Exit codes: 0 for a success, 1 if a request failed or a bound was broken, 2 if it was refused.
"""

from __future__ import annotations

import sys
from typing import Any

import msgspec
from locust import events, stats
from locust.argument_parser import LocustArgumentParser
from locust.env import Environment
from locust.runners import LocalRunner, WorkerRunner

from harness import BenchError
from locust_users import options as command_line
from locust_users import world
from locust_users.browser import Browser
from locust_users.game_server import GameServer
from locust_users.live import Live
from locust_users.player import Player
from locust_users.prepare import prepare
from locust_users.report import Report, whole
from locust_users.shapes import SHAPES, Large, Medium, settle

__all__ = ["Browser", "GameServer", "Large", "Live", "Medium", "Player"]

stats.bucket_response_time = whole


def add_options(parser: LocustArgumentParser) -> None:
    """Add ours."""
    command_line.add(parser)


def set_up(environment: Environment, **_: Any) -> None:
    """Check what was asked for, take its shape, and watch the run."""
    options = command_line.read(environment.parsed_options)
    settle(options.plan)
    if isinstance(environment.runner, WorkerRunner):
        return
    shape = SHAPES[options.scenario]()
    shape.plan, shape.runner = options.plan, environment.runner
    environment.shape_class = shape
    if options.prepare:
        try:
            prepare(options.host, options.plan.members, world.of(environment).as_server())
        except (BenchError, OSError) as error:
            sys.exit(f"the boards were not made: {error}")
    if options.summary:
        options.summary.unlink(missing_ok=True)
    report = Report(options, alone=isinstance(environment.runner, LocalRunner))
    environment.events.spawning_complete.add_listener(report.note_users)
    environment.events.quitting.add_listener(lambda environment, **_: finish(environment, report))


def finish(environment: Environment, report: Report) -> None:
    """Write the result and set the exit code."""
    exceptions = environment.runner.exceptions if environment.runner else {}
    result = report.result(environment.stats, [one["msg"] for one in exceptions.values()])
    environment.process_exit_code = 0 if result.ok else 1
    for problem in result.problems:
        print(f"FAILED: {problem}", file=sys.stderr)
    for warning in result.warnings:
        print(f"WARNING: {warning}", file=sys.stderr)
    if report.options.summary:
        report.options.summary.write_bytes(msgspec.json.format(msgspec.json.encode(result)) + b"\n")


events.init_command_line_parser.add_listener(add_options)
events.init.add_listener(set_up)
