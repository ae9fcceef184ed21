"""Fixtures that several folders use."""

from fix_engine import directory
from fix_server import new_server, server

__all__ = ["directory", "new_server", "server"]
