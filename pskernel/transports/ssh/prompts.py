"""Answers the questions of the system's ssh: a private socket for askpass.py, and what each prompt means."""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import re
import shlex
import shutil
import sys
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, Self

from pskernel.errors import ConnectError
from pskernel.transports.ssh import askpass
from pskernel.transports.ssh.hostkeys import ShownKey
from pskernel.transports.ssh.login import is_password_prompt
from pskernel.transports.streams import plain_text

if TYPE_CHECKING:
    from collections.abc import Callable
    from types import TracebackType

    from pskernel.transports.ssh.login import Login

__all__ = ["PromptBridge"]

_MAX_REQUEST = 16_384
_MAX_PROMPT = 2_000
_UNKNOWN_HOST = re.compile(r"host '(\S+).*?' can't be established\.\s+(\S+) key fingerprint is (SHA256:[\w+/=]+)")
# What another host than the target asks for: one on the way there.
_OF_JUMP_HOST = re.compile(r"(?:\(\S+@\S+\) |\S+@\S+'s )(.+)")
_PASSPHRASE = re.compile(r"Enter passphrase for (?:key )?'?(.+?)'?:")


class PromptBridge:
    """While open (``async with``), ssh children started with ``environment`` ask ``login``, and through it the user.

    A question about a host key is never put to the user: it is answered with the fingerprint that is accepted, which
    ssh compares itself, or with no.
    """

    def __init__(
        self, login: Login, *, user: str, host: str, accept_host_key: str | None, give_up: Callable[[], None]
    ) -> None:
        """Answer for the login of ``user`` at ``host``; questions that name others are those of jump hosts.

        ``give_up`` is called when there is no answer for the server: ssh is then kept waiting, because it would take
        a refusal for an empty password, send it, and ask again. Whoever started ssh has to end it.
        """
        self._login = login
        self._give_up = give_up
        # As ssh writes them: sshconnect2.c, userauth_passwd and input_userauth_info_req.
        self._password_prompt = f"{user[:30]}@{host.lower()[:128]}'s password:"
        self._challenge_prefix = f"({user}@{host.lower()}) "
        self._accept = accept_host_key.rstrip("=") if accept_host_key else None
        # Whether ssh asked about the key that is to be accepted: it was not known.
        self.accepted = False
        # The last server whose unknown key was declined: its name as in known_hosts, and the key.
        self.declined: tuple[str, ShownKey] | None = None
        self._asked_before: set[str] = set()
        self._folder = ""
        self._server: asyncio.AbstractServer | None = None
        self._answering: set[asyncio.Task[None]] = set()

    @property
    def environment(self) -> dict[str, str]:
        """What makes ssh ask here. DISPLAY is for OpenSSH before 8.4, which asks nobody without it."""
        display = os.environ.get("DISPLAY", ":0")
        return {"SSH_ASKPASS": f"{self._folder}/ask", "SSH_ASKPASS_REQUIRE": "force", "DISPLAY": display}

    async def __aenter__(self) -> Self:
        """Make the socket and the script.

        Raises:
            ConnectError: programs cannot be run from the temporary folder.
        """
        # mkdtemp makes a folder that only this user may enter, under a name nobody can guess.
        self._folder = tempfile.mkdtemp(prefix="pskernel-")
        script = Path(self._folder) / "ask"
        words = [sys.executable, "-I", "-S", askpass.__file__, f"{self._folder}/socket"]
        script.write_text(f'#!/bin/sh\nexec {shlex.join(words)} "$1"\n')
        script.chmod(0o700)
        if shutil.which(str(script)) is None:
            shutil.rmtree(self._folder, ignore_errors=True)
            raise ConnectError(
                f"The folder {tempfile.gettempdir()} does not allow programs to run, so ssh could not ask for a "
                "password. Set TMPDIR to another folder, or use the built-in SSH client (backend=asyncssh)."
            )
        self._server = await asyncio.start_unix_server(self._serve, f"{self._folder}/socket", limit=_MAX_REQUEST)
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Remove both, and drop questions that are still open."""
        if self._server is not None:
            self._server.close()
        for task in self._answering:
            task.cancel()
        await asyncio.gather(*self._answering, return_exceptions=True)
        shutil.rmtree(self._folder, ignore_errors=True)

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        if task is not None:
            self._answering.add(task)
            task.add_done_callback(self._answering.discard)
        try:
            request = json.loads(await reader.readline())
            answer = await self.answer(str(request["prompt"]), str(request["kind"]))
            if answer is None:
                self._give_up()
                await asyncio.get_running_loop().create_future()
            writer.write(json.dumps(answer).encode())
            await writer.drain()
        except (OSError, ValueError, KeyError, TypeError, asyncio.CancelledError):
            # ssh has given up, somebody else of this user knocked, or the bridge is closed. (Python 3.11 would report
            # a cancelled task of a server as an error.)
            return
        finally:
            writer.close()
            with contextlib.suppress(OSError):
                await writer.wait_closed()

    async def answer(self, prompt: str, kind: str) -> str | None:
        """Return the answer to one prompt of ssh's, or None if there is none and the login cannot go on."""
        # What was not UTF-8 on ssh's command line cannot be shown as it is.
        text = plain_text(prompt.encode("utf-8", "replace").decode())[:_MAX_PROMPT].strip()
        if text.startswith(self._challenge_prefix):
            answers = await self._login.answers("", [(text.removeprefix(self._challenge_prefix), False)])
            return answers[0] if answers else None
        if kind or text.startswith(("The authenticity of host", "Please type 'yes'")):
            return self._confirm(text)
        passphrase = _PASSPHRASE.search(text)
        if passphrase:
            again = text in self._asked_before
            self._asked_before.add(text)
            # Without it, ssh goes on to the next key: nothing has reached the server.
            return await self._login.passphrase(passphrase[1], again=again) or ""
        if text == self._password_prompt:
            return await self._login.password()
        asked = _OF_JUMP_HOST.fullmatch(text)
        lasting = text if asked and is_password_prompt(asked[1]) else ""
        return await self._login.ask(f"{text} ", lasting=lasting)

    def _confirm(self, text: str) -> str | None:
        """Answer a question for yes or no; those about anything but a host key are declined."""
        if self._accept is not None and f"key fingerprint is {self._accept}" in text:
            self.accepted = True
            return self._accept
        found = _UNKNOWN_HOST.search(text)
        if found is not None:
            self.declined = (found[1], ShownKey(found[2], found[3]))
        return "no"
