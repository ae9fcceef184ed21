"""``rankwire regions``: regions that hold the same boards, as commands for whoever runs them."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click
import msgspec

from rankwire.cli._options import examples, key, load_settings, server_url, some_settings
from rankwire.cli._output import Failure
from rankwire.cli._regions_asking import order, ordered, status_of
from rankwire.cli._regions_show import show_failover, show_status
from rankwire.cli._regions_verify import repair, verify
from rankwire.model_regions import REASON_CHARACTERS, Failover, Out, is_reason
from rankwire.settings import shown_url
from rankwire.settings_regions import NAME_RULE, is_name
from rankwire.storage import StorageError
from rankwire.sync.regions.status import FailoverReport

if TYPE_CHECKING:
    from pathlib import Path

_json = click.option("--json", "as_json", is_flag=True, help="Print all of it as JSON.")
_yes = click.option("--yes", is_flag=True, help="Do not ask whether it is meant.")


@click.group(
    "regions",
    short_help="See, compare and move what several regions hold.",
    epilog=examples(
        "rankwire regions status",
        "rankwire regions verify",
        "rankwire regions failover --server https://us.example.com",
    ),
)
def command() -> None:
    """See how regions are, compare what they hold, and say which one is the primary.

    Each command asks one server and acts on its region, so --server says which region is meant.
    With auth.mode keys, status needs a key with the scope operator, 'out' and 'in' one with admin
    for all boards, and the others one with both; 'adopt' asks no server. docs/regions.md tells what
    regions promise each other.
    """


command.add_command(verify)
command.add_command(repair)


@command.command(
    "status",
    short_help="Show a region, and the others as it sees them.",
    epilog=examples(
        'rankwire regions status --key "$(cat operator.key)"',
        "rankwire regions status --server https://us.example.com --json",
    ),
)
@server_url
@key
@_json
def status(*, url: str, key: str | None, as_json: bool) -> None:
    """Show which region this is, which one is the primary, and how far the others are.

    Lag is the time since this region had all that the other one had; clock is how far the other
    one's clock is ahead. What is not known is said to be unknown.
    """
    found = status_of(url, key)
    if as_json:
        _print_json(found)
    else:
        show_status(found)


@command.command(
    "failover",
    short_help="Make the region of this server the primary.",
    epilog=examples(
        "rankwire regions failover --server https://us.example.com",
        "rankwire regions failover --server https://us.example.com --yes --json",
        "rankwire regions failover --server https://us.example.com --force",
    ),
)
@server_url
@key
@click.option(
    "--force",
    is_flag=True,
    help="Go on without promises of most regions. Only when the old primary is known to be "
    "stopped: otherwise both may take writes.",
)
@_yes
@_json
def failover(*, url: str, key: str | None, force: bool, yes: bool, as_json: bool) -> None:
    """Make the region of this server the primary, in place of the one that is.

    Most regions have to promise to follow it. A primary that does not answer is waited for until
    its lease has ended, and what any of them has is fetched before this one is opened. Nothing
    that was acknowledged by a region that can be reached is lost.
    """
    found = status_of(url, key)
    words = f"Make region {found.region} the primary in place of {found.primary or 'nobody'}?"
    if force:
        stopped = f" is {found.primary} known to be stopped?" if found.primary else ""
        words = f"By force, whatever the others say:{stopped} {words}"
    if not yes:
        click.confirm(words, abort=True, err=True)
    _show(ordered(url, key, "failover", Failover(force=force), FailoverReport), as_json=as_json)


@command.command(
    "failback",
    short_help="Give the primary back to the region of the settings.",
    epilog=examples("rankwire regions failback", "rankwire regions failback --yes --json"),
)
@server_url
@key
@_yes
@_json
def failback(*, url: str, key: str | None, yes: bool, as_json: bool) -> None:
    """Make the region of the setting regions.primary the primary again.

    It is refused while that region cannot be reached, its clock is off or it has not caught up.
    Ask any region.
    """
    found = status_of(url, key)
    words = f"Give the primary back, which is {found.primary or 'nobody'} now?"
    if not yes:
        click.confirm(words, abort=True, err=True)
    _show(ordered(url, key, "failback", None, FailoverReport), as_json=as_json)


def _checked_reason(_ctx: click.Context, _argument: click.Parameter, reason: str) -> str:
    if not is_reason(reason):
        raise click.BadParameter(f"a reason has 1 to {REASON_CHARACTERS} printable characters")
    return reason


@command.command(
    "out",
    short_help="Take a region out: let its health say that it fails.",
    epilog=examples("rankwire regions out 'moving the database, until noon'"),
)
@click.argument("reason", callback=_checked_reason)
@server_url
@key
def out(*, reason: str, url: str, key: str | None) -> None:
    """Let GET /health of every server of this region fail, for REASON, until 'in'.

    Load balancers and DNS that look there send clients elsewhere. The region goes on: it serves
    whoever comes, and holds what the others hold.
    """
    order(url, key, "PUT", "out", Out(reason=reason))
    click.echo("It is out: GET /health fails until 'rankwire regions in'.")


@command.command(
    "in",
    short_help="Take a region in again.",
    epilog=examples("rankwire regions in"),
)
@server_url
@key
def in_(*, url: str, key: str | None) -> None:
    """Let GET /health say again how the servers of this region are; ends 'out'."""
    order(url, key, "DELETE", "out", None)
    click.echo("It is in: GET /health says how each server is.")


def _checked_region(_ctx: click.Context, _argument: click.Parameter, name: str) -> str:
    if not is_name(name):
        raise click.BadParameter(f"a region's name is {NAME_RULE}")
    return name


@command.command(
    "adopt",
    short_help="Make a copy of another region's database this region's.",
    epilog=examples(
        "rankwire regions adopt us --storage-url postgresql://rankwire@db.us/rankwire",
    ),
)
@click.argument("name", callback=_checked_region)
@_yes
@some_settings("storage.url")
def adopt(*, name: str, yes: bool, config_file: Path | None, **flags: str | None) -> None:
    """Let the database of storage.url, a copy of another region's, be that of region NAME.

    For a region that has lost its database, or that is new: restore a backup of any other region
    there, adopt it, and start the region's servers. What has been written since comes from the
    other regions by itself. No server may use the database meanwhile.
    """
    settings = load_settings(config_file, flags)
    if not settings.storage.url:
        raise click.UsageError("name the database: --storage-url")
    where = shown_url(settings.storage.url)
    if not yes:
        click.confirm(f"Make {where} the database of region {name}?", abort=True)
    # Only this command needs PostgreSQL's library.
    from rankwire.storage import region_claim  # noqa: PLC0415

    try:
        region_claim.adopt(settings.storage, name)
    except StorageError as error:
        raise Failure(str(error)) from error
    click.echo(f"{where} is the database of region {name}. Start its servers.")


def _show(report: FailoverReport, *, as_json: bool) -> None:
    if as_json:
        _print_json(report)
    else:
        show_failover(report)


def _print_json(answer: msgspec.Struct) -> None:
    click.echo(msgspec.json.encode(answer).decode())
