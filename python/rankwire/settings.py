"""Settings of a server: one frozen tree, the same for the file, the environment and the flags.

Promises:

* Every setting is declared once, in the Structs below, with its default, its range and its
  description. Flags, help, error messages and ``docs/settings.md`` are generated from there.
* Later sources win: defaults, then the TOML file, then ``RANKWIRE_*`` variables, then flags.
* :func:`load` reports every wrong setting at once. Each problem says where the value stands,
  what was found and what is allowed. A misspelt name is an error, never silently ignored.
"""

from __future__ import annotations

import difflib
import re
import reprlib
import tomllib
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Final, Literal, cast, get_args, get_origin

import msgspec
from msgspec import Meta

from rankwire import settings_regions
from rankwire.settings_regions import Regions

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping

DEFAULT_FILE = Path("rankwire.toml")
"""Read from the working directory when no file is named, if it exists."""

ENVIRONMENT_PREFIX = "RANKWIRE_"

KEY_VARIABLE = "RANKWIRE_KEY"
"""No setting: the credential of commands that talk to a server."""

# No message quotes what these hold.
_SECRETS: Final = frozenset({"regions.secret"})

# A connection is looked at every 25 seconds, and coming back costs a node more than staying.
_SHORTEST_CONNECTION: Final = 60

MOST_INTERVALS: Final = 720
"""Most intervals of ``ops.sample_seconds`` in one ``ops.window_seconds``: as much is remembered."""


class Http(msgspec.Struct, frozen=True):
    """The HTTP API."""

    host: Annotated[str, Meta(min_length=1, description="Address the HTTP API listens on.")] = (
        "127.0.0.1"
    )
    port: Annotated[
        int,
        Meta(ge=0, le=65_535, description="Port of the HTTP API; 0 takes any free port."),
    ] = 7700
    max_body_bytes: Annotated[
        int,
        Meta(
            ge=1024,
            le=1024**3,
            description="Largest request body; a larger one is answered 413 and not read.",
        ),
    ] = 8 * 1024**2


class Live(msgspec.Struct, frozen=True):
    """The WebSocket listener that pushes changes to watchers."""

    host: Annotated[str, Meta(min_length=1, description="Address the live listener binds.")] = (
        "127.0.0.1"
    )
    port: Annotated[
        int,
        Meta(ge=0, le=65_535, description="Port of the live listener; 0 takes any free port."),
    ] = 7701
    tick_ms: Annotated[
        int,
        Meta(
            ge=10,
            le=10_000,
            description="Milliseconds between two updates of a view; changes within merge.",
        ),
    ] = 100
    personal_tick_ms: Annotated[
        int,
        Meta(
            ge=10,
            le=60_000,
            description="The same for views of one watcher: member, around and friends.",
        ),
    ] = 1000
    deliveries_per_second: Annotated[
        int,
        Meta(
            ge=100,
            le=10_000_000,
            description="Most updates that one thread sends; with more to send, views tick slower.",
        ),
    ] = 100_000
    max_connections: Annotated[
        int,
        Meta(
            ge=1,
            le=1_000_000,
            description="Most watchers at once, also bounded by the limit of open files less 1000; "
            "more are turned away.",
        ),
    ] = 19_000
    threads: Annotated[
        int, Meta(ge=1, le=64, description="Threads that serve watchers, in each process.")
    ] = 1
    processes: Annotated[
        int,
        Meta(ge=0, le=64, description="Processes beside the server that serve watchers as well."),
    ] = 0
    origins: Annotated[
        str,
        Meta(
            description="Pages that may watch from a browser: origins with spaces between them, "
            "`*` for any; empty for pages of the same host.",
        ),
    ] = ""
    drain_seconds: Annotated[
        float,
        Meta(ge=0, le=300, description="Time over which watchers are sent away at a stop."),
    ] = 10.0
    accepts_per_second: Annotated[
        int,
        Meta(ge=1, le=1_000_000, description="Most new connections; more wait to be accepted."),
    ] = 4000
    commands_per_second: Annotated[
        int,
        Meta(
            ge=1,
            le=100_000,
            description="Most commands of a watcher, at once three times that; not for API keys.",
        ),
    ] = 20
    connection_seconds: Annotated[
        int,
        Meta(
            ge=0,
            le=86_400,
            description="How long a connection lasts, give or take a tenth, before its watcher is "
            "told to connect again, so that new nodes get their share; at least 60, 0 for no end.",
        ),
    ] = 0


