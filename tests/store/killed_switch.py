"""A process that commits, and says what was acknowledged, until it is killed.

Its arguments are the journal's path and the number of the first payment.
"""

import asyncio
import os
import sys
from pathlib import Path

from switch.store.sqlite import SqliteJournal
from tests.store.records import START_MS, SWITCH, approved, claim, key

BATCH = 20


def say(word: str, numbers: range) -> None:
    """Tell the test in one piece, as it is heard even if we are killed in the next instant."""
    os.write(sys.stdout.fileno(), f"{word} {' '.join(map(str, numbers))}\n".encode())


async def commit(journal: SqliteJournal, numbers: range) -> None:
    """Let payments be made."""
    await journal.commit([claim(number) for number in numbers])
    say("claimed", numbers)
    await journal.commit([approved(key(number)) for number in numbers])
    say("approved", numbers)


async def main(path: Path, first: int) -> None:
    """Commit for ever."""
    journal = await SqliteJournal.open(path, SWITCH, at_ms=START_MS)
    await journal.recover(START_MS)
    while True:
        # Two callers at the same time, so that death comes between what shares a commit, too.
        halves = range(first, first + BATCH), range(first + BATCH, first + 2 * BATCH)
        await asyncio.gather(*(commit(journal, half) for half in halves))
        first += 2 * BATCH


if __name__ == "__main__":
    asyncio.run(main(Path(sys.argv[1]), int(sys.argv[2])))
