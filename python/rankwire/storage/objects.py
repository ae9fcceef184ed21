"""Stores of whole objects: a directory, or a bucket that speaks the S3 API.

Promises: an object is there whole or not at all, and durable when `put` returns; one that is there
is never overwritten; a name never leads out of the directory or the prefix; no call waits for ever;
credentials come from the environment, as usual for S3, and are never shown. Objects are handled in
memory, so whoever puts them keeps them small. The S3 client is an extra that is imported when a URL
asks for it. Nothing here knows what is in an object.
"""

from __future__ import annotations

import os
import re
import secrets
from contextlib import contextmanager, suppress
from datetime import timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, Protocol
from urllib.parse import parse_qs, unquote, urlsplit

from rankwire.storage.backup import sync_directory

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

# A part of a name. None begins with a dot: such files are our own that are not whole yet.
_PART: Final = re.compile(r"[A-Za-z0-9_-][A-Za-z0-9._-]{0,199}")
_BUCKET: Final = re.compile(r"[a-z0-9][a-z0-9.-]{1,61}[a-z0-9]")
_LOOPBACK: Final = frozenset({"127.0.0.1", "::1", "localhost"})
_OPTIONS: Final = frozenset({"endpoint", "region"})
_DEFAULT_REGION: Final = "us-east-1"
# Of one request to S3, and of one with all its retries.
_CONNECT: Final = timedelta(seconds=5)
_REQUEST: Final = timedelta(seconds=30)
_RETRIES: Final = 3
_RETRYING: Final = timedelta(seconds=60)
_LISTED: Final = 1000


class ObjectStoreError(Exception):
    """The store could not do what was asked, or its address is wrong."""


class ObjectStore(Protocol):
    """A store. Methods block, may be called from any thread and raise ObjectStoreError."""

    where: str
    """For people; without secrets."""

    def put(self, name: str, content: bytes) -> bool:
        """Store an object durably; False, and nothing changes, if that name is taken."""
        ...

    def get(self, name: str, most_bytes: int) -> bytes | None:
        """Give an object, None if there is none; one that is larger is refused unread."""
        ...

    def list(self, folder: str) -> Sequence[str]:
        """Give the full names of all objects below a folder, in order."""
        ...

    def delete(self, name: str) -> None:
        """Take an object away, if it is there."""
        ...


def open_store(url: str) -> ObjectStore:
    """Open the store of a URL: `file:///path` or `s3://bucket/prefix?endpoint=…&region=…`.

    Nothing is asked of it yet. Raises ObjectStoreError when the URL is wrong.
    """
    parts = urlsplit(url)
    if parts.scheme == "file":
        if parts.netloc or not parts.path.strip("/") or parts.query:
            raise ObjectStoreError(
                "the address of the archive is wrong: write file:///absolute/path"
            )
        return FileStore(Path(unquote(parts.path)))
    if parts.scheme == "s3":
        if not _BUCKET.fullmatch(parts.netloc):
            raise ObjectStoreError(
                "the address of the archive names no bucket: write s3://bucket/prefix, and leave "
                "keys to the environment"
            )
        prefix = parts.path.strip("/")
        if prefix:
            _check(prefix)
        return S3Store(parts.netloc, prefix, _options(parts.query))
    raise ObjectStoreError(
        f"the address of the archive begins with {parts.scheme or 'nothing'!r}: known are "
        "file:///path and s3://bucket/prefix"
    )


def _options(query: str) -> dict[str, str]:
    found = parse_qs(query, keep_blank_values=True)
    if wrong := [name for name, values in found.items() if name not in _OPTIONS or len(values) > 1]:
        raise ObjectStoreError(
            f"the address of the archive has an unknown option {wrong[0]!r}: known are endpoint "
            "and region, once each"
        )
    return {name: value for name, (value,) in found.items()}


def _check(name: str) -> None:
    """Refuse names that could mean something to a file system."""
    if not all(_PART.fullmatch(part) for part in name.split("/")):
        raise ObjectStoreError(f"{name!r} is no name of an object")


