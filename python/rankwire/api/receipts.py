"""Receipts of writes that asked for a level, as they go over the wire."""

from __future__ import annotations

from typing import Annotated

import msgspec
from msgspec import UNSET, Meta, UnsetType

from rankwire.model import BatchReceipt, Receipt
from rankwire.sync.regions.status import SyncResult

_Sync = (
    Annotated[SyncResult, Meta(description="With a `level`: in which regions it is durable.")]
    | UnsetType
)


class SubmitReceipt(Receipt, frozen=True):
    """A submit that is durable, where it left the member, and in which regions it is."""

    sync: _Sync = UNSET


class SubmitsReceipt(BatchReceipt, frozen=True):
    """A batch that is durable as a whole, and in which regions it is."""

    sync: _Sync = UNSET


class RemovalReceipt(msgspec.Struct, frozen=True):
    """In which regions a member is known to be removed."""

    sync: SyncResult
