"""The one target of a kernel."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from pskernel.errors import TargetError
from pskernel.kernel.choice import SessionChoice


@pytest.fixture(autouse=True)
def no_target_of_ours(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.delenv("PSKERNEL_TARGET", raising=False)
    monkeypatch.setenv("JUPYTER_DATA_DIR", str(tmp_path / "data"))


def choice(argument: str = "", spec_dir: str = "", kernel_name: str = "", **options: str) -> SessionChoice:
    return SessionChoice(argument, spec_dir, kernel_name, options)


def spec(folder: Path, target: str) -> str:
    folder.mkdir(parents=True)
    content = {"argv": [], "display_name": "x", "metadata": {"remote_powershell": {"target": target}}}
    (folder / "kernel.json").write_text(json.dumps(content))
    return str(folder)


def url(chosen: SessionChoice) -> str | None:
    return None if chosen.target is None else chosen.target.redacted


def test_nobody_names_a_target() -> None:
    chosen = choice()
    assert chosen.target is None
    assert chosen.session is None
    with pytest.raises(TargetError, match="three ways"):
        chosen.for_cell("1")


def test_each_source_and_their_order(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    by_name = spec(tmp_path / "data" / "kernels" / "by-name", "ssh://by-name")
    by_folder = spec(tmp_path / "folder", "ssh://by-folder")
    assert by_name.endswith("by-name")
    assert url(choice(kernel_name="by-name")) == "ssh://by-name"
    assert url(choice(kernel_name="by-name", spec_dir="{resource_dir}")) == "ssh://by-name"
    assert url(choice(kernel_name="by-name", spec_dir=by_folder)) == "ssh://by-folder"
    assert url(choice(kernel_name="no-such-kernel")) is None
    monkeypatch.setenv("PSKERNEL_TARGET", "ssh://environment")
    assert url(choice(spec_dir=by_folder)) == "ssh://environment"
    assert url(choice("ssh://argument", by_folder)) == "ssh://argument"


def test_the_same_session_for_every_cell() -> None:
    chosen = choice("ssh://admin@web01")
    session = chosen.for_cell("1")
    assert chosen.for_cell("2") is session
    assert chosen.for_cell("#% target ssh://admin@web01\n3") is session
    assert session.label == "admin@web01"


def test_the_first_cell_names_the_target() -> None:
    chosen = choice(width="80")
    session = chosen.for_cell("#% target ssh://web01\nhostname")
    assert url(chosen) == "ssh://web01?width=80"
    assert chosen.for_cell("hostname") is session


@pytest.mark.parametrize("other", ["ssh://web02", "ssh://root@web01", "ssh://web01:2222", "process:"])
def test_another_target_is_refused_and_the_old_one_stays(other: str) -> None:
    chosen = choice("ssh://web01")
    session = chosen.for_cell("1")
    with pytest.raises(TargetError, match=r"is for ssh://web01, .* was not run") as caught:
        chosen.for_cell(f"#% target {other}\n1")
    assert other in str(caught.value)
    assert chosen.for_cell("1") is session


@pytest.mark.parametrize("cell", ["#% target", "#% target ftp://web01", "#% target ssh://web01?no_such=1"])
def test_a_directive_that_is_wrong(cell: str) -> None:
    chosen = choice()
    with pytest.raises(TargetError):
        chosen.for_cell(cell)
    assert chosen.target is None
    with pytest.raises(TargetError, match="three ways"):
        chosen.for_cell("1")


@pytest.mark.parametrize("named", ["process:/bin/sh", "process:sh", "unix:/run/some", "pid:1"])
def test_a_cell_may_not_choose_a_program_of_this_machine(named: str) -> None:
    chosen = choice()
    with pytest.raises(
        TargetError, match=r"A cell may not name .* program of this machine.* --target, .*PSKERNEL_TARGET"
    ):
        chosen.for_cell(f"#% target {named}\n1")
    assert chosen.target is None
    # It may name the one that the user has chosen.
    chosen = choice(named)
    assert chosen.for_cell(f"#% target {named}\n1") is chosen.session


def test_a_bad_target_fails_every_cell_also_one_that_names_another() -> None:
    chosen = choice("ftp://web01")
    for _ in range(2):
        with pytest.raises(TargetError, match="ftp"):
            chosen.for_cell("1")
    # Whoever mistyped the production host did not mean the notebook's.
    with pytest.raises(TargetError, match="ftp"):
        chosen.for_cell("#% target ssh://web01")
    assert chosen.target is None


def test_a_kernelspec_that_cannot_be_read_fails_every_cell(tmp_path: Path) -> None:
    folder = spec(tmp_path / "folder", "ssh://web01")
    (tmp_path / "folder" / "kernel.json").write_text("[]")
    with pytest.raises(TargetError, match=r"kernel\.json"):
        choice(spec_dir=folder).for_cell("1")


def test_the_history_begins_with_a_target() -> None:
    chosen = choice()
    assert chosen.history is None
    chosen.for_cell("#% target ssh://web01\n1")
    assert chosen.history is not None
