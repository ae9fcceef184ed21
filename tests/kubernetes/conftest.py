"""Fixtures of the tests against real Kubernetes programs."""

from fix_kubernetes import cluster
from fix_metrics_server import new_metrics_server, pki

__all__ = ["cluster", "new_metrics_server", "pki"]
