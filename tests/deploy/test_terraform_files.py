"""What can be said of deploy/terraform without Terraform: the floor below its own tests."""

from __future__ import annotations

import ipaddress
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final

import hcl2
import pytest

from rankwire.ops.metric_regions import REGION_LINK_METRICS
from rankwire.settings import FIELDS

_ROOT: Final = Path(__file__).parents[2]
_PLACE: Final = _ROOT / "deploy" / "terraform"
_FILES: Final = sorted(_PLACE.rglob("*.tf"))
_MODULES: Final = ("global", "region")


def _blocks(module: str, kind: str) -> Iterator[tuple[str, dict[str, Any]]]:
    """Give the blocks of a kind in a module, by their labels."""
    for path in sorted((_PLACE / "modules" / module).glob("*.tf")):
        with path.open(encoding="utf-8") as file:
            found = hcl2.load(file).get(kind, [])
        for block in found:
            labels = []
            # A block is marked as one; around it there is a dict for each of its labels.
            while "__is_block__" not in block:
                ((label, block),) = block.items()  # noqa: PLW2901  # it is peeled
                labels.append(label.strip('"'))
            yield ".".join(labels), block


def _resources(module: str, kind: str = "") -> dict[str, dict[str, Any]]:
    return {name: body for name, body in _blocks(module, "resource") if name.startswith(kind)}


@pytest.mark.parametrize("path", _FILES, ids=lambda path: str(path.relative_to(_PLACE)))
def test_every_file_is_well_formed_and_names_no_address(path: Path) -> None:
    text = path.read_text(encoding="utf-8")
    hcl2.loads(text)
    for found in re.findall(r"\b\d+\.\d+\.\d+\.\d+\b(?!/)", text):
        # Only "listen everywhere" stands alone; networks have their length.
        assert ipaddress.ip_address(found) == ipaddress.ip_address("0.0.0.0")


def test_every_record_of_the_service_is_an_alias_with_a_health_check() -> None:
    records = _resources("global", "aws_route53_record.")
    assert records
    for record in records.values():
        assert record["health_check_id"] == "${aws_route53_health_check.region[each.key].id}"
        assert record["alias"][0]["evaluate_target_health"] is True
        assert record["alias"][0]["name"] == "${each.value.balancer.dns_name}"
        assert "records" not in record


def test_checks_ask_health_over_https_every_ten_seconds() -> None:
    http = _resources("global")["aws_route53_health_check.http"]
    assert (http["type"], http["port"], http["resource_path"]) == ('"HTTPS"', 443, '"/health"')
    assert (http["request_interval"], http["failure_threshold"]) == (10, 3)
    region = _resources("global")["aws_route53_health_check.region"]
    assert (region["type"], region["child_health_threshold"]) == ('"CALCULATED"', 2)
    assert len(region["child_healthchecks"]) == 2


def test_what_cannot_be_made_again_is_not_destroyed() -> None:
    kept = {
        f"{module}.{name}"
        for module in _MODULES
        for name, body in _resources(module).items()
        if any(rule.get("prevent_destroy") is True for rule in body.get("lifecycle", []))
    }
    assert kept == {
        "global.aws_route53_zone.service",
        "region.aws_db_instance.region",
        "region.aws_s3_bucket.archive",
    }


def test_data_have_no_way_out_and_everything_is_in_private() -> None:
    region = _resources("region")
    assert "route" not in region["aws_route_table.data"]
    assert "map_public_ip_on_launch" not in region["aws_subnet.nodes"]
    # Whoever lets in a network and not a group is named here.
    rules = _resources("region", "aws_vpc_security_group_ingress_rule.")
    open_rules = {name for name, body in rules.items() if "cidr_ipv4" in body}
    assert open_rules == {"aws_vpc_security_group_ingress_rule.clients"}


@pytest.mark.parametrize("module", _MODULES)
def test_inputs_and_outputs_are_described_and_every_rule_is_tried(module: str) -> None:
    tried = (_PLACE / "modules" / module / "tests" / "refusals.tftest.hcl").read_text()
    readme = (_PLACE / "modules" / module / "README.md").read_text(encoding="utf-8")
    for name, body in _blocks(module, "variable"):
        assert body["description"], name
        assert body["type"], name
        assert f"| `{name}` |" in readme
        times = tried.count(f"expect_failures = [var.{name}]")
        assert times >= len(body.get("validation", [])), name
    for name, body in _blocks(module, "output"):
        assert body["description"], name
        assert f"| `{name}` |" in readme


def test_settings_for_nodes_are_settings() -> None:
    text = (_PLACE / "modules" / "region" / "outputs.tf").read_text(encoding="utf-8")
    named = set(re.findall(r"^\s+(RANKWIRE_\w+)\s+=", text, re.MULTILINE))
    assert len(named) >= 10
    assert named <= {field.variable for field in FIELDS}


def test_the_paths_that_balancers_ask_for_are_there() -> None:
    text = (_PLACE / "modules" / "region" / "balancer.tf").read_text(encoding="utf-8")
    live = (_ROOT / "rust" / "hub" / "src" / "ws" / "handshake.rs").read_text(encoding="utf-8")
    http = (_ROOT / "docs" / "http.md").read_text(encoding="utf-8")
    for path, known in (("/connection/websocket", live), ("/healthz", live), ("/readyz", http)):
        assert f'"{path}"' in text
        assert path in known


def test_the_figures_that_the_alarm_looks_at_are_served() -> None:
    text = (_PLACE / "modules" / "region" / "alarms.tf").read_text(encoding="utf-8")
    named = set(re.findall(r'"(rankwire_\w+)"', text))
    assert named == {"rankwire_region_lag_seconds", "rankwire_region_link_up"}
    assert named <= {name for _, name, _ in REGION_LINK_METRICS}
