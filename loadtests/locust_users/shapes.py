"""The scenarios as load shapes of Locust, and the weights and paces of users that belong to them.

Promises: all numbers are those of `plan.py`.
"""

from __future__ import annotations

import time

from locust import LoadTestShape, User, constant, constant_pacing

from locust_users.browser import Browser
from locust_users.game_server import GameServer
from locust_users.live import Live
from locust_users.plan import Plan
from locust_users.player import Player

CLASSES: dict[str, type[User]] = {
    "player": Player,
    "browser": Browser,
    "game_server": GameServer,
    "live": Live,
}


class Shape(LoadTestShape):
    """The users of a plan, at each moment."""

    abstract = True
    plan = Plan(1.0, 1.0)

    def tick(self) -> tuple[int, float] | None:
        """Return how many users there should be now, and how many may come or go a second."""
        return self.plan.at(time.perf_counter() - self.start_time)


class Medium(Shape):
    """100,000 users, 50,000 games a minute, 75,000 WebSockets."""


class Large(Shape):
    """Ten times that."""


SHAPES: dict[str, type[Shape]] = {"medium": Medium, "large": Large}


def settle(plan: Plan) -> None:
    """Give the classes of users their parts and paces in a plan."""
    for name, kind in plan.kinds.items():
        CLASSES[name].weight = kind.count
        CLASSES[name].wait_time = constant_pacing(kind.pace) if kind.pace else constant(0)
