"""The document: sound, complete, and true to what is served."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any

import msgspec
import pytest

from fix_api import Client
from rankwire import model
from rankwire.api.problems import KINDS
from rankwire.api.routes import OPERATIONS
from rankwire.api.server_routes import REGIONS

Document = dict[str, Any]
MEMBER_OF = {"board": "b", "member": "ada"}


@pytest.fixture
async def document(api: Client) -> Document:
    answer = await api.get("/openapi.json")
    assert answer.headers["content-type"] == "application/json"
    found: Document = answer.json
    return found


def _operations(document: Document) -> Iterator[tuple[str, str, Document]]:
    for path, item in document["paths"].items():
        for method, operation in item.items():
            yield path, method.upper(), operation


def _references(node: object) -> Iterator[str]:
    if isinstance(node, dict):
        if "$ref" in node:
            yield node["$ref"]
        for value in node.values():
            yield from _references(value)
    elif isinstance(node, list):
        for value in node:
            yield from _references(value)


def test_it_is_an_openapi_document(document: Document) -> None:
    assert document["openapi"] == "3.1.0"
    assert {"title", "version"} <= document["info"].keys()
    tags = {tag["name"] for tag in document["tags"]}
    names = []
    for path, _, operation in _operations(document):
        names.append(operation["operationId"])
        assert set(operation["tags"]) <= tags
        in_path = {p["name"] for p in operation["parameters"] if p["in"] == "path"}
        assert in_path == set(re.findall(r"{(\w+)}", path))
        for parameter in operation["parameters"]:
            assert parameter["in"] in {"path", "query", "header"}
            assert parameter["schema"]
        for status, response in operation["responses"].items():
            assert re.fullmatch("[2345][0-9]{2}", status)
            assert response["description"]
    assert len(names) == len(set(names))


def test_every_reference_leads_somewhere(document: Document) -> None:
    schemas = document["components"]["schemas"]
    references = set(_references(document))
    assert references
    assert {r.removeprefix("#/components/schemas/") for r in references} == schemas.keys()


def test_every_row_is_described_and_nothing_else(document: Document) -> None:
    described = {(path, method) for path, method, _ in _operations(document)}
    assert described == {(operation.path, operation.method) for operation in OPERATIONS}


def test_every_problem_that_an_operation_can_meet_is_declared(document: Document) -> None:
    declared = {kind.slug for operation in OPERATIONS for kind in operation.refusals}
    # These two are for requests that are no operation.
    assert {kind.slug for kind in KINDS} - declared == {"unknown-path", "method-not-allowed"}
    for path, _, operation in _operations(document):
        for status, response in operation["responses"].items():
            if status >= "400":
                assert list(response["content"]) == [_refusal_of(path, status)]
            is_later = status in {"429", "503"} and path != "/health"
            assert ("Retry-After" in response.get("headers", {})) == is_later
            assert ("WWW-Authenticate" in response.get("headers", {})) == (status == "401")


def _refusal_of(path: str, status: str) -> str:
    """How an operation says no; a node that is not well does so in the words of its format."""
    is_health = path == "/health" and status == "503"
    return "application/health+json" if is_health else "application/problem+json"


def test_everything_but_the_public_names_a_way_to_show_a_credential(document: Document) -> None:
    schemes = document["components"]["securitySchemes"]
    assert schemes["bearer"] | {"description": ""} == {
        "type": "http",
        "scheme": "bearer",
        "description": "",
    }
    assert schemes["apiKey"] == {"type": "apiKey", "in": "header", "name": "X-Api-Key"}
    public = set()
    for path, _, operation in _operations(document):
        refusals = {"401", "403", "429"} & operation["responses"].keys()
        if operation["security"] == []:
            public.add(path)
            assert refusals == set()
        else:
            assert operation["security"] == [{"bearer": []}, {"apiKey": []}]
            assert refusals >= {"401", "403"}
            assert ("429" in refusals) == (operation["operationId"] in {"submit", "submit_batch"})
    assert public == {"/healthz", "/readyz", "/health", "/openapi.json"}


def test_what_changes_something_takes_a_key(document: Document) -> None:
    keyed = set()
    for _, _, operation in _operations(document):
        headers = _headers(operation)
        if has_key := "Idempotency-Key" in headers:
            keyed.add(operation["operationId"])
            assert headers["Idempotency-Key"]["required"] is False
        for status, response in operation["responses"].items():
            has_header = "Idempotency-Replayed" in response.get("headers", {})
            assert has_header == (has_key and status < "300")
        described = operation["responses"].get("422", {}).get("description", "")
        assert ("`key-reused`" in described) == has_key
    of_boards = {"create_board", "delete_board", "submit", "submit_batch", "remove_member"}
    assert keyed == of_boards | {"put_profile", "delete_profile"}


def _headers(operation: Document) -> dict[str, Document]:
    return {p["name"]: p for p in operation["parameters"] if p["in"] == "header"}


def test_what_is_about_boards_takes_a_session_and_a_level_or_an_age(document: Document) -> None:
    for path, method, operation in _operations(document):
        is_of_boards = path.startswith("/v1/boards")
        assert ("Rankwire-Session" in _headers(operation)) == is_of_boards
        for status, response in operation["responses"].items():
            has_header = "Rankwire-Session" in response.get("headers", {})
            assert has_header == (is_of_boards and status < "400")
        queries = {p["name"] for p in operation["parameters"] if p["in"] == "query"}
        is_read = is_of_boards and (method == "GET" or path.endswith("/standings"))
        assert ({"consistency", "max_staleness_ms"} <= queries) == is_read
        has_level = operation["operationId"] in {"submit", "submit_batch", "remove_member"}
        assert ("level" in queries) == has_level


@pytest.mark.parametrize("operation", OPERATIONS, ids=lambda operation: operation.name)
async def test_every_row_is_served(api: Client, document: Document, operation: Any) -> None:
    """The document's own example requests get answers that the document declares."""
    await api.call("PUT", "/v1/boards/b")
    await api.post("/v1/boards/b/scores", {"member": "ada", "score": 1})
    await api.call("PUT", "/v1/profiles/ada", b"{}")
    path = operation.path.format_map(MEMBER_OF)
    described = document["paths"][operation.path][operation.method.lower()]
    contents = described.get("requestBody", {}).get("content", {"": {"example": ""}})
    for media, content in contents.items():
        example = content["example"]
        codec = msgspec.msgpack if media.endswith("msgpack") else msgspec.json
        body = example.encode() if isinstance(example, str) else codec.encode(example)
        answer = await api.call(operation.method, path, body, media or None)
        # There are no other regions here.
        assert answer.status == 404 if operation in REGIONS else 200 <= answer.status < 300
        response = described["responses"][str(answer.status)]
        media_type = answer.headers.get("content-type", "").partition(";")[0]
        assert media_type in response.get("content", {"": None})


