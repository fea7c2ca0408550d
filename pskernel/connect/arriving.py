"""From a transport that leads to a target to a runspace where the target says it is to be."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

from pskernel.errors import ConnectError, PSKernelError
from pskernel.protocol.pipelines import Screen
from pskernel.protocol.runspace import PoolSettings
from pskernel.session.runspace import Runspace

if TYPE_CHECKING:
    from pskernel.questions import Asker
    from pskernel.target import Target
    from pskernel.transports.base import Transport

__all__ = ["arrive", "open_runspace", "pool_settings"]


async def open_runspace(transport: Transport, target: Target, asker: Asker) -> Runspace:
    """Open a runspace by a transport that leads to the target. Raises as :func:`pskernel.connect.connect`."""
    runspace = await Runspace.open(transport, settings=pool_settings(target), open_timeout=target.options.open_timeout)
    await arrive(runspace, target, asker)
    return runspace


def pool_settings(target: Target) -> PoolSettings:
    """What the target says of its pools."""
    return PoolSettings(
        Screen(width=target.options.width),
        target.options.max_received_object,
        json.loads(target.options.application_arguments or "{}"),
    )


async def arrive(runspace: Runspace, target: Target, asker: Asker) -> None:
    """Do what is left when a runspace is open: look at the process that answers, or go on into a virtual machine.

    Args:
        runspace: open; closed here if it does not get there.
        target: where it is to be.
        asker: whom to ask for the password of a virtual machine.

    Raises:
        TargetError, ConnectError: as :func:`pskernel.connect.connect`.
    """
    try:
        if target.options.pid is not None:
            await _require_process(runspace, target.options.pid)
        if target.options.vm is not None:
            from pskernel.connect.throughhost import enter_machine

            await enter_machine(runspace, target, asker)
    except BaseException:
        await runspace.aclose()
        raise


async def _require_process(runspace: Runspace, pid: int) -> None:
    """A server's socket was found by its name, which proves nothing."""
    try:
        found = await runspace.query("$PID")
    except (PSKernelError, TimeoutError) as error:
        raise ConnectError(f"What listens on the socket of process {pid} does not say who it is. {error}") from None
    if found != [pid]:
        whose = f"process {found[0]}" if len(found) == 1 else "another process"
        raise ConnectError(f"The socket that carries the id {pid} in its name is that of {whose}.")
