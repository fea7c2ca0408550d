from __future__ import annotations

import asyncio
import os
import signal
import sys
from pathlib import Path

import psutil
import pytest

from pskernel.credentials import CredentialReference, look_up
from pskernel.errors import ConnectError, TargetUnreachable, TransportClosed
from pskernel.transports.process import ProcessStream, child_environment, open_process


async def opened(code: str, **kwargs: object) -> ProcessStream:
    return await open_process([sys.executable, "-c", code], **kwargs)  # type: ignore[arg-type]


async def output_of(stream: ProcessStream) -> str:
    parts = []
    while data := await stream.receive():
        parts.append(data)
    await stream.aclose()
    return b"".join(parts).decode()


def test_program_not_on_path(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(TargetUnreachable) as caught:
        asyncio.run(open_process(["pwsh", "-s"]))
    assert str(caught.value) == (
        "The program pwsh is not on PATH. Install it, add its folder to PATH, or give its full path, for example "
        "process:/path/to/pwsh."
    )


@pytest.mark.parametrize("name", ["missing", "folder", "not-executable"])
def test_path_that_is_no_program(tmp_path: Path, name: str) -> None:
    (tmp_path / "folder").mkdir()
    (tmp_path / "not-executable").write_text("x")
    with pytest.raises(TargetUnreachable) as caught:
        asyncio.run(open_process([str(tmp_path / name)]))
    assert str(caught.value) == (
        f"The program {tmp_path / name} does not exist, or may not be run. Check the path and its permissions."
    )


def test_file_that_is_no_program(tmp_path: Path) -> None:
    program = tmp_path / "program"
    program.write_bytes(b"\x00\x01\x02")
    program.chmod(0o755)
    with pytest.raises(ConnectError) as caught:
        asyncio.run(open_process([str(program)]))
    assert str(caught.value) == f"The program {program} cannot be started: Exec format error."


def test_script_without_its_interpreter(tmp_path: Path) -> None:
    program = tmp_path / "program"
    program.write_text("#!/nowhere/sh\n")
    program.chmod(0o755)
    with pytest.raises(TargetUnreachable, match="does not exist, or may not be run"):
        asyncio.run(open_process([str(program)]))


def test_folder_that_is_missing(tmp_path: Path) -> None:
    async def main() -> None:
        assert await output_of(await opened("import os; print(os.getcwd())", cwd=str(tmp_path))) == f"{tmp_path}\n"
        with pytest.raises(TargetUnreachable, match=f"^The folder {tmp_path}/no to start .* in does not exist"):
            await opened("", cwd=f"{tmp_path}/no")

    asyncio.run(main())


def test_our_variables_stay_here(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PSKERNEL_TARGET", "secret")
    monkeypatch.setenv("OTHER", "other")
    assert "PSKERNEL_TARGET" not in child_environment()

    async def main() -> None:
        code = "import os; print([os.environ.get(n) for n in ('PSKERNEL_TARGET', 'OTHER', 'ADDED')])"
        assert await output_of(await opened(code, env={"ADDED": "added"})) == "[None, 'other', 'added']\n"

    asyncio.run(main())


def test_child_has_its_own_session() -> None:
    async def main() -> None:
        stream = await opened("import sys; sys.stdin.read()")
        assert os.getsid(stream.pid) == stream.pid != os.getsid(0)
        await stream.aclose()

    asyncio.run(main())


def test_child_that_leaves_by_itself_is_not_killed() -> None:
    async def main() -> None:
        stream = await opened("import sys; sys.stdin.read(); sys.exit(5)")
        await stream.aclose()
        assert stream.diagnostics() == f"The process {sys.executable} exited with status 5."

    asyncio.run(main())


@pytest.mark.parametrize(("obeys", "ended_by"), [(True, "SIGTERM"), (False, "SIGKILL")])
def test_child_that_stays_is_terminated_then_killed(obeys: bool, ended_by: str) -> None:
    ignore = "" if obeys else "signal.signal(signal.SIGTERM, signal.SIG_IGN);"

    async def main() -> None:
        stream = await opened(f"import signal; import os; {ignore} os.write(1, b'up'); signal.pause()")
        assert await stream.receive() == b"up"
        await stream.aclose()
        assert stream.diagnostics() == f"The process {sys.executable} was ended by {ended_by}."
        assert not psutil.pid_exists(stream.pid)

    asyncio.run(main())


def test_grandchild_goes_with_a_child_that_had_to_be_ended() -> None:
    code = (
        "import os, signal\n"
        "if os.fork() == 0:\n"
        "    signal.signal(signal.SIGTERM, signal.SIG_IGN)\n"
        "    os.write(1, str(os.getpid()).encode())\n"
        "signal.pause()\n"
    )

    async def main() -> None:
        stream = await opened(code)
        grandchild = psutil.Process(int(await stream.receive()))
        await stream.aclose()
        # Nobody reaps it in a container without an init: dead is enough.
        grandchild.wait(5) if grandchild.is_running() and grandchild.status() != psutil.STATUS_ZOMBIE else None
        assert not grandchild.is_running() or grandchild.status() == psutil.STATUS_ZOMBIE

    asyncio.run(main())


def test_end_is_seen_although_a_grandchild_holds_the_output() -> None:
    async def main() -> None:
        stream = await opened("import os, signal\nif os.fork() == 0: signal.pause()\nelse: os.write(1, b'bye')")
        assert await stream.receive() == b"bye"
        assert await stream.receive() == b""
        os.killpg(stream.pid, signal.SIGKILL)
        await stream.aclose()

    asyncio.run(main())


def test_output_of_a_child_that_has_left_waits_for_its_reader() -> None:
    code = "import os, signal\nif os.fork() == 0: os.close(2); signal.pause()\nos.write(1, b'x' * 310_000)"

    async def main() -> None:
        stream = await opened(code)
        await stream._child.exited.wait()
        # Longer than the child's end and that of its output may be apart.
        await asyncio.wait([asyncio.get_running_loop().create_future()], timeout=1.5)
        received = 0
        while data := await stream.receive():
            received += len(data)
        assert received == 310_000
        os.killpg(stream.pid, signal.SIGKILL)
        await stream.aclose()

    asyncio.run(main())


def test_end_is_seen_although_the_child_stays() -> None:
    async def main() -> None:
        stream = await opened("import os, sys; os.close(1); sys.stdin.read()")
        assert await stream.receive() == b""
        assert psutil.pid_exists(stream.pid)
        await stream.aclose()

    asyncio.run(main())


def test_child_that_is_killed_cuts_the_line() -> None:
    async def main() -> None:
        stream = await opened("import os, signal; os.kill(os.getpid(), signal.SIGKILL)")
        with pytest.raises(TransportClosed, match=f"^The process {sys.executable} was ended by SIGKILL\\.$"):
            await stream.receive()
        await stream.aclose()

    asyncio.run(main())


def test_sending_to_a_child_that_has_left() -> None:
    async def main() -> None:
        stream = await opened("")
        assert await stream.receive() == b""
        with pytest.raises(TransportClosed):
            await stream.send(b"x")
        await stream.aclose()

    asyncio.run(main())


def test_all_output_is_read_although_the_child_has_left_long_ago() -> None:
    async def main() -> None:
        stream = await opened("import sys; sys.stdout.write('x' * 60_000); sys.stdout.flush()")
        await stream._child.exited.wait()
        assert await output_of(stream) == "x" * 60_000

    asyncio.run(main())


@pytest.mark.live
def test_powershell_answers(pwsh: str) -> None:
    async def main() -> None:
        stream = await open_process([pwsh, "-s", "-NoLogo", "-NoProfile"])
        await stream.send(b"<Close PSGuid='00000000-0000-0000-0000-000000000000' />\n")
        assert (await stream.receive()).startswith(b"<CloseAck PSGuid='00000000-0000-0000-0000-000000000000'")
        await stream.aclose()

    asyncio.run(main())


def test_a_variable_that_was_read_as_a_password_is_kept_to_this_program(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("READ_AS_A_PASSWORD", "hunter2")
    assert "hunter2" == child_environment()["READ_AS_A_PASSWORD"]
    assert "hunter2" == look_up(CredentialReference.parse("env:READ_AS_A_PASSWORD")).reveal()
    assert "READ_AS_A_PASSWORD" not in child_environment()
