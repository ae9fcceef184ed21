"""Rules and dashboards beside real servers, and in a real Prometheus that scrapes them.

No dashboard or rule names what no server exports, and every query is answered; where the answer
may be empty the panel says why.
"""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import urllib.parse
import urllib.request
from collections import defaultdict
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any, Final, NamedTuple

import pytest
from prometheus_client.parser import text_string_to_metric_families as read_text

import dashboards as made
from fix_postgres import Postgres, fresh_database
from fix_promql import (
    OBSERVED,
    RULES,
    autoscaler_metrics,
    dashboards,
    expressions,
    filled,
    names_in,
    rules,
)
from fix_redis import free_port, making_redis
from fix_server import Server, making_servers, until
from rankwire.settings import FIELDS

# What Prometheus itself adds.
_OF_PROMETHEUS: Final = {"up", "ALERTS"}
_OF_TARGETS: Final = {"job", "instance", "namespace", "pod", "alertname", "alertstate"}
_LIMITS: Final = {
    "live.max_connections": "rankwire_live_connections_limit",
    "limits.pending_submits": "rankwire_pending_writes_limit",
}
_BY_RULES: Final = {"job", "namespace", "instance", "pool", "view"}


class Scraped(NamedTuple):
    """A Prometheus, and the servers that it reads."""

    url: str
    servers: tuple[Server, ...]

    def ask(self, path: str, **parameters: str) -> Any:
        """Ask its HTTP API."""
        where = f"{self.url}/api/v1/{path}?{urllib.parse.urlencode(parameters)}"
        with urllib.request.urlopen(where, timeout=10) as answer:
            told = json.load(answer)
        assert told["status"] == "success"
        return told["data"]

    def query(self, expression: str) -> list[Any]:
        """Give the newest answer."""
        return list(self.ask("query", query=expression)["result"])


@pytest.fixture(scope="module")
def servers(
    postgres_server: Postgres, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[tuple[Server, ...]]:
    """Run a node with everything that has metrics, and one on SQLite."""
    place = tmp_path_factory.mktemp("observed")
    with ExitStack() as stack:
        redis = stack.enter_context(making_redis(place))().start()
        url = stack.enter_context(fresh_database(postgres_server)).url
        make = stack.enter_context(making_servers(place))
        kept = ("--storage-url", url, "--storage-replica-url", url, "--redis-url", redis.url)
        archive = ("--ops-archive-url", f"file://{place}/archive")
        # Of the other region nothing but its name is needed.
        region = ("--regions-name", "eu", "--regions-peers", "us=http://127.0.0.1:9")
        whole = make(*kept, *archive, *region, "--regions-secret", "s" * 32).start()
        plain = make().start()
        yield whole, plain


@pytest.fixture(scope="module")
def prometheus(
    servers: tuple[Server, ...], tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Scraped]:
    """Run Prometheus with the very configuration, at other places and with shorter intervals."""
    if shutil.which("prometheus") is None:
        if os.environ.get("CI"):
            pytest.fail("CI has no prometheus")
        pytest.skip("NOT TESTED, expressions by a server: no prometheus on this machine")
    place = tmp_path_factory.mktemp("prometheus")
    config, url = _configuration(place, servers), f"127.0.0.1:{free_port()}"
    command = [
        *("prometheus", f"--config.file={config}", f"--web.listen-address={url}"),
        *(f"--storage.tsdb.path={place}/data", "--log.level=warn"),
    ]
    with (place / "log").open("wb") as log:
        process = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=log, stderr=log)
        try:
            scraped = Scraped(f"http://{url}", servers)
            until(lambda: _serves(scraped), "Prometheus and both of its targets")
            yield scraped
        finally:
            process.kill()
            process.wait()
            print((place / "log").read_text(encoding="utf-8")[-4_000:])  # noqa: T201  # if it failed


def _configuration(place: Path, servers: tuple[Server, ...]) -> Path:
    for name in ("rules", "targets", "alertmanagers", "operator"):
        (place / name).mkdir()
    for path in RULES:
        shutil.copy(path, place / "rules")
    (place / "operator" / "operator.key").write_text("none-is-needed", encoding="utf-8")
    targets = [{"targets": [f"127.0.0.1:{server.http_port}" for server in servers]}]
    (place / "targets" / "nodes.json").write_text(json.dumps(targets), encoding="utf-8")
    text = (OBSERVED / "prometheus" / "prometheus.yml").read_text(encoding="utf-8")
    text = text.replace("/etc/prometheus", str(place)).replace("/run/operator", f"{place}/operator")
    config = place / "prometheus.yml"
    config.write_text(re.sub(r"_interval: 15s", "_interval: 1s", text), encoding="utf-8")
    return config


