"""The ports: health, reflection, channelz, what secures them, and what they never say."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator
from typing import Any

import grpc
import pytest
import trustme
from grpc_channelz.v1 import (  # type: ignore[import-untyped] # it has no stubs
    channelz_pb2,
    channelz_pb2_grpc,
)
from grpc_health.v1 import (  # type: ignore[import-untyped] # it has no stubs
    health_pb2,
    health_pb2_grpc,
)
from grpc_reflection.v1alpha import (  # type: ignore[import-untyped] # it has no stubs
    reflection_pb2,
)
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from payswitch.terminal.v1 import terminal_pb2, terminal_pb2_grpc
from switch.errors import ConfigurationInvalid
from switch.rpc.health import HealthServicer, node_name
from switch.rpc.server import Port, PortSettings, operator_port, terminal_port
from switch.rpc.terminal import TerminalServicer
from switch.rpc.transport import ChannelSecurity, ServerSecurity, open_channel
from tests.rpc.conftest import PLAIN, FakeStory, Faults, payment, until
from tests.rpc.nodes import Raw, serialize
from tests.rpc.test_terminal import refusal_of

TERMINAL = "payswitch.terminal.v1.TerminalService"
OPERATOR = "payswitch.operator.v1.OperatorService"


class Idle:
    """An operators' servicer nobody calls."""

    def __getattr__(self, name: str) -> Any:
        async def method(request: object, context: object) -> None:
            raise AssertionError("secret")

        return method


@pytest.fixture
async def operators(faults: Faults) -> AsyncIterator[Port]:
    settings = PortSettings("127.0.0.1:0", PLAIN)
    found = operator_port(settings, Idle(), HealthServicer(), faults.report)  # type: ignore[arg-type] # stands in
    await found.start()
    yield found
    await found.stop(None)


@contextlib.asynccontextmanager
async def channel_to(port: Port) -> AsyncIterator[grpc.aio.Channel]:
    async with grpc.aio.insecure_channel(f"127.0.0.1:{port.number}") as channel:
        yield channel


# --- health --------------------------------------------------------------------------------------


async def status_of(channel: grpc.aio.Channel, name: str) -> str:
    request = health_pb2.HealthCheckRequest(service=name)
    answer = await health_pb2_grpc.HealthStub(channel).Check(request)
    return str(health_pb2.HealthCheckResponse.ServingStatus.Name(answer.status))


async def test_the_switch_and_each_service_have_a_health(channel: grpc.aio.Channel) -> None:
    for name in ("", TERMINAL, "grpc.health.v1.Health"):
        assert await status_of(channel, name) == "SERVING"


async def test_each_node_has_a_health(port: Port, channel: grpc.aio.Channel) -> None:
    port.health.set(node_name("alpha-1"), False)
    port.health.set(node_name("alpha-2"), True)
    assert await status_of(channel, "node/alpha-1") == "NOT_SERVING"
    assert await status_of(channel, "node/alpha-2") == "SERVING"


async def test_an_unknown_name_is_not_found(channel: grpc.aio.Channel) -> None:
    with pytest.raises(grpc.aio.AioRpcError) as refused:
        await status_of(channel, "node/nobody")
    assert refused.value.code() is grpc.StatusCode.NOT_FOUND


async def test_a_switch_that_stops_says_so_for_every_name_and_for_good(
    port: Port, channel: grpc.aio.Channel
) -> None:
    port.health.stop()
    port.health.set("", True)
    assert await status_of(channel, "") == "NOT_SERVING"
    assert await status_of(channel, TERMINAL) == "NOT_SERVING"


async def test_each_watcher_is_told_of_each_change_whoever_else_leaves(
    port: Port, channel: grpc.aio.Channel
) -> None:
    stub = health_pb2_grpc.HealthStub(channel)
    first, second = (stub.Watch(health_pb2.HealthCheckRequest()) for _ in range(2))
    serving = health_pb2.HealthCheckResponse.SERVING
    assert (await first.read()).status == (await second.read()).status == serving
    first.cancel()
    await asyncio.sleep(0.05)
    port.health.set("", False)
    async with asyncio.timeout(2):
        assert (await second.read()).status == health_pb2.HealthCheckResponse.NOT_SERVING
    second.cancel()


async def test_an_unknown_name_can_be_watched_until_it_is_known(
    port: Port, channel: grpc.aio.Channel
) -> None:
    watch = health_pb2_grpc.HealthStub(channel).Watch(health_pb2.HealthCheckRequest(service="x"))
    answer = health_pb2.HealthCheckResponse
    assert (await watch.read()).status == answer.SERVICE_UNKNOWN
    port.health.set("x", True)
    assert (await watch.read()).status == answer.SERVING
    watch.cancel()


# --- reflection and channelz ---------------------------------------------------------------------


