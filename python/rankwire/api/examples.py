"""Examples for the OpenAPI document: one small board, told consistently."""

from __future__ import annotations

from typing import Any, Final

_Example = dict[str, Any]

CONFIG: Final[_Example] = {
    "score": "int64",
    "order": "desc",
    "policy": "best",
    "ties": "first",
    "player_submits": False,
}
BOARD: Final[_Example] = {"board": "season-1", **CONFIG, "version": 3, "total": 2}
BOARDS: Final[_Example] = {"boards": [BOARD], "next": None}

SUBMIT: Final[_Example] = {"member": "ada", "score": 1200, "at": "2026-03-01T12:00:00Z"}
RECEIPT: Final[_Example] = {
    "board": "season-1",
    "member": "ada",
    "score": 1200,
    "rank": 1,
    "previous_score": 900,
    "previous_rank": 2,
    "changed": True,
    "version": 3,
}

BATCH: Final = [SUBMIT, {"member": "grace", "score": 1000}]
BATCH_LINES: Final = '{"member":"ada","score":1200}\n{"member":"grace","score":1000}\n'
BATCH_RECEIPT: Final[_Example] = {
    "board": "season-1",
    "submitted": 2,
    "changed": 2,
    "version": 3,
}

_ENTRIES: Final = [
    {"rank": 1, "member": "ada", "score": 1200},
    {"rank": 2, "member": "grace", "score": 1000},
]
PAGE: Final[_Example] = {"board": "season-1", "version": 3, "total": 2, "entries": _ENTRIES}
NAMES: Final[_Example] = {"members": ["grace", "ada", "alan"]}
STANDINGS: Final[_Example] = {**PAGE, "missing": ["alan"]}
STANDING: Final[_Example] = {"board": "season-1", "version": 3, **_ENTRIES[0], "total": 2}
PROFILE: Final[_Example] = {
    "name": "Ada Lovelace",
    "avatar": "https://cdn.example.com/ada.png",
    "attributes": {"country": "GB", "level": 42},
}
MEMBER_PROFILE: Final[_Example] = {
    "member": "ada",
    **PROFILE,
    "updated_at": "2026-03-01T12:00:00.250000Z",
}
HISTORY: Final[_Example] = {
    "board": "season-1",
    "events": [
        {
            "at": "2026-03-01T12:00:00.125000Z",
            "type": "score",
            "member": "ada",
            "score": 1200,
            "reached_at": "2026-03-01T12:00:00Z",
        }
    ],
    "next": "17.0",
}
DIGEST: Final[_Example] = {
    "vector": {"4611686018427387904": 3},
    "boards": [
        {
            "id": "1f3c5a7b9d2e4f60",
            "board": "season-1",
            "version": 3,
            "total": 2,
            "digest": "7d1a54127b222502",
        }
    ],
}
COUNT: Final[_Example] = {"board": "season-1", "version": 3, "count": 1, "total": 2}


def _sync(status: str, after_ms: float | None, achieved: str, fraction: float) -> _Example:
    return {
        "sync": {
            "requested": "all",
            "achieved": achieved,
            "primary": {
                "region": "eu",
                "status": "committed",
                "position": "4611686018427387904:3",
            },
            "regions": [{"region": "us", "status": status, "after_ms": after_ms, "error": None}],
            "consistency": {"fraction": fraction, "worst_lag_ms": after_ms or 2000.0},
            "is_reached": achieved == "all",
        }
    }


SPREAD: Final[_Example] = _sync("acknowledged", 81.5, "all", 1.0)
SPREADING: Final[_Example] = _sync("pending", None, "local", 0.5)
SPREADING_RECEIPT: Final[_Example] = {**RECEIPT, **SPREADING}
SPREADING_BATCH_RECEIPT: Final[_Example] = {**BATCH_RECEIPT, **SPREADING}

HEALTH: Final[_Example] = {
    "status": "pass",
    "releaseId": "0.7.0",
    "serviceId": "eu",
    "checks": {
        "storage:commits": [{"status": "pass", "componentType": "datastore"}],
        "follower:level": [{"status": "pass", "componentType": "component"}],
        "operator:out": [{"status": "pass", "componentType": "system"}],
        "regions:links": [{"status": "pass", "componentType": "component"}],
        "regions:lag": [
            {
                "status": "pass",
                "componentType": "component",
                "observedValue": 0.012,
                "observedUnit": "s",
                "componentId": "us",
            }
        ],
        "regions:drift": [
            {
                "status": "pass",
                "componentType": "component",
                "observedValue": -0.003,
                "observedUnit": "s",
                "componentId": "us",
            }
        ],
    },
}
HEALTH_FAILS: Final[_Example] = {
    "status": "fail",
    "releaseId": "0.7.0",
    "serviceId": "eu",
    "checks": {
        "storage:commits": [{"status": "pass", "componentType": "datastore"}],
        "follower:level": [{"status": "pass", "componentType": "component"}],
        "operator:out": [
            {
                "status": "fail",
                "componentType": "system",
                "output": "the region is taken out: move to another provider",
            }
        ],
    },
}
VERIFY: Final[_Example] = {"boards": ["season-1"], "repair": True, "source": None}
FAILOVER: Final[_Example] = {"force": False}
OUT: Final[_Example] = {"reason": "move to another provider"}
