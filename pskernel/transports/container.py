"""PowerShell in a container: a byte stream over ``exec`` of docker, podman, nerdctl or kubectl.

One table says what each engine is called with. No terminal is ever asked for, because it would change the bytes, and
nothing of this side's environment goes into the container.
"""

from __future__ import annotations

import asyncio
import json
import re
import shutil
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

from pskernel.errors import TargetUnreachable, TransportClosed
from pskernel.transports.process import Child, ProcessStream, start

if TYPE_CHECKING:
    from collections.abc import Sequence

__all__ = ["Container", "ContainerEndpoint", "NoContainer", "choose", "engine_of", "list_containers", "open_container"]

_ADVICE_PWSH = "Use an image with PowerShell, mount one into the container, or say where it is with the option exe."
_SHORT_ID = 12
_SHOWN = 10
# A list of thousands of containers, or a large pod.
_MAX_ANSWER = 8_000_000
# What shells and engines return where the program was not run, or was ended by a signal: 125 and above.
_NOT_AN_EXIT = 125
_SETTLE_SECONDS = 1.0

_NO_PROGRAM = re.compile(
    r"executable file not found|\bexec\b.*(?:no such file or directory|permission denied)", re.IGNORECASE
)
_NO_USER = re.compile(r"unable to find user|no matching entries in passwd|no users found", re.IGNORECASE)
_NO_CONTEXT = re.compile(r"context.*(?:not found|does not exist)", re.IGNORECASE)
_DENIED = re.compile(r"permission denied|access is denied|forbidden|unauthorized|must be logged in", re.IGNORECASE)
_DOWN = re.compile(
    r"cannot connect|unable to connect|daemon running|was refused|connection refused|no such file or directory|"
    r"rootless containerd|error during connect|cannot access containerd|no such host|i/o timeout|deadline exceeded",
    re.IGNORECASE,
)


class NoContainer(TargetUnreachable):
    """The engine, or the container, cannot be used."""

    error_id = "CreateRemoteRunspaceForContainerFailed"


@dataclass(frozen=True, slots=True)
class ContainerEndpoint:
    """A container, and PowerShell in it.

    Attributes:
        name: its name, its id, or the beginning of that; of a pod the name.
        engine: one of the table; None for the first of docker, podman and nerdctl that is installed.
        context: of docker and kubectl; podman's connection.
        namespace: of the pod, or of containerd.
        container: in the pod.
        user: in the container.
        administrator: whether it is root, or ContainerAdministrator.
        exe: PowerShell's program there.
        arguments: what it gets, behind -s.
        timeout: seconds for each answer of the engine.
    """

    name: str
    engine: str | None = None
    context: str | None = None
    namespace: str | None = None
    container: str | None = None
    user: str | None = None
    administrator: bool = False
    exe: str = "pwsh"
    arguments: tuple[str, ...] = ("-NoLogo", "-NoProfile")
    timeout: float = 30.0


@dataclass(frozen=True, slots=True)
class Container:
    """One that an engine has. ``inside``: the names of a pod's containers."""

    id: str
    name: str
    status: str
    running: bool
    inside: tuple[str, ...] = ()
    default: str = ""

    def __str__(self) -> str:
        return self.name if self.id == self.name else f"{self.name} ({self.id[:_SHORT_ID]}, {self.status})"


@dataclass(frozen=True, slots=True)
class _Engine:
    """How a program is called: its option for the context and the namespace (empty: it has none), then its commands."""

    context: str
    namespace: str
    start: tuple[str, ...]
    windows: bool
    advice: str


