"""Which container is meant, how each engine is called, and what is said where that does not work.

Engines are programs on PATH that say what the real ones say; tests/integration/test_containers.py has a real one.
"""

from __future__ import annotations

import asyncio
import json
import shlex
from collections.abc import Callable
from pathlib import Path

import pytest

from pskernel.transports.container import (
    Container,
    ContainerEndpoint,
    NoContainer,
    choose,
    engine_of,
    list_containers,
    open_container,
)

ID_A, ID_B = "abc" + "1" * 61, "abd" + "2" * 61
A = Container(ID_A, "web", "Up 3 minutes", running=True)
B = Container(ID_B, "abc", "Exited (0) 2 days ago", running=False)
LISTED = f"{ID_A}\tweb,alias\tUp 3 minutes\n{ID_B}\tabc\tExited (0) 2 days ago\nffff\tnap\tUp 2 hours (Paused)\n"

Engines = Callable[..., Path]


@pytest.fixture
def engines(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Engines:
    """Put programs on a PATH of their own: each notes its arguments, then runs the lines of shell given."""
    folder = tmp_path / "bin"
    folder.mkdir()
    log = tmp_path / "log"

    def add(name: str, *lines: str) -> Path:
        program = folder / name
        note = f"printf '%s\\n' \"$(printf '%s|' {name} \"$@\")\" >> {shlex.quote(str(log))}"
        program.write_text("\n".join(["#!/bin/sh", "PATH=/usr/bin:/bin", note, *lines, ""]))
        program.chmod(0o755)
        return log

    monkeypatch.setenv("PATH", str(folder))
    return add


def calls(log: Path) -> list[list[str]]:
    return [line.removesuffix("|").split("|") for line in log.read_text().splitlines()]


def lists(text: str = LISTED) -> str:
    """Answers `ps`, and goes on with anything else."""
    return f'case "$*" in *"ps --all"*) printf %s {shlex.quote(text)}; exit 0;; esac'


def pod(*containers: str, phase: str = "Running", **meta: object) -> str:
    return json.dumps(
        {
            "metadata": {"name": "web-1", **meta},
            "spec": {"containers": [{"name": name.rstrip("!")} for name in containers]},
            "status": {
                "phase": phase,
                "containerStatuses": [
                    {"name": name.rstrip("!"), "state": {"terminated" if name.endswith("!") else "running": {}}}
                    for name in containers
                ],
            },
        }
    )


def gets(text: str) -> str:
    return f'case "$*" in *"get pod"*) printf %s {shlex.quote(text)}; exit 0;; esac'


def says(text: str, status: int = 1) -> str:
    return f"printf %s {shlex.quote(text)} >&2; exit {status}"


def opened(endpoint: ContainerEndpoint) -> str:
    """Open a stream and close it again; returns what it says of its end."""

    async def main() -> str:
        stream = await open_container(endpoint)
        try:
            while await stream.receive():
                pass
        finally:
            await stream.aclose()
        return stream.diagnostics()

    return asyncio.run(main())


def refusal(endpoint: ContainerEndpoint) -> str:
    with pytest.raises(NoContainer) as caught:
        opened(endpoint)
    assert "CreateRemoteRunspaceForContainerFailed" == caught.value.error_id
    return str(caught.value)


# ---- which engine ----


@pytest.mark.parametrize(
    ("installed", "endpoint", "expected"),
    [
        ("docker podman nerdctl", ContainerEndpoint("web"), "docker"),
        ("podman nerdctl kubectl", ContainerEndpoint("web"), "podman"),
        ("nerdctl", ContainerEndpoint("web"), "nerdctl"),
        ("docker podman", ContainerEndpoint("web", "podman"), "podman"),
        ("docker kubectl", ContainerEndpoint("web", "kubectl"), "kubectl"),
    ],
)
def test_an_engine_is_chosen(engines: Engines, installed: str, endpoint: ContainerEndpoint, expected: str) -> None:
    for name in installed.split():
        engines(name)
    assert expected == engine_of(endpoint)


@pytest.mark.parametrize(
    ("installed", "endpoint", "words"),
    [
        ("", ContainerEndpoint("web"), "None of docker, podman, nerdctl is on PATH"),
        ("kubectl", ContainerEndpoint("web"), "container://kubectl/POD"),
        ("docker", ContainerEndpoint("web", "podman"), "The program podman is not on PATH"),
        ("docker", ContainerEndpoint("web", namespace="n"), "docker has no namespace"),
        ("nerdctl", ContainerEndpoint("web", context="c"), "nerdctl has no context"),
        ("docker", ContainerEndpoint("web", container="side"), "The option container is for pods"),
    ],
)
def test_an_engine_is_refused(engines: Engines, installed: str, endpoint: ContainerEndpoint, words: str) -> None:
    for name in installed.split():
        engines(name)
    assert words in refusal(endpoint)


# ---- which container ----


@pytest.mark.parametrize("name", ["web", ID_A, "abc1", "ABC1"])
def test_a_name_an_id_or_its_beginning(engines: Engines, name: str) -> None:
    engines("docker")
    assert choose(ContainerEndpoint(name), [A, B]) is A


def test_a_name_counts_more_than_the_beginning_of_an_id(engines: Engines) -> None:
    engines("docker")
    with pytest.raises(NoContainer, match=r"The container abc is not running: its status is Exited \(0\) 2 days ago"):
        choose(ContainerEndpoint("abc"), [A, B])


def test_several_that_match_are_listed(engines: Engines) -> None:
    engines("docker", lists())
    said = refusal(ContainerEndpoint("ab"))
    assert said == (
        "Several containers match ab: web (abc111111111, Up 3 minutes), abc (abd222222222, Exited (0) 2 days ago). "
        "Write more of the id, or the name."
    )


def test_none_that_matches(engines: Engines) -> None:
    engines("docker", lists())
    engines("podman")
    said = refusal(ContainerEndpoint("we"))
    assert said.startswith(
        "The input ContainerId we does not exist, or the corresponding container is not running: docker has no "
        "container of that name or id. It has: web (abc111111111, Up 3 minutes)."
    )
    assert said.endswith(" podman is installed too: container://podman/we.")
    assert "podman" not in refusal(ContainerEndpoint("we", "docker"))


def test_one_that_is_paused(engines: Engines) -> None:
    engines("docker", lists())
    assert "The container nap is not running: its status is Up 2 hours (Paused)" in refusal(ContainerEndpoint("nap"))


@pytest.mark.parametrize(
    ("answer", "endpoint", "words"),
    [
        (pod("a", "b"), {}, "The pod web-1 has several containers: a, b. Say which one with the option container."),
        (pod("a", "b!"), {"container": "b"}, "The pod web-1 has no running container b. It has: a."),
        (pod("a", phase="Pending"), {}, "The pod web-1 is not running: its status is Pending"),
        (pod("a", deletionTimestamp="now"), {}, "The pod web-1 is not running: its status is Terminating"),
        (pod("a!"), {}, "The pod web-1 is not running"),
        ("{}", {}, "The answer of kubectl cannot be read"),
        ("[1]", {}, "The answer of kubectl cannot be read"),
    ],
)
def test_a_pod_that_cannot_be_entered(engines: Engines, answer: str, endpoint: dict[str, str], words: str) -> None:
    engines("kubectl", gets(answer))
    assert words in refusal(ContainerEndpoint("web-1", "kubectl", **endpoint))  # type: ignore[arg-type]


# ---- how it is called ----


@pytest.mark.parametrize(
    ("endpoint", "expected"),
    [
        (
            ContainerEndpoint("web", "docker"),
            ["docker", "exec", "--interactive", ID_A, "pwsh", "-s", "-NoLogo", "-NoProfile"],
        ),
        (
            ContainerEndpoint("web", "docker", context="far", user="1000:1000", exe="/opt/ps/pwsh", arguments=()),
            ["docker", "--context=far", "exec", "--interactive", "--user=1000:1000", ID_A, "/opt/ps/pwsh", "-s"],
        ),
        (
            ContainerEndpoint("web", "podman", context="far", administrator=True, arguments=("-NoProfile",)),
            ["podman", "--connection=far", "exec", "--interactive", "--detach-keys=", "--user=0", ID_A, "pwsh", "-s", "-NoProfile"],
        ),
        (
            ContainerEndpoint("web", "nerdctl", namespace="k8s.io", arguments=()),
            ["nerdctl", "--namespace=k8s.io", "exec", "--interactive", ID_A, "pwsh", "-s"],
        ),
    ],
)  # fmt: skip
def test_command_lines(engines: Engines, endpoint: ContainerEndpoint, expected: list[str]) -> None:
    assert endpoint.engine is not None
    log = engines(endpoint.engine, lists())
    opened(endpoint)
    assert expected == calls(log)[-1]
    first = ["ps", "--all", "--no-trunc", "--format", "{{.ID}}\t{{.Names}}\t{{.Status}}"]
    assert [*expected[: expected.index("exec")], *first] == calls(log)[0]


@pytest.mark.parametrize(
    ("answer", "endpoint", "inside"),
    [
        (pod("main"), {}, "main"),
        (pod("a", "b"), {"container": "b"}, "b"),
        (pod("a", "b", annotations={"kubectl.kubernetes.io/default-container": "b"}), {}, "b"),
        (pod("a", "b!"), {}, "a"),
    ],
)
def test_command_lines_of_kubectl(engines: Engines, answer: str, endpoint: dict[str, str], inside: str) -> None:
    log = engines("kubectl", gets(answer))
    opened(ContainerEndpoint("web-1", "kubectl", context="c", namespace="n", **endpoint))  # type: ignore[arg-type]
    where = ["kubectl", "--context=c", "--namespace=n"]
    assert calls(log) == [
        [*where, "get", "pod", "web-1", "--output=json"],
        [*where, "exec", "--stdin", f"--container={inside}", "web-1", "--", "pwsh", "-s", "-NoLogo", "-NoProfile"],
    ]


@pytest.mark.parametrize(("platform", "user"), [("linux", "0"), ("windows", "ContainerAdministrator")])
def test_an_administrator_is_whom_the_platform_has(engines: Engines, platform: str, user: str) -> None:
    log = engines("docker", lists(), f'case "$*" in *inspect*) echo {platform}; exit 0;; esac')
    opened(ContainerEndpoint("web", administrator=True))
    assert ["docker", "container", "inspect", "--format", "{{.Platform}}", ID_A] == calls(log)[1]
    assert f"--user={user}" in calls(log)[2]


# ---- what the engines say ----

SOCKET = "permission denied while trying to connect to the Docker daemon socket at unix:///var/run/docker.sock"


@pytest.mark.parametrize(
    ("engine", "said", "words"),
    [
        ("docker", SOCKET, "This user may not use docker. On Linux that takes its group"),
        (
            "docker",
            "Cannot connect to the Docker daemon at unix:///x. Is the docker daemon running?",
            "does not answer",
        ),
        ("nerdctl", "rootless containerd not running? (hint: use `x`)", "does not answer. Start its service"),
        ("nerdctl", 'cannot access containerd socket "/run/x": permission denied', "This user may not use nerdctl"),
        ("podman", "Error: boltdb is broken", "podman does not list its containers"),
        ("kubectl", "The connection to the server localhost:8080 was refused - did you", "kubectl reaches no cluster"),
        ("kubectl", 'Error from server (Forbidden): pods "web" is forbidden: User "x"', "kubectl's user may not see"),
        ("kubectl", "error: You must be logged in to the server (Unauthorized)", "kubectl's user may not see"),
        ("kubectl", 'error: context "x" does not exist', "Check the context"),
    ],
)
def test_an_engine_that_refuses(engines: Engines, engine: str, said: str, words: str) -> None:
    engines(engine, says(said))
    found = refusal(ContainerEndpoint("web", engine))
    assert words in found
    assert found.endswith(f"{engine} says: {said}")


@pytest.mark.parametrize(
    ("engine", "said"),
    [
        (
            "docker",
            'Failed to initialize: unable to resolve docker endpoint: context "far": context not found: open /x',
        ),
        ("kubectl", 'error: context "far" does not exist'),
        ("kubectl", "Error in configuration: context was not found for specified context: far"),
    ],
)
def test_no_such_context(engines: Engines, engine: str, said: str) -> None:
    engines(engine, says(said))
    found = refusal(ContainerEndpoint("web", engine, context="far"))
    assert f"{engine} has no context far: correct the option context. {engine} says: {said}" == found


def test_no_such_pod(engines: Engines) -> None:
    engines("kubectl", says('Error from server (NotFound): pods "web" not found'))
    assert "There is no pod web in the namespace prod." in refusal(
        ContainerEndpoint("web", "kubectl", namespace="prod")
    )


def test_an_engine_that_does_not_answer(engines: Engines) -> None:
    engines("docker", "exec sleep 600")
    assert "docker did not answer within 0.2 seconds" in refusal(ContainerEndpoint("web", timeout=0.2))


def test_an_engine_that_talks_without_end(engines: Engines) -> None:
    engines("docker", "exec yes")
    assert "docker answered with more than" in refusal(ContainerEndpoint("web"))


def test_an_answer_that_is_none(engines: Engines) -> None:
    engines("docker", "echo hello")
    with pytest.raises(NoContainer, match="The answer of docker cannot be read: 'hello"):
        asyncio.run(list_containers(ContainerEndpoint("web")))


NOT_FOUND = 'exec: "pwsh": executable file not found in $PATH: unknown'


@pytest.mark.parametrize(
    ("engine", "said", "status", "words"),
    [
        ("docker", f"OCI runtime exec failed: exec failed: unable to start container process: {NOT_FOUND}", 127, "There is no program pwsh in the container web, or it cannot run. Use an image with PowerShell"),
        ("nerdctl", f"OCI runtime exec failed: {NOT_FOUND}", 1, "There is no program pwsh"),
        ("docker", "unable to find user app: no matching entries in passwd file", 126, "The container web has no user app"),
        ("docker", "", 137, "The container web was stopped, or PowerShell in it was ended (docker exec left with status 137)."),
        ("docker", "", 3, "The process docker exited with status 3."),
    ],
)  # fmt: skip
def test_powershell_that_does_not_start_or_is_ended(
    engines: Engines, engine: str, said: str, status: int, words: str
) -> None:
    engines(engine, lists(), says(said, status))

    async def main() -> str:
        stream = await open_container(ContainerEndpoint("web", engine, user="app"))
        try:
            await stream.receive()
        except Exception as error:  # noqa: BLE001 - what it says is what counts
            assert str(error) == stream.diagnostics()
        finally:
            await stream.aclose()
        return stream.diagnostics()

    found = asyncio.run(main())
    assert words in found
    assert not said or said in found
