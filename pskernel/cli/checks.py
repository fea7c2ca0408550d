"""What ``pskernel doctor`` looks at, step by step: each a small function that finds something or raises."""

from __future__ import annotations

import asyncio
import os
import statistics
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Final

from pskernel.cli import network, winrm
from pskernel.cli.console import clean
from pskernel.connect import arrive, open_transport
from pskernel.connect.containers import Container, ask_engine, find_container
from pskernel.connect.machines import find_machine
from pskernel.connect.processes import CannotAttach, describe_process
from pskernel.errors import (
    ConnectError,
    ElevationFailed,
    HostKeyRejected,
    NotPowerShell,
    PSKernelError,
    TargetError,
    TargetUnreachable,
)
from pskernel.questions import Asker
from pskernel.records import HostCall, Notice, PipelineState
from pskernel.resolve import TARGET_VARIABLE, resolve
from pskernel.session.endpoint import list_commands, read_language_mode
from pskernel.session.interactive import InteractiveSession
from pskernel.session.runspace import Runspace
from pskernel.target import SCHEMES, Target

__all__ = ["State", "Step", "Visit", "examine"]

# For targets on this machine: longer than anything that works takes.
_CONNECT_SECONDS = 30.0
_CELLS = 5
_CELL_SECONDS = 20.0
_SHOWN_LINES = 5
_SHOWN_COMMANDS = 30
_NO_PROMPTS = "pskernel doctor answers no prompts."
_JUNK_ADVICE = (
    "Something there writes to standard output before PowerShell starts: most often an echo in the login shell's "
    "start-up files (~/.bashrc) or a ForceCommand of sshd. It does not reach cells, but take it away."
)


class State(StrEnum):
    """How a step ended."""

    OK = "ok"
    WARNING = "warning"
    FAILED = "failed"
    SKIPPED = "skipped"


@dataclass(frozen=True, slots=True)
class Step:
    """One step of the examination: its name, how it ended, the seconds it took, and what there is to say."""

    name: str
    state: State
    seconds: float
    lines: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class _Finding:
    lines: tuple[str, ...]
    state: State = State.OK


@dataclass(slots=True)
class Visit:
    """What is examined, and what the steps so far have opened.

    Attributes:
        text: the target as it was given; None leaves it to PSKERNEL_TARGET.
        options: options by name.
        asker: whom to ask for passwords.
    """

    text: str | None
    options: Mapping[str, str]
    asker: Asker
    target: Target | None = None
    route: network.Route | None = None
    containers: list[Container] = field(default_factory=list)
    opening: Callable[[], Awaitable[Runspace]] | None = None
    drop: Callable[[], Awaitable[None]] | None = None
    runspace: Runspace | None = None
    notices: list[str] = field(default_factory=list)

    async def aclose(self) -> None:
        """Close what was opened."""
        if self.runspace is not None:
            await self.runspace.aclose()
        elif self.drop is not None:
            await self.drop()


async def examine(visit: Visit) -> AsyncIterator[Step]:
    """Go through the steps that apply to the target, up to and with the first that fails."""
    for name, schemes, check in _STEPS:
        if visit.target is not None and visit.target.scheme not in schemes:
            continue
        began = time.monotonic()
        shown = name
        try:
            finding = await check(visit)
        except PSKernelError as error:
            shown = _stage(name, error)
            finding = _Finding((str(error), *_advice(shown, visit)), State.FAILED)
        yield Step(shown, finding.state, round(time.monotonic() - began, 3), tuple(map(clean, finding.lines)))
        if finding.state is State.FAILED:
            return


def _stage(name: str, error: PSKernelError) -> str:
    """Where in the login it failed: the one step does what are several to people."""
    if isinstance(error, ElevationFailed):
        return "sudo"
    if name != "login":
        return name
    stages = {
        TargetError: "settings",
        TargetUnreachable: "connection",
        HostKeyRejected: "host key",
        NotPowerShell: "subsystem",
    }
    if isinstance(error, CannotAttach):
        return "process"
    return next((stage for kind, stage in stages.items() if isinstance(error, kind)), name)


def _advice(stage: str, visit: Visit) -> tuple[str, ...]:
    if stage != "runspace" or visit.target is None:
        return ()
    advice = _RUNSPACE_ADVICE.get("sudo" if visit.target.options.sudo else visit.target.scheme)
    return () if advice is None else (advice,)


_RUNSPACE_ADVICE: Final = {
    "ssh": "The login worked, so look at what the server starts: the line Subsystem in its sshd_config must run "
    "PowerShell 7 as in: Subsystem powershell /usr/bin/pwsh -sshs -NoLogo -NoProfile",
    "sudo": "Check that the program is PowerShell 7 (exe), and what it is given (arguments, configuration_file).",
    "winrm": "Over HTTP, the host must be of your domain (Kerberos), or NTLM be allowed for the account. TrustedHosts "
    "is a setting of Windows' own client, and means nothing here.",
    "winrm+https": "Name the authority of the certificate with ca_file, or vouch for it with accept_certificate and "
    "the fingerprint above, once you have compared it on the server.",
    "process": "Check that the program is PowerShell 7 (pwsh), and the option arguments if you changed it.",
    "unix": "Check that the socket belongs to a PowerShell 7 process.",
    "pid": "Check that the process is PowerShell 7.",
    "pipe": "Check that the pipe belongs to a PowerShell 7 process.",
}