_LIST = ("ps", "--all", "--no-trunc", "--format", "{{.ID}}\t{{.Names}}\t{{.Status}}")
_PLATFORM = ("container", "inspect", "--format", "{{.Platform}}")
_SERVICE = "Start its service, and check that the same user can run `{engine} ps`."
_TABLE: Final = {
    "docker": _Engine("--context", "", ("exec", "--interactive"), True, _SERVICE),
    # It looks for its detach keys, ctrl-p and ctrl-q, without a terminal too, in bytes that arrive alone.
    "podman": _Engine("--connection", "", ("exec", "--interactive", "--detach-keys="), False, _SERVICE),
    "nerdctl": _Engine("", "--namespace", ("exec", "--interactive"), True, _SERVICE),
    "kubectl": _Engine(
        "--context", "--namespace", ("exec", "--stdin"), False,
        "Check the context (option context), and that the same user can run `{engine} get pods`.",
    ),
}  # fmt: skip
_CHOSEN: Final = ("docker", "podman", "nerdctl")


def engine_of(endpoint: ContainerEndpoint) -> str:
    """The engine that is meant.

    Raises:
        NoContainer: it is not installed, or cannot do what is asked for.
    """
    engine = endpoint.engine or next((name for name in _CHOSEN if shutil.which(name)), None)
    if engine is None:
        raise NoContainer(
            f"None of {', '.join(_CHOSEN)} is on PATH. Install one, or add its folder to PATH. For Kubernetes, write "
            "container://kubectl/POD."
        )
    if shutil.which(engine) is None:
        raise NoContainer(f"The program {engine} is not on PATH. Install it, or add its folder to PATH.")
    for option, known in (("context", _TABLE[engine].context), ("namespace", _TABLE[engine].namespace)):
        if getattr(endpoint, option) is not None and not known:
            raise NoContainer(f"{engine} has no {option}: leave the option {option} out, or name another engine.")
    if endpoint.container is not None and engine != "kubectl":
        raise NoContainer("The option container is for pods (kubectl): leave it out.")
    return engine


async def list_containers(endpoint: ContainerEndpoint) -> list[Container]:
    """What the engine has; of kubectl, the pod alone.

    Raises:
        NoContainer: it does not answer, or refuses to.
    """
    engine = engine_of(endpoint)
    words = ("get", "pod", endpoint.name, "--output=json") if engine == "kubectl" else _LIST
    status, output, said = await _ask(endpoint, engine, words)
    if status and engine == "kubectl" and "(NotFound)" in said and "namespaces" not in said:
        return []
    if status:
        raise NoContainer(_refusal(endpoint, engine, said))
    try:
        return [_pod(json.loads(output))] if engine == "kubectl" else [_listed(line) for line in output.splitlines()]
    except (ValueError, KeyError, TypeError, AttributeError):
        raise NoContainer(f"The answer of {engine} cannot be read: {output[:200]!r}.") from None


def choose(endpoint: ContainerEndpoint, containers: Sequence[Container]) -> Container:
    """The one that is meant: by its name, its id, or the beginning of its id that no other has.

    Raises:
        NoContainer: there is none, or there are several, or it does not run.
    """
    name, engine = endpoint.name, engine_of(endpoint)
    found = [each for each in containers if name in (each.name, each.id)]
    found = found or [each for each in containers if each.id.startswith(name.lower())]
    if len(found) > 1:
        raise NoContainer(f"Several containers match {name}: {_shown(found)}. Write more of the id, or the name.")
    if not found:
        raise NoContainer(_missing(endpoint, engine, containers))
    container = found[0]
    if not container.running:
        raise NoContainer(
            f"The {'pod' if engine == 'kubectl' else 'container'} {container.name} is not running: its status is "
            f"{container.status}. Nothing was started; start it, and try again."
        )
    if endpoint.container is not None and endpoint.container not in container.inside:
        raise NoContainer(
            f"The pod {name} has no running container {endpoint.container}. It has: {', '.join(container.inside)}."
        )
    if engine == "kubectl" and not (endpoint.container or container.default or len(container.inside) == 1):
        raise NoContainer(
            f"The pod {name} has several containers: {', '.join(container.inside)}. Say which one with the option "
            "container."
        )
    return container


