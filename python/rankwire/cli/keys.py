"""``rankwire keys``: the API keys of a server, also while it runs."""

from __future__ import annotations

import time
from contextlib import AbstractContextManager, contextmanager
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Final

import click
import msgspec
from rich.table import Table
from rich.text import Text

from rankwire import _core
from rankwire.cli._options import board_patterns, examples, load_settings, some_settings
from rankwire.cli._output import Failure, console
from rankwire.settings import shown_url
from rankwire.storage import StorageError
from rankwire.storage.keys import KEYS_FILE, ApiKey, KeyStore, open_keys

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from rankwire.settings import Storage

SCOPES: Final = ("read", "submit", "admin", "operator")
_NAME_CHARACTERS: Final = 64

_storage = some_settings("storage.path", "storage.url")


class Listed(msgspec.Struct, frozen=True):
    """A key as it is listed. Times are RFC 3339."""

    id: str
    name: str
    scopes: tuple[str, ...]
    boards: tuple[str, ...]
    created: str
    revoked: str | None


@click.group(
    "keys",
    short_help="Create, list and revoke API keys.",
    epilog=examples(
        "rankwire keys create --name backend --scope read --scope submit",
        "rankwire keys list",
        "rankwire keys revoke k3vq7x2mjf5a",
    ),
)
def command() -> None:
    """Create, list and revoke the API keys of a server.

    Programs send a key as 'Authorization: Bearer KEY' or as 'X-Api-Key: KEY'. The keys stand in
    the directory of storage.path, as hashes; run these commands as the user of the server. With
    storage.url they stand in the PostgreSQL database, for all nodes. Servers may run meanwhile:
    what changes counts within two seconds. A server asks for keys in auth.mode keys.
    """


def _checked_name(_ctx: click.Context, _option: click.Parameter, name: str) -> str:
    if not name.isprintable() or not 1 <= len(name) <= _NAME_CHARACTERS:
        raise click.BadParameter(f"a name has 1 to {_NAME_CHARACTERS} printable characters")
    return name


@command.command(
    "create",
    short_help="Create a key and print it, once.",
    epilog=examples(
        "rankwire keys create --name backend --scope read --scope submit",
        "rankwire keys create --name season --scope submit --board 'season-*' > backend.key",
        "rankwire keys create --name prometheus --scope operator",
    ),
)
@click.option("--name", required=True, callback=_checked_name, help="Who it is for.")
@click.option(
    "--scope",
    "scopes",
    required=True,
    multiple=True,
    type=click.Choice(SCOPES),
    help="What it may do. read: boards and live views. submit: scores of any member. admin: create "
    "and delete boards, remove members and, without --board, repair regions, move the primary and "
    "take a region out. operator: read metrics, digests and how regions are. Repeatable.",
)
@board_patterns
@_storage
def create(
    *,
    name: str,
    scopes: tuple[str, ...],
    boards: tuple[str, ...],
    config_file: Path | None,
    **flags: str | None,
) -> None:
    """Create an API key and print it on standard output.

    It is shown this once: what is stored is only its hash.
    """
    settings = load_settings(config_file, flags)
    text, key_id, digest = _core.Access.new_key()
    wanted = tuple(scope for scope in SCOPES if scope in scopes)
    key = ApiKey(key_id, name, digest, wanted, tuple(dict.fromkeys(boards)), _now_ms())
    with _opened(settings.storage) as store:
        store.add(key)
    where = f"boards {', '.join(key.boards)}" if key.boards else "all boards"
    click.echo(f"Key {key.id} for {name}: {', '.join(key.scopes)} on {where}.", err=True)
    click.echo(
        f"Its hash is in {_place(settings.storage)}, the key nowhere: it is not shown again.",
        err=True,
    )
    click.echo(text)
    if settings.auth.mode == "open":
        click.echo("With these settings a server asks for no key: set auth.mode to keys.", err=True)


@command.command(
    "list",
    short_help="List the keys.",
    epilog=examples("rankwire keys list", "rankwire keys list --json"),
)
@click.option("--json", "as_json", is_flag=True, help="Print a JSON array.")
@_storage
def list_(*, as_json: bool, config_file: Path | None, **flags: str | None) -> None:
    """List the API keys, the oldest first, revoked ones as well."""
    with _existing(load_settings(config_file, flags).storage) as store:
        listed = [_listed(key) for key in store.all()]
    if as_json:
        click.echo(msgspec.json.encode(listed).decode())
        return
    table = Table("id", "name", "scopes", "boards", "created", "revoked")
    for key in listed:
        words = (
            *(key.id, key.name, " ".join(key.scopes), " ".join(key.boards) or "all"),
            *(key.created, key.revoked or ""),
        )
        table.add_row(*(Text(word, style="dim" if key.revoked else "") for word in words))
    console().print(table)


@command.command(
    "revoke",
    short_help="End a key for ever.",
    epilog=examples("rankwire keys revoke k3vq7x2mjf5a"),
)
@click.argument("key_id", metavar="ID")
@_storage
def revoke(*, key_id: str, config_file: Path | None, **flags: str | None) -> None:
    """End the key ID, as 'rankwire keys list' shows it, for ever.

    A running server refuses it within two seconds.
    """
    with _existing(load_settings(config_file, flags).storage) as store:
        is_done = store.revoke(key_id, _now_ms())
        is_known = is_done or any(key.id == key_id for key in store.all())
    if not is_known:
        raise Failure(f"there is no key {key_id!r}; 'rankwire keys list' lists them")
    click.echo(f"Key {key_id} is revoked." if is_done else f"Key {key_id} was revoked already.")


@contextmanager
def _opened(storage: Storage) -> Iterator[KeyStore]:
    try:
        with open_keys(storage) as store:
            yield store
    except StorageError as error:
        raise Failure(str(error)) from error


def _existing(storage: Storage) -> AbstractContextManager[KeyStore]:
    """Open what is there: in a directory given by mistake, nothing should be made."""
    if not storage.url and not (storage.path / KEYS_FILE).exists():
        where = f"{_place(storage)}; name the server's --storage-path or --storage-url"
        raise Failure(f"there are no keys in {where}")
    return _opened(storage)


def _place(storage: Storage) -> str:
    return shown_url(storage.url) if storage.url else str(storage.path.resolve())


def _now_ms() -> int:
    return time.time_ns() // 1_000_000


def _listed(key: ApiKey) -> Listed:
    revoked = None if key.revoked_ms is None else _time(key.revoked_ms)
    return Listed(key.id, key.name, key.scopes, key.boards, _time(key.created_ms), revoked)


def _time(ms: int) -> str:
    return datetime.fromtimestamp(ms // 1000, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
