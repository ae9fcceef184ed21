"""Who may do what: gives the core's `Access` its API keys and token keys, and keeps them fresh.

Keys that are created or revoked and token keys that are exchanged count within two seconds, without
a restart. What cannot be read at the start keeps the server from starting. What cannot be read
later is logged and told, and the keys that were read before stay in force. One API key that makes
no sense here, as a newer version may have made it, is good for nothing, and changes nothing for the
others. Also decides which settings would put a server before other machines without a guard.
"""

from __future__ import annotations

import ipaddress
import shlex
import threading
from pathlib import Path
from typing import TYPE_CHECKING, Final

import structlog

from rankwire import _core
from rankwire.settings import shown_url
from rankwire.storage import StorageError
from rankwire.storage.keys import open_keys

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from rankwire.settings import Auth, Settings, Storage
    from rankwire.storage.keys import ApiKey

# Between two looks at what may have changed.
_LOOK_SECONDS: Final = 1.0
# More of a JWKS file than the core takes.
_JWKS_BYTES: Final = 128 * 1024

_Signature = tuple[int, int, int, int]
_Record = tuple[str, bytes, list[str], list[str]]

_log = structlog.get_logger(__name__)


class AccessError(Exception):
    """The server must not start like this; the message names the way out."""


def is_loopback(host: str) -> bool:
    """Tell whether only this machine reaches an address. Of names, only `localhost` is known to."""
    if host.lower() == "localhost":
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


def refusal(settings: Settings, *, knows_anybody: bool) -> tuple[str, str] | None:
    """Say why a server must not start with these settings and what to do; None if it may.

    `knows_anybody` tells whether there is an API key or a token key. Where only this machine
    reaches the server, everything may start.
    """
    auth, storage = settings.auth, _storage_flag(settings.storage)
    addresses = {"http.host": settings.http.host, "live.host": settings.live.host}
    exposed = [f"{name} {host}" for name, host in addresses.items() if not is_loopback(host)]
    if not exposed or (auth.mode == "keys" and knows_anybody):
        return None
    where = f"other machines reach {' and '.join(exposed)}"
    create = (
        f"\n  rankwire keys create --name admin --scope read --scope submit --scope admin {storage}"
    )
    if auth.mode == "keys":
        why = "nobody could do anything there: auth.mode is keys, and there is no key"
        return f"{where}, and {why}", f"create one:{create}"
    why = "auth.mode is open: everybody there could change every board"
    serve = f"\n  rankwire serve --auth-mode keys {storage} ..."
    way_out = f"create a key and ask for it, or listen on 127.0.0.1 only:{create}{serve}"
    return f"{where}, and {why}", way_out


def _storage_flag(storage: Storage) -> str:
    """Name the storage for a command line; a password is left out of it."""
    if storage.url:
        return f"--storage-url {shlex.quote(shown_url(storage.url))}"
    return f"--storage-path {shlex.quote(str(storage.path))}"


class _ApiKeys:
    """The keys of the storage."""

    name = "API keys"

    def __init__(self, access: _core.Access, storage: Storage) -> None:
        at_url, at_path = f"storage.url: {shown_url(storage.url)}", f"storage.path: {storage.path}"
        self.place = at_url if storage.url else at_path
        self._access = access
        self._store = open_keys(storage)
        self._is_due = True
        self._left_out: dict[str, str] = {}
        self.count = 0

    def look(self) -> bool:
        """Read what has changed, if anything; whatever fails is done again at the next look."""
        self._is_due = self._store.changed() or self._is_due
        if not self._is_due:
            return False
        records = [_record(key) for key in self._store.all() if key.revoked_ms is None]
        wrong: dict[str, str] = {}
        try:
            self._access.set_keys(records)
        except _core.InvalidError:
            wrong = dict(_wrong(records))
            records = [record for record in records if record[0] not in wrong]
            self._access.set_keys(records)
        self._is_due = False
        self._tell(wrong)
        self.count = len(records)
        return True

    @property
    def trouble(self) -> str | None:
        """What is not as it should be, although the keys were read."""
        # Everybody may read it, so it names none of them.
        count = len(self._left_out)
        return f"{count} API keys make no sense here, the log names them" if count else None

    def close(self) -> None:
        self._store.close()

    def _tell(self, wrong: dict[str, str]) -> None:
        for key_id, reason in wrong.items():
            if self._left_out.get(key_id) != reason:
                _log.error("API key left out", key=key_id, reason=reason)
        self._left_out = wrong