async def open_container(endpoint: ContainerEndpoint, command: Sequence[str] | None = None) -> ProcessStream:
    """Start PowerShell in a container, or another command.

    Raises:
        NoContainer: it cannot be found or used.
        ConnectError: the engine's program cannot be started.
    """
    engine = engine_of(endpoint)
    container = choose(endpoint, await list_containers(endpoint))
    user = endpoint.user
    if endpoint.administrator:
        user = await _administrator(endpoint, engine, container)
    child = _Exec(engine, container.name, endpoint.exe, user)
    command = command or (endpoint.exe, "-s", *endpoint.arguments)
    await start([*_exec(endpoint, engine, container, user), *command], child)
    return _ExecStream(child)


def _exec(endpoint: ContainerEndpoint, engine: str, container: Container, user: str | None) -> list[str]:
    """The command line that starts a command."""
    argv = [*_called(endpoint, engine), *_TABLE[engine].start]
    if engine == "kubectl":
        inside = endpoint.container or container.default or container.inside[0]
        argv += [f"--container={inside}", container.name, "--"]
    else:
        argv += [*([f"--user={user}"] if user else []), container.id]
    return argv


def _called(endpoint: ContainerEndpoint, engine: str) -> list[str]:
    table = _TABLE[engine]
    argv = [engine]
    if endpoint.context is not None:
        argv.append(f"{table.context}={endpoint.context}")
    if endpoint.namespace is not None:
        argv.append(f"{table.namespace}={endpoint.namespace}")
    return argv


async def _administrator(endpoint: ContainerEndpoint, engine: str, container: Container) -> str:
    """Root by its number, because an image may have no names."""
    if _TABLE[engine].windows:
        status, output, said = await _ask(endpoint, engine, (*_PLATFORM, container.id))
        if status:
            raise NoContainer(_refusal(endpoint, engine, said))
        if output.strip().lower().startswith("windows"):
            return "ContainerAdministrator"
    return "0"


async def _ask(endpoint: ContainerEndpoint, engine: str, words: Sequence[str]) -> tuple[int, str, str]:
    """Run the engine's program to its end: its exit status, its output and what it said on standard error."""
    child = _Exec(engine, endpoint.name, endpoint.exe, None)
    await start([*_called(endpoint, engine), *words], child)
    stream, answer = ProcessStream(child), bytearray()
    try:
        async with asyncio.timeout(endpoint.timeout):
            while data := await stream.receive():
                answer += data
                if len(answer) > _MAX_ANSWER:
                    raise NoContainer(f"{engine} answered with more than {_MAX_ANSWER:,} bytes.")
            await child.exited.wait()
    except TimeoutError:
        raise NoContainer(
            f"{engine} did not answer within {endpoint.timeout:g} seconds. "
            f"{_TABLE[engine].advice.format(engine=engine)}"
        ) from None
    except TransportClosed:
        await child.exited.wait()
    finally:
        await child.end(patience=0)
    return child.status or 0, answer.decode("utf-8", "replace"), child.tail.text()


def _listed(line: str) -> Container:
    number, names, status = line.split("\t")
    return Container(number.lower(), names.split(",")[0], status, status.startswith("Up") and "Paused" not in status)


def _pod(pod: dict[str, Any]) -> Container:
    meta, status = pod["metadata"], pod["status"]
    phase = "Terminating" if meta.get("deletionTimestamp") else str(status["phase"])
    states = {each["name"]: each["state"] for each in status.get("containerStatuses") or ()}
    inside = tuple(each["name"] for each in pod["spec"]["containers"] if "running" in states.get(each["name"], {}))
    chosen = (meta.get("annotations") or {}).get("kubectl.kubernetes.io/default-container", "")
    running = phase == "Running" and bool(inside)
    name = str(meta["name"])
    return Container(name, name, phase, running, inside, chosen if chosen in inside else "")


def _shown(containers: Sequence[Container]) -> str:
    more = f" and {len(containers) - _SHOWN} more" if len(containers) > _SHOWN else ""
    return ", ".join(map(str, containers[:_SHOWN])) + more


