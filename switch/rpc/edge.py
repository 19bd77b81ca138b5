"""The servicer edge: every method of a port passes here, and nothing unforeseen passes out.

gRPC's own edge has three faults for a switch. Bytes that are no message end a whole stream. The
text of an uncaught exception is sent to the peer. And a caller that leaves cancels its handler, and
with it whatever the handler awaits. So every method gets a total decoder, which makes a
``Malformed`` value of what it cannot read; every behaviour is wrapped, and what it raises is
reported here and answered with one fixed text; and work that must finish is begun by ``own``.

The methods are kept in one table behind one generic handler. Registered handlers would each keep
a pending call of their own, which costs every call of the port about a sixth more.
"""

from __future__ import annotations

import asyncio
import inspect
from collections.abc import AsyncIterator, Awaitable, Callable, Coroutine, Mapping, Sequence
from typing import Any, NoReturn, TypeVar, cast

import grpc
from google.protobuf.message import DecodeError

from switch.core.message import Refused
from switch.errors import JournalInDoubt, JournalUnavailable
from switch.rpc.status import grpc_status
from switch.rpc.transport import UNARY_BYTES_MAX
from switch.rpc.validation import Violation

T = TypeVar("T")

Context = grpc.aio.ServicerContext[Any, Any]
Spawn = Callable[[Coroutine[Any, Any, None], str], None]
"""Starts an owned, named task; the application supervises it."""
Report = Callable[[str, BaseException], None]
"""Is told of each fault of ours: where it came up, and what it was."""

INTERNAL = Refused("INTERNAL", "")


class Malformed:
    """What a decoder returns for bytes that are no message of its type."""

    __slots__ = ("refused",)

    def __init__(self, detail: str) -> None:
        self.refused = Refused("MALFORMED", detail)


def total(parse: Callable[[bytes], T], bytes_max: int) -> Callable[[bytes], T | Malformed]:
    """Return a decoder that answers any bytes, and reads none beyond its bound."""

    def decode(raw: bytes) -> T | Malformed:
        if len(raw) > bytes_max:
            return Malformed(f"A message of this type has at most {bytes_max} bytes.")
        try:
            return parse(raw)
        except DecodeError:
            return Malformed("The bytes are not a message of this type.")

    return decode


def own(spawn: Spawn, work: Coroutine[Any, Any, T], name: str) -> asyncio.Future[T]:
    """Run ``work`` in a task of its own; whoever awaits the future may leave without harm."""
    future: asyncio.Future[T] = asyncio.get_running_loop().create_future()

    async def run() -> None:
        try:
            result = await work
        except asyncio.CancelledError:
            future.cancel()
            raise
        except Exception as fault:
            # Whoever waits hears of it; if nobody does any more, the supervisor must.
            if future.done():
                raise
            future.set_exception(fault)
        else:
            if not future.done():
                future.set_result(result)

    spawn(run(), name)
    return future


async def refuse(
    context: Context, refused: Refused, violations: Sequence[Violation] = ()
) -> NoReturn:
    """End a call with a refusal."""
    status = grpc_status(refused, violations)
    await context.abort(status.code, status.details, status.trailing_metadata)


