"""Connections to one endpoint: as many as there are requests under way at a time, each with a login of its own.

A WSMan object that two threads use at a time seals messages for the wrong connection; so each request has one to
itself. All share the session id, which is what the server knows them by.
"""

from __future__ import annotations

import asyncio
import logging
import math
import xml.etree.ElementTree as ET
from dataclasses import dataclass
from typing import Any, Final
from uuid import uuid4

import requests
from pypsrp.wsman import NAMESPACES, OptionSet, SelectorSet, WSMan

from pskernel.errors import PSKernelError, RemoteProtocolError
from pskernel.threads import in_thread
from pskernel.transports.winrm.endpoint import WinRMEndpoint, WinRMLogin
from pskernel.transports.winrm.faults import FAILURES
from pskernel.transports.winrm.http import GuardedHttp
from pskernel.transports.winrm.line import Line
from pskernel.transports.winrm.tls import Certificates

__all__ = ["RECEIVE_SECONDS", "Channels"]

# They write whole messages to their logs, and to standard error where nobody configured any.
for _library in ("pypsrp", "spnego", "urllib3"):
    logging.getLogger(_library).setLevel(logging.CRITICAL)

# How long the server holds a Receive that has nothing to answer. Some hold it for 30 seconds whatever they are told.
RECEIVE_SECONDS: Final = 20
_SLACK_SECONDS: Final = 20.0
# Beyond the limits that the threads keep themselves: for what knows none, as the look-up of a name.
_LAST_RESORT_SECONDS: Final = 5.0
_FIRST_ENVELOPE: Final = 153_600


@dataclass(slots=True)
class _Channel:
    """One connection. Whoever uses it has it alone."""

    wsman: WSMan
    http: GuardedHttp


class Channels:
    """The connections.

    Args:
        endpoint: where.
        line: the state of the network.
        certificates: how the server and this side prove who they are.
    """

    def __init__(self, endpoint: WinRMEndpoint, line: Line, certificates: Certificates) -> None:
        self._endpoint = endpoint
        self._line = line
        self._certificates = certificates
        self._session_id = str(uuid4())
        self._free: list[_Channel] = []
        self.use_envelope(_FIRST_ENVELOPE)

    def use_envelope(self, size: int) -> None:
        """Note the largest message, in bytes, that the server takes and may send."""
        self._envelope = size
        # WSMan knows how much room the rest of a message takes.
        self.max_payload = int(
            WSMan(self._endpoint.host, path=self._endpoint.path, max_envelope_size=size).max_payload_size
        )

    async def call(
        self,
        action: str,
        resource_uri: str,
        body: ET.Element | None = None,
        *,
        options: OptionSet | None = None,
        selectors: SelectorSet | None = None,
        timeout: float = RECEIVE_SECONDS,  # noqa: ASYNC109 - it is part of the message
        twice: bool = False,
    ) -> ET.Element:
        """Send a request on a connection of its own and return the body of the answer.

        Args:
            action: what.
            resource_uri: of what kind of shell.
            body: what it says.
            options: of the operation.
            selectors: which shell.
            timeout: seconds the server may take.
            twice: whether it does no harm if the server sees the request twice.

        Raises:
            pypsrp.exceptions.WinRMError, requests.RequestException, PSKernelError: there is no answer, or a fault.
        """
        answer_within = timeout + _SLACK_SECONDS

        def request() -> ET.Element:
            channel = self._take()
            channel.wsman.operation_timeout = math.ceil(timeout)
            channel.http.answer_within = answer_within
            try:
                answer = channel.wsman.invoke(
                    action, resource_uri, body, options, selectors, retries_on_read_timeout=int(twice)
                )
            except ET.ParseError:
                raise RemoteProtocolError("The server's answer is not XML.") from None
            except (*FAILURES, PSKernelError):
                raise
            except Exception as error:  # noqa: BLE001 - pypsrp takes the parts of an answer for granted
                why = f"An answer of the server is malformed ({type(error).__name__})."
                raise RemoteProtocolError(why) from None
            finally:
                self._give_back(channel)
            found = answer.find("s:Body", NAMESPACES)
            if found is None:
                raise RemoteProtocolError("The server's answer has no body.")
            return found

        try:
            async with asyncio.timeout(self._patience(answer_within)):
                return await in_thread(request, "pskernel-winrm")
        except TimeoutError:
            raise requests.ReadTimeout("The answer did not come in time.") from None

    def _patience(self, answer_within: float) -> float:
        """Seconds after which nothing is waited for any longer, whatever it is tried for."""
        once = self._endpoint.connect_timeout + answer_within
        # The last try may begin when the window ends, and be made once more with a new login.
        again = 2 * once + self._line.window if self._line.session_exists else 0.0
        return once + again + _LAST_RESORT_SECONDS

    def close(self) -> None:
        """Drop all connections that are not in use; the others end with their requests."""
        self._line.close()
        while self._free:
            self._free.pop().http.close()

    def _take(self) -> _Channel:
        try:
            channel = self._free.pop()
        except IndexError:
            channel = self._build()
        channel.wsman.max_envelope_size = self._envelope
        return channel

    def _give_back(self, channel: _Channel) -> None:
        if self._line.closed:
            channel.http.close()
        else:
            self._free.append(channel)

    def _build(self) -> _Channel:
        endpoint, login = self._endpoint, self._endpoint.login
        sealed = endpoint.encrypted and not endpoint.tls
        wsman = WSMan(
            endpoint.host,
            port=endpoint.actual_port,
            ssl=endpoint.tls,
            path=endpoint.path,
            auth=login.auth,
            **_account(login),
            encryption="always" if sealed else "never",
            proxy=endpoint.proxy if "://" in endpoint.proxy else None,
            no_proxy=endpoint.proxy == "none",
            locale=endpoint.ui_culture,
            data_locale=endpoint.culture,
            **self._certificates.arguments(),
            **_kerberos(login),
        )
        wsman.session_id = self._session_id
        http = GuardedHttp(
            wsman.transport,
            self._certificates.settings(),
            self._line,
            encrypted=sealed,
            connect_timeout=endpoint.connect_timeout,
        )
        wsman.transport = http  # type: ignore[assignment] # it has what WSMan uses
        return _Channel(wsman, http)


def _account(login: WinRMLogin) -> dict[str, Any]:
    password = None if login.secret is None else login.secret.reveal()
    if login.auth != "basic":
        return {"username": login.user, "password": password}
    # RFC 7617; requests would take Latin-1, and quote what is not.
    return {"username": (login.user or "").encode(), "password": (password or "").encode()}


def _kerberos(login: WinRMLogin) -> dict[str, Any]:
    if login.auth not in {"negotiate", "kerberos", "ntlm"}:
        return {}
    service, _, host = (login.spn or "").partition("/")
    return {
        "negotiate_delegate": login.delegate,
        "negotiate_send_cbt": True,
        **({"negotiate_service": service, "negotiate_hostname_override": host} if host else {}),
    }
