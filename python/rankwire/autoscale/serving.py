"""Answers the requests of the metrics APIs.

Promises an answer of the kind that the original servers give, refusals included, and that nothing
but health is told to somebody who is not known and allowed. Bodies are never read. Reads memory,
and may ask who is allowed.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Final

import msgspec
import structlog
from aiohttp import web

from rankwire.autoscale import labels, wire, wire_discovery
from rankwire.autoscale.kube import KubeError
from rankwire.autoscale.metrics_answers import Answers, UnknownError
from rankwire.autoscale.metrics_table import METRICS
from rankwire.autoscale.security import Headers, Roots, Trust, User, identify, peer_of
from rankwire.autoscale.security_access import Access
from rankwire.autoscale.serving_paths import Asked, asked, parts_of
from rankwire.autoscale.wire import CUSTOM_GROUP, EXTERNAL_GROUP, StatusDetails, status
from rankwire.autoscale.wire_discovery import VERSIONS

HEALTH: Final = frozenset({"healthz", "livez", "readyz"})

_log = structlog.get_logger(__name__)


class Refusal(Exception):  # noqa: N818  # it is an answer
    """Ends a request with a Status."""

    def __init__(
        self, code: int, reason: str, message: str, details: StatusDetails | None = None
    ) -> None:
        """Keep what is told."""
        super().__init__(message)
        self.status = status(code, reason, message, details)


class Service:
    """The handler of every request."""

    def __init__(self, answers: Answers, access: Access, is_ready: Callable[[], bool]) -> None:
        """Remember what answers, who may ask, and what readiness is."""
        self._answers = answers
        self._access = access
        self._is_ready = is_ready

    async def handle(self, request: web.BaseRequest, trust: Trust, roots: Roots) -> web.Response:
        """Answer one request, given whom to trust now."""
        parts = parts_of(request.raw_path)
        if len(parts) == 1 and parts[0] in HEALTH:
            return self._health(parts[0])
        user = None
        try:
            user = _user(request, trust, roots)
            answer = await self._answer(request, parts, user)
            return _json(200, wire.encode(answer))
        except Refusal as refusal:
            response = _json(refusal.status.code, wire.encode(refusal.status))
            if user is None:
                # Whoever is not known keeps no connection.
                response.force_close()
            return response

    def _health(self, which: str) -> web.Response:
        ready = which != "readyz" or self._is_ready()
        text = "ok" if ready else "the pods were not scraped yet"
        response = web.Response(status=200 if ready else 503, text=text)
        response.force_close()
        return response

    async def _answer(
        self, request: web.BaseRequest, parts: tuple[str, ...], user: User
    ) -> msgspec.Struct:
        question = asked(parts)
        try:
            path = request.raw_path.partition("?")[0]
            allowed = await self._access.may(user, path if question is None else question)
        except KubeError as error:
            _log.warning("cannot ask who may read", reason=str(error))
            text = "Internal error occurred: it cannot be asked who may read"
            raise Refusal(500, "InternalError", text) from error
        if not allowed:
            raise _forbidden(user, question, request.raw_path)
        if request.method != "GET":
            raise Refusal(405, "MethodNotAllowed", "the server only answers to GET")
        if question is None:
            return self._discovery(parts)
        try:
            return self._metrics(question, request.query)
        except UnknownError as error:
            raise Refusal(404, "NotFound", str(error)) from error
        except labels.SelectorError as error:
            raise Refusal(400, "BadRequest", f"invalid selector: {error}") from error

    def _discovery(self, parts: tuple[str, ...]) -> msgspec.Struct:
        match parts:
            case ("version",):
                return wire_discovery.version()
            case ("apis",):
                return wire_discovery.groups()
            case ("apis", group) if group in VERSIONS:
                return wire_discovery.group(group)
            case ("apis", group, version) if version in VERSIONS.get(group, ()):
                return wire_discovery.resources(group, version, _served(group))
        raise Refusal(404, "NotFound", "the server could not find the requested resource")

    def _metrics(self, question: Asked, query: Mapping[str, str]) -> msgspec.Struct:
        chosen = labels.parse(query.get("metricLabelSelector", ""))
        selector = labels.parse(query.get("labelSelector", ""))
        if question.group == EXTERNAL_GROUP:
            if question.name or not question.namespace:
                raise _no_such(question)
            found = self._answers.of_series(question.namespace, question.resource, selector)
            return wire.external_list(question.resource, found)
        found, metric = self._custom(question, selector, chosen)
        return wire.custom_list(question.version, metric, wire.taken_apart(chosen), found)

    def _custom(
        self, question: Asked, selector: labels.Selector, chosen: labels.Selector
    ) -> tuple[list[wire.Measured], str]:
        """Answer for pods or a namespace; gives the metric's name as well."""
        namespace, metric = question.namespace, question.subresource
        match question.resource:
            case "pods" if namespace and metric and question.name == "*":
                return self._answers.of_pods(namespace, metric, selector, chosen), metric
            case "pods" if namespace and metric:
                return [self._answers.of_pod(namespace, question.name, metric, chosen)], metric
            case "metrics" if namespace and question.name and not metric:
                metric = question.name
                return [self._answers.of_namespace(namespace, metric, chosen)], metric
        raise _no_such(question)


def _user(request: web.BaseRequest, trust: Trust, roots: Roots) -> User:
    connection = request.transport.get_extra_info("ssl_object") if request.transport else None
    headers = Headers(lambda name: request.headers.getall(name, []), list(request.headers))
    user = identify(trust, roots, peer_of(connection), headers)
    if user is None:
        raise Refusal(401, "Unauthorized", "Unauthorized")
    return user


def _served(group: str) -> list[str]:
    return [name for name, metric in METRICS.items() if group == CUSTOM_GROUP or metric.adds_up]


def _no_such(question: Asked) -> Refusal:
    metric = question.subresource or question.name or question.resource
    what = f"{question.resource}.{question.group}"
    return Refusal(404, "NotFound", f"the server could not find the metric {metric} for {what}")


def _forbidden(user: User, question: Asked | None, path: str) -> Refusal:
    if question is None:
        text = f'forbidden: User "{user.name}" cannot get path "{path.partition("?")[0]}"'
        return Refusal(403, "Forbidden", text, StatusDetails())
    resource = "/".join(filter(None, (question.resource, question.subresource)))
    text = (
        f'{question.resource}.{question.group} "{question.name}" is forbidden: User "{user.name}"'
        f' cannot {question.verb} resource "{resource}" in API group "{question.group}"'
        f' in the namespace "{question.namespace}"'
    )
    details = StatusDetails(question.name, question.group, question.resource)
    return Refusal(403, "Forbidden", text, details)


def _json(code: int, body: bytes) -> web.Response:
    return web.Response(status=code, body=body, content_type="application/json")
