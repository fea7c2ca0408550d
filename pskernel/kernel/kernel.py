"""The Jupyter kernel: messages in, cells to the interactive session, messages out. No PowerShell here."""

from __future__ import annotations

import asyncio
import contextlib
import signal
import threading
from contextvars import copy_context
from typing import Any, ClassVar

from ipykernel._version import kernel_protocol_version
from ipykernel.kernelbase import Kernel
from platformdirs import user_log_path
from traitlets import Dict, Unicode

import pskernel
from pskernel.answers import FileAsker
from pskernel.cells.assertion import Assertion
from pskernel.cells.cell import Cell
from pskernel.cells.left import finish_left
from pskernel.cells.outcome import CellError, Outcome, own_error
from pskernel.cells.paced import CellOutput, Limits
from pskernel.cells.progress import ProgressDisplay
from pskernel.directives import read_directives
from pskernel.errors import PSKernelError
from pskernel.kernel.choice import SessionChoice
from pskernel.kernel.editing import EditorAnswers
from pskernel.kernel.prompts import StdinAsker
from pskernel.kernel.waiting import ConnectionNote
from pskernel.questions import Asker, NobodyToAsk

__all__ = ["RemotePowerShellKernel"]

# Requests that are answered while a cell runs. Front ends drop a completion after 1 s, and take a kernel that does not
# answer kernel_info for dead.
_WHILE_BUSY = {
    "comm_info_request",
    "complete_request",
    "history_request",
    "inspect_request",
    "is_complete_request",
    "kernel_info_request",
}
# An error aborts the cells that have arrived behind it. A refusal comes so fast that the rest of a Run All would still
# be on its way, and then run in a new session, without what the refused cell was to do.
_QUEUE_SECONDS = 0.5
_AFTER_FAILURE = "The command may have run on the remote. The kernel's log has the details; please report them."
# Jupyter kills a kernel that is still there 2.5 s after the request; leaving takes some of it.
_SHUTDOWN_SECONDS = 1.7
_SHUTDOWN_FOLLOWS_SECONDS = 0.3


