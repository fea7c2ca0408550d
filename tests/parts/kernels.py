"""Real kernels, as a front end sees them: started through jupyter_client, spoken to through its channels."""

from __future__ import annotations

import contextlib
import math
import os
import queue
import select
import socket
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from jupyter_client.blocking.client import BlockingKernelClient
from jupyter_client.kernelspec import KernelSpec
from jupyter_client.manager import KernelManager
from jupyter_client.provisioning.local_provisioner import LocalProvisioner

CHECKOUT = Path(__file__).parents[2]
WAIT = 30.0

Message = dict[str, Any]


@dataclass
class Run:
    """What one request led to: its iopub messages in order, and its reply."""

    messages: list[Message]
    reply: Message

    @property
    def status(self) -> str:
        return str(self.reply["content"]["status"])

    @property
    def kinds(self) -> list[str]:
        return [message["msg_type"] for message in self.messages]

    @property
    def streams(self) -> list[tuple[str, str]]:
        return [(m["content"]["name"], m["content"]["text"]) for m in self.messages if m["msg_type"] == "stream"]

    @property
    def stdout(self) -> str:
        return "".join(text for name, text in self.streams if name == "stdout")

    @property
    def stderr(self) -> str:
        return "".join(text for name, text in self.streams if name == "stderr")

    @property
    def errors(self) -> list[Message]:
        return [message["content"] for message in self.messages if message["msg_type"] == "error"]

    @property
    def ename(self) -> str:
        """The name of the one error there is."""
        (error,) = self.errors
        return str(error["ename"])

    @property
    def evalue(self) -> str:
        (error,) = self.errors
        return str(error["evalue"])

    @property
    def record(self) -> Mapping[str, Any]:
        """The reply's metadata for headless runs."""
        record: Mapping[str, Any] = self.reply["metadata"]["pskernel"]
        return record


@dataclass
class Kernel:
    """A running kernel and a client of it."""

    manager: KernelManager
    client: BlockingKernelClient
    seen: list[Message] = field(default_factory=list)
    arrived: list[float] = field(default_factory=list)
    replies: dict[str, Message] = field(default_factory=dict)

    @property
    def process(self) -> subprocess.Popen[Any]:
        """The kernel's process; jupyter_client forgets it at the end."""
        assert isinstance(self.manager.provisioner, LocalProvisioner)
        assert self.manager.provisioner.process is not None
        return self.manager.provisioner.process

    @property
    def pid(self) -> int:
        return self.process.pid

    def send(self, code: str, **options: Any) -> str:
        """Send a cell, and return the id of the request."""
        options.setdefault("allow_stdin", False)
        return str(self.client.execute(code, **options))

    def run(self, code: str, wait: float = WAIT, **options: Any) -> Run:
        return self.finish(self.send(code, **options), wait)

    def finish(self, request: str, wait: float = WAIT) -> Run:
        """Wait for the reply and the idle of a request."""
        self.until(lambda: self._is_idle(request), wait)
        return Run(self.of(request), self.reply(request, wait))

    def reply(self, request: str, wait: float = WAIT) -> Message:
        end = time.monotonic() + wait
        while request not in self.replies:
            message = self.client.get_shell_msg(timeout=max(0.001, end - time.monotonic()))
            self.replies[message["parent_header"].get("msg_id", "")] = message
        return self.replies[request]

    def until(self, condition: Callable[[], Any], wait: float = WAIT) -> None:
        """Read iopub until the condition holds."""
        end = time.monotonic() + wait
        while not condition():
            try:
                message = self.client.get_iopub_msg(timeout=max(0.001, end - time.monotonic()))
            except queue.Empty:
                raise AssertionError(f"not within {wait} s; seen: {[_brief(m) for m in self.seen[-20:]]}") from None
            self.seen.append(message)
            self.arrived.append(time.monotonic())

    def of(self, request: str) -> list[Message]:
        """The iopub messages of a request so far."""
        return [message for message in self.seen if message["parent_header"].get("msg_id") == request]

    def text(self, request: str) -> str:
        """What a request has shown so far on stdout."""
        return Run(self.of(request), {}).stdout

    def shows(self, request: str, text: str, wait: float = WAIT) -> None:
        """Wait until a request has shown a text."""
        self.until(lambda: text in self.text(request), wait)

    def ask(self, kind: str, content: Mapping[str, Any], wait: float = WAIT) -> Run:
        """Send any request on the shell channel, and wait for its reply and idle."""
        message = self.client.session.msg(kind, dict(content))
        self.client.shell_channel.send(message)
        return self.finish(message["header"]["msg_id"], wait)

    def interrupt(self) -> None:
        """Press stop, and wait until the kernel has taken note."""
        self.control("interrupt_request", {})

    def control(self, kind: str, content: Mapping[str, Any], wait: float = WAIT) -> Message:
        """Send a request on the control channel, and wait for its reply."""
        message = self.client.session.msg(kind, dict(content))
        self.client.control_channel.send(message)
        reply: Message = self.client.get_control_msg(timeout=wait)
        assert reply["parent_header"]["msg_id"] == message["header"]["msg_id"]
        return reply

    def is_alive(self) -> bool:
        return bool(self.manager.is_alive())

    def remote_pid(self) -> int:
        return int(self.run("$PID").stdout)

    def _is_idle(self, request: str) -> bool:
        return any(m["msg_type"] == "status" and m["content"]["execution_state"] == "idle" for m in self.of(request))


