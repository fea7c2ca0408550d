"""The WinRM transport: one shell at a WSMan service carries one runspace pool (MS-PSRP 3.1.5.3, MS-WSMV).

From Create to Delete one Receive for the pool is outstanding, and one for each pipeline until its state is Done:
servers answer nothing else without it, and take a shell for abandoned. What a server owes it sends in order, and
numbers it; so after an interruption nothing is shown twice, and what is missing is noticed.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Callable
from typing import TYPE_CHECKING, Final
from uuid import UUID

from pypsrp.exceptions import WSManFaultError
from pypsrp.wsman import WSManAction

from pskernel.errors import PSKernelError, RemoteProtocolError, TransportClosed
from pskernel.protocol.fragments import pool_of
from pskernel.records import Notice
from pskernel.transports.base import Gone, Payload, PoolGone
from pskernel.transports.winrm import messages
from pskernel.transports.winrm.arrivals import Arrivals
from pskernel.transports.winrm.arrived import Arrived
from pskernel.transports.winrm.channels import RECEIVE_SECONDS, Channels
from pskernel.transports.winrm.envelope import find_envelope
from pskernel.transports.winrm.faults import (
    DISCONNECTED,
    FAILURES,
    NO_SUCH_SHELL,
    TIMED_OUT,
    about_command,
    as_closed,
    as_connect_error,
    code_of,
)
from pskernel.transports.winrm.http import Redirected
from pskernel.transports.winrm.line import Line
from pskernel.transports.winrm.redirection import Redirection
from pskernel.transports.winrm.tls import Certificates

if TYPE_CHECKING:
    import xml.etree.ElementTree as ET

    from pypsrp.wsman import OptionSet

    from pskernel.questions import Asker
    from pskernel.transports.winrm.endpoint import WinRMEndpoint

__all__ = ["WinRMTransport"]

# A server that does not answer any more must not hold up who leaves.
_FAREWELL_SECONDS: Final = 2.0


class WinRMTransport:
    """A :class:`pskernel.transports.base.Transport`. Nothing is contacted before :meth:`open`.

    Args:
        endpoint: where.
        asker: whom to ask before a credential goes to another host than the one that was named.
        tell: takes sentences for the user about the way there; otherwise they are notices.

    Raises:
        TargetError: a certificate cannot be used.
    """

    def __init__(self, endpoint: WinRMEndpoint, *, asker: Asker, tell: Callable[[str], None] | None = None) -> None:
        self._endpoint = endpoint
        self._tell = tell
        self._redirection = Redirection(asker, self._notify)
        self._arrived = Arrived()
        self._arrivals = Arrivals()
        self._shell_id = UUID(int=0)
        self._sending = asyncio.Lock()
        # Not while the shell is left to the server.
        self._connected = asyncio.Event()
        self._connected.set()
        self._times_left, self._dropping, self._lost_when = 0, False, ""
        # What the server calls our pipelines.
        self._command_ids: dict[UUID, UUID] = {}
        self._pumps: dict[UUID | None, asyncio.Task[None]] = {}
        # Whether pipelines that begin are left to the server, and those that were.
        self.holding = False
        self._held: list[UUID] = []
        # The way to a shell; whether one that is not closed stays there, as one of another client's does.
        self._creating: asyncio.Task[ET.Element] | None = None
        self.leaves = False
        self._farewell: asyncio.Task[None] | None = None
        self._use(endpoint)

    def _use(self, endpoint: WinRMEndpoint) -> None:
        self._endpoint = endpoint
        self._line = Line(endpoint.host, endpoint.reconnect_timeout, self._notify)
        self._channels = Channels(endpoint, self._line, Certificates(endpoint))

    @property
    def max_payload(self) -> int:
        """Bytes of fragments that one message carries; more after :meth:`open`, if the server takes more."""
        return self._channels.max_payload

    async def open(self, data: bytes) -> None:
        """Create the shell; the server may send us elsewhere first.

        Raises:
            ConnectError: the subclasses say why.
        """
        if self._line.session_exists:
            await self.send(None, data)
            return
        self._shell_id = pool_of(data)
        while not await self._create(data):
            pass
        self._line.session_exists = True
        self._pump(None)
        envelope = await find_envelope(self._channels)
        if envelope is not None:
            self._channels.use_envelope(envelope)

    async def _create(self, data: bytes) -> bool:
        """Returns whether the shell exists; otherwise the endpoint is another one now."""
        endpoint = self._endpoint
        body = messages.shell(self._shell_id, data, name=endpoint.name, idle_timeout=endpoint.idle_timeout)
        self._creating = asyncio.create_task(
            self._channels.call(
                WSManAction.CREATE,
                endpoint.resource_uri,
                body,
                options=messages.pool_options(profile=endpoint.machine_profile),
                timeout=endpoint.operation_timeout,
            )
        )
        try:
            answer = await asyncio.shield(self._creating)
        except Redirected as error:
            self._creating = None
            elsewhere = await self._redirection.follow(endpoint, error)
            self._channels.close()
            self._use(elsewhere)
            return False
        except (*FAILURES, PSKernelError) as error:
            self._creating = None
            self._fail(as_connect_error(error, endpoint))
            raise self._failed from None
        # Windows 7 chooses ids of its own.
        self._shell_id = messages.created(answer) or self._shell_id
        return True

    async def command(self, pipeline_id: UUID, data: bytes) -> None:
        """Create a pipeline, and begin to receive what it sends."""
        async with self._sending:
            answer = await self._request(WSManAction.COMMAND, messages.command(pipeline_id, data))
            self._command_ids[pipeline_id] = messages.commanded(answer) or pipeline_id
        if self.holding:
            self._held.append(pipeline_id)
        else:
            self._pump(pipeline_id)

    async def send(self, pipeline_id: UUID | None, data: bytes, *, prompt_response: bool = False) -> None:
        """Send fragments, after those that were sent before."""
        body = messages.send(self._command_id(pipeline_id), data, prompt_response=prompt_response)
        async with self._sending:
            await self._request(WSManAction.SEND, body)

    async def signal(self, pipeline_id: UUID) -> None:
        """Ask for a stop. A server may end the whole shell over a signal for a pipeline that is gone."""
        if self._runs(pipeline_id):
            await self._signal(pipeline_id, messages.CODE_STOP, twice=True)

    async def close_pipeline(self, pipeline_id: UUID) -> None:
        """Wait until the server has sent all of it, and let it forget the pipeline."""
        pump = self._pumps.get(pipeline_id)
        if pump is None:
            return
        await asyncio.wait({pump})
        self._pumps.pop(pipeline_id, None)
        if self._arrived.failure is None:
            await self._signal(pipeline_id, messages.CODE_TERMINATE)
            self._command_ids.pop(pipeline_id, None)
            interrupted = self._line.take_interrupted()
            dropping, self._dropping = self._dropping, False
            if interrupted or dropping:
                self._lost_when = "when the connection was interrupted" if interrupted else "while the session was left"
                # What was dropped while nobody was there is on no way any more.
                self._arrivals.suspect(each for each in self._pumps if interrupted and self._runs(each))
                self._report(self._arrivals.heard(pipeline_id))

    async def _signal(self, pipeline_id: UUID, code: str, *, twice: bool = False) -> None:
        body = messages.signal(self._command_ids.get(pipeline_id, pipeline_id), code)
        await self._request(WSManAction.SIGNAL, body, twice=twice)

    async def disconnect(self, *, idle_timeout: float | None = None, buffering: str | None = None) -> None:
        """Leave the shell to the server."""
        self._connected.clear()
        self._times_left += 1
        buffering = buffering or self._endpoint.output_buffering
        self._dropping = buffering == "drop"
        body = messages.disconnect(idle_timeout=idle_timeout or self._endpoint.idle_timeout, buffering=buffering)
        try:
            await self._request(WSManAction.DISCONNECT, body)
        except TransportClosed:
            self._come_back()
            raise

    async def reconnect(self) -> None:
        """Come back to it."""
        await self._request(WSManAction.RECONNECT, None)
        self._come_back()

    def _come_back(self) -> None:
        self._connected.set()
        held, self._held = self._held, []
        for pipeline_id in held:
            self._pump(pipeline_id)

    async def attach(self, pool_id: UUID, data: bytes) -> bytes:
        """Come to a shell that another client has left."""
        self._shell_id = pool_id
        try:
            answer = await self._ask(
                WSManAction.CONNECT,
                messages.connect(data),
                options=messages.pool_options(),
            )
        except (*FAILURES, PSKernelError) as error:
            self._fail(as_connect_error(error, self._endpoint))
            raise self._failed from None
        self._line.session_exists = self.leaves = True
        self._arrivals.start_late()
        self._pump(None)
        # They are numbered with the others.
        return self._arrivals.take(messages.connected(answer))

    async def resume(self, pipeline_id: UUID) -> None:
        """Receive from a pipeline of such a shell. Windows wants to be asked first; others refuse, and send it all."""
        with contextlib.suppress(*FAILURES, PSKernelError):
            await self._ask(WSManAction.CONNECT, messages.connect(None, pipeline_id))
        self._pump(pipeline_id)

    async def receive(self) -> list[Payload | Gone | Notice]:
        """Return what has arrived.

        Raises:
            TransportClosed: the shell, or the way to it, is gone.
            RemoteProtocolError: an answer makes no sense.
        """
        return await self._arrived.take()

    async def close_pool(self) -> None:
        """End the shell. That it is gone already is no error."""
        self._creating, self.leaves = None, False
        with contextlib.suppress(TransportClosed):
            await self._request(WSManAction.DELETE, None, twice=True)

    async def aclose(self) -> None:
        """Drop the connections. What was not closed is ended there, or left there if another client had begun it."""
        if self._farewell is None:
            self._farewell = asyncio.create_task(self._give_back())
        await asyncio.shield(self._farewell)
        self._fail(TransportClosed("The connection was closed on this side."))
        self._channels.close()
        pumps = [pump for pump in self._pumps.values() if not pump.done()]
        for pump in pumps:
            pump.cancel()
        await asyncio.gather(*pumps, return_exceptions=True)

    async def _give_back(self) -> None:
        """A server would keep for hours what nobody comes back to."""
        if isinstance(self._arrived.failure, TransportClosed) or not self._connected.is_set():
            return
        with contextlib.suppress(*FAILURES, PSKernelError, TimeoutError):
            async with asyncio.timeout(_FAREWELL_SECONDS):
                if self.leaves:
                    await self.disconnect()
                elif self._creating is not None:
                    # Whoever wanted it may have gone while it was being made.
                    self._shell_id = messages.created(await self._creating) or self._shell_id
                    await self._ask(WSManAction.DELETE, None, twice=True)

    def diagnostics(self) -> str:
        """There is nothing but the protocol."""
        return ""

    def _runs(self, pipeline_id: UUID | None) -> bool:
        pump = self._pumps.get(pipeline_id)
        return pump is not None and not pump.done()

    async def _request(self, action: str, body: ET.Element | None, *, twice: bool = False) -> ET.Element:
        if self._arrived.failure is not None:
            raise self._failed
        try:
            return await self._ask(action, body, twice=twice)
        except (*FAILURES, PSKernelError) as error:
            kind = PoolGone if code_of(error) == NO_SUCH_SHELL else TransportClosed
            raise kind(str(as_closed(error, self._endpoint))) from None

    async def _ask(
        self, action: str, body: ET.Element | None, *, options: OptionSet | None = None, twice: bool = False
    ) -> ET.Element:
        return await self._channels.call(
            action,
            self._endpoint.resource_uri,
            body,
            options=options,
            selectors=messages.selectors(self._shell_id),
            timeout=self._endpoint.operation_timeout,
            twice=twice,
        )

    def _pump(self, pipeline_id: UUID | None) -> None:
        self._pumps[pipeline_id] = asyncio.create_task(self._receive_all(pipeline_id), name="pskernel-winrm-receive")

    async def _receive_all(self, pipeline_id: UUID | None) -> None:
        """Receive until the pipeline is done, or the pool gone. The only place that asks for output."""
        try:
            await self._receive_until_done(pipeline_id)
            if pipeline_id is None:
                self._fail(TransportClosed(f"The server {self._endpoint.host} has ended the session."))
            else:
                # Usually its state came before.
                await self._arrived.put(Gone(pipeline_id, "The server ended the command, and did not say how."))
        except PSKernelError as error:
            self._fail(error)
        except WSManFaultError as error:
            if pipeline_id is None or code_of(error) == DISCONNECTED:
                self._fail(as_closed(error, self._endpoint))
            else:
                # The server may know the shell, and this command no more. If it is the shell, the pool hears it too.
                await self._arrived.put(Gone(pipeline_id, about_command(error, self._endpoint)))
        except FAILURES as error:
            self._fail(as_closed(error, self._endpoint))
        except Exception as error:  # noqa: BLE001 - nobody would learn of it, and the session wait for ever
            self._fail(RemoteProtocolError(f"Output of {self._endpoint.host} makes no sense ({type(error).__name__})."))
        finally:
            self._report(self._arrivals.heard(pipeline_id))

    async def _receive_until_done(self, pipeline_id: UUID | None) -> None:
        done, size, limit = False, 0, self._endpoint.max_received
        while not done:
            answer = await self._receive_once(pipeline_id)
            done = answer is not None and answer.done
            for data in answer.streams if answer is not None else ():
                size += len(data)
                if limit is not None and pipeline_id is not None and size > limit:
                    raise RemoteProtocolError(
                        f"A command has sent more than {limit} bytes (MaximumReceivedDataSizePerCommand)."
                    )
                new = self._arrivals.take(data)
                if new:
                    await self._arrived.put(Payload(pipeline_id, new))
            self._report(self._arrivals.heard(pipeline_id))

    async def _receive_once(self, pipeline_id: UUID | None) -> messages.Received | None:
        """None where the server had nothing to say in its time."""
        times_left = self._times_left
        try:
            body = await self._channels.call(
                WSManAction.RECEIVE,
                self._endpoint.resource_uri,
                messages.receive(self._command_id(pipeline_id)),
                options=messages.options(messages.KEEP_ALIVE),
                selectors=messages.selectors(self._shell_id),
                timeout=RECEIVE_SECONDS,
                twice=True,
            )
        except FAILURES as error:
            if times_left != self._times_left or not self._connected.is_set():
                # That was for a Receive from before the shell was left; its fault may come after we are back.
                await self._connected.wait()
            elif code_of(error) != TIMED_OUT:
                raise
            return None
        return messages.read_received(body)

    def _command_id(self, pipeline_id: UUID | None) -> UUID | None:
        return None if pipeline_id is None else self._command_ids.get(pipeline_id, pipeline_id)

    @property
    def _failed(self) -> PSKernelError:
        return self._arrived.failure or TransportClosed("The connection was closed.")

    def _fail(self, error: PSKernelError) -> None:
        self._arrived.fail(error)

    def _report(self, missing: int) -> None:
        if missing:
            self._notify(
                f"{missing} messages of {self._endpoint.host} were lost {self._lost_when}: output of this session is "
                "missing."
            )

    def _notify(self, text: str) -> None:
        """From any thread."""
        if self._tell is not None and not self._line.session_exists:
            self._tell(text)
        else:
            self._arrived.tell(text)
