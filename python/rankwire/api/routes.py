"""The route table: everything the API answers, in one place.

`app` serves exactly these rows, `openapi` describes exactly these rows.
"""

from __future__ import annotations

from typing import Final

from rankwire.api import examples, problems
from rankwire.api.bodies import JSON, MSGPACK, NDJSON, Body, batch_decoders, plain_decoders
from rankwire.api.members import LAG
from rankwire.api.operations import BODY, NAMED, WRITE, Operation, Reply
from rankwire.api.receipts import RemovalReceipt, SubmitReceipt, SubmitsReceipt
from rankwire.api.server_routes import REGIONS, SERVER
from rankwire.model import (
    Board,
    BoardConfig,
    Boards,
    Count,
    History,
    MemberProfile,
    Names,
    Page,
    ProfileContent,
    Standing,
    Standings,
    Submit,
    Submits,
)
from rankwire.model_queries import (
    AroundQuery,
    BoardsQuery,
    CountQuery,
    HistoryQuery,
    LevelQuery,
    ProfilesQuery,
    ReadQuery,
    TopQuery,
)

_BOARD: Final = "/v1/boards/{board}"
_MEMBER: Final = _BOARD + "/members/{member}"
_PROFILE: Final = "/v1/profiles/{member}"

_OF_BOARD: Final = (*NAMED, problems.UNKNOWN_BOARD)
_OF_MEMBER: Final = (*_OF_BOARD, problems.UNKNOWN_MEMBER)
# What can be wrong where there are other regions, or should be.
_LATE: Final = (problems.TOO_STALE, problems.NOT_THERE_YET)
_READ_ACROSS: Final = (problems.REGIONS_OFF, *_LATE)
_WRITE_ACROSS: Final = (
    problems.NOT_PRIMARY,
    problems.PRIMARY_UNREACHABLE,
    problems.NOT_THERE_YET,
)

_GONE: Final = {204: Reply("It is gone.")}
_NOT_YET: Final = "Done, but not known to be durable in as many regions as `level` asks for."
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
        (*NAMED, *_READ_ACROSS),
        query=BoardsQuery,
        across="read",
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
        (*NAMED, *BODY, problems.CONFLICT, problems.LIMIT, *WRITE, *_WRITE_ACROSS),
        body=Body(
            BoardConfig,
            plain_decoders(BoardConfig),
            dict.fromkeys((JSON, MSGPACK), examples.CONFIG),
            default=BoardConfig(),
        ),
        takes_key=True,
        across="names",
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
        (*_OF_BOARD, *_READ_ACROSS),
        across="read",
        query=ReadQuery,
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
        (*_OF_BOARD, *WRITE, *_WRITE_ACROSS),
        takes_key=True,
        across="names",
    ),
    Operation(
        "history",
        "GET",
        _BOARD + "/history",
        "boards",
        "manage",
        "Get what changed a board, the newest first",
        lambda service, call: service.past.history(call),
        {200: Reply("A page of events.", History, examples.HISTORY, headers=_LAG)},
        (*_OF_BOARD, *WRITE, *_READ_ACROSS),
        query=HistoryQuery,
        across="read",
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
        {
            200: Reply("The receipt.", SubmitReceipt, examples.RECEIPT),
            202: Reply(_NOT_YET, SubmitReceipt, examples.SPREADING_RECEIPT),
        },
        (*_OF_BOARD, *BODY, problems.LIMIT, *WRITE, problems.REGIONS_OFF, *_WRITE_ACROSS),
        body=Body(Submit, plain_decoders(Submit), dict.fromkeys((JSON, MSGPACK), examples.SUBMIT)),
        takes_key=True,
        across="scores",
        query=LevelQuery,
    ),
    Operation(
        "submit_batch",
        "POST",
        _BOARD + "/scores:batch",
        "scores",
        "submit_batch",
        "Submit many scores, all or nothing; answered when they are durable",
        lambda service, call: service.submit_batch(call.board, call.body, call.key),
        {
            200: Reply("The receipt.", SubmitsReceipt, examples.BATCH_RECEIPT),
            202: Reply(_NOT_YET, SubmitsReceipt, examples.SPREADING_BATCH_RECEIPT),
        },
        (*_OF_BOARD, *BODY, problems.LIMIT, *WRITE, problems.REGIONS_OFF, *_WRITE_ACROSS),
        body=Body(
            Submits,
            batch_decoders(),
            {JSON: examples.BATCH, NDJSON: examples.BATCH_LINES, MSGPACK: examples.BATCH},
            is_small=False,
        ),
        takes_key=True,
        across="scores",
        query=LevelQuery,
    ),
    Operation(
        "remove_member",
        "DELETE",
        _MEMBER,
        "scores",
        "manage",
        "Remove a member from the board",
        lambda service, call: service.remove_member(call.board, call.member, call.key),
        {
            **_GONE,
            200: Reply("It is gone, with a `level`.", RemovalReceipt, examples.SPREAD),
            202: Reply(_NOT_YET, RemovalReceipt, examples.SPREADING),
        },
        (*_OF_MEMBER, *WRITE, problems.REGIONS_OFF, *_WRITE_ACROSS),
        takes_key=True,
        across="scores",
        query=LevelQuery,
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
        (*_OF_BOARD, *WRITE, *_READ_ACROSS),
        query=TopQuery,
        across="read",
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
        (*_OF_MEMBER, *WRITE, *_READ_ACROSS),
        query=ProfilesQuery,
        across="read",
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
        (*_OF_MEMBER, *WRITE, *_READ_ACROSS),
        query=AroundQuery,
        across="read",
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
        (*_OF_BOARD, *BODY, *WRITE, *_READ_ACROSS),
        query=ProfilesQuery,
        body=Body(
            Names,
            plain_decoders(Names),
            dict.fromkeys((JSON, MSGPACK), examples.NAMES),
            is_small=False,
        ),
        across="read",
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
        (*_OF_BOARD, *_READ_ACROSS),
        query=CountQuery,
        across="read",
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
        (*NAMED, problems.UNKNOWN_PROFILE, *WRITE),
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
        (*NAMED, *BODY, *WRITE),
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
        (*NAMED, problems.UNKNOWN_PROFILE, *WRITE),
        takes_key=True,
    ),
)

OPERATIONS: Final = (*BOARDS, *SCORES, *RANKS, *PROFILES, *SERVER, *REGIONS)