class RemotePowerShellKernel(EditorAnswers, Kernel):
    """Forwards each cell verbatim to a remote runspace."""

    implementation = "pskernel"
    implementation_version = pskernel.__version__
    help_links: ClassVar = [{"text": "PowerShell", "url": "https://learn.microsoft.com/powershell/"}]

    # ipykernel sleeps before each reply so that its own output threads can catch up; ours is sent in order.
    _execute_sleep = 0.0

    target = Unicode("", help="Where cells run, such as ssh://admin@web01.").tag(config=True)
    spec_dir = Unicode("", help="The kernelspec's folder; its metadata may name the target.").tag(config=True)
    option = Dict(help="Options of the target: name=value.").tag(config=True)
    record = Unicode("", help="File to which what the remote sends is recorded, for replay.").tag(config=True)

    def __init__(self, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        name = getattr(self.parent, "kernel_name", "") or ""
        self._choice = SessionChoice(self.target, self.spec_dir, name, self.option, record=self.record)
        self._cell: Cell | None = None
        # Whether the session is being left as it is.
        self._is_leaving = False
        # The number of the session of which the user was told where it is.
        self._told = 0
        self._outcome: Outcome | None = None

    @property
    def banner(self) -> str:
        """Where cells run, as far as it is known before the connection is there; and whether that is lost for now."""
        target, session = self._choice.target, self._choice.session
        if target is None:
            return "Remote PowerShell: no target is named yet."
        is_lost = session is not None and session.connection == "reconnecting"
        return f"Remote PowerShell on {target.redacted}{' (reconnecting)' if is_lost else ''}"

    @property
    def language_info(self) -> dict[str, Any]:
        """What front ends need to highlight and export cells. JupyterLab goes by codemirror_mode."""
        session = self._choice.session
        return {
            "name": "powershell",
            "version": (session.facts.version if session else "") or "unknown",
            "mimetype": "application/x-powershell",
            "file_extension": ".ps1",
            "codemirror_mode": "powershell",
            "pygments_lexer": "powershell",
            "nbconvert_exporter": "script",
        }

    @property
    def kernel_info(self) -> dict[str, Any]:
        """The content of kernel_info_reply.

        ipykernel's own claims a debugger and subshells, which a remote runspace has not, and imports its debugger to
        find out: a third of the time that a kernel takes to start.
        """
        return {
            "protocol_version": kernel_protocol_version,
            "implementation": self.implementation,
            "implementation_version": self.implementation_version,
            "language_info": self.language_info,
            "banner": self.banner,
            "help_links": self.help_links,
            "supported_features": [],
        }

    def start(self) -> None:
        """Begin to serve, and to connect, without waiting for the connection."""
        super().start()
        if self._choice.session is not None:
            self.io_loop.add_callback(self._choice.session.begin)

    async def do_execute(
        self,
        code: str,
        silent: bool,
        store_history: bool = True,
        user_expressions: dict[str, Any] | None = None,
        allow_stdin: bool = False,
        *,
        cell_meta: dict[str, Any] | None = None,
        cell_id: str | None = None,
    ) -> dict[str, Any]:
        """Run one cell on the remote."""
        outcome = self._outcome = await self._outcome_of(code, silent=silent, allow_stdin=allow_stdin)
        history = self._choice.history
        if store_history and allow_stdin and not silent and code.strip() and history is not None:
            # What a person has typed; a run of a notebook is none of that.
            history.add(code)
        reply = self._reply(outcome.error if outcome else None)
        if not store_history and not silent:
            # ipykernel has counted it; the protocol counts only what is stored.
            self.execution_count -= 1
        return reply

    async def _outcome_of(self, code: str, *, silent: bool, allow_stdin: bool) -> Outcome | None:
        if not code.strip():
            return None
        parent = self.get_parent("shell")

        def send(kind: str, content: dict[str, Any]) -> None:
            if not silent:
                self._send(parent, kind, content)

        output = CellOutput(
            lambda name, text: send("stream", {"name": name, "text": text}),
            self._limits(),
            lambda: send("clear_output", {"wait": True}),
        )
        try:
            outcome = await self._run(output, code, allow_stdin=allow_stdin, by_user=not silent)
        except Exception as error:
            # Without a reply the front end would wait for ever. The text may hold anything, and goes to the log alone.
            self.log.exception("A cell came to an end that nobody thought of")
            outcome = Outcome(own_error("InternalError", f"pskernel failed ({type(error).__name__}). {_AFTER_FAILURE}"))
            if self._choice.session is not None:
                # Its last pipeline may still run, with nobody to read what it sends.
                await self._choice.session.abandon("The last cell ended with a failure of pskernel itself.")
        finally:
            await output.finish()
        if outcome.error is not None and not silent:
            self._send(parent, "error", _error_content(outcome.error))
            session = self._choice.session
            if not outcome.sent or (session is not None and session.stopped is not None):
                await asyncio.sleep(_QUEUE_SECONDS)
                if not parent["content"].get("stop_on_error", True):
                    # Asked to go on after errors, but this cell has not begun, or cells go to the debugger now.
                    self._abort_queues()
        return outcome

    def _publish_execute_input(self, code: str, parent: Any, execution_count: int) -> None:
        # Half characters (an emoji cut in two) arrive escaped, and cannot be sent on as ipykernel would: the request
        # would never be answered. The remote gets them as they are.
        shown = code.encode("utf-16", "surrogatepass").decode("utf-16", "replace")
        super()._publish_execute_input(shown, parent, execution_count)

    async def _run(self, output: CellOutput, code: str, *, allow_stdin: bool, by_user: bool) -> Outcome:
        try:
            directives = read_directives(code)
            session = self._choice.for_cell(code)
            files = self._choice.answers(directives.answers)
        except PSKernelError as error:
            return Outcome(own_error(type(error).__name__, str(error)), sent=False)
        target, gate, language = self._choice.target, self._choice.gate, self._choice.language
        assert target is not None  # noqa: S101 - a session has one
        assert gate is not None  # noqa: S101
        assert language is not None  # noqa: S101
        parent = self.get_parent("shell")

        def send(kind: str, content: dict[str, Any]) -> None:
            self._send(parent, kind, content)

        person = allow_stdin and by_user
        user = self._user(parent) if person else NobodyToAsk()
        asker = FileAsker(files, user) if files else user
        note = ConnectionNote(session, send, self._told)

        async def opened() -> CellError | None:
            # Nobody but a person confirms a production target: a file may have come with the notebook.
            refusal = await gate.refusal(session, user, code)
            if refusal is not None:
                return own_error("ProductionNotConfirmed", refusal)
            if person:
                self._told = await note.connected()
            line = gate.line(session)
            if line is not None and by_user:
                await output.write(line)
            who, limit = user if by_user else None, directives.timeout
            return await finish_left(session, output, stop, who, limit=limit, progress=progress)

        progress = ProgressDisplay(send if person else None)
        kind, stop = Assertion if directives.asserts else Cell, target.options.stop_timeout
        cell = kind(session, output, stop, progress=progress, directives=directives, opened=opened)
        self._cell = cell
        await language.begin_cell()
        try:
            async with note if person else contextlib.nullcontext():
                return await cell.run(code, asker, by_user=by_user)
        finally:
            self._cell = None
            language.end_cell()

    def _user(self, parent: Any) -> Asker:
        """Whoever sits before the front end that has sent a cell."""
        return StdinAsker(self.session, self.stdin_socket, self._stdin_ident(), parent)

    def _stdin_ident(self) -> Any:
        return self._get_shell_context_var(self._shell_parent_ident)

    def _limits(self) -> Limits:
        folder = user_log_path("pskernel", appauthor=False) / "cells"
        target = self._choice.target
        if target is None:
            return Limits(0, 0, folder)
        return Limits(target.options.output_rate, target.options.output_limit, folder)

    def _reply(self, error: CellError | None) -> dict[str, Any]:
        reply: dict[str, Any] = {
            "execution_count": self.execution_count,
            "payload": [],
            "user_expressions": {},
        }
        if error is None:
            return {"status": "ok", **reply}
        return {"status": "error", **reply, **_error_content(error)}

    def finish_metadata(self, parent: Any, metadata: dict[str, Any], reply_content: Any) -> dict[str, Any]:
        """Tell headless runs where the cell ran and how the script ended."""
        outcome, self._outcome = self._outcome, None
        target, session = self._choice.target, self._choice.session
        if outcome is not None:
            metadata["pskernel"] = {
                "target": target.redacted if target else None,
                "transport": target.scheme if target else None,
                "version": session.facts.version if session else None,
                "user": session.facts.user if session else None,
                "computer": session.facts.computer if session else None,
                "place": session.place if session and session.is_away else None,
                "connection": session.connection if session else None,
                "sent": outcome.sent,
                "own_error": outcome.error is not None and outcome.error.own,
                "exit_code": outcome.exit_code,
            }
        return metadata

    # Messages always carry the parent they belong to: ipykernel's own fallback is the latest request.

    def _send(self, parent: Any, kind: str, content: dict[str, Any]) -> None:
        self.session.send(self.iopub_socket, kind, content, parent=parent, ident=self._topic(kind))

    # Interrupts. ipykernel's own raise KeyboardInterrupt through the event loop, which ends the process.

    async def interrupt_request(self, stream: Any, ident: Any, parent: Any) -> None:
        """Stop the running cell. Called on the control thread.

        Front ends interrupt a kernel before they shut it down, and what is to stay is not to be stopped.
        """
        target = self._choice.target
        keeps = target is not None and target.options.keep
        self.io_loop.add_callback(self._interrupt_unless_shut_down if keeps else self._interrupt)
        self.session.send(stream, "interrupt_reply", {"status": "ok"}, parent, ident=ident)

    def _interrupt(self) -> None:
        if self._cell is not None:
            self._cell.interrupt()

    def _interrupt_unless_shut_down(self) -> None:
        cell = self._cell

        def interrupt() -> None:
            # By then another cell may run, for which it is not.
            if cell is not None and cell is self._cell and not self._is_leaving:
                cell.interrupt()

        self.io_loop.call_later(_SHUTDOWN_FOLLOWS_SECONDS, interrupt)

    def pre_handler_hook(self) -> None:
        """Keep a stray SIGINT (a terminal's Ctrl+C reaches the whole group) from ending the kernel."""
        if threading.current_thread() is threading.main_thread():
            self.saved_sigint_handler = signal.signal(
                signal.SIGINT, lambda *_: self.io_loop.add_callback_from_signal(self._interrupt)
            )

    def post_handler_hook(self) -> None:
        """Leave the handler in place: a SIGINT between two cells must not end the kernel either."""

    async def do_shutdown(self, restart: bool) -> dict[str, Any]:
        """Close the remote runspace, or leave it there. Called on the control thread; the session is the main one's."""
        target = self._choice.target
        self._is_leaving = not restart and target is not None and target.options.keep
        if self._choice.session is not None:
            loop = self.io_loop.asyncio_loop
            closing = asyncio.run_coroutine_threadsafe(self._choice.session.aclose(for_good=restart), loop)
            with contextlib.suppress(Exception):
                await asyncio.wait_for(asyncio.wrap_future(closing), _SHUTDOWN_SECONDS)
        return {"status": "ok", "restart": restart}

    async def do_debug_request(self, msg: dict[str, Any]) -> dict[str, Any]:
        """Decline; without an answer front ends wait for ever."""
        return {
            "type": "response",
            "request_seq": msg.get("seq", 0),
            "success": False,
            "command": msg.get("command", ""),
            "message": "This kernel has no debugger for front ends.",
        }

    async def shell_main(self, subshell_id: str | None, msg: Any) -> None:
        """Answer what does not need the remote's turn while a cell runs; all else waits for the cell."""
        if subshell_id is not None or not self._main_asyncio_lock.locked():
            await super().shell_main(subshell_id, msg)
            return
        if self._message_type(msg) not in _WHILE_BUSY:
            await super().shell_main(subshell_id, msg)
            return
        try:
            await asyncio.create_task(self._answer_while_busy(msg), context=copy_context())
        finally:
            # Threads without a context fall back to this one: it must be the running cell's again.
            self._shell_context = copy_context()
            if self._main_asyncio_lock.locked():
                # The last status is what front ends show as the kernel's state.
                self._publish_status("busy", "shell", parent=self.get_parent("shell"))

    async def _answer_while_busy(self, msg: Any) -> None:
        await self.dispatch_shell(msg, subshell_id=None, concurrent=True)
        # `concurrent` leaves these out, and JupyterLab waits for the idle of every request.
        self._publish_status("busy", "shell")
        self._publish_status("idle", "shell")

    def _message_type(self, msg: Any) -> str:
        try:
            _, frames = self.session.feed_identities(msg, copy=False)
            return str(self.session.deserialize(frames, content=False, copy=False)["header"]["msg_type"])
        except (ValueError, KeyError, TypeError):
            return ""


def _error_content(error: CellError) -> dict[str, Any]:
    return {"ename": error.name, "evalue": error.message, "traceback": error.traceback}
