"""Selectors accept, refuse and match what Kubernetes' own package does.

golden/selectors.json was made by that package; golden/generate says how.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Final

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rankwire.autoscale.labels import (
    MOST_CHARACTERS,
    Operator,
    Requirement,
    Selector,
    SelectorError,
    parse,
)

_GOLDEN: Final = json.loads((Path(__file__).parent / "golden" / "selectors.json").read_text())
_KEYS: Final = st.sampled_from(["app", "zone", "a.b/c"])
_VALUES: Final = st.sampled_from(["", "hub", "in", "x_y.z"])
_LABELS: Final = st.dictionaries(_KEYS, _VALUES)


def test_selectors_select_what_they_select_for_kubernetes() -> None:
    assert len(_GOLDEN["rows"]) == 900
    for text, is_good, matched in _GOLDEN["rows"]:
        if not is_good:
            with pytest.raises(SelectorError):
                parse(text)
            continue
        selector = parse(text)
        found = [i for i, labels in enumerate(_GOLDEN["sets"]) if selector.matches(labels)]
        assert found == matched, text


@given(_KEYS, st.sampled_from(["in", "notin"]), st.frozensets(_VALUES, min_size=1), _LABELS)
def test_sets_are_read_as_they_are_written(
    key: str, operator: Operator, values: frozenset[str], labels: Mapping[str, str]
) -> None:
    selector = parse(f"{key} {operator} ({','.join(sorted(values))})")
    assert selector == Selector((Requirement(key, operator, values),))
    assert selector.matches(labels) == ((labels.get(key) in values) == (operator == "in"))


@given(st.text("ab=!(),<>in ", max_size=20))
def test_no_text_is_worse_than_refused(text: str) -> None:
    try:
        selector = parse(text)
    except SelectorError:
        return
    assert isinstance(selector.matches({}), bool)


def test_a_selector_cannot_be_endless() -> None:
    with pytest.raises(SelectorError, match=str(MOST_CHARACTERS)):
        parse("a," * MOST_CHARACTERS + "a")
