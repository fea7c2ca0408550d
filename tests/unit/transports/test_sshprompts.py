from __future__ import annotations

import asyncio
import os
import socket
import subprocess
import sys
import tempfile
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

from pskernel.errors import ConnectError
from pskernel.questions import NobodyToAsk
from pskernel.transports.ssh import askpass
from pskernel.transports.ssh.hostkeys import ShownKey
from pskernel.transports.ssh.login import Deadline, Login
from pskernel.transports.ssh.prompts import PromptBridge
from tests.parts.sshd import Answers

HOST_KEY_PROMPT = (
    "The authenticity of host '[server01]:2222 ([10.0.0.1]:2222)' can't be established.\n"
    "ED25519 key fingerprint is SHA256:abc.\nThis key is not known by any other names.\n"
    "Are you sure you want to continue connecting (yes/no/[fingerprint])? "
)


def bridge(asker: object, *, accept: str | None = None, gave_up: asyncio.Event | None = None) -> PromptBridge:
    login = Login("Me@Server01", asker=asker, deadline=Deadline(30))  # type: ignore[arg-type]
    give_up = (gave_up or asyncio.Event()).set
    return PromptBridge(login, user="Me", host="Server01", accept_host_key=accept, give_up=give_up)


@asynccontextmanager
async def answering(*answers: str, accept: str | None = None) -> AsyncIterator[tuple[PromptBridge, Answers]]:
    asker = Answers(*answers)
    async with bridge(asker, accept=accept) as open_bridge:
        yield open_bridge, asker


@pytest.mark.parametrize(
    ("prompt", "question"),
    [
        ("Me@server01's password: ", "Me@Server01's password: "),
        ("(Me@server01) Verification code: ", "(Me@Server01) Verification code: "),
        ("Enter passphrase for key '/home/me/.ssh/id': ", "Passphrase of the key /home/me/.ssh/id (for Me@Server01): "),
        ("other@jump's password: ", "other@jump's password: "),
        ("(other@jump) Password: ", "(other@jump) Password: "),
        ("Enter PIN for ED25519-SK key /home/me/.ssh/id_sk: ", "Enter PIN for ED25519-SK key /home/me/.ssh/id_sk: "),
        ("\x1b[2JEnter something\x07: ", "Enter something: "),
        ("Enter \udcff: ", "Enter ?: "),
    ],
)
def test_prompts(prompt: str, question: str) -> None:
    async def main() -> None:
        async with answering("answer") as (prompts, asker):
            assert await prompts.answer(prompt, "") == "answer"
            assert asker.texts == [question]
            assert asker.questions[0].secret

    asyncio.run(main())


@pytest.mark.parametrize(
    ("prompt", "lasting"),
    [
        ("Me@server01's password: ", "Me@Server01 22 password"),
        ("other@jump's password: ", "Me@Server01 22 other@jump's password:"),
        ("(other@jump) Password: ", "Me@Server01 22 (other@jump) Password:"),
        ("(other@pass) Verification code: ", ""),
        ("Enter PIN for ED25519-SK key /home/me/.ssh/id_sk: ", ""),
        ("Give me the password: ", ""),
    ],
)
def test_passwords_serve_again(prompt: str, lasting: str) -> None:
    async def main() -> None:
        async with answering("answer") as (prompts, asker):
            await prompts.answer(prompt, "")
            assert [lasting] == [question.lasting for question in asker.questions]

    asyncio.run(main())


@pytest.mark.parametrize(
    ("prompt", "kind", "accept", "answer"),
    [
        (HOST_KEY_PROMPT, "", None, "no"),
        (HOST_KEY_PROMPT, "", "SHA256:abc", "SHA256:abc"),
        (HOST_KEY_PROMPT, "", "SHA256:abd", "no"),
        ("Please type 'yes', 'no' or the fingerprint: ", "", "SHA256:abc", "no"),
        ("Allow shared connection to server01? ", "confirm", None, "no"),
        ("Confirm user presence for key ED25519-SK", "none", None, "no"),
    ],
)
def test_questions_that_are_not_put_to_the_user(prompt: str, kind: str, accept: str | None, answer: str) -> None:
    async def main() -> None:
        async with answering(accept=accept) as (prompts, asker):
            assert await prompts.answer(prompt, kind) == answer
            assert asker.questions == []
            declined = ("[server01]:2222", ShownKey("ED25519", "SHA256:abc"))
            assert prompts.declined == (declined if prompt is HOST_KEY_PROMPT and answer == "no" else None)

    asyncio.run(main())