def _record(key: ApiKey) -> _Record:
    return key.id, key.hash, list(key.scopes), list(key.boards)


def _wrong(records: Sequence[_Record]) -> Iterator[tuple[str, str]]:
    """Name the keys that the core does not take, and why."""
    probe = _core.Access("keys", False, "", "", 0, 0)
    for record in records:
        try:
            probe.set_keys([record])
        except _core.InvalidError as error:
            yield record[0], _words(error)


class _TokenKeys:
    """The keys of a JWKS file."""

    name = "token keys"

    def __init__(self, access: _core.Access, file: Path) -> None:
        self.place = f"auth.tokens: {file}"
        self._access = access
        self._file = file
        self._seen: _Signature | None = None
        self.count = 0

    def look(self) -> bool:
        """Read the file if it has changed; what cannot be used is not read twice."""
        found = self._file.stat()
        # The last one also tells of a change of rights.
        seen = (found.st_ino, found.st_size, found.st_mtime_ns, found.st_ctime_ns)
        if seen == self._seen:
            return False
        self._seen = seen
        with self._file.open("rb") as file:
            self.count = self._access.set_token_keys(file.read(_JWKS_BYTES))
        return True

    @property
    def trouble(self) -> str | None:
        """Nothing: a file is taken whole or not at all."""
        return None

    def close(self) -> None:
        pass


class Guard:
    """The `Access` of a server, with a thread that keeps it fresh in mode `keys`."""

    def __init__(self, auth: Auth, storage: Storage) -> None:
        """Read the API keys of the storage and the token keys.

        Raises StorageError or AccessError when they cannot be read.
        """
        self.access = _core.Access(
            auth.mode,
            auth.anonymous == "read",
            auth.audience,
            auth.issuer,
            auth.key_submits_per_second,
            auth.member_submits_per_second,
        )
        self._auth = auth
        self._sources: list[_ApiKeys | _TokenKeys] = []
        self._troubles: dict[str, str] = {}
        self._stopping = threading.Event()
        self._thread = threading.Thread(target=self._look_forever, name="access")
        if auth.mode == "open":
            return
        self._sources.append(_ApiKeys(self.access, storage))
        if auth.tokens:
            self._sources.append(_TokenKeys(self.access, Path(auth.tokens)))
        for source in self._sources:
            try:
                source.look()
            except (OSError, _core.InvalidError, StorageError) as error:
                self.stop()
                raise AccessError(f"{source.place}: {_words(error)}") from error

    def start(self) -> None:
        """Begin to look for changes."""
        if self._sources:
            self._thread.start()

    def stop(self) -> None:
        """End it, and let go of the database."""
        self._stopping.set()
        if self._thread.is_alive():
            self._thread.join()
        for source in self._sources:
            source.close()

    @property
    def troubles(self) -> list[str]:
        """Which keys are not known as they should be, for people; empty when all is well."""
        unread = [f"{name} are not read: {why}" for name, why in self._troubles.copy().items()]
        return unread + [said for source in self._sources if (said := source.trouble) is not None]

    def describe(self) -> str:
        """Say in a line who may do what."""
        if self._auth.mode == "open":
            return "open: everybody may do everything"
        known = ", ".join(f"{source.count} {source.name}" for source in self._sources)
        others = "may read" if self._auth.anonymous == "read" else "may do nothing"
        return f"keys: {known}; others {others}"

    # The thread.

    def _look_forever(self) -> None:
        while not self._stopping.wait(_LOOK_SECONDS):
            for source in self._sources:
                self._look(source)

    def _look(self, source: _ApiKeys | _TokenKeys) -> None:
        try:
            if source.look():
                _log.info("keys changed", kind=source.name, count=source.count)
        except Exception as error:  # noqa: BLE001  # without this thread no key would end
            # Said once and not at every look.
            trouble = _words(error)
            if self._troubles.get(source.name) != trouble:
                self._troubles[source.name] = trouble
                _log.error("keys not read", kind=source.name, reason=trouble)
        else:
            self._troubles.pop(source.name, None)


def _words(error: Exception) -> str:
    if isinstance(error, _core.RankwireError):
        return error.args[0]
    return (isinstance(error, OSError) and error.strerror) or str(error)
