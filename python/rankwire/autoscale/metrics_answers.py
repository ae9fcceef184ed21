"""Answers what the metrics APIs ask, from the pods and what was scraped of them.

Promises never to guess: a pod whose figure is stale or no number is missing from a list, and a
total that lacks the figure of a ready pod is refused. So an autoscaler that asks may scale up by
its other metrics, and does not scale down. Reads memory only.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Protocol

from rankwire.autoscale.labels import EVERYTHING, Selector
from rankwire.autoscale.metrics_table import METRICS, Metric
from rankwire.autoscale.pods import Pod, PodSource
from rankwire.autoscale.quantity import QuantityError, from_float
from rankwire.autoscale.scrape import Sample
from rankwire.autoscale.wire import Measured


class UnknownError(Exception):
    """There is no such metric, or no figure of it; the text is for people."""


class Samples(Protocol):
    """Has the last sample of each pod."""

    def fresh(self, pod: Pod) -> Sample | None:
        """Give it unless it is stale."""
        ...


class Answers:
    """What can be said now. Every method raises UnknownError."""

    def __init__(self, source: PodSource, samples: Samples) -> None:
        """Remember where the figures are."""
        self._source = source
        self._samples = samples

    def of_pods(
        self, namespace: str, name: str, selector: Selector, chosen: Selector = EVERYTHING
    ) -> list[Measured]:
        """Give a metric of each pod that labels select; `chosen` selects series."""
        metric = _metric(name, "pods")
        pods = [pod for pod in self._pods(namespace) if selector.matches(pod.labels)]
        figures = (self._figure(metric, pod, chosen) for pod in pods)
        return [figure for figure in figures if figure is not None]

    def of_pod(
        self, namespace: str, pod_name: str, name: str, chosen: Selector = EVERYTHING
    ) -> Measured:
        """Give a metric of one pod."""
        metric = _metric(name, "pods")
        for pod in self._pods(namespace):
            if pod.name == pod_name and (figure := self._figure(metric, pod, chosen)):
                return figure
        raise UnknownError(f"the server could not find the metric {name} for pods {pod_name}")

    def of_namespace(self, namespace: str, name: str, chosen: Selector = EVERYTHING) -> Measured:
        """Give a metric of all pods of a namespace together."""
        metric = _metric(name, "namespaces")
        figures = self._complete(metric, self._pods(namespace), chosen)
        if not figures:
            raise UnknownError(
                f"the server could not find the metric {name} for namespaces {namespace}"
            )
        value = metric.combine([figure.value for figure in figures])
        oldest = min(figure.at for figure in figures)
        return Measured(value, oldest, metric.window, "", namespace, "Namespace")

    def of_series(self, namespace: str, name: str, selector: Selector) -> list[Measured]:
        """Give an external metric: a figure of each pod, with the pod's labels and its name.

        The reader adds them up, so those of all ready pods that are selected are there, or none.
        """
        metric = METRICS.get(name)
        if metric is None or not metric.adds_up:
            raise UnknownError(f"the server could not find the metric {name} for external metrics")
        pods = [pod for pod in self._pods(namespace) if selector.matches(_series_labels(pod))]
        return self._complete(metric, pods, EVERYTHING)

    def metrics(self) -> Sequence[str]:
        """Give the names of all metrics that can be asked for."""
        return list(METRICS)

    def _pods(self, namespace: str) -> Iterator[Pod]:
        return (pod for pod in self._source.pods if pod.namespace == namespace)

    def _figure(self, metric: Metric, pod: Pod, chosen: Selector) -> Measured | None:
        sample = self._samples.fresh(pod)
        if sample is None:
            return None
        series = sample.series.get(metric.name, ())
        try:
            values = [from_float(one.value) for one in series if chosen.matches(one.labels)]
        except QuantityError:
            return None
        if not values:
            return None
        value, labels = metric.combine(values), _series_labels(pod)
        return Measured(value, sample.at, metric.window, pod.namespace, pod.name, "Pod", labels)

    def _complete(self, metric: Metric, pods: Iterable[Pod], chosen: Selector) -> list[Measured]:
        """Give the figures of all pods, or none if that of a ready pod is missing.

        Where the worst speaks for all, a pod that answers and has no figure has nothing to say.
        """
        found: list[Measured] = []
        for pod in pods:
            figure = self._figure(metric, pod, chosen)
            if figure is not None:
                found.append(figure)
            elif pod.ready and (metric.adds_up or self._samples.fresh(pod) is None):
                return []
        return found


def _series_labels(pod: Pod) -> Mapping[str, str]:
    return {**pod.labels, "pod": pod.name}


def _metric(name: str, resource: str) -> Metric:
    metric = METRICS.get(name)
    if metric is None:
        raise UnknownError(f"the server could not find the metric {name} for {resource}")
    return metric
