"""The OpenAPI 3.1 document, made from the route table and the Structs of `model`."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping
from typing import Any, Final

import msgspec

from rankwire import _core
from rankwire.api.answers import REPLAYED
from rankwire.api.forward import SERVED_BY
from rankwire.api.idempotency import CHARACTERS
from rankwire.api.operations import Operation, Reply
from rankwire.api.problems import (
    BUSY,
    KEY_FIELD,
    PROBLEM_JSON,
    SESSION_FIELD,
    TOO_MANY,
    TYPE_PREFIX,
    UNAUTHORIZED,
    Kind,
)
from rankwire.model import BoardName, Member, Problem

_Schema = dict[str, Any]

_REFERENCE: Final = "#/components/schemas/{name}"
_PATH_PARAMETERS: Final = {"board": (BoardName, "season-1"), "member": (Member, "ada")}
_TAGS: Final = {
    "boards": "Boards and their configuration.",
    "scores": "What changes a board. Every answer means that the change is durable.",
    "ranks": "What a board says. Every answer is exact and belongs to one version.",
    "profiles": "What is told of members beside their scores, the same on all boards.",
    "server": "The server itself.",
    "regions": "Other regions that hold the same boards.",
}
_SCHEMES: Final = {
    "bearer": {
        "type": "http",
        "scheme": "bearer",
        "description": "An API key, or the token of a player.",
    },
    "apiKey": {"type": "apiKey", "in": "header", "name": "X-Api-Key"},
}
_KEY_PARAMETER: Final = {
    "name": KEY_FIELD,
    "in": "header",
    "required": False,
    "description": "The caller's own name for this request, one that no other request has. Sent "
    "again with the same key within 24 hours it counts once and is answered as the first time. It "
    "may stand in double quotes.",
    "schema": {
        "type": "string",
        "minLength": 1,
        "maxLength": CHARACTERS,
        "pattern": "^[ -~]+$",
    },
    "example": "2f1c8a52-6a0f-4f6e-9d2b-1f0c5d0a7b11",
}
_REPLAYED: Final = {REPLAYED: "`true` if this is the answer to an earlier request with the key."}
_SESSION_PARAMETER: Final = {
    "name": SESSION_FIELD,
    "in": "header",
    "required": False,
    "description": "Where there are other regions: the token of a session, which is the header of "
    "the session's last answer, or `new` to begin one. The request waits until this node has what "
    "the session has seen. A token means nothing else to a client.",
    "schema": {"type": "string", "minLength": 1, "maxLength": 8192},
    "example": "new",
}
_TOKEN: Final = {SESSION_FIELD: "The session's next token, if the request was of a session."}
_SERVED_BY: Final = {SERVED_BY: "The primary region, if it did what was asked of another one."}
_LATER: Final = {"Retry-After": "Seconds to wait before trying again."}
_PROBLEM_HEADERS: Final = {
    UNAUTHORIZED.status: {"WWW-Authenticate": "`Bearer`."},
    TOO_MANY.status: _LATER,
    BUSY.status: _LATER,
}
_DESCRIPTION: Final = """\
Leaderboards with exact ranks and durable submits. Ranks count from 1.

Every refusal is a problem (RFC 9457) and has changed nothing. Segments of a path are
percent-encoded UTF-8, so a member id may hold any character, "/" included. HEAD is served where GET
is. Parameters and fields that are not listed here are refused.