def _brief(message: Message) -> str:
    return f"{message['msg_type']} {str(message['content'])[:150]}"


@dataclass
class Starter:
    """Starts kernels, each in a clean environment, and ends them all."""

    folder: Path
    running: list[Kernel] = field(default_factory=list)
    sockets: contextlib.ExitStack = field(default_factory=contextlib.ExitStack)

    @property
    def logs(self) -> Path:
        """Where the kernel puts output that is too long to show."""
        return self.folder / "state" / "pskernel" / "log" / "cells"

    def __call__(
        self,
        target: str = "",
        *options: str,
        env: Mapping[str, str] | None = None,
        arguments: tuple[str, ...] = (),
        name: str = "",
    ) -> Kernel:
        """Start a kernel for a target, with options of the target (``name=value``) and further arguments.

        ``name`` is the name of the kernelspec, as the connection file tells it.
        """
        argv = [sys.executable, "-m", "pskernel", "-f", "{connection_file}", *arguments]
        argv += ["--target", target] if target else []
        for option in options:
            argv += ["--option", option]
        # Sockets in a folder of their own: with TCP another process may take the port before the kernel does.
        sockets = tempfile.TemporaryDirectory(prefix="psk-")
        self.sockets.callback(sockets.cleanup)
        manager = KernelManager(
            transport="ipc",
            ip=f"{sockets.name}/s",
            connection_file=f"{sockets.name}/connection.json",
            shutdown_wait_time=8.0,
        )
        manager.kernel_name = name
        manager._kernel_spec = KernelSpec(
            argv=argv, display_name="test", language="powershell", interrupt_mode="message", resource_dir=""
        )
        manager.start_kernel(env={**self.environment(), **(env or {})})
        client = manager.client()
        kernel = Kernel(manager, client)
        self.running.append(kernel)
        client.start_channels()
        client.wait_for_ready(timeout=WAIT)
        return kernel

    def environment(self) -> dict[str, str]:
        kept = {name: value for name, value in os.environ.items() if not name.startswith(("PSKERNEL_", "JUPYTER_"))}
        return {
            **kept,
            "PYTHONPATH": str(CHECKOUT),
            "XDG_STATE_HOME": str(self.folder / "state"),
            "XDG_DATA_HOME": str(self.folder / "share"),
            "IPYTHONDIR": str(self.folder / "ipython"),
            "JUPYTER_CONFIG_DIR": str(self.folder / "config"),
            "JUPYTER_DATA_DIR": str(self.folder / "data"),
            "JUPYTER_RUNTIME_DIR": str(self.folder / "runtime"),
        }

    def end(self, kernel: Kernel) -> None:
        """Shut a kernel down, if the test has not; it must leave by itself."""
        self.running.remove(kernel)
        try:
            if kernel.manager.has_kernel and kernel.is_alive():
                process = kernel.process
                kernel.manager.shutdown_kernel()
                assert process.returncode == 0, f"the kernel left with {process.returncode}"
        finally:
            if kernel.manager.has_kernel:
                kernel.manager.shutdown_kernel(now=True)
            kernel.client.stop_channels()
            kernel.manager.cleanup_resources()
            kernel.client.context.destroy(linger=0)
            kernel.manager.context.destroy(linger=0)

    def end_all(self) -> None:
        with self.sockets, contextlib.ExitStack() as ends:
            for kernel in self.running.copy():
                ends.callback(self.end, kernel)


