"""PowerShell processes that can be entered, as Get-PSHostProcessInfo lists them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from pskernel.connect import find_processes
from pskernel.render.tables import html_table, text_table
from pskernel.target import Target

if TYPE_CHECKING:
    from pskernel.questions import Asker

__all__ = ["PSHostProcessInfo", "PSHostProcessInfos", "find_host_processes"]

_COLUMNS = ("ProcessName", "ProcessId", "AppDomainName", "MainWindowTitle")


@dataclass(frozen=True, slots=True, repr=False)
class PSHostProcessInfo:
    """A PowerShell process. The attributes are read as PowerShell's too: ``info.ProcessId``.

    Attributes:
        process_name: its program.
        process_id: its id.
        app_domain_name: ``None``, or on Windows ``DefaultAppDomain``.
        target: what enters it.
        main_window_title: always empty: what is asked is the pipe, and not the screen.
    """

    process_name: str
    process_id: int
    app_domain_name: str
    target: Target
    main_window_title: str = ""

    def __getattr__(self, name: str) -> Any:
        # ProcessId is process_id: whoever writes PowerShell knows them by those names.
        if name not in _COLUMNS:
            raise AttributeError(f"A PSHostProcessInfo has no attribute {name!r}.")
        return self.row()[_COLUMNS.index(name)] if name != "ProcessId" else self.process_id

    def __repr__(self) -> str:
        return repr(PSHostProcessInfos([self]))

    def _repr_html_(self) -> str:
        return PSHostProcessInfos([self])._repr_html_()

    def row(self) -> Sequence[str]:
        """What PowerShell prints of it."""
        return self.process_name, str(self.process_id), self.app_domain_name, self.main_window_title


class PSHostProcessInfos(list[PSHostProcessInfo]):
    """Processes, shown as the table that Get-PSHostProcessInfo prints."""

    def __repr__(self) -> str:
        return text_table(_COLUMNS, [info.row() for info in self])

    def _repr_pretty_(self, printer: Any, cycle: bool) -> None:  # noqa: FBT001, ARG002 - IPython's signature
        printer.text(repr(self))

    def _repr_html_(self) -> str:
        return html_table(_COLUMNS, [info.row() for info in self])


async def find_host_processes(host: Target | None, asker: Asker, ids: Sequence[int] = ()) -> PSHostProcessInfos:
    """The PowerShell processes of this machine, or of an SSH host, that this user can enter.

    Args:
        host: an ``ssh://`` target; None is this machine.
        asker: whom to ask for passwords there.
        ids: looked for also in the temporary folders of these processes.

    Raises:
        ConnectError: they cannot be looked for.
    """
    found = await find_processes(host, asker, ids)
    return PSHostProcessInfos(
        PSHostProcessInfo(each.name, each.pid, each.domain, _target(host, each.pid)) for each in found
    )


def _target(host: Target | None, pid: int) -> Target:
    return Target.parse(f"pid:{pid}") if host is None else Target.parse(str(host), {"pid": pid})
