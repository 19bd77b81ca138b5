"""What may go wrong between a terminal and the switch, split by what the terminal may do next.

``Refused`` says that the payment had no effect and why; ``NoAnswer`` says that nobody knows yet.
Whoever gets ``NoAnswer`` asks again under the same request_id, or reverses it: never a new
request_id for the same sale, because the first one may have taken the money.
"""

from __future__ import annotations

from typing import NamedTuple

import grpc
from google.rpc import error_details_pb2, status_pb2

from payswitch.terminal.v1 import terminal_pb2 as wire

_DETAILS = "grpc-status-details-bin"

# After these the same request may be sent again under the same request_id, and should be. Without
# a reason of the switch the last three are a server going away or a fault of its: nobody knows
# whether it had acted.
_REPEATABLE = frozenset(
    {
        "UNAVAILABLE",
        "RESOURCE_EXHAUSTED",
        "ABORTED",
        "DEADLINE_EXCEEDED",
        "CANCELLED",
        "INTERNAL",
        "UNKNOWN",
    }
)
# What is wrong with the contents was wrong with them at the first send too: it had no effect
# either. (A refused reuse is of an id that belongs to another payment.)
_ABOUT_CONTENTS = frozenset({"INVALID_ARGUMENT", "ALREADY_EXISTS", "OUT_OF_RANGE"})
_EFFECT_UNKNOWN = frozenset({"OUTCOME_UNKNOWN", "INTERNAL"})
_STATUS_NAMES = {status.value[0]: status.name for status in grpc.StatusCode}


class FieldFault(NamedTuple):
    """One field that breaks a rule."""

    field: str
    """Its path, as amount.currency"""
    description: str


class Refused(Exception):
    """The switch refused, and the payment had no effect."""

    def __init__(
        self,
        reason: str,
        message: str,
        fields: tuple[FieldFault, ...] = (),
        *,
        status: str = "",
        request_id: str = "",
    ) -> None:
        told = "; ".join(f"{fault.field}: {fault.description}" for fault in fields)
        super().__init__(f"{reason}: {message}" + (f" ({told})" if told else ""))
        self.reason = reason
        """One of the published table of reasons, or the name of a gRPC status."""
        self.message = message
        self.fields = fields
        self.status = status
        self.request_id = request_id


class NoAnswer(Exception):
    """The terminal's patience ended, and whether money moved is not known.

    Repeat under ``request_id``, ask ``get(request_id)``, or ``reverse(request_id)``.
    """

    def __init__(self, request_id: str, terminal_id: str, sends: int, why: str) -> None:
        super().__init__(f"no answer to {request_id} of {terminal_id} after {sends} sends: {why}")
        self.request_id = request_id
        self.terminal_id = terminal_id
        self.sends = sends
        self.why = why


class CallFailed(Exception):
    """One call ended without an answer. Inside the SDK only."""

    def __init__(
        self,
        status: str,
        reason: str,
        message: str,
        fields: tuple[FieldFault, ...] = (),
        *,
        retry_after_s: float | None = None,
        may_have_acted: bool,
    ) -> None:
        super().__init__(f"{reason or status}: {message}")
        self.status = status
        self.reason = reason
        """Empty if the switch itself did not speak: gRPC did."""
        self.message = message
        self.fields = fields
        self.retry_after_s = retry_after_s
        self.may_have_acted = may_have_acted
        """Whether this call may have had an effect all the same."""

    @property
    def repeatable(self) -> bool:
        """Whether the same request may help, sent again under the same id."""
        return self.status in _REPEATABLE or self.reason == "RESEAL"

    @property
    def about_contents(self) -> bool:
        """Whether it condemns what was sent, however often it was sent."""
        return self.status in _ABOUT_CONTENTS

    def refused(self, request_id: str) -> Refused:
        """Return it as the terminal's user is told."""
        return Refused(
            self.reason or self.status,
            self.message,
            self.fields,
            status=self.status,
            request_id=request_id,
        )


def unanswered(status: str, message: str, *, may_have_acted: bool) -> CallFailed:
    """Return a failure that the switch did not speak in: a deadline or a lost connection."""
    return CallFailed(status, "", message, may_have_acted=may_have_acted)


def failure_of_error(error: grpc.aio.AioRpcError) -> CallFailed:
    """Read a gRPC error with its details."""
    reason = ""
    fields: tuple[FieldFault, ...] = ()
    retry_after_s = None
    for key, value in error.trailing_metadata() or ():
        if key != _DETAILS or isinstance(value, str):
            continue
        for detail in status_pb2.Status.FromString(value).details:
            info = error_details_pb2.ErrorInfo()
            faults = error_details_pb2.BadRequest()
            retry = error_details_pb2.RetryInfo()
            if detail.Unpack(info):
                reason = info.reason
            elif detail.Unpack(faults):
                fields = tuple(
                    FieldFault(fault.field, fault.description) for fault in faults.field_violations
                )
            elif detail.Unpack(retry):
                retry_after_s = retry.retry_delay.seconds + retry.retry_delay.nanos / 1e9
    return CallFailed(
        error.code().name,
        reason,
        error.details() or "",
        fields,
        retry_after_s=retry_after_s,
        # An error with a reason is the switch's word that this call did nothing. One without is
        # gRPC's, and says nothing about what was done.
        may_have_acted=not reason or reason in _EFFECT_UNKNOWN,
    )


def failure_of_refusal(refusal: wire.Refusal) -> CallFailed:
    """Read a refusal in a frame: the same words as a gRPC error of the unary call."""
    delay = refusal.retry_delay
    return CallFailed(
        _STATUS_NAMES.get(refusal.code, "UNKNOWN"),
        refusal.reason,
        refusal.message,
        tuple(FieldFault(fault.field, fault.description) for fault in refusal.field_violations),
        retry_after_s=delay.seconds + delay.nanos / 1e9
        if refusal.HasField("retry_delay")
        else None,
        may_have_acted=not refusal.reason or refusal.reason in _EFFECT_UNKNOWN,
    )
