"""The stores, as fixtures: a new one is held to the contract by one more line here."""

from collections.abc import AsyncIterator, Callable
from pathlib import Path

import pytest

from tests.store.stores import Journal, MemoryStore, SqliteStore, Store

STORES: dict[str, Callable[[Path], Store]] = {
    "memory": lambda _: MemoryStore(),
    "sqlite": SqliteStore,
}


@pytest.fixture(params=STORES)
async def store(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[Store]:
    """Return one disk after the other."""
    store = STORES[request.param](tmp_path)
    yield store
    await store.close()


@pytest.fixture
async def journal(store: Store) -> Journal:
    """Return an empty journal."""
    return await store.open()
