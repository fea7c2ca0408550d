"""PowerShell in a real podman container, by the library, the command and the magics; docker, nerdctl and kubectl by
their command lines, with a stand-in that hands over to podman.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import re
import sys
from collections.abc import AsyncIterator, Callable
from pathlib import Path

import pytest
from IPython.core.interactiveshell import InteractiveShell
from typer.testing import CliRunner

from pskernel.cli.app import app
from pskernel.connect import connect
from pskernel.errors import NotPowerShell, TransportClosed
from pskernel.records import Output
from pskernel.session.runspace import Runspace
from pskernel.target import Target
from pskernel.transports.container import ContainerEndpoint, NoContainer, open_container
from tests.parts.container import Container
from tests.parts.ipython import run

pytestmark = pytest.mark.live

STAND_IN = Path(__file__).parent.parent / "fakes" / "engines" / "stand_in.py"


@contextlib.asynccontextmanager
async def runspace(url: str, **options: object) -> AsyncIterator[Runspace]:
    async with await connect(Target.parse(url, options)) as opened:
        yield opened


async def values(opened: Runspace, script: str) -> list[object]:
    pipeline = await opened.invoke(script)
    return [record.value async for record in pipeline if isinstance(record, Output)]


def asked(url: str, script: str, **options: object) -> list[object]:
    async def main() -> list[object]:
        async with runspace(url, **options) as opened:
            return await values(opened, script)

    return asyncio.run(main())


WHO = "[Environment]::UserName; [Environment]::MachineName"


def test_by_name_and_by_the_beginning_of_the_id(container: Container) -> None:
    assert ["root", container.name] == asked(container.url, WHO)
    assert ["root", container.name] == asked(f"container://podman/{container.id[:20]}", WHO)


def test_users(container: Container) -> None:
    assert [container.user] == asked(container.url, "[Environment]::UserName", user=container.user)
    assert [container.user] == asked(container.url, "[Environment]::UserName", user="1234:1234")
    assert ["root"] == asked(container.url, "[Environment]::UserName", administrator=True)
    with pytest.raises(NotPowerShell, match=r"has no user nobody-here: correct the option user\. podman says: Error"):
        asked(container.url, "1", user="nobody-here")


def test_nothing_of_this_environment_goes_there(container: Container, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MY_SECRET", "x")
    names = asked(container.url, "(Get-ChildItem env:).Name")
    assert "PATH" in names
    assert "MY_SECRET" not in names
    assert not [name for name in names if str(name).startswith("PSKERNEL_")]


def test_bytes_that_are_keys_for_a_terminal(container: Container) -> None:
    async def main() -> bytes:
        program = "import os\nwhile data := os.read(0, 100): os.write(1, data)"
        endpoint = ContainerEndpoint(container.name, "podman", exe=sys.executable, arguments=("-c", program))
        stream = await open_container(endpoint)
        try:
            heard = b""
            for byte in b"\x10\x11\x03\x04\x1a\x00\r\n\xff":
                await stream.send(bytes([byte]))
                heard += await stream.receive()
            return heard
        finally:
            await stream.aclose()

    assert b"\x10\x11\x03\x04\x1a\x00\r\n\xff" == asyncio.run(main())


def test_a_configuration_file_restricts_the_session(container: Container, tmp_path: Path) -> None:
    jea = tmp_path / "jea.pssc"
    jea.write_text(
        "@{ SchemaVersion = '2.0.0.0'; SessionType = 'RestrictedRemoteServer'; LanguageMode = 'NoLanguage' }"
    )

    async def main() -> None:
        async with runspace(container.url, configuration_file=str(jea)) as opened:
            pipeline = await opened.run_cell("$x = 1")
            async for _ in pipeline:
                pass
            assert pipeline.end is not None
            assert pipeline.end.error is not None
            assert "ScriptsNotAllowed" in pipeline.end.error.fully_qualified_error_id

    asyncio.run(main())


def test_no_powershell_in_the_container(container_factory: Callable[..., Container]) -> None:
    bare = container_factory(engine=False)
    with pytest.raises(NotPowerShell) as caught:
        asked(bare.url, "1")
    assert str(caught.value).startswith(
        f"No PowerShell answered. There is no program pwsh in the container {bare.name}, or it cannot run. Use an image "
        "with PowerShell, mount one into the container, or say where it is with the option exe. podman says: Error: "
    )
    assert 1 == str(caught.value).count("There is no program")


def test_a_container_that_is_stopped_in_mid_command(container_factory: Callable[..., Container]) -> None:
    own = container_factory()

    async def main() -> None:
        async with runspace(own.url) as opened:
            pipeline = await opened.invoke("'begun'; Start-Sleep 600")
            with pytest.raises(TransportClosed, match=f"The container {own.name} was stopped, or PowerShell in it"):
                async for record in pipeline:
                    assert isinstance(record, Output)
                    await asyncio.to_thread(own.stop)

    asyncio.run(main())
    with pytest.raises(NoContainer, match=f"{own.name} (is not running|does not exist)"):
        asked(own.url, "1")


# ---- the other engines ----


@pytest.fixture
def stand_in(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[[], list[list[str]]]:
    """docker, nerdctl and kubectl on PATH; returns how they were called."""
    folder, log = tmp_path / "bin", tmp_path / "calls"
    folder.mkdir()
    for name in ("docker", "nerdctl", "kubectl"):
        (folder / name).write_text(f"#!{sys.executable}\n{STAND_IN.read_text()}")
        (folder / name).chmod(0o755)
    monkeypatch.setenv("PATH", f"{folder}:{os.environ['PATH']}")
    monkeypatch.setenv("STAND_IN_LOG", str(log))
    return lambda: [json.loads(line) for line in log.read_text().splitlines()]


START = ["pwsh", "-s", "-NoLogo", "-NoProfile"]
LIST = ["ps", "--all", "--no-trunc", "--format", "{{.ID}}\t{{.Names}}\t{{.Status}}"]


def test_docker_is_called_so(container: Container, stand_in: Callable[[], list[list[str]]]) -> None:
    assert ["root"] == asked(f"container://{container.name}?context=far&administrator=1", "[Environment]::UserName")
    far = ["docker", "--context=far"]
    assert stand_in() == [
        [*far, *LIST],
        [*far, "container", "inspect", "--format", "{{.Platform}}", container.id],
        [*far, "exec", "--interactive", "--user=0", container.id, *START],
    ]


def test_nerdctl_is_called_so(container: Container, stand_in: Callable[[], list[list[str]]]) -> None:
    url = f"container://nerdctl/{container.name}?namespace=k8s.io&user={container.user}"
    assert [container.user] == asked(url, "[Environment]::UserName")
    there = ["nerdctl", "--namespace=k8s.io"]
    assert stand_in() == [
        [*there, *LIST],
        [*there, "exec", "--interactive", f"--user={container.user}", container.id, *START],
    ]


def test_kubectl_is_called_so(
    container: Container, stand_in: Callable[[], list[list[str]]], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("STAND_IN_CONTAINERS", "main,side")
    url = f"container://kubectl/{container.name}?context=c&namespace=prod"
    with pytest.raises(NoContainer, match="has several containers: main, side"):
        asked(url, "1")
    assert [container.name] == asked(f"{url}&container=side", "[Environment]::MachineName")
    where = ["kubectl", "--context=c", "--namespace=prod"]
    assert stand_in()[1:] == [
        [*where, "get", "pod", container.name, "--output=json"],
        [*where, "exec", "--stdin", "--container=side", container.name, "--", *START],
    ]
    with pytest.raises(NoContainer, match="There is no pod nope in kubectl's default namespace"):
        asked("container://kubectl/nope", "1")


# ---- the command ----


def test_doctor_goes_step_by_step(container: Container, container_factory: Callable[..., Container]) -> None:
    found = CliRunner().invoke(app, ["doctor", "--json", container.url])
    steps = {step["name"]: step for step in json.loads(found.stdout)["steps"]}
    assert list(steps) == ["target", "engine", "container", "connection", "runspace", "PowerShell", "line", "speed"]
    assert {"ok"} == {step["state"] for step in steps.values()}
    assert steps["engine"]["lines"] == ["podman answers."]
    assert steps["container"]["lines"][0].startswith(f"It is {container.name}: Up")

    found = CliRunner().invoke(app, ["doctor", "--json", "container://podman/nope"])
    last = json.loads(found.stdout)["steps"][-1]
    assert ("container", "failed") == (last["name"], last["state"])
    # Ten are named, and the other tests may have more.
    assert re.search(rf"It has: .*({container.name}|psk-.* and \d+ more)", last["lines"][0])

    found = CliRunner().invoke(app, ["doctor", "--json", container_factory(engine=False).url])
    last = json.loads(found.stdout)["steps"][-1]
    assert ("runspace", "failed") == (last["name"], last["state"])
    assert "There is no program pwsh" in last["lines"][0]


def test_a_kernel_for_one_container(tmp_path: Path) -> None:
    words = ["install", "web", "--target", "container://podman/web", "--option", "user=app", "--prefix", str(tmp_path)]
    found = CliRunner().invoke(app, words)
    assert 0 == found.exit_code, found.output
    (spec,) = tmp_path.rglob("kernel.json")
    settings = json.loads(spec.read_text())["metadata"]["remote_powershell"]
    assert "container://podman/web" in settings["target"]
    assert "app" in json.dumps(settings)


# ---- the magics ----


def test_entering(shell: InteractiveShell, capsys: pytest.CaptureFixture[str], container: Container) -> None:
    assert run(shell, capsys, f"%enter_pssession -ContainerId podman/{container.name} -RunAsAdministrator")[1] is None
    assert ("root\n", None) == run(shell, capsys, "[Environment]::UserName")
    assert ("42\n", None) == run(shell, capsys, "$x = 42; $x")
    refused = run(shell, capsys, "#% target container://podman/other\n$x")[1]
    assert "asks for container://podman/other" in str(refused)
    assert ("", None) == run(shell, capsys, "exit")


def test_the_prompt_has_the_container(
    shell: InteractiveShell, capsys: pytest.CaptureFixture[str], container_factory: Callable[..., Container]
) -> None:
    name = "psk-" + os.urandom(10).hex()
    container_factory(name)
    run(shell, capsys, f"%enter_pssession -ContainerId podman/{name}")
    enter = shell.find_line_magic("enter_pssession").__self__
    assert enter._remote.prompt().startswith(f"[{name[:14]}\N{HORIZONTAL ELLIPSIS}]: PS /")


def test_sessions_objects_and_files(
    shell: InteractiveShell, capsys: pytest.CaptureFixture[str], container: Container, tmp_path: Path
) -> None:
    run(shell, capsys, f"s = %new_pssession -ContainerId podman/{container.name} -Name inside")
    session = shell.user_ns["s"]
    assert ("Container", "Container", container.name) == (
        session.transport,
        session.computer_type,
        session.computer_name,
    )
    (tmp_path / "here").write_bytes(bytes(range(256)) * 1_000)
    assert run(shell, capsys, f"%copy_item '{tmp_path}/here' -Destination /root/there -ToSession $s")[1] is None
    assert run(shell, capsys, f"%copy_item /root/there -Destination '{tmp_path}/back' -FromSession $s")[1] is None
    assert (tmp_path / "back").read_bytes() == (tmp_path / "here").read_bytes()
    assert (container.folder / "root" / "there").exists()
    run(
        shell,
        capsys,
        f"%%invoke_command -ContainerId podman/{container.name} -OutVariable o\n[pscustomobject]@{{ A = 1 }}",
    )
    (found,) = shell.user_ns["o"]
    assert container.name == found.properties["PSComputerName"]
    error = run(shell, capsys, "%disconnect_pssession $s")[1]
    assert "CannotDisconnectVMContainerSession" == type(error).__name__
    run(shell, capsys, "%remove_pssession $s")


@pytest.mark.parametrize(
    ("words", "name", "message"),
    [
        ("podman/nope", "CreateRemoteRunspaceForContainerFailed", "The input ContainerId nope does not exist"),
        ("podman/nope -ConfigurationName jea", "NotSupported", "knows no session configurations by name"),
        ("kubectl/web -RunAsAdministrator", "TargetError", "kubectl has no way to choose the user"),
        ("-HostName a", "MissingArgument", "ContainerId"),
        ("podman/nope -HostName a", "AmbiguousParameterSet", ""),
    ],
)
def test_refusals(
    shell: InteractiveShell, capsys: pytest.CaptureFixture[str], container: Container, words: str, name: str, message: str
) -> None:  # fmt: skip
    error = run(shell, capsys, f"%enter_pssession -ContainerId {words}")[1]
    assert name == type(error).__name__
    assert message in str(error)
    assert container.name  # it runs: the engine answers


def test_a_container_stopped_while_it_is_entered(
    shell: InteractiveShell, capsys: pytest.CaptureFixture[str], container_factory: Callable[..., Container]
) -> None:
    own = container_factory()
    run(shell, capsys, f"%enter_pssession -ContainerId podman/{own.name}")
    own.stop()
    error = run(shell, capsys, "Start-Sleep 600; 'end'")[1]
    assert type(error).__name__ in {"ConnectionLost", "SessionLost"}
    assert own.name in str(error)
    error = run(shell, capsys, "print('here')")[1]
    assert "SessionLost" == type(error).__name__
