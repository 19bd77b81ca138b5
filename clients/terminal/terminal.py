"""A card terminal: it authorizes, reverses and asks, and never loses sight of a payment.

A payment has one request_id for life. Whatever goes wrong on the way (a busy switch, a lost
connection, no answer in time), the same request is sent again under the same id, so that asking
twice cannot pay twice. When patience ends the switch is asked once what became of the payment; if
it cannot say, the caller gets NoAnswer with the id, and can still repeat, ask, or reverse.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import Self, TypeVar

import grpc

from clients.terminal.answer import (
    Approval,
    Decline,
    EntryMode,
    Kind,
    Payment,
    PaymentState,
    Reversal,
    ReversalReason,
    ReversalStatus,
    TimelineEvent,
    answer_of,
)
from clients.terminal.card import Card, seal
from clients.terminal.connection import Connection
from clients.terminal.failure import (
    CallFailed,
    NoAnswer,
    Refused,
    failure_of_error,
    unanswered,
)
from clients.terminal.identifier import new_request_id
from clients.terminal.journal import Entry
from clients.terminal.patience import GaveUp, Patience, persist
from payswitch.money.v1.money_pb2 import Money
from payswitch.terminal.v1 import terminal_pb2 as wire

_T = TypeVar("_T")
_LAST_QUESTION_S = 2.0


class Terminal:
    """One card terminal at the switch.

    ``at`` is the switch's address, or a Connection that many terminals share. An address is
    connected to for this terminal alone: use ``async with`` (or ``close``).
    """

    def __init__(
        self,
        at: str | Connection,
        terminal_id: str,
        *,
        merchant_id: str,
        merchant_category_code: str,
        country: str,
    ) -> None:
        self.connection = Connection(at) if isinstance(at, str) else at
        self._owns_connection = isinstance(at, str)
        self.terminal_id = terminal_id
        self.merchant_id = merchant_id
        self.merchant_category_code = merchant_category_code
        self.country = country

    async def authorize(
        self,
        card: Card,
        amount_minor: int,
        currency: str,
        *,
        kind: Kind = Kind.PURCHASE,
        entry_mode: EntryMode = EntryMode.CHIP,
        accepts_partial_approval: bool = False,
        request_id: str | None = None,
        patience: Patience | None = None,
        began_at: float | None = None,
    ) -> Approval | Decline:
        """Authorize a payment and return the issuer's yes or no.

        Give ``request_id`` to repeat an earlier payment: the contents must be the same.
        ``began_at`` is the loop's time at which the sale should have begun, if that was before
        this call.

        Raises Refused if the payment had no effect, and NoAnswer if that is not known.
        """
        patience = patience or self.connection.patience
        request = self._request(
            card,
            amount_minor,
            currency,
            kind,
            entry_mode,
            accepts_partial_approval,
            request_id or new_request_id(),
        )
        entry = Entry(
            self.connection.journal,
            self.terminal_id,
            request.request_id,
            asyncio.get_running_loop().time() if began_at is None else began_at,
        )
        entry.write(
            "intended",
            amount_minor=amount_minor,
            currency=currency,
            kind=kind.name.lower(),
            bin=card.bin,
            last_four=card.last_four,
            merchant_id=self.merchant_id,
        )

        async def send(timeout_s: float) -> Approval | Decline:
            return await self._send(card, request, entry, timeout_s)

        try:
            answer = await persist(send, patience, self.connection.random)
            via = "authorize"
        except GaveUp as gave_up:
            failure = gave_up.failure
            if failure.about_contents or not gave_up.may_have_acted:
                entry.end("refused", status=failure.status, reason=failure.reason or failure.status)
                raise failure.refused(entry.request_id) from failure
            asked = await self._ask_once(entry.request_id)
            if asked is None:
                entry.end("gave_up", why=str(failure))
                raise NoAnswer(
                    entry.request_id, self.terminal_id, entry.sends, str(failure)
                ) from failure
            answer, via = asked, "get"
        except asyncio.CancelledError:
            entry.end("gave_up", why="cancelled by its caller")
            raise
        self._write_answer(entry, answer, amount_minor, currency, via)
        return answer

    async def sealed_request(
        self,
        card: Card,
        amount_minor: int,
        currency: str,
        *,
        kind: Kind = Kind.PURCHASE,
        entry_mode: EntryMode = EntryMode.CHIP,
        accepts_partial_approval: bool = False,
        request_id: str | None = None,
    ) -> wire.AuthorizeRequest:
        """Return the request as ``authorize`` would send it, for other clients to send."""
        request = self._request(
            card,
            amount_minor,
            currency,
            kind,
            entry_mode,
            accepts_partial_approval,
            request_id or new_request_id(),
        )

        async def prepare(timeout_s: float) -> wire.AuthorizeRequest:
            return (await self._sealed(card, request, timeout_s))[0]

        return await self._persist(prepare, request.request_id)

    async def reverse(
        self,
        payment: str | Approval,
        *,
        amount_minor: int | None = None,
        currency: str | None = None,
        reason: ReversalReason = ReversalReason.CANCELLED,
        request_id: str | None = None,
    ) -> Reversal:
        """Reverse a payment, or ``amount_minor`` of it; it is named by its request_id.

        The switch takes custody: OWED and ACKNOWLEDGED are both success, and NONE means that there
        was nothing to reverse. Raises Refused or NoAnswer.
        """
        if isinstance(payment, Approval):
            currency = currency or payment.currency
            payment = payment.request_id
        if amount_minor is not None and currency is None:
            raise ValueError("an amount needs a currency")
        request = wire.ReverseRequest(
            request_id=request_id or new_request_id(),
            terminal_id=self.terminal_id,
            original_request_id=payment,
            reason=wire.ReversalReason.ValueType(reason),
        )
        if amount_minor is not None and currency is not None:
            request.amount.CopyFrom(Money(amount_minor=amount_minor, currency=currency))
        entry = Entry(
            self.connection.journal,
            self.terminal_id,
            request.request_id,
            asyncio.get_running_loop().time(),
            prefix="reversal_",
        )
        entry.write(
            "intended",
            original_request_id=payment,
            amount_minor=amount_minor,
            currency=currency,
            reason=reason.name.lower(),
        )

        async def send(timeout_s: float) -> wire.ReverseResponse:
            entry.send()
            try:
                return await self.connection.stub.Reverse(request, timeout=timeout_s)
            except grpc.aio.AioRpcError as error:
                failure = failure_of_error(error)
                entry.failed(failure)
                raise failure from error

        try:
            response = await self._persist(send, request.request_id, entry)
        except Refused as refused:
            entry.end("refused", status=refused.status, reason=refused.reason)
            raise
        except (NoAnswer, asyncio.CancelledError) as gave_up:
            entry.end("gave_up", why=str(gave_up))
            raise
        reversal = Reversal(
            request_id=response.request_id,
            original_request_id=response.original_request_id,
            reversal=ReversalStatus(response.reversal),
            reversed_amount_minor=response.reversed_amount.amount_minor,
            currency=response.reversed_amount.currency,
            replayed=response.replayed,
            original_known=response.original_known,
        )
        entry.end(
            "answered",
            original_request_id=payment,
            reversal=reversal.reversal.name.lower(),
            reversed_amount_minor=reversal.reversed_amount_minor,
            currency=reversal.currency,
            original_known=reversal.original_known,
            replayed=reversal.replayed,
        )
        return reversal

    async def get(self, request_id: str) -> Payment:
        """Ask what became of a payment; this never has an effect.

        Raises Refused with the reason PAYMENT_UNKNOWN if the switch does not know it.
        """

        async def ask(timeout_s: float) -> Payment:
            return await self._ask(request_id, timeout_s)

        return await self._persist(ask, request_id)

    async def close(self) -> None:
        """Close the connection, if it was made for this terminal."""
        if self._owns_connection:
            await self.connection.close()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.close()

    def _request(
        self,
        card: Card,
        amount_minor: int,
        currency: str,
        kind: Kind,
        entry_mode: EntryMode,
        accepts_partial_approval: bool,
        request_id: str,
    ) -> wire.AuthorizeRequest:
        """Return the payment's contents, which no repeat changes."""
        request = wire.AuthorizeRequest(
            request_id=request_id.lower(),
            terminal_id=self.terminal_id,
            kind=wire.AuthorizationKind.ValueType(kind),
            amount=Money(amount_minor=amount_minor, currency=currency),
            bin=card.bin,
            last_four=card.last_four,
            entry_mode=wire.EntryMode.ValueType(entry_mode),
            merchant_id=self.merchant_id,
            merchant_category_code=self.merchant_category_code,
            country=self.country,
            accepts_partial_approval=accepts_partial_approval,
        )
        request.terminal_time.GetCurrentTime()
        return request

    async def _sealed(
        self, card: Card, contents: wire.AuthorizeRequest, timeout_s: float
    ) -> tuple[wire.AuthorizeRequest, tuple[wire.CardKey, ...]]:
        """Return the request of one send, and the keys its envelopes are sealed to."""
        keys = await self.connection.keys.get(
            card, contents.merchant_id, contents.amount.currency, timeout_s
        )
        request = wire.AuthorizeRequest()
        request.CopyFrom(contents)
        request.envelopes.extend(
            seal(
                card,
                keys,
                terminal_id=contents.terminal_id,
                request_id=contents.request_id,
                currency=contents.amount.currency,
                amount_minor=contents.amount.amount_minor,
            )
        )
        request.timeout.FromMicroseconds(round(timeout_s * 1e6))
        return request, keys

    async def _send(
        self, card: Card, contents: wire.AuthorizeRequest, entry: Entry, timeout_s: float
    ) -> Approval | Decline:
        request, keys = await self._sealed(card, contents, timeout_s)
        entry.send()
        try:
            response = await self.connection.send(request, timeout_s)
            answer = answer_of(response)
            if answer is None:
                raise unanswered("UNKNOWN", "neither approved nor declined", may_have_acted=True)
        except CallFailed as failure:
            entry.failed(failure)
            if failure.reason == "RESEAL":
                self.connection.keys.forget(keys)
            raise
        return answer

    async def _ask(self, request_id: str, timeout_s: float) -> Payment:
        request = wire.GetAuthorizationRequest(terminal_id=self.terminal_id, request_id=request_id)
        try:
            response = await self.connection.stub.GetAuthorization(request, timeout=timeout_s)
        except grpc.aio.AioRpcError as error:
            raise failure_of_error(error) from error
        return Payment(
            state=PaymentState(response.state),
            answer=answer_of(response.response) if response.HasField("response") else None,
            timeline=tuple(
                TimelineEvent(event.time.ToMilliseconds(), event.event, event.detail)
                for event in response.timeline
            ),
        )

    async def _ask_once(self, request_id: str) -> Approval | Decline | None:
        """Return the payment's answer if the switch can say, after patience has ended."""
        try:
            return (await self._ask(request_id, _LAST_QUESTION_S)).answer
        except CallFailed:
            return None

    async def _persist(
        self,
        call: Callable[[float], Awaitable[_T]],
        request_id: str,
        entry: Entry | None = None,
    ) -> _T:
        """Persist, and say in the user's words how it ended; without an entry it is a question."""
        try:
            return await persist(call, self.connection.patience, self.connection.random)
        except GaveUp as gave_up:
            failure = gave_up.failure
            if entry is None or failure.about_contents or not gave_up.may_have_acted:
                raise failure.refused(request_id) from failure
            raise NoAnswer(request_id, self.terminal_id, entry.sends, str(failure)) from failure

    def _write_answer(
        self,
        entry: Entry,
        answer: Approval | Decline,
        amount_minor: int,
        currency: str,
        via: str,
    ) -> None:
        processing_s = answer.processing_s
        entry.end(
            "answered",
            amount_minor=amount_minor,
            currency=currency,
            outcome="approved" if answer.approved else "declined",
            code=answer.response_code,
            approved_amount_minor=answer.approved_amount_minor if answer.approved else 0,
            approved_currency=answer.currency if answer.approved else currency,
            authorization_code=answer.authorization_code if answer.approved else "",
            processor=answer.processor,
            replayed=answer.replayed,
            reversal=answer.reversal.name.lower(),
            reversed_amount_minor=answer.reversed_amount_minor,
            processing_duration_ms=None if processing_s is None else round(processing_s * 1000, 3),
            via=via,
        )
