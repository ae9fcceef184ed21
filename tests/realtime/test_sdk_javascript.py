"""The scenarios with the unmodified Centrifuge SDK for JavaScript, in both encodings."""

from __future__ import annotations

from functools import partial

import pytest

from fix_sdk import MakeSdk, javascript_sdk
from sdk_scenarios import Scenarios


@pytest.fixture(params=["json", "protobuf"])
def make(request: pytest.FixtureRequest, node_modules: object) -> MakeSdk:
    del node_modules
    return partial(javascript_sdk, protobuf=request.param == "protobuf")


class TestJavaScript(Scenarios):
    """All scenarios."""
