"""Sessions that the other end keeps: which there are, and how to come to one."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import replace
from typing import TYPE_CHECKING

from pskernel.connect import opening
from pskernel.connect.arriving import open_runspace, pool_settings
from pskernel.errors import ConnectError, TargetError
from pskernel.records import Notice
from pskernel.session.runspace import Runspace

if TYPE_CHECKING:
    from pskernel.connect.relays import FoundRelay, Relays
    from pskernel.credentials import GivenCredential
    from pskernel.questions import Asker
    from pskernel.target import Target
    from pskernel.transports.base import KeptPool, Transport
    from pskernel.transports.durable.pool import DurablePool

__all__ = ["connect_by_name", "end_relay", "end_session", "find_relays", "find_shells", "keeps_by_relay", "reopen"]


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
    """The relays of the user of ``target``; ``clean`` as :meth:`Relays.known` has it.

    Raises:
        TargetError, ConnectError: as :func:`pskernel.connect.connect`.
    """
    async with _relays(target, asker, credential) as there:
        return await there.known(clean=clean)


async def end_relay(target: Target, session: str, asker: Asker) -> None:
    """End a relay, of whatever version, and what runs in it.

    Args:
        target: where.
        session: the relay's own id of it.
        asker: whom to ask for passwords.

    Raises:
        TargetError, ConnectError: as :func:`pskernel.connect.connect`; or it does not end.
    """
    async with _relays(target, asker) as there:
        if session not in await there.end(session):
            raise ConnectError(f"The relay of the session {session} on {target.label} could not be ended.")


@asynccontextmanager
async def _relays(target: Target, asker: Asker, credential: GivenCredential | None = None) -> AsyncIterator[Relays]:
    from pskernel.connect.durable import plain
    from pskernel.connect.relays import Relays

    stream = await opening.open_stream(plain(target), asker, credential=credential)
    there = await Relays.at(stream, target.options.open_timeout)
    try:
        yield there
    finally:
        await there.aclose()


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
        options = replace(target.options, durable=True, session=None, take_over=False)
        there = replace(target, options=options)
        pool = await opening.open_durable_pool(there, asker, credential, pool_id=shell.pool_id, take_over=take_over)
        return await _attach(pool, there)
    transport = await opening.open_transport(target, asker, credential=credential)
    return await Runspace.attach(
        transport,
        shell.pool_id,
        shell.running or (),
        settings=pool_settings(target),
        open_timeout=target.options.open_timeout,
    )


async def connect_by_name(target: Target, asker: Asker, *, credential: GivenCredential | None = None) -> Runspace:
    """Come back to the session that a target names, or open it. Which of the two it was is the first thing it tells.

    Raises:
        TargetError, ConnectError: as :func:`pskernel.connect.connect`.
    """
    name, label = target.options.session or "", target.label
    found = await _come_back(target, asker, credential)
    if isinstance(found, Runspace):
        runspace = found
        news = f"Back in the session {name} on {label}, with the variables and the location that it has."
    else:
        runspace = await open_runspace(found, target, asker)
        news = f"There was no session {name} on {label}: a new one was opened."
    runspace.was_there = runspace is found
    runspace.idle.add(Notice(news))
    return runspace


async def _come_back(target: Target, asker: Asker, credential: GivenCredential | None) -> Runspace | Transport:
    """The session that a target names, or the way to a new one."""
    from pskernel.transports.durable.pool import DurablePool

    if target.is_winrm:
        shell = await _find_named(target, asker, credential)
        if shell is not None:
            return await reopen(target, shell, asker, credential=credential)
    transport = await opening.open_transport(target, asker, credential=credential, name=target.options.session or "")
    if isinstance(transport, DurablePool) and transport.is_anothers:
        return await _attach(transport, target)
    return transport


async def _attach(pool: DurablePool, target: Target) -> Runspace:
    """Come to the session that a relay keeps already. Raises as :func:`reopen`."""
    if pool.found is None:
        pool.leaves = True
        await pool.aclose()
        raise ConnectError("The client that began the session was gone before it was open. Nothing comes back to it.")
    settings = pool_settings(target)
    return await Runspace.attach(pool, *pool.found, settings=settings, open_timeout=target.options.open_timeout)


async def _find_named(target: Target, asker: Asker, credential: GivenCredential | None) -> KeptPool | None:
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


async def end_session(target: Target, shell: KeptPool, asker: Asker, *, take_over: bool = False) -> None:
    """End a session that is kept there, and what runs in it.

    Raises:
        PSKernelError: as :func:`reopen`; or it is there all the same.
    """
    runspace = await reopen(target, shell, asker, take_over=take_over)
    if keeps_by_relay(target):
        await runspace.give_up("It was to end.")
    else:
        await runspace.aclose()
    if any(each.pool_id == shell.pool_id for each in await find_shells(target, asker)):
        raise ConnectError(f"The session {shell.name or shell.pool_id} on {target.label} did not end.")
