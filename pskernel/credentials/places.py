"""From the place that a reference names to the password."""

from __future__ import annotations

import asyncio
import os
import shlex
import stat
from typing import Final

from pskernel.credentials.keyrings import fetch
from pskernel.credentials.references import CredentialReference, Secret
from pskernel.errors import TargetError
from pskernel.questions import Asker, Question
from pskernel.withheld import withhold

__all__ = ["MAX_SECRET_BYTES", "from_line", "look_up", "resolve"]

MAX_SECRET_BYTES: Final = 64 * 1024


async def resolve(reference: CredentialReference, asker: Asker, question: Question) -> Secret:
    """Fetch the secret from its place; ``question`` is put to ``asker`` for the reference ``prompt`` only.

    Raises:
        TargetError: there is no secret at that place, or it is not kept safely there.
        PromptUnavailable: nobody can be asked.

    """
    if reference.kind == "prompt":
        return Secret(await asker.ask(question))
    return await asyncio.to_thread(look_up, reference)


def look_up(reference: CredentialReference) -> Secret:
    """Fetch a secret that is in a store. It blocks while the keyring asks its owner.

    Raises:
        TargetError: there is no secret at that place, it is not kept safely there, or the place is somebody's memory.

    """
    if reference.kind == "env":
        secret = _from_environment(reference)
    elif reference.kind == "keyring":
        secret = fetch(reference)
    elif reference.kind == "file":
        secret = _from_file(reference)
    else:
        raise TargetError("Nobody is asked for this secret. Name where it is: keyring:NAME, env:NAME or file:PATH.")
    if not secret.reveal():
        raise TargetError(f"The credential {reference} is empty. Store the password there.")
    return secret


def _from_environment(reference: CredentialReference) -> Secret:
    if reference.name not in os.environ:
        raise TargetError(
            f"The credential {reference} cannot be used: the environment variable {reference.name} is "
            "not set where the kernel runs."
        )
    withhold(reference.name)
    return Secret(os.environ[reference.name])


def _from_file(reference: CredentialReference) -> Secret:
    try:
        # Opened first and examined afterwards, so that nobody can swap the file in between.
        with open(reference.name, "rb", opener=_open_at_once) as file:
            _check_file(reference, os.fstat(file.fileno()))
            data = file.read(MAX_SECRET_BYTES + 1)
    except OSError as error:
        reason = error.strerror or type(error).__name__
        raise TargetError(f"The file of the credential {reference} cannot be read: {reason}.") from None
    problem = f"is larger than {MAX_SECRET_BYTES} bytes"
    if len(data) <= MAX_SECRET_BYTES:
        try:
            return from_line(data)
        except UnicodeDecodeError:  # it holds the bytes
            problem = "is not UTF-8 text"
    # IPython's verbose tracebacks show the variables of every frame.
    del data
    raise TargetError(f"The file of the credential {reference} {problem}.")


def from_line(data: bytes) -> Secret:
    """The text of a line, or of a file with one: without the end of the line.

    Raises:
        UnicodeDecodeError: it is not UTF-8. The error holds the bytes; do not chain it.

    """
    for newline in (b"\r\n", b"\n"):
        if data.endswith(newline):
            data = data.removesuffix(newline)
            break
    return Secret(data.decode("utf-8"))


def _open_at_once(path: str, flags: int) -> int:
    # Opening a pipe must not wait for somebody to write into it.
    return os.open(path, flags | getattr(os, "O_NONBLOCK", 0))


def _check_file(reference: CredentialReference, status: os.stat_result) -> None:
    if not stat.S_ISREG(status.st_mode):
        raise TargetError(f"The credential {reference} does not name a regular file.")
    if os.name != "posix":
        return
    if status.st_uid != os.geteuid():
        raise TargetError(f"The file of the credential {reference} belongs to another user. Make a copy that is yours.")
    if stat.S_IMODE(status.st_mode) & (stat.S_IRWXG | stat.S_IRWXO):
        raise TargetError(
            f"Others can reach the file of the credential {reference}. Close it with: "
            f"chmod 600 {shlex.quote(reference.name)}"
        )
