"""``rankwire ops hpa``: an autoscaler of Kubernetes tried before it decides anything."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click
import msgspec
from rich.table import Table
from rich.text import Text

from rankwire.autoscale import quantity
from rankwire.autoscale.lint import Facts, lint
from rankwire.autoscale.manifest import ManifestError, load, load_all
from rankwire.autoscale.simulate import Model, SimulateError, Simulation, simulate
from rankwire.autoscale.target import MEMORY_SHARE, SHARE, Pod, Target, TargetError, derive
from rankwire.autoscale.trace import Trace, TraceError, read, surge
from rankwire.cli._ops_prices import load_catalogue
from rankwire.cli._options import examples, some_settings
from rankwire.cli._output import Failure, console
from rankwire.ops.capacity.units import UnitError, Units
from rankwire.ops.findings import CostLine
from rankwire.ops.prices import PriceError

if TYPE_CHECKING:
    from rankwire.autoscale.controller import Autoscaler

_SHOWN_CHANGES = 60

_manifest = click.option(
    "--manifest",
    "file",
    type=click.Path(path_type=Path),
    required=True,
    help="YAML file with a HorizontalPodAutoscaler of autoscaling/v2, among others or not.",
)
_json = click.option("--json", "as_json", is_flag=True, help="Print JSON.")


class _Quantity(click.ParamType[int]):
    """A number as Kubernetes writes it, in thousandths."""

    name = "quantity"

    def convert(self, value: str, param: click.Parameter | None, ctx: click.Context | None) -> int:
        try:
            milli = quantity.parse(value).milli
        except quantity.QuantityError as error:
            self.fail(str(error), param, ctx)
        if milli <= 0:
            self.fail(f"{value} is not more than 0", param, ctx)
        return milli


@click.group(
    "hpa",
    short_help="Try an autoscaler of Kubernetes before it runs.",
    epilog=examples(
        "rankwire ops hpa simulate --manifest hpa.yaml --surge 150000",
        "rankwire ops hpa lint --manifest hpa.yaml --database-connections 400",
        "rankwire ops hpa target --memory 2Gi --files 65536",
    ),
)
def command() -> None:
    """Try a HorizontalPodAutoscaler before it runs.

    Decisions are made by the rules of Kubernetes' own controller, and compared with it; how load
    comes and pods start is a model, with what you say of it.
    """


@command.command(
    "simulate",
    epilog=examples(
        "rankwire ops hpa simulate --manifest hpa.yaml --surge 150000",
        "rankwire ops hpa simulate --manifest hpa.yaml --trace day.csv --request cpu=500m",
        "rankwire ops hpa simulate --manifest hpa.yaml --trace day.csv --sku ec2:c7g.large --json",
    ),
)
@_manifest
@click.option("--name", default="", help="Which autoscaler, if the file has several.")
@click.option(
    "--trace",
    "trace_file",
    type=click.Path(path_type=Path),
    help="CSV file: `seconds` and a column for each metric, with the load of all pods together "
    "(connections, scores a second, cores for cpu, bytes for memory). A row holds until the next.",
)
@click.option(
    "--surge",
    "height",
    type=_Quantity(),
    help="Instead of a trace: five quiet minutes, so much load of the first metric of pods at "
    "once, and the quiet again for an hour.",
)
@click.option(
    "--surge-minutes",
    type=click.FloatRange(1, 1440),
    default=20,
    show_default=True,
    help="How long that lasts.",
)
@click.option(
    "--start-seconds",
    type=click.FloatRange(0, 3600),
    default=30,
    show_default=True,
    help="From a decision until a new pod is ready.",
)
@click.option("--replicas", type=click.IntRange(1, 100_000), help="At first. [default: the least]")
@click.option(
    "--request",
    "requests",
    multiple=True,
    metavar="RESOURCE=QUANTITY",
    help="What a pod requests, for metrics in percent: cpu=500m, memory=1Gi.",
)
@click.option("--sku", help="Machine of one pod, to price it: a name of `rankwire ops prices`.")
@_json
@some_settings("ops.prices")
def simulate_command(  # noqa: PLR0913  # one for each option
    *,
    file: Path,
    name: str,
    trace_file: Path | None,
    height: int | None,
    surge_minutes: float,
    start_seconds: float,
    replicas: int | None,
    requests: tuple[str, ...],
    sku: str | None,
    as_json: bool,
    config_file: Path | None,
    **flags: str | None,
) -> None:
    """Run an autoscaler through a load, as the controller would go.

    Shows every change with its reason, how long it took until there was enough, and what the pods
    cost. Metrics that the trace has no column for are left out, and named. Time is simulated: a day
    takes a second.
    """
    if (trace_file is None) == (height is None):
        raise click.UsageError("give one of --trace and --surge")
    try:
        autoscaler = load(file, name)
        if trace_file is not None:
            trace = read(trace_file)
        else:
            trace = _surge(autoscaler, height or 0, surge_minutes * 60)
        model = Model(start_seconds, _requests(requests), first=replicas)
        done = simulate(autoscaler, trace, model)
    except (ManifestError, TraceError, SimulateError) as error:
        raise Failure(str(error)) from error
    cost = None
    if sku is not None:
        cost = _cost(done, sku, config_file, flags)
    if as_json:
        click.echo(msgspec.json.encode({"simulation": done, "cost": cost}).decode())
    else:
        _show_simulation(done, cost)


def _surge(autoscaler: Autoscaler, height: int, seconds: float) -> Trace:
    metric = next((m for m in autoscaler.metrics if m.kind == "pods"), None)
    if metric is None:
        raise SimulateError("--surge needs a metric of type Pods; give a trace")
    # What the least number of pods carries without wanting more.
    quiet = min(autoscaler.bounds.least * metric.target * 9 // 10, height)
    return surge(metric.name, quiet, height, seconds)


def _requests(given: tuple[str, ...]) -> dict[str, int]:
    requests = {}
    for entry in given:
        resource, separator, amount = entry.partition("=")
        if not separator:
            raise click.UsageError(f"--request {entry}: it has to be RESOURCE=QUANTITY")
        requests[resource] = _Quantity().convert(amount, None, None)
    return requests


def _cost(
    done: Simulation, sku: str, config_file: Path | None, flags: dict[str, str | None]
) -> CostLine:
    """Price the hours of the pods, as if each had a machine of its own."""
    catalogue = load_catalogue(config_file, flags)
    try:
        return catalogue.line(sku, done.replica_hours / catalogue.hours)
    except PriceError as error:
        raise Failure(str(error)) from error


def _show_simulation(done: Simulation, cost: CostLine | None) -> None:
    table = Table(title=Text(f"{done.autoscaler}: replicas"), title_justify="left")
    for head in ("time", "replicas", "why", "held back by"):
        table.add_column(head)
    table.add_row(_clock(0), str(done.start), "the beginning", "")
    for change in done.changes[:_SHOWN_CHANGES]:
        step = f"{change.before} → {change.after}"
        table.add_row(_clock(change.seconds), step, change.reason, change.limit)
    console().print(table)
    if (more := len(done.changes) - _SHOWN_CHANGES) > 0:
        click.echo(f"… and {more} changes more; --json has them all.")
    for strain in done.strains:
        click.echo(
            f"{strain.metric}: above its target for {strain.seconds_over:,.0f} s, at most "
            f"{strain.longest_over:,.0f} s at a stretch; at worst {strain.worst:.2f} times it."
        )
    click.echo(
        f"{done.replica_hours:,.1f} hours of pods in {_clock(done.seconds)}: {done.most} at most, "
        f"{done.last} at the end."
    )
    if cost is not None:
        click.echo(
            f"${cost.monthly:,.2f} with {cost.sku} for each pod, at ${cost.unit_price} an hour "
            f"({cost.source}, {cost.date})."
        )
    if done.left_out:
        click.echo(f"Left out, as the load says nothing of them: {', '.join(done.left_out)}.")


def _clock(seconds: float) -> str:
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02}:{rest:02}"


@command.command(
    "lint",
    epilog=examples(
        "rankwire ops hpa lint --manifest hpa.yaml",
        "rankwire ops hpa lint --manifest hpa.yaml --database-connections 400 --pool-size 8",
        "rankwire ops hpa lint --manifest hpa.yaml --connections 750000 --memory 2Gi",
    ),
)
@_manifest
@click.option(
    "--database-connections",
    type=click.IntRange(1, 1_000_000),
    help="Connections that PostgreSQL has for these pods: max_connections less what others need.",
)
@click.option(
    "--pool-size",
    type=click.IntRange(1, 100),
    default=8,
    show_default=True,
    help="storage.pool_size of the pods.",
)
@click.option(
    "--regions", "in_regions", is_flag=True, help="The pods are in a region among others."
)
@click.option(
    "--connections", type=click.IntRange(1, 1_000_000_000), help="Watchers that are to be carried."
)
@click.option("--memory", type=_Quantity(), help="Memory of a pod, to judge its target: 2Gi.")
@click.option(
    "--files",
    type=click.IntRange(1001, 2**31),
    default=65_536,
    show_default=True,
    help="Limit of open files of a pod.",
)
@_json
def lint_command(  # noqa: PLR0913  # one for each option
    *,
    file: Path,
    database_connections: int | None,
    pool_size: int,
    in_regions: bool,
    connections: int | None,
    memory: int | None,
    files: int,
    as_json: bool,
) -> None:
    """Say what is wrong with autoscalers before they run.

    The exit code is 1 if anything is an error. What an option would be needed for is not judged
    without it.
    """
    try:
        autoscalers = load_all(file)
        derived = None
        if memory is not None:
            derived = derive(Pod(memory / 1000, files), Units.load()).connections
    except (ManifestError, TargetError, UnitError) as error:
        raise Failure(str(error)) from error
    facts = Facts(pool_size, 13 if in_regions else 7, database_connections, connections, derived)
    found = {one.name: lint(one, facts) for one in autoscalers}
    if as_json:
        click.echo(msgspec.json.encode(found).decode())
    else:
        for autoscaler, findings in found.items():
            for finding in findings:
                click.echo(f"{autoscaler}: {finding.severity} ({finding.rule}): {finding.text}")
            if not findings:
                click.echo(f"{autoscaler}: nothing is wrong.")
    if any(finding.severity == "error" for each in found.values() for finding in each):
        raise SystemExit(1)


@command.command(
    "target",
    epilog=examples(
        "rankwire ops hpa target --memory 2Gi --files 65536",
        "rankwire ops hpa target --memory 1Gi --cores 1 --deliveries 0.5",
    ),
)
@click.option("--memory", type=_Quantity(), required=True, help="Memory limit of a hub: 2Gi.")
@click.option(
    "--files",
    type=click.IntRange(1001, 2**31),
    default=65_536,
    show_default=True,
    help="Its limit of open files.",
)
@click.option("--cores", type=_Quantity(), help="Processors it may use: 1, 500m.")
@click.option(
    "--deliveries",
    type=click.FloatRange(0, 1000),
    default=0.0,
    show_default=True,
    help="Messages to a watcher in a second, for the processors.",
)
@click.option(
    "--evaluations",
    type=click.FloatRange(0, 1000),
    default=0.0,
    show_default=True,
    help="Looks for a watcher in a second whether its view has changed; at least one for each "
    "message.",
)
@click.option(
    "--max-connections",
    type=click.IntRange(1, 64_000_000),
    help="live.max_connections of its processes together. [default: as many as files allow, which "
    "is what the chart sets]",
)
@click.option(
    "--members",
    type=click.IntRange(0, 1_000_000_000),
    default=0,
    show_default=True,
    help="Members of all boards, which every node holds.",
)
@click.option(
    "--units",
    "units_file",
    type=click.Path(path_type=Path),
    help="Measured units, as `make bench-units` writes them. [default: those of the program]",
)
@_json
def target_command(  # noqa: PLR0913  # one for each option
    *,
    memory: int,
    files: int,
    cores: int | None,
    deliveries: float,
    evaluations: float,
    max_connections: int | None,
    members: int,
    units_file: Path | None,
    as_json: bool,
) -> None:
    """Derive a hub's target of connections from its memory, files, processors and settings.

    It is 0.7 of the least of: what 0.8 of the memory holds by the measured bytes of a connection,
    beside the boards, the files less 1,000, what the processors serve, and live.max_connections.
    """
    pod = Pod(
        memory / 1000,
        files,
        None if cores is None else cores / 1000,
        deliveries,
        members,
        evaluations,
        max_connections,
    )
    try:
        units = Units.load(units_file)
        target = derive(pod, units)
    except (UnitError, TargetError) as error:
        raise Failure(str(error)) from error
    if as_json:
        click.echo(msgspec.json.encode(target).decode())
    else:
        _show_target(target, units)


def _show_target(target: Target, units: Units) -> None:
    click.echo(f"averageValue: {target.connections}")
    for name, fit in target.limits.items():
        decides = ", which decides" if name == target.bound_by else ""
        click.echo(f"  {name}: {int(fit):,} connections fit{decides}")
    click.echo(f"{SHARE} of that, with {MEMORY_SHARE} of the memory. Measured:")
    for name in target.units:
        unit = units.file.units[name]
        click.echo(f"  {unit.what}: {unit.value:g} {unit.unit} ({unit.date}, {unit.machine})")
