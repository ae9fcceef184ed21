"""Puts the API together: the lean path in front, the framework's routes behind it.

Promises: every row of the route table is served, HEAD wherever GET is; a known path with another
method gets 405 with `Allow`, an unknown path 404; and every refusal is a problem.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from rankwire.api.across import Across, Alone
from rankwire.api.endpoint import Endpoint
from rankwire.api.forward import Forward
from rankwire.api.gate import open_gate
from rankwire.api.hot import Hot
from rankwire.api.openapi import document
from rankwire.api.operations import Operation
from rankwire.api.parts import Parts
from rankwire.api.peers import PEER_ROUTES, PeerEndpoint
from rankwire.api.problems import METHOD_NOT_ALLOWED, UNKNOWN_PATH, ProblemError, refuse
from rankwire.api.routes import OPERATIONS
from rankwire.api.server_routes import REGIONS, SERVER
from rankwire.api.service import Service
from rankwire.ops.metrics import Observed, Requests, scraper

if TYPE_CHECKING:
    from collections.abc import Mapping

    from starlette.types import ASGIApp, Receive, Scope, Send

    from rankwire import _core

UNMATCHED: Final = "unmatched"
"""Name in the metrics for requests that no operation takes."""

_METHOD_NOT_ALLOWED_STATUS: Final = 405


def counters(served: tuple[Operation, ...] = OPERATIONS) -> dict[str, Requests]:
    """Make what counts the requests of each operation."""
    names = (*(each.name for each in served), *(route.name for route in PEER_ROUTES), UNMATCHED)
    return {name: Requests() for name in names}


def of_clients(requests: Mapping[str, Requests]) -> dict[str, Requests]:
    """Take those of what clients come for: no probes, no metrics, nothing else of the server."""
    own = {each.name for each in (*SERVER, *REGIONS)} | {route.name for route in PEER_ROUTES}
    return {name: counted for name, counted in requests.items() if name not in own}


def build(
    parts: Parts,
    access: _core.Access,
    max_body_bytes: int,
    served: tuple[Operation, ...] = OPERATIONS,
) -> ASGIApp:
    """Make the API over running parts, for whom `access` knows. Has no lifespan of its own.

    With other `served` operations than all of them, the lean path is left out.
    """
    requests = parts.requests
    service = Service(parts, document(served), scraper(_observed(parts)))
    gate = open_gate(access, parts.writer.engine)
    across = _across(parts)
    by_path: dict[str, dict[str, Operation]] = {}
    for operation in served:
        by_path.setdefault(operation.path, {})[operation.method] = operation
    routes = [
        Route(
            path,
            Endpoint(operations, service, requests, gate, across, max_body_bytes),
            methods=list(operations),
            name=path,
        )
        for path, operations in by_path.items()
    ]
    if served is not OPERATIONS:
        return _framework(routes, requests[UNMATCHED])
    framework = _framework([*routes, *_peer_routes(parts)], requests[UNMATCHED])
    return Hot(service, requests, gate, parts.regions, framework)


def _observed(parts: Parts) -> Observed:
    """Take what metrics are made of."""
    return Observed(
        parts.writer,
        parts.beside,
        parts.watch.pulse,
        parts.hub,
        parts.region,
        parts.requests,
        parts.watch.limits,
        parts.keeper,
        parts.among,
    )


def _across(parts: Parts) -> Across | Alone:
    """Choose how operations on boards are done."""
    if (regions := parts.regions) is None:
        return Alone()
    seconds = parts.region_settings.forward_seconds
    return Across(regions, Forward(regions, parts.writer.engine, seconds))


def _peer_routes(parts: Parts) -> list[Route]:
    """Make the routes for other regions."""
    handlers = parts.regions.handlers if parts.regions else None
    secret = parts.region_settings.secret
    return [
        Route(
            route.path,
            PeerEndpoint(route, handlers, secret, parts.requests[route.name]),
            methods=["POST"],
            name=route.path,
        )
        for route in PEER_ROUTES
    ]


def _framework(routes: list[Route], unmatched: Requests) -> ASGIApp:
    """Route by the path as it was sent, so that an escaped slash divides nothing."""

    def refuse_unmatched(request: Request, error: Exception) -> Response:
        start, body = refuse(_no_route(error), request.scope["raw_path"])
        unmatched.count(start["status"], 0.0)
        response = Response(body, start["status"])
        response.raw_headers = start["headers"]
        return response

    app = Starlette(routes=routes, exception_handlers={HTTPException: refuse_unmatched})
    app.router.redirect_slashes = False

    async def by_raw_path(scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "http":
            scope["path"] = scope["raw_path"].decode("latin-1")
        await app(scope, receive, send)

    return by_raw_path


def _no_route(error: Exception) -> ProblemError:
    """Turn the framework's refusal into ours."""
    if isinstance(error, HTTPException) and error.status_code == _METHOD_NOT_ALLOWED_STATUS:
        methods = sorted((error.headers or {})["Allow"].split(", "))
        allow = ", ".join(methods)
        headers = ((b"allow", allow.encode()),)
        return ProblemError(METHOD_NOT_ALLOWED, f"the path takes {allow}", headers=headers)
    return ProblemError(UNKNOWN_PATH, "nothing is served at this path")
