"""The deltas that the hub is known to write, applied by the Centrifuge SDK for Python."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Final

import pytest
from centrifuge.fossil import apply_delta  # type: ignore[import-untyped]

_FILE: Final = Path(__file__).parents[2] / "rust/hub/tests/golden/fossil.json"
_CASES: Final[list[dict[str, str]]] = json.loads(_FILE.read_text(encoding="utf-8"))


@pytest.mark.parametrize("case", _CASES, ids=[case["name"] for case in _CASES])
def test_the_sdk_makes_the_new_text_of_the_old_one(case: dict[str, str]) -> None:
    made = apply_delta(case["old"].encode(), case["delta"].encode())
    assert bytes(made).decode() == case["new"]


def test_the_sdk_refuses_a_delta_of_another_text() -> None:
    case = next(case for case in _CASES if case["name"] == "one score changes")
    with pytest.raises(ValueError, match="checksum"):
        apply_delta(case["old"].replace("ann", "eve").encode(), case["delta"].encode())
