"""The route table: everything the API answers, in one place.

`app` serves exactly these rows, `openapi` describes exactly these rows.
"""

from __future__ import annotations

from typing import Final

from rankwire.api import examples, problems
from rankwire.api.bodies import JSON, MSGPACK, NDJSON, Body, batch_decoders, plain_decoders
from rankwire.api.members import LAG
from rankwire.api.operations import Operation, Reply
from rankwire.model import (
    AroundQuery,
    BatchReceipt,
    Board,
    BoardConfig,
    Boards,
    BoardsQuery,
    Count,
    CountQuery,
    Digest,
    History,
    HistoryQuery,
    MemberProfile,
    Names,
    Page,
    ProfileContent,
    ProfilesQuery,
    Receipt,
    Standing,
    Standings,
    Status,
    Submit,
    Submits,
    TopQuery,
)
from rankwire.ops.caching.report import CachingReport
from rankwire.ops.report.bundle import Bundle

_BOARD: Final = "/v1/boards/{board}"
_MEMBER: Final = _BOARD + "/members/{member}"
_PROFILE: Final = "/v1/profiles/{member}"

# What can be wrong with any request, with any path that names something, with any body, and with
# any write.
_ANY: Final = (problems.INVALID, problems.INTERNAL)
_NAMED: Final = (problems.MALFORMED, *_ANY)
_OF_BOARD: Final = (*_NAMED, problems.UNKNOWN_BOARD)
_OF_MEMBER: Final = (*_OF_BOARD, problems.UNKNOWN_MEMBER)
_BODY: Final = (problems.TOO_LARGE, problems.UNSUPPORTED)
_WRITE: Final = (problems.BUSY, problems.UNAVAILABLE)

_GONE: Final = {204: Reply("It is gone.")}
# Of answers for which a replica of the storage may be read.
_LAG: Final = {LAG: "How many seconds the replica was behind that was read, if one was."}

BOARDS: Final = (
    Operation(
        "list_boards",
        "GET",
        "/v1/boards",
        "boards",
        "list_boards",
        "List boards by name",
        lambda service, call: service.list_boards(call.query),
        {200: Reply("A page of boards.", Boards, examples.BOARDS)},
        _NAMED,
        query=BoardsQuery,
    ),
    Operation(
        "create_board",
        "PUT",
        _BOARD,
        "boards",
        "manage",
        "Create a board, or confirm that it exists just so",
        lambda service, call: service.create_board(call.board, call.body, call.key),
        {
            200: Reply("It existed just so.", Board, examples.BOARD),
            201: Reply("It was created.", Board, examples.BOARD),
        },
        (*_NAMED, *_BODY, problems.CONFLICT, problems.LIMIT, *_WRITE),
        body=Body(
            BoardConfig,
            plain_decoders(BoardConfig),
            dict.fromkeys((JSON, MSGPACK), examples.CONFIG),
            default=BoardConfig(),
        ),
        takes_key=True,
    ),
    Operation(
        "describe_board",
        "GET",
        _BOARD,
        "boards",
        "read",
        "Describe a board",
        lambda service, call: service.describe_board(call.board),
        {200: Reply("The board.", Board, examples.BOARD)},
        _OF_BOARD,
    ),
    Operation(
        "delete_board",
        "DELETE",
        _BOARD,
        "boards",
        "manage",
        "Delete a board with everything in it",
        lambda service, call: service.delete_board(call.board, call.key),
        _GONE,
        (*_OF_BOARD, *_WRITE),
        takes_key=True,
    ),
    Operation(
        "history",
        "GET",
        _BOARD + "/history",
        "boards",
        "manage",
        "Get what changed a board, the newest first",
        lambda service, call: service.past.history(call.board, call.query),
        {200: Reply("A page of events.", History, examples.HISTORY, headers=_LAG)},
        (*_OF_BOARD, *_WRITE),
        query=HistoryQuery,
    ),
)

SCORES: Final = (
    Operation(
        "submit",
        "POST",
        _BOARD + "/scores",
        "scores",
        "submit",
        "Submit one score; answered when it is durable",
        lambda service, call: service.submit(call.board, call.body, call.key),
        {200: Reply("The receipt.", Receipt, examples.RECEIPT)},
        (*_OF_BOARD, *_BODY, problems.LIMIT, *_WRITE),
        body=Body(Submit, plain_decoders(Submit), dict.fromkeys((JSON, MSGPACK), examples.SUBMIT)),
        takes_key=True,
    ),
    Operation(
        "submit_batch",
        "POST",
        _BOARD + "/scores:batch",
        "scores",
        "submit_batch",
        "Submit many scores, all or nothing; answered when they are durable",
        lambda service, call: service.submit_batch(call.board, call.body, call.key),
        {200: Reply("The receipt.", BatchReceipt, examples.BATCH_RECEIPT)},
        (*_OF_BOARD, *_BODY, problems.LIMIT, *_WRITE),
        body=Body(
            Submits,
            batch_decoders(),
            {JSON: examples.BATCH, NDJSON: examples.BATCH_LINES, MSGPACK: examples.BATCH},
            is_small=False,
        ),
        takes_key=True,
    ),
    Operation(
        "remove_member",
        "DELETE",
        _MEMBER,
        "scores",
        "manage",
        "Remove a member from the board",
        lambda service, call: service.remove_member(call.board, call.member, call.key),
        _GONE,
        (*_OF_MEMBER, *_WRITE),
        takes_key=True,
    ),
)

