"""``rankwire doctor``: what would keep a server on this machine from keeping its promises."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

import click
import msgspec
from rich.text import Text

from rankwire import settings
from rankwire.cli import _checks, _shared
from rankwire.cli._options import examples, settings_options
from rankwire.cli._output import Failure, console

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping
    from pathlib import Path

    from rankwire.cli._checks import Check

STYLES = {"ok": "green", "warn": "yellow", "fail": "red"}


@click.command(
    "doctor",
    short_help="Check settings, storage, ports and limits before a start.",
    epilog=examples("rankwire doctor", "rankwire doctor --config /etc/rankwire.toml --json"),
)
@settings_options
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object.")
def command(*, config_file: Path | None, as_json: bool, **flags: str | None) -> None:
    """Check this machine and the settings of 'rankwire serve', without starting a server.

    Takes the same flags as serve. Each line is ok, warn or fail, and says what to do. The exit code
    is 1 if anything fails; a warning alone leaves it 0.
    """
    checks = []
    for check in examine(config_file, flags):
        checks.append(check)
        if not as_json:
            _show(check)
    failed = any(check.status == "fail" for check in checks)
    if as_json:
        click.echo(msgspec.json.encode({"ok": not failed, "checks": checks}).decode())
    if failed:
        raise SystemExit(Failure.exit_code)


def examine(config_file: Path | None, flags: Mapping[str, object]) -> Iterator[Check]:
    """Make every check; those that need settings are left out when the settings are wrong."""
    yield from _checks.check_build()
    yield from _checks.check_sqlite()
    file = settings.locate_file(config_file)
    try:
        loaded = settings.load(config_file, os.environ, flags)
    except settings.SettingsError as error:
        yield from _checks.check_settings(file, error.problems)
        return
    yield from _checks.check_settings(file, [])
    has_tables = True
    if loaded.storage.url:
        found = list(_shared.check_postgres(loaded.storage))
        yield from found
        # Looking at the keys would make them.
        has_tables = any(check.name == "writing" for check in found)
    else:
        yield from _checks.check_storage(loaded.storage.path)
        yield from _checks.check_databases(loaded.storage.path)
    if loaded.redis.url:
        yield _shared.check_redis(loaded.redis.url)
    if has_tables:
        yield from _checks.check_access(loaded)
    yield from _checks.check_ports(loaded)
    yield from _checks.check_files(loaded.live.max_connections)
    yield from _checks.check_clock(loaded.storage.path)


def _show(check: Check) -> None:
    mark = Text(f"{check.status:<5}", style=STYLES[check.status])
    console().print(mark, Text(f"{check.name:<16}"), Text(check.found))
    if check.advice:
        console().print(Text(f"{'':<23}{check.advice}"))
