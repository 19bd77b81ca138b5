"""How a node treats those who call it: the seam where faults are put in.

A node has one behaviour at a time and asks it at four points. The one here keeps the contract. A
fault is a subclass that overrides a point, and a node is switched to it by assigning
``Node.behaviour``; what is under way keeps what it was already told. Faults of single amounts do
not live here: see ``outcome``.
"""

from __future__ import annotations

from collections.abc import Sequence

from payswitch.processor.v1 import processor_pb2 as pb


class Behaviour:
    """Keeps the contract."""

    name = "normal"

    async def before_frame(self) -> None:
        """Return when a frame that was read may be looked at: a node that hangs returns later.

        Until then nothing of the link is started or answered, echoes included. Times to live run.
        """

    def refuses(self, item: pb.Item) -> str:
        """Return why this item is answered NOT_PROCESSED at once; empty to let it pass."""
        return ""

    def issuer_delay_s(self, drawn_s: float) -> float:
        """Return how long the issuer thinks, given what its distribution drew."""
        return drawn_s

    def answers(self, result: pb.ItemResult) -> Sequence[tuple[float, pb.ItemResult]]:
        """Return what is said in place of ``result``, each with the seconds to wait before."""
        return ((0.0, result),)


NORMAL = Behaviour()
