"""Small files that others renew while we run: keys, certificates, tokens, lists.

Promises that a change is seen at the next look, and that a look at an unchanged file costs one
``stat``. A mounted secret of Kubernetes changes by a link, which is seen as well. Reads block for
as long as the disk does; the event loop calls them in a thread.
"""

from __future__ import annotations

from pathlib import Path
from typing import Final

MOST_BYTES: Final = 16 * 1024**2
"""A larger file is refused."""

_Signature = tuple[int, int, int]


class WatchedFile:
    """A file, and what it held at the last look."""

    def __init__(self, path: Path) -> None:
        """Remember where it is; nothing is read yet."""
        self.path = path
        self._signature: _Signature | None = None
        self._bytes = b""

    def read(self) -> bytes:
        """Give its content now. Raises OSError if it cannot be read or is too large."""
        signature = self._look()
        if signature != self._signature:
            if signature[1] > MOST_BYTES:
                raise OSError(f"{self.path} is larger than {MOST_BYTES} bytes")
            self._bytes = self.path.read_bytes()
            self._signature = signature
        return self._bytes

    def has_changed(self) -> bool:
        """Tell whether it is another file than at the last `read`; False if it is away."""
        try:
            return self._look() != self._signature
        except OSError:
            return False

    def _look(self) -> _Signature:
        status = self.path.stat()
        return status.st_mtime_ns, status.st_size, status.st_ino
