"""Where a notebook's cells run, and where they must not."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from nbformat.v4 import new_code_cell, new_markdown_cell, new_notebook

from pskernel.cli.choosing import Chosen, choose_place
from pskernel.cli.console import CommandError
from pskernel.cli.install import kernel_json
from pskernel.cli.running import default_output
from pskernel.errors import TargetError
from pskernel.runbook.notebook import write_notebook
from pskernel.target import Target
from tests.unit.cli.conftest import Invoke

WEB = Target.parse("ssh://web01?width=90")


def notebook(*sources: str, **metadata: Any) -> Any:
    return new_notebook(cells=[new_code_cell(source) for source in sources], metadata=metadata)


def stored(name: str) -> Any:
    return notebook("1", kernelspec={"name": name, "display_name": name})


def choose(
    content: Any, *, target: str | None = None, kernel: str | None = None, options: dict[str, str] | None = None
) -> Chosen:
    return choose_place(content, target=target, kernel=kernel, options=options or {})


@pytest.fixture(autouse=True)
def web01(jupyter: Path) -> None:
    """An installed kernel for web01, and one that is not ours."""
    ours = {**kernel_json(WEB, "web01"), "env": {"SSH_AUTH_SOCK": "/run/agent"}}
    for name, spec in {"remote-powershell-web01": ours, "python9": {"argv": ["python9"], "language": "python"}}.items():
        folder = jupyter / "kernels" / name
        folder.mkdir(parents=True)
        (folder / "kernel.json").write_text(json.dumps(spec))


def test_the_target_given_counts_whatever_kernel_the_notebook_names() -> None:
    for content in (notebook("1"), stored("remote-powershell-web01"), stored("nosuch")):
        start = choose(content, target="process:?width=80", options={"width": "81"})
        assert start.target == Target.parse("process:?width=81")
        assert start.env == {}


def test_the_notebooks_own_kernel_gives_target_and_environment() -> None:
    start = choose(stored("Remote-PowerShell-web01"))
    assert (start.target, start.env) == (WEB, {"SSH_AUTH_SOCK": "/run/agent"})
    assert choose(stored("remote-powershell-web01"), options={"width": "33"}).target == Target.parse(
        "ssh://web01?width=33"
    )


def test_the_kernel_given_counts_more_than_the_notebooks_and_the_environments(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PSKERNEL_TARGET", "ssh://elsewhere")
    assert choose(stored("nosuch"), kernel="web01").target == WEB


def test_the_kernel_given_leaves_no_room_for_the_environment_though_it_has_no_target(
    monkeypatch: pytest.MonkeyPatch, jupyter: Path
) -> None:
    monkeypatch.setenv("PSKERNEL_TARGET", "ssh://elsewhere")
    plain = jupyter / "kernels" / "remote-powershell"
    plain.mkdir(parents=True)
    (plain / "kernel.json").write_text(json.dumps(kernel_json(None, "")))
    start = choose(notebook("#% target process:\n1"), kernel="remote-powershell")
    assert start.target is None


def test_the_environment_counts_more_than_the_notebooks_kernel(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PSKERNEL_TARGET", "ssh://elsewhere")
    for content in (notebook("1"), stored("remote-powershell-web01")):
        assert choose(content).target == Target.parse("ssh://elsewhere")


def test_a_target_line_in_the_first_cell_is_left_to_it() -> None:
    content = new_notebook(cells=[new_markdown_cell("# x"), new_code_cell(" "), new_code_cell("#% target process:\n1")])
    start = choose(content, options={"width": "80"})
    assert (start.target, dict(start.options)) == (None, {"width": "80"})


@pytest.mark.parametrize(
    ("content", "arguments", "message"),
    [
        (notebook("1"), {}, "Nothing says where PowerShell is"),
        (notebook("1", "#% target process:"), {}, "Nothing says where PowerShell is"),
        (notebook(), {}, "Nothing says where PowerShell is"),
        (stored("nosuch"), {}, "is for the kernel nosuch"),
        (stored("python9"), {}, "is for the kernel python9"),
        (notebook("1"), {"target": "process:", "kernel": "web01"}, "not both"),
        (notebook("1"), {"kernel": "nosuch"}, "There is no Remote PowerShell kernel nosuch"),
        (notebook("1"), {"kernel": "python9"}, "There is no Remote PowerShell kernel python9"),
    ],
)
def test_without_a_target_nothing_is_run(content: Any, arguments: dict[str, str], message: str) -> None:
    with pytest.raises(CommandError, match=message):
        choose(content, **arguments)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    "metadata",
    [
        {"kernelspec": {"name": "python3", "display_name": "Python 3", "language": "python"}},
        {"language_info": {"name": "Python"}},
        {
            "kernelspec": {"name": "remote-powershell-web01", "display_name": "", "language": "powershell"},
            "language_info": {"name": "python"},
        },
    ],
)
def test_a_notebook_of_another_language_is_never_sent(metadata: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PSKERNEL_TARGET", "process:")
    for arguments in ({}, {"target": "process:"}, {"kernel": "web01"}):
        with pytest.raises(CommandError, match="its language is python"):
            choose(notebook("1", **metadata), **arguments)


def test_other_kernels_for_powershell_are_powershell() -> None:
    content = notebook(
        "1",
        kernelspec={"name": ".net-pwsh", "display_name": "", "language": "PowerShell"},
        language_info={"name": "pwsh"},
    )
    assert choose(content, target="process:").target == Target.parse("process:")


def test_a_wrong_target_is_told_at_once() -> None:
    with pytest.raises(TargetError, match="never holds a password"):
        choose(notebook("1"), target="ssh://a:b@web01")


def test_the_executed_notebook_never_replaces_its_source_by_itself() -> None:
    assert default_output(Path("a/b.ipynb")) == Path("a/b.out.ipynb")
    assert default_output(Path("b.out.ipynb")) == Path("b.out.out.ipynb")
    assert default_output(Path("b")) == Path("b.out.ipynb")


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["missing.ipynb", "--target", "process:"], "cannot be read"),
        (["book.ipynb"], "Nothing says where PowerShell is"),
        (["book.ipynb", "--target", "ssh://a:hunter2@b"], "never holds a password"),
        (["book.ipynb", "--target", "process:", "--option", "hunter2"], "--option name=value"),
        (["book.ipynb", "--target", "process:", "-o", "no/such/place.ipynb"], "cannot be written"),
        (["book.ipynb", "--target", "process:", "-o", "."], "cannot be written"),
        (["book.ipynb", "--kernel", "nosuch"], "no Remote PowerShell kernel nosuch"),
        (["python.ipynb", "--target", "process:"], "its language is python"),
        (["text.ipynb", "--target", "process:"], "it is not JSON"),
    ],
)
def test_what_cannot_be_run_is_status_2_and_writes_nothing(
    invoke: Invoke, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, arguments: list[str], message: str
) -> None:
    monkeypatch.chdir(tmp_path)
    python = {"kernelspec": {"name": "python3", "display_name": "", "language": "python"}}
    write_notebook(notebook("1"), Path("book.ipynb"))
    write_notebook(notebook("1", **python), Path("python.ipynb"))
    Path("text.ipynb").write_text("1 + ")
    before = sorted(tmp_path.glob("*.ipynb"))
    for verb in (["run"], ["record", "-o", "tape.jsonl"])[
        : 2 if "--target" in arguments and "-o" not in arguments else 1
    ]:
        result = invoke(*verb, *arguments)
        assert (result.status, result.stdout) == (2, "")
        assert result.stderr.startswith("pskernel: ")
        assert result.stderr.count("\n") == 1
        assert message in result.stderr
        assert "hunter2" not in result.stderr
    assert sorted(tmp_path.glob("*.ipynb")) == before
    assert not Path("tape.jsonl").exists()
