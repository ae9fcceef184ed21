"""``rankwire ops``: the analytics, as commands.

Each is a module ``rankwire.cli._ops_NAME`` with its ``command``, imported only to run it.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from rankwire.cli import LazyGroup
from rankwire.cli._options import examples

if TYPE_CHECKING:
    from collections.abc import Mapping

COMMANDS: Mapping[str, str] = {
    "report": "Show how a server does, as a page or an HTML file.",
    "capacity": "Plan machines and their cost for a load.",
    "optimize": "Fit machines to what was used of them.",
    "cache": "Show what caching brings, and what it would.",
    "archive": "Archive the old journal, check it, bring it back.",
    "prices": "Show and renew the table of prices.",
    "hpa": "Try an autoscaler of Kubernetes before it runs.",
}
"""Name and one-line help of every command of the group."""


@click.group(
    "ops",
    cls=LazyGroup,
    table=COMMANDS,
    module="rankwire.cli._ops_",
    short_help="See how a server does, what limits it and what it costs.",
    epilog=examples(
        "rankwire ops report",
        "rankwire ops report --html report.html",
        "rankwire ops capacity plan --scenario medium",
    ),
)
def command() -> None:
    """See how a server does, what limits it and what it costs.

    Everything said here was measured, or computed from measurements and dated prices by a model
    that is named beside it. What is not known is said to be unknown.
    """
