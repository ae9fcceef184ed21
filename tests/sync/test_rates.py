"""Rates that nodes share over a real Redis, and what each does without it."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from itertools import count
from typing import Any, Final

import msgspec
import pytest

from fix_access import Signer
from fix_redis import RedisServer
from fix_server import until
from rankwire import _core
from rankwire.sync.news import Listener
from rankwire.sync.publisher import NEWS_BYTES, Publisher
from rankwire.sync.rates import Rates, sharing
from rankwire.sync.urls import parse

CLUSTER: Final = "rates"
# Seconds' worth that a caller may spend at once after a pause, and that it may owe.
BURST: Final = 3
# So much at once that for the rest of the test nothing more is allowed.
ALL: Final = 1_000_000


class Node:
    """An `Access` that limits players, with the threads that share its rates."""

    def __init__(self, server: RedisServer, signer: Signer, rate: int) -> None:
        self.access = access(signer, rate)
        self.spent: Counter[str] = Counter()
        self.heard: Counter[str] = Counter()
        address = parse(server.url)
        self.publisher = Publisher(address, CLUSTER, keep=100)
        self._listener = Listener(address, CLUSTER)
        self._rates = Rates(self.access, self.publisher.tell)
        # The second one runs after the first: what is counted was debited.
        self._listener.listen(self._rates.hear)
        self._listener.listen(self._hear)

    def start(self) -> None:
        for part in (self.publisher, self._listener, self._rates):
            part.start()
        self.wait()

    def wait(self) -> None:
        """Wait until Redis is there."""
        until(lambda: self.publisher.up and self._listener.up, "Redis")

    def stop(self) -> None:
        self._rates.stop()
        for part in (self.publisher, self._listener):
            part.stop()
            assert part.join(10)

    def spend(self, caller: _core.Caller, submits: int = 1) -> bool:
        if refused(self.access, caller, submits):
            return False
        self.spent[f"player:{caller.name}"] += submits
        return True

    def _hear(self, message: dict[str, Any]) -> None:
        if message["k"] == "rates" and message["n"] != self._rates.origin:
            self.heard.update(dict(message["s"]))


NewNode = Callable[..., Node]


@pytest.fixture
def signer() -> Signer:
    return Signer(alg="HS256")


@pytest.fixture
def new_node(redis_server: RedisServer, signer: Signer) -> Iterator[NewNode]:
    with ExitStack() as nodes:

        def make(rate: int) -> Node:
            node = Node(redis_server, signer, rate)
            node.start()
            nodes.callback(node.stop)
            return node

        yield make


def access(signer: Signer, rate: int) -> _core.Access:
    made = _core.Access("keys", False, "", "", 0, rate)
    made.set_token_keys(signer.jwks())
    return made


def player(of: _core.Access, signer: Signer, member: str = "ada") -> _core.Caller:
    return of.identify(signer.token(member))


def refused(by: _core.Access, caller: _core.Caller, submits: int = 1) -> bool:
    try:
        by.spend(caller, submits)
    except _core.TooManyRequestsError:
        return True
    return False


def test_two_nodes_limit_a_player_to_one_rate(new_node: NewNode, signer: Signer) -> None:
    rate = 50
    first, second = new_node(rate), new_node(rate)
    ada = player(first.access, signer)
    started = time.monotonic()
    # Long enough to pay for the first bursts and go on.
    while (seconds := time.monotonic() - started) < 2 * BURST:
        for node in (first, second):
            while node.spend(ada):
                pass
        # What was spent in a round is known to both before the next one.
        until(
            lambda: second.heard == first.spent and first.heard == second.spent,
            "what the other spent",
        )
        time.sleep(0.02)
    total = sum((first.spent + second.spent).values())
    # A burst of each before anything was heard; then the rate, once for both.
    assert 2 * BURST * rate < total <= 2 * BURST * rate + rate * seconds
    # Other players pay for none of this.
    assert first.spend(player(first.access, signer, "bob"), ALL)


def test_what_redis_loses_is_limited_by_each_node_alone(
    new_node: NewNode, signer: Signer, redis_server: RedisServer
) -> None:
    first, second = new_node(1), new_node(1)
    ada, bob = (player(first.access, signer, member) for member in ("ada", "bob"))
    redis_server.kill()
    until(lambda: not first.publisher.up, "the end of Redis")
    for node in (first, second):
        assert node.spend(ada, ALL)
        assert not node.spend(ada)
    until(lambda: first.publisher.news_dropped > 0 < second.publisher.news_dropped, "losses")
    assert not first.heard
    assert not second.heard

    redis_server.start()
    first.wait()
    second.wait()
    assert first.spend(bob, ALL)
    until(lambda: bool(second.heard), "news after Redis is back")
    # Neither then nor now is anything told that is long over.
    assert second.heard == {"player:bob": ALL}
    assert not second.spend(bob)


def test_processes_without_a_region_share_too(redis_server: RedisServer, signer: Signer) -> None:
    first, second = access(signer, 1), access(signer, 1)
    members = count()

    def heard() -> bool:
        """Spend here and try there, each time as another player."""
        caller = player(first, signer, f"member-{next(members)}")
        assert not refused(first, caller, ALL)
        time.sleep(0.3)
        return refused(second, caller, ALL)

    address = parse(redis_server.url)
    with sharing(first, address, CLUSTER), sharing(second, address, CLUSTER):
        until(heard, "debits")
    # Over, once it is over.
    caller = player(first, signer)
    assert not refused(first, caller, ALL)
    assert first.take_spent(10) == [("player:ada", ALL)]


def test_messages_are_small_enough_and_tell_everything(signer: Signer) -> None:
    limited = access(signer, 1)
    members = [f"{number:0128}" for number in range(1000)]
    told: list[bytes] = []
    assert limited.take_spent(1) == []
    for member in members:
        assert not refused(limited, player(limited, signer, member), ALL)
    rates = Rates(limited, told.append)
    rates.start()
    # One round comes first in any case, and tells all of it.
    rates.stop()
    assert len(told) == 3
    assert max(map(len, told)) <= NEWS_BYTES
    messages = [msgspec.msgpack.decode(message) for message in told]
    assert {(message["k"], message["n"]) for message in messages} == {("rates", rates.origin)}
    spent = [tuple(pair) for message in messages for pair in message["s"]]
    assert sorted(spent) == [(f"player:{member}", ALL) for member in members]


def test_only_rates_of_others_are_debited(signer: Signer) -> None:
    limited = access(signer, 1)
    rates = Rates(limited, lambda _: None)
    ada = player(limited, signer)
    spent = [["player:ada", ALL]]
    rates.hear({"k": "rates", "n": rates.origin, "s": spent})
    rates.hear({"k": "profiles", "m": ["ada"]})
    rates.hear({"k": "profiles", "n": 2, "s": spent})
    rates.hear({"k": "rates", "n": 2, "s": [["player:bob", ALL], ["team:ada", ALL]]})
    broken: list[dict[str, object]] = [
        {"k": "rates"},
        {"k": "rates", "n": 2},
        {"k": "rates", "n": 2, "s": [*spent, ["player:bob"]]},
        {"k": "rates", "n": 2, "s": [*spent, ["player:bob", -1]]},
        {"k": "rates", "n": 2, "s": [*spent, ["player:bob", 1 << 63]]},
        {"k": "rates", "n": 2, "s": [*spent, [7, 1]]},
    ]
    for message in broken:
        with pytest.raises(ValueError, match=r"Expected|missing"):
            rates.hear(message)
    assert not refused(limited, ada, BURST)

    other = player(limited, signer, "eve")
    # A newer version may say more.
    rates.hear({"k": "rates", "n": 2, "s": [["player:eve", BURST]], "more": True})
    assert refused(limited, other, BURST)
