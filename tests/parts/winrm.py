"""A WinRM service in front of the real engine, and where its user's password is."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.fakes.wsman_bridge import WsmanBridge

__all__ = ["PASSWORD", "USER", "bridge_factory", "winrm", "winrm_url"]

USER, PASSWORD = "CORP\\admin", "Pa55 w\u00f6rd!"


@pytest.fixture
def bridge_factory(pwsh: str) -> Iterator[Callable[..., WsmanBridge]]:
    """Start as many services as wanted; all end with the test. Arguments as those of WsmanBridge."""
    started: list[WsmanBridge] = []

    def start(**arguments: Any) -> WsmanBridge:
        users = {USER: PASSWORD, "local": PASSWORD}
        started.append(WsmanBridge([pwsh, "-s", "-NoLogo", "-NoProfile"], users, **arguments).__enter__())
        return started[-1]

    yield start
    for each in started:
        each.__exit__()


@pytest.fixture(scope="module")
def winrm(pwsh: str) -> Iterator[WsmanBridge]:
    """One service for a whole module: for tests that order no faults."""
    with WsmanBridge([pwsh, "-s", "-NoLogo", "-NoProfile"], {USER: PASSWORD, "local": PASSWORD}) as bridge:
        yield bridge


@pytest.fixture(scope="module")
def winrm_url(winrm: WsmanBridge, tmp_path_factory: pytest.TempPathFactory) -> str:
    """A target that needs nothing more."""
    return url_of(winrm, tmp_path_factory.mktemp("winrm"))


def url_of(bridge: WsmanBridge, folder: Path, options: str = "") -> str:
    """A target with its password in a file of ``folder``."""
    file = folder / "password"
    file.touch(mode=0o600)
    file.write_text(PASSWORD)
    scheme = "winrm+https" if bridge.tls else "winrm"
    more = f"&{options}" if options else ""
    return f"{scheme}://CORP%5Cadmin@127.0.0.1:{bridge.port}?credential=file:{file}{more}"