def _missing(endpoint: ContainerEndpoint, engine: str, containers: Sequence[Container]) -> str:
    name = endpoint.name
    if engine == "kubectl":
        where = f"the namespace {endpoint.namespace}" if endpoint.namespace else "kubectl's default namespace"
        return f"There is no pod {name} in {where}. `kubectl get pods` lists them; the option namespace names another."
    running = [each for each in containers if each.running]
    has = f"It has: {_shown(running)}." if running else "It has none that runs."
    return (
        f"The input ContainerId {name} does not exist, or the corresponding container is not running: {engine} has no "
        f"container of that name or id. {has}{_other(endpoint, engine)}"
    )


def _other(endpoint: ContainerEndpoint, engine: str) -> str:
    """Where the engine was not named, the one that was not asked."""
    others = [name for name in _CHOSEN if name != engine and endpoint.engine is None and shutil.which(name)]
    return f" {others[0]} is installed too: container://{others[0]}/{endpoint.name}." if others else ""


def _refusal(endpoint: ContainerEndpoint, engine: str, said: str) -> str:
    """Why the engine does not answer, and what to do."""
    says = f" {engine} says: {said.splitlines()[-1] if said else 'nothing'}"
    if endpoint.context is not None and _NO_CONTEXT.search(said):
        return f"{engine} has no context {endpoint.context}: correct the option context.{says}"
    if _DENIED.search(said):
        if engine == "kubectl":
            what = (
                "kubectl's user may not see this pod: it needs get on pods, and create on pods/exec, in its namespace."
            )
        else:
            what = (
                f"This user may not use {engine}. On Linux that takes its group (docker, which is as good as root; log "
                "in anew after joining it) or an engine of the user's own (rootless)."
            )
        return what + _other(endpoint, engine) + says
    advice = _TABLE[engine].advice.format(engine=engine)
    if _DOWN.search(said):
        reached = "reaches no cluster" if engine == "kubectl" else "is installed, but what it speaks to does not answer"
        return f"{engine} {reached}. {advice}{_other(endpoint, engine)}{says}"
    return f"{engine} does not list its containers. {advice}{_other(endpoint, engine)}{says}"


class _Exec(Child):
    """The engine's program: what became of PowerShell is in its exit status and on its standard error."""

    def __init__(self, engine: str, container: str, exe: str, user: str | None) -> None:
        super().__init__(engine)
        self._container = container
        self._exe = exe
        self._user = user

    def pipe_connection_lost(self, fd: int, exc: Exception | None) -> None:
        super().pipe_connection_lost(fd, exc)
        if fd == 2 and self._output_ended:
            self._settle()

    def _settle(self) -> None:
        # The engine's words are part of why it ended.
        if self._errors_ended:
            super()._settle()
        else:
            asyncio.get_running_loop().call_later(_SETTLE_SECONDS, self._settle_late)

    def why_cut(self, status: int) -> str:
        return self.failure() or super().why_cut(status)

    def failure(self) -> str:
        """Why PowerShell was not started, or did not end by itself; empty if neither."""
        said = self.tail.text()
        status = self.status or 0
        if status <= 0:
            return ""
        if self._user and _NO_USER.search(said):
            text = f"The container {self._container} has no user {self._user}: correct the option user."
        elif status in (126, 127) or _NO_PROGRAM.search(said):
            text = (
                f"There is no program {self._exe} in the container {self._container}, or it cannot run. {_ADVICE_PWSH}"
            )
        elif status >= _NOT_AN_EXIT:
            text = (
                f"The container {self._container} was stopped, or PowerShell in it was ended ({self.name} exec left "
                f"with status {status})."
            )
        else:
            return ""
        return f"{text} {self.name} says: {said}" if said else text


class _ExecStream(ProcessStream):
    def __init__(self, child: _Exec) -> None:
        super().__init__(child)
        self._exec = child

    def diagnostics(self) -> str:
        """Why it failed, in the engine's words, or as any process."""
        return self._exec.failure() or super().diagnostics()
