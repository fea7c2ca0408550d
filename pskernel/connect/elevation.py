"""From a target with sudo to how PowerShell is started there."""

from __future__ import annotations

from typing import TYPE_CHECKING

from pskernel.credentials import CredentialReference, Secret, resolve
from pskernel.questions import Asker, Question
from pskernel.transports.elevation import Elevation, Handover

if TYPE_CHECKING:
    from pskernel.target import Target

__all__ = ["elevation_of", "server_arguments"]


async def elevation_of(target: Target, asker: Asker) -> Handover:
    """What starts PowerShell. Raises TargetError: the password is not where the target says."""
    options = target.options
    elevation = Elevation(
        target.host or "this machine",
        options.sudo_program,
        options.sudo_user,
        (target.path or "pwsh") if target.scheme == "process" else options.exe,
        server_arguments(target),
        options.open_timeout,
    )
    return Handover(elevation, asker=asker, secret=await _secret(target, asker))


def server_arguments(target: Target) -> tuple[str, ...]:
    """What PowerShell gets behind -s."""
    file = target.options.configuration_file
    return (*target.options.arguments, *(() if file is None else ("-ConfigurationFile", file)))


async def _secret(target: Target, asker: Asker) -> Secret | None:
    named = target.options.sudo_credential
    reference = None if named is None else CredentialReference.parse(named)
    # It is asked for once sudo wants it, and may want none.
    if reference is None or reference.kind == "prompt":
        return None
    return await resolve(reference, asker, Question(f"Password for {target.label}: "))
