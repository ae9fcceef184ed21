"""What docs/autoscaling.md says of metrics, pods and limits is so."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Final

import msgspec
from click.testing import CliRunner

from rankwire.autoscale import lint, pods, scrape, security_access, serving_door
from rankwire.autoscale.metrics_table import METRICS
from rankwire.cli import main

_PAGE: Final = (Path(__file__).parents[2] / "docs" / "autoscaling.md").read_text()
_MANIFESTS: Final = Path(__file__).parents[2] / "deploy" / "kubernetes"


def test_the_metrics_are_those_that_are_served() -> None:
    rows = re.findall(
        r"^\| `(\w+)`(?:, over (\d+) s)? \| (.+) \| (yes|no) \|$", _PAGE, re.MULTILINE
    )
    rules = {"added up": "sum", "the fullest pool": "max", "the worst cache": "min"}
    said = {
        name: (rules[rule], int(window) if window else None, external == "yes")
        for name, window, rule, external in rows
    }
    assert said == {
        name: (metric.rule, metric.window, metric.adds_up) for name, metric in METRICS.items()
    }


def test_the_file_of_pods_can_be_read() -> None:
    (example,) = re.findall(r"```json\n(.+?)```", _PAGE, re.DOTALL)
    (pod,) = msgspec.json.decode(example, type=dict[str, list[pods.Pod]])["pods"]
    assert (pod.name, pod.labels, pod.ready) == ("hub-0", {"tier": "hub"}, True)


def test_the_limits_are_those_of_the_code() -> None:
    for line in (
        f"| pods | {pods.MOST_PODS:,} |",
        f"| scrapes at once | {scrape.MOST_AT_ONCE} |",
        f"| time of a scrape | {scrape.MOST_SECONDS:.0f} s, or half",
        f"| {scrape.MOST_BYTES // 1024**2} MiB, {scrape.MOST_SERIES} series of a metric |",
        f"| connections without a certificate | {serving_door.MOST_STRANGERS} |",
        f"| connections with a good certificate | {serving_door.MOST_KNOWN} |",
        f"| {serving_door.HANDSHAKE_SECONDS:.0f} s, {serving_door.FIRST_SECONDS:.0f} s | closed |",
        f"| rest between requests | {serving_door.IDLE_SECONDS:.0f} s |",
        f"| {security_access.MOST_KEPT:,}, for {security_access.KEEP_SECONDS:.0f} s |",
    ):
        assert line in _PAGE, line


def test_the_commands_do_what_is_said_of_them() -> None:
    (block,) = re.findall(r"<!-- tested: simulate -->\n```sh\n(.+?)```", _PAGE, re.DOTALL)
    outputs = []
    for line in block.splitlines():
        arguments = line.replace(" hpa-", f" {_MANIFESTS}/hpa-").split()[1:]
        done = CliRunner().invoke(main, arguments)
        assert done.exit_code == 0, done.output
        outputs.append(done.output)
    simulated, linted, derived = outputs
    assert all(step in simulated for step in ("3 → 7", "7 → 14", "14 → 28", "28 → 50", "4 → 3"))
    assert "nothing is wrong" in linted
    assert derived.startswith("averageValue: ")


def test_all_rules_are_listed() -> None:
    source = Path(lint.__file__).read_text(encoding="utf-8")
    rules = set(re.findall(r'Finding\(\s*"([a-z-]+)"', source))
    table = _PAGE.partition("| rule | | |")[2].partition("**target**")[0]
    assert set(re.findall(r"`([a-z]+(?:-[a-z]+)*)`", table)) - {"scaleUp", "maxReplicas"} == rules
