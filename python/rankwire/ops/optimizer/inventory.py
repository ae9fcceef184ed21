"""What is stored, as `rankwire ops optimize --inventory FILE` reads it from JSON."""

from __future__ import annotations

from collections import Counter
from pathlib import Path
from typing import Annotated, Final

import msgspec
from msgspec import Meta

from rankwire.ops.optimizer.journal_costs import Journal
from rankwire.ops.optimizer.storage_tiers import Stored, stored_item

MOST_BYTES: Final = 64 * 1024**2
"""Largest file that is read."""
MOST_ROWS: Final = 10_000


class InventoryError(Exception):
    """An inventory cannot be read; the text says why."""


class Inventory(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Objects in S3, and the journal of the database."""

    objects: Annotated[list[Stored], Meta(max_length=MOST_ROWS)] = []
    journal: Journal | None = None

    def __post_init__(self) -> None:
        """Raise ValueError if something stands there twice."""
        for item, count in Counter(map(stored_item, self.objects)).items():
            if count > 1:
                raise ValueError(f"{item} stands {count} times: a prefix and its age in days")


def read_inventory(path: Path) -> Inventory:
    """Read a file. Raises InventoryError."""
    try:
        if path.stat().st_size > MOST_BYTES:
            raise InventoryError(f"{path} is larger than an inventory may be")
        return msgspec.json.decode(path.read_bytes(), type=Inventory)
    except OSError as error:
        raise InventoryError(f"{path} cannot be read: {error.strerror}") from error
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        raise InventoryError(f"{path} is no inventory: {error}") from error
