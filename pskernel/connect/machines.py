"""From a target that names a virtual machine to PowerShell in it: from the Hyper-V host itself, or through it."""

from __future__ import annotations

from typing import TYPE_CHECKING

from pskernel.errors import TargetError
from pskernel.questions import Question
from pskernel.transports.hyperv import HyperVStream, VMEndpoint, is_old_refused, open_vm, require_sockets
from pskernel.transports.machines import Machine, choose, list_machines

if TYPE_CHECKING:
    from pskernel.credentials import Secret
    from pskernel.target import Target

__all__ = ["Machine", "find_machine", "open_machine", "password_question", "require_vm_user"]


async def open_machine(target: Target, machine: Machine, user: str, secret: Secret) -> HyperVStream:
    """Log in to a machine of this host, and start PowerShell there. Raises ConnectError."""
    return await open_vm(
        VMEndpoint(
            machine.id,
            machine.name,
            user,
            secret,
            configuration=target.options.vm_configuration or "",
            refuse_old=is_old_refused(),
            timeout=target.options.connect_timeout,
        )
    )


async def find_machine(target: Target) -> Machine:
    """The machine that a target means, which runs. Raises ConnectError."""
    require_sockets()
    wanted = target.path or ""
    return choose(wanted, await list_machines(wanted, target.options.connect_timeout))


def require_vm_user(target: Target) -> str:
    """Who one is in the machine.

    Raises:
        TargetError: nothing says it. PowerShell Direct knows no login without a user and a password.
    """
    if target.user is not None:
        return target.user
    raise TargetError(
        f"Say who you are in the {target.label}: -Credential USER, or vm://USER@NAME (DOMAIN%5CUSER for a domain). "
        "A credential that was stored with a user brings it along: -Credential keyring:NAME."
    )


def password_question(target: Target, user: str) -> Question:
    """What the user is asked for the password."""
    return Question(f"Password for {user} in the {target.label}: ")