async def reflect(channel: grpc.aio.Channel, version: str, *requests: Any) -> list[Any]:
    call: Any = channel.stream_stream(
        f"/grpc.reflection.{version}.ServerReflection/ServerReflectionInfo",
        request_serializer=serialize,
        response_deserializer=reflection_pb2.ServerReflectionResponse.FromString,
    )()
    answers = []
    for request in requests:
        await call.write(request)
        answers.append(await call.read())
    await call.done_writing()
    assert await call.read() is grpc.aio.EOF
    return answers


@pytest.mark.parametrize("version", ["v1", "v1alpha"])
async def test_reflection_is_served_under_both_names(
    channel: grpc.aio.Channel, version: str
) -> None:
    ask = reflection_pb2.ServerReflectionRequest
    services, described, unknown = await reflect(
        channel,
        version,
        ask(list_services=""),
        ask(file_containing_symbol=TERMINAL),
        ask(file_containing_symbol="no.such.Service"),
    )
    names = {service.name for service in services.list_services_response.service}
    assert TERMINAL in names
    assert OPERATOR not in names
    files = described.file_descriptor_response.file_descriptor_proto
    assert any(b"terminal.proto" in raw for raw in files)
    assert unknown.error_response.error_code == grpc.StatusCode.NOT_FOUND.value[0]
    # A tool looks up all that it is told of.
    for described in await reflect(
        channel, version, *(ask(file_containing_symbol=n) for n in names)
    ):
        assert described.HasField("file_descriptor_response")


@pytest.mark.parametrize("version", ["v1", "v1alpha"])
async def test_a_malformed_reflection_request_is_refused_as_such(
    channel: grpc.aio.Channel, version: str, faults: Faults
) -> None:
    status, reason, _ = await refusal_of(reflect(channel, version, Raw(b"\xff\xff\xff")))
    assert (status, reason) == (grpc.StatusCode.INVALID_ARGUMENT, "MALFORMED")
    assert faults.seen == []


async def test_reflection_can_be_left_out(servicer: TerminalServicer, faults: Faults) -> None:
    settings = PortSettings("127.0.0.1:0", PLAIN, reflection=False)
    port = terminal_port(settings, servicer, HealthServicer(), faults.report)
    await port.start()
    async with channel_to(port) as channel:
        # As one unary message: a stream could still be writing when it is refused, and would then
        # be told of its own failed write.
        ask: grpc.aio.UnaryUnaryMultiCallable[bytes, bytes]
        ask = channel.unary_unary("/grpc.reflection.v1.ServerReflection/ServerReflectionInfo")
        with pytest.raises(grpc.aio.AioRpcError) as refused:
            await ask(b"")
    await port.stop(None)
    assert refused.value.code() is grpc.StatusCode.UNIMPLEMENTED


async def test_channelz_is_for_operators_only(channel: grpc.aio.Channel, operators: Port) -> None:
    with pytest.raises(grpc.aio.AioRpcError) as refused:
        await channelz_pb2_grpc.ChannelzStub(channel).GetServers(channelz_pb2.GetServersRequest())
    assert refused.value.code() is grpc.StatusCode.UNIMPLEMENTED
    async with channel_to(operators) as operator:
        stub = channelz_pb2_grpc.ChannelzStub(operator)
        assert (await stub.GetServers(channelz_pb2.GetServersRequest())).server
        [services] = await reflect(
            operator, "v1", reflection_pb2.ServerReflectionRequest(list_services="")
        )
        names = {service.name for service in services.list_services_response.service}
        assert {OPERATOR, "grpc.channelz.v1.Channelz"} <= names
        assert TERMINAL not in names


# --- what goes in and out ------------------------------------------------------------------------


async def test_an_unknown_method_is_unimplemented(channel: grpc.aio.Channel) -> None:
    call: Any = channel.unary_unary(f"/{TERMINAL}/Steal")
    with pytest.raises(grpc.aio.AioRpcError) as refused:
        await call(b"")
    assert refused.value.code() is grpc.StatusCode.UNIMPLEMENTED


async def test_a_compressed_request_is_refused_unread(
    terminal: terminal_pb2_grpc.TerminalServiceAsyncStub, story: FakeStory
) -> None:
    with pytest.raises(grpc.aio.AioRpcError) as refused:
        await terminal.Authorize(payment(country="D" * 5_000), compression=grpc.Compression.Gzip)
    assert refused.value.code() is grpc.StatusCode.UNIMPLEMENTED
    assert story.frames == []


async def test_overlong_metadata_is_refused(
    terminal: terminal_pb2_grpc.TerminalServiceAsyncStub, story: FakeStory
) -> None:
    with pytest.raises(grpc.aio.AioRpcError) as refused:
        await terminal.Authorize(payment(), metadata=(("x", "y" * 20_000),))
    assert refused.value.code() is grpc.StatusCode.RESOURCE_EXHAUSTED
    assert story.frames == []


