"""Objects go over the wire as Go's encoder writes the original types, byte for byte.

golden/objects.json was made by those types; golden/generate says how.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any, Final

import pytest

from rankwire.autoscale import wire, wire_discovery
from rankwire.autoscale.labels import SelectorError, parse
from rankwire.autoscale.quantity import parse as quantity
from rankwire.autoscale.wire import Measured, custom_list, external_list, status, taken_apart

_GOLDEN: Final[dict[str, str]] = json.loads(
    (Path(__file__).parent / "golden" / "objects.json").read_text()
)
_AT: Final = 1_790_000_000.9
_RATIO: Final = Measured(quantity("850m"), _AT, 60, "game", "rankwire-hub-0")
_NOW: Final = Measured(quantity("850m"), _AT, None, "game", "rankwire-hub-0")
_COUNT: Final = Measured(quantity("18750"), _AT, None, "game", "rankwire-hub-0")
_TOTAL: Final = Measured(quantity("18750"), _AT, None, "", "game", "Namespace")
_EXTERNAL: Final = Measured(
    quantity("850m"), _AT, 60, labels={"pod": "rankwire-hub-0", "app": "hub", "Z": "1"}
)
_POOL: Final = taken_apart(parse("pool=primary"))
_SET: Final = taken_apart(parse("pool in (replica,primary),x,!y,b=2,a=1,z notin (q)"))
_CONNECTIONS: Final = "websocket_connections_per_pod"
_FORBIDDEN: Final = (
    'pods.custom.metrics.k8s.io "*" is forbidden: User "eve" cannot get resource'
    ' "pods/cache_hit_rate" in API group "custom.metrics.k8s.io" in the namespace "game"'
)


@pytest.mark.parametrize(
    ("name", "made"),
    {
        "custom2_empty": custom_list("v1beta2", "x", None, []),
        "custom2_pods": custom_list("v1beta2", "cache_hit_rate", _POOL, [_RATIO]),
        "custom2_namespace": custom_list("v1beta2", _CONNECTIONS, None, [_TOTAL]),
        "custom2_selected": custom_list("v1beta2", "database_pool_utilization", _SET, [_NOW]),
        "custom1_pods": custom_list("v1beta1", "cache_hit_rate", _POOL, [_RATIO]),
        "custom1_plain": custom_list("v1beta1", _CONNECTIONS, None, [_COUNT]),
        "external_pods": external_list("score_updates_per_second", [_EXTERNAL]),
        "external_empty": external_list("x", []),
        "groups": wire_discovery.groups(),
        "group": wire_discovery.group("custom.metrics.k8s.io"),
        "resources": wire_discovery.resources(
            "custom.metrics.k8s.io", "v1beta2", ["cache_hit_rate"]
        ),
        "unauthorized": status(401, "Unauthorized", "Unauthorized"),
        "forbidden": status(
            403, "Forbidden", _FORBIDDEN, wire.StatusDetails("*", "custom.metrics.k8s.io", "pods")
        ),
        "lost": status(404, "NotFound", 'the server could not find the metric a<b> & "c" for pods'),
    }.items(),
)
def test_objects_have_the_bytes_of_the_original(name: str, made: Any) -> None:
    assert wire.encode(made).decode() == _GOLDEN[name]


def test_the_version_has_the_form_of_the_original() -> None:
    ours = json.loads(wire.encode(wire_discovery.version()))
    assert list(ours) == list(json.loads(_GOLDEN["version"]))


@pytest.mark.parametrize("text", ["pool!=primary", "n>5", "n<5"])
def test_what_an_object_cannot_say_chooses_no_series(text: str) -> None:
    with pytest.raises(SelectorError):
        taken_apart(parse(text))


def test_a_selector_of_everything_is_none() -> None:
    assert taken_apart(parse("")) is None
