"""Where a kernel's cells go: who says so, in which order, and what happens when nobody does."""

from __future__ import annotations

import json
import os
from pathlib import Path

import pytest

from tests.parts.kernels import Kernel, Starter

NOWHERE = "/no/such/place/"


@pytest.fixture
def spec(tmp_path: Path) -> Path:
    """A kernelspec's folder whose metadata names a target."""
    return make_spec(tmp_path / "spec", "spec")


def make_spec(folder: Path, place: str) -> Path:
    folder.mkdir(parents=True)
    kernel = {
        "argv": ["python", "-m", "pskernel", "-f", "{connection_file}", "--spec-dir={resource_dir}"],
        "display_name": "test",
        "language": "powershell",
        "metadata": {"remote_powershell": {"target": f"process:{NOWHERE}{place}"}},
    }
    (folder / "kernel.json").write_text(json.dumps(kernel))
    return folder


def place(kernel: Kernel) -> str:
    """Which of the places that do not exist the kernel looked for."""
    run = kernel.run("1")
    assert run.ename == "TargetUnreachable"
    return run.evalue.partition(NOWHERE)[2].split()[0].strip(".,;:")


def test_no_target_names_the_three_ways(start: Starter) -> None:
    kernel = start()
    for _ in range(2):
        run = kernel.run("'x'")
        assert run.status == "error"
        assert run.ename == "TargetError"
        for way in ("pskernel install", "PSKERNEL_TARGET", "#% target"):
            assert way in run.evalue
            assert way in "\n".join(run.errors[0]["traceback"])
        unknown = dict.fromkeys(
            ("target", "place", "connection", "transport", "version", "user", "computer", "exit_code")
        )
        assert run.record == {**unknown, "sent": False, "own_error": True}
    assert kernel.run("   ").status == "ok"
    assert kernel.is_alive()


def test_the_argument_counts_most(start: Starter, spec: Path) -> None:
    kernel = start(
        f"process:{NOWHERE}argument",
        env={"PSKERNEL_TARGET": f"process:{NOWHERE}environment"},
        arguments=(f"--spec-dir={spec}",),
    )
    assert place(kernel) == "argument"


def test_the_environment_counts_more_than_the_kernelspec(start: Starter, spec: Path) -> None:
    kernel = start(env={"PSKERNEL_TARGET": f"process:{NOWHERE}environment"}, arguments=(f"--spec-dir={spec}",))
    assert place(kernel) == "environment"


def test_the_kernelspecs_metadata(start: Starter, spec: Path) -> None:
    assert place(start(arguments=(f"--spec-dir={spec}",))) == "spec"


def test_the_kernelspec_is_found_by_name_where_its_folder_was_not_told(start: Starter, tmp_path: Path) -> None:
    make_spec(tmp_path / "data" / "kernels" / "by-name", "by-name")
    kernel = start(name="by-name", arguments=("--spec-dir={resource_dir}",))
    assert place(kernel) == "by-name"


def test_a_bad_target_is_an_error_in_every_cell_of_a_living_kernel(start: Starter) -> None:
    kernel = start(env={"PSKERNEL_TARGET": "ssh://user:secret@host"})
    for _ in range(2):
        run = kernel.run("1")
        assert run.ename == "TargetError"
        assert "password" in run.evalue
        assert "PSKERNEL_TARGET" in run.evalue
        assert "secret" not in json.dumps([m["content"] for m in run.messages])
    assert kernel.ask("kernel_info_request", {}).status == "ok"
    assert kernel.is_alive()


@pytest.mark.live
def test_the_first_cell_may_name_the_target(start: Starter, pwsh: str) -> None:
    kernel = start(env={"PATH": f"{Path(pwsh).parent}{os.pathsep}{os.environ['PATH']}"})
    assert kernel.run("1").ename == "TargetError"
    run = kernel.run("# a note\n\n#% target process:\n$x = 5; $x")
    assert run.stdout == "5\n"
    assert run.record["target"] == "process:"
    assert kernel.run("$x").stdout == "5\n"
    again = kernel.run("#% target process:\n$x")
    assert again.stdout == "5\n"


@pytest.mark.live
def test_a_cell_that_names_another_target_is_refused(start: Starter, pwsh: str, tmp_path: Path) -> None:
    kernel = start(f"process:{pwsh}")
    run = kernel.run(f"#% target process:{NOWHERE}other\nNew-Item '{tmp_path}/made'")
    assert run.ename == "TargetError"
    for word in ("This kernel is for", f"process:{pwsh}", f"process:{NOWHERE}other", "was not run"):
        assert word in run.evalue
    assert run.record["sent"] is False
    assert not (tmp_path / "made").exists()
    assert kernel.run("'alive'").stdout == "alive\n"


@pytest.mark.live
def test_a_cells_target_does_not_stand_in_for_one_that_is_wrong(start: Starter, pwsh: str) -> None:
    kernel = start(env={"PSKERNEL_TARGET": "ftp://host"})
    for cell in ("1", f"#% target process:{pwsh}\n2"):
        run = kernel.run(cell)
        assert run.ename == "TargetError"
        assert "ftp" in run.evalue
        assert run.record["sent"] is False


@pytest.mark.live
def test_options_reach_the_session_and_a_wrong_directive_runs_nothing(
    start: Starter, pwsh: str, tmp_path: Path
) -> None:
    kernel = start(f"process:{pwsh}", "width=47")
    for directive in ("#% target", "#% target ftp://host"):
        run = kernel.run(f"{directive}\nNew-Item '{tmp_path}/made'")
        assert run.ename == "TargetError"
        assert not (tmp_path / "made").exists()
    assert kernel.run("$Host.UI.RawUI.BufferSize.Width").stdout == "47\n"
