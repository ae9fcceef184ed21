"""The chart's values: each is described, wrong ones are refused, and settings reach the nodes."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, Final

import pytest
import yaml

from fix_helm import CHART, Object, merged, named, of_kind, rendered, template, values_of
from rankwire.settings import FIELDS, Field, load

_SCHEMA: Final = json.loads((CHART / "values.schema.json").read_text(encoding="utf-8"))
_DEFAULTS: Final = yaml.safe_load((CHART / "values.yaml").read_text(encoding="utf-8"))
_SECRET: Final = {
    "storage-url": "postgresql://rankwire@db/rankwire",
    "replica-url": "postgresql://rankwire@replica/rankwire",
    "redis-url": "redis://redis:6379",
    "regions-secret": "of-more-than-32-characters-in-all",
}
# Decided by other values than `settings`.
_GIVEN: Final = frozenset(
    {
        *("http.host", "http.port", "live.host", "live.port", "live.max_connections"),
        *("live.drain_seconds", "auth.mode", "auth.tokens", "storage.path", "storage.url"),
        *("storage.replica_url", "redis.url", "regions.secret", "node.role"),
        *("node.leave_seconds",),
    }
)
_WRONG: Final[Mapping[str, tuple[Mapping[str, Any], str]]] = {
    "a misspelt value": ({"replica": 3}, "replica"),
    "a misspelt value within": ({"api": {"maxReplica": 3}}, "maxReplica"),
    "a word that is none": ({"tiers": "both"}, "tiers"),
    "a text for a number": ({"drain": {"leaveSeconds": "ten"}}, "leaveSeconds"),
    "less than there can be": ({"drain": {"drainSeconds": -1}}, "drainSeconds"),
    "more than there can be": ({"drain": {"leaveSeconds": 301}}, "leaveSeconds"),
    "a misspelt setting": ({"settings": {"live": {"tick_mss": 50}}}, "tick_mss"),
    "a setting out of range": ({"settings": {"live": {"tick_ms": 5}}}, "tick_ms"),
    "a setting that the chart gives": ({"settings": {"node": {"role": "api"}}}, "node"),
    "a secret among the settings": ({"settings": {"regions": {"secret": "x" * 32}}}, "secret"),
    "no address of a database": ({"secrets": {"existing": ""}}, "storageUrl"),
    "an address of another database": (
        {"secrets": {"existing": "", "storageUrl": "mysql://db"}},
        "storageUrl",
    ),
    "an address of Redis that is none": (
        {"secrets": {"existing": "", "storageUrl": "postgresql://db", "redisUrl": "redis"}},
        "redisUrl",
    ),
    "no address of Redis": (
        {"secrets": {"existing": "", "storageUrl": "postgresql://db"}},
        "secrets.redisUrl is needed for redis.enabled",
    ),
    "no keys of tokens": (
        {
            "auth": {"tokens": True},
            "redis": {"enabled": False},
            "secrets": {"existing": "", "storageUrl": "postgresql://db"},
        },
        "secrets.jwks is needed for auth.tokens",
    ),
    "a certificate of nobody": ({"metricsServer": {"tls": {"mode": "existing"}}}, "caBundle"),
    "an ingress without a host": ({"ingress": {"enabled": True}}, "host"),
    "a route without a gateway": ({"gateway": {"enabled": True}}, "parentRefs"),
    "no bound of memory": ({"hub": {"resources": {"limits": None}}}, "limits"),
    "a limit of processor time": ({"hub": {"resources": {"limits": {"cpu": 2}}}}, "cpu"),
    "a quantity that is none": (
        {"hub": {"resources": {"requests": {"memory": "2 GB"}}}},
        "memory",
    ),
    "an autoscaler without a target": (
        {"api": {"autoscaling": {"cpuUtilization": 0, "memoryUtilization": 0, "connections": 0}}},
        "autoscaling",
    ),
    "no replicas": ({"api": {"autoscaling": {"minReplicas": 0}}}, "minReplicas"),
    "fewer at most than at least": (
        {"api": {"autoscaling": {"maxReplicas": 2}}},
        "api.autoscaling: minReplicas 3 is more than maxReplicas 2",
    ),
    "more nodes than the database takes": (
        {"storage": {"connections": 1049}},
        "the nodes take up to 1050 connections to PostgreSQL, and there are 1049",
    ),
    "more nodes of a region than the database takes": (
        {
            "storage": {"connections": 1469},
            "settings": {"regions": {"name": "eu", "peers": ["us=https://us.example"]}},
        },
        "the nodes take up to 1470 connections to PostgreSQL, and there are 1469",
    ),
    "a budget that blocks": ({"hub": {"maxUnavailable": 0}}, "maxUnavailable"),
    "more watchers than files": (
        {"hub": {"openFiles": 20_000}},
        "45175 are more than the 19000 that a node takes with openFiles 20000",
    ),
    "the latest image": ({"image": {"tag": "latest"}}, "image.tag: latest is another program"),
    "a digest that is none": ({"image": {"digest": "sha256:12"}}, "digest"),
    "a setting as a variable": (
        {"extraEnv": [{"name": "RANKWIRE_LOG_LEVEL", "value": "debug"}]},
        "RANKWIRE_LOG_LEVEL is a setting of the nodes; it belongs into settings",
    ),
    "a region alone": (
        {"settings": {"regions": {"name": "eu"}}},
        "settings.regions: peers is needed where name is given",
    ),
    "no names": ({"networkPolicy": {"dns": []}}, "dns"),
}


@pytest.mark.parametrize(("values", "said"), _WRONG.values(), ids=_WRONG)
def test_wrong_values_are_refused_by_name(values: Mapping[str, Any], said: str) -> None:
    done = template(values)
    assert done.returncode != 0, "it was taken"
    assert said in done.stderr
    assert not done.stdout


def _walk(schema: Mapping[str, Any], path: str) -> Iterator[tuple[str, Mapping[str, Any]]]:
    """Give what a schema says of every value, with references resolved."""
    for part in schema.get("allOf", []):
        name = part["$ref"].removeprefix("#/definitions/")
        yield from _walk(_SCHEMA["definitions"][name], path)
    for name, inner in schema.get("properties", {}).items():
        # Peers of network policies are what Kubernetes says of them.
        yield f"{path}.{name}", inner
        yield from _walk(inner, f"{path}.{name}")


def test_every_value_is_described_and_nothing_else_is_taken() -> None:
    described = dict(_walk(_SCHEMA, ""))
    for path, schema in described.items():
        assert schema.get("description"), path
        if schema.get("type") == "object" and path != ".global":
            strict = schema.get("additionalProperties", True)
            assert strict is not True or "properties" not in schema, path

    def paths(values: Mapping[str, Any], path: str) -> Iterator[str]:
        for name, value in values.items():
            yield f"{path}.{name}"
            inner = described.get(f"{path}.{name}", {})
            if isinstance(value, dict) and ("properties" in inner or "allOf" in inner):
                yield from paths(value, f"{path}.{name}")

    defaults = set(paths(_DEFAULTS, ""))
    assert defaults <= described.keys()
    optional = (".settings.", ".global", "ephemeral-storage", "selectPolicy", ".extraEnv")
    missing = {path for path in described if not any(one in path for one in optional)}
    assert missing <= defaults


def _extreme(field: Field) -> object:
    """Give an allowed value of a setting that is not its default."""
    if field.choices:
        return next(one for one in reversed(field.choices) if one != field.default)
    if field.is_list:
        return ["us=https://us.example", "asia=https://asia.example"]
    if field.kind in (int, float):
        least, most = field.meta.ge, field.meta.le
        return most if field.default != most else least
    return _TEXTS.get(field.name, "some-text")


_TEXTS: Final = {
    "regions.name": "eu",
    "regions.primary": "us",
    "live.origins": "https://a.example https://b.example",
    "ops.archive_url": "s3://bucket/prefix",
}


def _environment(container: Object, objects: list[Object]) -> dict[str, str]:
    """Give the variables that a container sees."""
    seen: dict[str, str] = {}
    for source in container["envFrom"]:
        seen |= named(objects, "ConfigMap", source["configMapRef"]["name"])["data"]
    for variable in container["env"]:
        if secret := variable.get("valueFrom", {}).get("secretKeyRef"):
            seen[variable["name"]] = _SECRET[secret["key"]]
        elif "value" in variable:
            seen[variable["name"]] = variable["value"]
    return seen


def _empty_file(place: Path) -> Path:
    """Make a file of settings that says nothing, so that no other is looked for."""
    empty = place / "rankwire.toml"
    empty.touch()
    return empty


def test_every_setting_reaches_every_node(tmp_path: Path) -> None:
    left = [field for field in FIELDS if field.name not in _GIVEN]
    wanted: dict[str, dict[str, Any]] = {}
    for field in left:
        wanted.setdefault(field.section, {})[field.key] = _extreme(field)
    # Two of them have to fit each other.
    wanted["ops"] |= {"sample_seconds": 0.5, "window_seconds": 300.25}
    wanted["live"] |= {"tick_ms": 10_000}
    objects = rendered(
        merged((values_of({"beside": "redis", "tokens": "off"}), {"settings": wanted}))
    )
    empty = _empty_file(tmp_path)
    for name in ("api", "hub"):
        deployment = named(objects, "Deployment", f"rankwire-{name}")
        container = deployment["spec"]["template"]["spec"]["containers"][0]
        environment = _environment(container, objects)
        settings = load(empty, environment, {})
        for field in left:
            found = getattr(getattr(settings, field.section), field.key)
            given = wanted[field.section][field.key]
            assert found == (tuple(given) if field.is_list else given), field.name
        assert settings.node.role == name
        assert settings.storage.url == _SECRET["storage-url"]
        assert settings.redis.url == _SECRET["redis-url"]
        assert settings.regions.secret == _SECRET["regions-secret"]


def test_large_numbers_are_written_in_full_however_they_are_given() -> None:
    for way in ("--set", "--set-json"):
        objects = rendered({}, way, "settings.limits.pending_submits=10000000")
        data = named(objects, "ConfigMap", "rankwire-settings")["data"]
        assert data["RANKWIRE_LIMITS_PENDING_SUBMITS"] == "10000000"


def test_settings_of_the_chart_are_those_of_the_program() -> None:
    sections = _SCHEMA["definitions"]["settings"]["properties"]
    known = {f"{name}.{key}" for name, one in sections.items() for key in one["properties"]}
    assert known == {field.name for field in FIELDS} - _GIVEN


def test_a_hub_takes_as_many_watchers_as_it_may_open_files(tmp_path: Path) -> None:
    objects = rendered({"hub": {"openFiles": 101_000}})
    hub = named(objects, "Deployment", "rankwire-hub")["spec"]["template"]["spec"]
    settings = load(_empty_file(tmp_path), _environment(hub["containers"][0], objects), {})
    assert settings.live.max_connections == 100_000
    assert settings.auth.mode == "keys"
    assert (settings.http.host, settings.live.host) == ("0.0.0.0", "0.0.0.0")


def test_the_api_is_scaled_by_the_numbers_it_was_designed_for() -> None:
    (api,) = [
        found["spec"]
        for found in of_kind(rendered({}), "HorizontalPodAutoscaler")
        if found["metadata"]["name"] == "rankwire-api"
    ]
    assert api == {
        "scaleTargetRef": {"apiVersion": "apps/v1", "kind": "Deployment", "name": "rankwire-api"},
        "minReplicas": 3,
        "maxReplicas": 50,
        "metrics": [
            _resource("cpu", 70),
            _resource("memory", 80),
            {
                "type": "Pods",
                "pods": {
                    "metric": {"name": "websocket_connections_per_pod"},
                    "target": {"type": "AverageValue", "averageValue": "1000"},
                },
            },
        ],
        "behavior": {
            "scaleUp": {
                "stabilizationWindowSeconds": 60,
                "policies": [
                    {"type": "Percent", "value": 100, "periodSeconds": 15},
                    {"type": "Pods", "value": 4, "periodSeconds": 15},
                ],
                "selectPolicy": "Max",
            },
            "scaleDown": {
                "stabilizationWindowSeconds": 300,
                "policies": [{"type": "Percent", "value": 10, "periodSeconds": 60}],
            },
        },
    }


def _resource(name: str, percent: int) -> Object:
    target = {"type": "Utilization", "averageUtilization": percent}
    return {"type": "Resource", "resource": {"name": name, "target": target}}


def test_nodes_that_fit_the_database_are_taken() -> None:
    rendered({"storage": {"connections": 1050}})
    few = {"replicas": 2, "autoscaling": {"enabled": False}}
    pool = {"settings": {"storage": {"pool_size": 1}}, "storage": {"connections": 2 * 2 * 8}}
    rendered({"api": few, "hub": few, **pool})


def test_grace_follows_the_values() -> None:
    drain = {"leaveSeconds": 300, "drainSeconds": 300, "checkpointSeconds": 100}
    objects = rendered({"drain": drain})
    for name, seconds in (("api", 300 + 5 + 100), ("hub", 300 + 300 + 7 + 5 + 100)):
        spec = named(objects, "Deployment", f"rankwire-{name}")["spec"]["template"]["spec"]
        assert spec["terminationGracePeriodSeconds"] == seconds


def test_a_change_of_settings_replaces_pods_and_nothing_else_does() -> None:
    def template_of(values: object, *arguments: str) -> Object:
        hub = named(rendered(values, *arguments), "Deployment", "rankwire-hub")
        found: Object = hub["spec"]["template"]
        return found

    before = template_of({})
    assert template_of({"settings": {"log": {"level": "debug"}}}) != before
    assert template_of({"hub": {"autoscaling": {"maxReplicas": 30}}}) == before
    assert template_of({"monitoring": {"serviceMonitor": {"enabled": True}}}) == before