def test_server_cannot_pass_a_question_off_as_one_about_its_key() -> None:
    async def main() -> None:
        async with answering("typed", accept="SHA256:abc") as (prompts, _):
            assert await prompts.answer(f"(Me@server01) {HOST_KEY_PROMPT}", "") == "typed"

    asyncio.run(main())


async def run_as_ssh_does(prompts: PromptBridge, prompt: str) -> tuple[int, bytes]:
    environment = {"PATH": os.environ["PATH"], **prompts.environment}
    process = await asyncio.create_subprocess_exec(
        environment["SSH_ASKPASS"], prompt, env=environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE
    )
    output, errors = await process.communicate()
    assert errors == b""
    return process.returncode or 0, output


def test_program_that_ssh_runs() -> None:
    async def main() -> None:
        async with answering("päss wörd'\"\\") as (prompts, _):
            folder = Path(prompts.environment["SSH_ASKPASS"]).parent
            assert await asyncio.to_thread(lambda: folder.stat().st_mode & 0o777) == 0o700
            assert await run_as_ssh_does(prompts, "Me@server01's password: ") == (0, "päss wörd'\"\\\n".encode())
        assert not await asyncio.to_thread(folder.exists)

    asyncio.run(main())


def test_program_fails_when_the_session_is_gone() -> None:
    async def main() -> None:
        gave_up = asyncio.Event()
        async with bridge(NobodyToAsk(), gave_up=gave_up) as prompts:
            asking = asyncio.create_task(run_as_ssh_does(prompts, "Me@server01's password: "))
            # It gets no answer: ssh would take that for an empty password.
            await gave_up.wait()
            assert not asking.done()
        assert await asking == (1, b"")

    asyncio.run(main())


def test_passphrase_nobody_knows_is_skipped() -> None:
    async def main() -> None:
        gave_up = asyncio.Event()
        async with bridge(NobodyToAsk(), gave_up=gave_up) as prompts:
            assert await run_as_ssh_does(prompts, "Enter passphrase for key '/k': ") == (0, b"\n")
        assert not gave_up.is_set()

    asyncio.run(main())


@pytest.mark.parametrize("words", [b"", b"nonsense\n", b"{}\n", b"[]\n", b'{"prompt": "x"}\n', b"x" * 100_000])
def test_strangers_on_the_socket_do_no_harm(words: bytes) -> None:
    async def main() -> None:
        async with answering("answer") as (prompts, asker):
            path = prompts.environment["SSH_ASKPASS"].removesuffix("ask") + "socket"
            reader, writer = await asyncio.open_unix_connection(path)
            writer.write(words)
            if not words.endswith(b"\n") and len(words) < 100_000:
                writer.write_eof()
            assert await reader.read() == b""
            writer.close()
            assert asker.questions == []
            assert await run_as_ssh_does(prompts, "x's password: ") == (0, b"answer\n")

    asyncio.run(main())


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can mount a file system without programs")
def test_temporary_folder_without_programs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    mount = ["mount", "-t", "tmpfs", "-o", "noexec", "tmpfs", str(tmp_path)]
    if subprocess.run(mount, capture_output=True, check=False).returncode:
        pytest.skip("mount is not allowed here")
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))

    async def main() -> None:
        async with bridge(NobodyToAsk()):
            raise AssertionError

    try:
        with pytest.raises(ConnectError) as caught:
            asyncio.run(main())
        assert not list(tmp_path.iterdir())
    finally:
        subprocess.run(["umount", str(tmp_path)], check=True)
    assert str(caught.value) == (
        f"The folder {tmp_path} does not allow programs to run, so ssh could not ask for a password. Set TMPDIR to "
        "another folder, or use the built-in SSH client (backend=asyncssh)."
    )


def test_askpass_as_a_function(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    path = f"{tempfile.mkdtemp(prefix='psk-', dir='/tmp')}/s"
    for reply, status, printed in ((b'"yes"', 0, "yes\n"), (b"null", 1, ""), (b"", 1, "")):
        with socket.socket(socket.AF_UNIX) as listener:
            listener.bind(path)
            listener.listen()
            monkeypatch.setattr(sys, "argv", ["askpass.py", path])

            async def serve(listener: socket.socket = listener, reply: bytes = reply) -> int:
                running = asyncio.create_task(asyncio.to_thread(askpass.main))
                connection, _ = await asyncio.to_thread(listener.accept)
                with connection, connection.makefile("rb") as request:
                    assert await asyncio.to_thread(request.readline) == b'{"prompt": "", "kind": ""}\n'
                    connection.sendall(reply)
                return await running

            assert asyncio.run(serve()) == status
        assert capsys.readouterr().out == printed
        Path(path).unlink()
    Path(path).parent.rmdir()
