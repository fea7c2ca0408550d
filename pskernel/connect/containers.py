"""From a container target to an endpoint, and to PowerShell in it."""

from __future__ import annotations

from importlib import resources
from typing import TYPE_CHECKING

from pskernel.connect.elevation import server_arguments
from pskernel.transports.container import Container, ContainerEndpoint, choose, engine_of, list_containers
from pskernel.transports.container import open_container as open_at

if TYPE_CHECKING:
    from pskernel.target import Target
    from pskernel.transports.process import ProcessStream

__all__ = ["Container", "ask_engine", "find_container", "open_bridge", "open_container"]


async def open_container(target: Target) -> ProcessStream:
    """Start PowerShell there. Raises ConnectError."""
    return await open_at(_endpoint(target))


async def open_bridge(target: Target, path: str) -> ProcessStream:
    """Reach a socket in the container, by a PowerShell that carries bytes. Raises ConnectError."""
    # PowerShell reads standard input for itself: the bytes come by another number.
    shell = 'exec "$0" -NoLogo -NoProfile -NonInteractive -Command "$1" 3<&0 </dev/null'
    bridge = resources.files("pskernel.connect").joinpath("scripts", "bridge.ps1").read_text("utf-8")
    endpoint = _endpoint(target)
    return await open_at(endpoint, ["/bin/sh", "-c", shell, endpoint.exe, f"$path = '{path}'\n{bridge}"])


async def ask_engine(target: Target) -> tuple[str, list[Container]]:
    """The engine of a target, and what it has. Raises ConnectError."""
    endpoint = _endpoint(target)
    return engine_of(endpoint), await list_containers(endpoint)


def find_container(target: Target, containers: list[Container]) -> Container:
    """The one that a target means. Raises ConnectError."""
    return choose(_endpoint(target), containers)


def _endpoint(target: Target) -> ContainerEndpoint:
    options = target.options
    return ContainerEndpoint(
        target.machine or "",
        target.engine,
        context=options.context,
        namespace=options.namespace,
        container=options.container,
        user=options.user,
        administrator=options.administrator,
        exe=options.exe,
        arguments=server_arguments(target),
        timeout=options.connect_timeout,
    )
