"""What the analytics say: bottlenecks, recommendations, triggers and costs, as data.

Every number in here was measured, or computed from measurements and dated prices by a named model;
what is not known is None and says why. The API gives these Structs as JSON, the reports render
them, and nothing else is told to anybody. Ratios are from 0 to 1, times are seconds, money is US
dollars a month of 730 hours, moments are seconds since 1970.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Literal

import msgspec

Severity = Literal["LOW", "MEDIUM", "HIGH"]
Confidence = Literal["low", "medium", "high"]
Known = float | None
"""A figure; None when it could not be measured."""


class CostLine(msgspec.Struct, frozen=True):
    """A part of a bill, and where its price comes from."""

    sku: str
    quantity: float
    unit: str
    """What is counted: `hour`, `GB-month`, `GB`, `1k requests`."""
    unit_price: float
    monthly: float
    """In dollars; negative for what is saved."""
    source: str
    date: str
    """When the price was read, `YYYY-MM-DD`."""


class Prediction(msgspec.Struct, frozen=True):
    """What a change does to a figure, by a model."""

    figure: str
    unit: str
    before: float
    after: float
    low: Known = None
    """Bounds of what may come instead; None where the model gives none."""
    high: Known = None


class Recommendation(msgspec.Struct, frozen=True, kw_only=True):
    """Something to do, and why it would help."""

    id: str
    priority: Severity
    action: str
    """One word in capitals, like `SCALE_API`."""
    resource: str
    description: str
    because: str
    """Id of the bottleneck that it is for; empty for one that only saves money."""
    inputs: Mapping[str, float | str]
    """Everything that the model was given."""
    model: str
    """Name of the model, for docs/analytics.md."""
    predicted: list[Prediction]
    cost: list[CostLine]
    monthly: Known
    """Sum of the cost lines; None when something in it has no price."""
    confidence: Confidence
    caveats: list[str] = []
    verify: str
    """PromQL whose value has to get better."""
    apply: str = ""
    """Text that can be applied: settings, SQL, YAML; empty when there is none."""


class Bottleneck(msgspec.Struct, frozen=True, kw_only=True):
    """A rule that has been true for long enough."""

    type: str
    """Id of the rule."""
    severity: Severity
    source: str
    figure: str
    value: float
    threshold: float
    since: float
    impact: str
    cause: str | None = None
    """The bottleneck, by its type, that explains this one."""
    details: Mapping[str, Any] = {}
    """What it is about: the statement, the table, the pool."""


class Trigger(msgspec.Struct, frozen=True, kw_only=True):
    """How much more a resource carries."""

    resource: str
    figure: str
    now: Known
    limit: float
    load: str
    """What the load is counted in."""
    load_now: Known
    load_at_limit: Known
    days_left: Known
    note: str


class SourceStatus(msgspec.Struct, frozen=True):
    """Whether a source could be asked."""

    status: Literal["ok", "unavailable", "absent"]
    """`absent`: this node has no such part."""
    reason: str = ""
    at: Known = None
    samples: int = 0
    """How many readings the window has."""


class Health(msgspec.Struct, frozen=True):
    """How well a part is: 1 is well, 0 is not usable."""

    score: Known
    cause: str


class Report(msgspec.Struct, frozen=True, kw_only=True):
    """What the analyzer says of one node over one window."""

    at: float
    window_seconds: float
    """How long the longest window of a source really was; 0 before there is one."""
    overall: Health
    """The worst of `health`, with its cause."""
    health: Mapping[str, Health]
    """By source."""
    sources: Mapping[str, SourceStatus]
    figures: Mapping[str, Known]
    """By name, like `database.pool_utilization`; docs/analytics.md lists them."""
    bottlenecks: list[Bottleneck]
    """Causes before symptoms, then the most severe first."""
    recommendations: list[Recommendation]
    triggers: list[Trigger]
