"""What an operator would refuse to run, looked for in what the chart renders."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from typing import Any, Final

import pytest

from fix_helm import (
    SECRET_WORDS,
    Choice,
    Object,
    named,
    objects_of,
    of_kind,
    paired_choices,
    rendered,
)

_CHOICES: Final = paired_choices()
_SECONDS_OF_REQUESTS: Final = 5
_LINGER_SECONDS: Final = 7
_SECONDS_OF_CHECKPOINT: Final = 30


@pytest.fixture(params=_CHOICES, ids=lambda choice: "-".join(choice.values()))
def choice(request: pytest.FixtureRequest) -> Choice:
    """One combination of the switches after the other."""
    given: Choice = request.param
    return given


@pytest.fixture
def objects(choice: Choice) -> list[Object]:
    """Give what the chart renders for it."""
    return objects_of(choice)


def _templates(objects: list[Object]) -> dict[str, Object]:
    """Give templates of pods by the names of what makes them."""
    return {
        f"{found['kind']}/{found['metadata']['name']}": found["spec"]["template"]
        for found in of_kind(objects, "Deployment", "Job")
    }


def _matches(selector: Object, labels: dict[str, str]) -> bool:
    """Tell whether a selector takes labels; only the operator In is used."""
    assert set(selector) <= {"matchLabels", "matchExpressions"}
    expressions = selector.get("matchExpressions", [])
    assert all(one["operator"] == "In" for one in expressions)
    return selector.get("matchLabels", {}).items() <= labels.items() and all(
        labels.get(one["key"]) in one["values"] for one in expressions
    )


def _values(part: Any) -> Iterator[str]:
    """Give all texts in an object."""
    if isinstance(part, dict):
        part = list(part.values())
    if isinstance(part, list):
        for inner in part:
            yield from _values(inner)
    elif isinstance(part, str):
        yield part


def test_pods_are_restricted(objects: list[Object]) -> None:
    for name, template in _templates(objects).items():
        spec = template["spec"]
        assert not {"hostNetwork", "hostPID", "hostIPC"} & spec.keys(), name
        security = spec["securityContext"]
        assert security["runAsNonRoot"] is True
        assert security["runAsUser"] == security["runAsGroup"] == security["fsGroup"] == 10001
        assert security["seccompProfile"] == {"type": "RuntimeDefault"}
        assert all(volume.keys() & {"emptyDir", "secret"} for volume in spec["volumes"])
        for container in spec["containers"]:
            assert container["securityContext"] == {
                "allowPrivilegeEscalation": False,
                "readOnlyRootFilesystem": True,
                "capabilities": {"drop": ["ALL"]},
            }


def test_what_is_written_has_bounds_and_a_place(objects: list[Object]) -> None:
    for template in _templates(objects).values():
        volumes = {volume["name"]: volume for volume in template["spec"]["volumes"]}
        assert all("sizeLimit" in one["emptyDir"] for one in volumes.values() if "emptyDir" in one)
        (container,) = template["spec"]["containers"]
        mounted = {mount["mountPath"] for mount in container["volumeMounts"]}
        assert "/tmp" in mounted
        if container["name"] != "metrics-server":
            assert "/var/lib/rankwire" in mounted
        assert {mount["name"] for mount in container["volumeMounts"]} == volumes.keys()


def test_only_the_metrics_server_has_a_token_and_nobody_sees_services(
    objects: list[Object],
) -> None:
    with_token = set()
    for name, template in _templates(objects).items():
        # Variables like RANKWIRE_API_PORT, of a Service, would stop a node at its start.
        assert template["spec"]["enableServiceLinks"] is False
        if template["spec"]["automountServiceAccountToken"]:
            with_token.add(name)
    assert with_token <= {"Deployment/rankwire-metrics"}
    for account in of_kind(objects, "ServiceAccount"):
        assert account["automountServiceAccountToken"] is False


def test_images_have_a_version(objects: list[Object]) -> None:
    for template in _templates(objects).values():
        (container,) = template["spec"]["containers"]
        assert re.fullmatch(r"rankwire:\d+\.\d+\.\d+", container["image"])


def test_every_container_says_what_it_needs_and_has_no_limit_of_processor_time(
    objects: list[Object],
) -> None:
    for template in _templates(objects).values():
        resources = template["spec"]["containers"][0]["resources"]
        assert resources["requests"].keys() == {"cpu", "memory"}
        assert resources["limits"].keys() == {"memory"}


def test_secrets_stand_in_secrets_only(objects: list[Object], choice: Choice) -> None:
    elsewhere = json.dumps([found for found in objects if found["kind"] != "Secret"])
    assert not [word for word in SECRET_WORDS if word in elsewhere]
    written = json.dumps(of_kind(objects, "Secret"))
    assert ("storage-word" in written) == (choice["secrets"] == "written")
    for template in _templates(objects).values():
        for variable in template["spec"]["containers"][0].get("env", []):
            if re.search(r"_(URL|SECRET)$", variable["name"]):
                assert variable["valueFrom"]["secretKeyRef"].keys() == {"name", "key"}


def test_secrets_that_are_used_are_there_or_are_the_operators(objects: list[Object]) -> None:
    made = {found["metadata"]["name"]: found for found in of_kind(objects, "Secret")}
    for name, template in _templates(objects).items():
        for variable in template["spec"]["containers"][0].get("env", []):
            wanted = variable.get("valueFrom", {}).get("secretKeyRef")
            if wanted and wanted["name"] in made:
                secret = made[wanted["name"]]
                assert wanted["key"] in secret.get("stringData", {}), (name, wanted)
                # What runs before an installation finds only what is made before it, too.
                early = "helm.sh/hook" in secret["metadata"].get("annotations", {})
                assert early == name.startswith("Job/")


def test_selectors_take_their_pods_and_no_others(objects: list[Object]) -> None:
    templates = _templates(objects)
    for found in of_kind(objects, "Deployment", "PodDisruptionBudget", "Service"):
        selector = found["spec"]["selector"]
        selector = {"matchLabels": selector} if found["kind"] == "Service" else selector
        taken = {
            name
            for name, template in templates.items()
            if _matches(selector, template["metadata"]["labels"])
        }
        name = found["metadata"]["name"]
        if found["kind"] in ("Deployment", "PodDisruptionBudget"):
            assert taken == {f"Deployment/{name}"}
        else:
            assert taken
            assert not [one for one in taken if one.startswith("Job/")]
            port = found["spec"]["ports"][0]["targetPort"]
            for one in taken:
                ports = templates[one]["spec"]["containers"][0]["ports"]
                assert port in {known["name"] for known in ports}


def test_clients_reach_each_door_where_it_is(objects: list[Object], choice: Choice) -> None:
    single = choice["tiers"] == "single"
    for door, component in (("api", "api"), ("live", "hub")):
        spec = named(objects, "Service", f"rankwire-{door}")["spec"]
        assert spec["sessionAffinity"] == "None"
        wanted = "all" if single else component
        assert spec["selector"]["app.kubernetes.io/component"] == wanted


def test_a_disruption_budget_never_stands_in_the_way_of_a_drain(objects: list[Object]) -> None:
    budgets = of_kind(objects, "PodDisruptionBudget")
    deployments = {found["metadata"]["name"] for found in of_kind(objects, "Deployment")}
    assert {found["metadata"]["name"] for found in budgets} == deployments
    for found in budgets:
        assert found["spec"]["maxUnavailable"] == 1
        assert "minAvailable" not in found["spec"]
        assert found["spec"]["unhealthyPodEvictionPolicy"] == "AlwaysAllow"


def test_a_rollout_takes_nothing_away_before_it_brings_something(objects: list[Object]) -> None:
    for found in of_kind(objects, "Deployment"):
        rolling = found["spec"]["strategy"]["rollingUpdate"]
        assert rolling["maxUnavailable"] == 0
        assert rolling["maxSurge"] >= 1


def test_probes_ask_different_questions(objects: list[Object]) -> None:
    for name, template in _templates(objects).items():
        (container,) = template["spec"]["containers"]
        probes = {
            kind: container[kind]["httpGet"]["path"] for kind in container if kind.endswith("Probe")
        }
        if name.startswith("Job/"):
            assert not probes
            continue
        is_node = container["name"] != "metrics-server"
        alive = "/healthz" if is_node else "/livez"
        # What depends on a database is no reason to restart, nor to refuse reads on all nodes.
        assert probes == {
            "startupProbe": alive,
            "livenessProbe": alive,
            "readinessProbe": "/readyz?for=reads" if is_node else "/readyz",
        }
        ports = {port["name"] for port in container["ports"]}
        assert all(
            container[kind]["httpGet"]["port"] in ports and container[kind]["timeoutSeconds"] > 1
            for kind in probes
        )


def test_the_grace_period_holds_all_that_a_node_does_at_its_end(objects: list[Object]) -> None:
    settings = named(objects, "ConfigMap", "rankwire-settings")["data"]
    leave = int(settings["RANKWIRE_NODE_LEAVE_SECONDS"])
    drain = int(settings["RANKWIRE_LIVE_DRAIN_SECONDS"])
    assert leave > 0
    for name, template in _templates(objects).items():
        if name.removeprefix("Deployment/rankwire-") in ("api", "hub", "all"):
            live = 0 if name.endswith("-api") else drain + _LINGER_SECONDS
            grace = template["spec"]["terminationGracePeriodSeconds"]
            assert grace >= leave + live + _SECONDS_OF_REQUESTS + _SECONDS_OF_CHECKPOINT
            # The node itself goes on serving for a while; nothing has to sleep for it.
            assert "lifecycle" not in template["spec"]["containers"][0]


def test_pods_are_spread_over_zones_and_machines(objects: list[Object]) -> None:
    for found in of_kind(objects, "Deployment"):
        spread = found["spec"]["template"]["spec"]["topologySpreadConstraints"]
        keys = [constraint["topologyKey"] for constraint in spread]
        assert keys == ["topology.kubernetes.io/zone", "kubernetes.io/hostname"]
        labels = found["spec"]["template"]["metadata"]["labels"]
        for constraint in spread:
            assert _matches(constraint["labelSelector"], labels)
            assert constraint["whenUnsatisfiable"] == "ScheduleAnyway"


def test_every_pod_is_denied_everything_and_then_allowed_what_it_needs(
    objects: list[Object], choice: Choice
) -> None:
    policies = of_kind(objects, "NetworkPolicy")
    if choice["network"] == "off":
        assert not policies
        return
    for name, template in _templates(objects).items():
        labels = template["metadata"]["labels"]
        specs = [one["spec"] for one in policies if _matches(one["spec"]["podSelector"], labels)]
        denying = [one for one in specs if one.keys() == {"podSelector", "policyTypes"}]
        assert [one["policyTypes"] for one in denying] == [["Ingress", "Egress"]], name
        out = {
            port["port"]
            for one in specs
            for rule in one.get("egress", [])
            for port in rule["ports"]
        }
        entries = {
            port["port"]
            for one in specs
            for rule in one.get("ingress", [])
            for port in rule["ports"]
        }
        component = labels["app.kubernetes.io/component"]
        assert entries == _entries(component)
        assert out == _exits(component, choice)


def test_pods_reach_what_else_is_said_and_nobody_unsaid_scrapes_hubs() -> None:
    more: Object = {"to": [{"ipBlock": {"cidr": "169.254.20.10/32"}}]}
    more |= {"ports": [{"protocol": "UDP", "port": 53}]}
    objects = rendered({"networkPolicy": {"extraEgress": [more], "monitoring": []}})
    policies = of_kind(objects, "NetworkPolicy")
    (open_to,) = [one for one in policies if more in one["spec"].get("egress", [])]
    for template in _templates(objects).values():
        assert _matches(open_to["spec"]["podSelector"], template["metadata"]["labels"])
    nodes = named(objects, "NetworkPolicy", "rankwire-nodes")["spec"]["ingress"]
    (metrics,) = nodes[0]["from"]
    labels = metrics["podSelector"]["matchLabels"]
    assert labels["app.kubernetes.io/component"] == "metrics"


def _entries(component: str) -> set[int]:
    if component in ("hub", "all"):
        return {7700, 7701}
    return {"api": {7700}, "metrics": {6443}, "migrate": set[int]()}[component]


def _exits(component: str, choice: Choice) -> set[int]:
    if component == "metrics":
        return {53, 443, 6443, 7700}
    out = {53, 5432}
    if component != "migrate":
        out |= {6379} if choice["beside"] == "redis" else set()
        out |= {443} if choice["regions"] == "two" else set()
    return out


def test_only_what_watches_reaches_a_hub_over_http(objects: list[Object], choice: Choice) -> None:
    if choice["network"] == "off" or choice["tiers"] == "single":
        return  # everybody does, or nothing is said about it
    hub = {"app.kubernetes.io/name": "rankwire", "app.kubernetes.io/instance": "rankwire"}
    hub |= {"app.kubernetes.io/component": "hub", "rankwire.io/node": "true"}
    for policy in of_kind(objects, "NetworkPolicy"):
        for rule in policy["spec"].get("ingress", []):
            if _matches(policy["spec"]["podSelector"], hub) and rule["ports"][0]["port"] == 7700:
                assert rule["from"]


def test_autoscalers_name_what_is_there_and_never_a_hit_rate(
    objects: list[Object], choice: Choice
) -> None:
    scalers = of_kind(objects, "HorizontalPodAutoscaler", "ScaledObject")
    deployments = {found["metadata"]["name"]: found for found in of_kind(objects, "Deployment")}
    nodes = deployments.keys() - {"rankwire-metrics"}
    if choice["scaling"] == "off":
        assert not scalers
        assert all(deployments[name]["spec"]["replicas"] == 3 for name in nodes)
        return
    assert {found["metadata"]["name"] for found in scalers} == nodes
    kind = "ScaledObject" if choice["metrics"] == "keda" else "HorizontalPodAutoscaler"
    for found in scalers:
        assert found["kind"] == kind
        assert found["spec"]["scaleTargetRef"]["name"] == found["metadata"]["name"]
        # Two that decide about replicas would undo each other's work.
        assert "replicas" not in deployments[found["metadata"]["name"]]["spec"]
        texts = " ".join(_values(found["spec"]))
        assert "cache_hit_rate" not in texts
        assert "database_pool_utilization" not in texts


def test_the_metrics_server_is_there_when_it_is_the_source(
    objects: list[Object], choice: Choice
) -> None:
    ours = choice["metrics"] in ("generated", "cert-manager", "existing")
    services = {found["metadata"]["name"]: found for found in of_kind(objects, "APIService")}
    wanted = {"v1beta1.custom", "v1beta2.custom"} if ours else set()
    # Another server of the cluster may have these already, so only who asks for them gets them.
    wanted |= {"v1beta1.external"} if choice["metrics"] == "cert-manager" else set()
    assert services.keys() == {f"{name}.metrics.k8s.io" for name in wanted}
    for name, found in services.items():
        spec = found["spec"]
        assert name == f"{spec['version']}.{spec['group']}"
        assert "insecureSkipTLSVerify" not in spec
        vouched = "cert-manager.io/inject-ca-from" in found["metadata"].get("annotations", {})
        assert vouched != bool(spec.get("caBundle"))
        service = named(objects, "Service", spec["service"]["name"])
        assert spec["service"]["port"] == service["spec"]["ports"][0]["port"]


def test_rights_are_few(objects: list[Object], choice: Choice) -> None:
    groups = ["custom.metrics.k8s.io"]
    groups += ["external.metrics.k8s.io"] if choice["metrics"] == "cert-manager" else []
    for found in of_kind(objects, "Role", "ClusterRole"):
        for rule in found["rules"]:
            assert set(rule["verbs"]) <= {"get", "list", "watch"}
            assert "*" not in rule["apiGroups"]
            if "*" in rule["resources"]:
                assert rule["apiGroups"] == groups
    accounts = {
        (one["name"], one["namespace"])
        for found in of_kind(objects, "RoleBinding", "ClusterRoleBinding")
        for one in found["subjects"]
    }
    assert accounts <= {
        ("rankwire-metrics", "game"),
        ("horizontal-pod-autoscaler", "kube-system"),
    }


def test_the_migration_comes_before_the_nodes(objects: list[Object], choice: Choice) -> None:
    jobs = of_kind(objects, "Job")
    assert len(jobs) == (choice["migrations"] == "on")
    for job in jobs:
        assert job["metadata"]["annotations"]["helm.sh/hook"] == "pre-install,pre-upgrade"
        container = job["spec"]["template"]["spec"]["containers"][0]
        assert container["args"] == ["migrate"]
        assert job["spec"]["template"]["spec"]["restartPolicy"] == "Never"
        assert job["spec"]["activeDeadlineSeconds"] == 600
