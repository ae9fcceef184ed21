"""What it costs to keep the journal in the database, and in an archive when it is old.

Promises: sizes come from how fast the journal was measured to grow; what an archive needs for each
byte is measured too, or taken as a byte. A volume that is half empty costs as much as a full one,
so a smaller journal frees capacity and saves money only if the volume is replaced by a smaller one,
which the caller has to say.
"""

from __future__ import annotations

from typing import Annotated, Final

import msgspec
from msgspec import Meta

from rankwire.ops.findings import CostLine, Prediction, Recommendation
from rankwire.ops.optimizer.savings import Action, Capacity, Refusal
from rankwire.ops.prices import Catalogue

ARCHIVE_DAYS: Final = 90
"""Nobody asks the database for what is older."""
FEWEST_DAYS: Final = 7
ITEM: Final = "journal"
"""Its item of the bill: what is older than `ARCHIVE_DAYS`."""

_GB: Final = 1024**3


class Journal(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """How the journal grows and where it is kept."""

    bytes_per_day: Annotated[float, Meta(ge=0)]
    measured_days: Annotated[float, Meta(ge=0)]
    """How long that was measured."""
    kept_days: Annotated[int, Meta(ge=1)]
    """The setting `storage.journal_days`."""
    volume: str
    """SKU of the volume of the database, like `rds:gp3`."""
    archive: str = "s3:standard"
    archive_part: Annotated[float, Meta(gt=0, le=2)] | None = None
    """Bytes in the archive for each byte of the journal; None when nothing was archived yet."""
    will_shrink: bool = False
    """Whether the volume is going to be replaced by one that is smaller by so much."""

    @property
    def old_bytes(self) -> float:
        """What is older than it should be in the database, once it has been kept for so long."""
        return self.bytes_per_day * max(0, self.kept_days - ARCHIVE_DAYS)


def cost_now(journal: Journal, catalogue: Catalogue) -> list[CostLine]:
    """Price the part of the volume that the old journal needs. Raises PriceError."""
    return [catalogue.line(journal.volume, journal.old_bytes / _GB)]


def archive_journal(journal: Journal, catalogue: Catalogue) -> Action | Refusal | None:
    """Say what an archive costs and frees; None when nothing is kept too long.

    Raises PriceError.
    """
    if not journal.old_bytes:
        return None
    if journal.measured_days < FEWEST_DAYS:
        reason = f"its growth was measured for {journal.measured_days:.1f} days, not {FEWEST_DAYS}"
        return Refusal(ITEM, "ARCHIVE_JOURNAL", reason)
    part = 1.0 if journal.archive_part is None else journal.archive_part
    lines = [catalogue.line(journal.archive, journal.old_bytes * part / _GB)]
    if not journal.will_shrink:
        lines += cost_now(journal, catalogue)
    return Action(
        draft=_draft(journal, part),
        replaces=[ITEM],
        item=ITEM,
        lines=lines,
        freed=Capacity(stored_bytes=journal.old_bytes),
    )


def _draft(journal: Journal, part: float) -> Recommendation:
    caveats = ["Requests for putting objects into the archive are not counted."]
    if journal.archive_part is None:
        caveats.append("Nothing was archived yet: it is taken to be no smaller in the archive.")
    if not journal.will_shrink:
        caveats.append("The volume costs the same until it is replaced by a smaller one.")
    return Recommendation(
        id="archive-journal",
        priority="LOW",
        action="ARCHIVE_JOURNAL",
        resource=ITEM,
        description=f"Archive the journal when it is {ARCHIVE_DAYS} days old, instead of keeping "
        f"it in the database for {journal.kept_days}.",
        because="",
        inputs={
            "bytes_per_day": journal.bytes_per_day,
            "measured_days": journal.measured_days,
            "kept_days": journal.kept_days,
            "archive_part": part,
        },
        model="data lifecycle",
        predicted=[
            Prediction(
                "journal_in_database",
                "bytes",
                journal.bytes_per_day * journal.kept_days,
                journal.bytes_per_day * ARCHIVE_DAYS,
            )
        ],
        cost=[],
        monthly=None,
        confidence="low" if journal.archive_part is None else "medium",
        caveats=caveats,
        verify="pg_database_size_bytes",
        apply=f'[storage]\njournal_days = {ARCHIVE_DAYS}\n\n[ops]\narchive_url = "s3://BUCKET/PREFIX"\n',
    )
