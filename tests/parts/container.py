"""Real containers for tests: podman with runc, over this machine's own programs, without an image."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import tempfile
import uuid
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

__all__ = ["Container", "container", "container_factory", "container_url", "started_container"]

ROOT = Path(__file__).parent.parent.parent
_FOLDERS = ("usr", "bin", "lib", "lib64", "proc", "sys", "dev", "tmp", "run", "root", "etc")
_SHARED = ("/usr", "/lib", "/lib64", "/bin")


class Container:
    """A running container; ``user`` is one of its users beside root."""

    user = "tester"

    def __init__(self, name: str, engine: str | None) -> None:
        self.name = name
        self.folder = Path(tempfile.mkdtemp(prefix="psk-root-", dir="/var/tmp"))
        self.folder.chmod(0o755)
        for each in _FOLDERS:
            (self.folder / each).mkdir()
        (self.folder / "etc" / "passwd").write_text(
            f"root:x:0:0:root:/root:/bin/sh\n{self.user}:x:1234:1234::/tmp:/bin/sh\n"
        )
        (self.folder / "etc" / "group").write_text(f"root:x:0:\n{self.user}:x:1234:\n")
        # The tests' own files, and Python's, where they are on this side: their ways to wait for one another.
        mounts = {path: "ro" for path in (*_SHARED, str(ROOT), sys.prefix, sys.base_prefix) if Path(path).exists()}
        words = [f"--volume={path}:{path}:{how}" for path, how in {**mounts, "/tmp": "rw"}.items()]
        if engine is not None:
            words += [f"--volume={Path(engine).resolve().parent}:/opt/ps:ro", "--env=PATH=/opt/ps:/usr/bin:/bin"]
        self.id = podman(
            *("--runtime=runc", "run", "--detach", "--rm", f"--name={name}", f"--hostname={name}", "--network=none"),
            *("--env=HOME=/root", "--ulimit=nofile=1024:1024", "--ulimit=nproc=4000:4000", *words),
            *("--rootfs", str(self.folder), "sleep", "3600"),
        ).strip()

    @property
    def url(self) -> str:
        return f"container://podman/{self.name}"

    def stop(self) -> None:
        """End it, with all that runs in it."""
        podman("kill", self.name)

    def remove(self) -> None:
        subprocess.run(["podman", "rm", "--force", "--time=0", self.name], capture_output=True, check=False)
        shutil.rmtree(self.folder, ignore_errors=True)


def podman(*words: str) -> str:
    """Run podman and return its output."""
    result = subprocess.run(["podman", *words], capture_output=True, text=True, check=False, timeout=60)
    assert 0 == result.returncode, result.stderr
    return result.stdout


def started_container(engine: str | None, name: str = "") -> Container:
    """A new container; skips where there can be none."""
    if (
        sys.platform != "linux"
        or shutil.which("podman") is None
        or shutil.which("runc", path=f"{os.environ['PATH']}:/usr/sbin") is None
    ):
        pytest.skip("no podman with runc: apt-get install podman runc")
    if os.geteuid() != 0:
        pytest.skip("containers without an image need root")
    return Container(name or f"psk-{uuid.uuid4().hex[:12]}", engine)


@pytest.fixture(scope="session")
def container(pwsh: str) -> Iterator[Container]:
    """One container with the engine for a whole session: for tests that leave it as it was."""
    started = started_container(pwsh)
    yield started
    started.remove()


@pytest.fixture(scope="session")
def container_url(container: Container) -> str:
    """Its target."""
    return container.url


@pytest.fixture
def container_factory(pwsh: str) -> Iterator[Callable[..., Container]]:
    """Starts containers that end with the test; without the engine on demand."""
    started: list[Container] = []

    def start(name: str = "", *, engine: bool = True) -> Container:
        started.append(started_container(pwsh if engine else None, name))
        return started[-1]

    yield start
    for each in started:
        each.remove()
