"""Rankwire: a real-time leaderboard server with exact ranks, durable submits and live views."""

from rankwire._core import __version__

__all__ = ["__version__"]
