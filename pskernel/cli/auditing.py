"""The audit log of a run: which one, and its end."""

from __future__ import annotations

import contextlib
import hashlib
from collections.abc import Iterator
from pathlib import Path

from pskernel.audit import AuditLog, AuditSettings, audit_policy
from pskernel.cli.console import CommandError, output
from pskernel.masking import Masker
from pskernel.runbook.notebook import NotebookError

__all__ = ["audit_settings", "digest_of_file", "open_log"]


def audit_settings(folder: Path | None, key: str | None) -> AuditSettings | None:
    """The log that a run goes into: the machine's policy's, or the one that was asked for; None for none.

    Raises:
        AuditError: the policy cannot be followed.
        CommandError: a policy and a user ask for one.
    """
    policy = audit_policy()
    if folder is None:
        if key is not None:
            raise CommandError("--audit-key is for the log that --audit DIR names.")
        return policy
    if policy is not None:
        raise CommandError(
            f"This machine's policy puts runs on record in {policy.folder}. Leave --audit out: there is one log."
        )
    return AuditSettings(folder, key)


@contextlib.contextmanager
def open_log(settings: AuditSettings | None, masker: Masker | None) -> Iterator[AuditLog | None]:
    """Open the log, and say at the end what to keep of it elsewhere.

    Raises:
        AuditError: it cannot be opened; nothing must be run.
    """
    if settings is None:
        yield None
        return
    with settings.open(masker) as log:
        yield log
        # The run is over, and its status stands, whoever has closed the pipe.
        with contextlib.suppress(OSError, SystemExit):
            output().print(f"On record in {settings.folder}, up to {log.anchor}.")


def digest_of_file(path: Path) -> str:
    """SHA-256 of a file's bytes.

    Raises:
        NotebookError: it cannot be read.
    """
    try:
        return hashlib.sha256(path.read_bytes()).hexdigest()
    except OSError as error:
        raise NotebookError(f"The notebook {path} cannot be read: {error.strerror or error}.") from None