RANKS: Final = (
    Operation(
        "top",
        "GET",
        _BOARD + "/top",
        "ranks",
        "read",
        "Get a page of the ranking, best first",
        lambda service, call: (
            service.members.join_page(service.top(call.board, call.query, None)[1])
            if call.query.profiles
            else service.top(call.board, call.query, call.headers.get(b"if-none-match"))
        ),
        {
            200: Reply(
                "The page.",
                Page,
                examples.PAGE,
                headers={"ETag": "Names the board's version; not with profiles.", **_LAG},
            ),
            304: Reply("`If-None-Match` names this version.", media=()),
        },
        (*_OF_BOARD, *_WRITE),
        query=TopQuery,
    ),
    Operation(
        "standing",
        "GET",
        _MEMBER,
        "ranks",
        "read",
        "Get a member's score and rank",
        lambda service, call: (
            service.members.join_standing(service.standing(call.board, call.member)[1])
            if call.query.profiles
            else service.standing(call.board, call.member)
        ),
        {200: Reply("The standing.", Standing, examples.STANDING, headers=_LAG)},
        (*_OF_MEMBER, *_WRITE),
        query=ProfilesQuery,
    ),
    Operation(
        "around",
        "GET",
        _MEMBER + "/around",
        "ranks",
        "read",
        "Get a member with its neighbours",
        lambda service, call: (
            service.members.join_page(service.around(call.board, call.member, call.query)[1])
            if call.query.profiles
            else service.around(call.board, call.member, call.query)
        ),
        {200: Reply("The neighbourhood.", Page, examples.PAGE, headers=_LAG)},
        (*_OF_MEMBER, *_WRITE),
        query=AroundQuery,
    ),
    Operation(
        "standings",
        "POST",
        _BOARD + "/standings",
        "ranks",
        "read",
        "Get the standings of the named members, best first",
        lambda service, call: (
            service.members.join_page(service.standings(call.board, call.body)[1])
            if call.query.profiles
            else service.standings(call.board, call.body)
        ),
        {200: Reply("The standings.", Standings, examples.STANDINGS, headers=_LAG)},
        (*_OF_BOARD, *_BODY, *_WRITE),
        query=ProfilesQuery,
        body=Body(
            Names,
            plain_decoders(Names),
            dict.fromkeys((JSON, MSGPACK), examples.NAMES),
            is_small=False,
        ),
    ),
    Operation(
        "count",
        "GET",
        _BOARD + "/count",
        "ranks",
        "read",
        "Count the members with a score within bounds",
        lambda service, call: service.count(call.board, call.query),
        {200: Reply("The count.", Count, examples.COUNT)},
        _OF_BOARD,
        query=CountQuery,
    ),
)

PROFILES: Final = (
    Operation(
        "get_profile",
        "GET",
        _PROFILE,
        "profiles",
        "read_profile",
        "Get a member's profile",
        lambda service, call: service.members.get(call.member),
        {200: Reply("The profile.", MemberProfile, examples.MEMBER_PROFILE, headers=_LAG)},
        (*_NAMED, problems.UNKNOWN_PROFILE, *_WRITE),
    ),
    Operation(
        "put_profile",
        "PUT",
        _PROFILE,
        "profiles",
        "write_profile",
        "Write a member's profile, all of it; answered when it is durable",
        lambda service, call: service.members.put(call.member, call.body, call.key),
        {200: Reply("The profile as it is now.", MemberProfile, examples.MEMBER_PROFILE)},
        (*_NAMED, *_BODY, *_WRITE),
        body=Body(
            ProfileContent,
            plain_decoders(ProfileContent),
            dict.fromkeys((JSON, MSGPACK), examples.PROFILE),
            is_small=False,
        ),
        takes_key=True,
    ),
    Operation(
        "delete_profile",
        "DELETE",
        _PROFILE,
        "profiles",
        "delete_profile",
        "Forget a member's profile; answered when that is durable",
        lambda service, call: service.members.delete(call.member, call.key),
        _GONE,
        (*_NAMED, problems.UNKNOWN_PROFILE, *_WRITE),
        takes_key=True,
    ),
)

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
        _NAMED,
    ),
    Operation(
        "ready",
        "GET",
        "/readyz",
        "server",
        "public",
        "Tell whether the server can take writes",
        lambda service, _: service.ready(),
        {200: Reply("It can.", Status, {"status": "ready"})},
        (*_NAMED, problems.UNAVAILABLE),
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
        _NAMED,
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
        _NAMED,
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
        _NAMED,
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
        _NAMED,
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
        _NAMED,
    ),
)

OPERATIONS: Final = (*BOARDS, *SCORES, *RANKS, *PROFILES, *SERVER)
