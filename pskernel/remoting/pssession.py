"""Sessions that stay open until they are removed, as New-PSSession makes them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from types import TracebackType
from typing import TYPE_CHECKING, Any, Self

from pskernel.connect import opener
from pskernel.questions import Asker
from pskernel.remoting.errors import RemotingError
from pskernel.remoting.loop import LOOP
from pskernel.render.tables import html_table, text_table
from pskernel.session.interactive import InteractiveSession

if TYPE_CHECKING:
    from collections.abc import Callable
    from uuid import UUID

    from pskernel.copying.progress import CopyResult
    from pskernel.remoting.objects import Objects
    from pskernel.target import Target

__all__ = ["PSSession", "PSSessions"]

_TRANSPORTS = {"ssh": "SSH", "process": "Process", "unix": "NamedPipe", "pid": "NamedPipe", "replay": "Recording"}
_COLUMNS = (
    "Id", "Name", "Transport", "ComputerName", "ComputerType", "State", "ConfigurationName", "Availability",
)  # fmt: skip
_GONE = "Open another one with New-PSSession; %remove_pssession takes this one from the list."


class PSSession:
    """One session. :func:`pskernel.new_pssession` opens it; :meth:`close`, or ``with``, ends it.

    The attributes are named as Python names things, and read as PowerShell's too: ``session.computer_name`` is
    ``session.ComputerName``.

    Attributes:
        id: its number in this process.
        name: its name.
        target: where it is.
        session: the interactive session, for whoever enters it.
    """

    def __init__(self, number: int, name: str, target: Target, forget: Callable[[PSSession], object]) -> None:
        self.id = number
        self.name = name
        self.target = target
        self.session = InteractiveSession(
            opener(target), target.label, self.computer_name, afterwards=_GONE, outlives_exit=True
        )
        self._instance_id: UUID | None = None
        self._closed = False
        self._users = 0
        self._forget = forget

    @property
    def computer_name(self) -> str:
        """The host, or for a local target ``localhost``."""
        return self.target.host or "localhost"

    @property
    def transport(self) -> str:
        """``SSH``, ``Process``, ``NamedPipe`` or ``Recording``."""
        return _TRANSPORTS[self.target.scheme]

    @property
    def computer_type(self) -> str:
        """``RemoteMachine``."""
        return "RemoteMachine"

    @property
    def configuration_name(self) -> str:
        """The SSH subsystem where one was chosen, else ``DefaultShell``, as PowerShell has it for such sessions."""
        chosen = self.target.options.changed()
        return self.target.options.subsystem if "subsystem" in chosen else "DefaultShell"

    @property
    def instance_id(self) -> UUID | None:
        """The runspace's id, as ``$PSSenderInfo`` and logs of the remote have it."""
        return self._instance_id

    @property
    def state(self) -> str:
        """``Opened``, ``Broken`` where the connection was lost, or ``Closed``."""
        if self._closed:
            return "Closed"
        return "Opened" if self.session.is_open else "Broken"

    @property
    def availability(self) -> str:
        """``Available``, ``Busy`` while a command runs there, or ``None``."""
        if self.state != "Opened":
            return "None"
        return "Busy" if self._users or self.session.stopped is not None else "Available"

    async def open(self, asker: Asker) -> None:
        """Open it. Belongs to the sessions' loop, as all coroutines here.

        Raises:
            ConnectError: it cannot be opened.
        """
        runspace = await self.session.ready(asker)
        self._instance_id = runspace.instance_id

    async def aclose(self) -> None:
        """End it, on the remote too."""
        self._closed = True
        self._forget(self)
        await self.session.aclose()

    def close(self) -> None:
        """End it, on the remote too: variables and what runs there are gone."""
        LOOP.run(self.aclose())

    def invoke(self, script: str, arguments: Sequence[Any] = (), *, using: Mapping[str, Any] | None = None) -> Objects:
        """Run a script and wait for its end.

        Args:
            script: PowerShell.
            arguments: its ``$args``, or the values of its ``param()``.
            using: what ``$using:name`` in it means, by name.

        Returns:
            its objects; what it wrote as text, warnings and errors are in ``streams``.

        Raises:
            RemotingError: the session is not open.
            PipelineFailed: the script ended with an error, or this side refused it.
        """
        from pskernel.remoting.invocation import invoke  # noqa: PLC0415 - which knows this class

        return LOOP.run(invoke(self, script, arguments, using or {}))

    def send(self, path: str, destination: str, *, recurse: bool = False, force: bool = False) -> CopyResult:
        """Copy files of this side to the remote: :func:`pskernel.copying.copy.send_items`, waited for."""
        return self._transfer(path, destination, to_remote=True, recurse=recurse, force=force)

    def receive(self, path: str, destination: str, *, recurse: bool = False, force: bool = False) -> CopyResult:
        """Copy files of the remote to this side: :func:`pskernel.copying.copy.receive_items`, waited for."""
        return self._transfer(path, destination, to_remote=False, recurse=recurse, force=force)

    def _transfer(self, path: str, destination: str, *, to_remote: bool, recurse: bool, force: bool) -> CopyResult:
        from pskernel.remoting.transfer import Transfer  # noqa: PLC0415 - which knows this class

        return LOOP.run(Transfer(self, [path], destination, to_remote=to_remote, recurse=recurse, force=force).run())

    def claim(self) -> None:
        """Take it for a command, which :meth:`release` ends.

        Raises:
            RemotingError: it is not open, or taken: what came next would wait, for hours perhaps.
        """
        which = f"{self.name}, {self.instance_id}, {self.computer_name}"
        if self.state != "Opened":
            raise RemotingError(
                f"Because the session state for session {which} is not equal to Open, you cannot run a command in the "
                f"session.  The session state is {self.state}.",
                "InvokeCommandCommandInvalidSessionState",
            )
        if self.availability != "Available":
            raise RemotingError(
                f"Because the session availability for session {which} is not equal to Available, you cannot run a "
                f"command in the session.  The session availability is {self.availability}.",
                "InvokeCommandCommandInvalidSessionAvailability",
            )
        self._users += 1

    def release(self) -> None:
        """The command is over."""
        self._users -= 1

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def __getattr__(self, name: str) -> Any:
        # ComputerName is computer_name: whoever writes PowerShell knows them by those names.
        ours = _python_name(name) if name in _COLUMNS or name == "InstanceId" else name
        if ours == name:
            raise AttributeError(f"A PSSession has no attribute {name!r}.")
        return getattr(self, ours)

    def __repr__(self) -> str:
        return f"[PSSession]{self.name}"

    def _repr_pretty_(self, printer: Any, cycle: bool) -> None:  # noqa: FBT001, ARG002 - IPython's signature
        printer.text(repr(PSSessions([self])))

    def _repr_html_(self) -> str:
        return PSSessions([self])._repr_html_()

    def row(self) -> list[str]:
        """What PowerShell prints of it."""
        return [str(getattr(self, name)) for name in _COLUMNS]


class PSSessions(list[PSSession]):
    """Sessions, shown as the table that Get-PSSession prints."""

    def __repr__(self) -> str:
        return text_table(_COLUMNS, [session.row() for session in self])

    def _repr_pretty_(self, printer: Any, cycle: bool) -> None:  # noqa: FBT001, ARG002 - IPython's signature
        printer.text(repr(self))

    def _repr_html_(self) -> str:
        return html_table(_COLUMNS, [session.row() for session in self])


def _python_name(name: str) -> str:
    return "".join(f"_{c.lower()}" if c.isupper() and i else c.lower() for i, c in enumerate(name))
