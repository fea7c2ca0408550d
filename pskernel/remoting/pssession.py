"""Sessions that stay open until they are removed, as New-PSSession makes them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime
from types import TracebackType
from typing import TYPE_CHECKING, Any, Self

from pskernel.questions import NobodyToAsk
from pskernel.remoting import leaving
from pskernel.remoting.invocation import invoke
from pskernel.remoting.listed import ListedSession
from pskernel.remoting.loop import LOOP
from pskernel.remoting.transfer import Transfer
from pskernel.render.tables import html_table, text_table

if TYPE_CHECKING:
    from pskernel.copying.progress import CopyResult
    from pskernel.remoting.objects import Objects

__all__ = ["PSSession", "PSSessions"]

_COLUMNS = (
    "Id", "Name", "Transport", "ComputerName", "ComputerType", "State", "ConfigurationName", "Availability",
)  # fmt: skip
# Of durable sessions that were found at their hosts. PowerShell knows the second, and does not print it in the table.
_FOUND = ("Client", "DisconnectedOn")


class PSSession(ListedSession):
    """One session. :func:`pskernel.new_pssession` opens it; :meth:`close`, or ``with``, ends it.

    The attributes are named as Python names things, and read as PowerShell's too: ``session.computer_name`` is
    ``session.ComputerName``.
    """

    def close(self) -> None:
        """End it, on the remote too: variables and what runs there are gone.

        Raises:
            RemotingError: it was left to its server, which cannot be reached. It stays in the list.
        """
        LOOP.run(leaving.remove(self, NobodyToAsk()))

    def disconnect(self) -> None:
        """Leave it, and what runs in it, to its server, or to the relay of a durable session.

        Raises:
            RemotingError: it is not open, or ends with its connection.
        """
        LOOP.run(leaving.disconnect(self))

    def connect(self, *, take_over: bool = False) -> None:
        """Come back to it.

        Args:
            take_over: whether another client, which has a durable session still, loses it.

        Raises:
            RemotingError: it is not there any more, or another client has it.
        """
        LOOP.run(leaving.connect(self, NobodyToAsk(), take_over=take_over))

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
        return LOOP.run(invoke(self, script, arguments, using or {}))

    def send(self, path: str, destination: str, *, recurse: bool = False, force: bool = False) -> CopyResult:
        """Copy files of this side to the remote: :func:`pskernel.copying.copy.send_items`, waited for."""
        return self._transfer(path, destination, to_remote=True, recurse=recurse, force=force)

    def receive(self, path: str, destination: str, *, recurse: bool = False, force: bool = False) -> CopyResult:
        """Copy files of the remote to this side: :func:`pskernel.copying.copy.receive_items`, waited for."""
        return self._transfer(path, destination, to_remote=False, recurse=recurse, force=force)

    def _transfer(self, path: str, destination: str, *, to_remote: bool, recurse: bool, force: bool) -> CopyResult:
        return LOOP.run(Transfer(self, [path], destination, to_remote=to_remote, recurse=recurse, force=force).run())

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def __getattr__(self, name: str) -> Any:
        # ComputerName is computer_name: whoever writes PowerShell knows them by those names.
        ours = _python_name(name) if name in (*_COLUMNS, *_FOUND, "InstanceId") else name
        if ours == name:
            raise AttributeError(f"A PSSession has no attribute {name!r}.")
        return getattr(self, ours)

    def __repr__(self) -> str:
        return f"[PSSession]{self.name}"

    def _repr_pretty_(self, printer: Any, cycle: bool) -> None:  # noqa: FBT001, ARG002 - IPython's signature
        printer.text(repr(PSSessions([self])))

    def _repr_html_(self) -> str:
        return PSSessions([self])._repr_html_()

    def row(self, columns: Sequence[str] = _COLUMNS) -> list[str]:
        """What PowerShell prints of it, or other columns."""
        return [_text(getattr(self, name)) for name in columns]


class PSSessions(list[PSSession]):
    """Sessions, shown as the table that Get-PSSession prints; those that were found at a host with who has them."""

    def __repr__(self) -> str:
        return text_table(self._columns, [session.row(self._columns) for session in self])

    @property
    def _columns(self) -> Sequence[str]:
        return (*_COLUMNS, *_FOUND) if any(session.client for session in self) else _COLUMNS

    def _repr_pretty_(self, printer: Any, cycle: bool) -> None:  # noqa: FBT001, ARG002 - IPython's signature
        printer.text(repr(self))

    def _repr_html_(self) -> str:
        return html_table(self._columns, [session.row(self._columns) for session in self])


def _text(value: object) -> str:
    if isinstance(value, datetime):
        return value.isoformat(" ", "seconds")[:19]
    return "" if value is None else str(value)


def _python_name(name: str) -> str:
    return "".join(f"_{c.lower()}" if c.isupper() and i else c.lower() for i, c in enumerate(name))
