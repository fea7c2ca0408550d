"""``%enter_pshostprocess``, ``%exit_pshostprocess`` and ``%get_pshostprocessinfo``."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from IPython.core.magic import line_magic, magics_class, no_var_expand

from pskernel.questions import Asker, NobodyToAsk
from pskernel.remoting.errors import RemotingError
from pskernel.remoting.hostprocesses import PSHostProcessInfo, PSHostProcessInfos, find_host_processes
from pskernel.remoting.loop import LOOP
from pskernel.target import Target
from pskernel.wildcards import matcher
from psmagic.base import PowerShellMagics, command_magic
from psmagic.binding import Bound
from psmagic.commands.host_process import ENTER_PSHOSTPROCESS, EXIT_PSHOSTPROCESS, GET_PSHOSTPROCESSINFO
from psmagic.pump import Pump
from psmagic.targets import ssh_target

if TYPE_CHECKING:
    from psmagic.magics import EnterMagics

__all__ = ["HostProcessMagics"]


@magics_class
class HostProcessMagics(PowerShellMagics):
    """PowerShell processes that run already: listed, entered, left."""

    def __init__(self, shell: Any, entered: EnterMagics) -> None:
        super().__init__(shell)
        self._entered = entered

    @line_magic
    @no_var_expand
    @command_magic(ENTER_PSHOSTPROCESS)
    def enter_pshostprocess(self, bound: Bound) -> None:
        """Send every following cell to a PowerShell process that runs already, until %exit_pshostprocess."""
        self._entered.require_none()
        host = _host(bound)
        self._entered.enter(self._meant(bound, host))

    @line_magic
    @no_var_expand
    @command_magic(EXIT_PSHOSTPROCESS)
    def exit_pshostprocess(self, bound: Bound) -> None:  # noqa: ARG002 - there is nothing to bind
        """Leave the process, which goes on: cells are Python's again."""
        self._entered.leave()

    @line_magic
    @no_var_expand
    @command_magic(GET_PSHOSTPROCESSINFO)
    def get_pshostprocessinfo(self, bound: Bound) -> PSHostProcessInfo | PSHostProcessInfos:
        """List the PowerShell processes that can be entered, here or at an SSH host."""
        ids = bound.get("Id") or [each.pid for each in bound.get("Process") or []]
        found = self._found(_host(bound), ids)
        names = [matcher(name)[0] for name in bound.get("Name") or []]
        chosen = PSHostProcessInfos(
            each
            for each in found
            if (not ids or each.process_id in ids) and (not names or any(is_it(each.process_name) for is_it in names))
        )
        return chosen[0] if len(chosen) == 1 else chosen

    def _meant(self, bound: Bound, host: Target | None) -> Target:
        """The process that the parameters mean."""
        pipe, info, name = bound.get("CustomPipeName"), bound.get("HostProcessInfo"), bound.get("Name")
        if pipe is not None:
            return Target.parse("pipe:" + pipe) if host is None else Target.parse(str(host), {"pipe": pipe})
        if info is None and name is not None:
            info = self._named(name, host)
        if info is not None:
            _require_domain(bound, info)
            target: Target = info.target
            return target
        pid = bound.get("Id") if bound.get("Process") is None else bound.get("Process").pid
        if pid == 0:
            raise RemotingError(
                "Cannot enter process with Id '0' because it has not loaded the PowerShell engine or the named-pipe "
                "listener was disabled.",
                "EnterPSHostProcessNoPowerShell",
            )
        if bound.get("AppDomainName") is not None:
            for each in self._found(host, [pid]):
                if each.process_id == pid:
                    _require_domain(bound, each)
        return Target.parse(f"pid:{pid}") if host is None else Target.parse(str(host), {"pid": pid})

    def _named(self, name: str, host: Target | None) -> PSHostProcessInfo:
        is_it = matcher(name)[0]
        found = [each for each in self._found(host) if is_it(each.process_name)]
        if not found:
            raise RemotingError(
                f"No process was found with Name: {name}. %get_pshostprocessinfo lists those that can be entered.",
                "EnterPSHostProcessNoProcessFoundWithName",
            )
        if len(found) > 1:
            ids = ", ".join(str(each.process_id) for each in found)
            raise RemotingError(
                f"Multiple processes were found with this name {name}. Use the process Id to specify a single process "
                f"to enter: {ids}.",
                "EnterPSHostProcessMultipleProcessesFoundWithName",
            )
        return found[0]

    def _found(self, host: Target | None, ids: list[int] | None = None) -> PSHostProcessInfos:
        pump = Pump(LOOP, interactive=self.can_ask())
        asker: Asker = pump if self.can_ask() else NobodyToAsk()
        return pump.run(find_host_processes(host, asker, ids or ()))


def _host(bound: Bound) -> Target | None:
    """The SSH host, where one is named."""
    host = bound.get("HostName")
    return None if host is None else ssh_target(bound, host)


def _require_domain(bound: Bound, info: PSHostProcessInfo) -> None:
    wanted = bound.get("AppDomainName")
    if wanted is not None and wanted.casefold() != info.app_domain_name.casefold():
        raise RemotingError(
            f"Process {info.process_id} has no application domain {wanted}; it has {info.app_domain_name}.",
            "EnterPSHostProcessCannotConnectToProcess",
        )
