"""Whether deploy/terraform is right: by Terraform's own tests, and by making the DNS part for real.

The slower part, all that is refused and the real apply, runs in `make verify-terraform`.
"""

from __future__ import annotations

import json
import os
import re
import shutil
from pathlib import Path
from typing import Any, Final

import boto3  # type: ignore[import-untyped]
import pytest

from fix_archive import s3_server
from fix_terraform import SOURCE, Terraform, terraform_tree

__all__ = ["s3_server", "terraform_tree"]

_slow = pytest.mark.skipif(
    not os.environ.get("VERIFY_TERRAFORM"), reason="runs in `make verify-terraform`"
)
_DOMAIN: Final = "scores.example.com."


def _passed(output: str) -> int:
    found = re.search(r"Success! (\d+) passed, 0 failed", output)
    assert found is not None, output
    return int(found[1])


def test_everything_is_formatted(terraform_tree: Path) -> None:
    formatted = Terraform(terraform_tree).must("fmt", "-check", "-recursive", "-list=true")
    assert formatted == ""


@pytest.mark.parametrize(
    ("place", "file"),
    [
        ("modules/global", "records"),
        pytest.param("modules/global", "refusals", marks=_slow),
        ("modules/region", "region"),
        pytest.param("modules/region", "refusals", marks=_slow),
        pytest.param("examples/two-regions", "plan", marks=_slow),
        ("examples/three-regions", "plan"),
    ],
)
@pytest.mark.timeout(300)
def test_terraforms_own_tests_pass(terraform_tree: Path, place: str, file: str) -> None:
    terraform = Terraform(terraform_tree / "deploy" / "terraform" / place)
    terraform.init()
    runs = (SOURCE / place / "tests" / f"{file}.tftest.hcl").read_text().count('\nrun "')
    assert _passed(terraform.must("test", f"-filter=tests/{file}.tftest.hcl")) == runs > 0


@_slow
@pytest.mark.timeout(600)
def test_the_dns_part_is_made_for_real_and_stays_as_it_is(
    terraform_tree: Path, s3_server: str
) -> None:
    module = terraform_tree / "deploy" / "terraform" / "modules" / "global"
    place = terraform_tree / "tests" / "deploy" / "moto"
    shutil.copy(place / "forgotten_override.tf", module)
    (place / "forgotten_override.tf").unlink()
    terraform = Terraform(place)
    terraform.init()
    endpoint = ("-input=false", f"-var=endpoint={s3_server}")
    terraform.must("apply", "-auto-approve", *endpoint)
    made = json.loads(terraform.must("output", "-json"))["module"]["value"]
    _look_at(s3_server, made)
    again = terraform.run("plan", "-detailed-exitcode", *endpoint)
    assert again.returncode == 0, again.stdout + again.stderr
    # It does not tear down the zone.
    torn = terraform.run("plan", "-destroy", "-refresh=false", *endpoint)
    assert torn.returncode != 0
    assert "prevent_destroy" in torn.stderr
    # It asks for changes when something was changed behind its back.
    _client("route53", s3_server).delete_health_check(HealthCheckId=made["health_checks"]["us"])
    assert terraform.run("plan", "-detailed-exitcode", *endpoint).returncode == 2


def _look_at(endpoint: str, made: dict[str, Any]) -> None:
    """Read everything back through the API of AWS."""
    route53 = _client("route53", endpoint)
    (zone,) = route53.list_hosted_zones()["HostedZones"]
    assert zone["Name"] == _DOMAIN
    assert zone["Id"] == f"/hostedzone/{made['zone_id']}"
    checks = {check["Id"]: check for check in route53.list_health_checks()["HealthChecks"]}
    assert len(checks) == 6
    listed = route53.list_resource_record_sets(HostedZoneId=made["zone_id"])["ResourceRecordSets"]
    records = {record["SetIdentifier"]: record for record in listed if record["Type"] == "A"}
    assert records.keys() == {"eu", "us"}
    for name, role, place in (
        ("eu", "PRIMARY", "eu-central-1"),
        ("us", "SECONDARY", "us-east-1"),
    ):
        record = records[name]
        assert record["Name"] == _DOMAIN
        assert record["Failover"] == role
        assert "ResourceRecords" not in record
        assert record["AliasTarget"]["EvaluateTargetHealth"] is True
        assert f"{name}-1.{place}.elb.amazonaws.com" in record["AliasTarget"]["DNSName"]
        assert record["HealthCheckId"] == made["health_checks"][name]
        _look_at_checks(checks, record["HealthCheckId"], f"{name}-1.{place}.elb.amazonaws.com")
    alarms = _client("cloudwatch", endpoint).describe_alarms()["MetricAlarms"]
    watched = {alarm["Dimensions"][0]["Value"] for alarm in alarms}
    assert watched == set(made["health_checks"].values())


def _look_at_checks(checks: dict[str, Any], check: str, balancer: str) -> None:
    whole = checks[check]["HealthCheckConfig"]
    assert whole["Type"] == "CALCULATED"
    assert whole["HealthThreshold"] == 2
    parts = [checks[child]["HealthCheckConfig"] for child in whole["ChildHealthChecks"]]
    http, own = sorted(parts, key=lambda part: str(part["Type"]), reverse=True)
    assert own["Type"] == "CLOUDWATCH_METRIC"
    assert (http["Type"], http["Port"], http["ResourcePath"]) == ("HTTPS", 443, "/health")
    assert (http["RequestInterval"], http["FailureThreshold"]) == (10, 3)
    assert http["FullyQualifiedDomainName"] == balancer


def _client(service: str, endpoint: str) -> Any:
    return boto3.client(
        service,
        region_name="us-east-1",
        endpoint_url=endpoint,
        aws_access_key_id="anybody",
        aws_secret_access_key="anything",
    )
