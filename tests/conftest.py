"""Fixtures that several folders use."""

import hypothesis
import pytest

from fix_archive import bucket, new_old, old, s3_server
from fix_chaos import chaos_library, new_chaos
from fix_cluster import new_cluster
from fix_disk import small_disk
from fix_engine import directory
from fix_namespaces import new_land
from fix_nodes import new_node
from fix_oci import new_engine
from fix_postgres import (
    counting_postgres,
    counting_server,
    new_postgres,
    postgres,
    postgres_server,
    postgres_template,
)
from fix_redis import new_redis, redis_cluster, redis_sentinel, redis_server
from fix_region_journal import pair, places
from fix_regions import new_regions
from fix_sdk import board, guarded, no_tasks_left, node_modules
from fix_server import new_server, server
from fix_storage import new_place, place
from fix_worlds import kept_world, new_world, world

# Timing decides no test, however busy the machine is.
hypothesis.settings.register_profile("untimed", deadline=None)
hypothesis.settings.load_profile("untimed")

# Its assertions should tell as much as those in tests. It is imported later.
pytest.register_assert_rewrite("sdk_scenarios")

__all__ = [
    "board",
    "bucket",
    "chaos_library",
    "counting_postgres",
    "counting_server",
    "directory",
    "guarded",
    "kept_world",
    "new_chaos",
    "new_cluster",
    "new_engine",
    "new_land",
    "new_node",
    "new_old",
    "new_place",
    "new_postgres",
    "new_redis",
    "new_regions",
    "new_server",
    "new_world",
    "no_tasks_left",
    "node_modules",
    "old",
    "pair",
    "place",
    "places",
    "postgres",
    "postgres_server",
    "postgres_template",
    "redis_cluster",
    "redis_sentinel",
    "redis_server",
    "s3_server",
    "server",
    "small_disk",
    "world",
]
