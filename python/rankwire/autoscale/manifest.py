"""HorizontalPodAutoscaler manifests: what ``autoscaling/v2`` says, checked as the API server does.

Promises: a field that `autoscaling/v2` does not have, a value out of its range or a metric without
a target is refused with one sentence that names the place; what is left out gets the API server's
defaults. Reads one file, of many YAML documents perhaps.

Not here: metrics of single containers, and `minReplicas: 0`.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Annotated, Any, Final, Literal

import msgspec
import yaml
from msgspec import Meta

from rankwire.autoscale import behavior as rates
from rankwire.autoscale import quantity
from rankwire.autoscale.controller import TOLERANCE, Autoscaler, Kind, Metric, Tolerances

MOST_BYTES: Final = 1024**2
"""Largest file that is read."""

DEFAULT_CPU_PERCENT: Final = 80
"""Target of the only metric where a manifest names none."""

_KIND: Final = "HorizontalPodAutoscaler"
_VERSION: Final = "autoscaling/v2"

Count = Annotated[int, Meta(ge=1, le=2**31 - 1)]
Text = Annotated[str, Meta(min_length=1, max_length=253)]


class ManifestError(Exception):
    """A manifest cannot be used; the text says why."""


class _Strict(msgspec.Struct, frozen=True, forbid_unknown_fields=True, rename="camel"):
    pass


class Target(_Strict, frozen=True):
    """What a metric is to be kept at."""

    type: Literal["Utilization", "Value", "AverageValue"]
    value: str | int | float | None = None
    average_value: str | int | float | None = None
    average_utilization: Count | None = None


class Identifier(_Strict, frozen=True):
    """Which metric."""

    name: Text
    selector: dict[str, Any] | None = None


class ResourceSource(_Strict, frozen=True):
    """`type: Resource`."""

    name: Text
    target: Target


class PodsSource(_Strict, frozen=True):
    """`type: Pods`, and `type: External`, which looks the same."""

    metric: Identifier
    target: Target


class ObjectSource(_Strict, frozen=True):
    """`type: Object`."""

    described_object: dict[str, str]
    metric: Identifier
    target: Target


class MetricSpec(_Strict, frozen=True):
    """An entry of `spec.metrics`."""

    type: Literal["Resource", "Pods", "Object", "External", "ContainerResource"]
    resource: ResourceSource | None = None
    pods: PodsSource | None = None
    object: ObjectSource | None = None
    external: PodsSource | None = None
    container_resource: dict[str, Any] | None = None


class PolicySpec(_Strict, frozen=True):
    """A policy of `behavior`."""

    type: Literal["Pods", "Percent"]
    value: Count
    period_seconds: Annotated[int, Meta(ge=1, le=1800)]


class RulesSpec(_Strict, frozen=True):
    """A direction of `behavior`."""

    stabilization_window_seconds: Annotated[int, Meta(ge=0, le=3600)] | None = None
    select_policy: rates.Select | None = None
    policies: Annotated[list[PolicySpec], Meta(min_length=1)] | None = None
    tolerance: str | int | float | None = None


class BehaviorSpec(_Strict, frozen=True):
    """`spec.behavior`."""

    scale_up: RulesSpec | None = None
    scale_down: RulesSpec | None = None


class Reference(_Strict, frozen=True):
    """`spec.scaleTargetRef`."""

    kind: Text
    name: Text
    api_version: str = ""


class Spec(_Strict, frozen=True):
    """`spec`."""

    scale_target_ref: Reference
    max_replicas: Count
    min_replicas: Count | None = None
    metrics: list[MetricSpec] | None = None
    behavior: BehaviorSpec | None = None


class _Metadata(msgspec.Struct, frozen=True):
    name: Text


class _Manifest(msgspec.Struct, frozen=True):
    metadata: _Metadata
    spec: Spec


def load(path: Path, name: str = "") -> Autoscaler:
    """Read the autoscaler of that name; without a name, the only one. Raises ManifestError."""
    found = load_all(path)
    if name:
        found = [autoscaler for autoscaler in found if autoscaler.name == name]
        if not found:
            raise ManifestError(f"{path} has no {_KIND} {name!r}")
    if len(found) > 1:
        names = ", ".join(autoscaler.name for autoscaler in found)
        raise ManifestError(f"{path} has several, name one of them: {names}")
    return found[0]


def load_all(path: Path) -> list[Autoscaler]:
    """Read all autoscalers of a file, at least one. Raises ManifestError."""
    try:
        if path.stat().st_size > MOST_BYTES:
            raise ManifestError(f"{path} is larger than a manifest may be ({MOST_BYTES:,} bytes)")
        documents = list(_documents(path.read_text(encoding="utf-8")))
    except OSError as error:
        raise ManifestError(f"{path} cannot be read: {error.strerror}") from error
    except (yaml.YAMLError, UnicodeDecodeError, RecursionError) as error:
        raise ManifestError(f"{path} is no YAML: {' '.join(str(error).split())}") from error
    if not documents:
        raise ManifestError(f"{path} has no {_KIND}")
    try:
        return [read(document) for document in documents]
    except ManifestError as error:
        raise ManifestError(f"{path}: {error}") from error


def read(document: dict[str, Any]) -> Autoscaler:
    """Read one autoscaler. Raises ManifestError."""
    if document.get("apiVersion") != _VERSION:
        raise ManifestError(f"a {_KIND} has to be of {_VERSION}, not {document.get('apiVersion')}")
    try:
        manifest = msgspec.convert(document, _Manifest)
    except msgspec.ValidationError as error:
        raise ManifestError(str(error)) from error
    spec = manifest.spec
    least = 1 if spec.min_replicas is None else spec.min_replicas
    if spec.max_replicas < least:
        raise ManifestError("maxReplicas is below minReplicas")
    return Autoscaler(
        name=manifest.metadata.name,
        bounds=rates.Bounds(least, spec.max_replicas),
        metrics=_metrics(spec.metrics),
        behavior=_behavior(spec.behavior),
        tolerances=_tolerances(spec.behavior),
    )


def _documents(text: str) -> Iterator[dict[str, Any]]:
    for document in yaml.safe_load_all(text):
        if isinstance(document, dict) and document.get("kind") == "List":
            items = document.get("items")
            yield from filter(_is_autoscaler, items if isinstance(items, list) else ())
        elif _is_autoscaler(document):
            yield document


def _is_autoscaler(document: object) -> bool:
    return isinstance(document, dict) and document.get("kind") == _KIND


def _metrics(specs: list[MetricSpec] | None) -> tuple[Metric, ...]:
    if not specs:
        return (Metric("resource_utilization", "cpu", DEFAULT_CPU_PERCENT),)
    return tuple(_metric(spec, f"spec.metrics[{index}]") for index, spec in enumerate(specs))


def _metric(spec: MetricSpec, place: str) -> Metric:
    if spec.type == "ContainerResource":
        raise ManifestError(f"{place}: metrics of single containers are not supported")
    sources = {"Resource": spec.resource, "Pods": spec.pods, "Object": spec.object}
    sources["External"] = spec.external
    source = sources.pop(spec.type)
    if source is None or any(sources.values()) or spec.container_resource is not None:
        raise ManifestError(f"{place}: of type {spec.type}, it has to describe just that")
    if isinstance(source, ResourceSource):
        return _resource(source, place)
    name, target = source.metric.name, source.target
    if spec.type == "Pods":
        return Metric("pods", name, _milli(target.average_value, place, "averageValue"))
    by_average = target.average_value is not None
    if by_average and target.value is not None:
        raise ManifestError(f"{place}: it may have only one of value and averageValue")
    kind: Kind
    if spec.type == "Object":
        kind = "object_average" if by_average else "object_value"
    else:
        kind = "external_average" if by_average else "external_value"
    given = target.average_value if by_average else target.value
    return Metric(kind, name, _milli(given, place, "averageValue" if by_average else "value"))


def _resource(source: ResourceSource, place: str) -> Metric:
    target = source.target
    if (target.average_utilization is None) == (target.average_value is None):
        raise ManifestError(f"{place}: it has to have one of averageUtilization and averageValue")
    if target.average_utilization is not None:
        return Metric("resource_utilization", source.name, target.average_utilization)
    milli = _milli(target.average_value, place, "averageValue")
    return Metric("resource_value", source.name, milli)


def _milli(given: str | float | None, place: str, field: str) -> int:
    if given is None:
        raise ManifestError(f"{place}.target: {field} is missing")
    try:
        milli = quantity.parse(str(given)).milli
    except quantity.QuantityError as error:
        raise ManifestError(f"{place}.target.{field}: {error}") from error
    if milli <= 0:
        raise ManifestError(f"{place}.target.{field} has to be more than 0")
    return milli


def _behavior(spec: BehaviorSpec | None) -> rates.Behavior | None:
    if spec is None:
        return None
    return rates.Behavior(
        _rules(spec.scale_up, rates.DEFAULT_UP), _rules(spec.scale_down, rates.DEFAULT_DOWN)
    )


def _rules(spec: RulesSpec | None, default: rates.Rules) -> rates.Rules:
    if spec is None:
        return default
    window, policies = spec.stabilization_window_seconds, default.policies
    select = spec.select_policy or default.select
    if spec.policies is not None:
        policies = tuple(
            rates.Policy(policy.type, policy.value, policy.period_seconds)
            for policy in spec.policies
        )
    return rates.Rules(default.window if window is None else window, policies, select)


def _tolerances(spec: BehaviorSpec | None) -> Tolerances:
    if spec is None:
        return Tolerances()
    return Tolerances(
        _tolerance(spec.scale_up, "scaleUp"), _tolerance(spec.scale_down, "scaleDown")
    )


def _tolerance(spec: RulesSpec | None, direction: str) -> float:
    if spec is None or spec.tolerance is None:
        return TOLERANCE
    place = f"spec.behavior.{direction}.tolerance"
    try:
        nano = quantity.parse(str(spec.tolerance)).nano
    except quantity.QuantityError as error:
        raise ManifestError(f"{place}: {error}") from error
    if nano < 0:
        raise ManifestError(f"{place} has to be 0 or more")
    return nano / 1e9
