"""Operators' orders: which are obeyed, what then stands, and what the audit is told."""

import json
from dataclasses import replace

from payswitch.operator.v1 import operator_pb2
from switch.core.operations import IntentOrder, StandingIntent, obey
from switch.core.routing import Intent

ORDER = IntentOrder(
    nodes=("acme-1", "acme-2"),
    intent=2,
    actor="anna",
    authenticated=True,
    reason="new disk",
    at_ms=5000,
    expires_ms=9000,
    origin="10.0.0.7",
)
STANDING = StandingIntent(
    node="acme-1",
    intent=3,
    version=4,
    actor="ben",
    reason="fire",
    at_ms=1000,
    expires_ms=None,
)


def test_an_order_stands_for_each_of_its_nodes_under_its_next_version() -> None:
    obedience = obey(ORDER, {"acme-1": STANDING})
    assert obedience.obeyed
    first, second = obedience.intents
    assert first == StandingIntent("acme-1", 2, 5, "anna", "new disk", 5000, 9000)
    assert second == StandingIntent("acme-2", 2, 1, "anna", "new disk", 5000, 9000)


def test_an_order_that_expects_what_stands_is_obeyed() -> None:
    order = replace(ORDER, expected=(("acme-1", 4), ("acme-2", 0)))
    assert obey(order, {"acme-1": STANDING}).obeyed


def test_an_order_that_expects_another_version_changes_nothing_at_all() -> None:
    for expected in ((("acme-1", 3),), (("acme-2", 1),), (("acme-1", 4), ("acme-9", 1))):
        obedience = obey(replace(ORDER, expected=expected), {"acme-1": STANDING})
        assert not obedience.obeyed
        assert obedience.intents == (STANDING,)


def test_the_audit_is_told_who_what_why_and_from_where_before_and_after() -> None:
    entry = obey(ORDER, {"acme-1": STANDING}).entry
    assert (entry.actor, entry.authenticated, entry.at_ms) == ("anna", True, 5000)
    assert (entry.action, entry.subject) == ("node.intent", "acme-1,acme-2")
    assert json.loads(entry.detail_json) == {
        "origin": "10.0.0.7",
        "reason": "new disk",
        "ordered": {"intent": 2, "expires_ms": 9000},
        "before": {"acme-1": {"intent": 3, "version": 4}, "acme-2": None},
        "after": {
            "acme-1": {"intent": 2, "version": 5},
            "acme-2": {"intent": 2, "version": 1},
        },
        "result": "obeyed",
    }


def test_the_audit_is_told_of_a_refusal_too() -> None:
    entry = obey(replace(ORDER, expected=(("acme-1", 3),)), {"acme-1": STANDING}).entry
    detail = json.loads(entry.detail_json)
    assert detail["before"] == detail["after"]
    assert detail["result"].startswith("refused")


def test_an_order_is_in_force_until_its_own_end() -> None:
    assert STANDING.in_force(10**15)
    ending = replace(STANDING, expires_ms=9000)
    assert ending.in_force(8999)
    assert not ending.in_force(9000)


def test_intents_have_the_numbers_of_the_operators_protocol() -> None:
    for intent in Intent:
        assert operator_pb2.NodeIntent.Value(f"NODE_INTENT_{intent.name}") == intent.value
    assert len(operator_pb2.NodeIntent.values()) == len(Intent) + 1
