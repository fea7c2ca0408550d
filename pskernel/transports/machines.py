"""The virtual machines of this Hyper-V host, and the one that is meant.

All are listed, by Windows PowerShell, and chosen from here: so no name ever gets into a script, and an error can say
what there is.
"""

from __future__ import annotations

import asyncio
import json
import os
import re
from collections.abc import Sequence
from dataclasses import dataclass
from importlib import resources
from pathlib import Path
from typing import Final
from urllib.parse import quote
from uuid import UUID

from pskernel.errors import TargetUnreachable, TransportClosed
from pskernel.transports.process import Child, ProcessStream, start
from pskernel.transports.streams import plain_text

__all__ = ["Machine", "NoMachine", "choose", "list_machines", "list_script", "read_machines"]

# Where Windows has it. It is not looked for: the current directory, which is searched too, is a notebook's.
_PROGRAM: Final = "System32/WindowsPowerShell/v1.0/powershell.exe"
_SHOWN: Final = 10
# A host with thousands of machines.
_MAX_ANSWER: Final = 8_000_000
_MAX_NAME: Final = 256
_ID = re.compile(r"[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}", re.IGNORECASE)
_QUOTES = re.compile("['\u2018\u2019\u201a\u201b]")


class NoMachine(TargetUnreachable):
    """There is no such machine, or none that runs, or nobody can tell. ``error_id``: PowerShell's."""

    def __init__(self, message: str, error_id: str) -> None:
        super().__init__(message)
        self.error_id = error_id


@dataclass(frozen=True, slots=True)
class Machine:
    """One of the host's."""

    id: UUID
    name: str
    state: str

    def __str__(self) -> str:
        return f"{self.name} ({self.id}, {self.state})"


async def list_machines(wanted: str, timeout: float) -> list[Machine]:  # noqa: ASYNC109 - what the program is given
    """The machines of this host.

    Args:
        wanted: the name or id that is looked for, for messages.
        timeout: seconds for the answer.

    Raises:
        NoMachine: this is no Hyper-V host, or it does not tell.
    """
    root = os.environ.get("SYSTEMROOT", "")
    program = Path(root) / _PROGRAM
    if not root or not program.is_file():
        raise _no_hyperv(wanted)
    child = Child(program.name)
    await start([str(program), "-NoLogo", "-NoProfile", "-NonInteractive", "-Command", list_script()], child)
    try:
        async with asyncio.timeout(timeout):
            answer = await _all_of(ProcessStream(child))
            await child.exited.wait()
    except TimeoutError:
        raise NoMachine(
            f"{program.name} did not list the virtual machines within {timeout:g} seconds. Try Get-VM by hand.",
            "CreateRemoteRunspaceForVMFailed",
        ) from None
    finally:
        await child.end(patience=0)
    if child.status and not answer:
        raise _refused(child.tail.text() or f"status {child.status}", program.name)
    machines = read_machines(answer)
    if machines is None:
        raise _no_hyperv(wanted)
    return machines


def list_script() -> str:
    """PowerShell that lists the machines of the host it runs on, for :func:`read_machines`."""
    return resources.files("pskernel.transports").joinpath("scripts", "machines.ps1").read_text("utf-8")


def choose(wanted: str, machines: Sequence[Machine]) -> Machine:
    """The one that is meant: by its id, or by its name in any case, letter by letter as PowerShell compares.

    Raises:
        NoMachine: there is none, or there are several, or it does not run.
    """
    if _ID.fullmatch(wanted):
        found = [each for each in machines if each.id == UUID(wanted)]
    else:
        found = [each for each in machines if each.name.lower() == wanted.lower()]
    if len(found) > 1:
        raise NoMachine(
            f"The input VMName parameter resolves to multiple virtual machines. {wanted} is the name of: "
            f"{_listed(found)}. Give the id instead.",
            "InvalidVMNameMultipleVM",
        )
    if not found:
        raise _missing(wanted, machines)
    machine = found[0]
    if machine.state != "Running":
        raise NoMachine(
            f"The virtual machine {machine.name} is not in running state. Its state is {machine.state}. Nothing was "
            "started; start it (Start-VM), and try again.",
            "InvalidVMState",
        )
    return machine


async def _all_of(stream: ProcessStream) -> bytes:
    answer = bytearray()
    try:
        while data := await stream.receive():
            answer += data
            if len(answer) > _MAX_ANSWER:
                raise _unreadable(f"more than {_MAX_ANSWER:,} bytes")
    except TransportClosed:  # how it ended is in its status
        pass
    return bytes(answer)


def read_machines(answer: bytes | str) -> list[Machine] | None:
    """Read what the script said; None from a host without Hyper-V's commands.

    Raises:
        NoMachine: the host does not tell.
    """
    try:
        found = json.loads(answer)
        if found is None:
            return None
        if isinstance(found, dict):
            raise _refused(plain_text(str(found["error"])), "Get-VM")
        return [
            Machine(UUID(each["id"]), plain_text(str(each["name"]))[:_MAX_NAME], plain_text(str(each["state"]))[:40])
            for each in found
        ]
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError):
        raise _unreadable(repr(answer[:200])) from None


def _refused(said: str, who: str) -> NoMachine:
    return NoMachine(
        f"The virtual machines of this host cannot be listed. {who} says: {said[:500]}",
        "CreateRemoteRunspaceForVMFailed",
    )


def _unreadable(what: str) -> NoMachine:
    return NoMachine(f"The list of virtual machines cannot be read: {what}.", "CreateRemoteRunspaceForVMFailed")


def _no_hyperv(wanted: str) -> NoMachine:
    through = f"winrm://HOST?vm={quote(wanted, safe='')}"
    return NoMachine(
        "The Hyper-V Module for PowerShell is not available on this machine. A virtual machine is entered from its "
        f"Hyper-V host: go through that host, with {through}, or enter it (%enter_pssession HOST, or a kernel for "
        f"winrm://HOST) and run Enter-PSSession {_parameter(wanted)} in a cell of its own.",
        "HyperVModuleNotAvailable",
    )


def _parameter(wanted: str) -> str:
    """As it is written in PowerShell, which takes five characters for a single quote."""
    name = "VMId" if _ID.fullmatch(wanted) else "VMName"
    if re.fullmatch(r"[A-Za-z0-9_][A-Za-z0-9_.-]*", wanted):
        return f"-{name} {wanted}"
    return f"-{name} '{_QUOTES.sub(lambda found: found[0] * 2, wanted)}'"


def _missing(wanted: str, machines: Sequence[Machine]) -> NoMachine:
    # Without the rights, Get-VM says nothing, and finds nothing.
    has = (
        f"This host has: {_listed(machines)}."
        if machines
        else "Get-VM finds none at all: that takes an administrator, or a member of Hyper-V Administrators."
    )
    if _ID.fullmatch(wanted):
        text = "The input VMId parameter does not resolve to a single virtual machine."
        return NoMachine(f"{text} No virtual machine has the id {wanted}. {has}", "InvalidVMId")
    text = "The input VMName parameter does not resolve to any virtual machine."
    return NoMachine(f"{text} None is called {wanted}. {has}", "InvalidVMNameNoVM")


def _listed(machines: Sequence[Machine]) -> str:
    more = f" and {len(machines) - _SHOWN} more" if len(machines) > _SHOWN else ""
    return ", ".join(map(str, machines[:_SHOWN])) + more
