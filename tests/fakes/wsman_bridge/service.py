"""The operations of the service, on shells."""

from __future__ import annotations

import base64
import binascii
import threading
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from uuid import uuid4
from xml.sax.saxutils import escape

from tests.fakes.wsman_bridge import faults
from tests.fakes.wsman_bridge.output import Taken
from tests.fakes.wsman_bridge.record import Record
from tests.fakes.wsman_bridge.shells import Shell, Terms
from tests.fakes.wsman_bridge.soap import ANONYMOUS, NS, Dialect, Request, seconds

__all__ = ["Reply", "Service", "Unexplained"]

_POWERSHELL = "http://schemas.microsoft.com/powershell/"
_STATE = f"{NS['rsp']}/CommandState"
# The code is misspelt in PowerShell too, and compared as it is; any other code closes the command.
_STOP = "powershell/signal/crtl_c"
# What an answer to Receive takes beside its streams, and what one stream must have at least.
_ENVELOPE_XML, _SMALLEST_ROOM = 2_000, 1_000
# Answers that are remembered for whoever asks again.
_REMEMBERED = 20
_ANY_NUMBER = 1 << 30


class Unexplained(Exception):
    """HTTP status 500 with an empty body: what OMI says to a Create that lacks something."""


@dataclass(frozen=True)
class Reply:
    """The body of an answer; of a Receive, also what it took, and how to undo that."""

    body: str
    taken: Taken | None = None
    give_back: Callable[[], None] = lambda: None