async def _read_target(visit: Visit) -> _Finding:
    visit.target = resolve(visit.text, os.environ, None, visit.options)
    if visit.target is None:
        raise TargetError(
            f"Nothing says where PowerShell is. Name the target, as in ssh://admin@web01, or set {TARGET_VARIABLE}."
        )
    return _Finding((visit.target.redacted,))


async def _find_name(visit: Visit) -> _Finding:
    target = _target(visit)
    visit.route = route = await network.find_route(target)
    if route.jump:
        return _Finding(
            (f"{target.host} is reached through {route.jump}: its name is looked up there.",), State.SKIPPED
        )
    addresses = await network.look_up(route, target.options.connect_timeout)
    alias = f"{target.host} is {route.host} in the ssh configuration; " if route.host != target.host else ""
    return _Finding((f"{alias}{route.host} has the address {', '.join(addresses)}",))


async def _knock(visit: Visit) -> _Finding:
    route = visit.route
    if route is None or route.jump:
        return _Finding(("The port is reached from the host before it.",), State.SKIPPED)
    address, software = await network.knock(route, _target(visit).options.connect_timeout)
    return _Finding((f"{address}, port {route.port}, answers: {software}",))


async def _ask_service(visit: Visit) -> _Finding:
    target = _target(visit)
    if target.options.proxy != "none":
        return _Finding(("It is reached through a proxy, and asked with the login only.",), State.SKIPPED)
    service = await winrm.find(target, target.options.connect_timeout)
    lines = [
        f"{', '.join(service.addresses)} answers as {service.server or 'a server without a name'}.",
        f"It offers {', '.join(service.schemes) or 'no way to log in'} (HTTP status {service.status}).",
    ]
    if service.fingerprint:
        lines.append(f"The SHA-256 fingerprint of its certificate is {service.fingerprint}.")
    warnings = winrm.advice(target, service)
    return _Finding((*lines, *warnings), State.WARNING if warnings else State.OK)


async def _ask_engine(visit: Visit) -> _Finding:
    engine, visit.containers = await ask_engine(_target(visit))
    return _Finding((f"{engine} answers.",))


async def _find_container(visit: Visit) -> _Finding:
    found = find_container(_target(visit), visit.containers)
    return _Finding((f"It is {found.name}: {found.status}.",))


async def _find_machine(visit: Visit) -> _Finding:
    found = await find_machine(_target(visit))
    return _Finding((f"It is {found}.",))


async def _find_process(visit: Visit) -> _Finding:
    return _Finding(await describe_process(_target(visit)))


async def _log_in(visit: Visit) -> _Finding:
    target = _target(visit)
    options = target.options
    news = await _reach(visit, None)
    begun = f"the subsystem {options.subsystem} was started"
    if options.sudo:
        begun = f"{options.exe} as {options.sudo_user} by {options.sudo_program} was started"
    elif target.is_attached:
        begun = f"the socket of {target.label} was found and opened; PowerShell answers there"
    good = f"The host key is known, the login was accepted, and {begun}."
    return _Finding((*news, good))


async def _connect(visit: Visit) -> _Finding:
    target = _target(visit)
    # sudo may wait for somebody to type a password, and has a limit of its own.
    await _reach(visit, None if target.options.sudo else _CONNECT_SECONDS)
    if target.is_winrm:
        return _Finding(("It is made with the login, when the runspace is opened.",), State.SKIPPED)
    return _Finding((f"Connected to {target.label}.",))


async def _reach(visit: Visit, seconds: float | None) -> list[str]:
    """Connect, within ``seconds`` unless the transport sees to that. Returns what the user should know of it."""
    target = _target(visit)
    news: list[str] = []
    try:
        async with asyncio.timeout(seconds):
            transport = await open_transport(target, visit.asker, tell=news.append)
    except TimeoutError:
        raise TargetUnreachable(
            f"There was no connection to {target.label} within {seconds:g} seconds. What is there does not answer, or "
            "this machine is overloaded."
        ) from None
    visit.drop = transport.aclose
    visit.opening = lambda: Runspace.open(transport, open_timeout=target.options.open_timeout)
    return news


async def _open_runspace(visit: Visit) -> _Finding:
    assert visit.opening is not None  # noqa: S101 - the step before made it
    visit.runspace = await visit.opening()
    visit.notices = [record.text for record in visit.runspace.idle.take() if isinstance(record, Notice)]
    found = f"Its id is {visit.runspace.instance_id}."
    await arrive(visit.runspace, _target(visit), visit.asker)
    if _target(visit).options.vm is not None:
        return _Finding((found, f"The virtual machine {_target(visit).options.vm} was entered through its host."))
    if _target(visit).options.sudo:
        return _Finding((found, f"The way to it: {visit.runspace.peer.auth}."))
    return _Finding((found,))


