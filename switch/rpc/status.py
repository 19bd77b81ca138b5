"""What a refusal is on the wire: a gRPC status with details, or a Refusal in a frame.

Every error carries exactly one ErrorInfo with a published reason; the fields at fault and the delay
stand beside it where they apply. Texts may change, reasons may not. Both forms are made from the
one table of reasons, so they cannot disagree.
"""

from __future__ import annotations

from collections.abc import Sequence

import grpc
from google.protobuf.any_pb2 import Any
from google.rpc import error_details_pb2, status_pb2
from grpc_status import rpc_status  # type: ignore[import-untyped] # it has no stubs

from payswitch.terminal.v1 import terminal_pb2
from switch.core.message import Refused
from switch.errors import REASONS
from switch.rpc.validation import Violation

DOMAIN = "payswitch"


def grpc_status(refused: Refused, violations: Sequence[Violation] = ()) -> grpc.Status:
    """Return a refusal as the status that ends a call."""
    reason = REASONS[refused.reason]
    details = [_packed(error_details_pb2.ErrorInfo(reason=refused.reason, domain=DOMAIN))]
    if violations:
        details.append(
            _packed(
                error_details_pb2.BadRequest(
                    field_violations=[
                        error_details_pb2.BadRequest.FieldViolation(
                            field=violation.field, description=violation.description
                        )
                        for violation in violations
                    ]
                )
            )
        )
    delay_s = _delay_of(refused)
    if delay_s is not None:
        info = error_details_pb2.RetryInfo()
        info.retry_delay.FromNanoseconds(_nanoseconds(delay_s))
        details.append(_packed(info))
    status: grpc.Status = rpc_status.to_status(
        status_pb2.Status(
            code=_number_of(reason.status),
            message=refused.detail or reason.meaning,
            details=details,
        )
    )
    return status


def refusal(refused: Refused, violations: Sequence[Violation] = ()) -> terminal_pb2.Refusal:
    """Return a refusal as one item of a frame is told."""
    reason = REASONS[refused.reason]
    found = terminal_pb2.Refusal(
        code=_number_of(reason.status),
        reason=refused.reason,
        message=refused.detail or reason.meaning,
        field_violations=[
            terminal_pb2.FieldViolation(field=field, description=description)
            for field, description in violations
        ],
    )
    delay_s = _delay_of(refused)
    if delay_s is not None:
        found.retry_delay.FromNanoseconds(_nanoseconds(delay_s))
    return found


def _number_of(status: str) -> int:
    number: int = grpc.StatusCode[status].value[0]
    return number


def _delay_of(refused: Refused) -> float | None:
    if refused.retry_after_s is not None:
        return refused.retry_after_s
    return REASONS[refused.reason].retry_after_s


def _nanoseconds(seconds: float) -> int:
    return max(0, round(seconds * 1e9))


def _packed(
    message: error_details_pb2.ErrorInfo
    | error_details_pb2.BadRequest
    | error_details_pb2.RetryInfo,
) -> Any:
    packed = Any()
    packed.Pack(message)
    return packed
