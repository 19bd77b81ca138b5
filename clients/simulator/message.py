"""What a node and its ledger host say to each other.

A connection carries frames both ways: four bytes of length, big-endian, then a MessagePack array
of messages. A frame holds all that waited when it was written. The node's first message is Join,
the host's is Welcome. Every question has a number of the node's choosing; the answer echoes it.
Both ends are of one version and on one machine: instants on the wire are those of the machine's
monotonic clock.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import msgspec

FRAME_BYTES_MAX = 8 * 1024 * 1024
BUFFER_BYTES = 64 * 1024
"""What one read takes; kept for a connection's life, for a new one costs more than the reading."""
_PREFIX_BYTES = 4


class FrameInvalid(Exception):
    """The other end does not speak this protocol; the connection is of no more use."""


class Join(msgspec.Struct, array_like=True, tag=1, gc=False):
    """A node's first word."""

    node: str


class Opened(msgspec.Struct, array_like=True, tag=2, gc=False):
    """A switch opened a link; remember it before anything else."""

    number: int
    switch_id: str
    epoch: int
    session: int


class Origin(msgspec.Struct, array_like=True, frozen=True, gc=False):
    """Where on which link an item stood."""

    switch_id: str
    epoch: int
    session: int
    frame_number: int
    sending_number: int


class Authorize(msgspec.Struct, array_like=True, tag=3):
    """Claim a reference, and decide it as the issuer will."""

    number: int
    reference: bytes
    origin: Origin
    repeat: bool
    start_by_ns: int
    """Monotonic; 0: no bound."""
    terminal_id: str
    request_id: str
    kind: int
    amount_minor: int
    currency: str
    issuer_code: str = "00"
    """What the issuer will say."""
    issuer_minor: int = 0
    """What the books will take."""
    issuer_delay_s: float = 0.0
    refusal: int = 0
    """A Disposition to answer, and nothing claimed, if the reference is unknown."""
    refusal_once: bool = False


class Reverse(msgspec.Struct, array_like=True, tag=4):
    """Reverse a reference, wholly or in part."""

    number: int
    reference: bytes
    origin: Origin
    repeat: bool
    start_by_ns: int
    reversal_reference: bytes
    full: bool
    amount_minor: int
    currency: str
    message_reason: int


class Inquire(msgspec.Struct, array_like=True, tag=5):
    """Say what became of a reference."""

    number: int
    reference: bytes
    origin: Origin
    start_by_ns: int


class Welcome(msgspec.Struct, array_like=True, tag=6):
    """The host's first word: its ledger, and the newest link of each switch at this node."""

    ledger: str
    newest: dict[str, tuple[int, int]]


class Recorded(msgspec.Struct, array_like=True, tag=7, gc=False):
    """The link is remembered."""

    number: int


class Answer(msgspec.Struct, array_like=True, tag=8, gc=False):
    """What the ledger says to an item."""

    number: int
    disposition: int
    response_code: str = ""
    approved_minor: int = 0
    authorization_code: str = ""
    detail: str = ""


Item = Authorize | Reverse | Inquire
Question = Join | Opened | Authorize | Reverse | Inquire
Reply = Welcome | Recorded | Answer

_encoder = msgspec.msgpack.Encoder()


def frame(messages: Sequence[Question] | Sequence[Reply]) -> bytes:
    """Return the bytes of one frame."""
    body = _encoder.encode(messages)
    return len(body).to_bytes(_PREFIX_BYTES, "big") + body


class QuestionReader:
    """Reads a node's frames from whatever pieces they arrive in."""

    def __init__(self) -> None:
        self._pieces = _Pieces()
        self._decoder = msgspec.msgpack.Decoder(list[Question])

    def feed(self, data: bytes | memoryview) -> Iterator[list[Question]]:
        """Take bytes in; give each whole frame out."""
        for body in self._pieces.feed(data):
            try:
                yield self._decoder.decode(body)
            except msgspec.DecodeError as failure:
                raise FrameInvalid(str(failure)) from failure


class ReplyReader:
    """Reads a host's frames from whatever pieces they arrive in."""

    def __init__(self) -> None:
        self._pieces = _Pieces()
        self._decoder = msgspec.msgpack.Decoder(list[Reply])

    def feed(self, data: bytes | memoryview) -> Iterator[list[Reply]]:
        """Take bytes in; give each whole frame out."""
        for body in self._pieces.feed(data):
            try:
                yield self._decoder.decode(body)
            except msgspec.DecodeError as failure:
                raise FrameInvalid(str(failure)) from failure


class _Pieces:
    """Cuts a byte stream into frame bodies."""

    def __init__(self) -> None:
        self._waiting = bytearray()

    def feed(self, data: bytes | memoryview) -> Iterator[bytes]:
        waiting = self._waiting
        waiting += data
        start = 0
        try:
            while len(waiting) - start >= _PREFIX_BYTES:
                body_at = start + _PREFIX_BYTES
                length = int.from_bytes(waiting[start:body_at], "big")
                if length > FRAME_BYTES_MAX:
                    raise FrameInvalid(f"a frame of {length} bytes")
                if len(waiting) - body_at < length:
                    break
                start = body_at + length
                yield bytes(waiting[body_at:start])
        finally:
            del waiting[:start]