def _serves(scraped: Scraped) -> bool:
    try:
        return [value for _, value in map(_value, scraped.query("up"))] == ["1", "1"]
    except OSError:
        return False


def _value(sample: dict[str, Any]) -> tuple[float, str]:
    at, value = sample["value"]
    return float(at), str(value)


def _exported(servers: tuple[Server, ...]) -> dict[str, set[str]]:
    """Give the labels of every series that servers export, by its name."""
    found: dict[str, set[str]] = defaultdict(set)
    for server in servers:
        for family in read_text(server.get("/metrics").body.decode()):
            for sample in family.samples:
                found[sample.name].update(sample.labels)
    return found


def test_every_metric_and_label_is_exported(servers: tuple[Server, ...]) -> None:
    """Of rules, dashboards and autoscalers below deploy/."""
    exported = _exported(servers)
    # A counter with labels that has no series before the first write that asks for a level.
    exported["rankwire_region_writes_total"] = {"level", "outcome"}
    recorded = {rule["record"] for rule in rules("record")}
    known = exported.keys() | recorded | _OF_PROMETHEUS
    for where, text in expressions():
        named = names_in(text)
        assert named.metrics, where
        assert named.metrics <= known, where
        labels = set().union(*(exported.get(name, _BY_RULES) for name in named.metrics))
        assert named.labels <= labels | _OF_TARGETS, where
    for where, name in autoscaler_metrics():
        assert name in exported, where


def test_limits_are_those_of_the_settings(servers: tuple[Server, ...]) -> None:
    defaults = {field.name: int(str(field.default)) for field in FIELDS if field.name in _LIMITS}
    assert len(defaults) == len(_LIMITS)
    for server in servers:
        # A machine whose open files allow fewer connections says so.
        files = int(server.metric("process_max_fds")) - 1000
        for setting, name in _LIMITS.items():
            assert server.metric(name) in {defaults[setting], min(defaults[setting], files)}


def test_the_first_error_is_seen_by_a_rate(servers: tuple[Server, ...]) -> None:
    """As the series is there with 0 before it."""
    text = servers[1].get("/metrics").body.decode()
    assert 'rankwire_http_requests_total{operation="submit_batch",status="5xx"} 0.0' in text


def test_prometheus_takes_the_configuration(servers: tuple[Server, ...], tmp_path: Path) -> None:
    done = subprocess.run(
        ["promtool", "check", "config", str(_configuration(tmp_path, servers))],
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert done.stdout.count("rules found") == len(RULES)


def test_prometheus_answers_every_rule_and_every_panel(prometheus: Scraped) -> None:
    _busy(prometheus)
    recorded = {rule["record"] for rule in rules("record")}
    until(lambda: all(map(prometheus.query, recorded)), "all recorded series")
    told = prometheus.ask("rules")["groups"]
    health = {rule["name"]: rule["health"] for group in told for rule in group["rules"]}
    assert health == dict.fromkeys(recorded | {rule["alert"] for rule in rules("alert")}, "ok")
    explained = {
        (page.uid, panel.title): panel.empty
        for page in made.PAGES
        for row in page.rows
        for panel in row.panels
    }
    for name, dashboard in dashboards().items():
        variables = dashboard["templating"]["list"]
        for panel in dashboard["panels"]:
            for target in panel.get("targets", ()):
                text = filled(target["expr"], variables, interval="10s")
                assert prometheus.query(text) or explained[name, panel["title"]], text


def _busy(scraped: Scraped) -> None:
    """Write and read, so that rates have something to say."""
    whole, plain = scraped.servers
    plain.create("cup")
    for number in range(20):
        assert plain.submit("cup", f"m{number}", number).status == 200
    instance = f"127.0.0.1:{plain.http_port}"
    query = f'rate(rankwire_submits_total{{instance="{instance}"}}[10s]) >= 0'
    until(lambda: bool(scraped.query(query)), "two scrapes")
    assert whole.get("/v1/boards").status == 200


def test_the_numbers_are_those_of_the_server(prometheus: Scraped) -> None:
    _, plain = prometheus.servers
    instance = f"127.0.0.1:{plain.http_port}"
    until(
        lambda: (
            [
                float(value)
                for _, value in map(
                    _value, prometheus.query(f'rankwire_submits_total{{instance="{instance}"}}')
                )
            ]
            == [plain.metric("rankwire_submits_total")]
        ),
        "the number of scores",
    )
    assert [
        value for _, value in map(_value, prometheus.query("max(rankwire_live_connections_limit)"))
    ] == [str(int(plain.metric("rankwire_live_connections_limit")))]
