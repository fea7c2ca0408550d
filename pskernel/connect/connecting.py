"""From a target to an open runspace: a new one, or the one that it names."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import TYPE_CHECKING

from pskernel.connect.arriving import open_runspace
from pskernel.connect.kept import connect_by_name
from pskernel.connect.opening import open_transport
from pskernel.errors import ConnectError, TargetError
from pskernel.questions import Asker, NobodyToAsk

if TYPE_CHECKING:
    from pskernel.credentials import GivenCredential
    from pskernel.session.runspace import Runspace
    from pskernel.target import Target

__all__ = ["connect", "opener"]


async def connect(
    target: Target,
    *,
    asker: Asker | None = None,
    credential: GivenCredential | None = None,
    record_to: str | None = None,
    name: str = "",
) -> Runspace:
    """Open a runspace on a target.

    Args:
        target: where.
        asker: whom to ask for passwords and codes; None asks nobody.
        credential: the password, or where it is, if the target does not say.
        record_to: a file; what the remote sends is recorded, and written there when the runspace closes.
        name: what the session is called by a server or relay that keeps it, where the target does not say.

    Raises:
        TargetError: the target or its credential cannot be used; nothing was contacted.
        ConnectError: no session could be opened; the subclasses say why.
    """
    asker = asker or NobodyToAsk()
    if record_to is not None and target.options.keep:
        raise TargetError("A recording ends with its session. Leave out the option keep.")
    if target.options.session is not None:
        if record_to is not None:
            raise TargetError(
                "What happened in a session that is there already cannot be recorded. Leave out the option session."
            )
        return await connect_by_name(target, asker, credential=credential)
    transport = await open_transport(target, asker, credential=credential, name=name)
    if record_to is not None:
        from pskernel.transports.cassettes.recording import RecordingTransport

        transport = RecordingTransport(transport, target=target.redacted, save_to=record_to)
    return await open_runspace(transport, target, asker)


def opener(
    target: Target, *, credential: GivenCredential | None = None, record_to: str | None = None, name: str = ""
) -> Callable[[Asker], Awaitable[Runspace]]:
    """What an :class:`pskernel.session.interactive.InteractiveSession` opens its runspaces with.

    With ``record_to``, it opens one session only: a recording is of one, and a second would take its place.
    """
    recorded = False

    async def open_with(asker: Asker) -> Runspace:
        nonlocal recorded
        if recorded:
            raise ConnectError(
                f"The session on {target.label} that was recorded is over, and its recording is in {record_to}. No "
                "second session was opened, because its recording would replace that one. Record again from the start."
            )
        runspace = await connect(target, asker=asker, credential=credential, record_to=record_to, name=name)
        recorded = record_to is not None
        return runspace

    return open_with
