"""``pskernel credential``: passwords in the keyring of this machine, under names."""

from __future__ import annotations

import asyncio
import sys
from typing import Annotated

import typer

from pskernel.cli.ask import TerminalAsker
from pskernel.cli.console import CommandError, clean, output, show_rows
from pskernel.credentials import (
    MAX_SECRET_BYTES,
    CredentialReference,
    Index,
    Secret,
    check_user,
    delete,
    find,
    from_line,
    store,
)
from pskernel.errors import TargetError
from pskernel.questions import Question

__all__ = ["list_credentials", "remove_credential", "set_credential"]

_Name = Annotated[str, typer.Argument(metavar="NAME", help="The credential, without keyring: before it.")]


def set_credential(
    context: typer.Context,
    name: _Name,
    user: Annotated[
        str | None,
        typer.Option(help="The user it is for. Without it, a credential that is stored again keeps its user."),
    ] = None,
) -> None:
    """Store a password. It is asked for on the terminal, or read as one line from standard input."""
    if context.args:
        raise CommandError(
            "A password is never taken from the command line, where the history of the shell and other users see it. "
            "Give NAME only: the password is asked for, or read from standard input."
        )
    reference = _reference(name)
    if user is not None:
        check_user(user)
    store(reference, _read_password(reference))
    index = Index()
    try:
        aside = index.set_aside_if_broken()
        user = index.put(reference, user)
    except TargetError as error:
        raise CommandError(f"The password of {reference} is stored, but not listed. {error}") from None
    if aside is not None:
        output(error=True).print(
            f"The index of credentials was damaged: it is kept as {aside}, and a new one is begun. The passwords it "
            "listed are still in the keyring."
        )
    _say(f"Stored {reference}{f' for {user}' if user else ''}.")


def list_credentials() -> None:
    """List the credentials. For each its user, and whether the keyring still has the password."""
    index = Index()
    users = index.read()
    if not users:
        output(error=True).print("No credential is stored. `pskernel credential set NAME` stores one.")
    rows = []
    failure: TargetError | None = None
    for name, user in users.items():
        state = "unknown"
        # A keyring that failed once is not asked again: each time, it may ask its owner to unlock it.
        if failure is None:
            try:
                state = "yes" if find(CredentialReference("keyring", name)) is not None else "no"
            except TargetError as error:
                failure = error
        rows.append((name, user or "-", state))
    show_rows(("Credential", "User", "In the keyring"), rows)
    if failure is not None:
        raise failure


def remove_credential(name: _Name) -> None:
    """Remove a credential. Its password leaves the keyring, and its name the list."""
    reference = _reference(name)
    deleted = delete(reference)
    try:
        listed = Index().drop(reference)
    except TargetError as error:
        if not deleted:
            raise
        raise CommandError(f"The password of {reference} is removed, but may still be listed. {error}") from None
    if not deleted and not listed:
        raise CommandError(f"There is no credential {reference}. `pskernel credential list` shows those there are.")
    _say(f"Removed {reference}." if deleted else f"Removed {reference}; the keyring no longer had its password.")


def _reference(name: str) -> CredentialReference:
    try:
        return CredentialReference("keyring", name)
    except TargetError:
        raise CommandError("The name of a credential is 1 to 256 printable characters.") from None


def _read_password(reference: CredentialReference) -> Secret:
    """Ask twice on a terminal, where a slip would not be seen; else take one line."""
    # There is none where a service manager or a shell has closed it.
    if sys.stdin is None:
        return _filled(Secret(""))
    if not sys.stdin.isatty():
        return _read_line()
    asker = TerminalAsker()

    async def ask() -> tuple[Secret, Secret]:
        first = Secret(await asker.ask(Question(f"Password for {reference}: ")))
        return first, Secret(await asker.ask(Question("The same again: ")))

    password, again = asyncio.run(ask())
    if password.reveal() != again.reveal():
        raise CommandError("The two passwords are not the same. Nothing was stored.")
    return _filled(password)


def _read_line() -> Secret:
    line = sys.stdin.buffer.readline(MAX_SECRET_BYTES + 1)
    if len(line) > MAX_SECRET_BYTES:
        raise CommandError(f"The password is longer than {MAX_SECRET_BYTES} bytes. Nothing was stored.")
    try:
        return _filled(from_line(line))
    except UnicodeDecodeError:  # it holds the bytes
        pass
    raise CommandError("The password is not UTF-8 text. Nothing was stored.")


def _filled(password: Secret) -> Secret:
    if not password.reveal():
        raise CommandError("No password was given. Nothing was stored.")
    return password


def _say(text: str) -> None:
    output().print(clean(text))
