"""From a session on a Hyper-V host into one of its machines: the host carries it out (``Enter-PSSession -VMId``)."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any

from pskernel.credentials import CredentialReference, resolve
from pskernel.errors import ConnectError, PipelineFailed, PSKernelError, TargetError
from pskernel.protocol.hostvalues import Login
from pskernel.protocol.hostvalues import Secret as SecureText
from pskernel.protocol.pipelines import Command
from pskernel.protocol.values import Value
from pskernel.questions import Question
from pskernel.records import ErrorRecord, HostCall, PipelineEnd
from pskernel.session.hops import whereabouts
from pskernel.session.pipeline import NO_HOST_NOW
from pskernel.transports.machines import Machine, NoMachine, choose, list_script, read_machines

if TYPE_CHECKING:
    from pskernel.credentials import Secret
    from pskernel.questions import Asker
    from pskernel.session.runspace import Runspace
    from pskernel.target import Target

__all__ = ["enter_machine"]

_LIST_SECONDS = 60.0
_MAX_SAID = 500


async def enter_machine(runspace: Runspace, target: Target, asker: Asker) -> None:
    """Let the host take the session into the machine that the option ``vm`` names.

    Args:
        runspace: open on the host.
        target: which machine, who one is there, and where the password is.
        asker: whom to ask for that.

    Raises:
        TargetError: nothing says who one is in the machine.
        ConnectError: there is no such machine, or the host does not get into it.
    """
    options = target.options
    if options.vm_user is None:
        raise TargetError(f"Say who you are in the virtual machine {options.vm}: the option vm_user.")
    try:
        async with asyncio.timeout(options.open_timeout):
            host = await whereabouts(runspace)
            if not host:
                raise ConnectError(
                    f"{target.host} does not say who it is, so it could not be told whether the virtual machine "
                    f"{options.vm} is entered. Its endpoint is a restricted one: leave the option configuration or "
                    "subsystem out."
                )
            # Before anybody is asked for a password: it has to be there, and to run.
            machine = await _find(runspace, options.vm or "", target.host or "")
        secret = await _password(target, asker)
        async with asyncio.timeout(options.open_timeout):
            said, there = await _go(runspace, machine, Login(options.vm_user, SecureText(secret.reveal())), target)
    except TimeoutError:
        raise ConnectError(
            f"{target.host} did not get into the virtual machine {options.vm} within {options.open_timeout:g} seconds."
        ) from None
    except PipelineFailed as failure:
        raise ConnectError(f"The session on {target.label} was lost at once: {failure}") from None
    if there == host:
        raise ConnectError(f"{target.host} did not get into the virtual machine {machine.name}. {said}".rstrip())
    runspace.in_front = host


async def _go(runspace: Runspace, machine: Machine, login: Login, target: Target) -> tuple[str, str]:
    """Let the host enter it. Returns what it says is wrong, and where the session is then."""
    await runspace.exchange_key()
    arguments: list[tuple[str | None, Any]] = [("-VMId:", Value(machine.id)), ("-Credential:", Value(login))]
    if target.options.vm_configuration:
        arguments.append(("-ConfigurationName:", Value(target.options.vm_configuration)))
    said = await _carry_out(runspace, Command("Enter-PSSession", tuple(arguments)))
    return said, await whereabouts(runspace)


async def _find(runspace: Runspace, wanted: str, host: str) -> Machine:
    try:
        said = await runspace.query(list_script(), timeout=_LIST_SECONDS)
    except (PipelineFailed, TimeoutError) as error:
        raise ConnectError(f"The virtual machines of {host} cannot be listed. {error}".rstrip()) from None
    machines = read_machines(str(said[0]) if len(said) == 1 else "")
    if machines is None:
        raise NoMachine(
            f"{host} is no Hyper-V host: it has no Get-VM (the Hyper-V module for PowerShell). If it is one, install "
            "that module there.",
            "HyperVModuleNotAvailable",
        )
    return choose(wanted, machines)


async def _password(target: Target, asker: Asker) -> Secret:
    options = target.options
    question = Question(f"Password for {options.vm_user} in the virtual machine {options.vm}: ")
    reference = CredentialReference.parse(options.vm_credential or "prompt")
    return await resolve(reference, asker, question)


async def _carry_out(runspace: Runspace, command: Command) -> str:
    """Run it, and return what it says is wrong."""
    said = ""
    pipeline = await runspace.invoke([[command]], ours=True)
    try:
        async for record in pipeline:
            if isinstance(record, HostCall) and record.expects_reply:
                await pipeline.refuse(record, NO_HOST_NOW)
            error = record.error if isinstance(record, PipelineEnd) else record
            if isinstance(error, ErrorRecord):
                said = said or f"{error.message} ({error.fully_qualified_error_id.partition(',')[0]})"[:_MAX_SAID]
    except PSKernelError as error:
        raise ConnectError(str(error)) from None
    finally:
        await pipeline.stop()
    return said