@pytest.mark.parametrize("operation", OPERATIONS, ids=lambda operation: operation.name)
def test_examples_fit_the_model(operation: Any) -> None:
    for reply in operation.replies.values():
        if reply.example is not None:
            decoded = msgspec.convert(reply.example, reply.kind)
            assert msgspec.to_builtins(decoded) == reply.example
    if operation.body is not None:
        for media, example in operation.body.examples.items():
            text = example.encode() if isinstance(example, str) else None
            body = text or (msgspec.msgpack if "msgpack" in media else msgspec.json).encode(example)
            assert operation.body.decoders[media](body)


def test_numbers_of_the_schema_are_those_of_the_model(document: Document) -> None:
    top = document["paths"]["/v1/boards/{board}/top"]["get"]["parameters"]
    limit = next(p["schema"] for p in top if p["name"] == "limit")
    assert (limit["minimum"], limit["maximum"], limit["default"]) == (1, model.PAGE_ENTRIES, 10)
    batch = document["paths"]["/v1/boards/{board}/scores:batch"]["post"]["requestBody"]
    schema = batch["content"]["application/json"]["schema"]
    assert (schema["minItems"], schema["maxItems"]) == (1, model.BATCH_ITEMS)
    assert document["components"]["schemas"]["Submit"]["additionalProperties"] is False
