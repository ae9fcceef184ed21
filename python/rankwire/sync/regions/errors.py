"""What can go wrong between regions, in sentences for users."""

from __future__ import annotations


class PeerError(Exception):
    """Another region could not do what was asked of it."""


class TooManyError(Exception):
    """As many requests of this kind as may wait do wait; trying again soon helps."""


class NotAPeerError(Exception):
    """A request names a region that is none of this one's peers."""


class TooStaleError(Exception):
    """What is at this node is older than the reader takes."""


class NotThereYetError(Exception):
    """What a session has seen is not at this node yet."""


class WrongTokenError(ValueError):
    """A session token is none of ours."""


class WrongLevelError(ValueError):
    """A level is none, or asks for more regions than there are."""


class FailoverError(Exception):
    """A region cannot become the primary now."""
