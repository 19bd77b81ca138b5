"""The clients' commands, run as a user runs them."""

import asyncio
import sys
from collections.abc import AsyncIterator
from pathlib import Path

import grpc
import pytest
from google.protobuf import json_format

from payswitch.terminal.v1 import terminal_pb2 as wire
from tests.clients.scripted_switch import Refuse, ScriptedSwitch

ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture
async def switch() -> AsyncIterator[ScriptedSwitch]:
    async with ScriptedSwitch() as switch:
        yield switch


async def run(command: str, *arguments: str, stdin: bytes | None = None) -> tuple[int, str, str]:
    code = f"from clients.commands import {command}; {command}()"
    return await execute(sys.executable, "-c", code, *arguments, stdin=stdin)


async def execute(*command: str, stdin: bytes | None = None) -> tuple[int, str, str]:
    process = await asyncio.create_subprocess_exec(
        *command,
        cwd=ROOT,
        stdin=asyncio.subprocess.PIPE,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
    )
    out, err = await process.communicate(stdin)
    assert process.returncode is not None
    return process.returncode, out.decode(), err.decode()


async def test_a_sample_request_is_one_a_stock_client_can_send(switch: ScriptedSwitch) -> None:
    code, out, err = await run("sample", "request", "--address", switch.address, "--amount", "777")
    assert code == 0, err
    request = json_format.Parse(out, wire.AuthorizeRequest())
    assert request.amount.amount_minor == 777
    assert "4111111111111111" not in out
    assert switch.open_envelope(request).number == "4111111111111111"


async def test_buf_curl_sends_it_and_gets_an_approval(switch: ScriptedSwitch) -> None:
    code, out, err = await run("sample", "request", "--address", switch.address)
    assert code == 0, err
    code, out, err = await execute(
        str(Path(sys.executable).parent / "buf"),
        "curl",
        "--schema",
        "protos",
        "--protocol",
        "grpc",
        "--http2-prior-knowledge",
        "-d",
        "@-",
        f"http://{switch.address}/payswitch.terminal.v1.TerminalService/Authorize",
        stdin=out.encode(),
    )
    assert code == 0, err
    response = json_format.Parse(out, wire.AuthorizeResponse())
    assert response.status == wire.AUTHORIZATION_STATUS_APPROVED


async def test_a_switch_that_is_not_there_is_said_so(switch: ScriptedSwitch) -> None:
    await switch.stop()
    code, out, err = await run("sample", "request", "--address", switch.address)
    assert (code, out) == (5, "")
    assert "is it running?" in err
    assert "Traceback" not in err


async def test_a_switch_that_refuses_is_quoted(switch: ScriptedSwitch) -> None:
    switch.keys_refusal = Refuse(grpc.StatusCode.INVALID_ARGUMENT, "FIELD_INVALID")
    code, _, err = await run("sample", "request", "--address", switch.address)
    assert code == 4
    assert "FIELD_INVALID" in err


async def test_another_machine_needs_a_word(switch: ScriptedSwitch) -> None:
    code, _, err = await run("sample", "request", "--address", "192.0.2.1:7100")
    assert code == 2
    assert "insecure" in err


async def test_the_audit_is_a_process_of_its_own() -> None:
    code, out, _ = await run("audit", "ledgers", "--help")
    assert code == 0
    assert "to the cent" in out
    code, _, err = await run("audit", "ledgers", "--switch", "nowhere", "--json")
    assert code == 2
    assert "--terminals" in err
