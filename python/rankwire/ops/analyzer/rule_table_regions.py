"""The rules about other regions, rows of the table in `rule_table`."""

from __future__ import annotations

from typing import Final

from rankwire.ops.analyzer.rules import Rule

REGION_RULES: Final = (
    Rule(
        id="REGION_LAG",
        figure="regions.lag",
        bound=5,
        clear=2,
        for_seconds=15,
        clear_seconds=30,
        severity="MEDIUM",
        impact="This region shows ranks that another one has left behind.",
        published="pghero, for any copy: 5 s",
    ),
    Rule(
        id="REGION_UNREACHABLE",
        figure="regions.unreachable",
        bound=0.5,
        clear=0.5,
        for_seconds=15,
        clear_seconds=15,
        severity="HIGH",
        impact="What is committed in one of the regions does not reach the other.",
        published="awesome-prometheus-alerts: replication is down",
    ),
    Rule(
        id="REGION_CLOCK",
        figure="regions.clocks_refused",
        bound=0.5,
        clear=0.5,
        for_seconds=5,
        clear_seconds=15,
        severity="HIGH",
        impact="Nothing is taken from a region whose clock is off, so that it undoes no score.",
        published="CockroachDB: a node stops when its clock is off by 80 % of 500 ms",
    ),
    Rule(
        id="REGION_PRIMARY",
        figure="regions.primary_unknown",
        bound=0.5,
        clear=0.5,
        for_seconds=15,
        clear_seconds=15,
        severity="HIGH",
        impact="Boards cannot be created or deleted; in mode primary nothing can be written.",
        published="etcd mixin: a member without a leader",
    ),
    Rule(
        id="REGION_DIFFERENCES",
        figure="regions.unresolved",
        bound=0,
        clear=0,
        for_seconds=0,
        clear_seconds=0,
        severity="HIGH",
        impact="Players see different scores in different regions, and it does not heal by itself.",
        published="none: a difference that stays is one too many",
    ),
)