class Service:
    """Answers requests, from any thread. Its public attributes are knobs; the defaults are Windows' ways.

    Args:
        command: starts an engine.
        configurations: the session configurations there are.
        record: takes what was handed out.
    """

    def __init__(self, command: Sequence[str], configurations: Sequence[str], record: Record) -> None:
        # A Receive without data: a fault after OperationTimeout, or as OMI does, an empty success after idle_seconds.
        self.empty_when_idle = False
        # The longest that a Receive is held.
        self.idle_seconds = 60.0
        # Whether a Receive that is sent again under its message id is a new one; otherwise it gets its old answer again.
        # (Windows does the latter for clients that number their operations. Message ids are the bridge's simplification.)
        self.forgets = False
        # Whether the first Receive after Connect begins with what the last one before it got. A recording of Windows shows
        # this for the pool; whether it does so for commands is not known.
        self.repeats_last_answer = False
        # Whether only one fragment goes into an answer, and Done into one without any, as OMI does.
        self.one_fragment = False
        # Whether Connect for a command is refused, as OMI does; Receive for it works.
        self.refuses_command_connect = False
        # Whether Create needs Name and ShellId, as OMI does, and says so by HTTP status 500 alone.
        self.needs_name = False
        self.dialect = Dialect()
        # MaxEnvelopeSizekb, for requests and answers. 0: it is 500, and nobody may ask for it, as on Windows those may not
        # who are no administrators.
        self.envelope_kb = 500
        # MaxShellsPerUser.
        self.max_shells: int | None = None
        # The bytes that may wait for the client of a disconnected shell; see BufferMode.
        self.buffer_limit: int | None = None
        # The longest that a disconnected shell lives, whatever its idle timeout.
        self.longest_idle: float | None = None
        self.shells: dict[str, Shell] = {}
        self._command = command
        self._configurations = {name.lower() for name in configurations}
        self._record = record
        self._lock = threading.Lock()
        self._operations: dict[str, Callable[[Request, str], Reply]] = {
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

    @property
    def largest_envelope(self) -> int:
        """In bytes."""
        return 1024 * (self.envelope_kb or 500)

    def behave_as_omi(self) -> None:
        """Turn the knobs to what was seen of OMI with PowerShell behind it."""
        self.empty_when_idle = self.one_fragment = self.refuses_command_connect = self.needs_name = True
        self.idle_seconds = 30.0
        self.dialect = Dialect(foreign_prefixes=True, codeless_faults=True)

    def handle(self, request: Request, user: str) -> Reply:
        """The body of the answer.

        Raises:
            Fault, Unexplained: there is none.
        """
        operation = self._operations.get(request.operation)
        if operation is None:
            raise faults.action_not_supported(request.action)
        return operation(request, user)

    def close(self) -> None:
        """End all shells."""
        with self._lock:
            shells, self.shells = list(self.shells.values()), {}
        for shell in shells:
            shell.end(faults.no_such_shell())

    def expire(self, shell: Shell) -> None:
        """End a shell that nobody came back to."""
        self.shells.pop(shell.shell_id, None)
        self._record.note(f"shell {shell.shell_id} has expired")
        shell.end(faults.no_such_shell())

    # ---- shells ----

    def _create(self, request: Request, user: str) -> Reply:
        element = request.element("rsp:Shell")
        if self.needs_name and not (element.get("Name") and element.get("ShellId")):
            raise Unexplained
        name = request.resource_uri.removeprefix(_POWERSHELL)
        if name.lower() not in self._configurations or name == request.resource_uri:
            raise faults.no_such_configuration(request.resource_uri)
        if self.max_shells is not None and len(self.shells) >= self.max_shells:
            raise faults.quota_exceeded(self.max_shells)
        creation = _decoded(element.findtext("pwsh:creationXml", "", NS))
        terms = Terms(
            element.get("Name") or element.findtext("rsp:Name", "", NS) or "",
            request.resource_uri,
            user,
            request.session_id,
            buffer_limit=self.buffer_limit,
        )
        self._apply(terms, request, "rsp:Shell")
        shell = self._started((element.get("ShellId") or str(uuid4())).upper(), terms)
        try:
            shell.send(None, creation)
        except faults.Fault as fault:
            self.shells.pop(shell.shell_id, None)
            shell.end(fault)
            raise
        return Reply(
            f"<x:ResourceCreated><a:Address>{ANONYMOUS}</a:Address><a:ReferenceParameters>"
            f"<w:ResourceURI>{escape(request.resource_uri)}</w:ResourceURI><w:SelectorSet>"
            f'<w:Selector Name="ShellId">{shell.shell_id}</w:Selector></w:SelectorSet></a:ReferenceParameters>'
            f"</x:ResourceCreated>{shell.described()}"
        )

    def _started(self, shell_id: str, terms: Terms) -> Shell:
        with self._lock:
            if shell_id in self.shells:
                raise faults.shell_exists()
            shell = self.shells[shell_id] = Shell(shell_id, terms, self._command, self._record.note)
        return shell

    def _delete(self, request: Request, _user: str) -> Reply:
        shell = self._shell(request)
        self.shells.pop(shell.shell_id, None)
        shell.end()
        return Reply("")

    def _disconnect(self, request: Request, _user: str) -> Reply:
        shell = self._connected_shell(request)
        self._apply(shell.terms, request, "rsp:Disconnect")
        shell.disconnect(self.expire, self.longest_idle)
        return Reply("<rsp:DisconnectResponse/>")

    def _reconnect(self, request: Request, _user: str) -> Reply:
        shell = self._shell(request)
        if shell.terms.session_id != request.session_id:
            raise faults.another_session()
        shell.reconnect()
        return Reply("<rsp:ReconnectResponse/>")

    def _connect(self, request: Request, _user: str) -> Reply:
        shell = self._shell(request)
        element = request.element("rsp:Connect")
        if request.command_id is not None:
            self._connected_shell(request).waiting_bytes(request.command_id)
            if self.refuses_command_connect:
                raise faults.out_of_memory()
            return Reply("<rsp:ConnectResponse/>")
        if shell.connected:
            raise faults.already_connected()
        _decoded(element.findtext("pwsh:connectXml", "", NS))
        hello = shell.connect(request.session_id, repeat_last=self.repeats_last_answer)
        return Reply(
            "<rsp:ConnectResponse><rsp:InputStreams>stdin pr</rsp:InputStreams><rsp:OutputStreams>stdout"
            f'</rsp:OutputStreams><connectResponseXml xmlns="{_POWERSHELL[:-1]}">{base64.b64encode(hello).decode()}'
            "</connectResponseXml></rsp:ConnectResponse>"
        )

    def _enumerate(self, request: Request, _user: str) -> Reply:
        if request.resource_uri.endswith("/Command"):
            chosen = request.body.find(".//w:Selector", NS)
            shell = self.shells.get((chosen.text or "").upper()) if chosen is not None else None
            names = shell.commands if shell is not None else []
            items = "".join(
                f"<rsp:Command><rsp:CommandId>{name}</rsp:CommandId><rsp:State>Running</rsp:State></rsp:Command>"
                for name in names
            )
        else:
            items = "".join(shell.described() for shell in list(self.shells.values()))
        return Reply(
            f"<n:EnumerateResponse><n:EnumerationContext/><w:Items>{items}</w:Items><w:EndOfSequence/>"
            "</n:EnumerateResponse>"
        )

    def _get(self, request: Request, _user: str) -> Reply:
        if not request.resource_uri.endswith("/config"):
            return Reply(self._shell(request).described())
        if not self.envelope_kb:
            raise faults.access_denied()
        return Reply(
            f"<cfg:Config><cfg:MaxEnvelopeSizekb>{self.envelope_kb}</cfg:MaxEnvelopeSizekb>"
            "<cfg:MaxTimeoutms>60000</cfg:MaxTimeoutms><cfg:MaxBatchItems>32000</cfg:MaxBatchItems></cfg:Config>"
        )

    # ---- commands and streams ----

    def _begin(self, request: Request, _user: str) -> Reply:
        shell = self._connected_shell(request)
        line = request.element("rsp:CommandLine")
        command_id = (line.get("CommandId") or str(uuid4())).upper()
        shell.begin(command_id, b"".join(_decoded(each.text or "") for each in line.iterfind("rsp:Arguments", NS)))
        return Reply(f"<rsp:CommandResponse><rsp:CommandId>{command_id}</rsp:CommandId></rsp:CommandResponse>")

    def _send(self, request: Request, _user: str) -> Reply:
        shell = self._connected_shell(request)
        for stream in request.element("rsp:Send").iterfind("rsp:Stream", NS):
            shell.send(request.command_id, _decoded(stream.text or ""), prompt=stream.get("Name") == "pr")
        return Reply("<rsp:SendResponse/>")

    def _signal(self, request: Request, _user: str) -> Reply:
        shell = self._connected_shell(request)
        command_id = request.command_id or ""
        if request.element("rsp:Signal").findtext("rsp:Code", "", NS).strip() == _STOP:
            shell.stop(command_id, request.timeout)
        else:
            shell.close_command(command_id)
        return Reply("<rsp:SignalResponse/>")

    def _receive(self, request: Request, _user: str) -> Reply:
        shell = self._shell(request)
        request.element("rsp:Receive/rsp:DesiredStream")
        command_id = request.command_id
        known = shell.answers.get(request.message_id)
        if known is not None and not self.forgets:
            return Reply(known)
        wait = self.idle_seconds if self.empty_when_idle else min(request.timeout, self.idle_seconds)
        room = max(min(request.envelope_size, self.largest_envelope) - _ENVELOPE_XML, _SMALLEST_ROOM)
        try:
            taken = shell.receive(command_id, wait, room, 1 if self.one_fragment else _ANY_NUMBER)
        except faults.Fault as fault:
            if not (self.empty_when_idle and fault.code == faults.timed_out().code):
                raise
            taken = Taken([])
        if self.one_fragment and taken.pieces:
            taken = Taken(taken.pieces)
        body = self._received(command_id, taken)
        shell.answers = {request.message_id: body, **dict(list(shell.answers.items())[: _REMEMBERED - 1])}
        if not taken.pieces:
            return Reply(body)
        self._record.handed_out(shell.shell_id, command_id, taken)

        def give_back() -> None:
            shell.answers.pop(request.message_id, None)
            self._record.given_back(shell.shell_id, command_id, taken)
            shell.give_back(command_id, taken)

        return Reply(body, taken, give_back)

    def _received(self, command_id: str | None, taken: Taken) -> str:
        # OMI does not repeat in its answers whose they are.
        whose = f' CommandId="{command_id}"' if command_id and not self.one_fragment else ""
        streams = "".join(f'<rsp:Stream Name="stdout"{whose}>{piece.text}</rsp:Stream>' for piece in taken.pieces)
        state = ""
        if command_id or self.empty_when_idle:
            code = "<rsp:ExitCode>0</rsp:ExitCode>" if taken.done and not self.one_fragment else ""
            name = "Done" if taken.done else "Running"
            state = f'<rsp:CommandState{whose} State="{_STATE}/{name}">{code}</rsp:CommandState>'
        return f"<rsp:ReceiveResponse>{streams}{state}</rsp:ReceiveResponse>"

    # ---- the rest ----

    def _shell(self, request: Request) -> Shell:
        shell = self.shells.get(request.shell_id)
        if shell is None:
            raise faults.no_such_shell()
        if shell.gone.is_set():
            self.shells.pop(shell.shell_id, None)
            shell.end(faults.no_such_shell())
            raise faults.no_such_shell()
        return shell

    def _connected_shell(self, request: Request) -> Shell:
        shell = self._shell(request)
        if not shell.connected:
            raise faults.shell_disconnected()
        return shell

    @staticmethod
    def _apply(terms: Terms, request: Request, path: str) -> None:
        """Take over what Create or Disconnect says of the time without a client."""
        idle = request.body.findtext(f"{path}/rsp:IdleTimeOut", "", NS)
        if idle:
            terms.idle_timeout = seconds(idle, "IdleTimeOut")
        terms.buffer_mode = request.body.findtext(f"{path}/rsp:BufferMode", "", NS).strip() or terms.buffer_mode


def _decoded(text: str) -> bytes:
    """Base64 that must be there.

    Raises:
        Fault: it is not.
    """
    try:
        # Old clients wrap lines.
        data = base64.b64decode("".join(text.split()), validate=True)
    except binascii.Error:
        data = b""
    if not data:
        raise faults.invalid_xml("base64 is missing or wrong")
    return data
