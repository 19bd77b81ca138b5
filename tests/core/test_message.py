"""The vocabulary: its numbers are those of the protocols and of what is stored."""

from enum import IntEnum

import pytest

from payswitch.processor.v1 import processor_pb2
from payswitch.terminal.v1 import terminal_pb2
from switch.core.message import (
    Disposition,
    Kind,
    PaymentKey,
    PaymentState,
    ReversalReason,
    ReversalStatus,
    StoredPayment,
)
from switch.core.transaction import AttemptState
from tests.core.examples import TWELVE_FIFTY, owed, stored_attempt, told


@pytest.mark.parametrize(
    ("ours", "prefix", "theirs"),
    [
        (Kind, "AUTHORIZATION_KIND_", terminal_pb2.AuthorizationKind),
        (Kind, "AUTHORIZATION_KIND_", processor_pb2.AuthorizationKind),
        (ReversalStatus, "REVERSAL_STATUS_", terminal_pb2.ReversalStatus),
        (Disposition, "DISPOSITION_", processor_pb2.Disposition),
        (PaymentState, "AUTHORIZATION_STATE_", terminal_pb2.AuthorizationState),
    ],
)
def test_a_word_has_the_number_it_has_on_the_wire(
    ours: type[IntEnum], prefix: str, theirs: type
) -> None:
    numbers = dict(theirs.items())  # type: ignore[attr-defined] # the stubs have no common type
    for word in ours:
        name = "UNSPECIFIED" if word.name == "UNREADABLE" else word.name
        assert numbers[prefix + name] == word


def test_reasons_of_reversals_are_the_message_reason_codes_of_iso_8583() -> None:
    assert {reason.name: reason.value for reason in ReversalReason} == {
        "CANCELLED": 4000,
        "LATE": 4006,
        "COULD_NOT_COMPLETE": 4007,
        "UNREADABLE": 4020,
        "TIMED_OUT": 4021,
    }


def test_the_numbers_that_are_stored_never_change() -> None:
    assert {state.name: state.value for state in PaymentState} == {
        "RUNNING": 1,
        "CONCLUDED": 2,
        "NOT_SENT": 3,
        "REVERSED_IN_ADVANCE": 4,
    }
    assert {status.name: status.value for status in ReversalStatus} == {
        "NONE": 1,
        "OWED": 2,
        "ACKNOWLEDGED": 3,
    }
    assert {kind.name: kind.value for kind in Kind} == {"PURCHASE": 1, "PREAUTHORIZATION": 2}


def test_a_payment_is_named_by_its_terminal_and_its_request_id() -> None:
    first = PaymentKey("T-1", bytes(16))
    assert first == PaymentKey("T-1", bytes(16))
    assert len({first, PaymentKey("T-2", bytes(16)), PaymentKey("T-1", bytes([1] * 16))}) == 3


def test_a_new_debt_was_never_sent_and_is_not_parked() -> None:
    assert (owed().sends, owed().parked) == (0, "")


def test_two_payments_that_are_read_back_share_no_lists() -> None:
    def read_back() -> StoredPayment:
        key = PaymentKey("T-1", bytes(16))
        return StoredPayment(key, b"", PaymentState.CONCLUDED, TWELVE_FIFTY, told())

    first, second = read_back(), read_back()
    first.attempts.append(stored_attempt(AttemptState.APPROVED))
    assert second.attempts == []
    assert second.timeline == []