@dataclass
class Gate:
    """A file that a cell waits for."""

    path: Path

    @property
    def wait(self) -> str:
        """The PowerShell that waits."""
        return f"while (-not (Test-Path -LiteralPath '{self.path}')) {{ Start-Sleep -Milliseconds 10 }}"

    def open(self) -> None:
        self.path.touch()


def wait_gone(pid: int, wait: float = 10.0) -> float:
    """Wait until a process, which need not be a child of ours, has ended; return the seconds it took."""
    began = time.monotonic()
    try:
        handle = os.pidfd_open(pid)
    except ProcessLookupError:
        return 0.0
    try:
        poller = select.poll()
        poller.register(handle, select.POLLIN)
        assert poller.poll(wait * 1000), f"process {pid} is still there after {wait} s"
    finally:
        os.close(handle)
    return time.monotonic() - began


class Relay:
    """A Unix-domain socket in front of real engines, on which the way back can be held up, cut and tampered with."""

    def __init__(self, pwsh: str) -> None:
        self._folder = tempfile.TemporaryDirectory(prefix="psk-")
        self.path = f"{self._folder.name}/relay"
        self._pwsh = pwsh
        self._listener = socket.socket(socket.AF_UNIX)
        self._listener.bind(self.path)
        self._listener.listen()
        self._may_answer = threading.Event()
        self._may_answer.set()
        self._held = threading.Event()
        self._until_hold = math.inf
        self._ended = threading.Event()
        self._connection: socket.socket | None = None
        self._engines: list[subprocess.Popen[bytes]] = []
        self._threads: list[threading.Thread] = []
        self._run(self._serve)

    @property
    def target(self) -> str:
        return f"unix:{self.path}"

    def hold(self) -> None:
        """Keep back what the engine says from now on."""
        self._may_answer.clear()

    def hold_after(self, sent: int) -> None:
        """Keep back what the engine says once the client has sent this many bytes more."""
        self._held.clear()
        self._until_hold = sent

    def wait_held(self) -> None:
        assert self._held.wait(WAIT), "the client did not send that much"

    def release(self) -> None:
        self._may_answer.set()

    def inject(self, data: bytes) -> None:
        """Send the client what no engine said."""
        assert self._connection is not None
        self._connection.sendall(data)

    def cut(self) -> None:
        """Drop the connection; the engine behind it lives on until its input ends."""
        assert self._connection is not None
        self._connection.shutdown(socket.SHUT_RDWR)
        assert self._ended.wait(WAIT), "the connection did not end"

    def close(self) -> None:
        self.release()
        with contextlib.suppress(OSError):
            self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()
        for engine in self._engines:
            engine.kill()
            engine.wait(WAIT)
        for thread in self._threads:
            thread.join(WAIT)
        self._folder.cleanup()

    def _run(self, work: Callable[..., None], *arguments: Any) -> None:
        thread = threading.Thread(target=work, args=arguments, daemon=True)
        self._threads.append(thread)
        thread.start()

    def _serve(self) -> None:
        while True:
            try:
                connection, _ = self._listener.accept()
            except OSError:
                return
            engine = subprocess.Popen(
                [self._pwsh, "-s", "-NoLogo", "-NoProfile"],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=subprocess.DEVNULL,
                bufsize=0,
            )
            self._engines.append(engine)
            self._connection = connection
            self._ended.clear()
            self._run(self._to_engine, connection, engine)
            self._run(self._to_client, connection, engine)

    def _to_engine(self, connection: socket.socket, engine: subprocess.Popen[bytes]) -> None:
        assert engine.stdin is not None
        with contextlib.suppress(OSError), engine.stdin as sink:
            while data := connection.recv(65536):
                self._until_hold -= len(data)
                if self._until_hold <= 0:
                    self._until_hold = math.inf
                    self._may_answer.clear()
                    self._held.set()
                sink.write(data)

    def _to_client(self, connection: socket.socket, engine: subprocess.Popen[bytes]) -> None:
        assert engine.stdout is not None
        with contextlib.suppress(OSError), engine.stdout as source:
            while data := source.read(65536):
                self._may_answer.wait()
                connection.sendall(data)
        with contextlib.suppress(OSError):
            # The other thread waits in recv, which close() alone would not end.
            connection.shutdown(socket.SHUT_RDWR)
        connection.close()
        self._ended.set()