async def test_any_fault_at_any_method_has_the_same_text(operators: Port, faults: Faults) -> None:
    async with channel_to(operators) as channel:
        call: Any = channel.unary_unary(f"/{OPERATOR}/GetStatus")
        status, reason, details = await refusal_of(call(b""))
    assert (status, reason) == (grpc.StatusCode.INTERNAL, "INTERNAL")
    assert "secret" not in repr(details)
    assert [where for where, _ in faults.seen] == [f"/{OPERATOR}/GetStatus"]


@settings(max_examples=60, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(raws=st.lists(st.binary(max_size=120), min_size=1, max_size=5))
async def test_a_stream_answers_any_bytes(channel: grpc.aio.Channel, raws: list[bytes]) -> None:
    call: Any = channel.stream_stream(
        f"/{TERMINAL}/AuthorizeStream",
        response_deserializer=terminal_pb2.AuthorizeStreamResponse.FromString,
    )()
    for raw in raws:
        await call.write(raw)
    await call.done_writing()
    results = []
    while (frame := await call.read()) is not grpc.aio.EOF:
        results += frame.results
    assert await call.code() is grpc.StatusCode.OK
    assert len(results) >= len(raws)
    assert all(result.HasField("refusal") for result in results)


# --- what secures a port -------------------------------------------------------------------------


@pytest.mark.parametrize("address", ["0.0.0.0:0", "192.168.1.1:0", "[::]:0", "switch:0", "nohost"])
async def test_plain_text_stays_on_the_loopback_device(
    servicer: TerminalServicer, faults: Faults, address: str
) -> None:
    port = terminal_port(PortSettings(address, PLAIN), servicer, HealthServicer(), faults.report)
    with pytest.raises(ConfigurationInvalid, match="loopback"):
        await port.start()
    with pytest.raises(ConfigurationInvalid, match="loopback"):
        open_channel(address, ChannelSecurity(insecure=True))


async def test_a_port_is_secured_unless_it_is_said_otherwise(
    servicer: TerminalServicer, faults: Faults
) -> None:
    settings_ = PortSettings("127.0.0.1:0", ServerSecurity())
    port = terminal_port(settings_, servicer, HealthServicer(), faults.report)
    with pytest.raises(ConfigurationInvalid, match="private key"):
        await port.start()


async def test_no_two_switches_share_a_port(
    port: Port, servicer: TerminalServicer, faults: Faults
) -> None:
    settings_ = PortSettings(f"127.0.0.1:{port.number}", PLAIN)
    second = terminal_port(settings_, servicer, HealthServicer(), faults.report)
    with pytest.raises(ConfigurationInvalid, match="taken"):
        await second.start()


async def test_a_port_with_certificates_asks_for_the_callers(
    servicer: TerminalServicer, faults: Faults
) -> None:
    authority, stranger = trustme.CA(), trustme.CA()
    ours, theirs = authority.issue_cert("localhost"), authority.issue_cert("terminal-1")
    roots = authority.cert_pem.bytes()
    port = terminal_port(
        PortSettings(
            "localhost:0",
            ServerSecurity(
                private_key=ours.private_key_pem.bytes(),
                certificate_chain=ours.cert_chain_pems[0].bytes(),
                client_authorities=roots,
            ),
        ),
        servicer,
        HealthServicer(),
        faults.report,
    )
    number = await port.start()

    async def authorize(identity: trustme.LeafCert | None) -> terminal_pb2.AuthorizeResponse:
        security = ChannelSecurity(
            authorities=roots,
            private_key=identity.private_key_pem.bytes() if identity else None,
            certificate_chain=identity.cert_chain_pems[0].bytes() if identity else None,
            server_name="localhost",
        )
        async with open_channel(f"127.0.0.1:{number}", security) as channel:
            return await terminal_pb2_grpc.TerminalServiceStub(channel).Authorize(
                payment(), timeout=5
            )

    assert (await authorize(theirs)).response_code == "00"
    for other in (None, stranger.issue_cert("terminal-1")):
        with pytest.raises(grpc.aio.AioRpcError) as refused:
            await authorize(other)
        assert refused.value.code() is grpc.StatusCode.UNAVAILABLE
    await port.stop(None)


async def test_stopping_lets_calls_end_within_the_grace(
    port: Port,
    terminal: terminal_pb2_grpc.TerminalServiceAsyncStub,
    story: FakeStory,
) -> None:
    story.held = True
    call = terminal.Authorize(payment())
    await until(lambda: len(story.waiting) == 1)
    stopping = asyncio.create_task(port.stop(5.0))
    await asyncio.sleep(0.02)
    story.answer_all()
    assert (await call).response_code == "00"
    await asyncio.wait_for(stopping, 2)
