from __future__ import annotations

import asyncio
import os
import shutil
import socket
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from pskernel.errors import ConnectError, TargetError
from pskernel.transports.unix import open_unix

only_root = pytest.mark.skipif(os.geteuid() != 0, reason="only root can make another user's socket")


@pytest.fixture
def folder() -> Iterator[Path]:
    """A folder whose path is short enough for sockets."""
    path = Path(tempfile.mkdtemp(prefix="psk-", dir="/tmp"))
    yield path
    shutil.rmtree(path)


def fails(path: object) -> str:
    with pytest.raises((ConnectError, TargetError)) as caught:
        asyncio.run(open_unix(str(path)))
    return f"{type(caught.value).__name__}: {caught.value}"


def test_no_socket(folder: Path) -> None:
    assert fails(folder / "x") == f"TargetUnreachable: There is no socket {folder}/x."


def test_not_a_socket(folder: Path) -> None:
    (folder / "file").write_text("")
    assert fails(folder / "file") == f"TargetError: {folder}/file is not a socket."


def test_path_below_a_file(folder: Path) -> None:
    (folder / "file").write_text("")
    assert fails(folder / "file/x") == f"ConnectError: The socket {folder}/file/x cannot be opened: Not a directory."


def test_link_is_not_followed(folder: Path) -> None:
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(str(folder / "real"))
        listener.listen()
        (folder / "link").symlink_to(folder / "real")
        assert fails(folder / "link") == f"TargetError: {folder}/link is not a socket."


def test_nobody_listens(folder: Path) -> None:
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(str(folder / "x"))
    assert fails(folder / "x") == (
        f"TargetUnreachable: Nobody listens on the socket {folder}/x: the process that made it is gone. Delete the "
        "file, or start the process again."
    )


@only_root
def test_socket_of_another_user(folder: Path) -> None:
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(str(folder / "x"))
        listener.listen()
        os.chown(folder / "x", 12_345, -1)
        assert fails(folder / "x") == (
            f"ConnectError: The socket {folder}/x belongs to user id 12345, not to 0 who runs this. It was not opened: "
            "its owner could read and answer everything."
        )


@only_root
def test_peer_of_another_user_on_our_socket(folder: Path) -> None:
    """The file is ours, but another user's process listens on it."""
    code = f"import os, socket; s = socket.socket(socket.AF_UNIX); os.setuid(12345); s.bind({str(folder / 'x')!r}); s.listen(); print(flush=True); s.accept(); input()"
    folder.chmod(0o777)
    with subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE, stdin=subprocess.PIPE) as process:
        assert process.stdout is not None
        process.stdout.readline()
        os.chown(folder / "x", 0, 0)
        assert fails(folder / "x").startswith(f"ConnectError: The socket {folder}/x belongs to user id 12345, not to 0")
        process.kill()
