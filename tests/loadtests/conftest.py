"""A cluster that the tests of this folder put under load, one after the other."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

import cluster
import harness
from cluster import Cluster
from fix_postgres import postgres_tool
from fix_swarm import swarm_program

__all__ = ["swarm_program"]


@pytest.fixture(scope="module")
def shared() -> Iterator[Cluster]:
    """Run a cluster with two nodes for sockets."""
    postgres_tool("postgres")
    cluster.require()
    # PostgreSQL runs as another user, who may not go into pytest's directories.
    with tempfile.TemporaryDirectory(prefix="rankwire-play-") as name:
        flags = ("--live-tick-ms", "20", "--live-personal-tick-ms", "50")
        with cluster.cluster(Path(name), 2, 1, *flags) as running:
            yield running


@pytest.fixture
def running(shared: Cluster) -> Cluster:
    """Take all boards from the cluster."""
    port = shared.apis[0].port
    page = harness.call(port, "GET", "/v1/boards?limit=1000")
    for row in page["boards"]:
        harness.call(port, "DELETE", f"/v1/boards/{row['board']}")
    return shared