class Storage(msgspec.Struct, frozen=True):
    """Where boards are kept."""

    path: Annotated[
        Path,
        Meta(
            description="Directory of the databases, created if missing; "
            "relative to the working directory.",
        ),
    ] = Path("rankwire-data")
    url: Annotated[
        str,
        Meta(
            description="PostgreSQL database to keep the boards in, for one node or many: "
            "`postgresql://user@host/database`; empty for SQLite in the directory of storage.path.",
        ),
    ] = ""
    replica_url: Annotated[
        str,
        Meta(
            description="Replica of that database, to read history and profiles from; empty for "
            "none."
        ),
    ] = ""
    replica_lag_seconds: Annotated[
        float,
        Meta(ge=0.1, le=3600, description="A replica further behind than this is not read."),
    ] = 5.0
    pool_size: Annotated[
        int,
        Meta(
            ge=1,
            le=100,
            description="Most connections to PostgreSQL for requests, beside up to seven, and "
            "six more in a region among others.",
        ),
    ] = 8
    pool_wait_seconds: Annotated[
        float, Meta(ge=0.1, le=60, description="How long a request waits for a connection.")
    ] = 2.0
    statement_seconds: Annotated[
        float, Meta(ge=1, le=300, description="How long PostgreSQL may take for a statement.")
    ] = 10.0
    lock_seconds: Annotated[
        float, Meta(ge=0.1, le=60, description="How long a statement waits for a lock there.")
    ] = 2.0
    journal_days: Annotated[
        int, Meta(ge=1, le=3650, description="How long the journal is kept after a checkpoint.")
    ] = 90
    busy_seconds: Annotated[
        float,
        Meta(ge=0, le=60, description="How long a commit waits for a locked SQLite database."),
    ] = 2.0
    checkpoint_members: Annotated[
        int,
        Meta(ge=1, le=10_000_000, description="Changed members after which a checkpoint starts."),
    ] = 200_000
    checkpoint_seconds: Annotated[
        float,
        Meta(ge=0.1, le=3600, description="Longest time between a change and its checkpoint."),
    ] = 30.0


class Redis(msgspec.Struct, frozen=True):
    """How nodes on one PostgreSQL database hear of each other at once."""

    url: Annotated[
        str,
        Meta(
            description="Redis or Valkey: `redis://host:6379`, `redis+cluster://host:port,...`, "
            "`redis+sentinel://host:port,.../service`, with `rediss` for TLS; empty for none, and "
            "nodes then ask PostgreSQL for news.",
        ),
    ] = ""
    stream_batches: Annotated[
        int,
        Meta(ge=100, le=1_000_000, description="About how many commits the stream there keeps."),
    ] = 2000


class Node(msgspec.Struct, frozen=True):
    """What this process is for, among others on one PostgreSQL database."""

    role: Annotated[
        Literal["all", "api", "hub"],
        Meta(
            description="`api` serves the HTTP API only, `hub` live connections only; both need "
            "storage.url.",
        ),
    ] = "all"
    leave_seconds: Annotated[
        float,
        Meta(
            ge=0,
            le=300,
            description="How long a node that was told to stop goes on serving while it says that "
            "it is not ready, so that nobody is sent to it any more when it stops.",
        ),
    ] = 0.0


