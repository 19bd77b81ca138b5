"""Which link of a switch is the newest.

Links are ordered by (epoch, session). A node starts items of the newest link only. The host keeps
what is learnt here in its file, so that a node that was killed remembers after its restart.
"""

from __future__ import annotations

from collections.abc import Mapping

Link = tuple[int, int]
"""(epoch, session)."""

STRANGER: Link = (-1, -1)
"""Older than any link."""


class Newest:
    """The newest link of each switch that this node has seen."""

    def __init__(self) -> None:
        self._links: dict[str, Link] = {}

    def learn(self, links: Mapping[str, Link]) -> None:
        """Take over what was remembered; never step back."""
        for switch_id, link in links.items():
            if link > self._links.get(switch_id, STRANGER):
                self._links[switch_id] = link

    def admit(self, switch_id: str, link: Link) -> bool:
        """Remember ``link`` as the newest and return True; False where it is not newer.

        A link that was seen before is not newer either: a switch never opens one twice.
        """
        if link <= self._links.get(switch_id, STRANGER):
            return False
        self._links[switch_id] = link
        return True

    def of(self, switch_id: str) -> Link:
        """Return the newest link of a switch; STRANGER for one never seen."""
        return self._links.get(switch_id, STRANGER)
