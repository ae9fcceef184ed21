"""``rankwire metrics-server``: what a HorizontalPodAutoscaler asks for the nodes' metrics."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any

import click

from rankwire import log
from rankwire.autoscale import labels
from rankwire.autoscale.kube import KubeError
from rankwire.autoscale.security_config import TrustError
from rankwire.autoscale.serving_run import USUAL_PODS, Config, serve
from rankwire.cli._options import examples
from rankwire.cli._output import Failure

_FILE = click.Path(path_type=Path)
_PORT = click.IntRange(0, 65535)
_LEVELS = ("debug", "info", "warning", "error")


def _selector(_ctx: click.Context, _option: click.Parameter, text: str) -> str:
    try:
        labels.parse(text)
    except labels.SelectorError as error:
        raise click.BadParameter(str(error)) from error
    return text


@click.command(
    "metrics-server",
    short_help="Give a Kubernetes autoscaler the nodes' metrics.",
    epilog=examples(
        "rankwire metrics-server --host 0.0.0.0 --tls-cert tls.crt --tls-key tls.key",
        "rankwire metrics-server --tls-cert tls.crt --tls-key tls.key --pods pods.json"
        " --client-ca-file ca.crt --allow-user ann",
    ),
)
@click.option("--host", default="127.0.0.1", show_default=True, help="Address to listen at.")
@click.option("--port", type=_PORT, default=6443, show_default=True, help="Port; 0 for a free one.")
@click.option(
    "--tls-cert", type=_FILE, required=True, help="Certificate, PEM. Read anew when it changes."
)
@click.option("--tls-key", type=_FILE, required=True, help="Its key.")
@click.option("--pods", type=_FILE, help="JSON file of pods. [default: ask the Kubernetes API]")
@click.option(
    "--namespace", default="", help="Where pods are watched. [default: the own namespace]"
)
@click.option(
    "--pod-selector",
    default=USUAL_PODS,
    show_default=True,
    callback=_selector,
    help="Labels of the pods to watch.",
)
@click.option(
    "--pod-port",
    type=click.IntRange(1, 65535),
    default=7700,
    show_default=True,
    help="HTTP port of the pods; one with the annotation rankwire.io/metrics-port has its own.",
)
@click.option("--key-file", type=_FILE, help="File with the operator key that pods ask for.")
@click.option(
    "--interval",
    type=click.FloatRange(0.1, 300),
    default=10.0,
    show_default=True,
    help="Seconds between two scrapes; a figure older than two intervals is not given.",
)
@click.option(
    "--requestheader-client-ca-file",
    "requestheader_ca",
    type=_FILE,
    help="Authority of the aggregator's certificate. [default: ask the cluster]",
)
@click.option(
    "--requestheader-allowed-names",
    "requestheader_names",
    multiple=True,
    metavar="NAME",
    help="Common name of the aggregator. Repeatable; needed with its authority.",
)
@click.option(
    "--client-ca-file",
    "client_ca",
    type=_FILE,
    help="Authority of users' certificates. [default: ask the cluster]",
)
@click.option(
    "--allow-user",
    "allow_users",
    multiple=True,
    metavar="USER",
    help="Who may read. Repeatable. [default: ask the cluster]",
)
@click.option(
    "--allow-group", "allow_groups", multiple=True, metavar="GROUP", help="The same for a group."
)
@click.option("--kube-url", default="", help="Kubernetes API. [default: that of the pod's cluster]")
@click.option(
    "--kube-dir",
    "kube_directory",
    type=_FILE,
    help="Where token, ca.crt and namespace are. [default: the pod's service account]",
)
@click.option("--log-level", type=click.Choice(_LEVELS), default="info", show_default=True)
@click.option(
    "--log-format", type=click.Choice(("text", "json")), default="text", show_default=True
)
def command(log_level: str, log_format: str, **options: Any) -> None:
    """Serve the metrics APIs of Kubernetes until SIGTERM or Ctrl-C.

    An autoscaler asks custom.metrics.k8s.io and external.metrics.k8s.io; this server answers from
    what it scrapes of the nodes every few seconds. It always speaks TLS, believes the
    certificates that the cluster believes, and asks the cluster who may read. With --pods and
    the files and lists named here it works without a cluster.
    """
    log.configure(log_level, log_format)
    config = Config(**{name: value for name, value in options.items() if value is not None})
    try:
        asyncio.run(serve(config, _announce))
    except (KubeError, TrustError, OSError) as error:
        raise Failure(str(error)) from error


def _announce(host: str, port: int) -> None:
    shown = f"[{host}]" if ":" in host else host
    click.echo(f"metrics server https://{shown}:{port}")
