"""A server that sends the session elsewhere (Exchange Online did): followed only as far as the user wants it to."""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import replace
from typing import Final
from urllib.parse import urlsplit

from pskernel.errors import ConnectError, PromptUnavailable
from pskernel.questions import Asker, Question
from pskernel.transports.streams import plain_text
from pskernel.transports.winrm.endpoint import WinRMEndpoint
from pskernel.transports.winrm.http import Redirected

__all__ = ["Redirection"]

_PATH: Final = re.compile(r"[!-~]*")


class Redirection:
    """Counts, warns, and asks before a credential goes to a host that the user did not name.

    Args:
        asker: who is asked.
        warn: takes sentences for the user.
    """

    def __init__(self, asker: Asker, warn: Callable[[str], None]) -> None:
        self._asker = asker
        self._warn = warn
        self._followed = 0

    async def follow(self, endpoint: WinRMEndpoint, redirected: Redirected) -> WinRMEndpoint:
        """Return the endpoint to try next.

        Raises:
            ConnectError: it must not be followed.
        """
        location = plain_text(redirected.location)[:1_000]
        start = f"Connecting to remote server {endpoint.host} failed with the following error message : "
        if self._followed >= endpoint.redirections:
            raise ConnectError(
                f"{start}The server redirects to {location}. It was not followed: "
                + (
                    f"{self._followed} redirections (max_redirections, MaximumConnectionRedirectionCount) were enough."
                    if self._followed
                    else "say allow_redirection=true (-AllowRedirection) if you trust it, or name that address."
                )
            )
        self._followed += 1
        elsewhere = _read(location, endpoint, start)
        self._warn(f'Your connection has been redirected to the following URI: "{elsewhere.url}"')
        if elsewhere.host != endpoint.host:
            await self._confirm(endpoint, elsewhere, start)
        return elsewhere

    async def _confirm(self, endpoint: WinRMEndpoint, elsewhere: WinRMEndpoint, start: str) -> None:
        question = Question(
            f"{endpoint.host} sends this session to {elsewhere.host}. To log in there, type its name: ", secret=False
        )
        try:
            answer = await self._asker.ask(question)
        except PromptUnavailable:
            answer = ""
        if answer.strip().lower() != elsewhere.host:
            raise ConnectError(
                f"{start}The server redirects to another host, {elsewhere.host}, and nobody confirmed that the "
                "credential may go there. Name that address yourself."
            )


def _read(location: str, endpoint: WinRMEndpoint, start: str) -> WinRMEndpoint:
    try:
        url = urlsplit(location)
        port, host = url.port, url.hostname
    except ValueError:
        port = host = None
    if not host or url.scheme not in {"http", "https"} or url.username or not _PATH.fullmatch(url.path + url.query):
        raise ConnectError(f"{start}The server redirects to {location or 'nowhere'}, which is no WinRM address.")
    if endpoint.tls and url.scheme == "http":
        raise ConnectError(f"{start}The server redirects from HTTPS to HTTP ({location}), which is not followed.")
    tls = url.scheme == "https"
    path, _, query = endpoint.path.partition("?")
    # It may say whose (DelegatedOrg): where the server says nothing of it, it holds there too.
    query = url.query or query
    return replace(
        endpoint,
        host=host,
        port=port or (443 if tls else 80),
        tls=tls,
        path=(url.path.strip("/") or path) + (f"?{query}" if query else ""),
    )
