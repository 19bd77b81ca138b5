"""What the transport is told: the options of servers and channels, and when plain text is allowed.

Each option stands here with its reason, because most defaults of gRPC are made for callers who may
be served twice. Times on the wire are milliseconds, as gRPC wants them.
"""

from __future__ import annotations

from dataclasses import dataclass
from ipaddress import ip_address

import grpc

from switch.errors import ConfigurationInvalid

Options = list[tuple[str, int | str]]

KIB = 1024

UNARY_BYTES_MAX = 64 * KIB
FRAME_BYTES_MAX = 128 * KIB
# Above our own bounds, so that a frame that is a little too large is refused by us, with a reason,
# and its stream lives on; what is larger than this ends the stream inside gRPC.
_RECEIVE_BYTES_MAX = 2 * FRAME_BYTES_MAX

_IDENTITY_ONLY = 1
"""The bit set of compression algorithms that holds only "none"."""

_COMMON: Options = [
    # Compressed requests are refused unread: a bomb of 60 MB is 60 KB on the wire.
    ("grpc.compression_enabled_algorithms_bitset", _IDENTITY_ONLY),
    ("grpc.max_receive_message_length", _RECEIVE_BYTES_MAX),
    # A peer that falls silent is noticed after 10 + 3 s. keepalive_timeout alone does not end the
    # connection; ping_timeout does.
    ("grpc.keepalive_time_ms", 10_000),
    ("grpc.keepalive_timeout_ms", 3_000),
    ("grpc.http2.ping_timeout_ms", 3_000),
    ("grpc.keepalive_permit_without_calls", 1),
]

SERVER_OPTIONS: Options = [
    *_COMMON,
    # A second process must not bind the same port silently.
    ("grpc.so_reuseport", 0),
    ("grpc.max_concurrent_streams", 1_024),
    ("grpc.max_metadata_size", 8 * KIB),
    ("grpc.absolute_max_metadata_size", 16 * KIB),
    ("grpc.server_handshake_timeout_ms", 5_000),
    ("grpc.max_connection_idle_ms", 15 * 60_000),
    # Pings more frequent than this, three times, and the connection is closed.
    ("grpc.http2.min_ping_interval_without_data_ms", 5_000),
    ("grpc.http2.max_ping_strikes", 3),
]

CHANNEL_OPTIONS: Options = [
    *_COMMON,
    # A retry policy delivered one authorization three times. Nothing below us may repeat anything,
    # whatever a resolver says.
    ("grpc.enable_retries", 0),
    ("grpc.service_config_disable_resolution", 1),
    # Channels with equal arguments would share one connection, and one node's fate.
    ("grpc.use_local_subchannel_pool", 1),
    ("grpc.initial_reconnect_backoff_ms", 100),
    # In spite of its name: how long one attempt to connect may take.
    ("grpc.min_reconnect_backoff_ms", 1_000),
    ("grpc.max_reconnect_backoff_ms", 1_000),
    # Our keepalive pings are sent on an idle link too.
    ("grpc.http2.max_pings_without_data", 0),
    ("grpc.enable_http_proxy", 0),
]


@dataclass(frozen=True, slots=True)
class ServerSecurity:
    """How a port is secured: PEM texts, or plain text on the loopback device."""

    insecure: bool = False
    private_key: bytes | None = None
    certificate_chain: bytes | None = None
    client_authorities: bytes | None = None
    """Who signs callers' certificates; None: callers need none."""


@dataclass(frozen=True, slots=True)
class ChannelSecurity:
    """How a link is secured: PEM texts, or plain text on the loopback device."""

    insecure: bool = False
    authorities: bytes | None = None
    """Who signs nodes' certificates; None: the system's authorities."""
    private_key: bytes | None = None
    certificate_chain: bytes | None = None
    server_name: str = ""
    """The name in the node's certificate, if it is not the host of its address."""


def bind(server: grpc.aio.Server, address: str, security: ServerSecurity) -> int:
    """Open a server's port and return its number; ``host:0`` lets the system choose."""
    if security.insecure:
        _require_loopback(address)
    try:
        return _bound(server, address, security)
    except RuntimeError as error:
        raise ConfigurationInvalid(f"{address}: the port cannot be opened; is it taken?") from error


def _bound(server: grpc.aio.Server, address: str, security: ServerSecurity) -> int:
    if security.insecure:
        return server.add_insecure_port(address)
    if security.private_key is None or security.certificate_chain is None:
        raise ConfigurationInvalid(
            f"{address}: a private key and a certificate chain are needed, or insecure = true"
        )
    credentials = grpc.ssl_server_credentials(
        [(security.private_key, security.certificate_chain)],
        root_certificates=security.client_authorities,
        require_client_auth=security.client_authorities is not None,
    )
    return server.add_secure_port(address, credentials)


def open_channel(address: str, security: ChannelSecurity) -> grpc.aio.Channel:
    """Make a channel to a node; it connects when it is first asked to."""
    if security.insecure:
        _require_loopback(address)
        return grpc.aio.insecure_channel(address, options=CHANNEL_OPTIONS)
    options = list(CHANNEL_OPTIONS)
    if security.server_name:
        options.append(("grpc.ssl_target_name_override", security.server_name))
    credentials = grpc.ssl_channel_credentials(
        security.authorities, security.private_key, security.certificate_chain
    )
    return grpc.aio.secure_channel(address, credentials, options=options)


def _require_loopback(address: str) -> None:
    host = address.rsplit(":", 1)[0].strip("[]")
    try:
        loopback = host == "localhost" or ip_address(host).is_loopback
    except ValueError:
        loopback = False
    if not loopback:
        raise ConfigurationInvalid(
            f"{address}: insecure = true is for loopback addresses only, as 127.0.0.1 or [::1]"
        )
