"""The operations on shells."""

from __future__ import annotations

import base64
import threading
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from uuid import UUID
from xml.sax.saxutils import escape

from tests.fakes.wsman_bridge.engine import POOL, Engine, Target
from tests.fakes.wsman_bridge.soap import ANONYMOUS, NS, Fault, Request, bad_selector, timed_out

__all__ = ["Service", "Shell"]

_POWERSHELL = "http://schemas.microsoft.com/powershell/"
_STATE = f"{NS['rsp']}/CommandState"
_CAPABILITY, _PRIVATE_DATA, _INIT_DATA = 0x10002, 0x21009, 0x2100B
_STOP = "powershell/signal/crtl_c"
_ROOM = 3_000


@dataclass
class Shell:
    """One shell, its engine and its owner."""

    shell_id: str
    name: str
    uri: str
    owner: str
    engine: Engine
    connected: threading.Event = field(default_factory=threading.Event)
    # Whoever asks once more under the same message id is told the same.
    answers: dict[str, str] = field(default_factory=dict)
    buffering: str = ""

    def described(self) -> str:
        state = "Connected" if self.connected.is_set() else "Disconnected"
        return (
            f"<rsp:Shell><rsp:ShellId>{self.shell_id}</rsp:ShellId><rsp:Name>{escape(self.name)}</rsp:Name>"
            f"<rsp:ResourceUri>{escape(self.uri)}</rsp:ResourceUri><rsp:Owner>{escape(self.owner)}</rsp:Owner>"
            "<rsp:ClientIP>127.0.0.1</rsp:ClientIP><rsp:IdleTimeOut>PT7200.000S</rsp:IdleTimeOut>"
            "<rsp:InputStreams>stdin pr</rsp:InputStreams><rsp:OutputStreams>stdout</rsp:OutputStreams>"
            f"<rsp:State>{state}</rsp:State></rsp:Shell>"
        )


