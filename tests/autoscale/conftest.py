"""Fixtures of the tests of autoscaling."""

from fix_metrics_server import new_metrics_server, pki

__all__ = ["new_metrics_server", "pki"]
