"""The scenarios with the unmodified Centrifuge SDK for Python, in both encodings."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable
from functools import partial

import pytest

from fix_sdk import Guarded, MakeSdk, RefusedError, python_sdk
from fix_server import PATIENCE_SECONDS
from sdk_scenarios import Scenarios


@pytest.fixture(params=["json", "protobuf"])
def make(request: pytest.FixtureRequest, no_tasks_left: None) -> MakeSdk:
    del no_tasks_left
    return partial(python_sdk, protobuf=request.param == "protobuf")


class TestPython(Scenarios):
    """All scenarios."""


@pytest.mark.usefixtures("no_tasks_left")
async def test_a_token_that_ends_without_another_permits_nothing(
    guarded: Guarded, board: str
) -> None:
    """The SDK for JavaScript leaves by itself then; this one goes on."""
    async with python_sdk(guarded.server.live_url, protobuf=False) as sdk:
        # The time is over, but for some seconds that clocks may differ.
        await sdk.connect(token=guarded.signer.token("ada", -2))
        async with asyncio.timeout(PATIENCE_SECONDS):
            while await _code(sdk.rpc("top", {"board": board})) != 109:  # noqa: ASYNC110
                await asyncio.sleep(0.1)
        assert len(sdk.all("connected")) == 1


async def _code(call: Awaitable[object]) -> int:
    """The code of the error that is the answer; 0 if there is none."""
    try:
        await call
    except RefusedError as error:
        return error.code
    return 0