class Edge(grpc.GenericRpcHandler):
    """The methods of one port. It takes a server's place in ``add_..._to_server`` functions."""

    def __init__(self, report: Report, bytes_max: Mapping[str, int] | None = None) -> None:
        """Begin without methods; ``bytes_max`` has the methods whose bound is not the usual."""
        self._report = report
        self._bytes_max = bytes_max or {}
        self._methods: dict[str, grpc.RpcMethodHandler[Any, Any]] = {}
        self.services: list[str] = []

    def service(
        self, handler_call_details: grpc.HandlerCallDetails
    ) -> grpc.RpcMethodHandler[Any, Any] | None:
        """Find a method by its full name."""
        return self._methods.get(handler_call_details.method)

    def add_generic_rpc_handlers(self, handlers: Sequence[grpc.GenericRpcHandler]) -> None:
        """Ignore the form in which the methods cannot be rebuilt; the other one follows."""

    def add_registered_method_handlers(
        self, service_name: str, method_handlers: Mapping[str, grpc.RpcMethodHandler[Any, Any]]
    ) -> None:
        """Take a service's methods, each behind a total decoder and a guard."""
        self.services.append(service_name)
        for name, handler in method_handlers.items():
            method = f"/{service_name}/{name}"
            self._methods[method] = self._guarded(method, handler)

    def alias(self, service_name: str, name: str) -> None:
        """Offer a service's methods under another name too."""
        old, new = f"/{service_name}/", f"/{name}/"
        self._methods |= {
            new + method.removeprefix(old): handler
            for method, handler in self._methods.items()
            if method.startswith(old)
        }
        self.services.append(name)

    def _guarded(
        self, method: str, handler: grpc.RpcMethodHandler[Any, Any]
    ) -> grpc.RpcMethodHandler[Any, Any]:
        decode = total(
            cast("Callable[[bytes], Any]", handler.request_deserializer),
            self._bytes_max.get(method, UNARY_BYTES_MAX),
        )
        encode = handler.response_serializer
        if handler.request_streaming:
            behaviour = cast("Callable[..., Any]", handler.stream_stream)
            guarded: Callable[..., Any]
            if inspect.isasyncgenfunction(behaviour):
                guarded = self._guarded_generator(method, behaviour)
            else:
                guarded = self._guarded_call(method, behaviour)
            return grpc.stream_stream_rpc_method_handler(
                guarded, request_deserializer=decode, response_serializer=encode
            )
        if handler.response_streaming:
            return grpc.unary_stream_rpc_method_handler(
                self._guarded_call(method, cast("Callable[..., Any]", handler.unary_stream)),
                request_deserializer=decode,
                response_serializer=encode,
            )
        return grpc.unary_unary_rpc_method_handler(
            self._guarded_call(method, cast("Callable[..., Any]", handler.unary_unary)),
            request_deserializer=decode,
            response_serializer=encode,
        )

    def _guarded_call(
        self, method: str, behaviour: Callable[[Any, Context], Awaitable[Any]]
    ) -> Callable[[Any, Context], Awaitable[Any]]:
        async def guarded(request: Any, context: Context) -> Any:
            try:
                if type(request) is Malformed:
                    await refuse(context, request.refused)
                return await behaviour(request, context)
            except grpc.aio.AbortError:
                raise
            except Exception as fault:  # noqa: BLE001 # the servicer edge: its text must not go out
                await self._answer(method, fault, context)

        return guarded

    def _guarded_generator(
        self, method: str, behaviour: Callable[[Any, Context], AsyncIterator[Any]]
    ) -> Callable[[Any, Context], AsyncIterator[Any]]:
        async def readable(requests: AsyncIterator[Any], context: Context) -> AsyncIterator[Any]:
            async for request in requests:
                if type(request) is Malformed:
                    await refuse(context, request.refused)
                yield request

        async def guarded(requests: AsyncIterator[Any], context: Context) -> AsyncIterator[Any]:
            try:
                async for response in behaviour(readable(requests, context), context):
                    yield response
            except grpc.aio.AbortError:
                raise
            except Exception as fault:  # noqa: BLE001 # the servicer edge: its text must not go out
                await self._answer(method, fault, context)

        return guarded

    async def _answer(self, method: str, fault: Exception, context: Context) -> None:
        # A call that has ended (the peer left, the server stopped) has nobody to answer, and what
        # gRPC raises then is no fault of ours.
        if isinstance(fault, grpc.aio.BaseError):
            raise fault
        # Nor is a journal that fails: the world did, and said what it did to this call.
        if isinstance(fault, JournalUnavailable):
            await refuse(context, Refused("JOURNAL_UNAVAILABLE", ""))
        if isinstance(fault, JournalInDoubt):
            await refuse(context, Refused("OUTCOME_UNKNOWN", ""))
        self._report(method, fault)
        await refuse(context, INTERNAL)