async def _ask_facts(visit: Visit) -> _Finding:
    runspace = _runspace(visit)

    async def opened(_: Asker) -> Runspace:
        return runspace

    session = InteractiveSession(opened, _target(visit).label)
    await session.ready(visit.asker)
    facts = session.facts
    if not facts.version:
        return await _ask_restricted(runspace, takes_script=facts.takes_script)
    found = f"PowerShell {facts.version} ({facts.edition}), as {facts.user} on {facts.computer}"
    # A recording has no answer to that.
    mode = "" if _target(visit).scheme == "replay" else await read_language_mode(runspace)
    if mode in ("", "FullLanguage"):
        return _Finding((found,))
    return _Finding((found, f"It is a restricted endpoint: its LanguageMode is {mode}."), State.WARNING)


async def _ask_restricted(runspace: Runspace, *, takes_script: bool) -> _Finding:
    if takes_script:
        said = "The remote does not say what it is: it may be a restricted endpoint, where few commands are allowed."
        return _Finding((said,), State.WARNING)
    said = "It is a restricted endpoint, which takes commands and no script (LanguageMode NoLanguage)."
    names = await list_commands(runspace)
    if not names:
        return _Finding((said, "It does not list its commands."), State.WARNING)
    more = f" and {len(names) - _SHOWN_COMMANDS} more" if len(names) > _SHOWN_COMMANDS else ""
    return _Finding((said, f"Its commands: {', '.join(sorted(names)[:_SHOWN_COMMANDS])}{more}."), State.WARNING)


async def _listen(visit: Visit) -> _Finding:
    if not visit.notices:
        return _Finding(("Nothing but PowerShell speaks on the line.",))
    lines = visit.notices[:_SHOWN_LINES]
    if len(visit.notices) > _SHOWN_LINES:
        lines.append(f"… and {len(visit.notices) - _SHOWN_LINES} more lines.")
    return _Finding((*lines, _JUNK_ADVICE), State.WARNING)


async def _time_cells(visit: Visit) -> _Finding:
    try:
        async with asyncio.timeout(_CELL_SECONDS):
            seconds = [await _time_cell(_runspace(visit)) for _ in range(1 + _CELLS)]
    except TimeoutError:
        raise ConnectError(
            f"A cell of one number did not end within {_CELL_SECONDS:g} seconds. The target may be overloaded."
        ) from None
    warm = [second for second in seconds[1:] if second is not None]
    if len(warm) < _CELLS:
        return _Finding(
            ("A cell of one number fails there: it may be a restricted endpoint, where no script is allowed.",),
            State.WARNING,
        )
    return _Finding((f"A cell takes {1000 * statistics.median(warm):.1f} ms (the median of {_CELLS}).",))


async def _time_cell(runspace: Runspace) -> float | None:
    began = time.monotonic()
    pipeline = await runspace.run_cell("1")
    async for record in pipeline:
        if isinstance(record, HostCall) and record.expects_reply:
            await pipeline.refuse(record, _NO_PROMPTS)
    good = pipeline.end is not None and pipeline.end.state is PipelineState.COMPLETED
    return time.monotonic() - began if good else None


def _target(visit: Visit) -> Target:
    assert visit.target is not None  # noqa: S101 - every step comes after the one that reads it
    return visit.target


def _runspace(visit: Visit) -> Runspace:
    assert visit.runspace is not None  # noqa: S101 - the steps that need it come after the one that opens it
    return visit.runspace


_ALL = frozenset(SCHEMES)
_SSH = frozenset({"ssh"})
_WINRM = frozenset({"winrm", "winrm+https"})
_CONTAINER = frozenset({"container"})
_VM = frozenset({"vm"})
_PROCESS = frozenset({"pid", "pipe"})
_LIVE = _ALL - {"replay"}

# Name, for which targets, and what is done. They run in this order.
_STEPS: Final[tuple[tuple[str, frozenset[str], Callable[[Visit], Awaitable[_Finding]]], ...]] = (
    ("target", _ALL, _read_target),
    ("name", _SSH, _find_name),
    ("port", _SSH, _knock),
    ("login", _SSH, _log_in),
    ("service", _WINRM, _ask_service),
    ("engine", _CONTAINER, _ask_engine),
    ("container", _CONTAINER, _find_container),
    ("machine", _VM, _find_machine),
    ("process", _PROCESS, _find_process),
    ("connection", _ALL - _SSH, _connect),
    ("runspace", _ALL, _open_runspace),
    ("PowerShell", _ALL, _ask_facts),
    ("line", _LIVE, _listen),
    ("speed", _LIVE, _time_cells),
)