class Auth(msgspec.Struct, frozen=True):
    """Who may do what; docs/access.md tells the rules."""

    mode: Annotated[
        Literal["open", "keys"],
        Meta(
            description="`open` lets everybody do everything and is refused at addresses that "
            "other machines reach; `keys` asks for API keys and players' tokens.",
        ),
    ] = "open"
    anonymous: Annotated[
        Literal["none", "read"],
        Meta(description="What callers without a credential may do in mode `keys`."),
    ] = "none"
    tokens: Annotated[
        str,
        Meta(
            description="JWKS file with the keys that players' tokens are signed with, read again "
            "when it changes; empty for no tokens.",
        ),
    ] = ""
    audience: Annotated[str, Meta(description="`aud` that a token must name; empty for any.")] = ""
    issuer: Annotated[str, Meta(description="`iss` that a token must have; empty for any.")] = ""
    key_submits_per_second: Annotated[
        int,
        Meta(ge=0, le=1_000_000, description="Most scores of an API key; 0 for no limit."),
    ] = 0
    member_submits_per_second: Annotated[
        int,
        Meta(
            ge=0,
            le=1_000_000,
            description="Most scores of a player, three times that at once; 0 for no limit.",
        ),
    ] = 10


class Limits(msgspec.Struct, frozen=True):
    """What one server takes on before it says no."""

    pending_submits: Annotated[
        int,
        Meta(
            ge=10_000,  # the largest batch has to fit
            le=10_000_000,
            description="Most submits waiting for a commit; more are answered 503.",
        ),
    ] = 65_536
    boards: Annotated[int, Meta(ge=1, le=1_000_000, description="Most boards.")] = 100_000
    profile_bytes: Annotated[
        int, Meta(ge=256, le=65_536, description="Largest profile of a member, as JSON.")
    ] = 4096


class Ops(msgspec.Struct, frozen=True):
    """What the server finds out about itself; docs/analytics.md tells how."""

    sample_seconds: Annotated[
        float,
        Meta(ge=0.2, le=60, description="Time between two readings of what the analyzer looks at."),
    ] = 5.0
    window_seconds: Annotated[
        float,
        Meta(ge=1, le=3600, description="Time that rates and quantiles of a report are about."),
    ] = 60.0
    rules: Annotated[
        str,
        Meta(
            description="TOML file with other thresholds for the analyzer's rules; empty for none."
        ),
    ] = ""
    prices: Annotated[
        str,
        Meta(
            description="Price table, as `rankwire ops prices import` writes it; empty for the one "
            "that comes with the program."
        ),
    ] = ""
    usage_path: Annotated[
        str,
        Meta(
            description="File to keep the history of this node's use of its machine in; empty to "
            "forget it at a stop."
        ),
    ] = ""
    caching: Annotated[
        Literal["off", "advise", "apply"],
        Meta(
            description="`advise` looks at what is read and says what caching would bring; `apply` "
            "does it too, and takes back what misses its prediction."
        ),
    ] = "advise"
    cache_mb: Annotated[
        int,
        Meta(ge=1, le=65_536, description="Most memory for what caching keeps, in MB."),
    ] = 64
    node_sku: Annotated[
        str,
        Meta(
            description="What this node's machine is in the price table, like `ec2:c7g.large`; "
            "empty if it has no known price."
        ),
    ] = ""
    redis_sku: Annotated[
        str,
        Meta(description="The same of Redis, like `cache-redis:cache.r7g.large`."),
    ] = ""
    database_sku: Annotated[
        str,
        Meta(
            description="What the database's servers are in the price table, like "
            "`rds-pg:db.m6g.xlarge`; empty if they have no known price."
        ),
    ] = ""
    archive_url: Annotated[
        str,
        Meta(
            description="Where the journal goes when it is older than storage.journal_days: "
            "`file:///path` or `s3://bucket/prefix`, the same for all nodes; empty to forget it."
        ),
    ] = ""


class Log(msgspec.Struct, frozen=True):
    """What the server says about itself on standard error."""

    level: Annotated[
        Literal["debug", "info", "warning", "error"],
        Meta(description="Least severe message that is logged."),
    ] = "info"
    format: Annotated[
        Literal["text", "json"],
        Meta(description="Lines for people, or one JSON object a line."),
    ] = "text"


