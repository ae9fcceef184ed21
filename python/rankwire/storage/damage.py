"""What is stored and cannot be trusted."""

from __future__ import annotations

from contextlib import contextmanager
from typing import TYPE_CHECKING

from rankwire import _core

if TYPE_CHECKING:
    from collections.abc import Iterator


def corrupt(message: str) -> _core.CorruptError:
    """Make the exception that says what is wrong."""
    return _core.CorruptError(message, None, None)


@contextmanager
def distrust() -> Iterator[None]:
    """Take stored values that the core cannot be given for what they are: damage."""
    try:
        yield
    except (_core.InvalidError, OverflowError, TypeError, ValueError) as error:
        raise corrupt(f"the checkpoint is damaged: {error.args[0]}") from error
