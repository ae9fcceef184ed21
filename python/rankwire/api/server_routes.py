"""Rows of the route table that are about the server and its region, and not about boards."""

from __future__ import annotations

from typing import Final

from rankwire.api import examples, problems
from rankwire.api.bodies import JSON, MSGPACK, Body, plain_decoders
from rankwire.api.health import HEALTH_JSON
from rankwire.api.operations import BODY, NAMED, Operation, Reply
from rankwire.model import Digest, Status
from rankwire.model_queries import ReadyQuery
from rankwire.model_regions import Failover, NodeHealth, Out, Verify, Verifying
from rankwire.ops.caching.report import CachingReport
from rankwire.ops.report.bundle import Bundle
from rankwire.sync.regions.status import FailoverReport, RegionsStatus

SERVER: Final = (
    Operation(
        "alive",
        "GET",
        "/healthz",
        "server",
        "public",
        "Tell whether the process answers",
        lambda service, _: service.alive(),
        {200: Reply("It does.", Status, {"status": "ok"})},
        NAMED,
    ),
    Operation(
        "ready",
        "GET",
        "/readyz",
        "server",
        "public",
        "Tell whether the server can take writes, or serve reads",
        lambda service, call: service.ready(call.query),
        {200: Reply("It can.", Status, {"status": "ready"})},
        (*NAMED, problems.UNAVAILABLE),
        query=ReadyQuery,
    ),
    Operation(
        "health",
        "GET",
        "/health",
        "server",
        "public",
        "Tell whether traffic should come here, and why not",
        lambda service, _: service.doctor.health(),
        {
            200: Reply("It should.", NodeHealth, examples.HEALTH, (HEALTH_JSON,)),
            503: Reply("It should not.", NodeHealth, examples.HEALTH_FAILS, (HEALTH_JSON,)),
        },
        NAMED,
    ),
    Operation(
        "metrics",
        "GET",
        "/metrics",
        "server",
        "operate",
        "Get the metrics for Prometheus",
        lambda service, call: service.metrics(call.headers.get(b"accept", b"").decode("latin-1")),
        {200: Reply("The metrics.", str, media=("text/plain", "application/openmetrics-text"))},
        NAMED,
    ),
    Operation(
        "digest",
        "GET",
        "/v1/digest",
        "server",
        "operate",
        "Get digests of all boards, and which commits they include",
        lambda service, _: service.digest(),
        {200: Reply("The digests.", Digest, examples.DIGEST)},
        NAMED,
    ),
    Operation(
        "ops_report",
        "GET",
        "/v1/ops/report",
        "server",
        "operate",
        "Get what limits the server, why, and what would help",
        lambda service, _: service.analytics.report(),
        {200: Reply("The report.", Bundle)},
        NAMED,
    ),
    Operation(
        "ops_caching",
        "GET",
        "/v1/ops/caching",
        "server",
        "operate",
        "Get what is read most, and what caching it brings",
        lambda service, _: service.analytics.caching(),
        {200: Reply("The report.", CachingReport)},
        NAMED,
    ),
    Operation(
        "openapi",
        "GET",
        "/openapi.json",
        "server",
        "public",
        "Get this document",
        lambda service, _: service.openapi(),
        {200: Reply("The document.", dict)},
        NAMED,
    ),
)

_OF_REGION: Final = (*NAMED, problems.REGIONS_OFF, problems.UNAVAILABLE)
_OUT: Final = "/v1/regions/out"

REGIONS: Final = (
    Operation(
        "regions",
        "GET",
        "/v1/regions",
        "regions",
        "operate",
        "Get how this region is, and its links to the others",
        lambda service, _: service.regions.status(),
        {200: Reply("The state.", RegionsStatus)},
        _OF_REGION,
    ),
    Operation(
        "verify_regions",
        "POST",
        "/v1/regions/verify",
        "regions",
        "direct_regions",
        "Compare with the other regions, and make equal what differs if asked to",
        lambda service, call: service.regions.verify(call.body),
        {
            200: Reply("It is done; `last` is what was found.", Verifying),
            202: Reply("It goes on; ask again with GET.", Verifying),
        },
        (*_OF_REGION, *BODY, problems.BUSY),
        body=Body(
            Verify,
            plain_decoders(Verify),
            dict.fromkeys((JSON, MSGPACK), examples.VERIFY),
            default=Verify(),
            is_small=False,
        ),
    ),
    Operation(
        "verifying_regions",
        "GET",
        "/v1/regions/verify",
        "regions",
        "operate",
        "Get how far a comparison is, and what the last one has found",
        lambda service, _: service.regions.verifying(),
        {200: Reply("The comparisons.", Verifying)},
        _OF_REGION,
    ),
    Operation(
        "failover",
        "POST",
        "/v1/regions/failover",
        "regions",
        "direct_regions",
        "Make this region the primary",
        lambda service, call: service.regions.failover(call.body),
        {200: Reply("It is.", FailoverReport)},
        (*_OF_REGION, *BODY, problems.REFUSED_FAILOVER),
        body=Body(
            Failover,
            plain_decoders(Failover),
            dict.fromkeys((JSON, MSGPACK), examples.FAILOVER),
            default=Failover(),
        ),
    ),
    Operation(
        "failback",
        "POST",
        "/v1/regions/failback",
        "regions",
        "direct_regions",
        "Make the region of `regions.primary` the primary again",
        lambda service, _: service.regions.failback(),
        {200: Reply("It is.", FailoverReport)},
        (*_OF_REGION, problems.REFUSED_FAILOVER),
    ),
    Operation(
        "take_region_out",
        "PUT",
        _OUT,
        "regions",
        "direct_regions",
        "Have `GET /health` fail on all nodes of this region",
        lambda service, call: service.regions.take_out(call.body),
        {204: Reply("It does, within two seconds.")},
        (*_OF_REGION, *BODY),
        body=Body(Out, plain_decoders(Out), dict.fromkeys((JSON, MSGPACK), examples.OUT)),
    ),
    Operation(
        "take_region_in",
        "DELETE",
        _OUT,
        "regions",
        "direct_regions",
        "Take that back",
        lambda service, _: service.regions.take_in(),
        {204: Reply("It is taken back, within two seconds.")},
        _OF_REGION,
    ),
)