class Settings(msgspec.Struct, frozen=True):
    """The whole tree; ``Settings()`` holds every default."""

    http: Http = Http()
    live: Live = Live()
    auth: Auth = Auth()
    storage: Storage = Storage()
    redis: Redis = Redis()
    regions: Regions = Regions()
    node: Node = Node()
    limits: Limits = Limits()
    ops: Ops = Ops()
    log: Log = Log()


class SettingsError(Exception):
    """One or more settings are wrong; :attr:`problems` holds one sentence for each."""

    def __init__(self, problems: list[str]) -> None:
        """Keep the problems, in the order in which they were found."""
        self.problems = problems
        super().__init__("\n".join(problems))


class Field(msgspec.Struct, frozen=True):
    """One row of the table of settings."""

    section: str
    key: str
    hint: Any
    """``Annotated[type, Meta]``, as declared."""
    default: object

    @property
    def kind(self) -> object:
        """Type of the value, without its constraints."""
        return get_args(self.hint)[0]

    @property
    def meta(self) -> Meta:
        """Constraints and description."""
        return cast("Meta", get_args(self.hint)[1])

    @property
    def name(self) -> str:
        """Name in messages and documents: ``http.port``."""
        return f"{self.section}.{self.key}"

    @property
    def parameter(self) -> str:
        """Key in the ``flags`` of :func:`load`: ``http_port``."""
        return f"{self.section}_{self.key}"

    @property
    def variable(self) -> str:
        """Environment variable: ``RANKWIRE_HTTP_PORT``."""
        return ENVIRONMENT_PREFIX + self.parameter.upper()

    @property
    def flag(self) -> str:
        """Flag of the command line: ``--http-port``."""
        return "--" + self.parameter.replace("_", "-")

    @property
    def description(self) -> str:
        """What the setting does, one sentence."""
        return self.meta.description or ""

    @property
    def choices(self) -> tuple[str, ...]:
        """The allowed words, if the setting is a choice."""
        return get_args(self.kind) if get_origin(self.kind) is Literal else ()

    @property
    def is_list(self) -> bool:
        """Whether the setting holds many texts."""
        return get_origin(self.kind) is tuple

    @property
    def allowed(self) -> str:
        """The allowed values in words."""
        if self.choices:
            return "one of " + ", ".join(self.choices)
        if self.kind is int:
            return f"an integer from {self.meta.ge} to {self.meta.le}"
        if self.kind is float:
            return f"a number from {self.meta.ge} to {self.meta.le}"
        if self.kind is Path:
            return "a path"
        if self.is_list:
            return (
                f"a list of at most {self.meta.max_length} texts, or one with spaces between them"
            )
        return "a text that is not empty" if self.meta.min_length else "a text"

    @property
    def shown_default(self) -> str:
        """The default in words; an empty text shows as quotes."""
        return "[]" if self.default == () else str(self.default) or '""'

    def convert(self, value: object, *, strict: bool) -> object:
        """Check a value; text from outside TOML (``strict=False``) may spell a number or a list."""
        if self.is_list and isinstance(value, str) and not strict:
            value = value.replace(",", " ").split()
        return msgspec.convert(value, self.hint, strict=strict, dec_hook=_path)


def _path(kind: type, value: object) -> object:
    if kind is Path and isinstance(value, (str, Path)) and value != "":
        return Path(value)
    raise ValueError("expected a path")


def _table() -> tuple[Field, ...]:
    return tuple(
        Field(section.name, info.name, info.type, info.default)
        for section in msgspec.structs.fields(Settings)
        for info in msgspec.structs.fields(section.type)
    )


FIELDS: tuple[Field, ...] = _table()
"""Every setting, in the order of the documentation."""

