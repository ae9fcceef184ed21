"""Progress of commands that read for minutes: a moving line in a terminal, or a line now and then.

It goes to standard error, so that what a command prints can be piped.
"""

from __future__ import annotations

import contextlib
import time
from typing import TYPE_CHECKING

from rankwire.cli._output import console

if TYPE_CHECKING:
    from collections.abc import Iterator

MOVE_SECONDS = 0.1
"""Between two changes of the line in a terminal."""

LINE_SECONDS = 5.0
"""Between two lines elsewhere."""


class Progress:
    """Says what is going on, but not more often than anybody wants to know."""

    def __init__(self) -> None:
        """Say nothing yet."""
        self._console = console(stderr=True)
        self._status = self._console.status("") if self._console.is_terminal else None
        self._pause = MOVE_SECONDS if self._status else LINE_SECONDS
        self._said = time.monotonic()

    @contextlib.contextmanager
    def shown(self) -> Iterator[None]:
        """Keep the moving line on the screen while the block runs."""
        with self._status or contextlib.nullcontext():
            yield

    def say(self, words: str) -> None:
        """Say this, if the last words are old enough."""
        now = time.monotonic()
        if now - self._said < self._pause:
            return
        self._said = now
        if self._status:
            self._status.update(words)
        else:
            self._console.print(words)
