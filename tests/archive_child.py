"""Archives, and kills itself on the way: the child process of `fix_archive.Old.run_and_die`.

Arguments: settings as JSON, days, batches in a segment, the point, and at which time to die there.
A point is a call of the store or the source, before or after it, or the moment before a file gets
its name.
"""

from __future__ import annotations

import os
import signal
import sys
from typing import Any

from rankwire import settings
from rankwire.storage.archive_source import open_archive_source
from rankwire.storage.archiver import Archiver
from rankwire.storage.objects import open_store


class Death:
    """Comes at the n-th time that a point is passed."""

    def __init__(self, point: str, call: int) -> None:
        self._point = point
        self._left = call

    def passes(self, point: str) -> None:
        """Say where the process is."""
        self._left -= point == self._point
        if self._left == 0:
            os.kill(os.getpid(), signal.SIGKILL)


class Watched:
    """A store or a source whose calls are points."""

    def __init__(self, inner: Any, death: Death) -> None:
        self._inner = inner
        self._death = death

    def __getattr__(self, method: str) -> Any:
        found = getattr(self._inner, method)
        if not callable(found) or method == "open":
            return found

        def call(*values: Any) -> Any:
            what = method
            if method == "put":
                what = "put manifest" if values[0].endswith(".json") else "put segment"
            self._death.passes(f"before {what}")
            result = found(*values)
            self._death.passes(f"after {what}")
            return result

        return call


def main() -> None:
    """Do it."""
    text, days, rows, point, call = sys.argv[1:]
    death = Death(point, int(call))
    link = os.link

    def watched_link(*values: Any) -> None:
        death.passes("before link")
        link(*values)

    os.link = watched_link  # type: ignore[assignment]
    made = settings.from_json(text.encode())
    source = Watched(open_archive_source(made.storage), death)
    module = sys.modules[type(source._inner).__module__]  # noqa: SLF001
    module.SEGMENT_ROWS = int(rows)  # type: ignore[attr-defined]
    Archiver(Watched(open_store(made.ops.archive_url), death), source).run(int(days))


if __name__ == "__main__":
    main()
