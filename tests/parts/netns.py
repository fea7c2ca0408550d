"""A host with a network of its own, whose cable can be pulled: a network namespace of this machine."""

from __future__ import annotations

import asyncio
import contextlib
import os
import shutil
import subprocess
from collections.abc import Iterator
from dataclasses import dataclass

import pytest

__all__ = ["Cable", "far_host"]


@dataclass
class Cable:
    """The way to the host at ``address``; ``within`` starts a program there."""

    address: str
    within: tuple[str, ...]
    name: str

    async def pull(self) -> None:
        """Nothing goes over it any more, and nobody is told."""
        await asyncio.to_thread(self.pull_now)

    def pull_now(self) -> None:
        """The same, where nothing of this process may go on before it is done."""
        _ip("link", "set", self.name, "down")

    async def plug_in(self) -> None:
        """It is there again."""
        await asyncio.to_thread(_ip, "link", "set", self.name, "up")


@contextlib.contextmanager
def far_host() -> Iterator[Cable]:
    """Make such a host. Skips where this user may not, or ip is missing."""
    if os.geteuid() != 0 or shutil.which("ip") is None:
        pytest.skip("a network namespace takes root, and ip of iproute2")
    number = os.getpid()
    space, near, far = f"psk{number}", f"pska{number}", f"pskb{number}"
    # Of 198.18.0.0/15, which is for tests of networks: one of many pairs of addresses.
    base = f"198.18.{number // 64 % 256}.{number % 64 * 4}".rpartition(".")
    first, second = (f"{base[0]}.{int(base[2]) + each}" for each in (1, 2))
    try:
        _ip("netns", "add", space)
    except subprocess.CalledProcessError as error:
        pytest.skip(f"no network namespace can be made here: {error.stderr.strip()}")
    try:
        _ip("link", "add", near, "type", "veth", "peer", "name", far, "netns", space)
        _ip("address", "add", f"{first}/30", "dev", near)
        _ip("link", "set", near, "up")
        for words in (("address", "add", f"{second}/30", "dev", far), ("link", "set", far, "up")):
            _ip("-n", space, *words)
        yield Cable(second, ("ip", "netns", "exec", space), near)
    finally:
        _ip("netns", "delete", space)


def _ip(*words: str) -> None:
    subprocess.run(["ip", *words], check=True, capture_output=True, text=True)
