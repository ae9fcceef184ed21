"""`rankwire ops cache`: the report of a server for people and for programs."""

from __future__ import annotations

import http.server
import threading
from collections.abc import Iterator
from contextlib import contextmanager

import msgspec
import pytest
from click.testing import CliRunner

from fix_server import Server
from rankwire.cli import main
from rankwire.ops.caching import CachingReport
from rankwire.ops.caching.report import Curve, Freed, Pattern, Point, Strategy
from rankwire.ops.findings import CostLine

REPORT = CachingReport(
    at=1.0,
    mode="advise",
    window_seconds=60.0,
    patterns=[
        Pattern(
            strategy="PRECOMPUTED_LEADERBOARDS",
            figure="reads of the busiest board in a minute",
            value=1234.0,
            threshold=100.0,
            found=True,
            names=["a", "b", "[red]c", "d"],
        )
    ],
    curves=[
        Curve(
            kind="user_profile",
            points=[Point(64 * n, 64e3 * n, 1 - n / 40) for n in range(1, 31)],
            knee=64 * 7,
        )
    ],
    strategies=[
        Strategy(
            name="USER_PROFILE_CACHE",
            state="rolled_back",
            reason="the hit rate was too low",
            since=1.0,
            predicted_hit_rate=0.625,
            measured_hit_rate=None,
            baseline_hit_rate=0.25,
            entries=448,
            seconds=5.0,
            memory_bytes=2.5e6,
        )
    ],
    capacity_freed=[Freed("USER_PROFILE_CACHE", "database", 12.5, 0.002, 7_200.0, None)],
    current_database_cost=232.14,
    optimized_database_cost=None,
    added_cache_cost=0.0,
    realizable_saving=None,
    net_saving=None,
    lines=[CostLine("rds-pg:db.m6g.xlarge", 730.0, "hour", 0.318, 232.14, "a list", "2021-08-03")],
    reasons={"realizable_saving": "not measured for long enough", "added_cache_cost": "it is free"},
)


@contextmanager
def answering(body: bytes, status: int = 200) -> Iterator[str]:
    """Serve the report at its address, as a server with caching does."""

    class Handler(http.server.BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.send_response(status if self.path == "/v1/ops/caching" else 404)
            self.send_header("content-length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *_: object) -> None:
            pass

    with http.server.HTTPServer(("127.0.0.1", 0), Handler) as server:
        thread = threading.Thread(target=server.serve_forever, args=(0.01,))
        thread.start()
        try:
            yield f"http://127.0.0.1:{server.server_port}"
        finally:
            server.shutdown()
            thread.join()


def ask(*words: str, body: bytes | None = None, status: int = 200) -> tuple[int, str]:
    with answering(msgspec.json.encode(REPORT) if body is None else body, status) as url:
        done = CliRunner().invoke(
            main, ["ops", "cache", "--server", url, *words], env={"COLUMNS": "200"}
        )
    return done.exit_code, done.output


def test_the_report_is_shown_with_its_reasons() -> None:
    code, shown = ask()
    assert code == 0
    for words in (
        "ops.caching is advise",
        "a minute: 1,234, the bound is 100; a, b, [red]c and 1 more",
        "taken back",
        "62.5 %",
        "unknown",
        "2.38 MiB",
        "12.5/s answered, 2 ms each, 2 h a month",
        "97.5 % with 64 entries (62.5 KiB), 82.5 % with 448 entries",
        "database now, a month                   $232.14",
        "saved of the database's price, a month  unknown: not measured for long enough",
        "memory for caches, a month              $0.00: it is free",
        "net saving, a month                     unknown",
        "730 rds-pg:db.m6g.xlarge at $0.318 for each hour (a list, 2021-08-03)",
    ):
        assert words in shown


def test_a_running_server_tells_what_it_does(server: Server) -> None:
    done = CliRunner().invoke(main, ["ops", "cache", "--server", server.url])
    assert done.exit_code == 0, done.output
    assert "ops.caching is " in done.stdout
    assert "net saving, a month" in done.stdout


def test_programs_get_all_of_it() -> None:
    code, shown = ask("--json")
    assert code == 0
    assert msgspec.json.decode(shown, type=CachingReport) == REPORT


@pytest.mark.parametrize(
    ("body", "status", "words"),
    [
        (b"{}", 200, "is not Rankwire's"),
        (b"{}", 404, "this server has no such report; it is of an older version"),
        (b"nonsense", 500, "500 nonsense"),
    ],
)
def test_a_server_without_a_report_is_a_failure(body: bytes, status: int, words: str) -> None:
    code, shown = ask(body=body, status=status)
    assert code == 1
    assert words in shown
