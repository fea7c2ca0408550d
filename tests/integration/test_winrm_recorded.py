"""Our client has the recorded conversations with WinRM servers again, and hears in them what was said."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine
from pathlib import Path
from typing import Any

import pytest

from pskernel.connect import connect
from pskernel.credentials import GivenCredential, Secret
from pskernel.errors import AuthenticationFailed, ConnectError, RunspaceStateError
from pskernel.session.runspace import RunspaceState
from tests.fakes.wsman_replay import USER, Library, Recording, Seen
from tests.fakes.wsman_replay.fragments import fragments, payloads
from tests.parts.psrp_words import Words
from tests.parts.winrm_manners import breaches
from tests.parts.winrm_replayed import (
    Stage,
    check,
    heard,
    host_answers,
    perform,
    played,
    run,
    said_to_commands,
    target_at,
)

pytestmark = pytest.mark.golden

NO_INPUT = "our pipelines take no input"
NO_PULSE = "no server is asked whether it lives: one Receive is always under way"
NO_POOLS = "our pools are of one runspace, for good"
ONCE_MORE = "asked once more although the session had ended"
# Conversations that we can have as they were: what of them nobody asked for, and why.
CONVERSATIONS: dict[str, tuple[tuple[int, ...], str]] = {
    "error-and-throw.jsonl": ((), ""),
    "idle-70s.jsonl": ((21,), ONCE_MORE),
    "long-output.full.jsonl.gz": ((), ""),
    "long-output.jsonl": ((), ""),
    "open-run-close.jsonl": ((24,), ONCE_MORE),
    "read-host.jsonl": ((), ""),
    "psrp_application_args.yml": ((), ""),
    "psrp_clear_commands.yml": ((), ""),
    "psrp_error_failed.yml": ((), ""),
    "psrp_get_command_metadata.yml": ((), ""),
    "psrp_is_alive_http_error.yml": ((4, 5), NO_PULSE),
    "psrp_is_alive_invalid_selectors.yml": ((4, 5), NO_PULSE),
    "psrp_is_alive_other_wsman_error.yml": ((4,), NO_PULSE),
    "psrp_is_alive_state_disconnected.yml": ((4, 5), NO_PULSE),
    "psrp_long_running_cmdlet.yml": ((), ""),
    "psrp_merge_commands.yml": ((), ""),
    "psrp_multiple_commands.yml": ((), ""),
    "psrp_multiple_invocations.yml": ((), ""),
    "psrp_no_profile.yml": ((), ""),
    "psrp_open_runspace.yml": ((), ""),
    "psrp_pshost_raw_ui_mocked_methods.yml": ((), ""),
    "psrp_pshost_ui_mocked_methods.yml": ((), ""),
    "psrp_run_protocol_version_2.1.yml": ((5,), NO_INPUT),
    "psrp_run_protocol_version_2.2.yml": ((5,), NO_INPUT),
    "psrp_run_protocol_version_2.3.yml": ((5,), NO_INPUT),
    "psrp_set_runspaces.yml": ((4, *range(6, 16)), NO_POOLS),
    "psrp_stream_no_output_invocation.yml": ((), ""),
    "psrp_stream_output_invocation.yml": ((), ""),
    "psrp_with_history.yml": ((), ""),
    "psrp_with_input.yml": ((5,), NO_INPUT),
    "psrp_with_no_history.yml": ((), ""),
}
# Those that take more than to run something: each has a test of its own, here or in the files beside this one.
OTHERS = {
    "auth.jsonl", "big-script.jsonl", "create-incomplete.jsonl", "stop-crtl_c.jsonl", "psrp_key_exchange_timeout.yml",
    "psrp_reset_runspace_state.yml", "psrp_reset_runspace_state_fail.yml", "psrp_small_msg_size.yml",
    "wsman_update_envelope_size_150.yml",
    "wsman_update_envelope_size_500.yml", "wsman_update_envelope_size_4096.yml",
    # test_winrm_recorded_left.py
    "connect-new-client.jsonl", "disconnect-reconnect.jsonl", "enumerate-shells.jsonl", "enumerate-shells-stock.jsonl",
    "psrp_disconnect_runspaces.yml",
    # test_winrm_recorded_faults.py
    "delete-running.jsonl", "delete-twice.jsonl", "no-outstanding-receive.jsonl", "stop-ctrl_c.jsonl",
    "two-receives.jsonl", "unknown-command.jsonl", "unknown-shell.jsonl", "psrp_receive_failure.yml",
}  # fmt: skip
WITH_KEY = {"psrp_multiple_commands.yml", "psrp_pshost_ui_mocked_methods.yml"}
ENVELOPE_KB = {"wsman_update_envelope_size_150.yml": 150, "wsman_update_envelope_size_500.yml": 500,
               "wsman_update_envelope_size_4096.yml": 4096}  # fmt: skip


@pytest.fixture(scope="module")
def library(golden: Path) -> Library:
    return Library(golden)


def conversation(
    recording: Recording, *, with_key: bool = False
) -> Callable[[Stage], Coroutine[Any, Any, list[list[Words]]]]:
    """Open a runspace, run as many commands as there were, close it; say what was heard."""

    async def all_of_it(stage: Stage) -> list[list[Words]]:
        runspace = await stage.open()
        if with_key:
            await runspace.exchange_key()
        said = [await run(runspace) for _ in recording.commands]
        assert runspace.state is RunspaceState.OPEN
        await stage.settled()
        await runspace.aclose()
        assert runspace.error is None
        return said

    return all_of_it


def test_no_recording_is_left_out(golden: Path) -> None:
    there = {path.name for kind in ("winrm-omi/*.jsonl*", "winrm-windows/*.yml") for path in golden.glob(kind)}

    assert there == set(CONVERSATIONS) | OTHERS


@pytest.mark.parametrize("name", CONVERSATIONS)
def test_a_conversation_says_what_it_said(library: Library, name: str) -> None:
    recording, (left, _) = library.recording(name), CONVERSATIONS[name]
    expected = said_to_commands(recording)

    stage, said = perform(library, recording, conversation(recording, with_key=name in WITH_KEY))

    assert expected == said
    check(stage, left)


@pytest.mark.parametrize(
    "name", ["read-host.jsonl", "psrp_pshost_raw_ui_mocked_methods.yml", "psrp_pshost_ui_mocked_methods.yml"]
)
def test_host_calls_are_answered_as_they_were(library: Library, name: str) -> None:
    recording = library.recording(name)

    stage, _ = perform(library, recording, conversation(recording, with_key=name in WITH_KEY))

    expected = host_answers([each.request for each in recording.exchanges if each.detail == "pr"])
    answered = [each.envelope for each in stage.replay.seen if each.detail == "pr"]
    assert expected == host_answers(answered)
    assert expected


def test_a_stop_is_a_stop(library: Library) -> None:
    recording = library.recording("stop-crtl_c.jsonl")

    async def stopping(stage: Stage) -> list[list[Words]]:
        runspace = await stage.open()
        said = []
        for _ in range(2):
            pipeline = await runspace.invoke("while ($true) {}")
            await stage.listening(pipeline)
            stopping = asyncio.create_task(pipeline.stop())
            said.append(await heard(pipeline))
            await stopping
        said.append(await run(runspace))
        await stage.settled()
        await runspace.aclose()
        return said

    stage, said = perform(library, recording, stopping)

    assert said_to_commands(recording) == said
    check(stage)
    codes = [each.detail for each in stage.replay.seen if each.operation == "Signal"]
    assert ["stop", "terminate", "stop", "terminate", "terminate"] == codes


# ---- what is sent ----


def sent(seen: list[Seen], operation: str) -> list[bytes]:
    """The payloads of all requests of one kind."""
    return [data for each in seen if each.operation == operation for data in payloads(each.envelope)]


@pytest.mark.parametrize("name", ["big-script.jsonl", "psrp_small_msg_size.yml"])
def test_a_big_script_goes_in_pieces(library: Library, name: str) -> None:
    recording = library.recording(name)
    # Pipelines of ours take no input, so that there is one piece less.
    script = "#" + "x" * (300_000 if name == "big-script.jsonl" else 40_000)

    async def big(stage: Stage) -> list[Words]:
        runspace = await stage.open()
        said = await run(runspace, script)
        await stage.settled()
        await runspace.aclose()
        return said

    stage, said = perform(library, recording, big)

    seen = stage.replay.seen
    assert [said] == said_to_commands(recording)
    assert stage.replay.problems == []
    assert breaches(seen) == []
    parts = [each for data in sent(seen, "Command") + sent(seen, "Send") for each in fragments(data)]
    assert [(parts[0].object_id, number) for number in range(len(parts))] == [
        (each.object_id, each.number) for each in parts
    ]
    assert [1, *[0] * (len(parts) - 2), 2] == [each.flags for each in parts]
    assert b"x" * 20_000 in b"".join(each.blob for each in parts)
    largest = max(int(each.header.findtext("{*}MaxEnvelopeSize") or 0) for each in seen)
    assert max(len(each.raw) for each in seen) <= largest


@pytest.mark.parametrize("name", ENVELOPE_KB)
def test_messages_become_as_large_as_the_server_takes(library: Library, name: str) -> None:
    recording = library.recording("psrp_no_profile.yml").then(library.recording(name))

    stage, _ = perform(library, recording, conversation(recording))

    check(stage)
    (command,) = (each for each in stage.replay.seen if each.operation == "Command")
    assert str(ENVELOPE_KB[name] * 1024) == command.header.findtext("{*}MaxEnvelopeSize")


def test_the_profile_is_not_loaded_if_it_must_not_be(library: Library) -> None:
    recording = library.recording("psrp_no_profile.yml")

    async def opened(stage: Stage) -> None:
        await (await stage.open(machine_profile="false")).aclose()

    stage, _ = perform(library, recording, opened)

    (create,) = (each for each in stage.replay.seen if each.operation == "Create")
    recorded = recording.exchanges[0].request
    assert 'Name="WINRS_NOPROFILE">TRUE<' in recorded
    assert b'Name="WINRS_NOPROFILE"' in create.raw


def test_a_session_is_asked_for_as_one_session(library: Library) -> None:
    recording = library.recording("open-run-close.jsonl")

    stage, _ = perform(library, recording, conversation(recording))

    sessions = {each.header.findtext("{*}SessionId") for each in stage.replay.seen}
    assert 1 == len(sessions)


# ---- keys, variables ----


def test_a_key_that_does_not_come_is_waited_for_until_the_end(library: Library) -> None:
    recording = library.recording("psrp_key_exchange_timeout.yml")

    async def exchanging(stage: Stage) -> bool:
        runspace = await stage.open()
        exchange = asyncio.create_task(runspace.exchange_key())
        # An answer without anything in it.
        await stage.was_told(5)
        await stage.settled()
        waited = not exchange.done()
        await runspace.aclose()
        await exchange
        return waited

    stage, waited = perform(library, recording, exchanging)
    assert waited
    check(stage)


def test_variables_are_reset(library: Library) -> None:
    recording = library.recording("psrp_reset_runspace_state.yml")

    async def resetting(stage: Stage) -> list[list[Words]]:
        runspace = await stage.open()
        said = [await run(runspace)]
        await runspace.reset()
        said.append(await run(runspace))
        await stage.settled()
        await runspace.aclose()
        return said

    stage, said = perform(library, recording, resetting)

    assert said_to_commands(recording) == said
    check(stage)


def test_variables_that_cannot_be_reset_are_an_error(library: Library) -> None:
    async def resetting(stage: Stage) -> RunspaceState:
        runspace = await stage.open()
        with pytest.raises(RunspaceStateError, match="refused to reset"):
            await runspace.reset()
        state = runspace.state
        await stage.settled()
        await runspace.aclose()
        return state

    stage, state = perform(library, library.recording("psrp_reset_runspace_state_fail.yml"), resetting)

    assert RunspaceState.OPEN is state
    check(stage)


# ---- who is not let in ----


def test_a_server_that_refuses_a_shell_without_a_word(library: Library) -> None:
    """Three times, each for another thing that is missing."""
    recording = library.recording("create-incomplete.jsonl")

    with played(library, recording) as stage:
        for _ in recording.exchanges:
            with pytest.raises(ConnectError, match=r"HTTP status 500, empty answer"):
                asyncio.run(stage.open())

    check(stage)


def test_a_wrong_password_is_refused(library: Library) -> None:
    wrong = GivenCredential(USER, Secret("wrong"))

    refused = pytest.raises(AuthenticationFailed, match=rf"refused the login as {USER} by basic")
    with played(library, library.recording("open-run-close.jsonl")) as stage, refused:
        asyncio.run(connect(target_at(stage.port), credential=wrong))

    assert [] == stage.replay.seen
