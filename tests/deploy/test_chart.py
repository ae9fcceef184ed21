"""The chart renders, for every position of its switches, what Kubernetes 1.29 to 1.37 take.

Usually that is a set of combinations with every two positions together; `make verify-chart` takes
all combinations.
"""

from __future__ import annotations

import os
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from typing import Final

import pytest
import yaml

from fix_helm import (
    CHART,
    SWITCHES,
    Choice,
    Object,
    all_choices,
    documents,
    named,
    objects_of,
    paired_choices,
    rendered,
    run_helm,
    values_of,
)
from fix_kinds import VERSIONS, UnknownKindError, problems

_PAIRED: Final = paired_choices()
_CHOICES: Final = all_choices() if os.environ.get("VERIFY_CHART") else _PAIRED
_WORKERS: Final = 2


def _distinct(choices: list[Choice]) -> list[Object]:
    """Render combinations and give each different object once.

    Most are written alike in thousands of combinations, so they are told apart before being read.
    """
    with ThreadPoolExecutor(_WORKERS) as pool:
        everything = pool.map(lambda choice: documents(values_of(choice)), choices)
        different = {document for some in everything for document in some}
    read = (yaml.load(document, Loader=yaml.CSafeLoader) for document in different)
    return [found for found in read if found]


def test_every_two_positions_of_switches_are_tried_together() -> None:
    for first, positions in SWITCHES.items():
        for second, others in SWITCHES.items():
            tried = {(choice[first], choice[second]) for choice in _PAIRED}
            wanted = {(one, other) for one in positions for other in others if first != second}
            assert wanted <= tried


def test_helm_finds_nothing_to_say() -> None:
    done = run_helm("lint", "--strict", str(CHART))
    assert done.returncode == 0, done.stdout + done.stderr
    assert "1 chart(s) linted, 0 chart(s) failed" in done.stdout


@pytest.mark.timeout(7200)
def test_every_object_is_what_every_version_of_kubernetes_takes() -> None:
    found = _distinct(_CHOICES)
    wrong = [
        f"{version}: {problem}"
        for one in found
        for version in VERSIONS
        for problem in problems(one, version)
    ]
    shown = f"of {len(_CHOICES)} combinations and {len(found)} objects"
    assert not wrong, "\n".join([shown, *wrong[:20]])


def test_the_check_of_objects_is_strict() -> None:
    hub = named(objects_of(_PAIRED[0]), "Deployment", "rankwire-hub")
    misspelt = hub | {"spec": hub["spec"] | {"minReadySecond": 5}}
    of_wrong_type = hub | {"spec": hub["spec"] | {"minReadySeconds": "5"}}
    for version in VERSIONS:
        assert problems(hub, version) == []
        assert "minReadySecond" in problems(misspelt, version)[0]
        assert "minReadySeconds" in problems(of_wrong_type, version)[0]
    with pytest.raises(UnknownKindError):
        problems(hub | {"kind": "Deploymint"}, "1.33")


def test_the_check_of_added_kinds_is_strict() -> None:
    (keda,) = [choice for choice in _PAIRED if choice["metrics"] == "keda"][:1]
    (first, *_) = [
        found
        for found in rendered(values_of({**keda, "scaling": "on"}))
        if "keda" in found["apiVersion"]
    ]
    assert problems(first, "1.33") == []
    assert problems(first | {"spec": first["spec"] | {"minReplicas": 3}}, "1.33")
    assert problems(first | {"metadata": first["metadata"] | {"label": {}}}, "1.33")


@pytest.mark.parametrize("choice", _PAIRED, ids=lambda choice: "-".join(choice.values()))
def test_no_two_objects_have_the_same_name(choice: Choice) -> None:
    objects = objects_of(choice)
    names = Counter(
        (found["kind"], found["metadata"].get("namespace"), found["metadata"]["name"])
        for found in objects
    )
    assert set(names.values()) == {1}
