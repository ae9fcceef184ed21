"""Our server without the scheduling policy that it sets for itself: what that policy is worth.

Started by `bench_http.py` with the arguments of ``rankwire``.
"""

from __future__ import annotations

from rankwire import server
from rankwire.cli import main


def _leave_as_it_is() -> None:
    """Stand in for the call that sets the policy."""


if __name__ == "__main__":
    server.schedule_as_batch = _leave_as_it_is
    main()