_PASSWORD_PARAMETER = re.compile(r"([?&][^=&]*password=)[^&]*", re.IGNORECASE)
_PASSWORD_WORD = re.compile(r"(password\s*=\s*)('(?:[^'\\]|\\.)*'|\S+)", re.IGNORECASE)

_BY_NAME = {field.name: field for field in FIELDS}
_BY_VARIABLE = {field.variable: field for field in FIELDS}
_BY_PARAMETER = {field.parameter: field for field in FIELDS}
_SECTIONS = msgspec.structs.fields(Settings)


class _Found(msgspec.Struct, frozen=True):
    """A value for a setting and the place it came from."""

    field: Field
    value: object
    place: str
    typed: bool


def load(
    config_file: Path | None,
    environ: Mapping[str, str],
    flags: Mapping[str, object],
) -> Settings:
    """Merge the file, the environment over it and the flags over both.

    Without ``config_file``, ``rankwire.toml`` of the working directory is read if it exists.
    ``flags`` is keyed by :attr:`Field.parameter`; None means that the flag was not given.

    Raises:
        SettingsError: with every problem of every source.

    """
    problems: list[str] = []
    file = locate_file(config_file)
    found = [
        *(_from_file(file, problems) if file else ()),
        *_from_environment(environ, problems),
        *_from_flags(flags, problems),
    ]
    chosen: dict[str, _Found] = {}
    values: dict[str, object] = {field.name: field.default for field in FIELDS}
    for item in found:
        try:
            values[item.field.name] = item.field.convert(item.value, strict=item.typed)
            chosen[item.field.name] = item
        except msgspec.ValidationError:
            is_secret = item.field.name in _SECRETS
            found_words = "something else" if is_secret else reprlib.repr(item.value)
            problems.append(f"{item.place}: found {found_words}, allowed is {item.field.allowed}")
    problems.extend(_clashes(values, chosen))
    if problems:
        raise SettingsError(problems)
    return _build(values)


def to_json(settings: Settings) -> bytes:
    """Write settings for another process of this program; see :func:`from_json`."""
    return msgspec.json.encode(settings, enc_hook=str)


def from_json(text: bytes) -> Settings:
    """Read what :func:`to_json` has written."""
    return msgspec.json.decode(text, type=Settings, dec_hook=_path)


def locate_file(config_file: Path | None) -> Path | None:
    """Return the file that :func:`load` reads, or None when there is none."""
    if config_file is not None:
        return config_file
    return DEFAULT_FILE if DEFAULT_FILE.exists() else None


def shown_url(url: str) -> str:
    """Return a URL, or PostgreSQL's `key=value` words, without the passwords in it.

    Hides too much rather than too little where a URL is not written as it should be.
    """
    scheme, separator, rest = url.partition("://")
    if not separator:
        return _PASSWORD_WORD.sub(r"\1***", url)
    login, at, place = rest.rpartition("@")
    user, colon, _ = login.partition(":")
    return _PASSWORD_PARAMETER.sub(
        r"\1***", f"{scheme}://{user}{':***' if colon else ''}{at}{place}"
    )


def reference_table() -> str:
    """Render the table of settings as Markdown, for ``docs/settings.md``."""
    lines = ["| Setting | Default | Allowed | What it does |", "|---|---|---|---|"]
    lines += [
        f"| `{field.name}` | `{field.shown_default}` | {field.allowed} | {field.description} |"
        for field in FIELDS
    ]
    return "\n".join(lines) + "\n"


def _build(values: Mapping[str, object]) -> Settings:
    sections = {}
    for section in _SECTIONS:
        keys = [field.key for field in FIELDS if field.section == section.name]
        sections[section.name] = section.type(**{k: values[f"{section.name}.{k}"] for k in keys})
    return Settings(**sections)