class Service:
    """Answers requests. ``handle`` may be called from any thread."""

    def __init__(self, command: Sequence[str], envelope_kb: int, configurations: Sequence[str]) -> None:
        self.shells: dict[str, Shell] = {}
        # Receive's own answers when there is nothing: a fault, or as some servers do, an empty success.
        self.empty_when_idle = False
        self.idle_seconds = 60.0
        # Whether a Receive that is sent again under its old id is a new one.
        self.forgets = False
        # What was handed out, in order, by shell.
        self.sent: dict[str, list[bytes]] = {}
        self._command = command
        self._envelope_kb = envelope_kb
        self._configurations = {name.lower() for name in configurations}
        self._operations: dict[str, Callable[[Request, str], str]] = {
            "Create": self._create,
            "Command": self._begin,
            "Send": self._send,
            "Receive": self._receive,
            "Signal": self._signal,
            "Delete": self._delete,
            "Disconnect": self._disconnect,
            "Reconnect": self._reconnect,
            "Connect": self._connect,
            "Enumerate": self._enumerate,
            "Get": self._get,
        }

    def handle(self, request: Request, user: str) -> str:
        """The body of the answer. Raises Fault."""
        operation = self._operations.get(request.operation)
        if operation is None:
            raise Fault(
                2150858789, "a:ActionNotSupported", f"The action {request.action} is not supported.", sender=True
            )
        return operation(request, user)

    def close(self) -> None:
        """End all shells."""
        for shell in list(self.shells.values()):
            shell.engine.kill()
        self.shells.clear()

    def _shell(self, request: Request) -> Shell:
        try:
            return self.shells[request.shell_id]
        except KeyError:
            raise bad_selector() from None

    def _target(self, shell: Shell, name: str) -> Target:
        try:
            return shell.engine.targets[name]
        except KeyError:
            raise Fault(
                2150858843, "w:InvalidSelectors", "The command was not found in the shell.", sender=True
            ) from None

    def _create(self, request: Request, user: str) -> str:
        element = request.body.find("rsp:Shell", NS)
        assert element is not None
        name = request.resource_uri.removeprefix(_POWERSHELL)
        if name.lower() not in self._configurations:
            raise Fault(
                2150858812,
                "w:InternalError",
                f"The WS-Management service cannot process the request. Cannot find the {name} session configuration in "
                "the WSMan: drive on the localhost computer.",
            )
        creation = element.findtext("pwsh:creationXml", None, NS)
        if not creation or not element.get("ShellId") or not element.get("Name"):
            raise Fault(2150858771, "w:SchemaValidationError", "creationXml, ShellId or Name is missing", sender=True)
        shell_id = str(element.get("ShellId")).upper()
        engine = Engine(self._command, base64.b64decode(creation))
        shell = Shell(shell_id, str(element.get("Name")), request.resource_uri, user, engine)
        shell.connected.set()
        self.shells[shell_id] = shell
        self.sent[shell_id] = []
        return (
            f"<x:ResourceCreated><a:Address>{ANONYMOUS}</a:Address><a:ReferenceParameters>"
            f"<w:ResourceURI>{escape(request.resource_uri)}</w:ResourceURI><w:SelectorSet>"
            f'<w:Selector Name="ShellId">{shell_id}</w:Selector></w:SelectorSet></a:ReferenceParameters>'
            f"</x:ResourceCreated>{shell.described()}"
        )

    def _begin(self, request: Request, _user: str) -> str:
        shell = self._shell(request)
        line = request.body.find("rsp:CommandLine", NS)
        assert line is not None
        command_id = str(line.get("CommandId"))
        shell.engine.command(command_id.lower(), base64.b64decode(line.findtext("rsp:Arguments", "", NS)))
        return f"<rsp:CommandResponse><rsp:CommandId>{command_id.upper()}</rsp:CommandId></rsp:CommandResponse>"

    def _send(self, request: Request, _user: str) -> str:
        shell = self._shell(request)
        for stream in request.body.iterfind("rsp:Send/rsp:Stream", NS):
            name = (stream.get("CommandId") or POOL).lower()
            self._target(shell, name)
            shell.engine.data(name, base64.b64decode(stream.text or ""), prompt=stream.get("Name") == "pr")
        return "<rsp:SendResponse/>"

    def _receive(self, request: Request, _user: str) -> str:
        shell = self._shell(request)
        known = shell.answers.get(request.message_id)
        if known is not None and not self.forgets:
            return known
        if not shell.connected.is_set():
            raise _disconnected()
        stream = request.body.find("rsp:Receive/rsp:DesiredStream", NS)
        assert stream is not None
        command_id = stream.get("CommandId")
        target = self._target(shell, (command_id or POOL).lower())
        seconds = min(request.timeout, self.idle_seconds)
        chunks = shell.engine.receive(target, seconds, (request.envelope_size - _ROOM) * 3 // 4, shell.connected)
        if not shell.connected.is_set():
            if chunks:
                shell.engine.give_back(target, chunks)
            raise _disconnected()
        if not chunks and not target.done and not target.closed and not self.empty_when_idle:
            raise timed_out()
        if target.closed and not chunks and command_id is None:
            raise bad_selector()
        self.sent[shell.shell_id] += chunks or []
        answer = _received(command_id, chunks or [], done=target.done and not target.chunks)
        shell.answers = {request.message_id: answer, **dict(list(shell.answers.items())[:20])}
        return answer

    def _signal(self, request: Request, _user: str) -> str:
        shell = self._shell(request)
        element = request.body.find("rsp:Signal", NS)
        assert element is not None
        name = str(element.get("CommandId")).lower()
        self._target(shell, name)
        if element.findtext("rsp:Code", "", NS) == _STOP:
            shell.engine.stop(name)
        else:
            shell.engine.close_command(name)
        return "<rsp:SignalResponse/>"

    def _delete(self, request: Request, _user: str) -> str:
        shell = self._shell(request)
        self.shells.pop(shell.shell_id)
        shell.engine.close()
        return ""

    def _disconnect(self, request: Request, _user: str) -> str:
        shell = self._shell(request)
        shell.buffering = request.body.findtext("rsp:Disconnect/rsp:BufferMode", "", NS)
        shell.connected.clear()
        shell.engine.wake_all()
        return "<rsp:DisconnectResponse/>"

    def _reconnect(self, request: Request, _user: str) -> str:
        self._shell(request).connected.set()
        return "<rsp:ReconnectResponse/>"

    def _connect(self, request: Request, _user: str) -> str:
        shell = self._shell(request)
        element = request.body.find("rsp:Connect", NS)
        assert element is not None
        if element.get("CommandId"):
            self._target(shell, str(element.get("CommandId")).lower())
            return "<rsp:ConnectResponse/>"
        if shell.connected.is_set():
            raise Fault(2150859262, "w:InternalError", "The shell is connected to another client.")
        shell.connected.set()
        engine, pool = shell.engine, shell.engine.targets[POOL]
        hello = engine.greeting[_CAPABILITY]
        data = (
            hello[:4]
            + _INIT_DATA.to_bytes(4, "little")
            + UUID(shell.shell_id).bytes_le
            + bytes(16)
            + (b'<Obj RefId="0"><MS><I32 N="MinRunspaces">1</I32><I32 N="MaxRunspaces">1</I32></MS></Obj>')
        )
        greeting = b"".join(engine.numbered(each) for each in (hello, data))
        engine.append(pool, engine.greeting[_PRIVATE_DATA])
        text = base64.b64encode(greeting).decode()
        return f'<rsp:ConnectResponse><connectResponseXml xmlns="{_POWERSHELL[:-1]}">{text}</connectResponseXml></rsp:ConnectResponse>'

    def _enumerate(self, request: Request, _user: str) -> str:
        if request.resource_uri.endswith("/Command"):
            chosen = request.body.find(".//w:Selector", NS)
            shell = self.shells.get((chosen.text or "").upper()) if chosen is not None else None
            names = [name.upper() for name in (shell.engine.targets if shell else ()) if name != POOL]
            items = "".join(f"<rsp:Command><rsp:CommandId>{name}</rsp:CommandId></rsp:Command>" for name in names)
        else:
            items = "".join(shell.described() for shell in self.shells.values())
        return (
            f"<n:EnumerateResponse><n:EnumerationContext/><w:Items>{items}</w:Items><w:EndOfSequence/>"
            "</n:EnumerateResponse>"
        )

    def _get(self, request: Request, _user: str) -> str:
        if not request.resource_uri.endswith("/config"):
            return self._shell(request).described()
        if not self._envelope_kb:
            raise Fault(5, "w:AccessDenied", "Access is denied.", sender=True)
        return f"<cfg:Config><cfg:MaxEnvelopeSizekb>{self._envelope_kb}</cfg:MaxEnvelopeSizekb></cfg:Config>"


def _disconnected() -> Fault:
    return Fault(
        2150859230,
        "w:ServiceStreamDisconnected",
        "The WS-Management service cannot process the request because the stream is currently disconnected.",
    )


def _received(command_id: str | None, chunks: list[bytes], *, done: bool) -> str:
    whose = f' CommandId="{command_id}"' if command_id else ""
    streams = "".join(
        f'<rsp:Stream Name="stdout"{whose}>{base64.b64encode(each).decode()}</rsp:Stream>' for each in chunks
    )
    state = ""
    if command_id:
        code = "<rsp:ExitCode>0</rsp:ExitCode>" if done else ""
        state = f'<rsp:CommandState{whose} State="{_STATE}/{"Done" if done else "Running"}">{code}</rsp:CommandState>'
    return f"<rsp:ReceiveResponse>{streams}{state}</rsp:ReceiveResponse>"
