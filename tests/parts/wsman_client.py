"""pypsrp's own client, unmodified: what the WSMan bridge is tested with, independent of ours."""

from __future__ import annotations

import contextlib
import os
import threading
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import pytest
from pypsrp.exceptions import WSManFaultError
from pypsrp.powershell import PowerShell, RunspacePool
from pypsrp.wsman import SelectorSet, WSMan

from tests.fakes.wsman_bridge import WsmanBridge
from tests.fakes.wsman_bridge.shells import Shell
from tests.parts.certificates import Authority

__all__ = [
    "DOMAIN_USER",
    "DONE",
    "PASSWORD",
    "SHELL",
    "USERS",
    "Start",
    "Waiting",
    "Wire",
    "answer",
    "client",
    "engine",
    "fault_of",
    "is_running",
    "pool",
    "selector",
    "shell_of",
    "start_bridge",
    "start_https_bridge",
    "started",
]

PASSWORD = "Pa55 w\u00f6rd!"
DOMAIN_USER = "CORP\\admin"
USERS = {"local": PASSWORD, DOMAIN_USER: PASSWORD}
SHELL = "http://schemas.microsoft.com/wbem/wsman/1/windows/shell"
DONE = f"{SHELL}/CommandState/Done"
Start = Callable[..., WsmanBridge]


def engine(pwsh: str) -> Sequence[str]:
    """What a bridge starts for each shell."""
    return [pwsh, "-s", "-NoLogo", "-NoProfile"]


@contextlib.contextmanager
def client(bridge: WsmanBridge, auth: str = "basic", **options: Any) -> Iterator[WSMan]:
    """A client with a connection of its own. Further options are pypsrp's."""
    user = DOMAIN_USER if auth in {"ntlm", "negotiate"} else "local"
    sealed = auth in {"ntlm", "negotiate", "kerberos"} and not bridge.tls
    arguments = {
        "username": user,
        "password": PASSWORD,
        "ssl": bridge.tls,
        "encryption": "always" if sealed else "never",
        "operation_timeout": 20,
        **options,
    }
    wsman = WSMan("localhost", port=bridge.port, auth=auth, **arguments)
    try:
        yield wsman
    finally:
        wsman.close()


@contextlib.contextmanager
def pool(wsman: WSMan, **options: Any) -> Iterator[RunspacePool]:
    """An open runspace pool, which may be gone at the end."""
    opened = RunspacePool(wsman, **options)
    opened.open()
    try:
        yield opened
    finally:
        with contextlib.suppress(Exception):
            opened.close()


def started(runspaces: RunspacePool, script: str) -> PowerShell:
    """A pipeline that runs."""
    shell = PowerShell(runspaces)
    shell.add_script(script)
    shell.begin_invoke()
    return shell


def answer(wsman: WSMan, script: str = "1 + 1") -> list[object]:
    """Open a pool, run something, close it."""
    with pool(wsman) as runspaces:
        return list(started(runspaces, script).end_invoke())


def shell_of(bridge: WsmanBridge) -> Shell:
    """The only shell there is."""
    (shell,) = bridge.service.shells.values()
    return shell


def selector(shell_id: str) -> SelectorSet:
    """Which shell an operation is for."""
    chosen = SelectorSet()
    chosen.add_option("ShellId", shell_id)
    return chosen


def fault_of(work: Callable[[], object]) -> object:
    """The number of the fault that a call ends with."""
    with pytest.raises(WSManFaultError) as caught:
        work()
    return caught.value.code


class Waiting:
    """A call on a thread of its own: a Receive that waits."""

    def __init__(self, work: Callable[[], object]) -> None:
        self._result: Any = None
        self._error: Exception | None = None
        self._thread = threading.Thread(target=self._run, args=[work], daemon=True)
        self._thread.start()

    def is_over(self) -> bool:
        """Whether there is a result."""
        return not self._thread.is_alive()

    def result(self) -> Any:
        """What it returns, or raises; within less time than a Receive is held."""
        self._thread.join(10)
        assert not self._thread.is_alive()
        if self._error is not None:
            raise self._error
        return self._result

    def _run(self, work: Callable[[], object]) -> None:
        try:
            self._result = work()
        except Exception as error:  # noqa: BLE001 - it is raised where the result is waited for
            self._error = error


class Wire:
    """What goes over a client's line: the envelopes, outside of any seal."""

    def __init__(self, wsman: WSMan) -> None:
        self.requests: list[bytes] = []
        self.answers: list[bytes] = []
        self._send = wsman.transport.send
        wsman.transport.send = self._watched  # type: ignore[method-assign]

    def again(self, request: bytes) -> bytes:
        """Send an envelope once more, as it is."""
        answer: bytes = self._send(request)
        return answer

    def _watched(self, message: bytes, *args: Any, **options: Any) -> bytes:
        self.requests.append(message)
        answer: bytes = self._send(message, *args, **options)
        self.answers.append(answer)
        return answer


def is_running(pid: int) -> bool:
    """Whether there is such a process."""
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    return True


@pytest.fixture
def start_bridge(pwsh: str) -> Iterator[Start]:
    """Start bridges; all end with the test. Over http they take readable messages, unless said otherwise."""
    with contextlib.ExitStack() as stack:

        def start(**arguments: Any) -> WsmanBridge:
            arguments = {"require_encryption": False, **arguments}
            return stack.enter_context(WsmanBridge(engine(pwsh), USERS, **arguments))

        yield start


@pytest.fixture
def start_https_bridge(start_bridge: Start, authority: Authority) -> Start:
    """The same over https, with a certificate of the authority's."""

    def start(**arguments: Any) -> WsmanBridge:
        pair = authority.server()
        return start_bridge(certificate=(pair.certificate, pair.key, authority.file), **arguments)

    return start
