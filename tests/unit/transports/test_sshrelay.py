"""The socket of a relay over an SSH connection: what it means that the channel was not opened."""

from __future__ import annotations

import asyncio
from types import SimpleNamespace
from typing import Any, cast

import asyncssh
import pytest

from pskernel.errors import PSKernelError, TargetUnreachable
from pskernel.questions import NobodyToAsk
from pskernel.transports.base import PoolGone
from pskernel.transports.ssh import relay
from pskernel.transports.ssh.login import SSHEndpoint


class Connection:
    def __init__(self, code: int, *, closed: bool) -> None:
        self._code, self._closed = code, closed

    async def create_unix_connection(self, *_: object, **__: object) -> None:
        raise asyncssh.ChannelOpenError(self._code, "SSH connection closed")

    def is_closed(self) -> bool:
        return self._closed


class Route:
    connection: Connection

    def __init__(self, *_: object) -> None:
        self.connections = [self.connection]

    async def reach(self, *_: object) -> Any:
        return SimpleNamespace(timeout=5, port=22)

    async def abandon(self) -> None:
        """Nothing is open."""


@pytest.mark.parametrize(
    ("code", "closed", "kind"),
    [
        (asyncssh.OPEN_CONNECT_FAILED, False, PoolGone),
        (asyncssh.OPEN_ADMINISTRATIVELY_PROHIBITED, False, PoolGone),
        (asyncssh.OPEN_CONNECT_FAILED, True, TargetUnreachable),
        (asyncssh.OPEN_RESOURCE_SHORTAGE, False, TargetUnreachable),
    ],
)
def test_only_a_server_that_is_there_can_say_that_the_relay_is_gone(
    monkeypatch: pytest.MonkeyPatch, code: int, closed: bool, kind: type[PSKernelError]
) -> None:
    monkeypatch.setattr(Route, "connection", Connection(code, closed=closed), raising=False)
    monkeypatch.setattr(relay, "Route", Route)
    endpoint = SSHEndpoint("web01")
    with pytest.raises(kind) as caught:
        asyncio.run(relay.open_socket_by_ssh(endpoint, "/tmp/s", asker=cast("Any", NobodyToAsk()), secret=None))
    assert kind is type(caught.value)
    assert "sshd_config" not in str(caught.value)