def _from_file(file: Path, problems: list[str]) -> Iterator[_Found]:
    try:
        document = tomllib.loads(file.read_text(encoding="utf-8"))
    except OSError as error:
        problems.append(f"{file}: cannot be read: {error.strerror}")
        return
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        problems.append(f"{file}: is not TOML: {error}")
        return
    known = [section.name for section in _SECTIONS]
    for section, table in document.items():
        if section not in known and isinstance(table, dict):
            problems.append(f"{file}: unknown section [{section}]{_suggest(section, known)}")
        elif section not in known:
            same_key = [field.name for field in FIELDS if field.key == section]
            hint = f"; did you mean {' or '.join(same_key)}?" if same_key else ""
            problems.append(f"{file}: unknown setting {section} outside of any section{hint}")
        elif not isinstance(table, dict):
            problems.append(
                f"{file}: {section}: found {reprlib.repr(table)}, allowed is a section: [{section}]"
            )
        else:
            yield from _from_section(file, section, table, problems)


def _from_section(
    file: Path, section: str, table: Mapping[str, object], problems: list[str]
) -> Iterator[_Found]:
    for key, value in table.items():
        name = f"{section}.{key}"
        field = _BY_NAME.get(name)
        if field is None:
            problems.append(f"{file}: unknown setting {name}{_suggest(name, _BY_NAME)}")
        else:
            yield _Found(field, value, place=f"{file}: {name}", typed=True)


def _from_environment(environ: Mapping[str, str], problems: list[str]) -> Iterator[_Found]:
    for variable in sorted(environ):
        if not variable.startswith(ENVIRONMENT_PREFIX) or variable == KEY_VARIABLE:
            continue
        field = _BY_VARIABLE.get(variable)
        if field is None:
            hint = _suggest(variable, _BY_VARIABLE)
            problems.append(f"environment: unknown variable {variable}{hint}")
        else:
            place = f"environment: {variable} ({field.name})"
            yield _Found(field, environ[variable], place=place, typed=False)


def _from_flags(flags: Mapping[str, object], problems: list[str]) -> Iterator[_Found]:
    for parameter, value in flags.items():
        if value is None:
            continue
        field = _BY_PARAMETER.get(parameter)
        if field is None:
            hint = _suggest(parameter, _BY_PARAMETER)
            problems.append(f"flags: unknown setting {parameter}{hint}")
        else:
            yield _Found(field, value, place=f"{field.flag} ({field.name})", typed=False)


def _clashes(values: Mapping[str, object], chosen: Mapping[str, _Found]) -> Iterator[str]:
    """Name settings that are right alone and wrong together."""

    def place(*names: str) -> str:
        return next((chosen[name].place for name in names if name in chosen), names[0])

    port = values["live.port"]
    same_host = values["http.host"] == values["live.host"]
    if port != 0 and port == values["http.port"] and same_host:
        where = place("live.port", "http.port")
        yield f"{where}: found {port} for both http.port and live.port, allowed is a port for each"
    if not values["storage.url"]:
        for name, alone in (("node.role", "all"), ("redis.url", ""), ("storage.replica_url", "")):
            if values[name] != alone:
                yield f"{place(name)}: found {values[name]!r}, allowed only with storage.url"
    if 0 < (lasting := cast("int", values["live.connection_seconds"])) < _SHORTEST_CONNECTION:
        where = place("live.connection_seconds")
        yield f"{where}: found {lasting}, allowed is 0 or at least {_SHORTEST_CONNECTION}"
    yield from settings_regions.clashes(values, place)
    window = cast("float", values["ops.window_seconds"])
    most = MOST_INTERVALS * cast("float", values["ops.sample_seconds"])
    if window > most:
        where = place("ops.window_seconds", "ops.sample_seconds")
        yield (
            f"{where}: found {window} for ops.window_seconds, allowed is at most {most:g}, "
            f"{MOST_INTERVALS} times ops.sample_seconds"
        )


def _suggest(wrong: str, known: Iterable[str]) -> str:
    close = difflib.get_close_matches(wrong, known, n=1, cutoff=0.6)
    return f"; did you mean {close[0]}?" if close else f"; known are: {', '.join(known)}"
