"""Files that commands write: whole and durable, or not at all."""

from __future__ import annotations

from typing import TYPE_CHECKING

from rankwire.cli._output import Failure
from rankwire.ops.optimizer.usage import UsageError, write

if TYPE_CHECKING:
    from pathlib import Path


def write_file(path: Path, content: bytes) -> None:
    """Put the content in place of what is there; its owner alone can read it. Raises Failure."""
    try:
        write(path, content)
    except UsageError as error:
        raise Failure(str(error)) from error
