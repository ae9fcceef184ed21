"""The objects of the metrics APIs as they go over the wire, for all three versions.

Promises the bytes that Go's encoder makes of the original types (k8s.io/metrics): the order of
fields, what is left out when it is empty, escapes, and the newline at the end. Pure; touches
nothing.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from typing import Final

import msgspec

from rankwire.autoscale.labels import Selector, SelectorError
from rankwire.autoscale.quantity import Quantity

CUSTOM_GROUP: Final = "custom.metrics.k8s.io"
EXTERNAL_GROUP: Final = "external.metrics.k8s.io"

_SET_OPERATORS: Final = {"in": "In", "notin": "NotIn", "exists": "Exists", "!": "DoesNotExist"}


class Measured(msgspec.Struct, frozen=True):
    """One figure of one object, whatever version asks."""

    value: Quantity
    at: float
    """When it was read, in seconds since 1970."""
    window: int | None
    """Seconds that it is a rate or ratio of; None for what is so at one moment."""
    namespace: str = ""
    name: str = ""
    kind: str = "Pod"
    labels: Mapping[str, str] = {}
    """What tells series apart; only external metrics have any."""


class ObjectReference(msgspec.Struct, frozen=True, rename="camel", omit_defaults=True):
    """What a figure is about."""

    kind: str = ""
    namespace: str = ""
    name: str = ""
    api_version: str = ""


class LabelSelectorRequirement(msgspec.Struct, frozen=True, omit_defaults=True):
    """A condition of a selector that is not an equality."""

    key: str
    operator: str
    values: tuple[str, ...] = ()


class LabelSelector(msgspec.Struct, frozen=True, rename="camel", omit_defaults=True):
    """A selector, taken apart."""

    match_labels: Mapping[str, str] = {}
    match_expressions: tuple[LabelSelectorRequirement, ...] = ()


class ListMeta(msgspec.Struct, frozen=True):
    """Data about a list: none."""


class MetricIdentifier(msgspec.Struct, frozen=True):
    """A metric of v1beta2: its name, and the selector that chose its series."""

    name: str
    selector: LabelSelector | None = None


class MetricValue2(msgspec.Struct, frozen=True, rename="camel"):
    """A figure of custom.metrics.k8s.io/v1beta2."""

    described_object: ObjectReference
    metric: MetricIdentifier
    timestamp: str
    window_seconds: int | msgspec.UnsetType
    value: str


class MetricValue1(msgspec.Struct, frozen=True, rename="camel"):
    """A figure of custom.metrics.k8s.io/v1beta1."""

    described_object: ObjectReference
    metric_name: str
    timestamp: str
    window: int | msgspec.UnsetType
    value: str
    selector: LabelSelector | None = None


class ExternalMetricValue(msgspec.Struct, frozen=True, rename="camel"):
    """A figure of external.metrics.k8s.io/v1beta1."""

    metric_name: str
    metric_labels: Mapping[str, str]
    timestamp: str
    window: int | msgspec.UnsetType
    value: str


class MetricValueList(msgspec.Struct, frozen=True, rename="camel"):
    """Figures of either version of custom.metrics.k8s.io."""

    kind: str
    api_version: str
    metadata: ListMeta
    items: Sequence[MetricValue1 | MetricValue2 | ExternalMetricValue]


class StatusDetails(msgspec.Struct, frozen=True, omit_defaults=True):
    """What a refusal is about."""

    name: str = ""
    group: str = ""
    kind: str = ""


class Status(msgspec.Struct, frozen=True, rename="camel"):
    """A refusal."""

    kind: str
    api_version: str
    metadata: ListMeta
    status: str
    message: str
    reason: str
    details: StatusDetails | msgspec.UnsetType
    code: int


def custom_list(
    version: str, metric: str, selector: LabelSelector | None, found: Sequence[Measured]
) -> MetricValueList:
    """Put figures into the list of a version, "v1beta1" or "v1beta2"."""
    make = _value_1 if version == "v1beta1" else _value_2
    items = [make(metric, selector, figure) for figure in found]
    return MetricValueList("MetricValueList", f"{CUSTOM_GROUP}/{version}", ListMeta(), items)


def external_list(metric: str, found: Sequence[Measured]) -> MetricValueList:
    """Put figures into the list of external.metrics.k8s.io/v1beta1."""
    items = [_external(metric, figure) for figure in found]
    return MetricValueList(
        "ExternalMetricValueList", f"{EXTERNAL_GROUP}/v1beta1", ListMeta(), items
    )


def status(code: int, reason: str, message: str, details: StatusDetails | None = None) -> Status:
    """Make a refusal."""
    about = msgspec.UNSET if details is None else details
    return Status("Status", "v1", ListMeta(), "Failure", message, reason, about, code)


def taken_apart(selector: Selector) -> LabelSelector | None:
    """Give a selector the form of an object, or None for one that selects everything.

    Raises SelectorError for what that form cannot say: ``!=``, ``<`` and ``>``.
    """
    if not selector.requirements:
        return None
    equal: dict[str, str] = {}
    others: list[LabelSelectorRequirement] = []
    for requirement in selector.requirements:
        values = tuple(sorted(requirement.values))
        if requirement.operator in {"=", "=="}:
            (equal[requirement.key],) = values
        elif (operator := _SET_OPERATORS.get(requirement.operator)) is not None:
            others.append(LabelSelectorRequirement(requirement.key, operator, values))
        else:
            raise SelectorError(f"{requirement.operator!r} cannot be used to choose series")
    return LabelSelector(equal, tuple(others))


def encode(answer: msgspec.Struct) -> bytes:
    """Write an object as Go does, which also escapes what HTML would take for its own."""
    text = msgspec.json.encode(answer)
    for character in b"<>&":
        text = text.replace(bytes((character,)), b"\\u%04x" % character)
    return text + b"\n"


def time_text(seconds: float) -> str:
    """Write a moment, seconds since 1970, as Kubernetes does: in UTC, without fractions."""
    return datetime.fromtimestamp(int(seconds), UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


def _value_1(metric: str, selector: LabelSelector | None, figure: Measured) -> MetricValue1:
    return MetricValue1(
        _described(figure),
        metric,
        time_text(figure.at),
        _window(figure),
        str(figure.value),
        selector,
    )


def _value_2(metric: str, selector: LabelSelector | None, figure: Measured) -> MetricValue2:
    return MetricValue2(
        _described(figure),
        MetricIdentifier(metric, selector),
        time_text(figure.at),
        _window(figure),
        str(figure.value),
    )


def _external(metric: str, figure: Measured) -> ExternalMetricValue:
    labels = dict(sorted(figure.labels.items()))
    return ExternalMetricValue(
        metric, labels, time_text(figure.at), _window(figure), str(figure.value)
    )


def _described(figure: Measured) -> ObjectReference:
    return ObjectReference(figure.kind, figure.namespace, figure.name, "/v1")


def _window(figure: Measured) -> int | msgspec.UnsetType:
    return msgspec.UNSET if figure.window is None else figure.window
