"""The target of the node contract suite: a processor's own nodes, or the simulator's."""

from __future__ import annotations

import os
from collections.abc import AsyncIterator, Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from clients.simulator.card import Key
from tests.node_contract.peer import Switch, Target, switch_for
from tests.node_contract.simulators import Simulators

TARGET_VARIABLE = "PAYSWITCH_NODE_CONTRACT"
"""Names a JSON file that describes the nodes to test; see docs/reference/node-contract.md."""


@pytest.fixture(scope="session")
def target() -> Iterator[Target]:
    """Give the nodes under test; simulators of our own unless others are named."""
    described = os.environ.get(TARGET_VARIABLE)
    if described:
        yield Target.read(Path(described))
        return
    simulators = Simulators(Key.make("acme", "key-1", datetime.now(UTC) + timedelta(days=1)))
    try:
        simulators.start_host()
        yield simulators.target(simulators.start_node("acme-1"), simulators.start_node("acme-2"))
    finally:
        simulators.close()


@pytest.fixture
async def switch(target: Target) -> AsyncIterator[Switch]:
    """Give a switch's side of the link."""
    async with switch_for(target) as opened:
        yield opened


@pytest.fixture
def other_address(target: Target) -> str:
    """Give the address of a second node before the same ledger."""
    if len(target.addresses) == 1:
        pytest.skip("the target has one node")
    return target.addresses[1]