class FileStore:
    """Objects as files that only their owner can read."""

    def __init__(self, directory: Path) -> None:
        """Take a directory, which is made in the one above it when something is put into it."""
        self.where = str(directory)
        self._directory = directory

    def put(self, name: str, content: bytes) -> bool:
        """See `ObjectStore.put`."""
        with self._errors("write", name):
            path = self._path(name)
            self._make(path.parent)
            hidden = path.with_name(f".{secrets.token_hex(8)}.part")
            flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC | os.O_NOFOLLOW
            try:
                with os.fdopen(os.open(hidden, flags, 0o600), "wb") as file:
                    file.write(content)
                    file.flush()
                    os.fsync(file.fileno())
                # Other than renaming, this fails when the name is taken.
                os.link(hidden, path)
            except FileExistsError:
                return False
            finally:
                with suppress(FileNotFoundError):
                    hidden.unlink()
                sync_directory(path.parent)
            return True

    def get(self, name: str, most_bytes: int) -> bytes | None:
        """See `ObjectStore.get`."""
        with self._errors("read", name):
            path = self._path(name)
            try:
                descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NOFOLLOW)
            except FileNotFoundError:
                return None
            with os.fdopen(descriptor, "rb") as file:
                # Reading up to a limit would ask for as much memory as the limit.
                if os.fstat(descriptor).st_size > most_bytes:
                    raise _too_large(name, most_bytes)
                return file.read()

    def list(self, folder: str) -> Sequence[str]:
        """See `ObjectStore.list`."""
        found: list[str] = []
        with self._errors("list", folder):
            top = self._path(f"{folder}/any").parent
            for directory, folders, files in os.walk(top, onerror=_raise_but_missing):
                folders[:] = [inner for inner in folders if _PART.fullmatch(inner)]
                within = Path(directory).relative_to(self._directory)
                found += [(within / file).as_posix() for file in files if _PART.fullmatch(file)]
        return sorted(found)

    def delete(self, name: str) -> None:
        """See `ObjectStore.delete`."""
        with self._errors("delete", name), suppress(FileNotFoundError):
            path = self._path(name)
            path.unlink()
            sync_directory(path.parent)

    def _path(self, name: str) -> Path:
        """Give the place of an object, which no link may lead elsewhere."""
        _check(name)
        path = self._directory / name
        if not path.parent.resolve().is_relative_to(self._directory.resolve()):
            raise ObjectStoreError(f"{path.parent} leads out of {self._directory}")
        return path

    def _make(self, folder: Path) -> None:
        """Make a folder, and those above it within the directory, and their names durable."""
        if folder.is_dir():
            return
        if folder != self._directory:
            self._make(folder.parent)
        elif not folder.parent.exists():
            raise ObjectStoreError(f"{folder.parent} is missing: mount its disk, or make it")
        folder.mkdir(mode=0o700, exist_ok=True)
        sync_directory(folder.parent)

    @contextmanager
    def _errors(self, what: str, name: str) -> Iterator[None]:
        try:
            yield
        except OSError as error:
            raise ObjectStoreError(
                f"cannot {what} {name} in {self.where}: {error.strerror or error}"
            ) from error


def _raise_but_missing(error: OSError) -> None:
    if not isinstance(error, FileNotFoundError):
        raise error


def _too_large(name: str, most_bytes: int) -> ObjectStoreError:
    return ObjectStoreError(f"{name} is larger than the {most_bytes:,} bytes that it should have")


class S3Store:
    """Objects in a bucket, below a prefix. Lists and gets what others have put at once."""

    def __init__(self, bucket: str, prefix: str, options: dict[str, str]) -> None:
        """Describe it; `endpoint` and `region` may be given. Raises ObjectStoreError."""
        self.where = "/".join(filter(None, (f"s3://{bucket}", prefix)))
        try:
            import obstore  # noqa: PLC0415 - an extra that most installations do without
            from obstore.store import S3Store as Client  # noqa: PLC0415
        except ImportError as error:
            raise ObjectStoreError(
                "archives in S3 need the extra s3: pip install 'rankwire[s3]'"
            ) from error
        self._library: Any = obstore
        settings: dict[str, Any] = {}
        if endpoint := options.get("endpoint"):
            settings["endpoint"] = _endpoint(endpoint)
        region = options.get("region") or os.environ.get("AWS_REGION")
        region = region or os.environ.get("AWS_DEFAULT_REGION") or _DEFAULT_REGION
        with self._errors("open", self.where):
            self._client = Client(
                bucket,
                prefix=prefix or None,
                region=region,
                checksum_algorithm="SHA256",
                client_options={
                    "allow_http": settings.get("endpoint", "").startswith("http://"),
                    "connect_timeout": _CONNECT,
                    "timeout": _REQUEST,
                },
                retry_config={"max_retries": _RETRIES, "retry_timeout": _RETRYING},
                **settings,
            )

    def put(self, name: str, content: bytes) -> bool:
        """See `ObjectStore.put`."""
        _check(name)
        with self._errors("write", name):
            try:
                self._library.put(self._client, name, content, mode="create")
            except self._library.exceptions.AlreadyExistsError:
                return False
            return True

    def get(self, name: str, most_bytes: int) -> bytes | None:
        """See `ObjectStore.get`."""
        _check(name)
        with self._errors("read", name):
            try:
                found = self._library.get(self._client, name)
            except FileNotFoundError:
                return None
            if found.meta["size"] > most_bytes:
                raise _too_large(name, most_bytes)
            return bytes(found.bytes())

    def list(self, folder: str) -> Sequence[str]:
        """See `ObjectStore.list`."""
        _check(folder)
        found: list[str] = []
        with self._errors("list", folder):
            for some in self._library.list(self._client, prefix=folder, chunk_size=_LISTED):
                found += [entry["path"] for entry in some]
        return sorted(found)

    def delete(self, name: str) -> None:
        """See `ObjectStore.delete`."""
        _check(name)
        with self._errors("delete", name), suppress(FileNotFoundError):
            self._library.delete(self._client, name)

    @contextmanager
    def _errors(self, what: str, name: str) -> Iterator[None]:
        # A missing bucket is told as a missing file.
        known = (self._library.exceptions.BaseError, OSError)
        try:
            yield
        except known as error:
            raise ObjectStoreError(
                f"cannot {what} {name} in {self.where}: {str(error).partition(chr(10))[0]}"
            ) from error


def _endpoint(url: str) -> str:
    """Check the address of an S3 service: what is archived is not sent in the clear."""
    parts = urlsplit(url)
    if parts.scheme == "https" and parts.hostname and not parts.username:
        return url
    if parts.scheme == "http" and parts.hostname in _LOOPBACK and not parts.username:
        return url
    raise ObjectStoreError(
        "the endpoint of the archive has to begin with https://, and have no user; http:// is for "
        "this machine only"
    )
