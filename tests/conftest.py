"""Fixtures that several folders use."""

import pytest

from fix_engine import directory
from fix_sdk import board, guarded, no_tasks_left, node_modules
from fix_server import new_server, server

# Its assertions should tell as much as those in tests. It is imported later.
pytest.register_assert_rewrite("sdk_scenarios")

__all__ = [
    "board",
    "directory",
    "guarded",
    "new_server",
    "no_tasks_left",
    "node_modules",
    "server",
]
