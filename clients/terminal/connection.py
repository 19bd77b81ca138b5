"""The terminal's way to one switch: a channel, the card keys, and what is written down."""

from __future__ import annotations

import os
from ipaddress import ip_address
from random import Random
from typing import TYPE_CHECKING, Protocol, Self

import grpc

from clients.terminal.card import CardKeys
from clients.terminal.failure import CallFailed, failure_of_error
from clients.terminal.framed import FramedCalls
from clients.terminal.journal import TerminalJournal
from clients.terminal.patience import Patience
from clients.terminal.unary import UnaryCalls
from payswitch.terminal.v1 import terminal_pb2 as wire
from payswitch.terminal.v1.terminal_pb2_grpc import TerminalServiceStub

if TYPE_CHECKING:
    from payswitch.terminal.v1.terminal_pb2_grpc import TerminalServiceAsyncStub

_OPTIONS = (
    # Repeats are ours: only we know that a second send is under the same request_id.
    ("grpc.enable_retries", 0),
    ("grpc.service_config_disable_resolution", 1),
    # A switch that restarts is back within a second or two; so are we.
    ("grpc.initial_reconnect_backoff_ms", 100),
    ("grpc.min_reconnect_backoff_ms", 1000),
    ("grpc.max_reconnect_backoff_ms", 1000),
    # keepalive_timeout alone does not end a connection whose peer went silent; ping_timeout does.
    ("grpc.keepalive_time_ms", 10_000),
    ("grpc.keepalive_timeout_ms", 3000),
    ("grpc.http2.ping_timeout_ms", 3000),
    ("grpc.http2.max_pings_without_data", 0),
    # A proxy of the environment is for the web, not for money.
    ("grpc.enable_http_proxy", 0),
    # Two connections to one address are two connections.
    ("grpc.use_local_subchannel_pool", 1),
)


class _Calls(Protocol):
    async def send(
        self, request: wire.AuthorizeRequest, timeout_s: float
    ) -> wire.AuthorizeResponse: ...
    async def close(self) -> None: ...


class Connection:
    """A connection to the switch, shared by any number of terminals.

    ``framed``: all payments over one stream of frames, for a gateway with many of them; otherwise
    each is a call. ``journal``: a file (or an open TerminalJournal, which then stays yours to
    close) where every intention, send and answer is written down. Without ``credentials`` the
    connection is plain text, and so only to this machine, unless ``insecure`` says otherwise.
    """

    def __init__(
        self,
        address: str,
        *,
        framed: bool = False,
        journal: TerminalJournal | str | os.PathLike[str] | None = None,
        patience: Patience | None = None,
        credentials: grpc.ChannelCredentials | None = None,
        insecure: bool = False,
        random: Random | None = None,
    ) -> None:
        if credentials is None and not insecure and not _is_this_machine(address):
            raise ValueError(
                f"{address} is another machine: give credentials (TLS), or insecure=True"
            )
        self.address = address
        self.patience = patience or Patience()
        self.random = random or Random()
        self.keys = CardKeys(self._ask_keys)
        self._own_journal: TerminalJournal | None = None
        if journal is None or isinstance(journal, TerminalJournal):
            self.journal = journal
        else:
            self.journal = self._own_journal = TerminalJournal(journal)
        self._framed = framed
        self._credentials = credentials
        self._opened: tuple[grpc.aio.Channel, TerminalServiceAsyncStub, _Calls] | None = None

    @property
    def stub(self) -> TerminalServiceAsyncStub:
        """The generated stub, for what the SDK has no word for."""
        return self._open()[1]

    async def send(
        self, request: wire.AuthorizeRequest, timeout_s: float
    ) -> wire.AuthorizeResponse:
        """Send a payment once. Raises CallFailed."""
        return await self._open()[2].send(request, timeout_s)

    async def close(self) -> None:
        """End the stream after its last answer, then the channel."""
        if self._opened is not None:
            channel, _, calls = self._opened
            self._opened = None
            await calls.close()
            await channel.close()
        if self._own_journal is not None:
            self._own_journal.close()

    def _open(self) -> tuple[grpc.aio.Channel, TerminalServiceAsyncStub, _Calls]:
        # Late, because a channel belongs to the loop it was made in.
        if self._opened is None:
            if self._credentials is None:
                channel = grpc.aio.insecure_channel(self.address, options=_OPTIONS)
            else:
                channel = grpc.aio.secure_channel(self.address, self._credentials, options=_OPTIONS)
            stub = TerminalServiceStub(channel)
            calls = (FramedCalls if self._framed else UnaryCalls)(stub, self.patience.grace_s)
            self._opened = channel, stub, calls
        return self._opened

    async def _ask_keys(
        self, request: wire.GetCardKeysRequest, timeout_s: float
    ) -> wire.GetCardKeysResponse:
        try:
            return await self.stub.GetCardKeys(request, timeout=timeout_s)
        except grpc.aio.AioRpcError as error:
            failure = failure_of_error(error)
            # Keys were asked for, and no payment was sent: whatever happened, it had no effect.
            raise CallFailed(
                failure.status,
                failure.reason,
                failure.message,
                failure.fields,
                retry_after_s=failure.retry_after_s,
                may_have_acted=False,
            ) from error

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.close()


def _is_this_machine(address: str) -> bool:
    if address.startswith(("unix:", "unix-abstract:")):
        return True
    host = address.rpartition(":")[0].strip("[]")
    if host == "localhost":
        return True
    try:
        return ip_address(host).is_loopback
    except ValueError:
        return False
