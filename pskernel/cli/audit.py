"""``pskernel audit``: logs of what was run, verified and read."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import asdict
from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated, Any

import typer

from pskernel.audit import (
    Anchor,
    HmacKey,
    LogState,
    Verification,
    audit_policy,
    load_key,
    new_secret,
    read_anchor,
    read_records,
    verify,
)
from pskernel.cli.console import CommandError, clean, output, show_error, show_rows
from pskernel.credentials import CredentialReference, Index, find, store
from pskernel.errors import TargetError

__all__ = ["audit_head", "audit_key", "audit_show", "audit_verify"]

_TAMPERED = 1

_Folder = Annotated[Path, typer.Argument(metavar="DIR", help="The folder of the log.")]


def audit_verify(
    folder: _Folder,
    *,
    key: Annotated[
        str | None,
        typer.Option(
            metavar="REF",
            help="keyring:NAME, env:NAME, file:PATH or ssh:PATH (a public key will do); else the policy's.",
        ),
    ] = None,
    expect: Annotated[
        list[str] | None,
        typer.Option(
            metavar="ANCHOR", help="A record it must have, as `audit head` printed it; may be given several times."
        ),
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print one JSON object.")] = False,
) -> None:
    """Verify that a log is what was written, and all of it.

    Exits with 0 if it is, 1 if it was tampered with, and 2 if it cannot be read or its key is missing.
    """
    anchors = [Anchor.parse(text) for text in expect or ()]
    key = key or _policy_key(folder)
    found = verify(folder, None if key is None else load_key(key), anchors)
    if as_json:
        typer.echo(json.dumps(asdict(found), indent=2))
    else:
        _show(found, folder, anchors)
    raise typer.Exit(0 if found.state is LogState.GOOD else _TAMPERED)


def _policy_key(folder: Path) -> str | None:
    """The key of the log that the policy asks for: it must not pass for one that never had a key."""
    settings = audit_policy()
    return settings.key if settings is not None and settings.folder.resolve() == folder.resolve() else None


def _show(found: Verification, folder: Path, anchors: Sequence[Anchor]) -> None:
    console = output()
    for note in found.notes:
        console.print(clean(f"Note: {note}"))
    if found.state is LogState.TAMPERED:
        show_error(f"The audit log {folder} was tampered with. {found.place}: {found.problem}")
        console.print(clean(f"Good up to there: {found.records} records{f', {found.anchor}' if found.anchor else ''}."))
        return
    if found.key == "none":
        console.print(
            f"{found.records} records are as they follow from each other. They have no key: whoever may write the "
            "folder could have made them all anew."
        )
    else:
        console.print(clean(f"{found.records} records are as they were written with the key {found.key}."))
    if not anchors:
        console.print(
            "That nobody has put back an older copy of the whole folder only shows with an anchor kept elsewhere "
            "(--expect)."
        )
    console.print(f"Anchor: {found.anchor}")


def audit_head(folder: _Folder) -> None:
    """Print the anchor of a log: its last record, to be kept where nobody who may write the log can reach it."""
    typer.echo(str(read_anchor(folder)))


def audit_show(
    folder: _Folder,
    *,
    target: Annotated[str | None, typer.Option(metavar="TEXT", help="Only targets with this text in them.")] = None,
    since: Annotated[
        str | None, typer.Option(metavar="TIME", help="Only from then on: 2026-11-23 or 2026-11-23T14:00, UTC.")
    ] = None,
    state: Annotated[str | None, typer.Option(metavar="STATE", help="Only what ended so: ok, failed, ...")] = None,
) -> None:
    """Show the records of a log as a table. They are not verified: `pskernel audit verify` does."""
    begin = None if since is None else _time(since)
    rows = [
        _row(record)
        for record in read_records(folder)
        if (target is None or target.casefold() in _text(_in(record, "where", "target")).casefold())
        and (begin is None or _since(record, begin))
        and (state is None or record.get("state") == state)
    ]
    show_rows(("Record", "Time", "Who", "Target", "What", "State", "Seconds", "Text"), rows)


def _row(record: dict[str, Any]) -> tuple[str, ...]:
    kind = _text(record.get("kind"))
    what = {"cell": "cell {}", "cell-sent": "cell {} is sent"}.get(kind, kind.replace("-", " "))
    text = _text(record.get("source") or record.get("problem") or record.get("notebook") or record.get("why")).strip()
    return (
        _text(record.get("seq")),
        _text(record.get("time"))[:19].replace("T", " "),
        f"{_text(_in(record, 'who', 'user'))}@{_text(_in(record, 'who', 'host'))}",
        _text(_in(record, "where", "target")) or "-",
        what.format(_text(record.get("cell_index"))),
        _text(record.get("state")) or "-",
        _text(record.get("seconds")) or "-",
        text.split("\n", 1)[0].strip(),
    )


def _in(record: dict[str, Any], name: str, inner: str) -> object:
    value = record.get(name)
    return value.get(inner) if isinstance(value, dict) else None


def _text(value: object) -> str:
    return "" if value is None else str(value)


def _time(text: str) -> datetime:
    try:
        found = datetime.fromisoformat(text)
    except ValueError:
        raise CommandError(f"{text[:40]!r} is not a time. Write it as 2026-11-23 or 2026-11-23T14:00.") from None
    return found if found.tzinfo is not None else found.replace(tzinfo=UTC)


def _since(record: dict[str, Any], begin: datetime) -> bool:
    try:
        return _time(_text(record.get("time"))) >= begin
    except CommandError:
        return True  # what cannot be read is for whoever looks


def audit_key(
    name: Annotated[str, typer.Argument(metavar="NAME", help="The key, without keyring: before it.")],
) -> None:
    """Make a random key, and store it in the keyring of this machine."""
    try:
        reference = CredentialReference("keyring", name)
    except TargetError:
        raise CommandError("The name of a key is 1 to 256 printable characters.") from None
    if find(reference) is not None:
        raise CommandError(
            f"There is a {reference} already. A log that it seals could no longer be verified without it. Take "
            "another name."
        )
    secret = new_secret()
    store(reference, secret)
    Index().put(reference, None)
    output().print(
        clean(
            f"Stored {reference}, with the id {HmacKey(secret).id}. Whoever is to verify the log elsewhere needs it "
            "too; it is not shown."
        )
    )
