"""Sessions that the other end keeps: which there are, and how to come to one."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, TypeGuard

from pskernel.connect import opening
from pskernel.errors import ConnectError, TargetError
from pskernel.session.runspace import Runspace

if TYPE_CHECKING:
    from uuid import UUID

    from pskernel.connect.relays import FoundRelay
    from pskernel.credentials import GivenCredential
    from pskernel.questions import Asker
    from pskernel.target import Target
    from pskernel.transports.base import KeptPool, Transport
    from pskernel.transports.durablepool import DurablePool

__all__ = [
    "attach",
    "end_session",
    "find_named",
    "find_relays",
    "find_shells",
    "keeps_by_relay",
    "leads_back",
    "reopen",
]


def keeps_by_relay(target: Target) -> bool:
    """Whether relays may keep sessions there, and not a server."""
    return target.scheme in ("ssh", "process", "container")


async def find_shells(target: Target, asker: Asker, *, credential: GivenCredential | None = None) -> list[KeptPool]:
    """The sessions that the WinRM server of ``target`` keeps, or that relays of its user do.

    Raises:
        TargetError, ConnectError: as :func:`pskernel.connect.connect`.
    """
    if keeps_by_relay(target):
        relays = await find_relays(target, asker, credential=credential)
        return [relay.pool for relay in relays if relay.pool is not None]
    if not target.is_winrm:
        raise TargetError(f"{target.label} keeps no sessions.")
    winrm, endpoint = await opening.endpoint_of(target, asker, credential)
    found: list[KeptPool] = await winrm.list_shells(endpoint)
    return found


async def find_relays(
    target: Target, asker: Asker, *, credential: GivenCredential | None = None, clean: bool = False
) -> list[FoundRelay]:
    """The relays of the user of ``target``; ``clean`` removes what dead ones have left.

    Raises:
        TargetError, ConnectError: as :func:`pskernel.connect.connect`.
    """
    from pskernel.connect.durable import list_relays, plain

    stream = await opening.open_stream(plain(target), asker, credential=credential)
    return await list_relays(stream, target.options.open_timeout, clean=clean)


async def reopen(
    target: Target,
    shell: KeptPool,
    asker: Asker,
    *,
    credential: GivenCredential | None = None,
    take_over: bool = False,
) -> Runspace:
    """Come to a session that is kept there.

    Args:
        target: where.
        shell: which one.
        asker: whom to ask for passwords.
        credential: the password, or where it is, if the target does not say.
        take_over: whether another client, which has it still, loses it.

    Raises:
        TargetError, ConnectError: as :func:`pskernel.connect.connect`.
        PoolGone: it is not there any more.
    """
    if keeps_by_relay(target):
        there = replace(target, options=replace(target.options, durable=True, session=None, take_over=False))
        pool = await opening.open_durable_pool(there, asker, credential, pool_id=shell.pool_id, take_over=take_over)
        return await attach(pool, there)
    transport = await opening.open_transport(target, asker, credential=credential)
    return await Runspace.attach(
        transport, shell.pool_id, shell.running or (), open_timeout=target.options.open_timeout
    )


def leads_back(transport: Transport) -> TypeGuard[DurablePool]:
    """Whether it leads to a relay that keeps a session already."""
    from pskernel.transports.durablepool import DurablePool

    return isinstance(transport, DurablePool) and transport.found is not None


async def attach(pool: DurablePool, target: Target) -> Runspace:
    """Come to the session that a relay keeps already. Raises as :func:`reopen`."""
    if pool.found is None:
        await pool.aclose()
        raise ConnectError("The client that began the session was gone before it was open. Nothing comes back to it.")
    return await Runspace.attach(pool, *pool.found, open_timeout=target.options.open_timeout)


async def find_named(target: Target, asker: Asker, *, credential: GivenCredential | None = None) -> KeptPool | None:
    """The session of a WinRM server that a target names; None if there is none.

    Raises:
        ConnectError: there are several, or another client has it.
    """
    name = target.options.session
    found = [shell for shell in await find_shells(target, asker, credential=credential) if shell.name == name]
    if len(found) > 1:
        ids = ", ".join(str(shell.pool_id) for shell in found)
        raise ConnectError(f"There are several sessions named {name} on {target.label}: {ids}.")
    if found and found[0].connected:
        raise ConnectError(
            f"Another client has the session {name} on {target.label}, and the server gives it to nobody else while "
            "that one is connected."
        )
    return found[0] if found else None


async def end_session(target: Target, pool_id: UUID, asker: Asker) -> None:
    """End a session that is kept there, whoever has it. Raises as :func:`reopen`."""
    shells = await find_shells(target, asker)
    shell = next((each for each in shells if each.pool_id == pool_id), None)
    if shell is None:
        raise ConnectError(f"There is no session {pool_id} on {target.label}.")
    runspace = await reopen(target, shell, asker, take_over=True)
    await runspace.aclose()