A server in mode `open` asks nobody for a credential, and one with `auth.anonymous` = `read` does
not where a board is read."""


def document(operations: Iterable[Operation]) -> bytes:
    """Write the document as JSON."""
    operations = tuple(operations)
    paths: dict[str, _Schema] = {}
    for operation in operations:
        paths.setdefault(operation.path, {})[operation.method.lower()] = _operation(operation)
    _, components = msgspec.json.schema_components(
        [Problem, *_kinds(operations)], ref_template=_REFERENCE
    )
    return msgspec.json.encode(
        {
            "openapi": "3.1.0",
            "info": {
                "title": "Rankwire",
                "version": _core.__version__,
                "description": _DESCRIPTION,
                "license": {"name": "Apache-2.0", "identifier": "Apache-2.0"},
            },
            "servers": [{"url": "/"}],
            "tags": [{"name": name, "description": text} for name, text in _TAGS.items()],
            "paths": paths,
            "components": {"schemas": components, "securitySchemes": _SCHEMES},
        }
    )


def _kinds(operations: Iterable[Operation]) -> Iterator[Any]:
    for operation in operations:
        if operation.body is not None:
            yield operation.body.kind
        yield from (reply.kind for reply in operation.replies.values() if reply.kind is not None)


def _schema(kind: Any) -> _Schema:
    (schema,), _ = msgspec.json.schema_components([kind], ref_template=_REFERENCE)
    return schema


def _operation(operation: Operation) -> _Schema:
    described: _Schema = {
        "operationId": operation.name,
        "tags": [operation.tag],
        "summary": operation.summary,
        "security": [] if operation.action == "public" else [{name: []} for name in _SCHEMES],
        "parameters": [
            *_path_parameters(operation.path),
            *_query_parameters(operation.query),
            *([_KEY_PARAMETER] if operation.takes_key else ()),
            *([_SESSION_PARAMETER] if operation.across else ()),
        ],
        "responses": {
            **{
                str(status): _reply(reply, _more_headers(operation))
                for status, reply in operation.replies.items()
            },
            **_problems(operation.refusals),
        },
    }
    if (body := operation.body) is not None:
        schema = _schema(body.kind)
        described["requestBody"] = {
            "required": body.default is None,
            "content": {
                media: {"schema": schema, "example": example}
                for media, example in body.examples.items()
            },
        }
    return described


def _more_headers(operation: Operation) -> dict[str, str]:
    """Describe headers that answers have for what kind of operation it is."""
    return {
        **(_REPLAYED if operation.takes_key else {}),
        **(_TOKEN if operation.across else {}),
        **(_SERVED_BY if operation.across in {"scores", "names"} else {}),
    }


def _path_parameters(path: str) -> Iterator[_Schema]:
    for name in re.findall(r"{(\w+)}", path):
        kind, example = _PATH_PARAMETERS[name]
        yield {
            "name": name,
            "in": "path",
            "required": True,
            "schema": _schema(kind),
            "example": example,
        }


def _query_parameters(query: type[msgspec.Struct]) -> Iterator[_Schema]:
    _, components = msgspec.json.schema_components([query])
    for name, schema in components[query.__name__]["properties"].items():
        yield {"name": name, "in": "query", "required": False, "schema": schema}


def _reply(reply: Reply, more_headers: Mapping[str, str]) -> _Schema:
    described: _Schema = {"description": reply.description}
    if headers := {**reply.headers, **more_headers}:
        described["headers"] = _headers(headers)
    if reply.kind is not None:
        content: _Schema = {"schema": _schema(reply.kind)}
        if reply.example is not None:
            content["example"] = reply.example
        described["content"] = dict.fromkeys(reply.media, content)
    return described


def _problems(kinds: Iterable[Kind]) -> dict[str, _Schema]:
    """Describe the refusals, which share a response when they share a status."""
    by_status: dict[int, list[Kind]] = {}
    for kind in kinds:
        by_status.setdefault(kind.status, []).append(kind)
    return {str(status): _problem(by_status[status]) for status in sorted(by_status)}


def _problem(kinds: list[Kind]) -> _Schema:
    kind = kinds[0]
    example = {
        "type": TYPE_PREFIX + kind.slug,
        "title": kind.title,
        "status": kind.status,
        "detail": kind.meaning,
        "instance": "/v1/boards/season-1",
    }
    described: _Schema = {
        "description": " ".join(f"`{kind.slug}`: {kind.meaning}" for kind in kinds),
        "content": {PROBLEM_JSON.decode(): {"schema": _schema(Problem), "example": example}},
    }
    if (headers := _PROBLEM_HEADERS.get(kind.status)) is not None:
        described["headers"] = _headers(headers)
    return described


def _headers(descriptions: Mapping[str, str]) -> _Schema:
    return {
        name: {"description": text, "schema": {"type": "string"}}
        for name, text in descriptions.items()
    }
